"""A composite's rules attached to a model, for one run."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import paddle

from ..errors import UnsupportedModelError
from ..probe.graph import graph_of
from .activation import PassThrough
from .base import Composite, Rule, Site
from .linear import Epsilon
from .linear_map import BATCH_NORM, LINEAR, LinearMap, foldable
from .redirect import recorded

__all__ = ["Run"]

Tensor: TypeAlias = "paddle.Tensor"
_PLAIN = Epsilon(0)
_PASS = PassThrough()
# A plan settles within a few runs of a call; more are a model that never runs twice alike.
_TRIES = 20
# Activations may come from either module: layers and functions, and those fused into BatchNorm.
_OPERATIONS = (paddle._C_ops, paddle._legacy_C_ops)


@dataclass
class _Plan:
    """What earlier runs of a model showed. A guess: every run is checked against it."""

    folds: dict[str, bool] = field(default_factory=dict)
    last: str | None = None
    never: set[str] = field(default_factory=set)
    """Found out in this call; another may not watch what this one does."""
    again: bool = False
    """Whether the next run is the same call's."""
    tries: int = 0
    """Runs of one call so far."""
    inspect: bool = False
    """Whether the next run is to look at the graph."""
    inspected: dict[Any, set[tuple[Any, ...]]] = field(default_factory=dict)
    """For each kind of composite: courses of a run whose graph was looked at and found right."""


_PLANS: weakref.WeakKeyDictionary[Any, _Plan] = weakref.WeakKeyDictionary()


@dataclass
class _Pending:
    """A linear layer that has run and waits for its batch-norm."""

    name: str
    layer: Any
    x: Tensor
    y: Tensor  # kept so that nothing else gets its id
    carriers: list[Tensor]


