"""What a picture is made for: a class, a channel, or a single unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import InputError
from ..probe import Tensor
from ..targets import ClassScore

__all__ = ["ClassObjective", "Objective", "channel", "class_score", "unit"]

ClassObjective = Literal["log_probability", "logit"]


@dataclass(frozen=True)
class Objective:
    """A number for each picture, to be made large.

    Attributes:
        name: what it is, in words.
        layer: the layer that it looks at; None for the model's output.
        score: (output, the layer's activation or None) -> Tensor [n].
    """

    name: str
    layer: str | None
    score: Callable[[Tensor, Tensor | None], Tensor]


def class_score(label: int, of: ClassObjective = "log_probability") -> Objective:
    """The class `label`: log p(label | x), or its logit, which does not settle near p = 1.

    Raises:
        InputError: unknown `of`.
        TargetError: when it is used, if the model has no such class.
    """
    if of not in get_args(ClassObjective):
        raise InputError(f"a class objective is one of {get_args(ClassObjective)}; got {of!r}")

    loss = of == "log_probability"
    target = ClassScore(label, "loss" if loss else "logit")

    def score(output: Tensor, activation: Tensor | None) -> Tensor:
        return -target(output) if loss else target(output)

    return Objective(f"class {label} ({of.replace('_', ' ')})", None, score)


def channel(layer: str, index: int) -> Objective:
    """A channel of a layer, the mean over its positions.

    Raises:
        InputError: when it is used, if the layer has no such channel.
    """

    def score(output: Tensor, activation: Tensor | None) -> Tensor:
        return _channel(layer, index, activation).flatten(1).mean(axis=1)

    return Objective(f"{layer} channel {index}", layer, score)


def unit(layer: str, index: int, position: tuple[int, int] | None = None) -> Objective:
    """A channel of a layer at one position (row, column); None is the centre.

    Raises:
        InputError: when it is used, if the layer has no such unit.
    """

    def score(output: Tensor, activation: Tensor | None) -> Tensor:
        maps = _channel(layer, index, activation)
        if maps.ndim != 3:
            raise InputError(f"{layer!r} has no positions: its output is [N, C]; use channel()")
        height, width = maps.shape[1:]
        row, column = position or (height // 2, width // 2)
        if not (0 <= row < height and 0 <= column < width):
            raise InputError(f"position {position} is not in the {height} x {width} of {layer!r}")
        return maps[:, row, column]

    return Objective(f"{layer} unit {index} at {position or 'the centre'}", layer, score)


def _channel(layer: str, index: int, activation: Tensor | None) -> Tensor:
    if activation is None or activation.ndim not in (2, 4):
        shape = None if activation is None else list(activation.shape)
        raise InputError(f"{layer!r} must give [N, C, h, w] or [N, C]; it gives {shape}")
    if not 0 <= index < activation.shape[1]:
        raise InputError(f"{layer!r} has channels 0 to {activation.shape[1] - 1}; got {index}")
    return activation[:, index]
