"""What a mini-Broden is made of: cut-outs of scikit-image's photographs, textures and colours."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data_processor.decode import load_image
from ..errors import InputError

__all__ = ["COLOURS", "CutOut", "colour_names", "cut_outs", "stamp", "surface", "tuxpaint_objects"]

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_Outline = tuple[tuple[float, float], ...]  # x, y; two points are an ellipse: centre and radii

# Outlines drawn by hand, in pixels of the photograph.
_CAT: _Outline = (
    (38, 0), (33, 60), (42, 115), (38, 160), (70, 190), (105, 215), (140, 240), (175, 265),
    (200, 280), (240, 290), (275, 280), (300, 263), (313, 235), (330, 195), (352, 162),
    (362, 120), (358, 76), (372, 48), (398, 2), (330, 0),
)  # fmt: skip
_CUP: tuple[_Outline, ...] = (
    ((290, 112), (117, 95)),
    ((174, 120), (178, 160), (200, 220), (230, 245), (255, 280), (285, 285), (320, 278),
     (345, 240), (385, 195), (406, 140)),
    ((228, 232), (258, 248), (245, 270), (225, 308), (198, 300), (200, 275), (212, 245)),
)  # fmt: skip
_ASTRONAUT: _Outline = (
    (165, 52), (185, 38), (215, 20), (240, 16), (275, 28), (297, 58), (301, 90), (290, 120),
    (275, 135), (264, 150), (260, 178), (290, 205), (304, 235), (330, 250), (345, 280),
    (355, 320), (362, 348), (330, 365), (300, 392), (285, 430), (278, 480), (277, 511),
    (35, 511), (27, 470), (20, 400), (40, 300), (55, 255), (110, 208), (115, 188), (130, 160),
    (160, 150), (183, 150), (178, 130), (160, 105), (154, 75),
)  # fmt: skip
_CAMERAMAN: _Outline = (
    (0, 250), (20, 235), (60, 165), (85, 140), (130, 125), (155, 105), (163, 95), (180, 72),
    (205, 63), (240, 75), (262, 98), (270, 115), (260, 130), (248, 145), (254, 168), (240, 190),
    (242, 215), (246, 245), (265, 218), (285, 240), (288, 285), (250, 312), (207, 295),
    (142, 380), (150, 430), (150, 511), (0, 511),
)  # fmt: skip
_SHUTTLE: _Outline = (
    (396, 45), (402, 15), (413, 0), (430, 8), (437, 45), (445, 40), (455, 60), (455, 190),
    (457, 262), (430, 265), (420, 240), (400, 268), (370, 272), (368, 255), (355, 230),
    (355, 208), (378, 180), (378, 100), (382, 45), (388, 42),
)  # fmt: skip
_ROCKET: _Outline = (
    (322, 127), (332, 140), (333, 180), (335, 205), (334, 400), (311, 405), (310, 200), (310, 145),
)  # fmt: skip

# concept: (photograph, outlines, {part: outlines}, {material: outlines, None is all the rest})
_OBJECTS: tuple[
    tuple[
        str,
        str,
        tuple[_Outline, ...],
        Mapping[str, tuple[_Outline, ...]],
        Mapping[str, tuple[_Outline, ...] | None],
    ],
    ...,
] = (
    ("cat", "chelsea", (_CAT,), {
        "eye": (((170, 115), (34, 31)), ((319, 136), (22, 28))),
        "nose": (((231, 228), (262, 230), (292, 232), (283, 246), (258, 268), (245, 250)),),
    }, {"fur": None}),
    ("cup", "coffee", _CUP, {"handle": _CUP[2:]}, {
        "coffee": (((205, 150), (225, 112), (270, 97), (310, 100), (345, 116), (369, 150),
                    (345, 180), (300, 193), (250, 185)),),
        "ceramic": None,
    }),
    ("person", "astronaut", (_ASTRONAUT,), {
        "face": (((185, 90), (205, 86), (266, 90), (268, 130), (255, 170), (225, 180),
                  (200, 165), (183, 130)),),
        "eye": (((202, 102), (11, 6)), ((247, 102), (11, 6))),
    }, {"cloth": (((110, 208), (190, 260), (304, 245), (362, 348), (285, 430), (277, 511),
                   (35, 511), (20, 400), (55, 255)),)}),
    ("person", "camera", (_CAMERAMAN,), {
        "face": (((205, 130), (245, 130), (254, 168), (232, 195), (205, 180)),),
    }, {"cloth": (((0, 250), (60, 165), (130, 125), (165, 115), (185, 200), (242, 215),
                   (288, 250), (250, 312), (207, 295), (142, 380), (150, 511), (0, 511)),)}),
    ("space shuttle", "astronaut", (_SHUTTLE,), {}, {}),
    ("helmet", "astronaut", (((388, 448), (111, 104)),), {}, {}),
    ("rocket", "rocket", (_ROCKET,), {}, {}),
)  # fmt: skip

# Several prototypes in sRGB for each of the eleven basic colour terms.
COLOURS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "black": ((0, 0, 0), (28, 28, 28)),
    "blue": ((0, 0, 255), (30, 60, 140), (90, 150, 220), (60, 110, 170)),
    "brown": ((120, 70, 30), (150, 100, 60), (80, 45, 25)),
    "grey": ((90, 90, 90), (128, 128, 128), (170, 170, 170)),
    "green": ((0, 128, 0), (60, 160, 60), (120, 150, 60), (40, 70, 30), (140, 210, 120)),
    "orange": ((255, 140, 0), (235, 100, 40), (240, 160, 80)),
    "pink": ((255, 160, 190), (240, 110, 160), (230, 170, 160)),
    "purple": ((128, 0, 128), (110, 70, 160), (75, 40, 110), (180, 130, 210)),
    "red": ((220, 20, 20), (160, 20, 20), (190, 50, 30)),
    "white": ((255, 255, 255), (225, 225, 225)),
    "yellow": ((255, 235, 0), (220, 200, 60), (245, 225, 130)),
}


@dataclass(frozen=True)
class CutOut:
    """An object that can be placed on a background.

    Attributes:
        name: its concept.
        pixels: uint8 [h, w, 3].
        mask: where it is, bool [h, w].
        parts, materials: {concept: bool [h, w]}.
    """

    name: str
    pixels: Pixels
    mask: Mask
    parts: Mapping[str, Mask] = field(default_factory=dict)
    materials: Mapping[str, Mask] = field(default_factory=dict)


@cache
def photograph(name: str) -> Pixels:
    """A picture in scikit-image's own package, uint8 [H, W, 3]; none is downloaded."""
    from skimage import data

    pixels = np.asarray(getattr(data, name)())
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def _drawn(outlines: Sequence[_Outline], size: tuple[int, int]) -> Mask:
    from PIL import Image, ImageDraw

    image = Image.new("1", (size[1], size[0]))
    draw = ImageDraw.Draw(image)
    for points in outlines:
        if len(points) == 2:
            (x, y), (a, b) = points
            draw.ellipse((x - a, y - b, x + a, y + b), fill=1)
        else:
            draw.polygon(points, fill=1)
    return np.asarray(image)


