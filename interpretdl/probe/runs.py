"""How a probe runs a model: in batches, forward or forward and backward."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

from ..errors import (
    InputError,
    LayerNotFoundError,
    ResourceError,
    UnsupportedModelError,
    did_you_mean,
)
from ..targets import ClassScore, TargetLike, checked_score, scores_of, take
from ..targets.scores import labels_of
from ..tensors import from_numpy
from .attention import Attention, attending, check_met, let_go
from .batches import BatchPlan
from .engine import Engine, EngineKind, GradientEngine
from .hooks import (
    INPUT,
    Array,
    Edits,
    Gradients,
    Rules,
    Tensor,
    gradients_at,
    to_numpy,
    watch,
)
from .inputs import Inputs, call, checked, count, each, in_place_of, listed, rows_of, tensors
from .operations import cured, quickened
from .output import OutputKind, OutputReader
from .spatial import Seen, Spatial
from .state import as_it_was, check_differentiable, copy_of, place_of, refuse_program
from .within import Within

__all__ = ["Runs"]


class Runs:
    """A model with what is decided of its runs; `Probe` says what can be asked of it.

    Args:
        model: paddle.nn.Layer; else see Probe.
    """

    def __init__(
        self,
        model: Any,
        output: int | str | Callable[[Any], Tensor] | None,
        output_kind: OutputKind | None,
        batch_size: int | None,
        engine: EngineKind | None,
    ) -> None:
        self.model = model
        self.output, self.output_kind, self.engine = output, output_kind, engine
        self._read = OutputReader(output, output_kind)
        self._end: str | None = None  # the layer whose output is the model's; see Probe.at_layer
        self._within: Within | None = None  # where the input takes its place; see Probe.within
        self._plan = BatchPlan(batch_size)
        self._classes: dict[tuple[int, ...], int] = {}  # of models, by the shape of an item
        self._engine = Engine(engine, self._read.pick)
        self._gradient_engine = GradientEngine(engine, self._read.pick)

    @property
    def _layers(self) -> dict[str, Any]:
        """Asked anew each time: a layer may have been exchanged for another."""
        return dict(copy_of(self.model).named_sublayers())

    def layer(self, name: str) -> Any:
        """The sublayer of that name.

        Raises:
            LayerNotFoundError: there is none; close matches are named.
        """
        name = str(name).removesuffix(INPUT)
        try:
            return self._layers[name]
        except (KeyError, TypeError):
            refuse_program(self.model, f"there is no layer {name!r}")
            hint = did_you_mean(str(name), self._layers)
            if not hint:
                hint = f"; it has {', '.join(list(self._layers)[:8])}, … (probe.layer_names())"
            raise LayerNotFoundError(f"the model has no layer {name!r}{hint}") from None

    def batch_plan(self, x: Inputs, *, gradient: bool = True) -> int:
        """How many items of x's shape are run at once: the largest batch that pays and fits."""
        return self._plan.size(x, place_of(self.model), gradient)

    def _forward(
        self,
        part: Inputs,
        rows: NDArray[np.int64],
        target: TargetLike | None,
        names: Sequence[str],
        edit: Edits | None,
        spatial: Spatial | None,
    ) -> Gradients:
        with paddle.no_grad():
            seen: Seen | None = None

            def layers(part: Inputs) -> list[Tensor]:
                nonlocal seen
                with contextlib.ExitStack() as stack:
                    captured = watch(stack, self.layer, names, edit, leaves=False)
                    seen = Seen(stack, copy_of(self.model), names) if spatial else None
                    x = self._tensors(part)
                    self._plan.measure(stack, self._layers.values(), x, False)
                    raw = self._call(x)
                return [self._read.pick(raw), *captured().values()]

            found = None
            if not edit and not spatial:
                values = self._plan.values(part)
                found = self._engine.run(copy_of(self.model), part, names, layers, values)
            place = paddle.CPUPlace()
            raw, *inside = layers(part) if found is None else [from_numpy(v, place) for v in found]
            output = self._read.logits(raw, lambda see: self._look(part, see))
            return Gradients(
                scores=np.empty(0)
                if target is None
                else to_numpy(checked_score(target, rows, output)),
                outputs=to_numpy(output),
                activations=dict(zip(names, map(to_numpy, inside), strict=True)),
                grids=seen.grids(names, count(part)) if seen else {},
            )

    def _backward(
        self,
        part: Inputs,
        rows: NDArray[np.int64],
        targets: Sequence[TargetLike],
        names: list[str],
        rules: Rules | None,
        edit: Edits | None,
        with_input: bool,
        spatial: Spatial | None,
    ) -> list[Gradients]:
        check_differentiable(self.model)
        if not (names or rules or edit or spatial) and len(targets) == 1:
            found = self._by_program(part, rows, targets[0])
            if found is not None:
                return [found]
        return self._by_layers(part, rows, targets, names, rules, edit, with_input, spatial)

    def _by_program(
        self, part: Inputs, rows: NDArray[np.int64], target: TargetLike
    ) -> Gradients | None:
        """The input's gradient where a program is to give it."""
        target = take(target, rows)
        if not self._gradient_engine.open or not isinstance(target, ClassScore):
            return None
        if not isinstance(part, np.ndarray) or part.dtype.kind != "f":
            return None
        classes = self._classes.get(part.shape[1:])
        if classes is None:
            return None
        labels = labels_of(target.labels, len(part), classes)
        one_hot = np.eye(classes, dtype=np.float32)[labels]

        def layers(both: Any) -> list[Array]:
            x, one_hot = both
            score = ClassScore(one_hot.argmax(axis=1), target.of)
            (run,) = self._by_layers(x, np.arange(len(x)), [score], [], None, None, True, None)
            return [run.outputs, run.input]

        found = self._gradient_engine.run(
            copy_of(self.model), (part, one_hot), [target.of], layers, self._plan.values(part)
        )
        if found is None:
            return None
        outputs, gradient = found
        return Gradients(scores=scores_of(target, outputs), outputs=outputs, input=gradient)

    def _by_layers(
        self,
        part: Inputs,
        rows: NDArray[np.int64],
        targets: Sequence[TargetLike],
        names: list[str],
        rules: Rules | None,
        edit: Edits | None,
        with_input: bool,
        spatial: Spatial | None,
    ) -> list[Gradients]:
        with paddle.enable_grad(), cured():
            x = self._tensors(part)
            floats = [t for t in listed(x) if t.is_floating_point()]
            if with_input and not floats:
                raise InputError(
                    "no input is an array of floats, so there is no gradient with respect to it; "
                    "name a layer with at=, such as an embedding"
                )
            for tensor in floats:
                tensor.stop_gradient = bool(names) and not with_input
            floats = floats if with_input else []
            if rules is not None and not isinstance(x, paddle.Tensor):
                raise UnsupportedModelError("rules need a model with one input")
            while True:
                with contextlib.ExitStack() as stack:
                    active = (
                        stack.enter_context(rules.applied(copy_of(self.model))) if rules else None
                    )
                    if active is None or not active.looks:
                        stack.enter_context(quickened())
                    captured = watch(stack, self.layer, names, edit, leaves=True)
                    seen = Seen(stack, copy_of(self.model), names or None) if spatial else None
                    self._plan.measure(stack, self._layers.values(), x, True)
                    # A copy: a model that works in place may not write on a leaf.
                    copy = active.begin(x) if active else each(x, lambda tensor: tensor.clone())
                    raw = self._call(copy)
                    if active is None or active.settled(self._read.pick(raw)):
                        break
            output = self._read(raw, lambda see: self._look(part, see))
            if output.ndim == 2 and isinstance(part, np.ndarray):
                self._classes[part.shape[1:]] = int(output.shape[1])
            scores = [checked_score(target, rows, output) for target in targets]
            if any(s.stop_gradient for s in scores) and not (spatial and spatial.any_score):
                reason = "does not depend on the input through differentiable operations"
                raise UnsupportedModelError(f"the score {reason}")
            inside = captured()
            if seen and not names:
                final, any_score = self._read.pick(raw), bool(spatial and spatial.any_score)
                inside = seen.chosen(count(part), final, scores[0], any_score)
                names += inside  # for the batches that follow
                if seen.overwritten(inside):
                    return self._by_layers(
                        part, rows, targets, names, rules, edit, with_input, spatial
                    )
            sources = (active.leaves or floats) if active and with_input else floats
            leaves = [*sources, *inside.values()]
            results = []
            for i, score in enumerate(scores):
                start = active.start(score) if active else score
                grads = gradients_at(leaves, start, more=i + 1 < len(scores))
                at = dict(zip(inside, map(to_numpy, grads[len(sources) :]), strict=True))
                result = Gradients(
                    scores=to_numpy(score),
                    outputs=to_numpy(output),
                    activations={name: to_numpy(t) for name, t in inside.items()},
                    gradients=at,
                    grids=seen.grids(names, count(part)) if seen else {},
                )
                if sources and sources[0] is floats[0]:
                    result.input = in_place_of(x, floats, grads)
                if sources and active is not None:
                    parts = [to_numpy(t * g) for t, g in zip(sources, grads, strict=False)]
                    result.relevance = np.sum(parts, axis=0)
                result.start = to_numpy(start)
                results.append(result)
            return results

    def _attend(
        self,
        part: Inputs,
        rows: NDArray[np.int64],
        target: TargetLike | None,
        names: Sequence[str],
        rules: Rules | None = None,
        heads: bool = False,
    ) -> Attention:
        """Attention of one batch, with the score's gradient where there is a target."""
        gradient = target is not None
        if gradient:
            check_differentiable(self.model)
        with contextlib.ExitStack() as whole:
            whole.enter_context(paddle.enable_grad() if gradient else paddle.no_grad())
            if gradient:
                whole.enter_context(cured())
            while True:
                tensors: list[Tensor] = []
                with contextlib.ExitStack() as stack:
                    active = (
                        stack.enter_context(rules.applied(copy_of(self.model))) if rules else None
                    )
                    if gradient and (active is None or not active.looks):
                        stack.enter_context(quickened())
                    captured = watch(stack, self.layer, names, None, leaves=gradient)
                    if not names:  # within the rules, so that what they give is kept
                        stack.enter_context(attending(tensors, count(part), heads=heads))
                    seen = Seen(stack, copy_of(self.model), [])
                    x = self._tensors(part)
                    self._plan.measure(stack, self._layers.values(), x, gradient)
                    if active:  # what depends on the input has its part in products and sums
                        for tensor in listed(x):
                            tensor.stop_gradient = not tensor.is_floating_point()
                        active.begin(listed(x)[0])
                    raw = self._call(each(x, lambda tensor: tensor.clone()))
                    if active is None or active.settled(self._read.pick(raw)):
                        break
            output = self._read(raw, lambda see: self._look(part, see))
            tensors += captured().values()
            if not tensors:
                raise UnsupportedModelError(
                    "this model does not attend: no softmax over [N, heads, T, S] has run. Take a "
                    "method for convolutional networks, such as grad_cam"
                )
            check_met(tensors)
            size = seen.size(tensors[-1].shape[-1], count(part))
            found = Attention(to_numpy(output), np.empty(0), size=size)
            if target is not None:
                score = checked_score(target, rows, output)
                found.scores = to_numpy(score)
                start = active.start(score) if active else score
                found.gradients = let_go(gradients_at(tensors, start))
            found.maps = let_go(tensors)
            if self._within is not None and self._within.positions is not None:
                found.keep(self._within.positions, heads=heads)
        return found

    def _chunks(
        self,
        x: Inputs,
        run: Callable[[NDArray[np.int64], Inputs], Any],
        *,
        gradient: bool = True,
        group: int = 1,
    ) -> list[Any]:
        """`run` on parts of x that fit in memory; the parts' results in order."""
        x = checked(x)
        results: list[Any] = []
        start, n = 0, count(x)
        limit = n
        with as_it_was(self.model):
            while start < n:
                # The first batch, of this call or of all that were announced, is one item even when
                # the plan is known: a call repeated gives the same bits.
                planned = self.batch_plan(x, gradient=gradient)
                engine = self._gradient_engine if gradient else self._engine
                if not engine.begun and self._plan.fixed is None:
                    planned = 1
                size = min(limit, planned, n - start)
                size = max(group, size // group * group)
                try:
                    part = rows_of(x, slice(start, start + size))
                    results.append(run(np.arange(start, start + size), part))
                except MemoryError:
                    if size == group:
                        raise ResourceError(
                            f"out of memory with {group} item(s) of shape "
                            f"{' and '.join(str(list(part.shape[1:])) for part in listed(x))}; "
                            "give smaller inputs, a smaller model, or free memory on the device"
                        ) from None
                    limit = size // 2
                else:
                    start += size
                    engine.begun = True
        return results

    def _call(self, x: Any) -> Any:
        """What the model returns for an input, or for one that takes its place in another."""
        if self._within is None:
            return self._whole(x)
        return self._within.run(x, self._tensors, self.layer, self._whole)

    def _whole(self, x: Any) -> Any:
        """What the model returns, or the output of the layer at which it is to end."""
        if self._end is None:
            return call(copy_of(self.model), x)
        with contextlib.ExitStack() as stack:
            captured = watch(stack, self.layer, [self._end], None, leaves=False)
            call(copy_of(self.model), x)
            return captured()[self._end]

    def _tensors(self, x: Inputs) -> Any:
        """x as the parameters of the copy are: their dtype for floats, their device."""
        parameters = copy_of(self.model).parameters()
        parameter = next((p for p in parameters if p.is_floating_point()), None)
        return tensors(x, None if parameter is None else parameter.dtype, place_of(self.model))

    def _look(self, x: Inputs, see: Callable[[Tensor], Any]) -> Any:
        """What `see` makes of the output for the first image, connected to it."""
        with paddle.enable_grad(), cured("rnn"):  # without it the backward pass below would fail
            first = self._tensors(rows_of(x, slice(1)))
            for tensor in listed(first):
                tensor.stop_gradient = not tensor.is_floating_point()
            output = self._read.pick(self._call(each(first, lambda t: t.clone())))
            try:
                return see(output)
            finally:
                # Paddle never frees a graph that was looked at; a backward pass frees its tensors.
                if not output.stop_gradient:
                    output.sum().backward()
