"""One value, another gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import paddle
from paddle.autograd import PyLayer

__all__ = ["recorded", "redirect"]

Tensor: TypeAlias = "paddle.Tensor"


recorded: list[list[_Box]] = []
"""While it is not empty, the last list collects what is redirected."""


@dataclass
class _Box:
    # Paddle looks for tensors in a PyLayer's arguments, lists too, but not in objects.
    value: Tensor
    ratios: list[Tensor]
    change: Callable[[Tensor], Tensor] | None


class _Redirect(PyLayer):
    @staticmethod
    def forward(ctx: Any, box: _Box, *sources: Tensor) -> Tensor:
        ctx.ratios, ctx.change = box.ratios, box.change
        return box.value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        if ctx.change is not None:
            gradient = ctx.change(gradient)
        gradients = tuple(gradient * ratio for ratio in ctx.ratios)
        return gradients if len(gradients) > 1 else gradients[0]


def redirect(
    y: Tensor,
    *ways: tuple[Tensor, Tensor],
    change: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """A tensor with the value of y, whose gradient g goes to each z of `ways` as g * ratio.

    Args:
        y: float, any shape.
        ways: pairs (z, ratio), all of y's shape; z is connected to the input, ratio is a constant.
        change: applied to g first. (A hook on the result could not do it: Paddle calls the hooks of
            a PyLayer's output, and ignores what they return.)
    """
    shared = any(z is y for z, _ in ways)
    value = y.detach().clone() if shared else y.detach()
    box = _Box(value, [r.detach() for _, r in ways], change)
    if recorded:
        recorded[-1].append(box)
    return _Redirect.apply(box, *(z for z, _ in ways))