def cut_outs() -> list[CutOut]:
    """The objects of scikit-image's photographs (CC0 or in the public domain)."""
    found = []
    for name, source, outlines, parts, materials in _OBJECTS:
        pixels = photograph(source)
        mask = _drawn(outlines, pixels.shape[:2])
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        rest = mask.copy()
        masks = {}
        for material, shapes in materials.items():
            area = rest if shapes is None else mask & _drawn(shapes, mask.shape)
            rest = rest & ~area
            masks[material] = area[box]
        found.append(
            CutOut(
                name,
                pixels[box],
                mask[box],
                {part: (mask & _drawn(shapes, mask.shape))[box] for part, shapes in parts.items()},
                masks,
            )
        )
    return found


def stamp(name: str, path: str | os.PathLike[str]) -> CutOut:
    """An object from a picture with transparency.

    Raises:
        ImageReadError: it cannot be read.
        InputError: no pixel is opaque.
    """
    pixels = load_image(path, channels=4)
    mask = pixels[..., 3] > 127
    if not mask.any():
        raise InputError(f"{path} has no opaque pixel; give a cut-out on a transparent background")
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return CutOut(name, pixels[box][..., :3], mask[box])


def tuxpaint_objects(
    folder: str | os.PathLike[str] = "/usr/share/tuxpaint/stamps",
) -> dict[str, list[Path]]:
    """Cut-outs of Tux Paint's stamps (Debian: tuxpaint-stamps-default; GPL-2), by concept.

    For `mini_broden(extra_objects=)`.

    Raises:
        InputError: they are not installed there.
    """
    places = {
        "bird": "animals/birds", "fish": "animals/fish", "insect": "animals/insects",
        "mammal": "animals/mammals", "flower": "plants/flowers", "tree": "plants/trees",
        "fruit": "food/fruit", "vegetable": "food/vegetables", "vehicle": "vehicles",
    }  # fmt: skip
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"no folder {root}; install tuxpaint-stamps-default, or name another")
    found = {
        name: sorted(p for p in (root / place).rglob("*.png") if "cartoon" not in p.parts)
        for name, place in places.items()
    }
    return {name: paths for name, paths in found.items() if paths}


