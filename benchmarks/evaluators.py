"""What deletion and insertion cost, in forward passes at the best batch size (F).

    python benchmarks/evaluators.py [--quick]

On ResNet-50 with 224 x 224 pixels, two curves of 21 points for each image. Each is measured in turn
with its unit, several times; ratios are medians. Limit: 1.1 times the number of forwards.
With --quick: ResNet-18, one image, one fill, fewer repeats.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import interpretdl as it
from interpretdl import evaluator as ev

BATCH = 8
STEPS = 20


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratio(work: Callable[[], Any], unit: Callable[[], Any], repeats: int) -> float:
    """Median of time(work) / time(unit), each work measured between two units."""
    work(), unit()
    rounds = [(seconds(unit), seconds(work), seconds(unit)) for _ in range(repeats)]
    return statistics.median(2 * w / (before + after) for before, w, after in rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    model = it.lrp_model.resnet18() if quick else it.lrp_model.resnet50()
    repeats, images = (3, 1) if quick else (5, 2)

    rng = np.random.default_rng(0)
    x = rng.normal(size=(images, 3, 224, 224)).astype(np.float32)
    heat = rng.random((images, 224, 224))
    labels = np.arange(images)
    many = rng.normal(size=(BATCH, 3, 224, 224)).astype(np.float32)
    it.Probe(model).logits(many)
    times = {
        n: statistics.median(
            seconds(partial(it.Probe(model, batch_size=n).logits, many)) for _ in range(3)
        )
        for n in (1, 2, 4, 8)
    }
    best = min(times, key=times.__getitem__)
    print("seconds an image, forward:", {n: round(t / BATCH, 4) for n, t in times.items()})

    forwards = images * (STEPS + 1)
    unit = partial(
        it.Probe(model, batch_size=best).logits, np.resize(many, (forwards, *many.shape[1:]))
    )
    for fill in ("mean",) if quick else ("mean", "blur"):
        for evaluator in (ev.Deletion(model, fill=fill), ev.Insertion(model, fill=fill)):
            found = ratio(partial(evaluator.measure, x, heat, labels), unit, repeats)
            print(f"{evaluator.info.name:10} fill={fill:5} {found:.3f} of its {forwards} forwards")


if __name__ == "__main__":
    main()
