"""One value, another gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import paddle
from paddle.autograd import PyLayer

__all__ = ["redirect"]

Tensor: TypeAlias = "paddle.Tensor"


@dataclass
class _Box:
    # Paddle looks for tensors in a PyLayer's arguments, lists too, but not in objects.
    value: Tensor
    ratios: list[Tensor]


class _Redirect(PyLayer):
    @staticmethod
    def forward(ctx: Any, box: _Box, *sources: Tensor) -> Tensor:
        ctx.ratios = box.ratios
        return box.value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        gradients = tuple(gradient * ratio for ratio in ctx.ratios)
        return gradients if len(gradients) > 1 else gradients[0]


def redirect(y: Tensor, *ways: tuple[Tensor, Tensor]) -> Tensor:
    """A tensor with the value of y, whose gradient g goes to each z of `ways` as g * ratio.

    Args:
        y: float, any shape.
        ways: pairs (z, ratio), all of y's shape; z is connected to the input, ratio is a constant.
    """
    shared = any(z is y for z, _ in ways)
    value = y.detach().clone() if shared else y.detach()
    return _Redirect.apply(_Box(value, [r.detach() for _, r in ways]), *(z for z, _ in ways))
