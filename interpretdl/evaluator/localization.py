"""Whether a map's maximum, or its largest values, lie on the object."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..registry import register_evaluator
from .base import Evaluator
from .case import Case
from .compat import as_heat
from .evaluation import Array, Evaluation

__all__ = ["PointGame", "PointGameSegmentation", "localization_scores"]

_PAPER = "Zhang et al.: Top-down Neural Attention by Excitation Backprop, 2016"
_URL = "https://arxiv.org/abs/1608.00507"
_NAMES = ("precision", "recall", "f1", "auc", "ap")


def localization_scores(
    mask: NDArray[np.bool_], heat: Array, threshold: float = 0.25
) -> dict[str, float]:
    """How well a map [H, W] picks out a mask [H, W].

    Args:
        mask: true on the object.
        heat: larger is more relevant.
        threshold: pixels above this share of the largest value are what the map picks.

    Returns:
        "precision", "recall" and "f1" of those pixels, "auc" (area under the receiver's curve) and
        "ap" (average precision) of the ranking.

    Raises:
        InputError: the mask has no object, or nothing else.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    if mask.all() or not mask.any():
        raise InputError("a mask must have pixels on the object and pixels off it")
    picked = heat > threshold * heat.max()
    hits = int((picked & mask).sum())
    precision = hits / int(picked.sum()) if picked.any() else 0.0
    recall = hits / int(mask.sum())
    both = precision + recall
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / both if both else 0.0,
        "auc": float(roc_auc_score(mask.ravel(), heat.ravel())),
        "ap": float(average_precision_score(mask.ravel(), heat.ravel())),
    }


def _as_interpretdl(given: Any, exp_array: Any, threshold: float) -> dict[str, float]:
    mask = np.asarray(given)
    while mask.ndim > 2 and len(mask) == 1:  # as maps of one picture are
        mask = mask[0]
    if mask.ndim != 2:
        raise InputError(
            f"the mask of one picture is [H, W] or [1, H, W]; got {list(np.shape(given))}"
        )
    heat = as_heat(exp_array, (mask.shape[0], mask.shape[1]))[0]
    found = localization_scores(mask > 0, heat, threshold)
    names = {"f1": "f1_score", "auc": "auc_score", "ap": "ap_score"}
    return {names.get(name, name): value for name, value in found.items()}


@register_evaluator("point_game", higher_is_better=True, paper=_PAPER, url=_URL, needs=("boxes",))
class PointGame(Evaluator):
    """1 where the map's maximum lies in the object's box or near it, else 0.

    Where several pixels share the maximum, the share of them that hit. The mean over images is the
    hit rate.

    Args:
        tolerance: pixels that the maximum may lie outside the box.

    Raises:
        InputError: a tolerance below 0 or not finite.
    """

    tolerance: float = 15

    def check(self) -> None:
        if not 0 <= self.tolerance < math.inf:
            raise InputError(f"tolerance must be 0 pixels or more; got {self.tolerance}")

    def evaluate_case(self, case: Case) -> Evaluation:
        values = np.empty(len(case.x))
        for i, (heat, boxes) in enumerate(zip(case.heat, case.boxes or (), strict=True)):
            y, x = np.nonzero(heat == heat.max())
            x1, y1, x2, y2 = boxes.T[..., None]
            # the last pixels inside are x2 - 1 and y2 - 1
            aside = np.maximum(0, np.maximum(x1 - x, x - (x2 - 1)))
            above = np.maximum(0, np.maximum(y1 - y, y - (y2 - 1)))
            near = np.hypot(aside, above).min(axis=0)
            values[i] = (near <= self.tolerance).mean()
        return self.result(values)

    def evaluate(self, bbox: Any, exp_array: Any, threshold: float = 0.25) -> dict[str, float]:
        """InterpretDL's call: how well one map picks out a box.

        Args:
            bbox: x1, y1, x2, y2, integers; x2 and y2 just outside.
            exp_array: [H, W], or with axes before these as methods give them for one picture:
                [1, H, W], [1, C, H, W].
            threshold: share of the largest value above which a pixel is picked.

        Returns:
            "precision", "recall", "f1_score", "auc_score", "ap_score".
        """
        exp_array = np.asarray(exp_array)
        if exp_array.ndim < 2:
            got = list(exp_array.shape)
            raise InputError(f"the explanation of one picture is [H, W] or [1, H, W]; got {got}")
        mask = np.zeros(exp_array.shape[-2:], bool)
        x1, y1, x2, y2 = bbox
        mask[y1:y2, x1:x2] = True
        return _as_interpretdl(mask, exp_array, threshold)


@register_evaluator(
    "point_game_segmentation", higher_is_better=True, paper=_PAPER, url=_URL, needs=("masks",)
)
class PointGameSegmentation(Evaluator):
    """Average precision of a map's ranking of pixels against the object's mask.

    Parts: "precision", "recall" and "f1" of the pixels above the threshold, "auc" and "ap" of the
    ranking; all in [0, 1], higher is better, 1 for a perfect mask.

    Args:
        threshold: pixels above this share of the map's largest value are what it picks.
    """

    threshold: float = 0.25

    def check(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise InputError(f"threshold must be a share, 0 to 1; got {self.threshold}")

    def evaluate_case(self, case: Case) -> Evaluation:
        parts = {name: np.full(len(case.x), np.nan) for name in _NAMES}
        flags = {}
        for i, (heat, mask) in enumerate(zip(case.heat, np.asarray(case.masks), strict=True)):
            if mask.all() or not mask.any():
                flags[i] = "the mask has no object, or nothing but the object"
                continue
            for name, value in localization_scores(mask, heat, self.threshold).items():
                parts[name][i] = value
        return self.result(parts["ap"], parts=parts, flags=flags)

    def evaluate(self, seg_gt: Any, exp_array: Any, threshold: float = 0.25) -> dict[str, float]:
        """InterpretDL's call: how well one map picks out a mask.

        Args:
            seg_gt: [H, W] or [1, H, W], above 0 on the object.
            exp_array: [h, w], or with axes before these, as in `PointGame.evaluate`; it is brought
                to the mask's size.
            threshold: share of the largest value above which a pixel is picked.

        Returns:
            "precision", "recall", "f1_score", "auc_score", "ap_score".
        """
        return _as_interpretdl(seg_gt, exp_array, threshold)
