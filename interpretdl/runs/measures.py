"""How far two maps agree, and where their heat is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluator.correlation import spearman

__all__ = ["centre_of", "rank_correlation", "share_in"]


def rank_correlation(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Spearman's correlation of two maps of one shape; equal values share their mean rank.

    Returns:
        in [-1, 1]; 1 where the maps are equal, and otherwise 0 where one of them is the same
        everywhere or not finite, and so says nothing about where.
    """
    if np.array_equal(one, other, equal_nan=True):
        return 1.0
    found = spearman(one.ravel(), other.ravel())
    return 0.0 if np.isnan(found) else found


def centre_of(heatmap: NDArray[Any]) -> NDArray[np.float64]:
    """The centre of mass of the values above zero.

    Returns:
        (down, right) as shares of height and width, pixels' centres; NaN where nothing is above
        zero.
    """
    heat = _heat(heatmap)
    total = heat.sum()
    if not total > 0:
        return np.full(2, np.nan)
    down, right = ((np.arange(size) + 0.5) / size for size in heat.shape)
    return np.asarray([heat.sum(axis=1) @ down, heat.sum(axis=0) @ right]) / float(total)


def share_in(heatmap: NDArray[Any], mask: NDArray[Any]) -> float:
    """The share of the values above zero that lies in a mask; NaN where nothing is above zero.

    Args:
        heatmap: [h, w].
        mask: bool [H, W] over the same picture. Of a pixel of the map that is partly inside, that
            part counts.
    """
    from PIL import Image

    heat = _heat(heatmap)
    total = heat.sum()
    if not total > 0:
        return float("nan")
    inside = np.asarray(mask, np.float32)
    if inside.shape != heat.shape:
        height, width = heat.shape
        inside = np.asarray(Image.fromarray(inside).resize((width, height), Image.Resampling.BOX))
    return float((heat * inside).sum() / total)


def _heat(heatmap: NDArray[Any]) -> NDArray[np.float64]:
    return np.where(np.isfinite(heatmap), np.maximum(heatmap, 0), 0).astype(np.float64)
