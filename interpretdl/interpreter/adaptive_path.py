"""Integrals along a line with nodes where they are needed, to an error that is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .sampling import Array

__all__ = ["Ask", "PathIntegral", "adaptive"]

Ask = Callable[[NDArray[np.int64], NDArray[np.float64]], tuple[Array, Array]]
"""(line of each node, int64 [m]; its place in [0, 1], float64 [m]) -> scores [m], gradients
[m, ...]."""
_AT_ONCE, _FAR = 4, 0.1
_SHORTEST = 2.0**-30


@dataclass
class PathIntegral:
    """What `adaptive` has found for an image.

    Attributes:
        values: float64, the mean over the lines of ∫ gradient dt · way.
        rise: the score's rise, mean over the lines.
        error: how far Σ values is from it, absolute.
        gross: the same with the intervals' errors without their signs, which may cancel.
        coarse: `error` with a third of the nodes; NaN where there were none so few.
        steps: gradients on each line, rounded up.
    """

    values: NDArray[np.float64]
    rise: float
    error: float
    gross: float
    coarse: float
    steps: int


def adaptive(ask: Ask, ways: Array, tolerance: float, first: int, most: int) -> PathIntegral:
    """Trapezoids between nodes, of which more are set where the score is not yet explained.

    A trapezoid explains h (s_a + s_b) / 2 of the score's rise f_b - f_a between its nodes, by the
    slopes s there. The difference is no estimate, and their sum is the completeness error. The four
    intervals that are furthest off, of those at least a tenth as far as the first, are halved until
    the sum is small enough.

    Args:
        ask: gives scores and gradients.
        ways: [lines, ...], the lines' ends less their beginnings.
        tolerance: of |error| / |rise|.
        first: intervals on each line to begin with.
        most: gradients on each line, not to be exceeded.
    """
    lines = len(ways)
    line = np.repeat(np.arange(lines), first + 1)
    time = np.tile(np.linspace(0, 1, first + 1), lines)
    score, gradients = ask(line, time)
    slope = _slopes(gradients, ways[line])
    kept = [gradients]
    errors: list[tuple[int, float]] = []
    while True:
        order = np.lexsort((time, line))
        same = np.diff(line[order]) == 0
        width = np.where(same, np.diff(time[order]), 0)
        d, f = slope[order], score[order]
        missing = np.where(same, np.diff(f) - width * (d[1:] + d[:-1]) / 2, 0)
        rise, error = np.where(same, np.diff(f), 0).sum() / lines, abs(missing.sum()) / lines
        errors.append((len(time), error))
        worst = np.argsort(-np.abs(missing), kind="stable")[:_AT_ONCE]
        size = np.abs(missing[worst])
        worst = worst[(size > 0) & (size >= _FAR * size[0]) & (width[worst] > _SHORTEST)]
        worst = worst[: max(0, most * lines - len(time))]
        if error <= tolerance * abs(rise) or not len(worst):
            break
        left = order[worst]
        new_line, new_time = line[left], time[left] + width[worst] / 2
        new_score, gradients = ask(new_line, new_time)
        kept.append(gradients)
        line, time = np.append(line, new_line), np.append(time, new_time)
        score = np.append(score, new_score)
        slope = np.append(slope, _slopes(gradients, ways[new_line]))
    weight = np.zeros(len(time))
    weight[order[:-1]] += width / 2
    weight[order[1:]] += width / 2
    values, start = np.zeros(ways.shape[1:]), 0
    for part in kept:
        for gradient, w, k in zip(part, weight[start:], line[start:], strict=False):
            values += w / lines * gradient * ways[k]
        start += len(part)
    coarse = [error for count, error in errors if 3 * count <= len(time)]
    steps, gross = -(-len(time) // lines), float(np.abs(missing).sum()) / lines
    return PathIntegral(values, rise, error, gross, coarse[-1] if coarse else np.nan, steps)


def _slopes(gradients: Array, ways: Array) -> NDArray[np.float64]:
    products = gradients.astype(np.float64) * ways
    return np.asarray(products.reshape(len(products), -1).sum(axis=1))
