"""What the zoo's networks are made of beside Paddle's own layers."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import ClassVar

import paddle
from paddle import nn

from ..errors import InputError
from ..preprocessing import Preprocessing

__all__ = ["Add", "RelevanceModel", "imagenet_class_names"]


@cache
def imagenet_class_names() -> tuple[str, ...]:
    """The 1000 ImageNet classes in the order of the labels, e.g. "tabby, tabby cat" for 281.

    Two pairs are ambiguous in WordNet itself and stay so: "crane" is 134 (the bird) and 517, and
    "maillot" begins 638 and 639.
    """
    text = resources.files(__package__).joinpath("imagenet_classes.json").read_text("utf-8")
    return tuple(json.loads(text)["names"])


class Add(nn.Layer):  # type: ignore[misc]  # Paddle is untyped to mypy
    """The sum of two tensors of one shape, as a layer that hooks and rules can reach."""

    def forward(self, x: paddle.Tensor, y: paddle.Tensor) -> paddle.Tensor:
        """x + y."""
        return x + y


class RelevanceModel(nn.Layer):  # type: ignore[misc]  # Paddle is untyped to mypy
    """A network of the zoo: every operation is a layer, and no layer object runs twice.

    Attributes:
        preprocessing: how a picture becomes this network's input; None where the number of input
            channels (other than 1, 3, 4) is no picture's.
        class_names: one name for each class, or None when they are not known.
    """

    photograph: ClassVar[Preprocessing] = Preprocessing()
    """Preprocessing of the trained network, for RGB."""

    num_classes: int
    preprocessing: Preprocessing | None
    class_names: tuple[str, ...] | None

    def __init__(self, num_classes: int, in_channels: int) -> None:
        for name, value in (("num_classes", num_classes), ("in_channels", in_channels)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be an integer of at least 1; got {value!r}")
        super().__init__()
        self.num_classes = num_classes
        self.class_names = None
        self.preprocessing = _preprocessing(self.photograph, in_channels)

    @staticmethod
    def own_name(name: str) -> str:
        """This model's name for an entry of a checkpoint from another library."""
        return name


def _preprocessing(photograph: Preprocessing, channels: int) -> Preprocessing | None:
    """Of a photograph for 3 channels; for 1 and 4, trained by the user, pixels in [-1, 1]."""
    if channels == len(photograph.mean):
        return photograph
    if channels not in (1, 4):
        return None
    half = (0.5,) * channels
    return replace(photograph, mean=half, std=half)


Pretrained = bool | str | Path
"""False: random weights; True: the published ones; else a file of weights."""
