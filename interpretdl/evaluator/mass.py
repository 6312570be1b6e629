"""How much of a map lies on the object: relevance mass and rank accuracy."""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..registry import register_evaluator
from .base import Evaluator
from .case import Case
from .evaluation import Array, Evaluation

__all__ = ["RankAccuracy", "RelevanceMass"]

_PAPER = (
    "Arras, Osman, Samek: CLEVR-XAI, A Benchmark Dataset for the Ground Truth Evaluation of Neural "
    "Network Explanations, 2022"
)
_URL = "https://arxiv.org/abs/2003.07258"


class _OnTheObject(Evaluator):
    """Base of the two.

    Args:
        tolerance: pixels, in straight distance, by which relevance may lie outside the mask.

    Raises:
        InputError: a tolerance below 0.
    """

    tolerance: float = 0

    def check(self) -> None:
        if not 0 <= self.tolerance < math.inf:
            raise InputError(f"tolerance must be 0 pixels or more; got {self.tolerance}")

    def evaluate_case(self, case: Case) -> Evaluation:
        values, chance = np.full((2, len(case.x)), np.nan)
        flags = {}
        for i, (heat, mask) in enumerate(zip(case.heat, np.asarray(case.masks), strict=True)):
            near = _near(mask, self.tolerance)
            if near.all() or not near.any():
                flags[i] = "the mask has no object, or nothing but the object"
            elif not heat.any():
                flags[i] = "the map has no value above 0"
            else:
                chance[i], values[i] = near.mean(), 0
                if heat.max() > 0:
                    values[i] = self._share(heat.astype(np.float64), mask, near)
        return self.result(values, parts={"chance": chance}, flags=flags)

    @abstractmethod
    def _share(self, heat: Array, mask: NDArray[np.bool_], near: NDArray[np.bool_]) -> float:
        """Of one map [H, W]; `near` is the mask with its surroundings."""


def _near(mask: NDArray[np.bool_], tolerance: float) -> NDArray[np.bool_]:
    from scipy.ndimage import distance_transform_edt

    if tolerance == 0 or not mask.any():
        return mask
    return np.asarray(distance_transform_edt(~mask) <= tolerance)


@register_evaluator(
    "relevance_mass", higher_is_better=True, paper=_PAPER, url=_URL, needs=("masks",)
)
class RelevanceMass(_OnTheObject):
    """Share of a map's relevance that lies on the object.

        Σ_{p on the object} R⁺_p / Σ_p R⁺_p

    R⁺ is the positive part of the map, its channels summed; of a method without signs |R|. It is 1
    where all relevance lies on the object. The part "chance" is the object's share of the picture,
    which a map of equal values has. A map that is negative everywhere has 0.

    It grades the amounts, so that a map with a bright spot on the object and a little everywhere
    else is not good. Whether the model looks at the object at all, a mask does not know.
    """

    ranks = False

    def _share(self, heat: Array, mask: NDArray[np.bool_], near: NDArray[np.bool_]) -> float:
        positive = np.maximum(heat, 0)
        return float(positive[near].sum() / positive.sum())


@register_evaluator(
    "rank_accuracy", higher_is_better=True, paper=_PAPER, url=_URL, needs=("masks",)
)
class RankAccuracy(_OnTheObject):
    """Share of a map's K largest values that lie on the object, which has K pixels.

        |{the K most relevant pixels} ∩ {the object}| / K

    K is the number of pixels of the mask itself; with a tolerance a pixel near the mask counts as
    one on it. Where pixels share the K-th value, they count with the share of them that lies on the
    object, which is the mean over all orders. The part "chance" is what a random order has. A map
    that is negative everywhere has 0.
    """

    def _share(self, heat: Array, mask: NDArray[np.bool_], near: NDArray[np.bool_]) -> float:
        count = int(mask.sum())
        least = np.partition(heat.ravel(), heat.size - count)[heat.size - count]
        above, equal = heat > least, heat == least
        left = count - int(above.sum())
        return float(((above & near).sum() + left * near[equal].mean()) / count)
