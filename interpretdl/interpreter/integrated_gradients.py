"""Integrated gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, warn
from ..progress import progress_bar
from ..registry import register
from ..targets import ScoreKind, TargetLike, settled, take
from .adaptive_path import adaptive
from .base import Array, Attribution, Interpreter
from .baselines import Baselines, baselines_of
from .layer_function import LayerFunction
from .path_images import PathImages
from .sampling import Moments, Samples, accumulate, at_least, counts

__all__ = ["IntGradCVInterpreter", "IntegratedGradientsInterpreter", "PathRule", "quadrature"]

PathRule = Literal["midpoint", "gauss_legendre", "trapezoid", "left", "right", "adaptive"]
Vector = NDArray[np.float64]

# Gradients that the adaptive rule takes on a line, to 1 % from black.
_TYPICAL = 32
# By which factor the steps grow so that all earlier nodes are used again, and the place of the
# first of them among the new ones.
_GROWTH = {"midpoint": (3, 1), "trapezoid": (2, 0), "left": (2, 0), "right": (2, 1)}


def quadrature(rule: PathRule, steps: int) -> tuple[Vector, Vector]:
    """Nodes in [0, 1] and their weights, which sum to 1.

    Args:
        rule: "midpoint", "gauss_legendre", "left" and "right" have `steps` nodes, "trapezoid"
            one more, its two ends counted half.
        steps: 1 or more.

    Raises:
        InputError: unknown rule, or steps below 1.
    """
    counts(steps=steps)
    if rule not in get_args(PathRule):
        raise InputError(f"rule must be one of {get_args(PathRule)}; got {rule!r}")
    if rule == "adaptive":
        raise InputError("rule='adaptive' sets its nodes as it goes; it has none before")
    if rule == "gauss_legendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return (nodes + 1) / 2, weights / weights.sum()
    offset = {"midpoint": 0.5, "right": 1.0}.get(rule, 0.0)
    nodes = (np.arange(steps + (rule == "trapezoid")) + offset) / steps
    weights = np.full(len(nodes), 1 / steps)
    if rule == "trapezoid":
        weights[[0, -1]] /= 2
    return nodes, weights


def refined(rule: PathRule, steps: int, most: int) -> tuple[Vector, Vector, list[int]]:
    """Nodes of a rule, followed by those that more and more steps add, up to `most` steps.

    Returns:
        nodes; their weights, relative, such that any of the levels is a mean of its nodes by them;
        the steps of each level.
    """
    nodes, weights = quadrature(rule, steps)
    weights, levels = weights * steps, [steps]
    while rule in _GROWTH and steps * _GROWTH[rule][0] <= most:
        factor, place = _GROWTH[rule]
        steps *= factor
        finer, heavier = quadrature(rule, steps)
        new = np.arange(len(finer)) % factor != place
        nodes = np.concatenate([nodes, finer[new]])
        weights = np.concatenate([weights, heavier[new] * steps])
        levels.append(steps)
    return nodes, weights, levels


@register(
    "integrated_gradients",
    layout="nchw",
    one_pass=True,
    inputs=("pictures", "arrays", "text"),
    signed=True,
    paper="Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, 2017",
    url="https://arxiv.org/abs/1703.01365",
    aliases=("IntGradCVInterpreter",),
)
class IntegratedGradientsInterpreter(Interpreter):
    """Integrated gradients: the score's rise from a baseline to the image, shared among the inputs.

        R = (x - b) · ∫₀¹ ∂f/∂x (b + t (x - b)) dt,        Σ R = f(x) - f(b)

    The integral is a mean of gradients on the straight line. How far its sum is from the score's
    rise is the completeness error, which is kept for each image.
    """

    gradient_of: ScoreKind = "probability"
    positional = ("label", "baselines", "steps", "num_random_trials", "gradient_of")

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        baselines: Baselines = None,
        steps: int | None = None,
        num_random_trials: int = 10,
        rule: PathRule | None = None,
        tolerance: float | None = None,
        max_steps: int | None = None,
        layer: str | None = None,
        seed: int = 0,
    ) -> Attribution:
        """Integrated gradients from one baseline, or their mean over several.

        Args:
            baselines: None (black), "white", "mean" (each image's mean colour), "blur", "random",
                an array [C, H, W] or [N, C, H, W], several as [B, N, C, H, W] or in a list.
            steps: gradients on each line (50); with a tolerance, to begin with; intervals for the
                adaptive rule (4).
            rule: "midpoint", "gauss_legendre", "trapezoid" (one gradient more), "left", "right", or
                "adaptive", which needs a tolerance. None: "adaptive" with a tolerance, else
                "midpoint".
            tolerance: largest relative completeness error |Σ R - (f(x) - f(b))| / |f(x) - f(b)|.
                The adaptive rule halves the intervals in which the score rises by something else
                than the gradients at their ends say. By the other rules an image that does not
                meet it gets more steps, three times as many by the midpoint rule and twice as many
                by the others, of which those it has are a part and are used again. Not with
                gauss_legendre, whose nodes all move with their number.
            max_steps: no more than these (1350; 300 for the adaptive rule, which keeps the
                gradients of an image); who needs more is flagged, and a warning is given.
            layer: attribute to the output of this layer instead ("name:input": what goes into
                it); the line is then between the layer's values for b and for x.

        Returns:
            float64 [N, C, H, W], or the layer's shape. Diagnostics, each [N]: "completeness_error",
            "coarse_error" (by a third of the steps), "steps", "score_difference" f(x) - f(b), and
            with a tolerance "converged"; by the adaptive rule "absolute_error", the sum of the
            intervals' errors without their signs, in which they cannot cancel.

        Raises:
            InputError: an option that does not fit.
            LayerNotFoundError: no layer of that name.
        """
        if rule is None:
            rule = "midpoint" if tolerance is None else "adaptive"
        adapts = rule == "adaptive"
        steps = (4 if adapts else 50) if steps is None else steps
        max_steps = (300 if adapts else 1350) if max_steps is None else max_steps
        if adapts:
            counts(steps=steps)
            if tolerance is None:
                raise InputError("rule='adaptive' needs a tolerance=, such as 0.01")
        if tolerance is not None:
            at_least(0, tolerance=tolerance)
            at_least(steps + adapts, max_steps=max_steps)
            if rule == "gauss_legendre":
                raise InputError(
                    "tolerance= adds steps to those taken, and no node of gauss_legendre is one of "
                    "its next ones; take rule='adaptive', or give steps= alone"
                )
        lines, make = baselines_of(
            x, baselines, self.preprocessing, num_random_trials, seed, self._blank
        )
        space = LayerFunction(self.probe, x, layer)
        if adapts and tolerance is not None:
            return self._adaptive(x, target, space, lines, make, tolerance, steps, max_steps)
        nodes, weights, levels = refined(rule, steps, steps if tolerance is None else max_steps)

        @lru_cache(maxsize=1)  # samples come image by image
        def start(image: int) -> Array:
            return space.at(make(image))

        outputs, begins = self._ends(space, start)
        target = settled(target, outputs)
        rise = np.array(
            [
                space.scores(i, outputs[i : i + 1], target)[0]
                - space.scores(i, begins[i], target).mean()
                for i in range(len(x))
            ]
        )

        def draw(image: int, numbers: range) -> Samples:
            node, line = np.divmod(np.asarray(numbers), lines)
            begin = start(image)[line]
            way = space.values[image] - begin
            t = nodes[node].astype(way.dtype).reshape(-1, *[1] * (way.ndim - 1))
            return Samples(begin + t * way, way, weights[node])

        mean = _PathMean(len(x))

        def error(image: int, total: float | None = None) -> float:
            total = float(mean.mean[image].sum()) if total is None else total
            return _relative(total - rise[image], rise[image])

        sizes = [lines * (n + (rule == "trapezoid")) for n in levels]

        def wanted(image: int, taken: int) -> int:
            if taken == 0:
                return sizes[0]
            if tolerance is None or error(image) <= tolerance:
                return taken
            return next((size for size in sizes if size > taken), taken)

        with space.many(len(x) * sizes[0]):
            taken = accumulate(
                lambda images, points: space.gradients(images, points, [target]),
                draw, wanted, [mean], space.batch, "integrated gradients",
            )  # fmt: skip
        errors = np.array([error(i) for i in range(len(x))])
        facts = {
            "completeness_error": errors,
            "coarse_error": np.array([error(i, mean.coarse(i)) for i in range(len(x))]),
            "steps": np.array([levels[sizes.index(n)] for n in taken]),
            "score_difference": rise,
        }
        if tolerance is not None:
            _flag(facts, tolerance, max_steps)
        return Attribution(mean.mean, facts, outputs=outputs)

    def path(
        self,
        inputs: Any,
        label: Any = None,
        *,
        baselines: Baselines = None,
        steps: int = 9,
        gradient_of: ScoreKind | None = None,
        seed: int = 0,
    ) -> PathImages:
        """The pictures on the line from the baseline to the image, and their scores.

        Args:
            inputs, label, gradient_of: as `explain` takes them; pictures.
            baselines: see `explain`; of several the first.
            steps: pictures of each image, the two ends among them.
            seed: of a random baseline.

        Raises:
            InputError, TargetError, ImageReadError, ResourceError.
        """
        at_least(2, steps=steps)
        batch, target = self._prepare(inputs, label, gradient_of)
        if self.preprocessing is None or batch.images is None:
            raise InputError("a path is shown for pictures, and these inputs are arrays")
        x = batch.inputs
        target = settled(target, self.probe.logits(x))
        _, make = baselines_of(x, baselines, self.preprocessing, 1, seed)
        shares = np.linspace(0, 1, steps)
        images, scores = [], []
        for i, end in enumerate(x):
            begin = make(i)[0]
            t = shares.astype(x.dtype).reshape(-1, 1, 1, 1)
            points = begin + t * (end - begin)
            images.append(self.preprocessing.pictures(points))
            scores.append(self.probe.scores(points, take(target, np.full(steps, i))))
        return PathImages(np.stack(images), np.asarray(scores, np.float64), shares)

    @staticmethod
    def _adaptive(
        x: Array,
        target: TargetLike,
        space: LayerFunction,
        lines: int,
        make: Callable[[int], Array],
        tolerance: float,
        steps: int,
        max_steps: int,
    ) -> Attribution:
        """By nodes where they are needed, image by image."""
        outputs = np.concatenate([space.outputs(i, v[None]) for i, v in enumerate(space.values)])
        target, found = settled(target, outputs), []
        expected = len(x) * lines * _TYPICAL
        with space.many(expected), progress_bar(0, "integrated gradients", "sample") as bar:
            for image, value in enumerate(space.values):
                starts = space.at(make(image))
                ways = value - starts

                def ask(line: Array, time: Array, run: Any = (image, starts, ways)) -> Any:
                    image, starts, ways = run
                    t = time.astype(ways.dtype).reshape(-1, *[1] * (ways.ndim - 1))
                    bar.update(len(t))
                    return space.slopes(image, starts[line] + t * ways[line], target)

                found.append(adaptive(ask, ways, tolerance, steps, max_steps))
        facts = {
            "completeness_error": np.array([_relative(one.error, one.rise) for one in found]),
            "absolute_error": np.array([_relative(one.gross, one.rise) for one in found]),
            "coarse_error": np.array([_relative(one.coarse, one.rise) for one in found]),
            "steps": np.array([one.steps for one in found]),
            "score_difference": np.array([one.rise for one in found]),
        }
        _flag(facts, tolerance, max_steps)
        return Attribution(np.stack([one.values for one in found]), facts, outputs=outputs)

    @staticmethod
    def _ends(space: LayerFunction, start: Callable[[int], Array]) -> tuple[Array, list[Array]]:
        """The model's outputs for the images, [N, K], and for each image's baselines, [B, K]."""
        found = [
            space.outputs(image, np.concatenate([value[None], start(image)]))
            for image, value in enumerate(space.values)
        ]
        return np.stack([outputs[0] for outputs in found]), [outputs[1:] for outputs in found]


def _relative(error: float, rise: float) -> float:
    return abs(error / rise) if rise else 0.0 if error == 0 else np.inf


def _flag(facts: dict[str, Any], tolerance: float, max_steps: int) -> None:
    """Say which images met the tolerance, and warn where one did not."""
    errors = facts["completeness_error"]
    facts["converged"] = errors <= tolerance
    if missed := int((errors > tolerance).sum()):
        warn(
            f"{missed} of {len(errors)} images did not meet tolerance={tolerance} within "
            f"max_steps={max_steps} (the worst error is {errors.max():.2g}); see "
            "diagnostics['converged']"
        )


class _PathMean(Moments):
    """The mean over a path, and the sum that a third of its nodes would give."""

    def __init__(self, images: int) -> None:
        super().__init__(images, order=1)
        self._sums_of_third = np.zeros((images, 2))
        self._seen = np.zeros(images, np.int64)

    def add(self, image: int, values: Array, weights: Array | None = None) -> None:
        super().add(image, values, weights)
        third = (self._seen[image] + np.arange(len(values))) % 3 == 1
        self._seen[image] += len(values)
        w = np.ones(len(values)) if weights is None else weights
        sums = values.reshape(len(values), -1).sum(axis=1, dtype=np.float64)
        self._sums_of_third[image] += [(w * sums)[third].sum(), w[third].sum()]

    def coarse(self, image: int) -> float:
        """The sum of the map from every third node; NaN with fewer than two nodes."""
        total, weight = self._sums_of_third[image]
        return float(total / weight) if weight else float("nan")


IntGradCVInterpreter = IntegratedGradientsInterpreter
