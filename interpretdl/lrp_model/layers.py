"""What the zoo's networks are made of beside Paddle's own layers."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from ..errors import InputError
from ..preprocessing import Preprocessing
from ..targets import Target

if TYPE_CHECKING:
    from ..rules import Composite

__all__ = ["Add", "Product", "RelevanceModel", "imagenet_class_names"]


@cache
def imagenet_class_names() -> tuple[str, ...]:
    """The 1000 ImageNet classes in the order of the labels, e.g. "tabby, tabby cat" for 281.

    Two pairs are ambiguous in WordNet itself and stay so: "crane" is 134 (the bird) and 517, and
    "maillot" begins 638 and 639.
    """
    text = resources.files(__package__).joinpath("imagenet_classes.json").read_text("utf-8")
    return tuple(json.loads(text)["names"])


class Add(nn.Layer):
    """The sum of two tensors of one shape, as a layer that hooks and rules can reach."""

    def forward(self, x: paddle.Tensor, y: paddle.Tensor) -> paddle.Tensor:
        """x + y."""
        return x + y


class Product(nn.Layer):
    """The product of two tensors of matrices, as a layer that hooks and rules can reach."""

    def forward(self, x: paddle.Tensor, y: paddle.Tensor) -> paddle.Tensor:
        """x @ y."""
        return x @ y


class RelevanceModel(nn.Layer):
    """A network of the zoo: every operation is a layer, and no layer object runs twice.

    Changes of shape and constant factors need not be layers.

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

    def __call__(self, x: paddle.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Run the network; your last input is remembered for `relprop`, but not kept alive."""
        self.__dict__["_last_input"] = weakref.ref(x)
        return super().__call__(x, *args, **kwargs)

    def relprop(self, R: Any, alpha: float = 1) -> paddle.Tensor:
        """Relevance of the input of the last call, by LRP.

            y = model(x)
            R = model.relprop(y * paddle.nn.functional.one_hot(y.argmax(-1), y.shape[-1]))

        Args:
            R: relevance of the output, Tensor or array [N, num_classes].
            alpha: 1 is the z⁺ rule; more is the α-β rule with β = alpha - 1. The first layer has
                the z-box rule. Transformers have AttnLRP in place of these, and no alpha but 1.

        Returns:
            Tensor [N, in_channels, H, W], on the CPU.

        Raises:
            InputError: the model was not called, or its input is gone; R's shape does not fit; α is
                below 1, or not 1 for a transformer; or a convolutional network that has no
                preprocessing, whose pixels' range is not known.
        """
        from ..probe import Probe

        x = getattr(self, "_last_input", lambda: None)()
        if x is None:
            raise InputError("relprop explains the last call: call model(x) first, and keep x")
        relevance = np.asarray(R.numpy() if hasattr(R, "numpy") else R, np.float32)
        if relevance.shape != (len(x), self.num_classes):
            raise InputError(
                f"R must be [{len(x)}, {self.num_classes}], one number for each output of the last "
                f"call; got {list(relevance.shape)}"
            )
        rules = self._relprop_rules(alpha)
        found = Probe(self).gradients(x, _Given(relevance), rules=rules)
        return paddle.to_tensor(found.relevance)

    def _relprop_rules(self, alpha: float) -> Composite:
        """What `relprop` follows relevance by."""
        from ..rules import AlphaBeta, ZBox, ZPlus, lrp_composite
        from ..rules.linear_map import LINEAR

        if self.preprocessing is None:
            raise InputError("relprop needs the range of the pixels: set model.preprocessing")
        rule = ZPlus(bias=False) if alpha == 1 else AlphaBeta(alpha)
        box = ZBox(*self.preprocessing.bounds())
        return lrp_composite("relprop", layers=dict.fromkeys(LINEAR, rule), first=box)

    @staticmethod
    def own_name(name: str) -> str:
        """This model's name for an entry of a checkpoint from another library."""
        return name


class _Given(Target):
    """Relevance as it was given, whatever the outputs are."""

    def __init__(self, relevance: NDArray[np.float32]) -> None:
        self.relevance = relevance

    def take(self, indices: NDArray[np.int64]) -> _Given:
        return _Given(self.relevance[indices])

    def __call__(self, output: paddle.Tensor) -> paddle.Tensor:
        y = output.detach()
        given = paddle.to_tensor(self.relevance, place=output.place).astype(output.dtype)
        # y times its gradient is the relevance that sets out; an output of 0 can carry none.
        share = paddle.where(y == 0, paddle.zeros_like(y), given / paddle.where(y == 0, y + 1, y))
        return (output * share).sum(axis=1)


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
