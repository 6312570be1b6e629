"""Sanity checks: a map should depend on what the model has learned, and on the class."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ..errors import InputError, UnsupportedModelError
from ..interpreter.base import Interpreter
from ..interpreter.sampling import counts
from ..probe import Probe
from ..progress import progress_bar
from ..registry import register_evaluator
from ..targets import ClassScore, check_labels
from .base import Evaluator
from .case import Case, Explain, explainer_of
from .correlation import spearman
from .evaluation import Array, Evaluation, flagged, mean_of

__all__ = [
    "ModelRandomization",
    "RandomLogit",
    "copied",
    "layers_of",
    "make_random",
    "rank_correlation",
    "tensors_of",
]


def rank_correlation(a: Array, b: Array) -> Array:
    """`spearman` of each image's maps, float64 [n]."""
    return np.array([spearman(x.ravel(), y.ravel()) for x, y in zip(a, b, strict=True)])


def tensors_of(layer: Any, deep: bool) -> list[Any]:
    """Floating-point parameters and buffers (batch-norm's statistics) of a layer."""
    every = [*layer.parameters(include_sublayers=deep), *layer.buffers(include_sublayers=deep)]
    return [tensor for tensor in every if tensor.is_floating_point()]


def _random_like(values: Array, rng: np.random.Generator) -> Array:
    """Weights from a normal distribution as wide as the old ones; vectors (biases, batch-norm's) in
    another order, so that activations keep their size."""
    fresh = rng.normal(0, values.std() or 1.0, values.shape)
    return np.asarray(fresh if values.ndim > 1 else rng.permutation(values), values.dtype)


def make_random(tensors: Sequence[Any], rng: np.random.Generator) -> None:
    """Give tensors of a copied model random values, in place; see `_random_like`."""
    for tensor in tensors:
        tensor.set_value(_random_like(tensor.numpy(), rng))


@register_evaluator(
    "model_randomization",
    higher_is_better=False,
    paper="Adebayo et al.: Sanity Checks for Saliency Maps, 2018",
    url="https://arxiv.org/abs/1810.03292",
    needs=("model", "interpreter"),
    random=True,
)
class ModelRandomization(Evaluator):
    """Rank correlation of a map with the map of the same model with random weights, in size.

    A map that stays the same when the weights are random does not show what the model has learned.
    ρ is Spearman's, and the curve has it for each layer. The value is |ρ| when all are random
    ("cascading"), or the mean of |ρ| over layers ("independent"). A coarse map has a large |ρ| by
    chance: `n_draws` takes ρ's mean over several random models first. The model itself is not
    touched: a copy of the interpreter's is.

    Args:
        mode: "cascading": from the output to the input, layers stay random; "independent": one
            layer at a time.
        n_draws: random models over which ρ is averaged.
        layers: names of layers, from the output on, each with all that is in it; None takes every
            layer that ran and has parameters of its own.
        seed: of the weights.

    Raises:
        InputError: unknown mode, n_draws below 1; the interpreter is not an Interpreter.
        LayerNotFoundError: no layer of that name.
        UnsupportedModelError: the model cannot be copied, or no layer has parameters.
    """

    mode: Literal["cascading", "independent"] = "cascading"
    n_draws: int = 1
    layers: Sequence[str] | None = None
    seed: int = 0

    def check(self) -> None:
        counts(n_draws=self.n_draws)

    def evaluate_case(self, case: Case) -> Evaluation:
        names = (
            list(self.layers) if self.layers is not None else layers_of(case.method.probe, case.x)
        )
        if not names:
            raise UnsupportedModelError("no layer of this model has parameters to randomise")
        with progress_bar(self.n_draws * len(names), "model randomization", "layer") as bar:
            draws = [self._curve(case, names, draw, bar) for draw in range(self.n_draws)]
        # a draw whose map is empty does not count
        curve = np.ma.masked_invalid(draws).mean(axis=0).filled(np.nan)
        if self.mode == "cascading":
            values = np.abs(curve[:, -1])
        else:
            values = np.array([mean_of(np.abs(row)) for row in curve])
        flags = flagged(np.isnan(values), "the map of the random model is empty")
        return self.result(
            values,
            curves={"rank correlation": curve},
            axis=np.arange(len(names), dtype=np.float64),
            axis_label="layers made random" + (" up to" if self.mode == "cascading" else ""),
            ticks=tuple(names),
            flags=flags,
        )

    def _curve(self, case: Case, names: Sequence[str], draw: int, bar: Any) -> Array:
        """ρ of each image for each layer in one random model, float64 [n, layers]."""
        twin = copied(case.method)
        explain, before_all = explainer_of(twin, case.options), self._reference(case)
        curve = np.empty((len(case.x), len(names)))
        for j, name in enumerate(names):
            layer = twin.probe.layer(name)
            tensors = tensors_of(layer, deep=self.layers is not None)
            before = [tensor.numpy().copy() for tensor in tensors]
            make_random(tensors, np.random.default_rng([self.seed, draw, j]))
            curve[:, j] = rank_correlation(before_all, self._maps(case, explain))
            if self.mode == "independent":
                for tensor, values in zip(tensors, before, strict=True):
                    tensor.set_value(values)
            bar.update()
        return curve

    def _reference(self, case: Case) -> Array:
        """The maps of the model itself, [n, H, W]."""
        return case.heat

    def _maps(self, case: Case, explain: Explain) -> Array:
        """The maps of a random model, [n, H, W]."""
        return case.heat_of(explain(case.x, case.score()))


