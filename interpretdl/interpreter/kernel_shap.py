"""Kernel SHAP: Shapley values from one regression on the scores of subsets."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..perturbation import Estimate, Fill, Game, Regions
from ..registry import register
from ..targets import TargetLike
from .base import Array, Attribution
from .region_method import RegionMethod, relative_error, rounds
from .sampling import counts

__all__ = ["KernelSHAPInterpreter", "enough", "kernel_shap"]


@register(
    "kernel_shap",
    layout="n1hw",
    signed=True,
    random=True,
    one_pass=True,
    inputs=("pictures", "arrays", "text"),
    paper="Lundberg, Lee: A Unified Approach to Interpreting Model Predictions, 2017",
    url="https://arxiv.org/abs/1705.07874",
)
class KernelSHAPInterpreter(RegionMethod):
    """Kernel SHAP: Shapley values of the regions, by a weighted regression on scores of subsets.

        min_φ Σ_z π(|z|) (v(z) − v(0) − Σ_j φ_j z_j)²,    Σ_j φ_j = v(1) − v(0)
        π(k) = (M − 1) / (C(M, k) k (M − k))

    v(z) is the score with the regions of z = 0 filled, M the number of regions. The solution over
    all subsets z is exactly the Shapley values: what a region adds to the score, averaged over all
    orders in which the regions could be put in. Regions that say the same share what they say, so
    the values do not tell which of them is used. The sum is exact however few subsets are run.

    Where the budget covers all 2^M subsets, all are run. Else the smallest and the largest ones
    are run while they are few, and the others are drawn together with their complements, each
    size equally likely: leverage scores, Musco and Witter, 2025, https://arxiv.org/abs/2410.01917.
    Costs `evaluations` forward passes, at least 4 for each region.
    """

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        regions: Regions | None = None,
        fill: Fill = "mean",
        evaluations: int = 1024,
        tolerance: float | None = None,
        seed: int = 0,
    ) -> Attribution:
        """Shapley values of the regions.

        Args:
            evaluations: how often the model may be run for each image. Values are exact from 2^M,
                for M regions.
            tolerance: stop as soon as the largest standard error is at most this share of the
                largest value. None: use all evaluations.

        Returns:
            float [N, 1, H, W], each pixel with its region's value; for inputs that are no pictures
            of their shape. Diagnostics "standard_error" like the values (jackknife over pairs; 0
            where all subsets were run), "evaluations" and "efficiency_error" [N], "regions"
            [N, H, W]; with a tolerance "converged" [N].

        Raises:
            InputError: regions or a fill that do not fit, or fewer than 4 evaluations a region.
        """
        counts(evaluations=evaluations)

        def estimate(game: Game, rng: np.random.Generator) -> Estimate:
            return kernel_shap(game, evaluations, rng, tolerance)

        return self._estimated(
            x, target, estimate, lambda players: min(evaluations, 2**players),
            regions=regions, fill=fill, seed=seed, tolerance=tolerance,
        )  # fmt: skip


def enough(evaluations: int, players: int) -> None:
    """Check that Shapley values of so many regions can be estimated.

    Raises:
        InputError: they cannot.
    """
    least = min(2**players, 4 * players)
    if evaluations < least:
        raise InputError(
            f"evaluations={evaluations} is too few for the Shapley values of {players} regions: "
            f"give at least {least}, or larger regions"
        )


def kernel_shap(
    game: Game, evaluations: int, rng: np.random.Generator, tolerance: float | None = None
) -> Estimate:
    """Shapley values with the standard error of the jackknife.

    A subset and its complement have the same row in the regression, up to the sign, so that only
    half the difference of their scores counts: below, a row is such a pair.

    Args:
        game: scores of subsets.
        evaluations: how many, v(0) and v(1) included.
        rng: draws subsets.
        tolerance: relative error at which to stop.

    Raises:
        InputError: too few evaluations.
    """
    players = game.players
    enough(evaluations, players)
    pairs = (min(evaluations, 2**players) - 2) // 2
    sizes = _whole_sizes(players, pairs)
    mass = 2 * (players - 1) / np.arange(1, players) / np.arange(players - 1, 0, -1)
    blocks = [_subsets(players, k) for k in sizes]
    z = np.concatenate([np.empty((0, players), bool), *blocks])
    each = [mass[k - 1] / math.comb(players, k) for k in sizes]
    weights = np.repeat(each, [len(block) for block in blocks])
    whole, gain = len(z), game.whole - game.nothing
    left = np.arange(len(sizes) + 1, players - len(sizes))
    drawn = rng.choice(left, pairs - whole)
    halves = np.empty(0)
    for used in rounds(evaluations, tolerance):
        wanted = min(pairs, (used - 2) // 2)
        if wanted < pairs and wanted < whole + 2 * players:
            continue  # the regression would be poor
        more = drawn[len(z) - whole : wanted - whole]
        ranks = rng.random((len(more), players)).argsort(axis=1).argsort(axis=1)
        z = np.concatenate([z, ranks < more[:, None]])
        weights = np.concatenate([weights, mass[more - 1] * len(left) / 2])
        new = z[len(halves) :]
        scores = game(np.concatenate([new, ~new])).reshape(2, -1)
        halves = np.concatenate([halves, (scores[0] - scores[1]) / 2])
        values, error = _regression(z, halves, weights, whole, gain)
        if tolerance is not None and relative_error(values, error) <= tolerance:
            break
    return Estimate(values, error)


def _pairs(players: int, k: int) -> int:
    """How many pairs there are of a subset of size k and its complement."""
    return math.comb(players, k) // (2 if 2 * k == players else 1)


def _whole_sizes(players: int, pairs: int) -> range:
    """The sizes of which all subsets are run.

    A size is run as a whole while it takes no more than it would be given by chance, or a third of
    what is left: with less, the draws of the other sizes would be too few.
    """
    k, every = 1, pairs == 2 ** (players - 1) - 1
    while k <= players // 2:
        size = _pairs(players, k)
        chance = (1 if 2 * k == players else 2) / (players + 1 - 2 * k)
        if size > pairs * max(1 / 3, chance) and not every:
            break
        pairs -= size
        k += 1
    return range(1, k)


def _subsets(players: int, k: int) -> NDArray[np.bool_]:
    """One subset of size k from each pair, [pairs, M]."""
    # Those of half the size come in lexical order: the first half has the first region.
    chosen = itertools.islice(itertools.combinations(range(players), k), _pairs(players, k))
    z = np.zeros((_pairs(players, k), players), bool)
    np.put_along_axis(z, np.array(list(chosen)), True, axis=1)
    return z


def _regression(
    z: NDArray[np.bool_], halves: Array, weights: Array, whole: int, gain: float
) -> tuple[Array, Array]:
    """Values that minimise Σ w (h − Σ_j φ_j (z_j − ½))² and sum to `gain`, and standard errors.

    The last value is eliminated. The first `whole` rows have weights of their own; the others are
    drawn, and what stands in `weights` is divided by their number.

    Args:
        z: bool [m, M].
        halves: [m], (v(z) − v(1 − z)) / 2.
        weights: [m].
        whole: how many rows were not drawn.
        gain: v(1) − v(0).
    """
    a = z[:, :-1].astype(float) - z[:, -1:]
    b = halves - (z[:, -1] - 0.5) * gain
    drawn = len(z) - whole

    def solved(number: int) -> tuple[Array, Array, Array]:
        w = np.concatenate([weights[:whole], weights[whole:] / max(number, 1)])
        inverse = np.linalg.pinv((a.T * w) @ a, hermitian=True)
        return inverse @ (a.T @ (w * b)), inverse, w

    head = solved(drawn)[0]
    values = np.append(head, gain - head.sum())
    if drawn < 2:
        return values, np.full(len(values), np.inf if drawn else 0.0)
    # Without one pair the others count for drawn - 1. Sherman and Morrison give all such solutions
    # from the one in which every pair counts so.
    head, inverse, w = solved(drawn - 1)
    a, b, w = a[whole:], b[whole:], w[whole:]
    steps = a @ inverse
    leverage = w * (steps * a).sum(axis=1)
    steps *= (w * (b - a @ head) / np.maximum(1 - leverage, 1e-9))[:, None]
    steps = np.column_stack([steps, -steps.sum(axis=1)])
    return values, np.sqrt((drawn - 1) * steps.var(axis=0))
