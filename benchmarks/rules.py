"""Time and memory of the rules, in units of one plain input gradient of the same model.

    python benchmarks/rules.py [--quick] [--models resnet50 vgg16] [--batches 1 8] [--repeats 7]

Time: the median over repeats of (rule / gradient), both run one right after the other. Memory:
peak of the process (limit 2), and of that what is above the loaded model; each in its own process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import psutil

LIMITS = {
    "epsilon": 1.3,
    "epsilon_plus": 2.0,
    "z_plus_box": 2.0,
    "epsilon_alpha2_beta1": 2.8,
    "epsilon_gamma_box": 3.5,
    "guided": 1.1,
}


def prepare(name: str, batch: int) -> tuple[Any, Any, Any]:
    """A probe of the zoo's network (random weights), a batch at 224 x 224, and a target."""
    import interpretdl as it

    model = it.lrp_model.models()[name]()
    x = np.random.default_rng(0).normal(0, 1, (batch, 3, 224, 224)).astype(np.float32)
    return it.Probe(model, batch_size=batch), x, it.ClassScore(1)


def run(probe: Any, x: Any, target: Any, composite: str | None) -> float:
    """Seconds of one run."""
    from interpretdl import IMAGENET
    from interpretdl.rules import composite_of

    rules = None if composite is None else composite_of(composite, IMAGENET)
    start = time.perf_counter()
    probe.gradients(x, target, rules=rules)
    return time.perf_counter() - start


def peak(name: str, batch: int, composite: str | None) -> tuple[float, float]:
    """Highest memory of a fresh process in one run, and that above what it had before, in bytes."""
    command = [sys.executable, __file__, "--peak", name, str(batch), composite or ""]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    whole, above = json.loads(result.stdout.splitlines()[-1])
    return whole, above


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["resnet50", "vgg16"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="batch 1, three repeats, no memory")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        name, batch, composite = options.peak
        probe, x, target = prepare(name, int(batch))
        process, finished = psutil.Process(), threading.Event()
        before = highest = process.memory_info().rss

        def watch() -> None:
            nonlocal highest
            while not finished.wait(0.001):
                highest = max(highest, process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        run(probe, x, target, composite or None)
        finished.set()
        watcher.join()
        print(json.dumps([highest, highest - before]))
        return
    if options.quick:
        options.batches, options.repeats = [1], 3
    print(f"{'model':10} {'batch':>5} {'composite':22} {'time':>6} {'limit':>6} {'memory':>9}")
    for name in options.models:
        for batch in options.batches:
            probe, x, target = prepare(name, batch)
            run(probe, x, target, None)
            unit = None if options.quick else peak(name, batch, None)
            for composite, limit in LIMITS.items():
                run(probe, x, target, composite)
                ratios = []
                for _ in range(options.repeats):
                    gradient = run(probe, x, target, None)
                    ratios.append(run(probe, x, target, composite) / gradient)
                memory = "-"
                if unit is not None:
                    used = peak(name, batch, composite)
                    memory = f"{used[0] / unit[0]:.2f} {used[1] / unit[1]:.2f}"
                print(
                    f"{name:10} {batch:5} {composite:22} {np.median(ratios):6.2f} {limit:6.1f} "
                    f"{memory:>9}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
