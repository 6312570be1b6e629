"""A plain function in the place of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle

from ..errors import InputError, UnsupportedModelError
from ..tensors import from_numpy

__all__ = ["FunctionModel"]


class FunctionModel(paddle.nn.Layer):
    """A layer that calls a function of arrays. There are no gradients, layers or programs of it.

    Args:
        function: from arrays [n, ...], one for each input, to scores [n, K] or [n].

    Raises:
        InputError: it cannot be called.
        UnsupportedModelError: on the call, when it gives no numbers, or not a row for each item.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        if not callable(function):
            raise InputError(
                "from_function takes a function of an array [n, ...] that gives scores [n, K]; got "
                f"{type(function).__name__}"
            )
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        arrays = [tensor.numpy() for tensor in inputs]
        scores = np.asarray(self.function(*arrays))
        n = len(arrays[0])
        if scores.dtype.kind not in "fiub" or scores.ndim == 0 or len(scores) != n:
            raise UnsupportedModelError(
                f"the function must give numbers, one row for each of {n} items; got "
                f"{scores.dtype} {list(scores.shape)}"
            )
        if scores.dtype != np.float64:
            scores = scores.astype(np.float32)
        return from_numpy(scores if scores.ndim > 1 else scores[:, None], inputs[0].place)
