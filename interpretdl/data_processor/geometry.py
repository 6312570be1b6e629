"""Resize and crop of 8-bit pictures.

As in Paddle's and torchvision's transforms: the short edge becomes `resize`, the long edge
int(resize * long / short), antialiased; the crop starts at int(round((edge - crop) / 2)).
"""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ImageReadError, InputError, did_you_mean
from ..preprocessing import whole_number
from .decode import DEFAULT_MAX_PIXELS, Pixels

__all__ = ["crop_image", "fit", "resize_exactly", "resize_image", "resize_short"]

_RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# OpenCV's interpolation flags, which its users pass.
_CV2 = {0: "nearest", 1: "bilinear", 2: "bicubic", 4: "lanczos"}


def fit(
    image: Pixels,
    resize: int | None,
    crop: int | None,
    how: str,
    max_pixels: int,
    name: str,
    crop_first: bool = False,
) -> Pixels:
    """Resize the short edge of uint8 [H, W, C], then cut the centre; None leaves out a step.

    With `crop_first` the centre's share crop / resize of the short edge is cut, then resized.

    Raises:
        InputError: unknown interpolation `how`, or the crop is larger than the picture.
        ImageReadError: the resized picture would have more than `max_pixels`.
    """
    if crop_first and resize is not None and crop is not None:
        image = crop_image(image, max(1, min(image.shape[:2]) * crop // resize))
        return resize_short(image, crop, how, max_pixels, name)
    if resize is not None:
        image = resize_short(image, resize, how, max_pixels, name)
    if crop is None:
        return image
    height, width = image.shape[:2]
    if crop > min(height, width):
        raise InputError(
            f"{name} has {height} x {width} pixels after resizing, less than the crop of {crop}; "
            "give a larger resize or a smaller crop"
        )
    top, left = round((height - crop) / 2), round((width - crop) / 2)
    return image[top : top + crop, left : left + crop]


def resize_short(
    image: NDArray[Any], size: int, how: str, max_pixels: int, name: str
) -> NDArray[Any]:
    """uint8 [H, W, C], or floats [H, W, 1], with the short edge resized; raises as `fit`."""
    _check_way(how)
    height, width = image.shape[:2]
    short = min(height, width)
    new_height, new_width = size * height // short, size * width // short
    if (new_height, new_width) == (height, width):
        return image
    if new_height * new_width > max_pixels:
        raise ImageReadError(
            f"{name!r}, {height} x {width} pixels, is too long and thin: a short edge of {size} "
            f"makes it {new_height} x {new_width}, more than max_pixels={max_pixels}; crop it first"
        )
    return resize_exactly(image, (new_height, new_width), how)


def resize_exactly(image: NDArray[Any], size: tuple[int, int], how: str) -> NDArray[Any]:
    """uint8 [H, W, C], or floats [H, W, 1], with that height and width; raises as `fit`."""
    _check_way(how)
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    grey = image.shape[2] == 1
    pil = Image.fromarray(image[..., 0] if grey else image)
    resized = np.asarray(pil.resize((width, height), _RESAMPLE[how]))
    return resized[..., None] if grey else resized


def _check_way(how: Any) -> None:
    if not isinstance(how, str) or how not in _RESAMPLE:
        given = reprlib.repr(how) if isinstance(how, str) else f"of type {type(how).__name__}"
        known = ", ".join(_RESAMPLE) + did_you_mean(given.strip("'"), _RESAMPLE)
        raise InputError(f"no interpolation {given}; there are {known}")


def resize_image(
    img: NDArray[Any], target_size: int, interpolation: str | int = "bilinear"
) -> NDArray[Any]:
    """Picture uint8 or float32 [H, W, C] with its short edge resized to `target_size` pixels.

    Antialiased, unlike OpenCV's. `interpolation` is a name ("nearest", "bilinear", "bicubic",
    "lanczos") or OpenCV's number for one.
    """
    how = interpolation
    if isinstance(how, int):
        how = _CV2.get(how, str(whole_number(how, "interpolation", least=0)))
    size = whole_number(target_size, "target_size")
    if np.ndim(img) != 3 or img.dtype.kind != "f":
        return resize_short(img, size, how, DEFAULT_MAX_PIXELS, "img")
    planes = np.asarray(img, np.float32)[..., None, :]  # Pillow knows floats of one channel only
    resized = [
        resize_short(planes[..., i], size, how, DEFAULT_MAX_PIXELS, "img")
        for i in range(img.shape[2])
    ]
    return np.concatenate(resized, axis=2)


def crop_image(
    img: NDArray[Any],
    target_size: int,
    center: bool = True,
    rng: np.random.Generator | None = None,
) -> NDArray[Any]:
    """Square [target_size, target_size, C] from the centre of [H, W, C], or from anywhere.

    With `center=False` the place is drawn from `rng`. Raises InputError if the picture is smaller.
    """
    height, width = img.shape[:2]
    if not 1 <= whole_number(target_size, "target_size") <= min(height, width):
        raise InputError(f"cannot cut {target_size} x {target_size} from {height} x {width} pixels")
    top, left = (height - target_size) // 2, (width - target_size) // 2
    if not center:
        rng = rng or np.random.default_rng()
        top = int(rng.integers(height - target_size + 1))
        left = int(rng.integers(width - target_size + 1))
    return img[top : top + target_size, left : left + target_size]
