"""Which rule works where, and the rules attached to a model for one run."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import paddle

from ..errors import UnsupportedModelError
from ..probe.operations import Operation, intercepted
from ..probe.state import is_program, original_of
from .activation import PassThrough
from .base import JointRule, Observer, Rule, Site
from .canonize import Layers, Linear, plan_of
from .inspection import Inspection
from .linear import Epsilon
from .linear_map import BATCH_NORM, LINEAR, LinearMap
from .redirect import listening
from .through import Through

__all__ = ["Composite", "Run"]

Tensor: TypeAlias = "paddle.Tensor"


class _Affine(Rule):
    """The plain gradient: what a batch-norm adds to the input and to the first rule's carriers
    cancels in that rule.
    """

    def __call__(self, site: Site) -> Tensor:
        return site.y


_PLAIN, _PASS, _AFFINE = Epsilon(0), PassThrough(), _Affine()


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
            no rule met, is an UnsupportedModelError; products of two things that both depend on
            the input are, too.
        conserves: whether all relevance arrives at the input, but for what only a bias raised.
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
    through: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Only what flows through these channels of these layers counts; see `rules.through`."""
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
        run = Run(self, model)
        try:
            run.attach()
            yield run
        finally:
            run.detach()


class _Arrived(BaseException):
    """A carrier has come to the last of the first layers; nothing in a model catches this."""


