"""Maps that know no model: a measure should rank every method above them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..interpreter.base import Interpreter
from ..registry import MethodInfo
from ..subject import Subject
from ..targets import TargetLike

__all__ = ["CONTROLS", "Control", "centre_map", "random_map", "sobel_map"]

Maps = NDArray[np.float32]


def random_map(x: NDArray[Any], seed: int = 0) -> Maps:
    """Independent uniform numbers in [0, 1), drawn for each picture by the seed and its pixels.

    The same picture gets the same map, whatever the model, the class and its place in the batch.

    Args:
        x: float [N, C, H, W].
        seed: of the random numbers.

    Returns:
        float32 [N, H, W].

    Raises:
        InputError: x has another shape.
    """
    x = _pictures(x)
    draws = [np.random.default_rng([seed, zlib.crc32(one.tobytes())]) for one in x]
    return np.stack([rng.random(x.shape[2:], np.float32) for rng in draws])


def centre_map(x: NDArray[Any]) -> Maps:
    """A Gaussian in the middle of the picture; its σ is a quarter of each side.

    Args:
        x: float [N, C, H, W]; only the shape is used.

    Returns:
        float32 [N, H, W], the same for all, at most 1.

    Raises:
        InputError: x has another shape.
    """
    x = _pictures(x)
    rows, columns = (
        np.exp(-((np.arange(size) - (size - 1) / 2) ** 2) / (2 * (size / 4) ** 2))
        for size in x.shape[2:]
    )
    return np.repeat(np.outer(rows, columns).astype(np.float32)[None], len(x), axis=0)


def sobel_map(x: NDArray[Any]) -> Maps:
    """Edges of the picture: the size of Sobel's gradient of the mean of the channels.

    Args:
        x: float [N, C, H, W]. The picture's border is repeated beyond it.

    Returns:
        float32 [N, H, W], zero where the picture is flat.

    Raises:
        InputError: x has another shape.
    """
    grey = _pictures(x).mean(axis=1, dtype=np.float64)
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    down = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]  # smoothed along a row
    across = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    vertical, horizontal = down[:, 2:] - down[:, :-2], across[:, :, 2:] - across[:, :, :-2]
    return np.asarray(np.hypot(vertical, horizontal), np.float32)


def _pictures(x: NDArray[Any]) -> NDArray[Any]:
    x = np.ascontiguousarray(x)
    if x.ndim != 4 or 0 in x.shape or x.dtype.kind != "f":
        raise InputError(f"x must be float [N, C, H, W]; got {x.dtype} {list(x.shape)}")
    return x


CONTROLS: dict[str, Callable[[NDArray[Any]], Maps]] = {
    "random": random_map,
    "centre": centre_map,
    "sobel": sobel_map,
}
"""The controls by name, in the order in which tables have them."""


class Control(Interpreter):
    """A control in the place of a method: it explains any picture, with any model, by its map.

    It is not registered, because it explains nothing.

    Args:
        subject: whose pictures and classes it shares.
        control: a name in `CONTROLS`.
    """

    def __init__(self, subject: Subject, control: str) -> None:
        super().__init__(subject)
        self.control = control
        # of the object, not of the class: one class serves all controls
        vars(self)["info"] = MethodInfo(
            control, type(self), layout="nhw", signed=False, needs_layer=False, random=False,
            one_pass=False, inputs=frozenset({"pictures"}), paper="none", url="",
        )  # fmt: skip

    def attribute(self, x: NDArray[Any], target: TargetLike) -> Maps:
        """The control's map of each picture, float32 [N, H, W]."""
        return CONTROLS[self.control](x)
