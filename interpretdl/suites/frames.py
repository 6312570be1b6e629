"""Pictures as a detector is given them, and where its boxes are in the picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.decode import load_image, name_of
from ..data_processor.geometry import resize_exactly
from ..data_processor.heatmaps import heatmap_of
from ..data_processor.readers import read_images
from ..errors import InputError
from ..preprocessing import IMAGENET, Preprocessing, whole_number

__all__ = ["Frame", "Reader"]

_WITHOUT_EFFECT = ("Decode", "Permute")
_CV2 = {0: "nearest", 1: "bilinear", 2: "bicubic", 4: "lanczos"}


@dataclass(frozen=True)
class Frame:
    """One picture and what the network is given of it.

    Attributes:
        picture: uint8 [h, w, 3], as it was given.
        x: float32 [1, C, H, W].
        filled: height and width that the picture takes of x, in the upper left; the rest is empty.
        source: where it came from.
    """

    picture: NDArray[np.uint8]
    x: NDArray[Any]
    filled: tuple[int, int]
    source: str

    @property
    def _scale(self) -> NDArray[np.float64]:
        """Pixels of the input for one of the picture, of x0, y0, x1, y1."""
        height, width = self.picture.shape[:2]
        across, down = self.filled[1] / width, self.filled[0] / height
        return np.array([across, down, across, down])

    def in_picture(self, boxes: NDArray[Any]) -> NDArray[np.float64]:
        """Boxes [..., 4] of the input as those of the picture, cut at its edges."""
        height, width = self.picture.shape[:2]
        found = np.asarray(boxes, np.float64) / self._scale
        return np.asarray(found.clip(0, [width, height, width, height]))

    def region(self, box: NDArray[Any]) -> NDArray[np.bool_]:
        """The pixels of the picture that a box has, bool [1, h, w]; at least one."""
        height, width = self.picture.shape[:2]
        x0, y0, x1, y1 = np.rint(np.asarray(box)).astype(int)
        inside = np.zeros((1, height, width), bool)
        x0, y0 = min(x0, width - 1), min(y0, height - 1)
        inside[:, y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = True
        return inside

    def of_picture(self, values: NDArray[Any], signed: bool) -> NDArray[Any]:
        """Values of the input without those of what is empty."""
        height, width = self.x.shape[2:]
        if self.filled == (height, width):
            return values
        if values.shape[-2:] != (height, width):
            values = heatmap_of(values, (height, width), signed)
        return values[..., : self.filled[0], : self.filled[1]]


@dataclass(frozen=True)
class Reader:
    """How pictures become a detector's input.

    Attributes:
        size: height and width.
        numbers: mean and standard deviation, and how pictures are resized.
        keep_ratio: the shorter of the two sides in `size` is the picture's shorter one, as long as
            its longer one is not above the other.
        stride: empty rows and columns are added, up to a multiple of it.
    """

    size: tuple[int, int]
    numbers: Preprocessing = IMAGENET
    keep_ratio: bool = False
    stride: int = 1

    @classmethod
    def of(cls, preprocessing: Any, size: Any, own: Any) -> Reader:
        """What a user gives.

        Args:
            preprocessing: a Preprocessing, of which mean, std and interpolation count; a reader of
                PaddleDetection's configuration, or its sample_transforms; or None.
            size: a side or (height, width); None: the reader's, the model's `own`, or 640.

        Raises:
            InputError: something else, or a step that is not known.
        """
        found = cls((640, 640))
        if isinstance(preprocessing, Preprocessing):
            found = replace(found, numbers=preprocessing)
        elif isinstance(preprocessing, Mapping | list | tuple):
            found, stated = _configured(found, preprocessing)
            own = None if stated else own
        elif preprocessing is not None:
            raise InputError(
                "preprocessing must be a Preprocessing, a reader of PaddleDetection's "
                f"configuration such as cfg['TestReader'], or None; got {preprocessing!r}"
            )
        chosen = own if size is None else size
        return found if chosen is None else replace(found, size=_size(chosen))

    def read(self, picture: Any) -> Frame:
        """One picture, in one of the forms that `Interpreter.explain` takes.

        Raises:
            ImageReadError: it cannot be read.
            InputError: it is something else, or more than one picture.
        """
        given = picture.numpy() if hasattr(picture, "numpy") else picture
        if isinstance(given, list | tuple) and len(given) == 1:
            given = given[0]
        shape = np.shape(given) if isinstance(given, np.ndarray) else ()
        if isinstance(given, list | tuple) or (len(shape) == 4 and shape[0] != 1):
            raise InputError("boxes are explained picture by picture; give one picture")
        plain = replace(self.numbers, resize=None, crop=None, crop_first=False)
        if isinstance(given, np.ndarray) and given.dtype.kind == "f":
            batch = read_images(given, plain)
            seen = np.asarray(batch.images)[0]
            return Frame(seen, batch.inputs, seen.shape[:2], batch.sources[0])
        given = given[0] if len(shape) == 4 else given
        pixels = load_image(given, channels=plain.channels)
        height, width = self._size_for(pixels.shape[:2])
        x = plain.normalize(resize_exactly(pixels, (height, width), plain.interpolation)[None])
        below, beside = -height % self.stride, -width % self.stride
        x = np.pad(x, ((0, 0), (0, 0), (0, below), (0, beside)))
        seen = plain.pictures(plain.normalize(pixels[None]))[0]
        return Frame(seen, x, (height, width), name_of(given) or "input 0")

    def _size_for(self, shape: Sequence[int]) -> tuple[int, int]:
        if not self.keep_ratio:
            return self.size
        scale = min(min(self.size) / min(shape), max(self.size) / max(shape))
        height, width = (max(1, math.floor(side * scale + 0.5)) for side in shape)
        return height, width


def _size(size: Any) -> tuple[int, int]:
    sides = list(size) if isinstance(size, list | tuple) else [size, size]
    if len(sides) != 2:
        raise InputError(f"size must be a side or (height, width); got {size!r}")
    height, width = (whole_number(side, "size") for side in sides)
    return height, width


def _configured(found: Reader, config: Any) -> tuple[Reader, bool]:
    """A reader of PaddleDetection's configuration, and whether it says the size."""
    steps = config.get("sample_transforms", []) if isinstance(config, Mapping) else config
    more = (config.get("batch_transforms") or []) if isinstance(config, Mapping) else []
    stated = False
    for step in [*steps, *more]:
        if not isinstance(step, Mapping) or len(step) != 1:
            raise InputError(f"a step of a reader must be {{name: options}}; got {step!r}")
        ((name, options),) = step.items()
        options = options or {}
        if name == "Resize":
            how = _CV2.get(options.get("interp", 1), "bilinear")
            found = replace(
                found, size=_size(options["target_size"]),
                keep_ratio=bool(options.get("keep_ratio", True)),
                numbers=replace(found.numbers, interpolation=how),
            )  # fmt: skip
            stated = True
        elif name == "NormalizeImage":
            whole = options.get("norm_type", "mean_std") == "none"
            unit = 1 if options.get("is_scale", True) else 255
            mean = [0, 0, 0] if whole else options.get("mean", [0.485, 0.456, 0.406])
            std = [1, 1, 1] if whole else options.get("std", [0.229, 0.224, 0.225])
            mean, std = [m / unit for m in mean], [s / unit for s in std]
            found = replace(found, numbers=replace(found.numbers, mean=mean, std=std))
        elif name == "PadBatch":
            found = replace(found, stride=max(1, int(options.get("pad_to_stride", 1))))
        elif name not in _WITHOUT_EFFECT:
            raise InputError(
                f"the reader's step {name!r} is not known; give size= and a Preprocessing with "
                "mean= and std=, or the network's input, a float array [1, C, H, W]"
            )
    return found, stated
