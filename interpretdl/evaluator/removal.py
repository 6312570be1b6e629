"""Taking parts of a picture out, in an order, and watching a score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..data_processor.arrays import in_range
from ..data_processor.blur import blurred
from ..errors import InputError
from ..preprocessing import Preprocessing
from ..probe import Probe
from ..targets import TargetLike, take

__all__ = [
    "Fill",
    "Removal",
    "area",
    "filled",
    "grid_regions",
    "perturbed_scores",
    "region_sums",
]

Array = NDArray[Any]
Fill = Literal["mean", "blur", "black"] | float | Array


def filled(x: Array, fill: Fill, preprocessing: Preprocessing | None) -> Array:
    """What stands where something was taken out, float like x [N, C, H, W].

    Args:
        fill: "mean", each image's mean of each channel; "blur", the image under a Gaussian with σ a
            twentieth of its short edge (at least 1); "black", the network's input for a black
            pixel; a number; or an array that broadcasts to x.

    Raises:
        InputError: an array that does not fit, numbers that are not finite, or "black" where the
            preprocessing is not known or is of other channels.
    """
    if isinstance(fill, str):
        if fill == "mean":
            mean: Array = x.mean(axis=(2, 3), keepdims=True)
            return np.broadcast_to(mean, x.shape)
        if fill == "blur":
            return blurred(x, max(1.0, min(x.shape[2:]) / 20))
        if preprocessing is None or preprocessing.channels != x.shape[1]:
            raise InputError(
                f"fill='black' needs preprocessing= for {x.shape[1]} channels, which says what a "
                "black pixel is; give it, or a number"
            )
        return np.broadcast_to(preprocessing.bounds()[0], x.shape).astype(x.dtype)
    array = in_range(fill, x.dtype, "the fill")
    try:
        return np.broadcast_to(array, x.shape)
    except ValueError:
        raise InputError(
            f"the fill has the shape {list(array.shape)}, which does not broadcast to "
            f"{list(x.shape)}"
        ) from None


def perturbed_scores(
    probe: Probe,
    x: Array,
    target: TargetLike,
    owner: NDArray[np.int64],
    make: Callable[[NDArray[np.int64]], Array],
) -> Array:
    """Scores of perturbed images that are made when they are needed, so that memory is bounded.

    Args:
        x: the images, float [N, C, H, W].
        target: the score of each of the N.
        owner: int64 [M], for each perturbed image the image that it comes from.
        make: from positions in [0, M) to that many perturbed images.

    Returns:
        float64 [M].
    """
    scores = np.empty(len(owner))
    with probe.many(len(owner)):
        for rows in probe.cuts(x, len(owner)):
            scores[rows] = probe.scores(make(rows), take(target, owner[rows]))
    return scores


def grid_regions(height: int, width: int, patch: int) -> NDArray[np.int64]:
    """Squares of `patch` pixels, numbered row by row; those at the right and lower edge may be
    smaller. int64 [H, W]."""
    if patch < 1:
        raise InputError(f"patch must be at least 1 pixel; got {patch}")
    columns = -(-width // patch)
    y, x = np.arange(height) // patch, np.arange(width) // patch
    return np.asarray(y[:, None] * columns + x[None, :], np.int64)


def region_sums(heat: Array, regions: NDArray[np.int64]) -> Array:
    """Sum of each map over each region, float64 [N, regions]."""
    count = int(regions.max()) + 1
    flat = regions.ravel()
    return np.stack([np.bincount(flat, one.ravel(), minlength=count) for one in heat])


def area(curves: Array, axis: Array) -> Array:
    """Area under each curve [N, steps] by trapezoids, divided by the axis's length; float [N]."""
    middle = (curves[:, 1:] + curves[:, :-1]) / 2
    total: Array = middle @ np.diff(axis) / (axis[-1] - axis[0])
    return total


class Removal:
    """Regions of pixels in the order of their relevance, and images without the first of them.

    Args:
        x: float [N, C, H, W].
        heat: float [N, H, W]; a region's relevance is the sum over its pixels.
        base: float [N, C, H, W], what stands where something was taken out.
        regions: int64 [H, W], numbers from 0.
        steps: how many equal steps; fewer when there are fewer regions.
        seed: for the order of regions with equal relevance.
    """

    def __init__(
        self,
        x: Array,
        heat: Array,
        base: Array,
        regions: NDArray[np.int64],
        steps: int,
        seed: int = 0,
    ) -> None:
        if steps < 1:
            raise InputError(f"steps must be at least 1; got {steps}")
        self.x, self.base = x, base
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
        first = (rank < self._taken[point][:, None, None])[:, None]
        return np.asarray(np.where(first == insert, self.x[image], self.base[image]))

    def curves(
        self, probe: Probe, target: TargetLike, *, insert: bool = False, least_first: bool = False
    ) -> Array:
        """The score along the removal (or insertion), float64 [N, points]."""
        n, points = len(self.x), len(self._taken)
        scores = perturbed_scores(
            probe,
            self.x,
            target,
            np.repeat(np.arange(n), points),
            lambda rows: self.images(rows, insert, least_first),
        )
        return scores.reshape(n, points)
