"""InterpretDL's abstract interpreters: a `predict_fn` is ready, a subclass writes `interpret`.

    class SmoothGradient(InputGradientInterpreter):
        def interpret(self, x, labels, n_samples=50):
            self._build_predict_fn(gradient_of="probability")
            noise = np.random.default_rng(0).normal(0, 0.1, (n_samples, *x.shape))
            noisy = (x + noise).astype("float32")
            return np.mean([self.predict_fn(each, labels)[0] for each in noisy], axis=0)

Each run leaves the model as it was. Labels, features, gradients and probabilities are NumPy arrays.
Methods that are to have `explain`, evaluators and the command line write `attribute` instead, see
`interpretdl.Interpreter`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, LayerNotFoundError
from ..hints import check_value
from ..probe import Edits, Inputs, Tensor
from ..targets import ScoreKind
from ..tensors import from_numpy
from .base import Interpreter
from .compat import class_score, input_gradients, labels_of, softmax

__all__ = [
    "InputGradientInterpreter",
    "InputOutputInterpreter",
    "IntermediateGradientInterpreter",
    "IntermediateLayerInterpreter",
    "Interpreter",
    "TransformerInterpreter",
]

Array = NDArray[Any]


class InputGradientInterpreter(Interpreter):
    """Base of methods that look at the gradient of the input."""

    def _build_predict_fn(
        self, rebuild: bool = False, gradient_of: ScoreKind = "probability"
    ) -> None:
        """`predict_fn(inputs, labels=None)` gives gradient, labels and probabilities.

        Args:
            rebuild: also in the place of a `predict_fn` of your own.
            gradient_of: which score of the class, see `ClassScore`.
        """
        check_value("gradient_of", gradient_of, ScoreKind)
        self._make(input_gradients(self.probe, gradient_of), rebuild)


class InputOutputInterpreter(Interpreter):
    """Base of methods that look at how the output follows the input."""

    def _build_predict_fn(self, rebuild: bool = False, output: str = "probability") -> None:
        """`predict_fn(inputs, label=None)` gives outputs [N, K], labels [N] and probabilities.

        Args:
            rebuild: also in the place of a `predict_fn` of your own.
            output: the outputs are "probability" or "logit".
        """
        if output not in ("probability", "logit"):
            raise InputError(f"output must be 'probability' or 'logit'; got {output!r}")

        def predict_fn(inputs: Inputs, label: Any = None) -> tuple[Array, Array, Array]:
            logits = self.probe.logits(inputs)
            probabilities = softmax(logits)
            shown = logits if output == "logit" else probabilities
            return shown, labels_of(label, logits), probabilities

        self._make(predict_fn, rebuild)


class IntermediateLayerInterpreter(Interpreter):
    """Base of methods that look at what inner layers give."""

    def _build_predict_fn(
        self,
        rebuild: bool = False,
        target_layer: str | None = None,
        target_layer_pattern: str | None = None,
    ) -> None:
        """`predict_fn(data)` gives a list of features, probabilities [N, K] and top classes [N].

        Args:
            rebuild: also in the place of a `predict_fn` of your own.
            target_layer: the layer's name.
            target_layer_pattern: or a regular expression that the names of several begin with.
        """
        if (target_layer is None) == (target_layer_pattern is None):
            raise InputError("give target_layer or target_layer_pattern, one of the two")
        names = (
            [target_layer] if target_layer is not None else named_layers(self, target_layer_pattern)
        )

        def predict_fn(data: Inputs) -> tuple[list[Array], Array, Array]:
            run = self.probe.forward(data, layers=names)
            features = [run.activations[name] for name in names]
            return features, softmax(run.outputs), labels_of(None, run.outputs)

        self._make(predict_fn, rebuild)


class IntermediateGradientInterpreter(Interpreter):
    """Base of methods that look at an inner layer, such as an embedding, and its gradient."""

    def _build_predict_fn(
        self,
        rebuild: bool = False,
        layer_name: str = "word_embeddings",
        gradient_of: ScoreKind = "probability",
    ) -> None:
        """`predict_fn(inputs, label=None, scale=None, noise_amount=None)` gives the gradient at the
        layer, labels, the layer's features, and probabilities.

        `scale` multiplies what the layer gives; `noise_amount` adds normal noise, of that part of
        the size of the features' mean.

        Args:
            rebuild: also in the place of a `predict_fn` of your own.
            layer_name: the layer's name or a part of it; the first layer with it in its name.
            gradient_of: which score of the class, see `ClassScore`.
        """
        check_value("gradient_of", gradient_of, ScoreKind)
        name = named_layers(self, f".*{re.escape(layer_name)}")[0]
        generator = np.random.default_rng()

        def predict_fn(
            inputs: Inputs,
            label: Any = None,
            scale: float | None = None,
            noise_amount: float | None = None,
        ) -> tuple[Array, Array, Array, Array]:
            def edit(features: Tensor) -> Tensor:
                if scale is not None:
                    features = scale * features
                if noise_amount is not None:
                    size = noise_amount * abs(float(features.mean()))
                    noise = generator.normal(0, size, features.shape).astype("float32")
                    features = features + from_numpy(noise, features.place)
                return features

            target = class_score(label, gradient_of)
            run = self.probe.gradients(inputs, target, at=name, edit={name: edit})
            label = labels_of(label, run.outputs)
            return run.gradients[name], label, run.activations[name], softmax(run.outputs)

        self._make(predict_fn, rebuild)


class TransformerInterpreter(Interpreter):
    """Base of methods that look at the blocks of a transformer."""

    def _build_predict_fn(
        self,
        rebuild: bool = False,
        embedding_name: str | None = None,
        input_name: str | None = None,
        attn_map_name: str | None = None,
        attn_v_name: str | None = None,
        attn_proj_name: str | None = None,
        gradient_of: ScoreKind | None = None,
    ) -> None:
        """`predict_fn(inputs, label=None, scale=None)` gives seven things.

        These are, as lists with an entry for each block: attention maps, their gradients, the
        blocks' inputs, the values of the first item, and the weights of the projections; then
        probabilities [N, K] and labels [N]. `scale` multiplies what the embedding gives.

        Args:
            rebuild: also in the place of a `predict_fn` of your own.
            embedding_name, input_name, attn_map_name, attn_v_name, attn_proj_name: regular
                expressions that the names of these layers begin with. None: none of them. Of a
                layer that gives queries, keys and values in one, three times as wide as the inputs,
                the values are taken.
            gradient_of: which score of the class; None is the probability.
        """
        of = gradient_of or "probability"
        check_value("gradient_of", of, ScoreKind)
        embeddings, maps, values, projections = (
            named_layers(self, pattern)
            for pattern in (embedding_name, attn_map_name, attn_v_name, attn_proj_name)
        )
        before = [f"{name}:input" for name in named_layers(self, input_name)]
        layers = dict(self.model.named_sublayers())

        def predict_fn(
            inputs: Inputs, label: Any = None, scale: float | None = None
        ) -> tuple[list[Array], list[Array], list[Array], list[Array], list[Array], Array, Array]:
            edits: Edits = {}
            if scale is not None:
                edits = {name: lambda features: scale * features for name in embeddings}
            at = [*maps, *before, *values] or None
            run = self.probe.gradients(inputs, class_score(label, of), at=at, edit=edits)
            blocks = [run.activations[name] for name in before]
            width = blocks[0].shape[-1] if blocks else 0
            return (
                [run.activations[name] for name in maps],
                [run.gradients[name] for name in maps],
                blocks,
                [_values(run.activations[name][0], width) for name in values],
                [layers[name].weight.numpy() for name in projections],
                softmax(run.outputs),
                labels_of(label, run.outputs),
            )

        self._make(predict_fn, rebuild)


def named_layers(interpreter: Interpreter, pattern: str | None) -> list[str]:
    """The layers whose names begin with a regular expression; none for None.

    Raises:
        LayerNotFoundError: no name does. InputError: it is no regular expression.
    """
    if pattern is None:
        return []
    names = interpreter.probe.layer_names()
    try:
        found = [name for name in names if re.match(pattern, name)]
    except re.error as error:
        raise InputError(f"{pattern!r} is no regular expression: {error}") from error
    if not found:
        raise LayerNotFoundError(
            f"no layer's name begins with {pattern!r}; there are {', '.join(names[:8])}, …"
        )
    return found


def _values(features: Array, size: int) -> Array:
    """Values [T, D] of a layer that gives these alone, or queries, keys and values side by side."""
    if features.shape[-1] == 3 * size:
        return features.reshape(len(features), 3, size)[:, 2]
    return features
