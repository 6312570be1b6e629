"""Rule, Site and Composite: what a layer does on the way back, and where.

A rule is called when a layer has run. It returns a tensor of the same value as the layer's output
whose gradient is another one. After one ordinary forward and one ordinary backward pass the
relevance of every tensor t in between is t times its gradient.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import paddle

from .linear_map import LinearMap

__all__ = ["Composite", "Observer", "Rule", "Site", "small_of", "stabilize"]

Tensor: TypeAlias = "paddle.Tensor"


def small_of(y: Tensor) -> Tensor:
    """What keeps a division from zero: 1e-6, or 1e-6 of the image's largest |y| if that is below 1.

    In a network of tiny activations 1e-6 is no small number, and would absorb the relevance.

    Args:
        y: float [N, ...].

    Returns:
        [N, 1, ...].
    """
    # The floor is for an image of zeros.
    return y.abs().amax(axis=list(range(1, y.ndim)), keepdim=True).clip(1e-30, 1) * 1e-6


def stabilize(z: Tensor, small: Tensor) -> Tensor:
    """z + small * sign(z), with sign(0) = +1, so that it can be divided by."""
    return z + paddle.where(z >= 0, small, -small)


@dataclass
class Site:
    """One place in one run where a rule works: a layer (its batch-norm folded in), or an operation.

    Attributes:
        x, y: input and output.
        linear: the map of a linear layer, its batch-norm folded in; None for others.
        carriers: what the first layer's rule asked for, as it arrives at this layer.
        arguments: of an operation, the positional arguments after x.
        audited: whether the rule is to set `shares`.
        shares: what of y goes back to x ("input"), and what the bias keeps ("bias").
    """

    name: str
    x: Tensor
    y: Tensor
    linear: LinearMap | None = None
    carriers: Sequence[Tensor] = ()
    arguments: Sequence[Any] = ()
    audited: bool = False
    shares: dict[str, Tensor] = field(default_factory=dict)

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
        return float(self.x.min()) >= 0


class Rule:
    """What a layer or operation does on the way back. Subclass and write `__call__`."""

    def __call__(self, site: Site) -> Tensor:
        """A tensor equal to `site.y`, with the gradient that the rule wants."""
        raise NotImplementedError

    def carriers(self, x: Tensor) -> list[Tensor]:
        """For a rule of the first layer: tensors like x that travel with it to that layer."""
        return []

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({options})"


class Observer(Protocol):
    """Who is told where rules work."""

    def begin(self) -> None:
        """A run begins."""

    def note(self, site: Site, y: Tensor) -> None:
        """A rule gave `y`, connected to the input, for `site.y`."""


@dataclass(frozen=True)
class Composite:
    """Which rule works where. A value: nothing in it changes when it is used.

    For a linear layer (convolution, dense) the first of these that fits counts: `names`, `first`,
    `last`, `layers`; none is plain gradient, which is LRP-0.

    Args:
        name: for messages and reports.
        layers: layer type -> rule, in order; subclasses fit too.
        operations: name of an activation in `paddle._C_ops` -> rule; reaches layers (`nn.ReLU`),
            functions (`F.relu`) and fused activations (`BatchNorm(act="relu")`) alike.
        first: rule of the first linear layer that runs.
        last: rule of the last one.
        names: layer name -> rule.
        must_reach: operations every one of which must have met its rule.
        harmless: operations that need no rule; None allows all. Anything else that ran, and that
            no rule met, is an UnsupportedModelError.
        conserves: whether all relevance is promised to arrive at the input.
    """

    name: str
    layers: Mapping[type, Rule] = field(default_factory=dict)
    operations: Mapping[str, Rule] = field(default_factory=dict)
    first: Rule | None = None
    last: Rule | None = None
    names: Mapping[str, Rule] = field(default_factory=dict)
    must_reach: frozenset[str] = frozenset()
    harmless: frozenset[str] | None = None
    conserves: bool = False
    observer: Observer | None = None
    """Told of every run and site; see `interpretdl.rules.audit`."""

    @property
    def reaches_layers(self) -> bool:
        """Whether any linear layer has a rule of its own."""
        return bool(self.layers or self.first or self.last or self.names)

    def observed(self, observer: Observer) -> Composite:
        """The same composite, which tells `observer` of every site."""
        return replace(self, observer=observer)

    @contextlib.contextmanager
    def applied(self, model: Any) -> Iterator[Any]:
        """Attach the rules to a model for one run; see `interpretdl.probe.Rules`."""
        from .run import Run

        run = Run(self, model)
        try:
            run.attach()
            yield run
        finally:
            run.detach()
