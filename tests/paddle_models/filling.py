"""Random parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle

CLASSES = 5


def made(build: Callable[[], Any], seed: int, dtype: str = "float32") -> Any:
    """The model in eval mode, its parameters at random; variances and scales away from 0."""
    before = paddle.get_default_dtype()
    paddle.set_default_dtype(dtype)
    try:
        model = build()
    finally:
        paddle.set_default_dtype(before)
    rng = np.random.default_rng(seed)
    for name, tensor in model.named_parameters():
        if name.endswith("_variance"):
            values = rng.uniform(0.5, 1.5, tensor.shape)
        elif name.endswith("weight") and tensor.ndim == 1:  # a norm's scale
            values = rng.uniform(0.5, 1.5, tensor.shape) * rng.choice([-1, 1], tensor.shape)
        else:
            fan_in = tensor.shape[0] if tensor.ndim == 2 else np.prod(tensor.shape[1:] or [16])
            values = rng.normal(0, fan_in**-0.5, tensor.shape)
        tensor.set_value(values.astype(dtype))
    model.eval()
    return model
