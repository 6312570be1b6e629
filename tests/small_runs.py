"""Small runs over small pictures, which tests repeat and disturb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

METHODS = ["grad_cam", "lrp"]


def write_pictures(folder: Path, n: int = 10, side: int = 16) -> Path:
    """Different pictures in PNG files."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    for i in range(n):
        pixels = rng.integers(0, 256, (side // 4, side // 4, 3), np.uint8).repeat(4, 0).repeat(4, 1)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


def run(source: Any, out: Path, methods: Any = METHODS, model: Any = None, **more: Any) -> Any:
    """A run in shards of four pictures."""
    import interpretdl as it
    from interpretdl.testing import small_network

    model = small_network() if model is None else model
    return it.run(source, methods, model, out=out, **{"shard_size": 4, "batch_size": 2, **more})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
