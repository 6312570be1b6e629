"""Score of a channel or a unit of an inner layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

from ..errors import InputError, TargetError
from ..tensors import from_numpy
from .scores import Target, Tensor

__all__ = ["ActivationScore", "ChannelScore"]


class ActivationScore(Target):
    """Score of a channel, or of one unit of it, from a layer's output [n, C, h, w] or [n, C].

    Args:
        layer: the layer's name, for messages.
        channels: int, or ints [N], each in [0, C).
        position: int64 [2] or [N, 2], row and column of a unit; None: the mean over all positions.

    Raises:
        TargetError: on the call, when the layer has no such channel or position.
    """

    def __init__(
        self, layer: str, channels: NDArray[np.int64], position: NDArray[np.int64] | None
    ) -> None:
        self.layer, self.channels, self.position = layer, channels, position

    def take(self, indices: NDArray[np.int64]) -> ActivationScore:
        channels = self.channels[indices] if self.channels.ndim else self.channels
        places = self.position
        if places is not None and places.ndim == 2:
            places = places[indices]
        return ActivationScore(self.layer, channels, places)

    def __call__(self, activation: Tensor) -> Tensor:
        shape = list(activation.shape)
        if activation.ndim not in (2, 4):
            raise TargetError(f"{self.layer!r} must give [N, C, h, w] or [N, C]; it gives {shape}")
        n, channels = shape[:2]
        if self.channels.min() < 0 or self.channels.max() >= channels:
            given = self.channels.tolist()
            raise TargetError(f"{self.layer!r} has channels 0 to {channels - 1}; got {given}")
        rows = np.broadcast_to(self.channels, (n,)).reshape(-1, *[1] * (activation.ndim - 1))
        index = from_numpy(np.ascontiguousarray(rows), activation.place)
        found = paddle.take_along_axis(activation, index, axis=1)[:, 0]
        if self.position is None:
            return found.flatten(1).mean(axis=1) if found.ndim > 1 else found
        if found.ndim == 1:
            raise TargetError(f"{self.layer!r} has no positions: its output is {shape}")
        height, width = shape[2:]
        rows, columns = np.broadcast_to(self.position, (n, 2)).T
        if self.position.min() < 0 or rows.max() >= height or columns.max() >= width:
            given = self.position.tolist()
            raise TargetError(
                f"position {given} is not in the {height} x {width} of {self.layer!r}"
            )
        places = from_numpy((rows * width + columns)[:, None], activation.place)
        return paddle.take_along_axis(found.flatten(1), places, axis=1)[:, 0]

    def __repr__(self) -> str:
        where = "" if self.position is None else f", position={self.position.tolist()}"
        return f"ChannelScore({self.layer!r}, {self.channels.tolist()}{where})"


class ChannelScore(Target):
    """Score of a channel of an inner layer: what in the picture makes it answer.

    Given as `label=` it is explained by any method that explains a target. The network up to the
    layer is then what is explained.

    Args:
        layer: a layer's name, see `probe.layer_names()`. Its output is [N, C, h, w] or [N, C].
        channel: int, or ints [N], one for each image, each in [0, C).
        position: row and column of a unit in [0, h) x [0, w), or [N, 2] of them; None: the mean
            over all positions. The gradient of a mean is the same at all of them, so that
            deconvolution then shows nothing of the picture: give it a unit.

    Raises:
        InputError: the channel is not a whole number, or the position not two of them.
        LayerNotFoundError, TargetError: when it is explained, if there is no such layer, channel
            or position.
    """

    def __init__(
        self,
        layer: str,
        channel: int | Sequence[int] | NDArray[Any],
        position: Sequence[int] | NDArray[Any] | None = None,
    ) -> None:
        channels = np.asarray(channel)
        if channels.dtype.kind not in "iu" or channels.ndim > 1 or channels.size == 0:
            raise InputError(
                f"channel must be a whole number, or one for each image; got {channel!r}"
            )
        places = None if position is None else np.asarray(position)
        if places is not None and (
            places.dtype.kind not in "iu" or places.ndim not in (1, 2) or places.shape[-1] != 2
        ):
            raise InputError(
                f"position must be (row, column), or one for each image; got {position!r}"
            )
        self.layer, self.channel = str(layer), channels.astype(np.int64)
        self.position = None if places is None else places.astype(np.int64)

    def check(self, images: int) -> None:
        """Raise TargetError unless there is one channel, or one for each of so many images."""
        if self.channel.ndim and len(self.channel) != images:
            raise TargetError(f"{len(self.channel)} channels were given for {images} images")
        if self.position is not None and self.position.ndim == 2 and len(self.position) != images:
            raise TargetError(f"{len(self.position)} positions were given for {images} images")

    @property
    def of_layer(self) -> ActivationScore:
        """The same score as a function of the layer's output."""
        return ActivationScore(self.layer, self.channel, self.position)

    def names(self, n: int) -> tuple[str, ...]:
        """What is explained of each of n images, in words."""
        channels = np.broadcast_to(self.channel, (n,)).tolist()
        if self.position is None:
            return tuple(f"{self.layer} channel {channel}" for channel in channels)
        places = np.broadcast_to(self.position, (n, 2)).tolist()
        return tuple(
            f"{self.layer} channel {channel} at {row}, {column}"
            for channel, (row, column) in zip(channels, places, strict=True)
        )

    def take(self, indices: NDArray[np.int64]) -> ChannelScore:
        part = self.of_layer.take(indices)
        return ChannelScore(part.layer, part.channels, part.position)

    def __call__(self, output: Tensor) -> Tensor:
        raise TargetError(
            f"{self!r} is a score of a layer inside, and was given the model's output; run "
            f"probe.at_layer({self.layer!r}) with its `of_layer`"
        )

    def __repr__(self) -> str:
        return repr(self.of_layer)