class Run:
    """Hooks that apply a composite's rules while a model runs once.

    Which linear layer feeds which batch-norm, and which is the last, is seen when they run. To
    know it beforehand there is a plan; when the run shows that the plan was wrong, `settled` says
    so, and the model is run again with the plan corrected.

    Whether every operation was reached is seen in the graph. Paddle never frees a graph whose
    `grad_fn` was asked for, so this is done in a run of its own, whose tensors are let go of, the
    first time that a model is run with a composite, and again whenever rules are met in another
    course than in a run that was inspected.
    """

    def __init__(self, composite: Composite, model: Any) -> None:
        self.composite = composite
        self.model = model
        self.leaves: list[Tensor] = []
        self._removers: list[Callable[[], None]] = []
        self._thread = threading.get_ident()
        self._suspended = 0
        self._parts = 1
        self._images = 0
        self._split = False
        self._cut = False
        self._carried: dict[str, list[Tensor]] = {}
        self._pending: dict[int, _Pending] = {}
        self._unfolded: dict[int, tuple[str, Any, weakref.ref[Any]]] = {}
        self._course: list[tuple[str, str]] = []
        self._boxes: list[Any] = []
        # Graph nodes: of outputs that rules made -> of the inputs they came from.
        self._made: dict[int, tuple[Any, list[Any]]] = {}
        self._touched: dict[int, Any] = {}
        self._waiting: dict[int, tuple[str, Any]] = {}
        self._wrong: dict[str, bool] = {}
        self._order: list[str] = []
        self._plan = _PLANS.get(model) or _first_plan(model)
        _PLANS[model] = self._plan
        if not self._plan.again:
            self._plan.never.clear()
        self._plan.tries = self._plan.tries + 1 if self._plan.again else 0
        if self._plan.tries > _TRIES:
            self._plan.again = False
            raise UnsupportedModelError(
                "this model runs another way each time that it is called, so that what its layers "
                "do cannot be followed; fix its random choices first"
            )
        kind = (
            *(composite.name, composite.must_reach, composite.harmless, type(composite.first)),
            *(frozenset(composite.operations), frozenset(composite.names)),
        )
        self._known = self._plan.inspected.setdefault(kind, set())
        self._inspecting = self._plan.inspect or not self._known
        self._plan.again = self._plan.inspect = False

    # -- attach and detach -----------------------------------------------------------------------

    def attach(self) -> None:
        """Set hooks on layers, and rules on operations."""
        for name, layer in self.model.named_sublayers():
            rule = self._own_rule(name, layer)
            if isinstance(layer, LINEAR) and self.composite.reaches_layers:
                self._hook(layer, self._before_linear, self._after_linear, name)
            elif isinstance(layer, BATCH_NORM) and self.composite.reaches_layers:
                self._hook(layer, self._suspend, self._after_norm, name)
            elif rule is not None and not layer._sub_layers:
                self._hook(layer, self._suspend, self._after_layer, name)
        for operation, rule in self.composite.operations.items():
            for module in _OPERATIONS:
                original = getattr(module, operation, None)
                if original is not None:
                    setattr(module, operation, self._ruled(operation, original, rule))
                    self._removers.append(functools.partial(setattr, module, operation, original))

    def detach(self) -> None:
        """Take everything away."""
        while self._removers:
            self._removers.pop()()
        recorded[:] = [boxes for boxes in recorded if boxes is not self._boxes]
        self._pending.clear()

    def _hook(self, layer: Any, before: Any, after: Any, name: str) -> None:
        for handle in (
            layer.register_forward_pre_hook(functools.partial(before, name)),
            layer.register_forward_post_hook(functools.partial(after, name)),
        ):
            self._removers.append(handle.remove)

    # -- the probe's protocol --------------------------------------------------------------------

    def begin(self, x: Tensor) -> Tensor:
        """The input, and behind it what the first layer's rule wants to travel with it."""
        self._images = len(x)
        self._cut = x.stop_gradient  # relevance ends at a layer behind the input
        if self._inspecting:
            recorded.append(self._boxes)
        elif self.composite.observer is not None:
            self.composite.observer.begin()
        first = self.composite.first
        carriers = [] if first is None or x.stop_gradient else first.carriers(x)
        if not carriers:
            return x.clone()
        for carrier in carriers:
            carrier.stop_gradient = False
        self.leaves = [x, *carriers]
        self._parts = len(self.leaves)
        return paddle.concat(self.leaves)

    def settled(self, output: Tensor) -> bool:
        """Whether the plan was right and everything reached; see `interpretdl.probe.RulesRun`."""
        if not self._inspecting:
            return self._as_planned() and self._is_known()
        try:
            seen = dict(self._walk(output))
            for pointer, (name, _) in self._waiting.items():
                if pointer in seen:  # something else than its batch-norm reads the output
                    self._wrong[name] = False
                    self._plan.never.add(name)
            if self._as_planned():
                self._check_reached(seen)
                self._known.add(tuple(self._course))
                self._plan.again = True
        finally:
            self._let_go(output)
        return False

    def _is_known(self) -> bool:
        """Whether rules were met in a course that was inspected."""
        known = not self._pending and tuple(self._course) in self._known
        self._plan.inspect = self._plan.again = not known
        return known

    def _let_go(self, output: Tensor) -> None:
        """Free the tensors of a graph that was looked at: a backward pass does."""
        if not output.stop_gradient:
            output.sum().backward()
        for box in self._boxes:
            box.ratios.clear()
        for table in (self._made, self._touched, self._waiting, self._unfolded, self._pending):
            table.clear()

    def _as_planned(self) -> bool:
        """Whether the plan's guesses were right; they are corrected."""
        wrong = {n: fold for n, fold in self._wrong.items() if self._plan.folds.get(n) != fold}
        self._plan.folds.update(wrong)
        last = self._order[-1] if self._order else None
        moved = self.composite.last is not None and last != self._plan.last
        self._plan.last = last or self._plan.last
        if wrong or moved:
            self._plan.again = True
            return False
        if self.leaves and not self._split:
            raise UnsupportedModelError(
                f"composite {self.composite.name!r} has a rule for the first layer, but no "
                "convolution or dense layer of this model takes the whole input"
            )
        return True

    def _walk(self, output: Tensor) -> Iterator[tuple[int, Any]]:
        """Nodes behind the output; what rules made is stepped over."""
        return graph_of(output, lambda node: self._made.get(node.node_ptr(), (None, None))[1])

    def _check_reached(self, seen: dict[int, tuple[str, int]]) -> None:
        missed: dict[str, int] = {}
        harmless, must = self.composite.harmless, self.composite.must_reach
        for pointer, (name, inputs) in seen.items():
            if pointer in self._made or pointer in self._touched:
                continue
            gated = name in ("multiply", "divide") and inputs < 2  # by a constant
            if name in must or (harmless is not None and not gated and name not in harmless):
                missed[name] = missed.get(name, 0) + 1
        if missed:
            found = ", ".join(f"{name} ({count})" for name, count in sorted(missed.items()))
            raise UnsupportedModelError(
                f"composite {self.composite.name!r} has no way through these operations of the "
                f"model: {found}. A map drawn all the same would be wrong; use layers for them "
                "(paddle.nn), another composite, or a method that needs gradients only"
            )
        if must and not self._touched and not self._made:
            raise UnsupportedModelError(
                f"this model has no ReLU that composite {self.composite.name!r} could change: the "
                "map would be the plain gradient; take method 'gradient'"
            )

    # -- rules at work ---------------------------------------------------------------------------

    def _own_rule(self, name: str, layer: Any) -> Rule | None:
        if name in self.composite.names:
            return self.composite.names[name]
        return next((r for t, r in self.composite.layers.items() if isinstance(layer, t)), None)

    def _rule_of(self, name: str, layer: Any, is_first: bool) -> Rule:
        composite = self.composite
        if name in composite.names:
            return composite.names[name]
        if is_first and composite.first is not None:
            return composite.first
        if name == self._plan.last and composite.last is not None:
            return composite.last
        return self._own_rule(name, layer) or _PLAIN

    def _before_linear(self, name: str, layer: Any, inputs: tuple[Any, ...]) -> Any:
        x = inputs[0]
        self._carried.pop(name, None)
        if self._parts > 1 and x.shape[0] == self._parts * self._images:
            x, *carriers = paddle.split(x, self._parts)
            self._carried[name] = carriers
            self._split = True
            return (x, *inputs[1:])
        return None

    def _after_linear(self, name: str, layer: Any, inputs: tuple[Any, ...], y: Tensor) -> Any:
        x = inputs[0]
        if x.stop_gradient:
            return None
        carriers = self._carried.pop(name, [])
        self._order.append(name)
        entry = _Pending(name, layer, x, y, carriers)
        if self._plan.folds.get(name):
            self._pending[id(y)] = entry
            if self._inspecting:
                self._waiting[y.grad_fn.node_ptr()] = (name, y.grad_fn)
            return None
        new = self._linear(entry, y, LinearMap(layer))
        self._unfolded[id(new)] = (name, layer, weakref.ref(new))
        return new

    def _after_norm(self, name: str, norm: Any, inputs: tuple[Any, ...], y: Tensor) -> Any:
        self._suspended -= 1
        x = inputs[0]
        if x.stop_gradient:
            return None
        entry = self._pending.pop(id(x), None)
        if entry is None:
            source, layer, made = self._unfolded.get(id(x), ("", None, lambda: None))
            if made() is x and source not in self._plan.never and foldable(layer, norm):
                self._wrong.setdefault(source, True)
            return self._put(Site(name, x, y), self._own_rule(name, norm) or _PASS, [x])
        if not foldable(entry.layer, norm):
            self._wrong[entry.name] = False
            self._plan.never.add(entry.name)
            return None
        return self._linear(entry, y, LinearMap(entry.layer, norm))

    def _linear(self, entry: _Pending, y: Tensor, linear: LinearMap) -> Tensor:
        first = self._order[0] == entry.name and not self._cut
        is_first = bool(entry.carriers) if self._parts > 1 else first
        site = Site(entry.name, entry.x, y, linear, entry.carriers)
        rule = self._rule_of(entry.name, entry.layer, is_first)
        return self._put(site, rule, [entry.x, *entry.carriers])

    def _suspend(self, name: str, layer: Any, inputs: Any) -> None:
        self._suspended += 1  # this layer has its own rule: none for the operations inside

    def _after_layer(self, name: str, layer: Any, inputs: tuple[Any, ...], y: Any) -> Any:
        self._suspended -= 1
        rule = self._own_rule(name, layer)
        if rule is None or not isinstance(y, paddle.Tensor) or y.stop_gradient:
            return None
        return self._put(Site(name, inputs[0], y), rule, [inputs[0]])

    def _ruled(self, operation: str, original: Any, rule: Rule) -> Callable[..., Any]:
        @functools.wraps(original)
        def run(*args: Any, **kwargs: Any) -> Any:
            y = original(*args, **kwargs)
            x = args[0] if args else kwargs.get("x")
            elsewhere = threading.get_ident() != self._thread or self._suspended
            if elsewhere or not isinstance(x, paddle.Tensor) or x.stop_gradient:
                return y
            self._suspended += 1  # a rule may use the operation itself
            try:
                return self._put(Site(operation, x, y, arguments=args[1:]), rule, [x])
            finally:
                self._suspended -= 1

        return run

    def _put(self, site: Site, rule: Rule, sources: list[Tensor]) -> Tensor:
        observer = None if self._inspecting else self.composite.observer
        site.audited = observer is not None
        self._course.append((site.name, type(rule).__name__))
        y = rule(site)
        if y.stop_gradient:
            return y
        if self._inspecting:
            maker = y.grad_fn
            if y is site.y and site.linear is None:
                self._touched[maker.node_ptr()] = maker
            else:
                nodes = [t.grad_fn for t in sources if t.grad_fn is not None]
                self._made[maker.node_ptr()] = (maker, nodes)
        if observer is not None:
            observer.note(site, y)
        return y


def _first_plan(model: Any) -> _Plan:
    """A guess from the order of layers: a linear layer right before a batch-norm of its size."""
    plan = _Plan()
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
    return plan
