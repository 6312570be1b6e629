"""What a picture is made for: a class, a channel, or a single unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..errors import InputError
from ..probe import Tensor
from ..targets import ChannelScore, ClassScore

__all__ = ["ClassObjective", "Objective", "channel", "class_score", "objective_of", "unit"]

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
    score: Callable[[Tensor, Any], Tensor]


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

    def score(output: Tensor, activation: Any) -> Tensor:
        return -target(output) if loss else target(output)

    return Objective(f"class {label} ({of.replace('_', ' ')})", None, score)


def channel(layer: str, index: int) -> Objective:
    """A channel of a layer, the mean over its positions.

    Raises:
        TargetError: when it is used, if the layer has no such channel.
    """
    score = ChannelScore(layer, index).of_layer
    return Objective(f"{layer} channel {index}", layer, lambda output, inside: score(inside))


def unit(layer: str, index: int, position: tuple[int, int] | None = None) -> Objective:
    """A channel of a layer at one position (row, column); None is the centre.

    Raises:
        TargetError: when it is used, if the layer has no such unit.
    """

    def score(output: Tensor, inside: Any) -> Tensor:
        place = position
        if place is None:
            place = (inside.shape[2] // 2, inside.shape[3] // 2) if inside.ndim == 4 else (0, 0)
        return ChannelScore(layer, index, place).of_layer(inside)

    return Objective(f"{layer} unit {index} at {position or 'the centre'}", layer, score)


def objective_of(target: ChannelScore) -> Objective:
    """The objective that a channel's score is."""
    if target.position is None:
        return channel(target.layer, int(target.channel))
    row, column = target.position.ravel().tolist()
    return unit(target.layer, int(target.channel), (row, column))
