"""A small data set in Broden's layout, made without a download."""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ResourceError
from ..progress import progress_bar
from .cutouts import COLOURS, CutOut, colour_names, cut_outs, stamp, surface
from .tables import CATEGORY_ORDER

__all__ = ["mini_broden"]

# scene: surfaces of the upper and the lower part
_SCENES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "lawn": (("sky", "brick"), ("grass",)),
    "path": (("sky", "brick"), ("gravel",)),
    "table": (("brick", "wood"), ("wood",)),
    "wall": (("brick",), ("brick",)),
    "pattern": (("striped", "dotted", "chequered"),) * 2,
}
_CATEGORY_OF_SURFACE = {"sky": "object", "wood": "material"}  # all others: texture
_MAP_CATEGORIES = ("object", "part", "material", "texture", "color")

Masks = dict[tuple[str, str], NDArray[np.bool_]]


def mini_broden(
    path: str | os.PathLike[str],
    scenes: int = 300,
    seed: int = 0,
    extra_objects: Mapping[str, Sequence[str | os.PathLike[str]]] | None = None,
    *,
    size: int = 224,
) -> Path:
    """Make a data set in Broden's layout from what is installed with scikit-image.

    Objects cut out of photographs (cat, cup, person, space shuttle, helmet, rocket, with parts and
    materials) are placed on backgrounds of one or two textures (CC0: brick, grass, gravel; computed:
    striped, dotted, chequered; wood and sky). Colours are computed from the pixels.

    Args:
        path: the folder to make; it must not exist, or be empty.
        scenes: number of pictures.
        seed: for everything random; the same seed makes the same pictures.
        extra_objects: {concept: cut-outs with transparency}, e.g. `tuxpaint_objects()`.
        size: side of the pictures in pixels, even; labels have half of it.

    Returns:
        the folder.

    Raises:
        InputError: the folder is not empty, or a number is out of range.
        ResourceError: it cannot be written.
    """  # noqa: E501 - one line of text
    target = Path(path)
    if scenes < 1 or size < 32 or size % 2:
        raise InputError(f"scenes must be at least 1, size even and at least 32; got {scenes=}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is not an empty folder; give the name of a new one")
    objects = cut_outs()
    for name, files in (extra_objects or {}).items():
        objects += [stamp(name, file) for file in files]
    table = _Numbers(objects)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise ResourceError(f"cannot write beside {target}: {error.strerror}") from error
    try:
        (beside / "images").mkdir()
        beside.chmod(0o755)
        rows = []
        with progress_bar(scenes, "mini-Broden", "scene") as bar:
            for index in range(scenes):
                rows.append(_write_scene(beside, index, size, seed, objects, table))
                bar.update()
        table.write(beside, rows)
        if target.exists():
            target.rmdir()
        beside.rename(target)
    except OSError as error:
        raise ResourceError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


