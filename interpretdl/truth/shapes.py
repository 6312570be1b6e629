"""Pictures of keys and decoys: shapes on natural backgrounds, each of which can be taken out."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .backgrounds import SIDE

__all__ = ["DECOYS", "KEYS", "Shape", "draw", "scatter", "silhouette"]

KEYS = ("ring", "cross", "triangle")
DECOYS = ("disc", "square", "bars")
_HUES = {"ring": 5 / 6, "cross": 1 / 3, "triangle": 2 / 3}
_OTHER_HUES = (0.0, 1 / 6, 1 / 2)
_FINE = 4  # shapes are drawn this many times larger, and reduced


@dataclass(frozen=True)
class Shape:
    """A shape of one colour.

    Attributes:
        kind: a name in KEYS or DECOYS.
        x, y: its centre in pixels.
        size: its radius in pixels.
        angle: how far it is turned, in radians.
        colour: (red, green, blue) in [0, 1].
    """

    kind: str
    x: float
    y: float
    size: float
    angle: float = 0.0
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)


def _outlines(kind: str) -> tuple[list[list[tuple[float, float]]], float | None]:
    """Polygons in units of the radius; or of a disc with a hole, the hole's radius."""
    if kind == "disc":
        return [], 0.0
    if kind == "ring":
        return [], 0.55
    if kind == "square":
        return [_box(0.8, 0.8)], None
    if kind == "bars":
        return [_box(0.95, 0.27, y=0.55), _box(0.95, 0.27, y=-0.55)], None
    if kind == "cross":
        return [_box(1.0, 0.3), _box(0.3, 1.0)], None
    corners = [np.pi / 2 + 2 * np.pi * k / 3 for k in range(3)]
    return [[(1.1 * np.cos(a), 1.1 * np.sin(a)) for a in corners]], None


def _box(width: float, height: float, y: float = 0.0) -> list[tuple[float, float]]:
    return [(-width, y - height), (width, y - height), (width, y + height), (-width, y + height)]


def silhouette(shape: Shape) -> NDArray[np.float32]:
    """How much of each pixel the shape covers, float32 [64, 64] in [0, 1]."""
    reach = int(np.ceil(1.2 * shape.size)) + 1  # the farthest corner, and a pixel more
    left, top = int(shape.x) - reach, int(shape.y) - reach
    side = 2 * reach + 1
    canvas = Image.new("L", (side * _FINE, side * _FINE))
    pen = ImageDraw.Draw(canvas)
    x, y, size = (shape.x - left) * _FINE, (shape.y - top) * _FINE, shape.size * _FINE
    polygons, hole = _outlines(shape.kind)
    if hole is not None:
        pen.ellipse((x - size, y - size, x + size, y + size), fill=255)
        if hole:
            inner = hole * size
            pen.ellipse((x - inner, y - inner, x + inner, y + inner), fill=0)
    cos, sin = np.cos(shape.angle) * size, np.sin(shape.angle) * size
    for polygon in polygons:
        pen.polygon([(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in polygon], fill=255)
    covered = np.asarray(canvas.reduce(_FINE), np.float32) / 255
    whole = np.zeros((SIDE + 2 * side, SIDE + 2 * side), np.float32)  # with room at the edges
    whole[top + side : top + 2 * side, left + side : left + 2 * side] = covered
    return whole[side:-side, side:-side]


def draw(background: NDArray[np.float32], shapes: Sequence[Shape]) -> NDArray[np.float32]:
    """The shapes over a background, float32 [3, 64, 64] in [0, 1] like the background."""
    picture = background.copy()
    for shape in shapes:
        covered = silhouette(shape)
        colour = np.asarray(shape.colour, np.float32)[:, None, None]
        picture += covered * (colour - picture)
    return picture


def scatter(kinds: Sequence[str], rng: np.random.Generator, coloured: bool = False) -> list[Shape]:
    """A shape of each kind, at random places that do not overlap, of random size.

    Args:
        kinds: names in KEYS and DECOYS.
        rng: draws all that is random.
        coloured: whether each key has a colour of its own, and decoys one that no key has. Else
            any shape has any colour.
    """
    placed: list[Shape] = []
    while len(placed) < len(kinds):
        size = rng.uniform(6, 10)
        x, y = rng.uniform(size + 1, SIDE - size - 1, 2)
        if any(np.hypot(x - s.x, y - s.y) < size + s.size + 2 for s in placed):
            placed = placed if rng.random() < 0.97 else []  # no room left: begin again
            continue
        kind = kinds[len(placed)]
        turn = rng.uniform(-0.3, 0.3)
        hue = rng.random()
        if coloured:
            hue = _HUES.get(kind, rng.choice(_OTHER_HUES)) + 0.1 * (hue - 0.5)
        colour = colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.6, 1), rng.uniform(0.7, 1))
        placed.append(Shape(kind, float(x), float(y), float(size), float(turn), colour))
    return placed
