"""Taking parts of a picture or a text out, in an order, and watching a score."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..perturbation import Imputer, perturbed_scores
from ..probe import Probe
from ..targets import TargetLike

__all__ = ["Removal", "area", "equal_steps"]

Array = NDArray[Any]


def area(curves: Array, axis: Array) -> Array:
    """Area under each curve [N, steps] by trapezoids, divided by the axis's length; float [N]."""
    middle = (curves[:, 1:] + curves[:, :-1]) / 2
    total: Array = middle @ np.diff(axis) / (axis[-1] - axis[0])
    return total


def equal_steps(count: int, steps: int) -> NDArray[np.int64]:
    """How many of `count` regions are gone at each point, from 0 to all, in so many equal steps;
    fewer when there are fewer regions."""
    if steps < 1:
        raise InputError(f"steps must be at least 1; got {steps}")
    return np.unique(np.rint(np.linspace(0, count, steps + 1)).astype(np.int64))


class Removal:
    """Regions in the order of their relevance, and inputs without the first of them.

    Args:
        imputer: the inputs, [N, C, H, W] or of other ranks, and what stands where something was
            taken out.
        relevance: float [N, M], of the regions.
        regions: int64 [H, W], or as the inputs' other axes are; numbers from 0.
        taken: int64 [points], how many regions are gone at each point of a curve.
        seed: for the order of regions with equal relevance.
    """

    def __init__(
        self,
        imputer: Imputer,
        relevance: Array,
        regions: NDArray[np.int64],
        taken: NDArray[np.int64],
        seed: int = 0,
    ) -> None:
        self._imputer, self._taken = imputer, taken
        count = relevance.shape[1]
        # Where relevance is equal, chance decides: an order by place would favour a corner.
        chance = np.argsort(np.random.default_rng(seed).permutation(count))
        rank = np.empty(relevance.shape, np.int64)
        for i, one in enumerate(relevance):
            rank[i, chance[np.argsort(-one[chance], kind="stable")]] = np.arange(count)
        self._rank = rank[:, regions].astype(np.int32)
        self._regions = count

    @property
    def axis(self) -> Array:
        """Share of regions at each point of a curve, float64 [points]."""
        return np.asarray(self._taken / self._regions)

    def images(
        self, rows: NDArray[np.int64], insert: bool = False, least_first: bool = False
    ) -> Array:
        """Perturbed inputs by number: input by input, point by point.

        Args:
            rows: int64 [m] in [0, N * points).
            insert: the first regions of the input on the base, instead of the other way round.
            least_first: from the least relevant region on.
        """
        image, point = np.divmod(rows, len(self._taken))
        rank = self._rank[image]
        if least_first:
            rank = self._regions - 1 - rank
        first = rank < self._taken[point].reshape(-1, *[1] * (rank.ndim - 1))
        return self._imputer.images(image, first == insert)

    def curves(
        self, probe: Probe, target: TargetLike, *, insert: bool = False, least_first: bool = False
    ) -> Array:
        """The score along the removal (or insertion), float64 [N, points]."""
        n, points = len(self._imputer.x), len(self._taken)
        scores = perturbed_scores(
            probe,
            self._imputer.x,
            target,
            np.repeat(np.arange(n), points),
            lambda rows: self.images(rows, insert, least_first),
        )
        return scores.reshape(n, points)
