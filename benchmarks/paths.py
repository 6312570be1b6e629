"""What a sample of a path or noise method costs, in input gradients of a batch (G), and memory.

    python benchmarks/paths.py [--quick] [--samples N] [--processor-time] [--model NAME]

On ResNet-50 and EfficientNet-Lite0, whose weights do not matter here. Each thing is measured in
turn with its unit, several times; ratios are medians. The unit is one input gradient of a batch
of the size that the engine takes. Limits: 1.05 G a sample; k classes of an image less than k times
one; peak memory with 300 samples within 10 % of that with 30. On a machine that does other things
too, measure processor time, with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import interpretdl as it

MODELS = {"resnet50": it.lrp_model.resnet50, "efficientnet_lite0": it.lrp_model.efficientnet_lite0}
SIZES = (1, 2, 4, 8)
clock: Callable[[], float] = time.perf_counter
PEAK = """
import resource, sys
import numpy as np
import interpretdl as it
x = np.random.default_rng(0).normal(size=(1, 3, {side}, {side})).astype(np.float32)
model = it.lrp_model.{model}()
it.SmoothGradInterpreter(model).attribute(x, it.ClassScore(0), n_samples={samples})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def seconds(work: Callable[[], Any]) -> float:
    start = clock()
    work()
    return clock() - start


def ratio(work: Callable[[], Any], unit: Callable[[], Any], repeats: int) -> float:
    """Median of time(work) / time(unit), each measured between two of its units."""
    pairs = [(seconds(unit), seconds(work), seconds(unit)) for _ in range(repeats)]
    return statistics.median(2 * w / (before + after) for before, w, after in pairs)


def show_sizes(model: Any, x: Any, target: Any, repeats: int) -> None:
    """What an image costs in batches of several sizes."""
    probes = {n: it.Probe(model, batch_size=n) for n in SIZES}
    times: dict[int, list[float]] = {n: [] for n in SIZES}
    for _ in range(repeats):
        for n, probe in probes.items():
            times[n].append(seconds(partial(probe.gradients, x[:n], target)) / n)
    print("  seconds an image:", {n: round(statistics.median(t), 3) for n, t in times.items()})


def peak(model: str, samples: int, side: int) -> float:
    """Peak memory of a fresh process, in MB."""
    program = PEAK.format(model=model, samples=samples, side=side)
    run = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return float(run.stdout)


def speed(name: str, samples: int, repeats: int) -> None:
    model = MODELS[name]()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 3, 224, 224)).astype(np.float32)
    background = rng.normal(size=(8, 3, 224, 224)).astype(np.float32)
    target = it.ClassScore(0, "probability")
    print(f"{name}, {samples} samples")
    show_sizes(model, x, target, repeats)
    probe = it.Probe(model)
    probe.gradients(x[:1], target)
    size = probe.batch_plan(x)
    unit = partial(it.Probe(model, batch_size=size).gradients, x[:size], target)
    methods = {
        "integrated gradients": partial(
            it.IntegratedGradientsInterpreter(model).attribute, x[:1], target, steps=samples
        ),
        "SmoothGrad": partial(
            it.SmoothGradInterpreter(model).attribute, x[:1], target, n_samples=samples
        ),
        "expected gradients": partial(
            it.ExpectedGradientsInterpreter(model, background).attribute,
            x[:1],
            target,
            nsamples=samples,
        ),
    }
    for method, work in methods.items():
        found = ratio(work, unit, repeats) * size / samples
        print(f"  {method:24} {found:.3f} G a sample   (limit 1.05, batch {size})")


def classes(name: str, repeats: int) -> None:
    x = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    method = it.ExpectedGradientsInterpreter(MODELS[name]())
    one, four = (partial(method.shap_values, x, 8, k) for k in (1, 4))
    one()
    print(f"  4 classes cost {ratio(four, one, repeats):.2f} times one   (limit 4)")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--samples", type=int, default=48)
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--model", choices=MODELS, action="append")
    given = parser.parse_args()
    if given.processor_time:
        global clock
        clock = time.process_time
    repeats = 3 if given.quick else 5
    for name in given.model or MODELS:
        speed(name, 24 if given.quick else given.samples, repeats)
        classes(name, repeats)
        side = 64 if given.quick else 224  # many samples of small images take little time
        few, many = (peak(name, n, side) for n in (30, 300))
        print(f"  peak memory {few:.0f} MB with 30 samples, {many / few:.3f} times that with 300")


if __name__ == "__main__":
    main()
