"""Bootstrap intervals of means over pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .evaluation import mean_of

__all__ = ["FEWEST", "interval", "interval_over", "is_worse", "is_worse_over", "paired"]

FEWEST = 6
"""Below so many pairs no two-sided test by signs reaches 5 %: 2 · 2⁻⁵ = .06, 2 · 2⁻⁶ = .03."""
_ROUNDING = 1e-5  # of scores in float32, as a share: so small a difference is none
_BLOCK = 1_000_000  # numbers drawn at once


def interval(
    values: Any, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval of the mean, as percentiles of the means of samples with replacement.

    Percentiles of few values are too narrow. They are moved outwards, to where Student's interval
    would have them (Hesterberg: What Teachers Should Know About the Bootstrap, 2015, "expanded
    percentiles"). Of fewer than `FEWEST` values no percentile is far enough out, as no sample goes
    beyond the values: there it is Student's interval itself.

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

    reach = stdtrit(n - 1, (1 + level) / 2)
    if n < FEWEST:
        mean, error = float(known.mean()), float(known.std(ddof=1)) / math.sqrt(n)
        return mean - reach * error, mean + reach * error
    tail = ndtr(-math.sqrt(n / (n - 1)) * reach)
    rng, block = np.random.default_rng(seed), max(1, _BLOCK // n)
    means = np.concatenate([
        known[rng.integers(n, size=(min(block, draws - start), n))].mean(axis=1)
        for start in range(0, draws, block)
    ])  # fmt: skip
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


def interval_over(strata: Sequence[Any], level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean of several groups' means, in which every group has the same weight.

    Args:
        strata: [N] each; the pictures of a group are drawn independently of those of others.
        level: see `interval`.

    Returns:
        low, high; NaN where a group has fewer than two values that are known, or there is none.
    """
    if not strata:
        return math.nan, math.nan
    ends = np.array([interval(values, level) for values in strata])
    means = np.array([mean_of(np.asarray(values, np.float64)) for values in strata])
    below, above = np.sqrt(((ends - means[:, None]) ** 2).sum(axis=0)) / len(means)
    return float(means.mean() - below), float(means.mean() + above)


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
    a, b = _both(values_a, values_b)
    known = np.isfinite(a) & np.isfinite(b)
    return interval(a[known] - b[known], level, draws, seed)


def is_worse(values: Any, best: Any, higher_is_better: bool) -> bool:
    """Whether values are worse than the best ones on the same pictures, as far as can be told.

    Args:
        values, best: [N], of the same pictures in the same order.
        higher_is_better: the direction.

    Returns:
        whether the interval of their difference at 95 % lies on the worse side of zero. False also
        where fewer than `FEWEST` pictures have both values, or where they differ by no more than
        scores in float32 are rounded.
    """
    return is_worse_over([(values, best)], higher_is_better)


def is_worse_over(pairs: Sequence[tuple[Any, Any]], higher_is_better: bool) -> bool:
    """`is_worse` over several groups of pictures, of which every one has the same weight.

    The mean over groups of the mean difference in each is held against zero; see `interval_over`.

    Args:
        pairs: for each group its values and the best ones, [N] each, of the same pictures in the
            same order. A group in which no picture has both is left out.
        higher_is_better: the direction.

    Returns:
        as in `is_worse`; False also where a group has a single picture with both values.
    """
    groups = []
    for values, best in pairs:
        a, b = _both(best, values)
        known = np.isfinite(a) & np.isfinite(b)
        if known.any():
            groups.append((a[known], b[known]))
    if sum(len(a) for a, _ in groups) < FEWEST:
        return False
    low, high = interval_over([a - b for a, b in groups])
    slack = _ROUNDING * float(np.mean([np.maximum(abs(a), abs(b)).mean() for a, b in groups]))
    return low > slack if higher_is_better else high < -slack


def _both(values_a: Any, values_b: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(values_a, np.float64), np.asarray(values_b, np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise InputError(
            f"both must be [N], of the same pictures; got {list(a.shape)} and {list(b.shape)}"
        )
    return a, b
