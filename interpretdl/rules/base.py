"""Rule and Site: what a layer does on the way back.

A rule is called when a layer has run. It returns a tensor of the same value as the layer's output
whose gradient is another one. After one ordinary forward and one ordinary backward pass the
relevance of every tensor t in between is t times its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import paddle

from .linear_map import LinearMap
from .redirect import Way

__all__ = ["JointRule", "Observer", "Rule", "Site", "signed", "small_of", "stabilize"]

Tensor: TypeAlias = "paddle.Tensor"


def small_of(y: Tensor) -> Tensor:
    """What keeps a division from zero: 1e-6, or 1e-6 of the image's largest |y| if that is below 1.

    In a network of tiny activations 1e-6 is no small number, and would absorb the relevance.

    Args:
        y: float [N, ...].

    Returns:
        [N, 1, ...].
    """
    # This norm is the largest |y|, six times as fast as y.abs().amax().
    largest = paddle.linalg.norm(y.reshape([len(y), -1]), p=float("inf"), axis=1)
    # The floor is for an image of zeros.
    return largest.clip(1e-30, 1).reshape([-1, *[1] * (y.ndim - 1)]) * 1e-6


def signed(small: Tensor, z: Tensor) -> Tensor:
    """small * sign(z), with sign(0) = +1."""
    # Twice as fast as paddle.where, which is slow where shapes differ.
    return paddle.copysign(small.expand_as(z), z)


def stabilize(z: Tensor, small: Tensor | None = None) -> Tensor:
    """z + small * sign(z), with sign(0) = +1, so that it can be divided by.

    Args:
        z: float [N, ...].
        small: above zero, broadcasts to z; None takes `small_of(z)`.
    """
    return z + signed(small_of(z) if small is None else small, z)


def _no_operation(operands: Sequence[Tensor]) -> Tensor:
    raise NotImplementedError("only an operation on several tensors can be run again")


@dataclass
class Site:
    """One place in one run where a rule works: a layer (its batch-norm folded in), or an operation.

    Attributes:
        x, y: input and output.
        linear: the map of a linear layer, its batch-norm folded in; None for others.
        carriers: what the first layer's rule asked for, as it arrives at this layer.
        arguments: of an operation, the positional arguments after x; of a batch-norm, itself.
        operands: of an operation with a `JointRule`, its tensors, those that are constants too.
        again: of such an operation, what it gives for other operands.
        images: N; the first axis of x may be longer, as where images are cut into windows. 0: not
            known.
        constant: what of y no input contributed; the account books it like a bias.
    """

    name: str
    x: Tensor
    y: Tensor
    linear: LinearMap | None = None
    carriers: Sequence[Tensor] = ()
    arguments: Sequence[Any] = ()
    operands: Sequence[Tensor] = ()
    again: Callable[[Sequence[Tensor]], Tensor] = _no_operation
    images: int = 0
    constant: Tensor | None = None

    @cached_property
    def connected(self) -> list[Tensor]:
        """x and the other operands that depend on the input."""
        return [t for t in self.operands or (self.x,) if not t.stop_gradient]

    @cached_property
    def value(self) -> Tensor:
        """y as a constant."""
        return self.y.detach()

    @cached_property
    def small(self) -> Tensor:
        """The stabilizer of divisions at this site."""
        return small_of(self.value)

    @cached_property
    def one_sided(self) -> bool:
        """Whether no number of x is below zero."""
        return float(self.x.amin()) >= 0


class Rule:
    """What a layer or operation does on the way back. Subclass and write `__call__`."""

    def __call__(self, site: Site) -> Tensor:
        """A tensor equal to `site.y`, with the gradient that the rule wants."""
        raise NotImplementedError

    def carriers(self, x: Tensor) -> list[Tensor]:
        """For a rule of the first layer: tensors like x that are brought to that layer as x is."""
        return []

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({options})"


class JointRule(Rule):
    """A rule of an operation on several tensors, such as a product; see `Site.operands`."""

    def meets(self, operands: Sequence[Tensor]) -> bool:
        """Whether the rule is for an operation on these tensors; else that one runs as it is."""
        raise NotImplementedError

    def sources(self, site: Site) -> list[Tensor]:
        """What relevance goes to; what else the operation read is a constant to the rule."""
        return site.connected


class Observer(Protocol):
    """Who is told where rules work."""

    @property
    def taps(self) -> bool:
        """Whether each site is to be given a copy of its input that nothing else reads."""

    def begin(self) -> None:
        """A run begins."""

    def note(self, site: Site, y: Tensor, ways: Sequence[Way]) -> None:
        """A rule gave `y`, connected to the input, for `site.y`, and redirected to `ways`."""