def surface(name: str, size: int, rng: np.random.Generator) -> Pixels:
    """A background uint8 [size, size, 3]: brick, grass, gravel, wood, sky, striped, dotted, chequered.

    The first four are photographs, at a random place and tint.
    """  # noqa: E501 - one line of summary
    if name in ("brick", "grass", "gravel"):
        tints = {
            "brick": ((190, 90, 60), (170, 130, 100), (150, 150, 150)),
            "grass": ((90, 150, 60), (120, 150, 60), (70, 120, 60)),
            "gravel": ((150, 150, 150), (160, 140, 120), (120, 120, 130)),
        }[name]
        grey = _crop(photograph(name), size, rng)[..., :1] / 255.0
        tint = np.array(tints[rng.integers(len(tints))])
        return _bytes(grey / grey.mean() * tint * rng.uniform(0.8, 1.1))
    if name == "wood":
        return _crop(photograph("coffee")[10:390, 485:600], size, rng)
    y, x = np.mgrid[:size, :size] / size
    if name == "sky":
        top, low = np.array([70, 120, 190]), np.array([190, 215, 240])
        clouds = _noise(size, rng)[..., None]
        sky = top + (low - top) * y[..., None]
        return _bytes(sky + (255 - sky) * np.clip(clouds - 0.55, 0, 1) * 2)
    colours = np.array([shade for shades in COLOURS.values() for shade in shades])
    first, second = colours[rng.choice(len(colours), 2, replace=False)]
    angle, count = rng.uniform(0, np.pi), rng.uniform(6, 14)
    u = count * (x * np.cos(angle) + y * np.sin(angle))
    v = count * (y * np.cos(angle) - x * np.sin(angle))
    pattern = {
        "striped": u % 1 < 0.5,
        "dotted": (u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.09,
        "chequered": (u % 1 < 0.5) == (v % 1 < 0.5),
    }[name]
    return _bytes(np.where(pattern[..., None], first, second) + rng.normal(0, 4, (size, size, 1)))


def colour_names(pixels: Pixels) -> NDArray[np.int64]:
    """Position in `COLOURS` of each pixel's nearest colour in CIELAB, [H, W] for [H, W, 3]."""
    from skimage.color import rgb2lab

    owners = [i for i, shades in enumerate(COLOURS.values()) for _ in shades]
    shades = np.array([shade for shades in COLOURS.values() for shade in shades], np.uint8)
    lab, known = rgb2lab(pixels), rgb2lab(shades[None])[0]
    distance = ((lab[..., None, :] - known) ** 2).sum(axis=-1)
    nearest: NDArray[np.int64] = np.asarray(owners)[distance.argmin(axis=-1)]
    return nearest


def _bytes(values: NDArray[np.float64]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _crop(pixels: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    """A square at a random place, mirrored beyond the edges."""
    height, width = pixels.shape[:2]
    short = [max(0, size - edge) for edge in (height, width)]
    pixels = np.pad(pixels, ((0, short[0]), (0, short[1]), (0, 0)), "symmetric")
    top, left = (int(rng.integers(edge - size + 1)) for edge in pixels.shape[:2])
    return pixels[top : top + size, left : left + size]


def _noise(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Smooth noise in [0, 1]."""
    from PIL import Image

    total = np.zeros((size, size))
    for cells in (4, 8, 16):
        grid = rng.uniform(0, 1, (cells, cells)).astype(np.float32)
        image = Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)
        total += np.asarray(image) * 4 / cells
    smooth: NDArray[np.float64] = (total - total.min()) / (total.max() - total.min())
    return smooth
