"""The process that does a case's work, over and over, when it is told to.

    python -m benchmarks.worker KIND FOLDER CASE THREADS

KIND is a module: "ours", "plain" (the same passes by Paddle alone) or "peers" (torch, which runs in
an environment of its own). A line on the standard input asks, a line of JSON answers.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass
class Work:
    """What is measured.

    Args:
        run: does it, and gives its array.
        facts: asked after the first run, for the parent.
    """

    run: Callable[[], Any]
    facts: Callable[[], dict[str, Any]] = dict


def measured(run: Callable[[], Any]) -> tuple[dict[str, Any], Any]:
    """Seconds by the clock and of the processor, the highest memory in MB; and the result."""
    highest = _forget_highest()
    start, used = time.perf_counter(), time.process_time()
    result = run()
    wall, cpu = time.perf_counter() - start, time.process_time() - used
    return {"wall": wall, "cpu": cpu, "memory": highest()}, result


def _forget_highest() -> Callable[[], float]:
    """What gives the highest memory from now on; since the start where Linux does not allow it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def highest() -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024

    return highest


def main(kind: str, folder: str, case: str, threads: str) -> None:
    """Prepare, run once, say so, and obey until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    warnings.simplefilter("ignore")
    module = importlib.import_module(f"benchmarks.{kind}")
    work: Work = module.prepared(Path(folder), json.loads(case), int(threads))
    answer, result = measured(work.run)
    answer |= work.facts()
    print(json.dumps(answer), file=answers, flush=True)
    for line in sys.stdin:
        if line == "run\n":
            answer, result = measured(work.run)
        else:
            np.save(line.strip(), np.asarray(result))
            answer = {}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
