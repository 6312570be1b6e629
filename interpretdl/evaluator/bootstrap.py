"""Bootstrap intervals of means over pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

__all__ = ["FEWEST", "interval", "is_worse", "paired"]

FEWEST = 6
"""Below so many pairs no two-sided test by signs reaches 5 %: 2 · 2⁻⁵ = .06, 2 · 2⁻⁶ = .03."""
_ROUNDING = 1e-5  # of scores in float32, as a share: so small a difference is none
_BLOCK = 1_000_000  # numbers drawn at once


def interval(
    values: Any, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval of the mean, as percentiles of the means of samples with replacement.

    Percentiles of few values are too narrow. They are moved outwards so that, for normal values,
    the interval is as wide as Student's (Hesterberg: What Teachers Should Know About the Bootstrap,
    2015, "expanded percentiles").

    Args:
        values: [N], one for each picture; what is not a finite number is left out.
        level: of the interval, in (0, 1).
        draws: samples.
        seed: of the samples.

    Returns:
        low, high; NaN where fewer than two values are known.

    Raises:
        InputError: the values are not [N], or level or draws is out of range.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1:
        raise InputError(f"values must be [N], one for each picture; got {list(values.shape)}")
    if not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1; got {level}")
    if draws < 1:
        raise InputError(f"draws must be at least 1; got {draws}")
    known = values[np.isfinite(values)]
    n = len(known)
    if n < 2:
        return math.nan, math.nan
    from scipy.special import ndtr, stdtrit

    tail = ndtr(-math.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 + level) / 2))
    rng, block = np.random.default_rng(seed), max(1, _BLOCK // n)
    means = np.concatenate([
        known[rng.integers(n, size=(min(block, draws - start), n))].mean(axis=1)
        for start in range(0, draws, block)
    ])  # fmt: skip
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


def paired(
    values_a: Any, values_b: Any, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval of the mean of a − b over the pictures in which both are known.

    Two methods see the same pictures, so that what makes a picture hard for both cancels.

    Args:
        values_a, values_b: [N], of the same pictures in the same order.
        level, draws, seed: see `interval`.

    Returns:
        low, high; NaN where fewer than two pictures have both values.

    Raises:
        InputError: the two are not [N] of one length.
    """
    a, b = np.asarray(values_a, np.float64), np.asarray(values_b, np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise InputError(
            f"both must be [N], of the same pictures; got {list(a.shape)} and {list(b.shape)}"
        )
    return interval(_difference(a, b), level, draws, seed)


def is_worse(values: Any, best: Any, higher_is_better: bool, level: float = 0.95) -> bool:
    """Whether values are worse than the best ones on the same pictures, as far as can be told.

    Args:
        values, best: [N], of the same pictures in the same order.
        higher_is_better: the direction.
        level: of the interval of their difference, which must not hold zero.

    Returns:
        False also where fewer than `FEWEST` pictures have both values, or where they differ by no
        more than scores in float32 are rounded.
    """
    a, b = np.asarray(best, np.float64), np.asarray(values, np.float64)
    low, high = paired(a, b, level)
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < FEWEST:
        return False
    slack = _ROUNDING * float(np.maximum(abs(a[known]), abs(b[known])).mean())
    return low > slack if higher_is_better else high < -slack


def _difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(a) & np.isfinite(b)  # ∞ − ∞ would warn
    return np.where(known, np.where(known, a, 0) - np.where(known, b, 0), np.nan)
