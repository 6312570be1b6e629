"""Baselines: the inputs in which there is nothing to see, from which a path starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.arrays import in_range
from ..data_processor.blur import blurred
from ..errors import InputError, did_you_mean
from ..preprocessing import Preprocessing
from .sampling import counts, generator

__all__ = ["Baselines", "baselines_of", "bounds"]

Array = NDArray[Any]
Baselines = str | Array | list[str | Array | None] | tuple[str | Array | None, ...] | None
_NAMES = ("black", "white", "mean", "blur", "random")
_Maker = Callable[[int], Array]


def baselines_of(
    x: Array,
    baselines: Baselines,
    preprocessing: Preprocessing | None,
    trials: int = 10,
    seed: int = 0,
    blank: Array | None = None,
) -> tuple[int, _Maker]:
    """How many baselines each image has, and a function image -> [B, C, H, W] that makes them.

    Args:
        x: float [N, C, H, W], or of another rank.
        baselines: None or "black" (black pixels, the smallest valid input; None is zeros where the
            inputs are no pictures), "white" (the largest),
            "mean" (each image's own mean colour), "blur" (the image blurred until only large shapes
            are left: a Gaussian of a tenth of the short side), "random" (`trials` images of
            independent pixels, uniform over the valid range); an array: float [C, H, W] or
            [1, C, H, W] for all images, [N, C, H, W] one for each, [B, N or 1, C, H, W] several, or
            the same as pictures, integers with the channels last; or a list of these: several.
        preprocessing: says what black and white are.
        trials: number of random images.
        seed: of the random images, with the image's position.
        blank: what None stands for where it is known, [1, ...], such as a text without its words.

    Raises:
        InputError: an unknown name, a shape that does not fit, NaN or Inf, or channels of which the
            preprocessing does not know black and white.
    """
    counts(num_random_trials=trials)
    several: list[Any]
    baselines = blank if baselines is None else baselines
    if (
        baselines is None
        or isinstance(baselines, str)
        or getattr(baselines, "ndim", x.ndim + 1) <= x.ndim
    ):
        several = [baselines]
    else:
        several = list(baselines)
    if not several:
        raise InputError("baselines is empty; give one, or None for black")
    makers = [_maker(x, each, preprocessing, trials, seed) for each in several]
    count = sum(trials if isinstance(b, str) and b == "random" else 1 for b in several)
    return count, lambda image: np.concatenate([make(image) for make in makers])


def _maker(
    x: Array,
    baseline: str | Array | None,
    preprocessing: Preprocessing | None,
    trials: int,
    seed: int,
) -> _Maker:
    shape, dtype = x.shape[1:], x.dtype
    if baseline is None or isinstance(baseline, str):
        name = baseline or "black"
        if baseline is None and x.ndim != 4:
            return lambda i: np.zeros((1, *shape), dtype)
        if name not in _NAMES:
            raise InputError(
                f"no baseline {name!r}{did_you_mean(name, _NAMES)}; there are "
                f"{', '.join(_NAMES)}, None (black), arrays, and lists of these"
            )
        if name == "mean":
            axes = (1, 2) if len(shape) == 3 else None  # a picture's mean colour, or one number
            return lambda i: np.broadcast_to(
                x[i].mean(axis=axes, keepdims=True, dtype=np.float64).astype(dtype), (1, *shape)
            )
        if name == "blur" and len(shape) == 3:
            return lambda i: blurred(x[i], max(min(shape[1:]) / 10, 0.5))[None]
        low, high = bounds(shape, preprocessing, name)
        if name == "random":
            generator(seed, 0)  # an unfit seed is refused before the work

            def random(i: int) -> Array:
                pixels = generator(seed, i).random((trials, *shape))
                return np.asarray(low + (high - low) * pixels, dtype)

            return random
        plain = np.broadcast_to(high if name == "white" else low, (1, *shape)).astype(dtype)
        return lambda i: plain
    array = in_range(_checked(np.asarray(baseline), x.shape, preprocessing), dtype, "a baseline")
    return lambda i: array[i if len(array) > 1 else 0][None]


def bounds(
    shape: tuple[int, ...], preprocessing: Preprocessing | None, name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The smallest and the largest input that a pixel can give, [1, C, 1, 1] each.

    Args:
        shape: of one input, [C, H, W].
        name: what needs them, for the message.

    Raises:
        InputError: they are not known for such inputs.
    """
    if preprocessing is None or len(shape) != 3 or preprocessing.channels != shape[0]:
        has = "is None" if preprocessing is None else f"has {preprocessing.channels} channels"
        raise InputError(
            f"{name} needs to know what black and white are, and for inputs {list(shape)} they are "
            f"not known: the preprocessing {has}. Give arrays, or another preprocessing="
        )
    low, high = preprocessing.bounds()
    return low.astype(np.float64), high.astype(np.float64)


def _checked(array: Array, shape: tuple[int, ...], preprocessing: Preprocessing | None) -> Array:
    """The array as [N, C, H, W] or [1, C, H, W] floats."""
    given = array.shape
    array = array[None] if array.ndim == len(shape) - 1 else array
    channels = None if preprocessing is None else preprocessing.channels
    if (
        array.dtype.kind in "iu"
        and array.ndim == 4
        and preprocessing
        and array.shape[-1] == channels
    ):
        array = preprocessing.normalize(array.astype(np.uint8))
    if array.dtype.kind != "f" or array.shape not in (shape, (1, *shape[1:])):
        raise InputError(
            f"a baseline must be float {list(shape[1:])}, or {list(shape)} with one for each image "
            f"(or integer pictures with the channels last); got {array.dtype} {list(given)}"
        )
    return array
