"""What class activation maps cost, in forward passes at the best batch size (F).

    python benchmarks/cam.py [--quick]

On ResNet-50 at layer4. Each thing is measured in turn with its unit, several times; ratios are
medians. Limits: Grad-CAM 1.2 F; its `explain` of one picture, which finds class and layer, 1.5 F;
Score-CAM and Ablation-CAM 1.1 times their number of forwards.
Score-CAM and Ablation-CAM are measured on the first channels only (256, or 48 with --quick), which
makes what they cost beside the channels, a few forwards for each image, look larger than it is.
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

BATCH = 8


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratio(work: Callable[[], Any], unit: Callable[[], Any], repeats: int) -> float:
    """Median of time(work) / time(unit), each pair measured one right after the other."""
    unit()
    pairs = [(seconds(unit), seconds(work), seconds(unit)) for _ in range(repeats)]
    return statistics.median(2 * w / (before + after) for before, w, after in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    repeats, channels = (3, 48) if quick else (7, 256)

    model = it.lrp_model.resnet50()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, 3, 224, 224)).astype(np.float32)
    target = it.ClassScore(np.arange(BATCH))
    probe = it.Probe(model)
    probe.logits(x)  # learns how many images to run at once
    sizes = {n: seconds(partial(it.Probe(model, batch_size=n).logits, x)) for n in (1, 4, 8)}
    best = min(sizes, key=sizes.__getitem__)
    print("seconds an image, forward:", {n: round(t / BATCH, 4) for n, t in sizes.items()})

    forward = partial(it.Probe(model, batch_size=best).logits, x)
    for name in ("grad_cam", "layer_cam", "grad_cam_plus_plus", "eigen_cam", "cam"):
        interpreter = it.registry.find(name).cls(model)
        work = partial(interpreter.attribute, x, target, target_layer_name="layer4")
        work()
        found = ratio(work, forward, repeats)
        print(f"{name:20} {found:6.2f} F an image")

    one = partial(it.Probe(model, batch_size=1).logits, x[:1])
    found = ratio(partial(it.GradCAMInterpreter(model).explain, x[:1]), one, repeats)
    print(f"{'grad_cam, explain':20} {found:6.2f} F of one picture")

    for name, counted in (("score_cam", "forwards"), ("ablation_cam", "ablations")):
        interpreter = it.registry.find(name).cls(model)
        work = partial(
            interpreter.attribute, x[:1], it.ClassScore(0), target_layer_name="layer4",
            reshape_transform=lambda a: a[:, :channels],
        )  # fmt: skip
        runs = int(work().diagnostics[counted][0])
        found = ratio(work, forward, repeats) * BATCH
        print(f"{name:20} {found:6.1f} F for {runs} forwards: {found / runs:.3f} of their number")


if __name__ == "__main__":
    main()