class Run:
    """Hooks that apply a composite's rules while a model runs once.

    What must be known of a layer before it runs is in the model's plan. When the run shows that
    the plan was wrong, `settled` says so, and the model is run again with the plan corrected.

    A run whose rules are met in another course than in one that was inspected is an inspection
    itself, and the model is run again behind it.
    """

    def __init__(self, composite: Composite, model: Any) -> None:
        self.composite, self.model = composite, model
        self.leaves: list[Tensor] = []
        self._plan = plan_of(original_of(model))
        inspect = self._plan.begin()
        kind = (
            *(composite.name, composite.must_reach, composite.harmless, type(composite.first)),
            *(frozenset(composite.operations), frozenset(composite.names)),
        )
        self._known = self._plan.inspected.setdefault(kind, set())
        self._inspection = Inspection() if inspect or not self._known else None
        self.looks = self._inspection is not None
        self._observer = None if self.looks else composite.observer
        self._layers = Layers(self._plan)
        self._through = Through(composite.through, self._layers)
        self._course: list[tuple[str, str]] = []
        # For each of the first linear layers, what the first rule's carriers are when they arrive.
        self._carriers: dict[int, list[Tensor]] = {}
        self._carried: int | None = None
        self._cut = False
        self._suspended = self._in_linear = self._images = 0
        self._attached = contextlib.ExitStack()

    # -- attach and detach -----------------------------------------------------------------------

    def attach(self) -> None:
        """Set hooks on layers, and rules on operations.

        Raises:
            UnsupportedModelError: there are none to set them on.
        """
        if any(map(is_program, self.model.sublayers(include_self=True))):
            raise UnsupportedModelError(
                f"composite {self.composite.name!r} changes what layers and operations do on the "
                "way back, and a model from paddle.jit.load is one program, in which none can be "
                "reached. Load it by it.load_exported(path), with the path that paddle.jit.load "
                "was given, or take a method that needs gradients or scores only"
            )
        for name, layer in self.model.named_sublayers():
            if isinstance(layer, LINEAR) and self.composite.reaches_layers:
                self._hook(layer, self._before_linear, self._after_linear, name)
            elif isinstance(layer, BATCH_NORM) and self.composite.reaches_layers:
                self._hook(layer, self._before_layer, self._after_norm, name)
            elif self._own_rule(name, layer) is not None and not layer._sub_layers:
                self._hook(layer, self._before_layer, self._after_layer, name)
        rules = self.composite.operations.items()
        wraps = {
            name: functools.partial(self._joined, name, rule)
            if isinstance(rule, JointRule)
            else functools.partial(self._ruled, name, rule)
            for name, rule in rules
        }
        if "softmax" in wraps:  # on a GPU attention may be one fused operation
            kernels = {"enable_math": True, "enable_flash": False, "enable_mem_efficient": False}
            self._attached.enter_context(paddle.nn.functional.sdp_kernel(**kernels))
        self._attached.enter_context(intercepted(wraps))

    def detach(self) -> None:
        """Take everything away."""
        self._attached.close()
        self._layers.clear()

    def _hook(self, layer: Any, before: Any, after: Any, name: str) -> None:
        for handle in (
            layer.register_forward_pre_hook(functools.partial(before, name)),
            layer.register_forward_post_hook(functools.partial(after, name)),
        ):
            self._attached.callback(handle.remove)

    # -- the probe's protocol --------------------------------------------------------------------

    def begin(self, x: Tensor) -> Tensor:
        """What the model is given; the first rule's carriers are brought to their layers."""
        self._images = len(x)
        self._cut = x.stop_gradient  # relevance ends at a layer behind the input
        if self._observer is not None:
            self._observer.begin()
        first = self.composite.first
        carriers = [] if first is None or self._cut else first.carriers(x)
        if carriers:
            self.leaves = [x, *carriers]
        for carrier in carriers:
            self._carry(carrier)
        # After who watches layers from outside, whose tensors are then before the choice.
        self._through.attach(self._attached, self.model, len(x), bool(carriers))
        return x.clone()

    def _carry(self, carrier: Tensor) -> None:
        """Run the model on a carrier up to the layers that see nothing but the input."""
        carrier.stop_gradient = False
        self._carried = 0
        with contextlib.suppress(_Arrived):
            self.model(carrier.clone())
        if not self._carriers:
            raise UnsupportedModelError(
                f"composite {self.composite.name!r} has a rule for the first layer, but no "
                "convolution or dense layer of this model takes the input"
            )
        self._carried, self._suspended, self._in_linear = None, 0, 0

    def settled(self, output: Tensor) -> bool:
        """Whether the plan was right and everything reached; see `interpretdl.probe.RulesRun`."""
        plan, inspection, course = self._plan, self._inspection, tuple(self._course)
        last_counts = self.composite.last is not None
        if inspection is None:
            if not self._layers.as_planned(last_counts):
                return False
            known = not self._layers.left() and course in self._known
            plan.inspect = plan.again = not known
            return known
        try:
            inspection.look(output)
            for name in {*inspection.read(), *self._layers.left()}:
                self._layers.read(name)
            right = self._layers.as_planned(last_counts)
            if right and not self._cut:
                first = inspection.first()
                right, plan.first = first == plan.first or not first, first or plan.first
            if right:
                composite = self.composite
                inspection.check(composite.name, composite.must_reach, composite.harmless)
                self._known.add(course)
            plan.again = True
        finally:
            inspection.let_go(output)
            self._layers.clear()
        return False

    def start(self, score: Tensor) -> Tensor:
        """The score, or what of it flows through the composite's channels, [n]."""
        return self._through.start(score) if self.composite.through else score

    # -- rules at work ---------------------------------------------------------------------------

    def _own_rule(self, name: str, layer: Any) -> Rule | None:
        if name in self.composite.names:
            return self.composite.names[name]
        return next((r for t, r in self.composite.layers.items() if isinstance(layer, t)), None)

    def _rule_of(self, entry: Linear) -> Rule:
        composite, name = self.composite, entry.name
        if name not in composite.names:
            arrived = entry.index in self._carriers if self.leaves else not self._cut
            if composite.first is not None and arrived and entry.index in self._plan.first:
                return composite.first
            if composite.last is not None and name == self._plan.last:
                return composite.last
        return self._own_rule(name, entry.layer) or _PLAIN

    def _tapped(self, x: Tensor) -> Tensor:
        """x; or a copy that only one site reads, where the observer wants that."""
        return x.clone() if self._observer is not None and self._observer.taps else x

    def _before_linear(self, name: str, layer: Any, inputs: tuple[Any, ...]) -> Any:
        self._in_linear += 1  # its bias is the layer's, no summand of its own
        x = inputs[0]
        if x.stop_gradient:
            return None
        x = self._tapped(x)
        if self._carried is not None:
            if self._carried in self._plan.first:
                self._carriers.setdefault(self._carried, []).append(x)
            if self._carried >= max(self._plan.first):
                raise _Arrived
            self._carried += 1
        return (x, *inputs[1:])

    def _after_linear(self, name: str, layer: Any, inputs: tuple[Any, ...], y: Tensor) -> Any:
        self._in_linear -= 1
        x = inputs[0]
        if x.stop_gradient or self._carried is not None:
            return None
        entry, waits = self._layers.ran(name, layer, x, y)
        if waits:
            if self._inspection is not None:
                self._inspection.waits(entry)
            return None
        new = self._linear(entry, y, LinearMap(layer, size=y.shape))
        self._layers.gave(entry, new)
        return new

    def _before_layer(self, name: str, layer: Any, inputs: tuple[Any, ...]) -> Any:
        self._suspended += 1  # this layer has its own rule: none for the operations inside
        x = inputs[0]
        if x.stop_gradient or self._layers.waits(x):
            return None
        return (self._tapped(x), *inputs[1:])

    def _after_norm(self, name: str, norm: Any, inputs: tuple[Any, ...], y: Tensor) -> Any:
        self._suspended -= 1
        x = inputs[0]
        if x.stop_gradient:
            return None
        entry = self._layers.norm(norm, x)
        if entry is None:
            in_front = self.leaves and not self._layers.names
            rule = self._own_rule(name, norm) or (_AFFINE if in_front else _PASS)
            return self._put(Site(name, x, y, arguments=[norm]), rule, [x])
        new = self._linear(entry, y, LinearMap(entry.layer, norm))
        return self._through.folded(entry.name, new)

    def _linear(self, entry: Linear, y: Tensor, linear: LinearMap) -> Tensor:
        carriers = self._carriers.get(entry.index, [])
        site = Site(entry.name, entry.x, y, linear, carriers)
        return self._put(site, self._rule_of(entry), [entry.x, *carriers], entry.index)

    def _after_layer(self, name: str, layer: Any, inputs: tuple[Any, ...], y: Any) -> Any:
        self._suspended -= 1
        rule = self._own_rule(name, layer)
        if rule is None or not isinstance(y, paddle.Tensor) or y.stop_gradient:
            return None
        return self._put(Site(name, inputs[0], y), rule, [inputs[0]])

    def _ruled(self, name: str, rule: Rule, original: Operation) -> Callable[..., Any]:
        """An operation that its rule follows."""

        def run(x: Any, *rest: Any, **kwargs: Any) -> Any:
            if self._suspended or not isinstance(x, paddle.Tensor) or x.stop_gradient:
                return original(x, *rest, **kwargs)
            x = self._tapped(x)
            y = original(x, *rest, **kwargs)
            y, *others = _listed(y)
            y = self._put(Site(name, x, y, arguments=rest), rule, [x])
            return (y, *others) if others else y

        return run

    def _joined(self, name: str, rule: JointRule, original: Operation) -> Callable[..., Any]:
        """An operation on several tensors that its rule follows."""

        def run(x: Any, *rest: Any, **kwargs: Any) -> Any:
            many = isinstance(x, list | tuple)
            named = isinstance(kwargs.get("y"), paddle.Tensor)
            given = [*x] if many else [x, kwargs["y"]] if named else [x, *rest[:1]]
            tensors = [t for t in given if isinstance(t, paddle.Tensor)]
            if self._suspended or self._in_linear or not tensors or not rule.meets(tensors):
                return original(x, *rest, **kwargs)
            operands = [t if t.stop_gradient else self._tapped(t) for t in tensors]

            def whole(operands: Sequence[Tensor]) -> Sequence[Any]:
                if many:
                    return _listed(original([*operands], *rest, **kwargs))
                if named:
                    return _listed(original(operands[0], *rest, **{**kwargs, "y": operands[-1]}))
                return _listed(original(*operands, *rest[len(operands) - 1 :], **kwargs))

            y, *others = whole(operands)
            source = next(t for t in operands if not t.stop_gradient)
            name_here = next((n for t in tensors if (n := self._parameters.get(id(t)))), name)
            site = Site(name_here, source, y, arguments=rest, operands=operands)
            site.again = lambda operands: whole(operands)[0]
            y = self._put(site, rule, rule.sources(site))
            return (y, *others) if others else y

        return run

    @functools.cached_property
    def _parameters(self) -> dict[int, str]:
        """Names of the model's parameters, by their ids."""
        return {id(parameter): name for name, parameter in self.model.named_parameters()}

    def _put(
        self, site: Site, rule: Rule, sources: Sequence[Tensor], index: int | None = None
    ) -> Tensor:
        site.images = self._images
        self._course.append((site.name, type(rule).__name__))
        self._suspended += 1  # a rule may use an operation itself
        with listening() as boxes:
            y = rule(site)
        self._suspended -= 1
        if y.stop_gradient:
            return y
        if self._inspection is not None:
            self._inspection.boxes += boxes
            if y is site.y and index is None:
                self._inspection.kept(y)
            else:
                self._inspection.gave(y, sources, index)
        if self._observer is not None and not self._through.met:
            self._observer.note(site, y, [way for box in boxes for way in box.ways])
        return y


def _listed(y: Any) -> Sequence[Any]:
    return y if isinstance(y, list | tuple) else (y,)
