"""Models and inputs for the probe's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

Array = NDArray[Any]


def images(n: int = 5, channels: int = 3, size: int = 12, dtype: Any = np.float32) -> Array:
    return np.random.default_rng(1).normal(size=(n, channels, size, size)).astype(dtype)


def in_eval(model: Any) -> Any:
    """The model in eval mode, in one expression: in Paddle 3.0 and 3.1 `eval` returns nothing."""
    model.eval()
    return model


def in_train(model: Any) -> Any:
    """The model in train mode, likewise."""
    model.train()
    return model


class Around(nn.Layer):
    """A model whose return value is `change(logits)`."""

    def __init__(self, inner: Any, change: Callable[[Any], Any]) -> None:
        super().__init__()
        self.inner, self.change = inner, change
        self.eval()

    def forward(self, x: Any) -> Any:
        return self.change(self.inner(x))


class Run(nn.Layer):
    """A model of one function and some layers."""

    def __init__(self, function: Callable[..., Any], **layers: Any) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.eval()

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


def plain_logits(model: Any, x: Array) -> Array:
    with paddle.no_grad():
        return np.asarray(model(paddle.to_tensor(x)).numpy())


def plain_gradient(model: Any, x: Array, label: int) -> Array:
    tensor = paddle.to_tensor(x, stop_gradient=False)
    (found,) = paddle.grad(model(tensor)[:, label].sum(), [tensor])
    return np.asarray(found.numpy())


def attributed(
    interpreter: Any, x: Array, labels: Any, gradient_of: Any = None, **options: Any
) -> Any:
    """What `attribute` gives for class indexes, with the method's own score if none is named."""
    from interpretdl import ClassScore

    target = ClassScore(labels, gradient_of or interpreter.gradient_of)
    return interpreter.attribute(x, target, **options)
