"""Feature ablation: what the score loses without each region."""

from __future__ import annotations

import numpy as np

from ..perturbation import Estimate, Fill, Game, Regions
from ..registry import register
from ..targets import TargetLike
from .base import Array, Attribution
from .region_method import RegionMethod

__all__ = ["FeatureAblationInterpreter"]


@register(
    "feature_ablation",
    layout="n1hw",
    signed=True,
    one_pass=True,
    inputs=("pictures", "arrays", "text"),
    paper="Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, 2014",
    url="https://arxiv.org/abs/1311.2901",
)
class FeatureAblationInterpreter(RegionMethod):
    """Feature ablation: what the score loses when one region alone is taken out.

        φ_j = v(1) − v(1 − e_j)

    v(z) is the score with the regions of z = 0 filled. Exact where regions act independently; what
    two regions say alike is lost by neither, so both get nothing. Costs a forward pass for each
    region.
    """

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        regions: Regions | None = None,
        fill: Fill = "mean",
    ) -> Attribution:
        """Loss of the score for each region.

        Returns:
            float [N, 1, H, W], each pixel with its region's value; for inputs that are no pictures
            of their shape. Diagnostics "evaluations" and "efficiency_error" [N], "regions"
            [N, H, W].

        Raises:
            InputError: regions or a fill that do not fit.
        """

        def estimate(game: Game, rng: np.random.Generator) -> Estimate:
            return Estimate(game.whole - game(~np.eye(game.players, dtype=bool)))

        return self._estimated(
            x, target, estimate, lambda players: players + 2, regions=regions, fill=fill
        )
