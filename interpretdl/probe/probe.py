"""The one place that runs a user's model, and leaves it as it was."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

from ..errors import InputError, UnsupportedModelError
from ..targets import TargetLike, as_target
from .attention import Attention
from .engine import EngineKind
from .graph import census_of
from .hooks import Array, Edits, Gradients, Rules, Tensor, concatenated, embeddings
from .inputs import Inputs, checked, count, listed, rows_of
from .output import OutputKind
from .runs import Runs
from .spatial import Seen, Spatial, names_of
from .state import as_it_was, check_device, check_precision, copy_of
from .within import Within

__all__ = ["Probe"]


class Probe(Runs):
    """Runs a model and leaves no trace on it.

    A copy of the model's layers runs, in eval mode, with the model's own parameters, frozen. The
    model itself is not touched: other threads may run it meanwhile, and nothing that a forward pass
    keeps in the layers stays. The global random state is put back.

    Args:
        model: paddle.nn.Layer whose arguments have one row per item, or a paddle.Model or
            paddle.DataParallel of one. One in half precision is run in float32.
        device: None (where the model's parameters are), "cpu", "gpu", "gpu:0". A GPU that is not
            there falls back to the CPU with one warning.
        output: which part of the model's output is explained: an index (tuple, list), a key
            (dict) or a callable. Needed when the model returns several.
        batch_size: most images in one run; None plans it from the memory that is free.
        output_kind: "logits" or "probabilities" (a model that ends in a softmax: its logarithm
            is then taken as the logits); None notices a softmax and warns once.
        engine: what runs forward passes, and gradients of a class's score by the input.
            "dygraph": Paddle's layers. "onednn": a program traced from them, run by oneDNN on the
            CPU, whose outputs are held against the layers' (1e-5 of the largest; gradients 2 %,
            for the kinks of ReLUs) before it is used; where that fails the layers run, with
            a warning. "onednn-bf16": likewise in bfloat16, faster and far less exact, no
            gradients. None: a program where so many passes are to come that tracing, some
            seconds, pays.

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
        engine: EngineKind | None = None,
    ) -> None:
        given = model
        while not isinstance(model, paddle.nn.Layer) or isinstance(model, paddle.DataParallel):
            model = getattr(
                model, "_layers" if isinstance(model, paddle.nn.Layer) else "network", 0
            )
            if not isinstance(model, paddle.nn.Layer):
                raise InputError(
                    "model must be a paddle.nn.Layer, a paddle.Model or a paddle.DataParallel; got "
                    f"{type(given).__name__}. Derive its class from paddle.nn.Layer: a model is "
                    "run as a copy, which needs its layers"
                )
        super().__init__(model, output, output_kind, batch_size, engine)
        check_device(model, device)
        check_precision(model)

    def at_layer(self, name: str) -> Probe:
        """A probe of the same model whose output is that layer's, [N, C, h, w] or another shape.

        Raises:
            LayerNotFoundError: no such layer.
        """
        self.layer(name)
        part = Probe(self.model, None, None, self._plan.fixed, "logits", "dygraph")
        part._end = name
        return part

    def within(
        self, given: Inputs, positions: NDArray[np.int64], layer: str | None = None
    ) -> Probe:
        """A probe of the same model whose input [n, t, ...] is a part of one item, such as a text.

        Args:
            given: the item: the model's arguments, with one row each.
            positions: int64 [t], ascending: which positions of axis 1 the input stands for.
            layer: the input are values of this layer's output, such as an embedding's. None: of the
                first argument.

        Raises:
            LayerNotFoundError: no such layer.
        """
        if layer is not None:
            self.layer(layer)
        return self._with(Within(checked(given), positions, layer))

    def among(self, given: Inputs, argument: int | str) -> Probe:
        """A probe of the same model whose input is one of its arguments; the others are kept.

        Args:
            given: an item: the model's arguments in a tuple or dict, with one row each.
            argument: the position or name of the one that is the input.
        """
        return self._with(Within(checked(given), None, None, argument))

    def _with(self, within: Within) -> Probe:
        part = Probe(self.model, None, self.output, self._plan.fixed, self.output_kind, "dygraph")
        part._end, part._within = self._end, within
        part._read = self._read  # what was noticed of the output
        return part

    def embedding(self, x: Inputs) -> str:
        """Name of the layer that turns the first argument, token ids [N, T], into vectors.

        Raises:
            UnsupportedModelError: no layer takes the ids as they are, or several do.
        """
        first = rows_of(checked(x), slice(1))
        with as_it_was(self.model), contextlib.ExitStack() as stack, paddle.no_grad():
            found = embeddings(stack, self._layers, listed(first)[0])
            self._call(self._tensors(first))
        names = [name for name in found if "word" in name or "tok" in name] or found
        if len(names) != 1:
            raise UnsupportedModelError(
                (f"the layers {', '.join(names)} all take" if names else "no layer takes")
                + " the token ids as they are and give a vector for each; name the embedding: "
                'TextPreprocessing(embedding="...")'
            )
        return names[0]

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
        x = checked(x)
        with self.many(count(x)):
            return concatenated(
                self._chunks(
                    x,
                    lambda rows, part: self._forward(part, rows, target, names, edit, spatial),
                    gradient=False,
                )
            )

    @contextlib.contextmanager
    def many(self, passes: int, *, gradient: bool = False) -> Iterator[None]:
        """A context in which about so many items are run, in calls of any number, without gradient
        or with.

        Where that is worth it a program runs them, see `engine`. Inside another announcement the
        outer one counts.
        """
        engine = self._gradient_engine if gradient else self._engine
        with engine.announced(passes), as_it_was(self.model):
            yield

    def cuts(self, x: Inputs, n: int) -> Iterator[NDArray[np.int64]]:
        """Positions in [0, n), as many as are run at once without gradient, for items like x's that
        are made when they are needed.

        The first part is one item, in which is learned how many fit: so the cut, on which the last
        digits depend, is the same whether that was known before or not.
        """
        start = 0
        while start < n:
            first = start == 0 and self._plan.fixed is None
            size = 1 if first else self.batch_plan(x, gradient=False)
            yield np.arange(start, min(n, start + size))
            start += size

    @property
    def ran_by(self) -> str:
        """What ran the last passes where that was decided: "onednn", or "dygraph:" and why; else
        empty.
        """
        return self._gradient_engine.note or self._engine.note

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
        x = checked(x)
        with self.many(count(x), gradient=True):
            results = self._chunks(
                x,
                lambda rows, part: self._backward(part, rows, targets, names, *how),
                group=group,
            )
        return [concatenated(list(parts)) for parts in zip(*results, strict=True)]

    def attention(
        self,
        x: Inputs,
        target: TargetLike | None = None,
        layers: Sequence[str] = (),
        rules: Rules | None = None,
        *,
        heads: bool = False,
    ) -> Attention:
        """Attention of each layer for the items, and the score's gradient with respect to it.

        Attention is met at the softmax, in whatever way the model is written.

        Args:
            x, target: see `forward`.
            layers: names of layers that give attention, in place of the softmax.
            rules: a composite; gradients are then those that the rules give.
            heads: what each head gives, attention times values [N, heads, T, D], and the gradient
                with respect to that, in the place of attention.

        Raises:
            UnsupportedModelError: the model does not attend, or within windows; and as `gradients`.
        """
        target = None if target is None else as_target(target)
        x, gradient = checked(x), target is not None
        with self.many(count(x), gradient=gradient):
            return Attention.joined(
                self._chunks(
                    x,
                    lambda rows, part: self._attend(part, rows, target, layers, rules, heads),
                    gradient=gradient,
                )
            )

    def layer_names(self) -> list[str]:
        """Names of all sublayers, as `named_sublayers` gives them."""
        return list(self._layers)

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
            return seen, self._read.pick(self._call(first))

    def census(self, x: Inputs) -> Counter[str]:
        """How often each operation ran between the input and the output, for the first image.

        Functional and fused operations included; names such as "relu", "conv2d", "batch_norm".
        """
        with as_it_was(self.model):
            counts: Counter[str] = self._look(checked(x), census_of)
            return counts
