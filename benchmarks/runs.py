"""What a run costs beside the explanations in it, and what more processes bring.

    python -m benchmarks.runs                    overhead, in processor time of one process
    python -m benchmarks.runs --workers 1 2 4    and pictures a second by processes

Processor time is little disturbed by what else the machine does; seconds are.
"""

from __future__ import annotations

import argparse
import json
import resource
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


def speeds(paths: list[str], workers: list[int], place: Path) -> list[dict[str, Any]]:
    """Pictures a second, and the time that starting took."""
    import interpretdl as it

    found = []
    for count in workers:
        told: list[dict[str, Any]] = []
        began = time.monotonic()
        it.run(paths, ["grad_cam"], "efficientnet_lite0", out=place / f"workers{count}",
               workers=count, shard_size=16, on_shard=told.append)  # fmt: skip
        seconds = time.monotonic() - began
        size = sum(path.stat().st_size for path in (place / f"workers{count}").glob("*.parquet"))
        found.append(
            {
                "workers": count, "pictures_per_second": told[-1]["pictures_per_second"],
                "starting": seconds - len(paths) / told[-1]["pictures_per_second"],
                "bytes_per_row": size / len(paths),
            }
        )  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--workers", type=int, nargs="*", default=[])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        paths = cutouts(place, given.pictures)
        for method, metrics in (("grad_cam", []), ("lrp", []), ("grad_cam", ["deletion"])):
            print(json.dumps(overhead(paths, method, metrics, place)), flush=True)
        for each in speeds(paths, given.workers, place):
            print(json.dumps(each), flush=True)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"megabytes": most}))


if __name__ == "__main__":
    main()
