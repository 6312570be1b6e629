"""An hour of explanations in a loop, all methods in turn: python benchmarks/soak.py --minutes 60.

Prints the memory that the process holds and its open files, and exits with 1 when either has grown.
Memory is compared after a first tenth of the time, in which caches fill.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

import interpretdl as it
from interpretdl import registry
from interpretdl.testing import differences, small_network, state_of

FEW = {"n_samples": 3, "nsamples": 3, "num_samples": 10, "steps": 3}
MEGABYTES = 30
"""The most that may be added; what the allocator keeps moves by some."""


def explained(model: Any, picture: Path, folder: Path, turn: int) -> int:
    """Each method once: a new object, a map, a picture and an archive; evaluated by deletion."""
    x = np.asarray(Image.open(picture))[None]
    inputs = model.preprocessing.normalize(x)
    count = 0
    for info in registry.methods().values():
        options = {name: value for name, value in FEW.items() if name in info.options}
        method = info.cls(model, **(info.setup(model, inputs) if info.setup else {}))
        explanation = method.explain(str(picture), label=turn % 5, **options)
        explanation.save(folder / f"{info.name}.npz")
        if turn % 10 == 0:
            explanation.save(folder / f"{info.name}.png")
            it.Deletion(model, steps=3).measure(inputs, explanation)
        count += 1
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    minutes = parser.parse_args().minutes
    warnings.simplefilter("ignore")
    process, model = psutil.Process(), small_network()
    before = state_of(model)
    start = time.monotonic()
    base: tuple[float, int] | None = None
    count = turn = 0
    shown, seen = start, (0.0, 0)
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
        Image.fromarray(pixels).save(picture)
        while (now := time.monotonic()) - start < minutes * 60 or shown < now - 60:
            count += explained(model, picture, Path(folder), turn)
            turn += 1
            if base and now - shown < 60:
                continue
            gc.collect()
            seen = process.memory_info().rss / 2**20, process.num_fds()
            shown = now
            print(f"{(now - start) / 60:5.1f} min {count:7d} explanations "
                  f"{seen[0]:7.1f} MB {seen[1]:3d} files", flush=True)  # fmt: skip
            if now - start > minutes * 6:
                base = base or seen
    assert base, "too short to compare"
    changed = differences(before, state_of(model))
    print(
        f"{seen[0] - base[0]:+.1f} MB, {seen[1] - base[1]:+d} files; the model: {changed or 'same'}"
    )
    return int(seen[0] - base[0] > MEGABYTES or seen[1] > base[1] or bool(changed))


if __name__ == "__main__":
    sys.exit(main())
