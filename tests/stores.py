"""Stores of runs written by hand, for the tests of reports and differences."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = ["cat", "<b>dog</b>", "a long name of a class that does not fit in one line of a phone"]


def blob(side: int, y: float, x: float, width: float) -> Any:
    """A Gaussian around (y, x), in pixels."""
    rows, columns = np.mgrid[:side, :side]
    return np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2))


def planted_maps(n: int, share: float, seed: int, side: int = 56) -> tuple[Any, Any]:
    """Maps of objects about the middle; a share of them looks at a watermark in a corner instead.

    Returns:
        float32 [n, side, side], and bool [n], which of them are planted.
    """
    rng = np.random.default_rng(seed)
    marked = rng.permutation(np.arange(n) < round(share * n))
    maps = []
    for each in marked:
        y, x = rng.normal(side / 2, side / 10, 2)
        found = (0.3 if each else 1.0) * blob(side, y, x, rng.uniform(side / 9, side / 6))
        if each:
            found += blob(side, side - 6, side - 6, 3) * rng.uniform(0.8, 1.5)
        maps.append(found + 0.05 * rng.random((side, side)))
    return np.float32(maps), marked


def planted_store(
    folder: Path, n: int = 30, *, methods: int = 2, seed: int = 0, side: int = 28,
    pictures: Path | None = None, flip: int = 0, broken: int = 1, shift: float = 0.0,
    copies: int | None = None,
) -> Path:  # fmt: skip
    """A run as `interpretdl run` stores it, of pictures that are drawn here.

    Half of the maps of class 0 look at a corner. The last `broken` pictures could not be read. The
    first `flip` predictions are other ones, and all maps are shifted to the right by a share. With
    `copies` there are so many files, each of several pictures.
    """
    from interpretdl.preprocessing import IMAGENET
    from interpretdl.runs.store import begin, write_shard

    place = pictures or folder.parent / "pictures"
    place.mkdir(exist_ok=True)
    folder.mkdir()
    rng = np.random.default_rng(seed)
    names = ["grad_cam", "<i>lrp</i>", "c", "d"][:methods]
    rows: list[dict[str, Any]] = []
    for i in range(n):
        path = place / f"<em>{i % (copies or n):04d}.png"
        if not path.exists():
            pixels = rng.integers(0, 60, (64, 80, 3)) + 120 * blob(80, 32, 40, 15)[:64, :, None]
            Image.fromarray(pixels.astype(np.uint8)).save(path)
        label, noise = i % 2, np.random.default_rng(i)
        prediction = label if noise.random() < 0.8 else 2
        columns = {"picture": i, "path": str(path), "label": label, "label_name": NAMES[label]}
        if i >= n - broken:
            rows += [{**columns, "method": name, "error": "<u>no picture</u>"} for name in names]
            continue
        if i < flip:
            prediction = (prediction + 1) % 3
        for k, name in enumerate(names):
            middle = noise.normal([side / 2, side / 2 + shift * side], side / 12)
            heat = blob(side, *middle, side / 6) + 0.03 * noise.random((side, side))
            if label == 0 and i % 4 == 0:
                heat = 0.2 * heat + blob(side, side - 3, side - 3, 2)
            heat = heat - 0.1 * (k == 1)
            scale = np.abs(heat).max()
            rows.append({
                **columns, "digest": hashlib.sha256(path.read_bytes()).hexdigest(), "method": name,
                "prediction": prediction, "prediction_name": NAMES[prediction],
                "probability": 0.4 + 0.6 * noise.random(), "target": label,
                "score": 5 * noise.random(), "diagnostics": "{}",
                "metric_deletion": None if i == 3 else noise.random(),
                "map": (heat / scale).astype(np.float16).ravel(), "map_scale": scale,
                "map_height": side, "map_width": side, "signed": k == 1,
            })  # fmt: skip
    rows.sort(key=lambda row: (row["picture"], row["method"]))
    fingerprint = {
        "model": f"Net {seed}",
        "preprocessing": asdict(IMAGENET),
    }
    size = 16
    begin(folder, {
        "fingerprint": fingerprint, "class_names": NAMES, "pictures": n, "shards": -(-n // size),
        "shard_size": size, "settings": {
            "model": {"name": "toy"},
            "methods": {name: {"method": "grad_cam", "options": {}} for name in names},
            "metrics": {"deletion": {"metric": "deletion", "options": {}}},
        },
    })  # fmt: skip
    for shard in range(-(-n // size)):
        mine = [row for row in rows if row["picture"] // size == shard]
        write_shard(folder, shard, mine, ["deletion"], fingerprint)
    return folder
