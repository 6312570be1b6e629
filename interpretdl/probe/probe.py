"""The one place that runs a user's model, and leaves it as it was."""

from __future__ import annotations

import contextlib
from collections import Counter
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
from ..targets import TargetLike, as_target, checked_score
from .batches import BatchPlan
from .graph import census_of
from .hooks import (
    INPUT,
    Array,
    Edits,
    Gradients,
    Rules,
    Tensor,
    concatenated,
    gradients_at,
    to_numpy,
    watch,
)
from .inputs import Inputs, call, checked, count, each, in_place_of, listed, rows_of, tensors
from .operations import cured
from .output import OutputKind, OutputReader
from .spatial import Seen, Spatial, names_of
from .state import as_it_was, check_device, check_differentiable, copy_of, place_of, refuse_program

__all__ = ["Probe"]


class Probe:
    """Runs a model and leaves no trace on it.

    A copy of the model's layers runs, in eval mode, with the model's own parameters, frozen. The
    model itself is not touched: other threads may run it meanwhile, and nothing that a forward pass
    keeps in the layers stays. The global random state is put back.

    Args:
        model: paddle.nn.Layer whose arguments have one row per item.
        device: None (where the model's parameters are), "cpu", "gpu", "gpu:0". A GPU that is not
            there falls back to the CPU with one warning.
        output: which part of the model's output is explained: an index (tuple, list), a key
            (dict) or a callable. Needed when the model returns several.
        batch_size: most images in one run; None plans it from the memory that is free.
        output_kind: "logits" or "probabilities" (a model that ends in a softmax: its logarithm
            is then taken as the logits); None notices a softmax and warns once.

    Raises:
        InputError: an argument that does not fit.
    """

    def __init__(
        self,
        model: Any,
        device: str | None = None,
        output: int | str | Callable[[Any], Tensor] | None = None,
        batch_size: int | None = None,
        output_kind: OutputKind | None = None,
    ) -> None:
        if not isinstance(model, paddle.nn.Layer):
            network = getattr(model, "network", None)
            if not isinstance(network, paddle.nn.Layer):
                kind = type(model).__name__
                raise InputError(f"model must be a paddle.nn.Layer or a paddle.Model; got {kind}")
            model = network
        self.model = model
        self.output, self.output_kind = output, output_kind
        self._read = OutputReader(output, output_kind)
        self._plan = BatchPlan(batch_size)
        check_device(model, device)

    @property
    def _layers(self) -> dict[str, Any]:
        """Asked anew each time: a layer may have been exchanged for another."""
        return dict(copy_of(self.model).named_sublayers())

    # -- what can be asked ---------------------------------------------------------------------

    def logits(self, x: Inputs, *, edit: Edits | None = None) -> Array:
        """The model's output, [N, K] for a classifier, without gradient."""
        return self.forward(x, edit=edit).outputs

    def scores(self, x: Inputs, target: TargetLike, *, edit: Edits | None = None) -> Array:
        """The target's score of each item, [N], without gradient."""
        return self.forward(x, target, edit=edit).scores

    def activations(
        self, x: Inputs, layers: str | Sequence[str], *, edit: Edits | None = None
    ) -> dict[str, Array]:
        """Outputs of layers, {name: [N, ...]}, without gradient; see `forward`."""
        return self.forward(x, None, layers, edit=edit).activations

    def forward(
        self,
        x: Inputs,
        target: TargetLike | None = None,
        layers: str | Sequence[str] | Spatial = (),
        *,
        edit: Edits | None = None,
    ) -> Gradients:
        """Outputs, scores of a target and outputs of layers from one pass without gradient.

        Args:
            x: an array [N, ...], or a tuple or dict of arrays: the model's arguments. Floats are
                given to the model as its parameters are, other numbers as they are.
            target: the score, see `interpretdl.targets`; class indexes are a ClassScore. None: no
                scores.
            layers: names of sublayers; "name:input" is what goes into the layer. A layer that runs
                several times counts with its last run. `Spatial(names)`: `grids` is given too.
            edit: {layer: function}; the layer's output is replaced by function(output). The new
                value may have another number of rows when the input has one.
        """
        names, spatial = names_of(layers)
        target = None if target is None else as_target(target)
        return concatenated(
            self._chunks(
                x,
                lambda rows, part: self._forward(part, rows, target, names, edit, spatial),
                gradient=False,
            )
        )

    def gradients(
        self,
        x: Inputs,
        target: TargetLike,
        at: str | Sequence[str] | Spatial | None = None,
        rules: Rules | None = None,
        *,
        edit: Edits | None = None,
        with_input: bool = False,
        group: int = 1,
    ) -> Gradients:
        """Gradient of the target's score.

        Args:
            x, target: see `forward`. The gradient is with respect to the arrays of floats.
            at: layers whose activation and gradient are wanted; None: the input's gradient. With
                `at` only what follows the layers is run backward. Where no input is an array of
                floats, such as a text's token ids, `at` is needed: the embedding. `Spatial()`:
                the last layer that is spread over the picture, found in the same run.
            rules: a composite; gradients are then those that the rules give.
            edit: see `activations`.
            with_input: the input's gradient as well as those `at` layers.
            group: images that must be in one batch: cuts are made at multiples of it only.

        Raises:
            InputError, TargetError, LayerNotFoundError, UnsupportedModelError, ResourceError.
        """
        return self.gradients_of(
            x, [target], at, rules, edit=edit, with_input=with_input, group=group
        )[0]

    def gradients_of(
        self,
        x: Inputs,
        targets: Sequence[TargetLike],
        at: str | Sequence[str] | Spatial | None = None,
        rules: Rules | None = None,
        *,
        edit: Edits | None = None,
        with_input: bool = False,
        group: int = 1,
    ) -> list[Gradients]:
        """`gradients` for several targets with one forward pass and a backward pass for each."""
        names, spatial = names_of(at)
        how = rules, edit, with_input or not (names or spatial), spatial
        targets = [as_target(target) for target in targets]
        results = self._chunks(
            x,
            lambda rows, part: self._backward(part, rows, targets, names, *how),
            group=group,
        )
        return [concatenated(list(parts)) for parts in zip(*results, strict=True)]

    def layer_names(self) -> list[str]:
        """Names of all sublayers, as `named_sublayers` gives them."""
        return list(self._layers)

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

    def layer_shapes(self, x: Inputs) -> dict[str, tuple[int, ...]]:
        """Shape of each layer's output in a run of one item, in the order in which they finish."""
        return self._seen(x)[0].shapes

    def last_spatial_layer(self, x: Inputs) -> str:
        """Name of the last layer [N, C, h, w] inside, h and w above 1, whatever the target.

        Attention is not taken.

        Raises:
            UnsupportedModelError: no layer has such an output.
        """
        seen, final = self._seen(x)
        return seen.last(1, final)

    def _seen(self, x: Inputs) -> tuple[Seen, Tensor]:
        """What the layers give for the first item, and the output as the model gives it."""
        with as_it_was(self.model), contextlib.ExitStack() as stack, paddle.no_grad():
            seen = Seen(stack, copy_of(self.model))
            first = self._tensors(rows_of(checked(x), slice(1)))
            return seen, self._read.pick(call(copy_of(self.model), first))

    def census(self, x: Inputs) -> Counter[str]:
        """How often each operation ran between the input and the output, for the first image.

        Functional and fused operations included; names such as "relu", "conv2d", "batch_norm".
        """
        with as_it_was(self.model):
            counts: Counter[str] = self._look(checked(x), census_of)
            return counts

    def batch_plan(self, x: Inputs, *, gradient: bool = True) -> int:
        """How many items of x's shape are run at once: the largest batch that pays and fits."""
        return self._plan.size(x, place_of(self.model), gradient)

    # -- runs ----------------------------------------------------------------------------------

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
            with contextlib.ExitStack() as stack:
                captured = watch(stack, self.layer, names, edit, leaves=False)
                seen = Seen(stack, copy_of(self.model), names) if spatial else None
                x = self._tensors(part)
                self._plan.measure(stack, self._layers.values(), x, False)
                raw = call(copy_of(self.model), x)
            output = self._read(raw, lambda see: self._look(part, see))
            return Gradients(
                scores=np.empty(0)
                if target is None
                else to_numpy(checked_score(target, rows, output)),
                outputs=to_numpy(output),
                activations={name: to_numpy(t) for name, t in captured().items()},
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
                    captured = watch(stack, self.layer, names, edit, leaves=True)
                    seen = Seen(stack, copy_of(self.model), names or None) if spatial else None
                    self._plan.measure(stack, self._layers.values(), x, True)
                    # A copy: a model that works in place may not write on a leaf.
                    copy = active.begin(x) if active else each(x, lambda tensor: tensor.clone())
                    raw = call(copy_of(self.model), copy)
                    if active is None or active.settled(self._read.pick(raw)):
                        break
            output = self._read(raw, lambda see: self._look(part, see))
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
                    return self._backward(
                        part, rows, targets, names, rules, edit, with_input, spatial
                    )
            sources = (active.leaves or floats) if active and with_input else floats
            leaves = [*sources, *inside.values()]
            results = []
            for i, score in enumerate(scores):
                grads = gradients_at(leaves, score, more=i + 1 < len(scores))
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
                results.append(result)
            return results

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
                # The first batch is one item even when the plan is known: a call repeated gives
                # the same bits.
                planned = self.batch_plan(x, gradient=gradient)
                if start == 0 and self._plan.fixed is None:
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
        return results

    def _tensors(self, x: Inputs) -> Any:
        """x as the model's parameters are: their dtype for floats, their device."""
        parameter = next((p for p in self.model.parameters() if p.is_floating_point()), None)
        return tensors(x, None if parameter is None else parameter.dtype, place_of(self.model))

    def _look(self, x: Inputs, see: Callable[[Tensor], Any]) -> Any:
        """What `see` makes of the output for the first image, connected to it."""
        with paddle.enable_grad(), cured("rnn"):  # without it the backward pass below would fail
            first = self._tensors(rows_of(x, slice(1)))
            for tensor in listed(first):
                tensor.stop_gradient = not tensor.is_floating_point()
            output = self._read.pick(call(copy_of(self.model), each(first, lambda t: t.clone())))
            try:
                return see(output)
            finally:
                # Paddle never frees a graph that was looked at; a backward pass frees its tensors.
                if not output.stop_gradient:
                    output.sum().backward()
