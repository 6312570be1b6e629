"""RISE: the score under random masks, put down to the pixels that the masks show."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..perturbation import FROM_AROUND, Estimate, Fill, Game
from ..preprocessing import whole_number
from ..registry import register
from ..targets import TargetLike
from .base import Array, Attribution
from .region_method import RegionMethod, relative_error, rounds

__all__ = ["CellMasks", "Masks", "RISEInterpreter", "RiseEstimator", "rise"]

RiseEstimator = Literal["covariance", "mean"]
_AT_ONCE = 64
"""Evaluations of which the masks are in memory together; as many as a GPU runs at once."""
_FEWEST = 4


@register(
    "rise",
    layout="n1hw",
    signed=True,
    random=True,
    one_pass=True,
    paper="Petsiuk, Das, Saenko: RISE: Randomized Input Sampling for Explanation of Black-box "
    "Models, 2018",
    url="https://arxiv.org/abs/1806.07421",
)
class RISEInterpreter(RegionMethod):
    """RISE: how the score changes with each pixel under thousands of smooth random masks.

        covariance:  S = Σ_i (f_i − f̄) (m_i − p) / Σ_i (m_i − p)²
        mean:        S = Σ_i f_i m_i / Σ_i m_i

    at each pixel. f_i is the score of the picture under mask m_i, which keeps a pixel in part, from
    0 to 1. A mask has 7×7 random cells, each kept with probability p, which are enlarged with
    smooth edges to a little more than the picture and cropped at a random place. So no region has
    an edge of its own, and nothing smaller than a cell is resolved.

    The mean is the published formula. It gives all pixels the mean score under all masks, and what
    tells pixels apart is a small difference on top of that. The covariance is without this offset:
    it is the slope of the score with the pixel, positive for what speaks for the class and negative
    for what speaks against it. With p = ½ its masks come in pairs m and 1 − m, so that what they
    have in common cancels. Values do not add up to the score, since neighbouring pixels share their
    cells. Costs `evaluations` forward passes.
    """

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        cells: int = 7,
        keep_probability: float = 0.5,
        estimator: RiseEstimator = "covariance",
        fill: Fill = 0.0,
        evaluations: int = 4000,
        tolerance: float | None = None,
        seed: int = 0,
    ) -> Attribution:
        """Slope of the score with each pixel, or mean score of the masks that show it.

        Args:
            cells: a mask has so many cells across and down.
            keep_probability: of each cell, between 0 and 1.
            estimator: "covariance", or "mean", the published one, of which only the differences
                between pixels say something; see above.
            fill: what stands where a pixel is not kept: 0, which is the data's mean colour where
                inputs are normalised; "mean", the image's mean of each channel; "blur"; "black";
                another number or an array, of the network's inputs; or another picture, uint8
                [H, W, C].
            evaluations: how often the model may be run for each image, at least 4.
            tolerance: stop as soon as the largest standard error is at most this share of the
                largest value, the offset included with "mean". None: use all evaluations.

        Returns:
            float [N, 1, H, W]. Diagnostics "standard_error" [N, 1, H, W] (over pairs where there
            are pairs; errors of neighbouring pixels go together), "evaluations" [N]; with a
            tolerance "converged" [N].

        Raises:
            InputError: options out of their range, a fill that does not fit or that is made for
                whole regions.
        """
        if isinstance(fill, str) and fill in ("region_mean", *FROM_AROUND):
            raise InputError(
                f"fill={fill!r} fills whole regions, and the masks of rise have none; give another"
            )
        whole_number(evaluations, "evaluations", _FEWEST)
        height, width = x.shape[2:]
        masks = CellMasks(height, width, cells, keep_probability)

        def estimate(game: Game, rng: np.random.Generator) -> Estimate:
            return rise(game, masks, evaluations, rng, estimator, tolerance)

        # The regions stand for nothing here.
        found = self._estimated(
            x, target, estimate, evaluations, regions=2, fill=fill, seed=seed, tolerance=tolerance
        )
        del found.diagnostics["regions"]
        if estimator == "mean":
            found.signed = bool(found.values.min() < 0)
        return found


class Masks(Protocol):
    """Random masks of pixels.

    Attributes:
        mean: of a mask at any pixel.
        symmetric: whether 1 − m is as likely as m.
    """

    mean: float
    symmetric: bool

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """The next n, floats in [0, 1], [n, H, W]; the same however they are divided into calls."""


class CellMasks:
    """Random cells, enlarged bilinearly and cropped at a random place.

    Args:
        height, width: of a mask.
        cells: how many across and down.
        probability: of a cell to be 1.

    Raises:
        InputError: fewer than two cells, or a probability that is not between 0 and 1.
    """

    def __init__(self, height: int, width: int, cells: int, probability: float) -> None:
        self._cells = whole_number(cells, "cells", 2)
        if not 0 < probability < 1:
            raise InputError(f"keep_probability must be between 0 and 1; got {probability!r}")
        self.mean, self.symmetric = float(probability), probability == 0.5
        self._down, self._across = _crops(height, self._cells), _crops(width, self._cells)

    def draw(self, rng: np.random.Generator, n: int) -> NDArray[np.float32]:
        """The next n masks, [n, H, W]."""
        numbers = rng.random((n, self._cells**2 + 2))
        grids = (numbers[:, 2:] < self.mean).reshape(n, self._cells, self._cells)
        top = (numbers[:, 0] * len(self._down)).astype(np.int64)
        left = (numbers[:, 1] * len(self._across)).astype(np.int64)
        rows = self._down[top] @ grids.astype(np.float32)
        found: NDArray[np.float32] = rows @ self._across[left].transpose(0, 2, 1)
        return found


def _crops(size: int, cells: int) -> NDArray[np.float32]:
    """Weights of the cells at each pixel, for each place of the crop: [places, size, cells]."""
    places = -(-size // cells)
    enlarged = (cells + 1) * places
    centres = (np.arange(enlarged) + 0.5) * cells / enlarged - 0.5
    distance = np.abs(centres.clip(0, cells - 1)[:, None] - np.arange(cells))
    weights = np.maximum(0, 1 - distance).astype(np.float32)
    return np.stack([weights[place : place + size] for place in range(places)])


def rise(
    game: Game,
    masks: Masks,
    evaluations: int,
    rng: np.random.Generator,
    estimator: RiseEstimator = "covariance",
    tolerance: float | None = None,
) -> Estimate:
    """Values of pixels from scores under random masks, with their standard error.

    A sample is a mask, with its score less the whole picture's; or a pair m, 1 − m, with half the
    difference of their scores. Only sums of their powers and products are kept.

    Args:
        game: scores of masks.
        masks: where they come from.
        evaluations: how many scores.
        rng: draws the masks.
        estimator: "covariance" or "mean", see `RISEInterpreter`.
        tolerance: relative error at which to stop.
    """
    slope = estimator == "covariance"
    paired = slope and masks.symmetric
    runs = 2 if paired else 1
    done, sums = 0, np.zeros(())
    for used in rounds(evaluations, tolerance):
        while done < used // runs:
            n = min(_AT_ONCE // runs, used // runs - done)
            kept = masks.draw(rng, n)
            scores = _scores(game, kept, paired)
            # Centred, because large numbers of which little is left would lose their last digits.
            values = (scores[:, 0] - scores[:, 1]) / 2 if paired else scores[:, 0] - game.whole
            sums = sums + _power_sums(kept - masks.mean if slope else kept, values)
            done += n
        if slope:
            found, error = _slope(sums, done, paired)
        else:
            found, error = _mean(sums, done)
            found += game.whole
        if tolerance is not None and relative_error(found, error) <= tolerance:
            break
    return Estimate(found, error, sums=False)


def _scores(game: Game, kept: Array, paired: bool) -> NDArray[np.float64]:
    """Scores of masks [n, 1]; or of each mask and what it leaves, [n, 2]."""
    if not paired:
        return game.of_masks(len(kept), lambda rows: kept[rows])[:, None]
    both = game.of_masks(
        2 * len(kept),
        lambda rows: np.abs((rows % 2).astype(kept.dtype)[:, None, None] - kept[rows // 2]),
    )
    return both.reshape(-1, 2)


def _power_sums(masks: Array, values: Array) -> NDArray[np.float64]:
    """Σ_i g_i^a y_i^b at [a, b], for powers a from 0 to 4 and b from 0 to 2: [5, 3, H, W]."""
    powers = np.stack([values**0, values, values**2]).astype(masks.dtype)
    flat = masks.reshape(len(masks), -1)
    power = np.ones_like(flat)
    sums = np.empty((5, 3, flat.shape[1]))
    for a in range(5):
        sums[a] = powers @ power
        power *= flat
    return sums.reshape(5, 3, *masks.shape[1:])


def _slope(sums: Array, n: int, paired: bool) -> tuple[Array, Array]:
    """β = Σ g (y − ȳ) / Σ g², and its error, √(Σ g² (y − ȳ − βg)²) / Σ g²."""
    # The mean of y over a mask and what it leaves cancels in the pair.
    mean = 0 if paired else sums[0, 1] / n
    first, second, third, fourth = sums[1], sums[2], sums[3], sums[4]
    slope = _ratio(first[1] - mean * first[0], second[0])
    squares = second[2] - 2 * mean * second[1] + mean**2 * second[0]
    squares += slope**2 * fourth[0] - 2 * slope * (third[1] - mean * third[0])
    return slope, _error(squares, second[0], n)


def _mean(sums: Array, n: int) -> tuple[Array, Array]:
    """R = Σ m y / Σ m, and its error, √(Σ m² (y − R)²) / Σ m."""
    first, second = sums[1], sums[2]
    mean = _ratio(first[1], first[0])
    squares = second[2] - 2 * mean * second[1] + mean**2 * second[0]
    return mean, _error(squares, first[0], n)


def _ratio(above: Array, below: Array) -> Array:
    """Zero where nothing is known, at pixels that no mask has shown."""
    return np.divide(above, below, out=np.zeros_like(below), where=below > 0)


def _error(squares: Array, below: Array, n: int) -> Array:
    known = (below > 0) & (n > 1)
    spread = np.sqrt(np.maximum(squares, 0) * n / max(n - 1, 1))
    return np.divide(spread, below, out=np.full_like(below, np.inf), where=known)
