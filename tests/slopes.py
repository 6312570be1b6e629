"""Arrays at random, and gradients held against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
RNG = np.random.default_rng


def x_of(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Array:
    return RNG(seed).normal(size=shape).astype(dtype)


def slope(score: Callable[[Array], Array], x: Array, place: tuple[int, ...]) -> float:
    """The score's slope at one number of the first item, by central differences."""
    step = np.zeros_like(x)
    step[place] = 1e-5
    return float((score(x + step) - score(x - step))[place[0]] / 2e-5)


def check_slopes(values: Array, score: Callable[[Array], Array], x: Array) -> None:
    rng, size = RNG(5), abs(values).max()
    assert size > 0
    for _ in range(4):
        place = tuple(int(rng.integers(n)) for n in x.shape)
        assert abs(values[place] - slope(score, x, place)) < 1e-6 * size + 1e-9
