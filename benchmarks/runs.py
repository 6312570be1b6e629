"""What a run costs beside the explanations in it, and what more processes bring.

    python -m benchmarks.runs                    overhead, in processor time of one process
    python -m benchmarks.runs --workers 1 2 4    pictures a second by processes, in rounds

Processor time is little disturbed by what else the machine does; seconds are. Beside each number of
workers stands what as many processes reach that only explain, side by side: what the machine gives.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


def cutouts(folder: Path, count: int) -> list[str]:
    """Different pictures of 400 × 400 pixels, cut out of a photograph."""
    photograph = Image.open(ROOT / "assets" / "chelsea.png").convert("RGB").resize((902, 600))
    rng = np.random.default_rng(0)
    paths = []
    for i in range(count):
        x, y = rng.integers(0, 500), rng.integers(0, 200)
        paths.append(str(folder / f"{i:04}.jpg"))
        photograph.crop((x, y, x + 400, y + 400)).save(paths[-1], quality=90)
    return paths


def overhead(paths: list[str], method: str, metrics: list[str], place: Path) -> dict[str, Any]:
    """Processor time for each picture, bare and in a run; the smaller of two each."""
    import interpretdl as it
    from interpretdl.registry import EVALUATORS, METHODS

    subject = it.Subject.of(it.lrp_model.efficientnet_lite0(pretrained=True), batch_size=4)
    interpreter = METHODS.find(method).cls(subject)
    evaluators = [EVALUATORS.find(name).cls() for name in metrics]

    def bare(paths: list[str]) -> None:
        for start in range(0, len(paths), 4):
            found = interpreter.explain(paths[start : start + 4])
            for evaluator in evaluators:
                x = subject.preprocessing.normalize(found.images)
                evaluator.measure(x, found, interpreter=interpreter)

    def stored(paths: list[str]) -> None:
        with tempfile.TemporaryDirectory(dir=place) as out:
            it.run(paths, [method], subject, metrics=metrics, out=Path(out) / "run")

    bare(paths[:8])
    stored(paths[:8])
    times: dict[str, list[float]] = {"bare": [], "run": []}
    for _ in range(2):
        for name, work in (("bare", bare), ("run", stored)):
            began = time.process_time()
            work(paths)
            times[name].append((time.process_time() - began) / len(paths))
    best = {name: min(each) for name, each in times.items()}
    return {
        "method": method,
        "metrics": metrics,
        **best,
        "overhead": best["run"] / best["bare"] - 1,
    }


def speed(paths: list[str], method: str, workers: int, place: Path) -> dict[str, Any]:
    """Pictures a second of a run, and the time that starting took."""
    import interpretdl as it

    told: list[dict[str, Any]] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=place) as out:
        it.run(paths, [method], "efficientnet_lite0", out=Path(out) / "run", workers=workers,
               shard_size=8, on_shard=told.append)  # fmt: skip
        size = sum(path.stat().st_size for path in Path(out).glob("run/*.parquet"))
    seconds = time.monotonic() - began
    return {
        "workers": workers, "method": method,
        "pictures_per_second": told[-1]["pictures_per_second"],
        "starting": seconds - len(paths) / told[-1]["pictures_per_second"],
        "bytes_per_row": size / len(paths),
    }  # fmt: skip


BARE = """
import sys, time
import interpretdl as it
from interpretdl.registry import METHODS
subject = it.Subject.of(it.lrp_model.efficientnet_lite0(pretrained=True), batch_size=4)
method, *paths = sys.argv[1:]
explain = METHODS.find(method).cls(subject).explain
explain(paths[:4])
print("ready", flush=True)
input()
began = time.monotonic()
for start in range(0, len(paths), 4):
    explain(paths[start : start + 4])
print(len(paths) / (time.monotonic() - began), flush=True)
"""


def bare_speed(paths: list[str], method: str, processes: int) -> float:
    """Pictures a second of processes that only explain, begun at the same moment."""
    running = []
    for i in range(processes):
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", BARE, method, *paths[i::processes]], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        )  # fmt: skip
    for each in running:
        assert each.stdout is not None
        each.stdout.readline()
    for each in running:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    return sum(float(each.communicate()[0]) for each in running)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--workers", type=int, nargs="*", default=[])
    parser.add_argument("--methods", nargs="*", default=["grad_cam", "lrp"])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        paths = cutouts(place, given.pictures)
        parts = (("grad_cam", []), ("lrp", []), ("grad_cam", ["deletion"]))
        for method, metrics in parts if not given.workers else ():
            print(json.dumps(overhead(paths, method, metrics, place)), flush=True)
        for method in given.methods if given.workers else ():
            for _ in range(given.rounds):
                for count in given.workers:
                    bare = bare_speed(paths, method, count)
                    found = {**speed(paths, method, count, place), "bare": bare}
                    print(json.dumps(found), flush=True)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"megabytes": most}))


if __name__ == "__main__":
    main()
