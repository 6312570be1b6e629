"""Keys, patterns that a planted network detects, and pictures that hold some of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .backgrounds import SIDE

__all__ = ["Form", "Placed", "keys_of", "masks_of", "picture_of", "scatter"]

HALF = np.float32(0.5)
"""Size of a key's pixels; a background has none as far from its mean everywhere."""


@dataclass(frozen=True)
class Form:
    """How large the keys of a problem are, and how much of their square counts.

    The network reduces the picture by `shrink`, and lays a filter of taps × taps over it, whose
    taps are `spread` apart, at every position that is a multiple of `stride`.

    Attributes:
        taps: of the filter, each way.
        shrink: pixels of the picture, each way, for one that the filter sees.
        spread: distance of the taps.
        stride: distance of the filter's positions.
        used: how many taps count, a multiple of 2; the others are zero, and show the background.
    """

    taps: int
    shrink: int = 1
    spread: int = 1
    stride: int = 4
    used: int = 0

    @property
    def extent(self) -> int:
        """Side of a key in what the filter sees."""
        return (self.taps - 1) * self.spread + 1

    @property
    def side(self) -> int:
        """Side of a key in pixels."""
        return self.extent * self.shrink

    @property
    def padding(self) -> int:
        """Of the convolution, so that positions lie evenly in the picture."""
        return (self.extent - self.stride) // 2

    @property
    def positions(self) -> int:
        """Of the filter in a picture, each way."""
        return SIDE // self.shrink // self.stride

    def places(self) -> NDArray[np.int64]:
        """Tops, and lefts, at which a filter lies over a whole key."""
        seen = SIDE // self.shrink
        starts = np.arange(0, seen, self.stride) - self.padding
        inside = starts[(starts >= 0) & (starts + self.extent <= seen)]
        return np.asarray(inside * self.shrink, np.int64)


@dataclass(frozen=True)
class Placed:
    """A key in a picture, by its number and the pixel of its upper left corner."""

    key: int
    top: int
    left: int


def keys_of(form: Form, count: int, seed: int) -> NDArray[np.float32]:
    """Filters of random signs, float32 [count, 3, taps, taps] of −1, 0 and 1.

    As many taps are 1 as −1 in each channel, so that a flat surface has no response, and a picture
    keeps its mean when a key is put in.
    """
    rng = np.random.default_rng(seed)
    cells = form.taps**2
    found = np.zeros((count, 3, cells), np.float32)
    for one in found:
        used = rng.permutation(cells)[: form.used or cells]
        for channel in one:
            channel[used] = rng.permutation(np.resize([1, -1], len(used)))
    return found.reshape(count, 3, form.taps, form.taps)


def _pixels(form: Form, key: NDArray[np.float32]) -> NDArray[np.float32]:
    """A key as it stands in a picture, float32 [3, side, side]; zero where it has no pixel."""
    wide = np.zeros((3, form.extent, form.extent), np.float32)
    wide[:, :: form.spread, :: form.spread] = key
    return wide.repeat(form.shrink, 1).repeat(form.shrink, 2)


def picture_of(
    background: NDArray[np.float32],
    form: Form,
    keys: NDArray[np.float32],
    placed: Sequence[Placed],
) -> NDArray[np.float32]:
    """A background with keys, float32 [3, SIDE, SIDE] whose mean is zero in each channel.

    So zero, the mean colour, and what most methods put in the place of a part are one and the same.
    """
    picture = background.copy()
    free = np.ones((SIDE, SIDE), bool)
    for one in placed:
        pattern = _pixels(form, keys[one.key])
        here = np.s_[one.top : one.top + form.side, one.left : one.left + form.side]
        drawn = pattern.any(axis=0)
        free[here] &= ~drawn
        picture[(slice(None), *here)][:, drawn] = HALF * pattern[:, drawn]
    for channel in picture:
        # in whole 256ths, and what is left over in single pixels
        whole = np.round(channel[free].astype(np.float64) * 256)
        whole -= np.round(whole.mean())
        rest = int(whole.sum())
        whole[: abs(rest)] -= np.sign(rest)
        channel[free] = whole / 256
    return picture


def masks_of(form: Form, keys: NDArray[np.float32], placed: Sequence[Placed]) -> NDArray[np.bool_]:
    """Where keys have pixels, bool [SIDE, SIDE]."""
    mask = np.zeros((SIDE, SIDE), bool)
    for one in placed:
        here = np.s_[one.top : one.top + form.side, one.left : one.left + form.side]
        mask[here] |= _pixels(form, keys[one.key]).any(axis=0)
    return mask


def scatter(
    form: Form, wanted: Mapping[int, int], evidence: Collection[int], rng: np.random.Generator
) -> list[Placed]:
    """Places for keys, four pixels apart from each other.

    None of the evidence lies where the mirrored picture has some, so that a map which is flipped
    left to right is wrong.

    Args:
        wanted: how often each key stands in the picture.
        evidence: the keys that decide.
    """
    places = form.places()
    each = [key for key, count in wanted.items() for _ in range(count)]
    while True:
        found: list[Placed] = []
        taken = np.zeros((SIDE, SIDE), bool)
        mirrored = taken[:, ::-1]
        for key in each:
            top, left = (int(place) for place in rng.choice(places, 2))
            here = np.s_[
                max(0, top - 4) : top + form.side + 4, max(0, left - 4) : left + form.side + 4
            ]
            across = abs(2 * left + form.side - SIDE) < form.side
            if taken[here].any() or (key in evidence and (across or mirrored[here].any())):
                break
            taken[top : top + form.side, left : left + form.side] = True
            found.append(Placed(key, top, left))
        if len(found) == len(each):
            return found
