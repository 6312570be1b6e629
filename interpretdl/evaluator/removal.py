"""Taking parts of a picture out, in an order, and watching a score."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..perturbation import Imputer, perturbed_scores, region_sums
from ..probe import Probe
from ..targets import TargetLike

__all__ = ["Removal", "area"]

Array = NDArray[Any]


def area(curves: Array, axis: Array) -> Array:
    """Area under each curve [N, steps] by trapezoids, divided by the axis's length; float [N]."""
    middle = (curves[:, 1:] + curves[:, :-1]) / 2
    total: Array = middle @ np.diff(axis) / (axis[-1] - axis[0])
    return total


class Removal:
    """Regions of pixels in the order of their relevance, and images without the first of them.

    Args:
        imputer: the images [N, C, H, W], and what stands where something was taken out.
        heat: float [N, H, W]; a region's relevance is the sum over its pixels.
        regions: int64 [H, W], numbers from 0.
        steps: how many equal steps; fewer when there are fewer regions.
        seed: for the order of regions with equal relevance.
    """

    def __init__(
        self,
        imputer: Imputer,
        heat: Array,
        regions: NDArray[np.int64],
        steps: int,
        seed: int = 0,
    ) -> None:
        if steps < 1:
            raise InputError(f"steps must be at least 1; got {steps}")
        self._imputer = imputer
        sums = region_sums(heat, regions)
        count = sums.shape[1]
        # Where relevance is equal, chance decides: an order by place would favour a corner.
        chance = np.argsort(np.random.default_rng(seed).permutation(count))
        rank = np.empty(sums.shape, np.int64)
        for i, one in enumerate(sums):
            rank[i, chance[np.argsort(-one[chance], kind="stable")]] = np.arange(count)
        self._rank = rank[:, regions].astype(np.int32)
        self._regions = count
        self._taken = np.unique(np.rint(np.linspace(0, count, steps + 1)).astype(np.int64))

    @property
    def axis(self) -> Array:
        """Share of regions at each point of a curve, float64 [points] from 0 to 1."""
        return np.asarray(self._taken / self._regions)

    def images(
        self, rows: NDArray[np.int64], insert: bool = False, least_first: bool = False
    ) -> Array:
        """Perturbed images by number: image by image, point by point.

        Args:
            rows: int64 [m] in [0, N * points).
            insert: the first regions of the image on the base, instead of the other way round.
            least_first: from the least relevant region on.
        """
        image, point = np.divmod(rows, len(self._taken))
        rank = self._rank[image]
        if least_first:
            rank = self._regions - 1 - rank
        first = rank < self._taken[point][:, None, None]
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
