"""From NumPy to Paddle."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

__all__ = ["HALF", "from_numpy"]

HALF = (paddle.float16, paddle.bfloat16)
"""Half precision, which is computed in float32."""


def from_numpy(values: NDArray[Any], place: Any, dtype: Any = None) -> paddle.Tensor:
    """A copy of an array as a tensor.

    Args:
        place: the paddle place where the tensor is to be.
        dtype: of the tensor; None is the array's.
    """
    values = np.ascontiguousarray(values).reshape(np.shape(values))  # which makes [1] of []
    if isinstance(place, paddle.CPUPlace) or place.is_cpu_place():
        # paddle.to_tensor loses 112 bytes a call (3.3.1), which an hour of explanations adds up.
        tensor = paddle.empty(values.shape, str(values.dtype))
        tensor.get_tensor().set(values, paddle.CPUPlace())
    else:
        tensor = paddle.to_tensor(values, place=place)
    return tensor if dtype is None else tensor.astype(dtype)
