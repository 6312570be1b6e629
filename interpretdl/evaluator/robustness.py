"""How much faster a map changes than the image, or than what the model makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np

from ..errors import UnsupportedModelError
from ..progress import progress_bar
from ..registry import register_evaluator
from .base import Evaluator
from .case import Case
from .evaluation import Array, Evaluation
from .randomization import layers_of
from .stability import check_ball, explained, largest, neighbours

__all__ = [
    "LocalLipschitz",
    "RelativeInputStability",
    "RelativeOutputStability",
    "RelativeRepresentationStability",
]

_AGARWAL = "Agarwal et al.: Rethinking Stability for Attribution-based Explanations, 2022"
_AGARWAL_URL = "https://arxiv.org/abs/2203.06877"
_EPSILON = 1e-6  # the least change that a map's is divided by


class _InABall(Evaluator):
    """Base of those that compare an image with points near it.

    Args:
        radius: of the ball (largest change of any value), a share of the image's range.
        n_samples: points, uniform in the ball.
    """

    ranks = False

    radius: float = 0.02
    n_samples: int = 10
    seed: int = 0

    def check(self) -> None:
        check_ball(self.radius, self.n_samples)


@register_evaluator(
    "local_lipschitz",
    higher_is_better=False,
    paper="Alvarez-Melis, Jaakkola: On the Robustness of Interpretability Methods, 2018",
    url="https://arxiv.org/abs/1806.08049",
    needs=("interpreter",),
    random=True,
)
class LocalLipschitz(_InABall):
    """The steepest change of a map near the image: max ‖R(x) − R(x′)‖₂ / ‖x − x′‖₂.

    x′ runs over points in a small ball, with the class explained for x. It is a lower bound of the
    Lipschitz constant there, as tight as the points are many. A map that is the same for every
    image has the best value, 0: stability is no truth. One explanation for each point.

    Args:
        normalize: divide by ‖R(x)‖₂, so that maps of different scale can be compared; False is the
            paper's formula.

    Raises:
        InputError: an option is out of range.
    """

    normalize: bool = True

    def evaluate_case(self, case: Case) -> Evaluation:
        ratios = np.full((len(case.x), self.n_samples), np.nan)
        with progress_bar(self.n_samples, "local Lipschitz", "point") as bar:
            for j, near in enumerate(neighbours(case, self.radius, self.n_samples, self.seed)):
                way = _norm(_flat(near) - _flat(case.x))
                values, finite = explained(case, near)
                change = np.where(finite, _norm(_flat(values) - _flat(case.values)), np.inf)
                np.divide(change, way, out=ratios[:, j], where=way > 0)
                bar.update()
        if self.normalize:
            ratios /= _norm(_flat(case.values))[:, None]
        values, flags = largest(ratios, "the image is constant, and has no ball around it")
        return self.result(values, flags=flags)


class _RelativeStability(_InABall):
    """Base of the three: how the map's relative change is divided is theirs.

    Args:
        relative: "norm": a change is ‖v′ − v‖₂ / ‖v‖₂, as in the authors' program; "elements": it
            is ‖(v′ − v) / v‖₂, as in the paper, where elements of zero are left out. A few elements
            near zero then decide.
    """

    relative: Literal["norm", "elements"] = "norm"

    by: ClassVar[str]
    """What the map's change is divided by, in a word."""

    def _seen(self, case: Case) -> Callable[[Array], tuple[Array, Array]]:
        """A function from images to what is compared besides the maps, [n, …], and the logits."""
        raise NotImplementedError

    def _change(self, before: Array, after: Array) -> Array:
        """Relative change of each row, float64 [n]; NaN where all that was is zero."""
        difference, before = _flat(after) - _flat(before), _flat(before)
        there = before.any(axis=1)
        if self.relative == "elements":
            parts = np.divide(difference, before, out=np.zeros_like(before), where=before != 0)
            return np.where(there, _norm(parts), np.nan)
        return _norm(difference) / np.where(there, _norm(before), np.nan)

    def _way(self, before: Array, after: Array) -> Array:
        """What the map's change is divided by, float64 [n]."""
        return self._change(before, after)

    def evaluate_case(self, case: Case) -> Evaluation:
        seen = self._seen(case)
        here, outputs = seen(case.x)
        ratios = np.full((len(case.x), self.n_samples), np.nan)
        with progress_bar(self.n_samples, f"relative {self.by} stability", "point") as bar:
            for j, near in enumerate(neighbours(case, self.radius, self.n_samples, self.seed)):
                there, logits = seen(near)
                way = np.maximum(self._way(here, there), _EPSILON)
                values, finite = explained(case, near)
                change = np.where(finite, self._change(case.values, values), np.inf)
                ratios[:, j] = np.where(_same_class(outputs, logits), change / way, np.nan)
                bar.update()
        otherwise = f"no point near has the same class and a known {self.by}"
        values, flags = largest(ratios, otherwise)
        return self.result(values, flags=flags)


