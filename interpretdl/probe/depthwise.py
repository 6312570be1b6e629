"""The backward pass of depthwise convolutions on the CPU, which Paddle (3.3.1) computes slowly.

Both ways here give the gradient that Paddle gives, to rounding. Times are of one thread of an AMD
EPYC (Zen 4), a batch of 8, forward and backward, against Paddle's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import paddle
from paddle.autograd import PyLayer

from ..tensors import from_numpy

__all__ = ["depthwise_conv2d"]

# Positions of the input up to which a convolution is written as a product of matrices. They have
# positions² values for each channel: 11 MB for 1152 channels of 7 x 7.
_FEW = 64
# Images from which on the product is faster, although its matrices are made anew each time.
_IMAGES = 4

Pads = tuple[int, int, int, int]


def depthwise_conv2d(original: Callable[..., Any]) -> Callable[..., Any]:
    """What runs in the place of the operation `depthwise_conv2d` in runs with gradients."""

    def run(x: Any, weight: Any, *settings: Any) -> Any:
        strides, paddings, algorithm, _, dilations, layout = settings
        size, kernel = tuple(x.shape[2:]), tuple(weight.shape[2:])
        plain = (
            *(layout == "NCHW", x.place.is_cpu_place(), x.dtype == paddle.float32),
            *(weight.shape[0] == x.shape[1], list(dilations) == [1, 1]),
            *(not x.stop_gradient, weight.stop_gradient),
        )
        if not all(plain):
            return original(x, weight, *settings)
        pads = _pads(paddings, algorithm, size, kernel, strides)
        if size[0] * size[1] <= _FEW and x.shape[0] >= _IMAGES:
            return _product(x, weight, pads, tuple(strides))
        if list(strides) == [1, 1] and kernel == (3, 3) and max(pads) <= 2:
            return _Flipped.apply(x, weight, original, pads, settings)
        return original(x, weight, *settings)

    return run


def _pads(
    paddings: Sequence[int], algorithm: str, size: Any, kernel: Any, strides: Sequence[int]
) -> Pads:
    """Rows and columns of zeros above, below, left and right of the input."""
    if algorithm == "VALID":
        return 0, 0, 0, 0
    if algorithm == "SAME":
        each = []
        for n, k, s in zip(size, kernel, strides, strict=True):
            total = max((-(-n // s) - 1) * s + k - n, 0)
            each += [total // 2, total - total // 2]
        return each[0], each[1], each[2], each[3]
    if len(paddings) == 2:
        return paddings[0], paddings[0], paddings[1], paddings[1]
    return paddings[0], paddings[1], paddings[2], paddings[3]


def _product(x: Any, weight: Any, pads: Pads, strides: tuple[int, int]) -> Any:
    """Each channel's map, flat, times a matrix: 7 times as fast for 1152 channels of 7 x 7."""
    n, channels, *size = x.shape
    places, out = _places(tuple(size), tuple(weight.shape[2:]), pads, strides)
    values = np.pad(weight.numpy().reshape(channels, -1), ((0, 0), (0, 1)))
    # By NumPy, which is 10 times as fast as Paddle at this.
    matrix = from_numpy(np.take(values, places, axis=1), x.place)
    y = paddle.matmul(x.flatten(2).transpose([1, 0, 2]), matrix)
    return y.transpose([1, 0, 2]).reshape([n, channels, *out])


@functools.lru_cache(maxsize=32)
def _places(
    size: tuple[int, int], kernel: tuple[int, int], pads: Pads, strides: tuple[int, int]
) -> tuple[Any, tuple[int, int]]:
    """The number of the weight that joins an input's position with an output's, int64 [positions,
    positions], that after the last where none does; and the output's height and width.
    """
    out = tuple(
        (n + pads[2 * i] + pads[2 * i + 1] - k) // s + 1
        for i, (n, k, s) in enumerate(zip(size, kernel, strides, strict=True))
    )
    along = []
    for i in range(2):
        source, target = np.mgrid[: size[i], : out[i]]
        offset = source + pads[2 * i] - target * strides[i]
        along.append(np.where((offset >= 0) & (offset < kernel[i]), offset, -1))
    rows, columns = along[0][:, None, :, None], along[1][None, :, None, :]
    number = np.where((rows >= 0) & (columns >= 0), rows * kernel[1] + columns, np.prod(kernel))
    return number.reshape(size[0] * size[1], -1), (out[0], out[1])


class _Flipped(PyLayer):
    """The backward pass as a forward one with the kernel flipped: 4 times as fast for 3 x 3."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, operation: Any, pads: Pads, settings: Any) -> Any:
        ctx.save_for_backward(weight)
        ctx.rest = operation, pads, settings
        return operation(x, weight, *settings)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        (weight,) = ctx.saved_tensor()
        operation, pads, settings = ctx.rest
        back = [2 - pad for pad in pads]
        strides, _, _, *rest = settings
        return operation(gradient, weight.flip([2, 3]), strides, back, "EXPLICIT", *rest)
