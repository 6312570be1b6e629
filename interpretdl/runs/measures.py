"""How far two maps agree, where their heat is, and which mask is whose."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..evaluator.correlation import spearman

__all__ = ["centre_of", "masks_of", "moved", "rank_correlation", "share_in"]

Mask = NDArray[np.bool_]


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


def moved(one: NDArray[Any], other: NDArray[Any]) -> float:
    """How far the centre of mass is from another map's, as a share of the diagonal.

    Args:
        one, other: [h, w].
    """
    far = (centre_of(one) - centre_of(other)) * one.shape
    return float(np.hypot(*far) / np.hypot(*one.shape))


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


def masks_of(mask: Any, paths: Sequence[str]) -> list[Mask | None]:
    """The mask of each picture.

    Args:
        mask: as `diff_runs` takes it.
        paths: of the pictures; "" where there is none.

    Raises:
        InputError: an array that is no mask, masks that are no picture's, or no telling which
            mask is whose.
    """
    if mask is None:
        return [None] * len(paths)
    if not isinstance(mask, Mapping):
        only = _inside("the mask", mask)
        if not only.any():
            raise InputError("the mask is empty: no value in it is above 0")
        return [only] * len(paths)
    masks = {str(key).replace(os.sep, "/"): _inside(f"the mask {key}", mask[key]) for key in mask}
    bare: dict[str, list[str]] = {}
    for key in masks:
        bare.setdefault(os.path.splitext(key)[0], []).append(key)
    found = {path: _fitting(path, masks, bare) for path in paths if path}
    of: dict[str, str] = {}
    for path, fits in found.items():
        if fits is not None and of.setdefault(fits, path) != path:
            raise InputError(
                f"the mask {fits} fits both {of[fits]} and {path}; name masks by as much of the "
                "end of the pictures' paths as tells them apart"
            )
    if not of:
        raise InputError(
            f"no mask has the name of a picture; masks: {_some(masks)}; pictures: {_some(found)}"
        )
    return [masks[fits] if (fits := found.get(path)) else None for path in paths]


def _fitting(path: str, masks: Mapping[str, Mask], bare: Mapping[str, list[str]]) -> str | None:
    """The mask whose name is most of the end of a path, with or without its ending."""
    parts = path.replace(os.sep, "/").split("/")
    for k in range(len(parts)):
        tail = "/".join(parts[k:])
        stem = os.path.splitext(tail)[0]
        for key in (tail, stem):
            if key in masks:
                return key
        if len(several := bare.get(stem, [])) > 1:
            raise InputError(f"{several[0]} and {several[1]} are both masks of {path}; keep one")
        if several:
            return several[0]
    return None


def _inside(name: str, mask: Any) -> Mask:
    try:
        array = np.asarray(mask)
        inside = np.asarray(array > 0, bool)
    except (TypeError, ValueError):  # texts, or rows of several lengths
        raise InputError(f"{name} must be an array [h, w] of numbers") from None
    if inside.ndim != 2 or not inside.size:
        raise InputError(f"{name} must be [h, w]; got {list(inside.shape)}")
    return inside


def _some(names: Mapping[str, Any]) -> str:
    return ", ".join([*names][:3]) + (", …" if len(names) > 3 else "") or "none"