class _Numbers:
    """The concepts' numbers, and how often each occurs."""

    def __init__(self, objects: Sequence[CutOut]) -> None:
        names = {
            "object": [*(o.name for o in objects), "sky"],
            "scene": list(_SCENES),
            "part": [part for o in objects for part in o.parts],
            "material": [*(m for o in objects for m in o.materials), "wood"],
            "texture": ["brick", "grass", "gravel", "striped", "dotted", "chequered"],
            "color": list(COLOURS),
        }
        keys = [(c, n) for c in CATEGORY_ORDER for n in dict.fromkeys(names[c])]
        self.number = {key: i for i, key in enumerate(keys, 1)}
        self.frequency = dict.fromkeys(keys, 0)
        self.coverage = dict.fromkeys(keys, 0.0)

    def count(self, key: tuple[str, str], share: float) -> None:
        if share > 0:
            self.frequency[key] += 1
            self.coverage[key] += share

    def write(self, folder: Path, rows: list[dict[str, Any]]) -> None:
        of = {c: [key for key in self.number if key[0] == c] for c in CATEGORY_ORDER}
        _write(folder / "index.csv", rows)
        _write(
            folder / "category.csv",
            [
                {"name": c, "first": self.number[keys[0]], "last": self.number[keys[-1]],
                 "count": len(keys), "frequency": sum(self.frequency[key] for key in keys)}
                for c, keys in of.items()
            ],
        )  # fmt: skip
        _write(
            folder / "label.csv",
            [
                {"number": number, "name": key[1], "category": f"{key[0]}({self.frequency[key]})",
                 "frequency": self.frequency[key], "coverage": round(self.coverage[key], 6),
                 "syns": ""}
                for key, number in self.number.items()
            ],
        )  # fmt: skip
        for c, keys in of.items():
            _write(
                folder / f"c_{c}.csv",
                [
                    {"code": code, "number": self.number[key], "name": key[1],
                     "frequency": self.frequency[key], "coverage": round(self.coverage[key], 6)}
                    for code, key in enumerate(keys, 1)
                ],
            )  # fmt: skip


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_scene(
    folder: Path, index: int, size: int, seed: int, objects: Sequence[CutOut], table: _Numbers
) -> dict[str, Any]:
    """Write a scene's pictures; its row in index.csv."""
    from PIL import Image

    rng = np.random.default_rng([seed, index])
    scene = list(_SCENES)[rng.integers(len(_SCENES))]
    pixels, masks = _compose(scene, size, objects, rng)
    half = size // 2
    small = pixels.reshape(half, 2, half, 2, 3).mean(axis=(1, 3)).astype(np.uint8)
    masks = {key: mask[::2, ::2] for key, mask in masks.items()}
    colours = colour_names(small)
    masks |= {("color", name): colours == i for i, name in enumerate(COLOURS)}
    name = f"{index:05d}"
    Image.fromarray(pixels).save(folder / "images" / f"{name}.jpg", quality=92)
    row: dict[str, Any] = {
        "image": f"{name}.jpg", "split": "train" if index % 10 else "val",
        "ih": size, "iw": size, "sh": half, "sw": half,
    }  # fmt: skip
    cells = {"scene": str(table.number["scene", scene])}
    table.count(("scene", scene), 1.0)
    for category in _MAP_CATEGORIES:
        plane = np.zeros((half, half), np.uint16)
        for key, mask in masks.items():
            if key[0] == category:
                plane[mask] = table.number[key]
                table.count(key, float(mask.mean()))
        if plane.any():
            coded = np.stack([plane % 256, plane // 256, np.zeros_like(plane)], axis=-1)
            cells[category] = f"{name}_{category}.png"
            Image.fromarray(coded.astype(np.uint8)).save(folder / "images" / cells[category])
    return row | {category: cells.get(category, "") for category in CATEGORY_ORDER}


def _compose(
    scene: str, size: int, objects: Sequence[CutOut], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Masks]:
    """A picture [size, size, 3] and where its concepts are."""
    upper, lower = (parts[rng.integers(len(parts))] for parts in _SCENES[scene])
    pixels = surface(upper, size, rng)
    masks: Masks = {}
    ground = np.zeros((size, size), bool)
    if lower != upper and scene != "pattern":
        ground[int(size * rng.uniform(0.35, 0.65)) :] = True
        pixels = np.where(ground[..., None], surface(lower, size, rng), pixels)
    for name, where in ((upper, ~ground), (lower, ground)):
        key = _CATEGORY_OF_SURFACE.get(name, "texture"), name
        if where.any():
            masks[key] = masks.get(key, False) | where
    # Drawn by name: each concept is as likely, however many cut-outs it has.
    names = sorted({cut.name for cut in objects})
    for _ in range(int(rng.integers(1, 4))):
        name = names[rng.integers(len(names))]
        choices = [cut for cut in objects if cut.name == name]
        pixels, masks = _placed(pixels, masks, choices[rng.integers(len(choices))], rng)
    return pixels, masks


def _placed(
    pixels: NDArray[np.uint8], masks: Masks, cut: CutOut, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Masks]:
    """The picture and its masks with an object put somewhere, maybe mirrored."""
    from PIL import Image

    size = len(pixels)
    scale = size * rng.uniform(0.35, 0.7) / max(cut.mask.shape)
    height, width = (max(2, round(edge * scale)) for edge in cut.mask.shape)
    mirrored = rng.random() < 0.5
    top = int(rng.integers(size - height + 1))
    left = int(rng.integers(size - width + 1))
    box = slice(top, top + height), slice(left, left + width)

    def fitted(array: NDArray[Any], how: Image.Resampling) -> NDArray[Any]:
        image = Image.fromarray(array).resize((width, height), how)
        result = np.asarray(image)
        return result[:, ::-1] if mirrored else result

    def in_place(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        whole = np.zeros((size, size), bool)
        whole[box] = fitted(mask.astype(np.uint8) * 255, Image.Resampling.BILINEAR) > 127
        return whole

    shape = in_place(cut.mask)
    pixels = pixels.copy()
    drawn = fitted(cut.pixels, Image.Resampling.LANCZOS)
    pixels[box] = np.where(shape[box][..., None], drawn, pixels[box])
    masks = {key: mask & ~shape for key, mask in masks.items()}
    new = [(("object", cut.name), cut.mask)]
    new += [(("part", part), mask) for part, mask in cut.parts.items()]
    new += [(("material", material), mask) for material, mask in cut.materials.items()]
    for key, mask in new:
        masks[key] = masks.get(key, np.zeros_like(shape)) | (in_place(mask) & shape)
    return pixels, masks
