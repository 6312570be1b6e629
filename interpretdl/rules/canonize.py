"""The linear layers of a run in their order, and which of them feeds a batch-norm.

What has to be known of a layer before it runs is guessed in a plan, and held against the run.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import paddle

from ..errors import UnsupportedModelError
from .linear_map import BATCH_NORM, LINEAR, foldable

__all__ = ["Layers", "Linear", "Plan", "plan_of"]

Tensor: TypeAlias = "paddle.Tensor"
# A plan settles within a few runs of a call; more are a model that never runs twice alike.
_TRIES = 20


@dataclass
class Plan:
    """What earlier runs of a model showed. A guess: every run is checked against it.

    Attributes:
        folds: for each linear layer, whether a batch-norm behind it is folded into it.
        first: which of the linear layers, in the order of the run, see nothing but the input.
        last: the last linear layer that runs.
        read: layers whose output something else than their batch-norm reads, in this call;
            another may not watch what this one does.
        again: whether the next run is the same call's.
        inspect: whether the next run is to look at the graph.
        inspected: for each kind of composite, courses of a run whose graph was found right.
    """

    folds: dict[str, bool] = field(default_factory=dict)
    first: frozenset[int] = frozenset({0})
    last: str | None = None
    read: set[str] = field(default_factory=set)
    again: bool = False
    inspect: bool = False
    inspected: dict[Any, set[tuple[Any, ...]]] = field(default_factory=dict)
    _tries: int = 0

    def begin(self) -> bool:
        """A run begins; whether it is to look at the graph.

        Raises:
            UnsupportedModelError: the model runs another way each time.
        """
        if not self.again:
            self.read.clear()
        self._tries = self._tries + 1 if self.again else 0
        inspect, self.again, self.inspect = self.inspect, False, False
        if self._tries > _TRIES:
            raise UnsupportedModelError(
                "this model runs another way each time that it is called, so that what its layers "
                "do cannot be followed; fix its random choices first"
            )
        return inspect


_PLANS: weakref.WeakKeyDictionary[Any, Plan] = weakref.WeakKeyDictionary()


def plan_of(model: Any) -> Plan:
    """The plan for a model; at first a guess from the order of its layers."""
    if model not in _PLANS:
        plan = _PLANS[model] = Plan()
        previous: tuple[str, Any] | None = None
        for name, layer in model.named_sublayers():
            if layer._sub_layers:
                continue
            if isinstance(layer, LINEAR):
                plan.folds[name] = False
                plan.last = name
            elif isinstance(layer, BATCH_NORM) and previous and isinstance(previous[1], LINEAR):
                plan.folds[previous[0]] = foldable(previous[1], layer)
            previous = (name, layer)
    return _PLANS[model]


@dataclass
class Linear:
    """A linear layer that has run, as the index-th of the run."""

    name: str
    layer: Any
    x: Tensor
    y: Tensor
    index: int


class Layers:
    """The linear layers of one run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.names: list[str] = []
        # By the id of the output that the next layer is given; the entry keeps it alive.
        self._waiting: dict[int, Linear] = {}
        self._unfolded: dict[int, tuple[Linear, weakref.ref[Any]]] = {}
        self._wrong: dict[str, bool] = {}

    def ran(self, name: str, layer: Any, x: Tensor, y: Tensor) -> tuple[Linear, bool]:
        """A linear layer has run; whether it waits for its batch-norm."""
        entry = Linear(name, layer, x, y, len(self.names))
        self.names.append(name)
        waits = self.plan.folds.get(name, False)
        if waits:
            self._waiting[id(y)] = entry
        return entry, waits

    def gave(self, entry: Linear, y: Tensor) -> None:
        """The rule of a layer that did not wait gave y."""
        self._unfolded[id(y)] = (entry, weakref.ref(y))

    def copied(self, y: Tensor, copy: Tensor) -> None:
        """A copy takes the place of what a layer gave."""
        entry, _ = self._unfolded.get(id(y), (None, None))
        if entry is not None:
            self.gave(entry, copy)

    def waits(self, x: Tensor) -> bool:
        """Whether x is the output of a layer that waits."""
        return id(x) in self._waiting

    def norm(self, norm: Any, x: Tensor) -> Linear | None:
        """The layer that is folded with this batch-norm, whose input is x."""
        entry = self._waiting.pop(id(x), None)
        if entry is None:
            source, made = self._unfolded.get(id(x), (None, None))
            unread = source and made and made() is x and source.name not in self.plan.read
            if source and unread and foldable(source.layer, norm):
                self._wrong.setdefault(source.name, True)
        elif not foldable(entry.layer, norm):
            self.read(entry.name)
        return entry

    def read(self, name: str) -> None:
        """The output of a layer that waited is read by something else than a batch-norm, or not."""
        self._wrong[name] = False
        self.plan.read.add(name)

    def left(self) -> list[str]:
        """Layers that still wait for their batch-norm."""
        return [entry.name for entry in self._waiting.values()]

    def as_planned(self, last_counts: bool) -> bool:
        """Whether the plan's guesses were right; they are corrected."""
        plan = self.plan
        wrong = {n: fold for n, fold in self._wrong.items() if plan.folds.get(n) != fold}
        plan.folds.update(wrong)
        last = self.names[-1] if self.names else None
        moved = last_counts and last != plan.last
        plan.last = last or plan.last
        plan.again |= bool(wrong or moved)
        return not (wrong or moved)

    def clear(self) -> None:
        """Let go of all tensors."""
        self._waiting.clear()
        self._unfolded.clear()