@register_evaluator(
    "relative_input_stability",
    higher_is_better=False,
    paper=_AGARWAL,
    url=_AGARWAL_URL,
    needs=("model", "interpreter"),
    random=True,
)
class RelativeInputStability(_RelativeStability):
    """The largest relative change of a map for a relative change of the image.

        max over x′ near x of   change(R(x), R(x′)) / max(change(x, x′), 1e-6)

    Points x′ at which the model predicts another class do not count. With `relative="norm"` a map
    that is linear in the image, R = A x, has at most ‖A‖ ‖x‖ / ‖A x‖. A map that is the same for
    every image has 0. One explanation and one run of the model for each point.

    Raises:
        InputError: an option is out of range.
    """

    by = "input"

    def _seen(self, case: Case) -> Callable[[Array], tuple[Array, Array]]:
        return lambda x: (x, case.model.logits(x))


@register_evaluator(
    "relative_output_stability",
    higher_is_better=False,
    paper=_AGARWAL,
    url=_AGARWAL_URL,
    needs=("model", "interpreter"),
    random=True,
)
class RelativeOutputStability(_RelativeStability):
    """The largest relative change of a map for a change of the model's outputs (logits).

        max over x′ near x of   change(R(x), R(x′)) / max(change(h(x), h(x′)), 1e-6)

    A map may change where the outputs do. Points x′ at which the model predicts another class do
    not count. With `relative="elements"` the outputs' change is ‖h(x) − h(x′)‖₂ itself, as in the
    paper. One explanation and one run of the model for each point.

    Raises:
        InputError: an option is out of range.
    """

    by = "output"

    def _seen(self, case: Case) -> Callable[[Array], tuple[Array, Array]]:
        def seen(x: Array) -> tuple[Array, Array]:
            outputs = case.model.logits(x)
            return outputs, outputs

        return seen

    def _way(self, before: Array, after: Array) -> Array:
        if self.relative == "norm":
            return self._change(before, after)
        return _norm(_flat(after) - _flat(before))


@register_evaluator(
    "relative_representation_stability",
    higher_is_better=False,
    paper=_AGARWAL,
    url=_AGARWAL_URL,
    needs=("model", "interpreter"),
    random=True,
)
class RelativeRepresentationStability(_RelativeStability):
    """The largest relative change of a map for a relative change of a layer inside.

        max over x′ near x of   change(R(x), R(x′)) / max(change(L(x), L(x′)), 1e-6)

    A map may change where the layer's values do. Points x′ at which the model predicts another
    class do not count. One explanation and one run of the model for each point.

    Args:
        layer: whose output; "name:input" is what goes into it. None takes what goes into the last
            layer that has parameters, the features of a classifier.

    Raises:
        InputError: an option is out of range.
        LayerNotFoundError: no layer of that name.
        UnsupportedModelError: no layer has parameters, and none is named.
    """

    by = "representation"

    layer: str | None = None

    def _seen(self, case: Case) -> Callable[[Array], tuple[Array, Array]]:
        layer = self.layer
        if layer is None:
            names = layers_of(case.model, case.x)
            if not names:
                raise UnsupportedModelError("no layer of this model has parameters; give layer=")
            layer = f"{names[0]}:input"

        def seen(x: Array) -> tuple[Array, Array]:
            found = case.model.forward(x, None, layer)
            return found.activations[layer], found.outputs

        return seen


def _flat(values: Array) -> Array:
    return np.asarray(values.reshape(len(values), -1), np.float64)


def _norm(rows: Array) -> Array:
    """Euclidean norm of each row, float64 [n]."""
    return np.asarray(np.linalg.norm(rows, axis=1))


def _same_class(before: Array, after: Array) -> Array:
    """Whether each row predicts the same class, bool [n]; true where outputs are no classes."""
    if before.ndim != 2 or before.shape[1] < 2:
        return np.ones(len(before), bool)
    return np.asarray(before.argmax(axis=1) == after.argmax(axis=1))
