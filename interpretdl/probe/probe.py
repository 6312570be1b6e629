"""The one place that runs a user's model, and leaves it as it was."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import paddle
from numpy.typing import NDArray

from ..errors import (
    InputError,
    LayerNotFoundError,
    ResourceError,
    TargetError,
    UnsupportedModelError,
    did_you_mean,
)
from ..targets import TargetLike, take
from .batches import BatchPlan
from .graph import census_of
from .hooks import INPUT, Array, Edits, Gradients, Tensor, concatenated, to_numpy, watch
from .operations import cured
from .output import OutputKind, OutputReader
from .state import as_it_was, check_device, place_of

__all__ = ["Array", "Edits", "Gradients", "Probe", "Rules", "RulesRun", "Tensor"]


class RulesRun(Protocol):
    """A composite's rules, attached to a model for one run."""

    leaves: list[Tensor]
    """After the forward pass: tensors t whose sum of t * gradient is the input's relevance;
    empty when that is the input alone."""

    def begin(self, x: Tensor) -> Tensor:
        """Called with the input; returns what the model is given."""

    def settled(self, output: Tensor) -> bool:
        """Called after the forward pass; False asks for it to be run again.

        Raises:
            UnsupportedModelError: the rules did not reach an operation that they must.
        """


class Rules(Protocol):
    """What the probe needs of a composite of rules (see `interpretdl.rules`)."""

    def applied(self, model: Any) -> contextlib.AbstractContextManager[RulesRun]:
        """Attach the rules until the context ends."""


