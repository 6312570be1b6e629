"""Integrated gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, warn
from ..registry import register
from ..targets import TargetLike, settled
from .base import Array, Attribution, Interpreter
from .baselines import Baselines, baselines_of
from .layer_function import LayerFunction
from .sampling import Moments, Samples, accumulate, at_least, counts

__all__ = ["IntGradCVInterpreter", "IntegratedGradientsInterpreter", "PathRule", "quadrature"]

PathRule = Literal["midpoint", "gauss_legendre", "trapezoid", "left", "right"]
Vector = NDArray[np.float64]

# How many times more steps hold all nodes of before, and where those stand among the new ones.
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
    inputs=("pictures", "arrays"),
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

    gradient_of = "probability"
    positional = ("label", "baselines", "steps", "num_random_trials", "gradient_of")

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        baselines: Baselines = None,
        steps: int = 50,
        num_random_trials: int = 10,
        rule: PathRule = "midpoint",
        tolerance: float | None = None,
        max_steps: int = 1350,
        layer: str | None = None,
        seed: int = 0,
    ) -> Attribution:
        """Integrated gradients from one baseline, or their mean over several.

        Args:
            baselines: None (black), "white", "mean" (each image's mean colour), "blur", "random",
                an array [C, H, W] or [N, C, H, W], several as [B, N, C, H, W] or in a list.
            steps: gradients on each line; with a tolerance, to begin with.
            rule: "midpoint" (default), "gauss_legendre", "trapezoid" (one gradient more), "left",
                "right".
            tolerance: largest relative completeness error |Σ R - (f(x) - f(b))| / |f(x) - f(b)|.
                An image that does not meet it gets more steps, three times as many by the midpoint
                rule and twice as many by the others, of which those it has are a part and are
                used again. Not with gauss_legendre, whose nodes all move with their number.
            max_steps: no more than these; who needs more is flagged, and a warning is given.
            layer: attribute to the output of this layer instead ("name:input": what goes into
                it); the line is then between the layer's values for b and for x.

        Returns:
            float64 [N, C, H, W], or the layer's shape. Diagnostics, each [N]: "completeness_error",
            "coarse_error" (by a third of the steps), "steps", "score_difference" f(x) - f(b), and
            with a tolerance "converged".

        Raises:
            InputError: an option that does not fit.
            LayerNotFoundError: no layer of that name.
        """
        if tolerance is not None:
            at_least(0, tolerance=tolerance)
            at_least(steps, max_steps=max_steps)
            if rule == "gauss_legendre":
                raise InputError(
                    "tolerance= adds steps to those taken, and no node of gauss_legendre is one of "
                    "its next ones; take rule='midpoint', or give steps= alone"
                )
        nodes, weights, levels = refined(rule, steps, steps if tolerance is None else max_steps)
        lines, make = baselines_of(x, baselines, self.preprocessing, num_random_trials, seed)
        space = LayerFunction(self.probe, x, layer)

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
            short = abs(total - rise[image])
            return 0.0 if short == 0 else short / abs(rise[image]) if rise[image] else np.inf

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
            facts["converged"] = errors <= tolerance
            if missed := int((errors > tolerance).sum()):
                warn(
                    f"{missed} of {len(x)} images did not meet tolerance={tolerance} within "
                    f"max_steps={max_steps} (the worst error is {errors.max():.2g}); see "
                    "diagnostics['converged']"
                )
        return Attribution(mean.mean, facts, outputs=outputs)

    @staticmethod
    def _ends(space: LayerFunction, start: Callable[[int], Array]) -> tuple[Array, list[Array]]:
        """The model's outputs for the images, [N, K], and for each image's baselines, [B, K]."""
        found = [
            space.outputs(image, np.concatenate([value[None], start(image)]))
            for image, value in enumerate(space.values)
        ]
        return np.stack([outputs[0] for outputs in found]), [outputs[1:] for outputs in found]


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
