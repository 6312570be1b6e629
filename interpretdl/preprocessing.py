"""How pictures become a network's input: numbers only, no files and no model."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

__all__ = ["IMAGENET", "Preprocessing", "whole_number"]


def whole_number(value: Any, name: str, least: int = 1) -> int:
    """`value` as an int of 64 bits, `least` or more; InputError for anything else, True too."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InputError(f"{name} must be a whole number; got {reprlib.repr(value)}")
    number = int(value)
    if not least <= number < 2**63:
        # Python writes no number of more than 4,300 digits.
        shown = number if abs(number) < 2**63 else "one of more than 64 bits"
        raise InputError(f"{name} must be at least {least} and less than 2**63; got {shown}")
    return number


@dataclass(frozen=True)
class Preprocessing:
    """Resize, crop and normalisation that a network was trained with.

    Args:
        resize: length in pixels of the picture's short edge after resizing; None leaves the size.
        crop: side in pixels of the square cut from the centre; None leaves the size.
        interpolation: "nearest", "bilinear", "bicubic" or "lanczos".
        mean, std: one number per channel, for pixels in [0, 1]: input = (pixel - mean) / std.
            Three channels are RGB, one is grey, four are RGB and alpha.
        crop_first: cut the centre square, crop / resize of the short edge, and resize that to
            `crop` pixels, as TensorFlow's EfficientNets do; needs resize and crop.

    Raises:
        InputError: mean and std differ in length, a std is not positive, a size is below 1,
            or crop_first lacks one of its sizes.
    """

    resize: int | None = 256
    crop: int | None = 224
    interpolation: str = "bilinear"
    mean: Sequence[float] = (0.485, 0.456, 0.406)
    std: Sequence[float] = (0.229, 0.224, 0.225)
    crop_first: bool = False

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            try:
                finite = np.isfinite(np.asarray(getattr(self, name), np.float64))
            except OverflowError as error:
                raise InputError(f"{name} must be numbers of 64 bits") from error
            except (TypeError, ValueError):
                finite = np.asarray(False)
            if finite.ndim != 1 or not finite.all():
                given = reprlib.repr(getattr(self, name))
                raise InputError(f"{name} must be one finite number per channel; got {given}")
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3, 4):
            raise InputError(
                f"mean and std must have 1, 3 or 4 numbers each; got {len(self.mean)} and "
                f"{len(self.std)}"
            )
        if min(self.std) <= 0:
            raise InputError(f"std must be positive; got {tuple(self.std)}")
        for name in ("resize", "crop"):
            size = getattr(self, name)
            if size is not None:
                whole_number(size, name)
        if self.crop_first and (self.resize is None or self.crop is None):
            raise InputError("crop_first=True needs both resize and crop")

    @property
    def channels(self) -> int:
        """Number of input channels C."""
        return len(self.mean)

    def _per_channel(self, values: Sequence[float]) -> NDArray[np.float32]:
        return np.asarray(values, np.float32).reshape(1, -1, 1, 1)

    def normalize(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pixels uint8 [N, H, W, C] in 0..255 to network input float32 [N, C, H, W]."""
        if np.ndim(images) != 4 or images.shape[3] != self.channels:
            raise InputError(
                f"pictures must be [N, H, W, {self.channels}]; got shape {np.shape(images)}"
            )
        x = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
        return (x - self._per_channel(self.mean)) / self._per_channel(self.std)

    def restore(self, inputs: NDArray[Any]) -> NDArray[np.uint8]:
        """Network input [N, C, H, W] back to pixels uint8 [N, H, W, C], clipped to 0..255."""
        if np.ndim(inputs) != 4 or inputs.shape[1] != self.channels:
            raise InputError(
                f"network input must be [N, {self.channels}, H, W]; got shape {np.shape(inputs)}"
            )
        with np.errstate(over="ignore"):  # clipped below
            x = inputs * self._per_channel(self.std) + self._per_channel(self.mean)
        return np.ascontiguousarray(
            np.rint(x.clip(0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
        )

    def pictures(self, inputs: NDArray[Any]) -> NDArray[np.uint8]:
        """Network input [N, C, H, W] as pictures uint8 [N, H, W, 3] that a person can look at."""
        images = self.restore(inputs)
        if images.shape[-1] == 1:
            return np.repeat(images, 3, axis=-1)
        return np.ascontiguousarray(images[..., :3])

    def bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Smallest and largest input that a pixel can give, each float32 [1, C, 1, 1]."""
        mean, std = self._per_channel(self.mean), self._per_channel(self.std)
        return (0 - mean) / std, (1 - mean) / std


IMAGENET = Preprocessing()
