"""Regions of an input: the parts that are taken out together."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..preprocessing import Preprocessing, whole_number

__all__ = ["RegionName", "Regions", "grid_regions", "region_sums", "regions_of"]

Array = NDArray[Any]
RegionName = Literal["grid", "quickshift", "slic", "felzenszwalb"]
Regions = RegionName | int | Array | Callable[[NDArray[np.uint8]], Array]
"""A way to cut an input into regions, see `regions_of`."""

_CELLS = 7


def regions_of(
    x: Array, regions: Regions | None, preprocessing: Preprocessing | None
) -> list[NDArray[np.int64]]:
    """The regions of each item, numbered from 0 without a gap.

    Args:
        x: float [N, C, H, W]; without preprocessing of any rank.
        regions: "grid", 7×7 cells; a number k, k×k cells; "quickshift" (Vedaldi and Soatto, 2008),
            "slic" (Achanta et al., 2012; about 50) or "felzenszwalb" (Felzenszwalb and
            Huttenlocher, 2004), superpixels by scikit-image; an array of whole numbers [H, W], or
            [N, H, W] with one for each image; or a function from a picture, uint8 [H, W, 3], to
            such an array. None: for pictures "grid"; for other inputs each number is a region.
        preprocessing: tells how the pictures look; None where x are no pictures: `regions` are
            then None, or an array that broadcasts to an item's shape.

    Returns:
        An array for each item, int64 [H, W]; without preprocessing any shape that broadcasts to
        the item's.

    Raises:
        InputError: regions that are none of these, do not fit, or are fewer than two.
    """
    if preprocessing is None:
        found = _of_numbers(x, regions)
    elif isinstance(regions, str) or callable(regions):
        pictures = preprocessing.pictures(x)
        cut = _by_name(regions) if isinstance(regions, str) else regions
        found = [_fitting(cut(picture), x.shape[2:], "the regions") for picture in pictures]
    elif regions is None or isinstance(regions, int | np.integer):
        k = whole_number(_CELLS if regions is None else regions, "regions", 2)
        height, width = x.shape[2:]
        found = [_cells(height, width, k)] * len(x)
    else:
        array = np.asarray(regions)
        several = array.ndim == 3 and len(array) == len(x)
        found = [
            _fitting(one, x.shape[2:], "regions")
            for one in (array if several else [array] * len(x))
        ]
    numbered = [np.unique(one, return_inverse=True)[1].reshape(one.shape) for one in found]
    for i, one in enumerate(numbered):
        if one.max() < 1:
            raise InputError(
                f"image {i} has one region only, so there is nothing to compare: give other "
                'regions=, such as "grid"'
            )
    return [one.astype(np.int64) for one in numbered]


def _of_numbers(x: Array, regions: Any) -> list[NDArray[np.int64]]:
    """Regions of inputs that are no pictures."""
    shape = x.shape[1:]
    if regions is None:
        return [np.arange(int(np.prod(shape))).reshape(shape)] * len(x)
    if isinstance(regions, str | int) or callable(regions):
        raise InputError(
            f"regions={regions!r} is for pictures; for other inputs give an array of whole numbers "
            f"that broadcasts to {list(shape)}, or None for each number by itself"
        )
    return [_fitting(regions, shape, "regions", broadcast=True)] * len(x)


def _fitting(
    given: Any, shape: tuple[int, ...], what: str, *, broadcast: bool = False
) -> NDArray[np.int64]:
    array = np.asarray(given)
    if array.dtype.kind not in "iub" or array.size == 0:
        raise InputError(f"{what} must be whole numbers; got {array.dtype} {list(array.shape)}")
    try:
        fits = np.broadcast_shapes(array.shape, shape) == shape if broadcast else None
    except ValueError:
        fits = False
    if not (array.shape == shape if fits is None else fits):
        raise InputError(f"{what} must be {list(shape)}; got {list(array.shape)}")
    return array.astype(np.int64)


def _cells(height: int, width: int, k: int) -> NDArray[np.int64]:
    """k×k cells, or one for each pixel where there are fewer than k."""
    rows, columns = min(k, height), min(k, width)
    y, x = np.arange(height) * rows // height, np.arange(width) * columns // width
    return y[:, None] * columns + x[None, :]


def _by_name(name: str) -> Callable[[NDArray[np.uint8]], Array]:
    if name not in get_args(RegionName):
        raise InputError(
            f"regions must be one of {', '.join(map(repr, get_args(RegionName)))}, a number, an "
            f"array or a function; got {name!r}"
        )
    if name == "grid":
        return lambda picture: _cells(picture.shape[0], picture.shape[1], _CELLS)
    segmentation: Any = importlib.import_module("skimage.segmentation")

    def felzenszwalb(picture: NDArray[np.uint8]) -> Array:
        # About as many as the others have: the scale is a share of the picture's pixels.
        size = picture.shape[0] * picture.shape[1]
        found: Array = segmentation.felzenszwalb(
            picture, scale=size / 250, sigma=0.8, min_size=max(2, size // 250)
        )
        return found

    ways: dict[str, Callable[[NDArray[np.uint8]], Array]] = {
        "quickshift": lambda picture: segmentation.quickshift(picture, sigma=1),
        "slic": lambda picture: segmentation.slic(
            picture, n_segments=50, compactness=10, start_label=0
        ),
        "felzenszwalb": felzenszwalb,
    }
    return ways[name]


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
