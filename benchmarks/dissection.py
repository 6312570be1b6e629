"""What Network Dissection's own work costs, in forward passes, and that its memory is bounded.

    python benchmarks/dissection.py [--quick]

On ResNet-50's layer4 (2048 units, 7 x 7) at 224 x 224 with labels of 112 x 112, on a mini-Broden.
A dissection runs the model twice over the data: once for thresholds and strongest images, once for
counting. Limit: its own work, quantiles, upsampling and tally, takes no longer than the forward
passes. Ratios are medians over batches, own work and forward measured one after the other.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import interpretdl as it
from interpretdl.dissection import Broden, TailQuantile, mini_broden
from interpretdl.dissection.result import ordered_categories
from interpretdl.dissection.tally import Strongest, Tally

LAYER, BATCH, SHARE = "layer4", 8, 0.005


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def time_ratios(model: Any, data: Broden) -> None:
    """Both passes over the data, each step on the clock."""
    probe = it.Probe(model, batch_size=BATCH)
    x = [it.IMAGENET.normalize(np.stack([data.image(i) for i in range(n, n + BATCH)]))
         for n in range(0, len(data), BATCH)]  # fmt: skip
    maps = probe.activations(x[0], LAYER)[LAYER]  # and warm
    units, h, w = maps.shape[1:]
    quantile = TailQuantile(units, len(data) * h * w, SHARE)
    strongest = Strongest(units, (h, w), 10)
    categories = ordered_categories(data.labels)
    category_of = np.array([categories.index(label.category) for label in data.labels])
    times: dict[str, list[float]] = {"thresholds": [], "tally": [], "read labels": []}

    def first(index: int, maps: Any) -> None:
        for i, one in enumerate(maps):
            quantile.update(index + i, one.reshape(units, -1))
            strongest.update(index + i, one)

    def both(name: str, work: Callable[[int, Any], None]) -> None:
        for n, part in enumerate(x):
            forward, found = timed(lambda part=part: probe.activations(part, LAYER)[LAYER])
            own, _ = timed(lambda n=n, found=found: work(n * BATCH, found))
            times[name].append(own / forward)

    both("thresholds", first)
    tally = Tally(quantile.thresholds(), category_of, len(categories))

    def second(index: int, maps: Any) -> None:
        for one, truth in zip(maps, truths[index : index + BATCH], strict=True):
            tally.update(one, *truth)

    read, truths = timed(lambda: [data.truth(i) for i in range(len(data))])
    both("tally", second)
    forward, _ = timed(lambda: probe.activations(x[0], LAYER))
    active = [(maps.max(axis=(2, 3)) > tally.thresholds).mean() for maps in
              (probe.activations(part, LAYER)[LAYER] for part in x[:2])]  # fmt: skip
    print(f"{units} units of {h} x {w}, {len(data)} images, batches of {BATCH}")
    print(f"forward: {forward / BATCH:.4f} s an image")
    for name in ("thresholds", "tally"):
        print(f"{name}: {statistics.median(times[name]):.3f} of the forward pass")
    print(f"units above their threshold in an image: {100 * float(np.mean(active)):.0f} %")
    print(f"reading labels: {read / len(data) / (forward / BATCH):.3f} of the forward pass")
    whole = sum(statistics.median(times[name]) for name in ("thresholds", "tally")) / 2
    print(f"own work / forward passes: {whole:.3f}  (limit 1)")


def memory(quick: bool) -> None:
    """Peak of what quantiles and tally allocate, for data sets of growing size."""
    rng = np.random.default_rng(0)
    units, labels = 64, 50
    for images in (1000, 4000) if quick else (1000, 4000, 16000):
        tracemalloc.start()
        quantile = TailQuantile(units, images * 49, 0.05, capacity=1024)
        strongest = Strongest(units, (7, 7), 10)
        tally = Tally(np.full(units, 2.5, np.float32), np.zeros(labels, int), 1)
        masks = rng.random((5, 112, 112)) < 0.2
        for index in range(images):
            maps = rng.normal(size=(units, 7, 7)).astype(np.float32)
            quantile.update(index, maps.reshape(units, -1))
            strongest.update(index, maps)
            if index % 50 == 0:
                tally.update(maps, np.arange(5), masks)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"peak with {images} images: {peak / 2**20:.1f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as folder:
        data = Broden(mini_broden(Path(folder) / "mini", scenes=32 if quick else 160))
        time_ratios(it.lrp_model.resnet50(), data)
    memory(quick)


if __name__ == "__main__":
    main()
