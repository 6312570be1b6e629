"""What stands where something was taken out."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..data_processor.arrays import in_range
from ..data_processor.blur import blurred
from ..errors import InputError
from ..preprocessing import Preprocessing
from .linear import interpolated

__all__ = ["FROM_AROUND", "Fill", "FillName", "Imputer"]

Array = NDArray[Any]
FillName = Literal["mean", "region_mean", "blur", "inpaint", "road", "black"]
Fill = FillName | float | Array
"""What stands where something was taken out, see `Imputer`."""
FROM_AROUND = ("inpaint", "road")
"""Fills that depend on what is left, and fill all channels of a pixel at once."""


class Imputer:
    """Items with parts taken out.

    Args:
        x: float [N, C, H, W]; without preprocessing of any rank [N, ...].
        fill: "mean", each image's mean of each channel; "region_mean", each region's; "blur", the
            image under a Gaussian with σ a twentieth of its short edge (at least 1); "inpaint",
            what surrounds the gap, continued smoothly into it (biharmonic, by scikit-image; slow,
            some tenths of a second for each perturbed image); "road", the weighted mean of its
            neighbours for each missing pixel, with a little noise (`linear.interpolated`; up to
            some tenths of a second too); "black", the network's input for a black pixel; a number
            or an array that broadcasts to x; or another picture, uint8 [H, W, C]. Names are for
            pictures alone.
        preprocessing: how pictures become x; None where that is not known, or x are no pictures.
        regions: for "region_mean", those of each image, int64 [H, W].

    Attributes:
        base: float like x, what stands in the place of all of it. None for "inpaint" and "road",
            where that depends on what is left.

    Raises:
        InputError: an array that does not fit, numbers that are not finite, or a name that needs
            something which is missing.
    """

    def __init__(
        self,
        x: Array,
        fill: Fill,
        preprocessing: Preprocessing | None,
        regions: list[NDArray[np.int64]] | None = None,
    ) -> None:
        self.x = x
        self._fill = fill
        around = isinstance(fill, str) and fill in FROM_AROUND
        self.base = None if around else _base(x, fill, preprocessing, regions)
        if self.base is None and x.ndim != 4:
            raise InputError(f"fill={fill!r} is for pictures; give a number or an array")

    def images(self, owner: NDArray[np.int64], keep: Array) -> Array:
        """Items with parts taken out, like x.

        Args:
            owner: int64 [m], which item each comes from.
            keep: what is left of each, bool, or floats in [0, 1] for what is left in part;
                [m, H, W], or [m, ...] that broadcasts to the items [m, C, H, W] from the right.

        Raises:
            InputError: floats, with "inpaint" or "road".
        """
        x = self.x[owner]
        keep = keep.reshape(len(keep), *[1] * (x.ndim - keep.ndim), *keep.shape[1:])
        if self.base is None:
            return self._from_around(x, keep)
        base = self.base[owner]
        if keep.dtype == bool:
            return np.asarray(np.where(keep, x, base))
        return np.asarray(base + keep * (x - base), x.dtype)

    def nothing(self) -> Array:
        """Each item with all of it taken out, like x."""
        if self.base is not None:
            return self.base
        return np.broadcast_to(self.x.mean(axis=(2, 3), keepdims=True), self.x.shape)

    def _from_around(self, x: Array, keep: Array) -> Array:
        if keep.dtype != bool:
            raise InputError(
                f"fill={self._fill!r} takes out all of a region or nothing; give another fill"
            )
        kept = np.broadcast_to(keep, (len(x), 1, *x.shape[2:]))[:, 0]
        return interpolated(x, kept) if self._fill == "road" else _inpainted(x, kept)


def _base(
    x: Array,
    fill: Fill,
    preprocessing: Preprocessing | None,
    regions: list[NDArray[np.int64]] | None,
) -> Array:
    if isinstance(fill, str):
        return _named(x, fill, preprocessing, regions)
    array = np.asarray(fill)
    channels = preprocessing.channels if preprocessing is not None else 0
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[-1] == channels:
        array = preprocessing.normalize(array[None])  # type: ignore[union-attr]  # has channels
    array = in_range(array, x.dtype, "the fill")
    try:
        return np.broadcast_to(array, x.shape)
    except ValueError:
        raise InputError(
            f"the fill has the shape {list(array.shape)}, which does not broadcast to "
            f"{list(x.shape)}"
        ) from None


def _named(
    x: Array,
    fill: str,
    preprocessing: Preprocessing | None,
    regions: list[NDArray[np.int64]] | None,
) -> Array:
    if fill not in get_args(FillName):
        names = ", ".join(map(repr, get_args(FillName)))
        raise InputError(f"fill must be one of {names}, a number or an array; got {fill!r}")
    if x.ndim != 4 or (regions is not None and regions[0].ndim != 2):
        raise InputError(
            f"fill={fill!r} is for pictures [N, C, H, W]; for inputs {list(x.shape)} give a number "
            "or an array, such as the mean of the training data; or give a preprocessing=, where "
            "they are pictures"
        )
    if fill == "mean":
        return np.broadcast_to(x.mean(axis=(2, 3), keepdims=True), x.shape)
    if fill == "blur":
        return blurred(x, max(1.0, min(x.shape[2:]) / 20))
    if fill == "region_mean":
        if regions is None:
            raise InputError("fill='region_mean' needs regions; give another fill")
        return np.stack([_region_means(*each) for each in zip(x, regions, strict=True)])
    if preprocessing is None or preprocessing.channels != x.shape[1]:
        raise InputError(
            f"fill='black' needs preprocessing= for {x.shape[1]} channels, which says what a "
            "black pixel is; give it, or a number"
        )
    return np.broadcast_to(preprocessing.bounds()[0], x.shape).astype(x.dtype)


def _region_means(image: Array, regions: NDArray[np.int64]) -> Array:
    """Each pixel's mean over its region, [C, H, W]."""
    flat = regions.ravel()
    size = np.bincount(flat)
    means = [(np.bincount(flat, channel.ravel()) / size)[regions] for channel in image]
    return np.asarray(means, image.dtype)


def _inpainted(x: Array, keep: NDArray[np.bool_]) -> Array:
    """Pictures [m, C, H, W] of which `keep` [m, H, W] is left."""
    from skimage.restoration import inpaint_biharmonic

    images = x.copy()
    for image, kept in zip(images, keep, strict=True):
        if not kept.any():
            image[:] = image.mean(axis=(1, 2), keepdims=True)
        elif not kept.all():
            # It clips to the range of what is known, so scales do not matter.
            image[:] = inpaint_biharmonic(image.astype(np.float64), ~kept, channel_axis=0)
    return images
