"""A convolution or dense layer and the batch-norm behind it, seen as one linear layer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeAlias

import paddle
from paddle import nn
from paddle.nn.layer.conv import _ConvNd
from paddle.nn.layer.norm import _BatchNormBase

__all__ = [
    "BATCH_NORM",
    "CONVOLUTION",
    "DENSE",
    "LINEAR",
    "channel_axis",
    "foldable",
    "folded",
    "linear_map",
    "spread_of",
]

Tensor: TypeAlias = "paddle.Tensor"
CONVOLUTION, DENSE = _ConvNd, nn.Linear
LINEAR = (CONVOLUTION, DENSE)
BATCH_NORM = (_BatchNormBase, nn.BatchNorm)


def linear_map(layer: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """(x, weight) -> the layer's output without bias: its own forward, on a copy of the shell.

    So stride, padding, dilation, groups and what a subclass does are the layer's.
    """

    def apply(x: Tensor, weight: Tensor) -> Tensor:
        shell = copy.copy(layer)
        shell.__dict__["_parameters"] = {"weight": weight, "bias": None}
        return shell.forward(x)

    return apply


def channel_axis(layer: Any) -> int:
    """Axis of the output's channels."""
    return 1 if getattr(layer, "_data_format", "NLC").startswith("NC") else -1


def spread_of(layer: Any, y: Tensor) -> Callable[[Tensor], Tensor]:
    """From a bias [C] to the shape that is added to the layer's output y."""
    shape = [1] * y.ndim
    shape[channel_axis(layer)] = -1
    return lambda bias: bias.reshape(shape)


def foldable(layer: Any, norm: Any) -> bool:
    """Whether a batch-norm behind the layer can be folded into its weight."""
    transposed = isinstance(layer, _ConvNd) and bool(getattr(layer, "_transposed", False))
    outputs = layer.weight.shape[-1 if isinstance(layer, nn.Linear) else 0]
    return not transposed and norm._mean.shape == [outputs]


def folded(layer: Any, norm: Any) -> tuple[Tensor, Tensor]:
    """Weight and bias of the one linear layer that both are: w γ/√(σ²+ε), (b - μ) γ/√(σ²+ε) + β."""
    scale = 1 / paddle.sqrt(norm._variance + norm._epsilon)
    if norm.weight is not None:
        scale = scale * norm.weight
    bias = -norm._mean if layer.bias is None else layer.bias - norm._mean
    bias = bias * scale
    if norm.bias is not None:
        bias = bias + norm.bias
    shape = [1] * layer.weight.ndim
    shape[-1 if isinstance(layer, nn.Linear) else 0] = -1
    return layer.weight * scale.reshape(shape), bias
