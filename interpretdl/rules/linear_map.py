"""A convolution or dense layer and the batch-norm behind it, seen as one linear map."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import paddle
from paddle import nn
from paddle.autograd import PyLayer
from paddle.nn.layer.conv import _ConvNd
from paddle.nn.layer.norm import _BatchNormBase

__all__ = ["BATCH_NORM", "CONVOLUTION", "DENSE", "LINEAR", "LinearMap", "foldable"]

Tensor: TypeAlias = "paddle.Tensor"
CONVOLUTION, DENSE = _ConvNd, nn.Linear
LINEAR = (CONVOLUTION, DENSE)
TRANSPOSED = (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)
BATCH_NORM = (_BatchNormBase, nn.BatchNorm)
# Dense weights above this size are changed a block of rows at a time: VGG-16's first one has
# 400 MB, and a changed copy of it would cost more time and memory than the rest of a rule.
_BLOCK = 1 << 21


def foldable(layer: Any, norm: Any) -> bool:
    """Whether a batch-norm behind the layer can be folded into its weight."""
    outputs = layer.weight.shape[-1 if isinstance(layer, DENSE) else 0]
    return not isinstance(layer, TRANSPOSED) and norm._mean.shape == [outputs]


class LinearMap:
    """x -> x w + b, of a linear layer or of one with a batch-norm behind it.

    Folded, that is w s and (b - μ) s + β with s = γ/√(σ²+ε); the model's own numbers stay as they
    are. A rule divides each output's relevance by that output's own sum, so |s| matters to the
    share of the bias only: the weight is w sign(s), and the bias is divided by |s| instead.

    Attributes:
        size: the output's shape, which a transposed convolution may have been told.
        weight: [out, in, …] of a convolution, [in, out] of a dense layer.
        bias: [out], in the units of the layer with its batch-norm, or None.
    """

    def __init__(self, layer: Any, norm: Any = None, size: Sequence[int] | None = None) -> None:
        self.layer, self.norm, self.size = layer, norm, size

    @cached_property
    def scale(self) -> Tensor | None:
        """s, [out]; None without batch-norm."""
        if self.norm is None:
            return None
        scale = 1 / paddle.sqrt(self.norm._variance + self.norm._epsilon)
        return scale if self.norm.weight is None else scale * self.norm.weight

    @cached_property
    def weight(self) -> Tensor:
        weight = self.layer.weight
        if self.scale is None or float(self.scale.amin()) >= 0:
            return weight
        shape = [1] * weight.ndim
        shape[-1 if isinstance(self.layer, DENSE) else 0] = -1
        return weight * paddle.where(
            self.scale >= 0, paddle.ones_like(self.scale), -paddle.ones_like(self.scale)
        ).reshape(shape)

    @cached_property
    def bias(self) -> Tensor | None:
        bias = self.layer.bias
        if self.scale is None:
            return bias
        moved = -self.norm._mean if bias is None else bias - self.norm._mean
        shift = self.norm.bias
        return moved * self.scale if shift is None else moved * self.scale + shift

    def __call__(self, x: Tensor, how: Callable[[Tensor], Tensor]) -> Tensor:
        """x times how(weight), without bias; how works on each number by itself.

        It is the layer's own forward, on a copy of its shell, so that stride, padding, dilation,
        groups and what a subclass does are the layer's.
        """
        if type(self.layer) is DENSE and self.weight.size > _BLOCK:
            return _Blockwise.apply(x, _Weight(self.weight, how))
        shell = copy.copy(self.layer)
        shell.__dict__["_parameters"] = {"weight": how(self.weight), "bias": None}
        if self.size is None or type(self.layer) not in TRANSPOSED:
            return shell.forward(x)
        shell.output_padding = 0  # is in the size
        first = 2 if self.layer._data_format.startswith("NC") else 1
        return shell.forward(x, self.size[first : first + x.ndim - 2])

    def spread(self, per_output: Tensor, y: Tensor) -> Tensor:
        """Numbers [out] in a shape that broadcasts to the output y."""
        shape = [1] * y.ndim
        first = getattr(self.layer, "_data_format", "NLC").startswith("NC")
        shape[1 if first else -1] = -1
        return per_output.reshape(shape)

    def in_units(self, amount: Tensor, y: Tensor) -> Tensor:
        """An amount in the output's units in those of a call: over |s|, all but infinite for 0."""
        if self.scale is None:
            return amount
        return amount / self.spread(self.scale.abs().clip(min=1e-30), y)


@dataclass
class _Weight:
    value: Tensor
    how: Callable[[Tensor], Tensor]

    def blocks(self) -> list[tuple[int, int]]:
        rows, columns = self.value.shape
        step = max(1, _BLOCK // columns)
        return [(start, min(start + step, rows)) for start in range(0, rows, step)]


class _Blockwise(PyLayer):
    """x @ how(w), with how(w) made a block at a time on both ways."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: _Weight) -> Tensor:
        ctx.weight = weight
        total = None
        for a, b in weight.blocks():
            part = paddle.matmul(x[..., a:b], weight.how(weight.value[a:b]))
            total = part if total is None else total.add_(part)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        weight = ctx.weight
        parts = [
            paddle.matmul(gradient, weight.how(weight.value[a:b]), transpose_y=True)
            for a, b in weight.blocks()
        ]
        return paddle.concat(parts, axis=-1)
