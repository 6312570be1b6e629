"""Shapley values by drawing orders of the regions."""

from __future__ import annotations

import numpy as np

from ..perturbation import Estimate, Fill, Game, Regions
from ..registry import register
from ..targets import TargetLike
from .base import Array, Attribution
from .kernel_shap import enough, kernel_shap
from .region_method import RegionMethod, relative_error, rounds
from .sampling import counts

__all__ = ["ShapleySamplingInterpreter", "shapley_sampling"]

_LEAST = 8
"""Pairs of orders before a standard error is trusted enough to stop."""


@register(
    "shapley_sampling",
    layout="n1hw",
    signed=True,
    random=True,
    one_pass=True,
    inputs=("pictures", "arrays", "text"),
    paper="Castro, Gómez, Tejada: Polynomial calculation of the Shapley value based on sampling, "
    "2009",
    url="https://doi.org/10.1016/j.cor.2008.04.004",
)
class ShapleySamplingInterpreter(RegionMethod):
    """Shapley sampling: what a region adds to the score, averaged over random orders.

        φ_j = E_σ[v(P_j ∪ j) − v(P_j)],    P_j: the regions before j in the order σ

    v(z) is the score with the regions of z = 0 filled. Each order is drawn with its reverse, which
    cancels much of the noise, and sums to v(1) − v(0) exactly. Pairs of orders are independent, so
    the standard error is that of a mean. Regions that say the same share what they say, so the
    values do not tell which of them is used.

    A pair takes 2 (M − 1) forward passes for M regions; as many pairs are drawn as `evaluations`
    allows. Where it allows all 2^M subsets, they are run, and the values are exact. Kernel SHAP has
    a smaller error at the same cost.
    """

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        regions: Regions | None = None,
        fill: Fill = "mean",
        evaluations: int = 2048,
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
            of their shape. Diagnostics "standard_error" like the values (rough where there are few
            pairs, 0 where all subsets were run), "evaluations" and "efficiency_error" [N],
            "regions" [N, H, W]; with a tolerance "converged" [N].

        Raises:
            InputError: regions or a fill that do not fit, or fewer than 4 evaluations a region.
        """
        counts(evaluations=evaluations)

        def estimate(game: Game, rng: np.random.Generator) -> Estimate:
            return shapley_sampling(game, evaluations, rng, tolerance)

        return self._estimated(
            x, target, estimate, lambda players: min(evaluations, 2**players),
            regions=regions, fill=fill, seed=seed, tolerance=tolerance,
        )  # fmt: skip


def shapley_sampling(
    game: Game, evaluations: int, rng: np.random.Generator, tolerance: float | None = None
) -> Estimate:
    """Shapley values with the standard error over pairs of orders.

    Args:
        game: scores of subsets.
        evaluations: how many at most, v(0) and v(1) included.
        rng: draws orders.
        tolerance: relative error at which to stop.

    Raises:
        InputError: too few evaluations for two pairs.
    """
    players = game.players
    enough(evaluations, players)
    if evaluations >= 2**players:
        return kernel_shap(game, evaluations, rng)
    gains = np.empty((0, players))
    for used in rounds(evaluations, tolerance):
        wanted = (used - 2) // (2 * (players - 1))
        if wanted < _LEAST and used < evaluations:
            continue
        gains = np.concatenate([gains, _pairs(game, wanted - len(gains), rng)])
        values = gains.mean(axis=0)
        error = gains.std(axis=0, ddof=1) / np.sqrt(wanted)
        if tolerance is not None and relative_error(values, error) <= tolerance:
            break
    return Estimate(values, error)


def _pairs(game: Game, n: int, rng: np.random.Generator) -> Array:
    """Mean gain of each region over an order and its reverse, of n such pairs, [n, M]."""
    players = game.players
    order = rng.random((n, players)).argsort(axis=1)
    rank = order.argsort(axis=1)
    # The first k of an order, for k from 1 to M - 1. The reverse has the complements.
    z = (rank[:, None, :] < np.arange(1, players)[:, None]).reshape(-1, players)
    scores = game(np.concatenate([z, ~z])).reshape(2, n, players - 1)
    ends = np.broadcast_to([game.nothing, game.whole], (n, 2))
    forward = np.diff(np.column_stack([ends[:, 0], scores[0], ends[:, 1]]))
    backward = -np.diff(np.column_stack([ends[:, 1], scores[1], ends[:, 0]]))
    return np.asarray(np.take_along_axis((forward + backward) / 2, rank, axis=1))
