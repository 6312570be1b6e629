"""HSIC: how much the score depends on whether a region is kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..perturbation import Estimate, Fill, Game, Regions
from ..preprocessing import whole_number
from ..registry import register
from ..targets import TargetLike
from .base import Array, Attribution
from .region_method import RegionMethod, directed, relative_error, rounds

__all__ = ["HSICInterpreter", "balanced_columns", "dependence", "hsic", "orthogonal_columns"]

_GRID = 8
_FEWEST = 4


@register(
    "hsic",
    layout="n1hw",
    signed=True,
    random=True,
    one_pass=True,
    inputs=("pictures", "arrays", "text"),
    paper="Novello, Fel, Vigouroux: Making Sense of Dependence: Efficient Black-box Explanations "
    "Using Dependence Measure, 2022",
    url="https://arxiv.org/abs/2206.06219",
)
class HSICInterpreter(RegionMethod):
    """HSIC: how much the score depends on whether a region is kept, with a p-value for each.

        HSIC_j = tr(K_j H L H) / n²,    K_j = ½ − (z_j − z_j′)²,    L = exp(−(y − y′)² / 2σ²)

    the Hilbert-Schmidt independence criterion between z_j, which is 1 where region j is kept, and
    the score y, over n masks in which each region is kept with probability ½. H centres, and σ is
    the median of |y − y′|. It sees any kind of dependence of the score on a region, also one that
    leaves the mean score as it is, but none that shows in combinations of regions alone. The values
    do not add up to anything. The criterion has no sign; it is given that of the covariance of z_j
    and y, so that what speaks against the class is told from what speaks for it. Regions on which
    the score does not depend get small values; the p-value tells them apart.

    The masks are such that any three regions are kept and taken out in all combinations equally
    often, where `evaluations` is a power of two and at least twice the number of regions; nearly so
    for other numbers. Costs `evaluations` forward passes, and arithmetic that grows with their
    square.
    """

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        regions: Regions | None = None,
        fill: Fill = "mean",
        evaluations: int = 500,
        n_permutations: int = 1000,
        direction: bool = True,
        tolerance: float | None = None,
        seed: int = 0,
    ) -> Attribution:
        """Dependence of the score on each region.

        Args:
            evaluations: how often the model may be run for each image, at least 4.
            n_permutations: with how many random columns of masks, which the score cannot depend
                on, a region is compared for its p-value; they cost no forward pass. 0: no p-values.
            direction: give the index, which has no sign, the sign of the region's effect: negative
                where the score is lower, on average, when the region is kept. False: as published.
            tolerance: stop as soon as the largest standard error is at most this share of the
                largest value. None: use all evaluations.

        Returns:
            float [N, 1, H, W], each pixel with its region's value; for inputs that are no pictures
            of their shape. Diagnostics "standard_error", "direction" (-1 or 1) and "p_value" like
            the values (the last of each region by itself, from 1 / (n_permutations + 1) to 1),
            "evaluations" [N], "regions" [N, H, W]; with a tolerance "converged" [N]. The standard
            error is that of independent masks, so rather too large, and holds for regions on which
            the score does depend.

        Raises:
            InputError: regions or a fill that do not fit, or numbers out of their range.
        """
        whole_number(evaluations, "evaluations", _FEWEST)
        whole_number(n_permutations, "n_permutations", 0)
        if regions is None and x.ndim == 4 and self.preprocessing is not None:
            regions = _GRID

        def estimate(game: Game, rng: np.random.Generator) -> Estimate:
            return directed(hsic(game, evaluations, rng, n_permutations, tolerance), direction)

        found = self._estimated(
            x, target, estimate, evaluations,
            regions=regions, fill=fill, seed=seed, tolerance=tolerance,
        )  # fmt: skip
        found.signed = direction
        return found


def hsic(
    game: Game,
    evaluations: int,
    rng: np.random.Generator,
    n_permutations: int = 1000,
    tolerance: float | None = None,
) -> Estimate:
    """The criterion for each region, its standard error and its p-value.

    Args:
        game: scores of subsets.
        evaluations: how many.
        rng: draws the masks, and the columns that the p-values need.
        n_permutations: how many such columns.
        tolerance: relative error at which to stop.
    """
    z = orthogonal_columns(evaluations, game.players, rng)
    # Where the score does not depend on a region, the region's column is one of these.
    null = balanced_columns(evaluations, n_permutations, rng)
    scores = np.empty(0)
    for used in rounds(evaluations, tolerance):
        scores = np.concatenate([scores, game(z[len(scores) : used])])
        similar = _similarity(scores)
        rows = dependence(z[:used], similar)
        # Of a V-statistic: the mean over pairs of masks, each of which is in two of n.
        values, error = rows.mean(axis=0), 2 * rows.std(axis=0, ddof=1) / np.sqrt(used)
        if tolerance is not None and relative_error(values, error) <= tolerance:
            break
    effect = (z[: len(scores)] - 0.5).T @ (scores - scores.mean())
    found = Estimate(values, error, maps={"direction": np.where(effect < 0, -1.0, 1.0)}, sums=False)
    if n_permutations:
        chance = dependence(null[:used], similar).mean(axis=0)
        larger = (chance[:, None] >= values).sum(axis=0)
        found.maps["p_value"] = (1 + larger) / (1 + n_permutations)
    return found


def _similarity(scores: Array) -> NDArray[np.float64]:
    """H L H: how alike scores are, with rows and columns centred, [n, n]."""
    distance = np.abs(scores[:, None] - scores)
    sigma = np.median(distance[np.triu_indices(len(scores), 1)])
    if sigma == 0:  # more than half of the scores are the same
        sigma = distance.mean()
    like = np.exp(-0.5 * (distance / sigma) ** 2) if sigma > 0 else np.ones_like(distance)
    means = like.mean(axis=0)
    return np.asarray(like - means - means[:, None] + means.mean())


def dependence(z: Array, similarity: Array) -> NDArray[np.float64]:
    """Each row's part of each column's criterion; their mean over the rows is the criterion.

    ½ − (z − z′)² is ½ s s′ with s = ±1, so one product of matrices serves all columns.

    Args:
        z: bool [n, M].
        similarity: H L H of the scores, [n, n].

    Returns:
        float64 [n, M].
    """
    signs = 2.0 * z - 1
    signs -= signs.mean(axis=0)
    return np.asarray(signs * (similarity @ signs) / (2 * len(z)))


def balanced_columns(n: int, columns: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Zeros and ones in a random order, independently in each column; bool [n, columns].

    As many of both where n is a power of two. Else the first n rows of the next.
    """
    size = 1 << (n - 1).bit_length()
    return rng.permuted(np.tile(np.arange(size)[:, None] % 2 == 1, columns), axis=0)[:n]


def orthogonal_columns(n: int, columns: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Like `balanced_columns`, but any three columns have all combinations equally often.

    They are the first digits of a digital net, as of a Sobol sequence, with random generators: each
    column is another linear function of the row's binary digits. Those of the published Sobol
    sequences coincide for some columns where n is less than about three times their number. Where n
    is less than twice their number there are not enough functions, and columns are independent.

    Returns:
        bool [n, columns].
    """
    digits = (n - 1).bit_length()
    size = 1 << digits
    if 2 * columns > size:
        return balanced_columns(n, columns, rng)
    bits = np.arange(size)[:, None] >> np.arange(digits) & 1
    # All have the first digit, so that the sum of two is none of them.
    functions = bits[2 * rng.choice(size // 2, columns, replace=False) + 1]
    rows = bits[rng.permutation(size)[:n]]
    sums = rows @ functions.T + rng.integers(2, size=columns)
    return np.asarray(sums % 2 == 1)