def copied(interpreter: Interpreter) -> Interpreter:
    """A method with a copy of its model.

    Raises:
        UnsupportedModelError: it cannot be copied.
    """
    try:
        return copy.deepcopy(interpreter)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise UnsupportedModelError(
            f"the model cannot be copied ({error}), and it is not randomised itself; take what is "
            "not a parameter or a leaf tensor out of it"
        ) from error


def layers_of(probe: Probe, x: Array) -> list[str]:
    """Layers with parameters of their own that run, from the output to the input."""
    ran = reversed(probe.layer_shapes(x))
    return [name for name in ran if probe.layer(name).parameters(include_sublayers=False)]


@register_evaluator(
    "random_logit",
    higher_is_better=False,
    paper="Sixt, Granz, Landgraf: When Explanations Lie, 2020",
    url="https://arxiv.org/abs/1912.09818",
    needs=("model", "interpreter", "classes"),
    random=True,
)
class RandomLogit(Evaluator):
    """Rank correlation of a map with the map for another class, drawn at random, in size.

    A map that is the same for every class does not explain the class. The value is |ρ| (Spearman).

    Args:
        n_classes: other classes drawn for each image; the value is the mean over them.

    Raises:
        InputError: n_classes is below 1, or not below the model's number of classes.
    """

    n_classes: int = 1
    seed: int = 0

    def check(self) -> None:
        counts(n_classes=self.n_classes)

    def evaluate_case(self, case: Case) -> Evaluation:
        classes = case.model.logits(case.x[:1]).shape[1]
        if self.n_classes >= classes:
            raise InputError(f"n_classes={self.n_classes}, but there are {classes - 1} others")
        explained = case.class_score
        check_labels(explained.labels, classes)
        others = np.empty((len(case.x), self.n_classes), np.int64)
        for i, (row, label) in enumerate(zip(case.rows, explained.labels, strict=True)):
            rng = np.random.default_rng([self.seed, int(row)])
            others[i] = rng.permutation(np.delete(np.arange(classes), label))[: self.n_classes]
        found = []
        for other in others.T:
            values = case.explain(case.x, ClassScore(other, explained.of))
            found.append(rank_correlation(case.heat, case.heat_of(values)))
        values = np.array([mean_of(row) for row in np.abs(found).T])
        flags = flagged(np.isnan(values), "the map of the other class is empty")
        return self.result(values, flags=flags)
