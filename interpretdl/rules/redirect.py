"""One value, another gradient."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import paddle
from paddle.autograd import PyLayer

__all__ = ["Way", "listening", "redirect"]

Tensor: TypeAlias = "paddle.Tensor"


class Way(NamedTuple):
    """Where a part of the relevance goes: to z, in the ratio y / (z + bias + stabilizer).

    Attributes:
        z: connected to the input, of y's shape.
        ratio: a constant of y's shape.
        bias, stabilizer: what else is in the denominator; they keep their share. Constants that
            broadcast to y, None where there is none.
    """

    z: Tensor
    ratio: Tensor
    bias: Tensor | None = None
    stabilizer: Tensor | None = None


class _Box:
    # Paddle looks for tensors in a PyLayer's arguments, lists too, but not in objects.
    def __init__(
        self, value: Tensor, ways: list[Way], change: Callable[[Tensor], Tensor] | None
    ) -> None:
        self.value, self.ways = value, ways
        self.ratios = [way.ratio for way in ways]
        self.changes = [] if change is None else [change]

    def let_go(self) -> None:
        """Free the tensors, in a graph that Paddle will not free."""
        self.ways.clear()
        self.ratios.clear()
        self.changes.clear()


_listeners: list[list[_Box]] = []


@contextlib.contextmanager
def listening() -> Iterator[list[_Box]]:
    """A list of what is redirected while the context lasts."""
    boxes: list[_Box] = []
    _listeners.append(boxes)
    try:
        yield boxes
    finally:
        _listeners.pop()


class _Redirect(PyLayer):
    @staticmethod
    def forward(ctx: Any, box: _Box, *sources: Tensor) -> Tensor:
        ctx.ratios, ctx.changes = box.ratios, box.changes
        return box.value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        for change in ctx.changes:
            gradient = change(gradient)
        gradients = tuple(gradient * ratio for ratio in ctx.ratios)
        return gradients if len(gradients) > 1 else gradients[0]


def redirect(
    y: Tensor,
    *ways: Way | tuple[Tensor, Tensor],
    change: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """A tensor with the value of y, whose gradient g goes to each z of `ways` as g * ratio.

    Relevance is value times gradient, so of the relevance y * g the share z * ratio / y goes on
    through z, whatever y was made of.

    Args:
        y: float, any shape.
        ways: pairs (z, ratio), or `Way`s, which also say what a bias and a stabilizer keep, for
            the account. z and ratio have y's shape; the ratio is taken as a constant.
        change: applied to g first. (A hook on the result could not do it: Paddle calls the hooks of
            a PyLayer's output, and ignores what they return.)
    """
    full = [Way(*way)._replace(ratio=way[1].detach()) for way in ways]
    shared = any(way.z is y for way in full)
    box = _Box(y.detach().clone() if shared else y.detach(), full, change)
    if _listeners:
        _listeners[-1].append(box)
    return _Redirect.apply(box, *(way.z for way in full))