class Probe:
    """Runs a model and leaves no trace on it.

    On return, on error and on Ctrl-C alike the parameters, buffers, every sublayer's `training`,
    every `stop_gradient` and `.grad`, the hooks and the global random state are what they were.
    While it runs, the model is in eval mode with its parameters frozen.

    Args:
        model: paddle.nn.Layer, input Tensor [N, C, H, W] (or any shape whose first axis is N).
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
                raise InputError(
                    f"model must be a paddle.nn.Layer or a paddle.Model; got {type(model).__name__}"
                )
            model = network
        self.model = model
        self.output, self.output_kind = output, output_kind
        self._read = OutputReader(output, output_kind)
        self._plan = BatchPlan(batch_size)
        check_device(model, device)

    @property
    def _layers(self) -> dict[str, Any]:
        """Asked anew each time: a layer may have been exchanged for another."""
        return dict(self.model.named_sublayers())

    # -- what can be asked ---------------------------------------------------------------------

    def logits(self, x: Array, *, edit: Edits | None = None) -> Array:
        """The model's output, [N, K] for a classifier, without gradient."""
        return self._run(x, edit=edit).outputs

    def scores(self, x: Array, target: TargetLike, *, edit: Edits | None = None) -> Array:
        """The target's score of each image, [N], without gradient."""
        return self._run(x, target, edit=edit).scores

    def activations(
        self, x: Array, layers: str | Sequence[str], *, edit: Edits | None = None
    ) -> dict[str, Array]:
        """Outputs of layers, {name: [N, ...]}, without gradient.

        Args:
            layers: names of sublayers; "name:input" is what goes into the layer. A layer that runs
                several times counts with its last run.
            edit: {layer: function}; the layer's output is replaced by function(output). The new
                value may have another number of rows when the input has one.
        """
        names = [layers] if isinstance(layers, str) else list(layers)
        return self._run(x, names=names, edit=edit).activations

    def gradients(
        self,
        x: Array,
        target: TargetLike,
        at: str | Sequence[str] | None = None,
        rules: Rules | None = None,
        *,
        edit: Edits | None = None,
        with_input: bool = False,
        group: int = 1,
    ) -> Gradients:
        """Gradient of the target's score.

        Args:
            x: float [N, C, H, W].
            target: the score, see `interpretdl.targets`.
            at: layers whose activation and gradient are wanted; None: the input's gradient. With
                `at` only what follows the layers is run backward.
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
        x: Array,
        targets: Sequence[TargetLike],
        at: str | Sequence[str] | None = None,
        rules: Rules | None = None,
        *,
        edit: Edits | None = None,
        with_input: bool = False,
        group: int = 1,
    ) -> list[Gradients]:
        """`gradients` for several targets with one forward pass and a backward pass for each."""
        names = [at] if isinstance(at, str) else list(at or ())
        with_input = with_input or not names
        results = self._chunks(
            x,
            lambda rows, part: self._backward(part, rows, targets, names, rules, edit, with_input),
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
            hint = did_you_mean(str(name), self._layers)
            if not hint:
                hint = f"; it has {', '.join(list(self._layers)[:8])}, … (probe.layer_names())"
            raise LayerNotFoundError(f"the model has no layer {name!r}{hint}") from None

    def layer_shapes(self, x: Array, *, inner: bool = False) -> dict[str, tuple[int, ...]]:
        """Shape of each layer's output in a run of one image, in the order in which they finish.

        `inner` leaves out layers whose output is the model's.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        outputs: dict[str, Tensor] = {}

        def note(name: str) -> Callable[..., None]:
            def hook(layer: Any, inputs: Any, output: Any) -> None:
                if isinstance(output, paddle.Tensor):
                    shapes.pop(name, None)
                    shapes[name] = tuple(output.shape)
                    outputs[name] = output

            return hook

        with as_it_was(self.model), contextlib.ExitStack() as stack, paddle.no_grad():
            for name, layer in self._layers.items():
                stack.callback(layer.register_forward_post_hook(note(name)).remove)
            final = self._read.pick(self.model(self._tensor(self._checked(x)[:1])))
        return {n: s for n, s in shapes.items() if not (inner and outputs[n] is final)}

    def last_spatial_layer(self, x: Array) -> str:
        """Name of the last layer inside whose output has a height and a width above 1.

        Raises:
            UnsupportedModelError: no layer has one.
        """
        shapes = self.layer_shapes(x, inner=True)
        for name in reversed(shapes):
            if len(shapes[name]) == 4 and min(shapes[name][2:]) > 1:
                return name
        raise UnsupportedModelError(
            "no layer of this model has an output [N, C, h, w] with h and w above 1; name a layer "
            "with target_layer_name= (and reshape_transform= if its output is not spatial)"
        )

    def census(self, x: Array) -> Counter[str]:
        """How often each operation ran between the input and the output, for the first image.

        Functional and fused operations included; names such as "relu", "conv2d", "batch_norm".
        """
        with as_it_was(self.model):
            counts: Counter[str] = self._look(self._checked(x), census_of)
            return counts

    def batch_plan(self, x: Array, *, gradient: bool = True) -> int:
        """How many images of x's shape are run at once: the largest batch that pays and fits."""
        return self._plan.size(np.shape(x)[1:], place_of(self.model), gradient)

    # -- runs ----------------------------------------------------------------------------------

    def _run(self, x: Array, *args: Any, **options: Any) -> Gradients:
        parts = self._chunks(
            x, lambda rows, part: self._forward(part, rows, *args, **options), gradient=False
        )
        return concatenated(parts)

    def _forward(
        self,
        part: Array,
        rows: NDArray[np.int64],
        target: TargetLike | None = None,
        names: Sequence[str] = (),
        edit: Edits | None = None,
    ) -> Gradients:
        with paddle.no_grad():
            with contextlib.ExitStack() as stack:
                captured = watch(stack, self.layer, names, edit, leaves=False)
                x = self._tensor(part)
                self._plan.measure(stack, self._layers.values(), x, False)
                raw = self.model(x)
            output = self._read(raw, lambda see: self._look(part, see))
            return Gradients(
                scores=to_numpy(self._score(target, rows, output)) if target else np.empty(0),
                outputs=to_numpy(output),
                activations={name: to_numpy(t) for name, t in captured().items()},
            )

    def _backward(
        self,
        part: Array,
        rows: NDArray[np.int64],
        targets: Sequence[TargetLike],
        names: Sequence[str],
        rules: Rules | None,
        edit: Edits | None,
        with_input: bool,
    ) -> list[Gradients]:
        with paddle.enable_grad(), cured():
            x = self._tensor(part)
            x.stop_gradient = not with_input
            while True:
                with contextlib.ExitStack() as stack:
                    active = stack.enter_context(rules.applied(self.model)) if rules else None
                    captured = watch(stack, self.layer, names, edit, leaves=True)
                    self._plan.measure(stack, self._layers.values(), x, True)
                    # A copy: a model that works in place may not write on a leaf.
                    raw = self.model(active.begin(x) if active else x.clone())
                    if active is None or active.settled(self._read.pick(raw)):
                        break
            output = self._read(raw, lambda see: self._look(part, see))
            tensors = captured()
            sources = (active.leaves if active and active.leaves else [x]) if with_input else []
            leaves = [*sources, *tensors.values()]
            results = []
            for i, target in enumerate(targets):
                score = self._score(target, rows, output)
                if score.stop_gradient:
                    reason = "does not depend on the input through differentiable operations"
                    raise UnsupportedModelError(f"the score {reason}")
                more = i + 1 < len(targets)
                found = paddle.grad(score, leaves, retain_graph=more, allow_unused=True)
                pairs = zip(leaves, found, strict=True)
                grads = [paddle.zeros_like(t) if g is None else g for t, g in pairs]
                at = dict(zip(tensors, map(to_numpy, grads[len(sources) :]), strict=True))
                result = Gradients(
                    scores=to_numpy(score),
                    outputs=to_numpy(output),
                    activations={name: to_numpy(t) for name, t in tensors.items()},
                    gradients=at,
                )
                if sources and sources[0] is x:
                    result.input = to_numpy(grads[0])
                if sources and active is not None:
                    parts = [to_numpy(t * g) for t, g in zip(sources, grads, strict=False)]
                    result.relevance = np.sum(parts, axis=0)
                results.append(result)
            return results

    def _chunks(
        self,
        x: Array,
        run: Callable[[NDArray[np.int64], Array], Any],
        *,
        gradient: bool = True,
        group: int = 1,
    ) -> list[Any]:
        """`run` on parts of x that fit in memory; the parts' results in order."""
        x = self._checked(x)
        results: list[Any] = []
        start, limit = 0, len(x)
        with as_it_was(self.model):
            while start < len(x):
                # The first batch is one image even when the plan is known: a call repeated gives
                # the same bits.
                planned = self.batch_plan(x, gradient=gradient)
                if start == 0 and self._plan.fixed is None:
                    planned = 1
                size = min(limit, planned, len(x) - start)
                size = max(group, size // group * group)
                rows = np.arange(start, start + size)
                try:
                    results.append(run(rows, x[start : start + size]))
                except MemoryError:
                    if size == group:
                        raise ResourceError(
                            f"out of memory with {group} image(s) of shape {list(x.shape[1:])}; "
                            "give smaller images, a smaller model, or free memory on the device"
                        ) from None
                    limit = size // 2
                else:
                    start += size
        return results

    def _checked(self, x: Array) -> Array:
        x = x.numpy() if isinstance(x, paddle.Tensor) else np.asarray(x)
        if x.ndim < 2 or 0 in x.shape:
            raise InputError(
                f"x must be an array [N, C, H, W] with no empty axis; got shape {list(x.shape)}"
            )
        if x.dtype.kind != "f":
            raise InputError(f"x must hold floating-point numbers; got {x.dtype}")
        return x

    def _tensor(self, x: Array) -> Tensor:
        """x as the model's parameters are: their dtype, their device."""
        parameter = next((p for p in self.model.parameters() if p.is_floating_point()), None)
        tensor = paddle.to_tensor(np.ascontiguousarray(x), place=place_of(self.model))
        return tensor if parameter is None else tensor.astype(parameter.dtype)

    def _look(self, x: Array, see: Callable[[Tensor], Any]) -> Any:
        """What `see` makes of the output for the first image, connected to it."""
        with paddle.enable_grad():
            tensor = self._tensor(x[:1])
            tensor.stop_gradient = False
            output = self._read.pick(self.model(tensor.clone()))
            try:
                return see(output)
            finally:
                # Paddle never frees a graph that was looked at; a backward pass frees its tensors.
                if not output.stop_gradient:
                    output.sum().backward()

    def _score(self, target: TargetLike, rows: NDArray[np.int64], output: Tensor) -> Tensor:
        # With edits one input row may become many output rows; the target then is about those.
        score = (take(target, rows) if len(rows) == len(output) else target)(output)
        if not isinstance(score, paddle.Tensor) or list(score.shape) != [len(output)]:
            got = list(score.shape) if isinstance(score, paddle.Tensor) else type(score).__name__
            raise TargetError(
                f"a target must return one score per image, a Tensor [{len(output)}]; got {got}"
            )
        return score
