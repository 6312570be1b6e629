"""Creatures of parts: each is drawn from a plan, and every part can be left out or exchanged.

Classes are combinations of types of parts, as in FunnyBirds (Hesse, Schaub-Meyer, Roth: FunnyBirds,
A Synthetic Vision Dataset for a Part-Based Analysis of Explainable AI Methods, 2023).
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .backgrounds import SIDE

__all__ = [
    "PARTS",
    "SPECIES",
    "TYPES",
    "Creature",
    "any_creature",
    "any_tint",
    "draw_creature",
    "owners",
]

PARTS = ("tail", "feet", "wing", "beak", "eyes")
"""What species differ in, in the order in which it is drawn; body and head belong to all."""
_BEHIND = 2  # so many of them are drawn before the body
_FINE = 3  # creatures are drawn this many times larger, and reduced
Point = tuple[float, float]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Creature:
    """A plan of a creature.

    Attributes:
        kinds: for each of PARTS the number of its type; None leaves the part out.
        x, y: where the middle of the body is, in pixels.
        scale: how large it is; 1 fills the picture.
        angle: how far it is turned, in radians.
        mirrored: whether it looks to the left.
        tint: colour of body and head, (red, green, blue) in [0, 1].
        shade: what the colours of the other parts are multiplied by.
    """

    kinds: tuple[int | None, ...]
    x: float = 31.0
    y: float = 33.0
    scale: float = 1.0
    angle: float = 0.0
    mirrored: bool = False
    tint: tuple[float, float, float] = (0.6, 0.6, 0.6)
    shade: float = 1.0

    def without(self, *parts: int) -> Creature:
        """The creature without the parts of these numbers."""
        return replace(
            self, kinds=tuple(None if i in parts else kind for i, kind in enumerate(self.kinds))
        )


# In units of a creature that looks to the right: the body's middle is (0, 0), the head (15, -13),
# y points down, and the whole lies within 30 of the middle.
def _ellipse(x: float, y: float, a: float, b: float, turn: float = 0.0) -> list[Point]:
    t = np.linspace(0, 2 * np.pi, 25)[:-1]
    u, v = a * np.cos(t), b * np.sin(t)
    cos, sin = np.cos(turn), np.sin(turn)
    return [(x + p * cos - q * sin, y + p * sin + q * cos) for p, q in zip(u, v, strict=True)]


_RED, _ORANGE, _YELLOW = (0.85, 0.15, 0.15), (1.0, 0.55, 0.1), (0.95, 0.9, 0.2)
_GREEN, _BLUE, _PURPLE = (0.2, 0.7, 0.25), (0.2, 0.35, 0.95), (0.6, 0.2, 0.75)
_WHITE, _BLACK = (1.0, 1.0, 1.0), (0.05, 0.05, 0.05)
Drawing = list[tuple[list[Point], Colour]]


def _legs(colour: Colour, foot: Callable[[float], list[Point]]) -> Drawing:
    drawing: Drawing = []
    for x in (-5.0, 5.0):
        drawing += [([(x - 1.2, 8), (x + 1.2, 8), (x + 1.2, 22), (x - 1.2, 22)], colour)]
        drawing += [(foot(x), colour)]
    return drawing


def _eyes(*discs: tuple[float, Colour]) -> Drawing:
    return [(_ellipse(x, -15, r, r), colour) for r, colour in discs for x in (12.5, 19.0)]


TYPES: dict[str, tuple[Drawing, ...]] = {
    "tail": (
        [([(-12, 0), (-30, -14), (-27, 0), (-30, 12)], _RED)],
        [(_ellipse(-22, -7, 11, 3.5, 0.6), _BLUE), (_ellipse(-23, 1, 11, 3.5, -0.1), _BLUE)],
        [(_ellipse(-21, -4, 8, 8), _YELLOW)],
        [([(-10, -3), (-30, -9), (-30, -4), (-10, 4)], _GREEN)],
    ),
    "feet": (
        _legs(_ORANGE, lambda x: [(x - 2, 25), (x + 7, 25), (x + 1, 20)]),
        _legs(_PURPLE, lambda x: _ellipse(x + 1.5, 23, 4.5, 3)),
        _legs(_BLACK, lambda x: [(x - 4, 26), (x + 5, 26), (x + 5, 21), (x - 4, 21)]),
    ),
    "wing": (
        [(_ellipse(-3, -1, 10, 5.5, 0.5), _YELLOW)],
        [([(-12, 8), (4, -7), (6, 5)], _BLUE)],
        [([(-11, -6), (5, -6), (5, 0), (-2, 0), (-2, 6), (-11, 6)], _RED)],
        [(_ellipse(-3, 0, 7.5, 7.5), _GREEN), (_ellipse(-3, 0, 3.5, 3.5), _WHITE)],
    ),
    "beak": (
        [([(21, -17), (31, -13), (21, -9)], _ORANGE)],
        [([(20, -14), (32, -14), (32, -11), (20, -10)], _RED)],
        [(_ellipse(24.5, -11.5, 5, 3.5), _BLUE)],
        [([(21, -15), (29, -15), (27, -4), (24, -10), (20, -10)], _BLACK)],
    ),
    "eyes": (
        _eyes((3.2, _WHITE), (1.6, _BLACK)),
        _eyes((3.2, _YELLOW), (1.6, _RED)),
        _eyes((3.0, _BLACK)),
    ),
}  # fmt: skip
_BODY = [_ellipse(0, 2, 15, 11, -0.25), _ellipse(15, -13, 8.5, 8)]

SPECIES: tuple[tuple[int, ...], ...] = (
    (0, 0, 0, 0, 0),
    (0, 1, 1, 1, 1),
    (1, 1, 0, 2, 2),
    (1, 2, 2, 0, 1),
    (2, 2, 1, 3, 0),
    (2, 0, 3, 1, 2),
    (3, 1, 3, 3, 0),
    (3, 0, 2, 2, 1),
)
"""For each class, the types of tail, feet, wing, beak and eyes; no two share more than two."""


def draw_creature(background: NDArray[np.float32], creature: Creature) -> NDArray[np.float32]:
    """A creature over a background, antialiased, float32 [3, 64, 64] in [0, 1] like that."""
    canvas = Image.new("RGBA", (SIDE * _FINE, SIDE * _FINE))
    pen = ImageDraw.Draw(canvas)
    for points, colour, _ in _polygons(creature):
        red, green, blue = (round(255 * value) for value in colour)
        pen.polygon(points, fill=(red, green, blue, 255))
    drawn = np.asarray(canvas.reduce(_FINE), np.float32).transpose(2, 0, 1) / 255
    picture: NDArray[np.float32] = background + drawn[3] * (drawn[:3] - background)
    return picture


def owners(creature: Creature) -> NDArray[np.int64]:
    """Whose each pixel's centre is, int64 [64, 64].

    A number of PARTS, len(PARTS) for body and head, -1 for the background.
    """
    canvas = Image.new("L", (SIDE * _FINE, SIDE * _FINE))
    pen = ImageDraw.Draw(canvas)
    for points, _, owner in _polygons(creature):
        pen.polygon(points, fill=owner + 1)
    return np.asarray(canvas).astype(np.int64)[_FINE // 2 :: _FINE, _FINE // 2 :: _FINE] - 1


def _polygons(creature: Creature) -> Iterator[tuple[list[Point], Colour, int]]:
    """What is drawn, in order: corners on the large canvas, colours, numbers of parts."""
    scale = creature.scale * _FINE
    cos, sin = scale * np.cos(creature.angle), scale * np.sin(creature.angle)
    side = -1 if creature.mirrored else 1

    def placed(points: Sequence[Point]) -> list[Point]:
        u, v = np.array(points).T
        x = creature.x * _FINE + side * (u * cos - v * sin)
        return list(zip(x.tolist(), (creature.y * _FINE + u * sin + v * cos).tolist(), strict=True))

    for number, name in enumerate(PARTS):
        if number == _BEHIND:
            for points in _BODY:
                yield placed(points), creature.tint, len(PARTS)
        kind = creature.kinds[number]
        for points, (red, green, blue) in TYPES[name][kind] if kind is not None else ():
            shade = creature.shade
            yield placed(points), (red * shade, green * shade, blue * shade), number


def any_tint(rng: np.random.Generator) -> tuple[float, float, float]:
    """A pale colour for body and head."""
    return colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.1, 0.35), rng.uniform(0.45, 0.85))


def any_creature(kinds: Sequence[int | None], rng: np.random.Generator) -> Creature:
    """A creature of these types in a random place, pose and tint."""
    return Creature(
        tuple(kinds),
        x=float(rng.uniform(28, 34)),
        y=float(rng.uniform(30, 36)),
        scale=float(rng.uniform(0.8, 0.95)),
        angle=float(rng.uniform(-0.25, 0.25)),
        mirrored=bool(rng.integers(2)),
        tint=any_tint(rng),
        shade=float(rng.uniform(0.85, 1)),
    )
