"""Whether maps change little when images do, and whether what they show matters as they change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from ..errors import InputError
from ..interpreter.sampling import at_least, counts
from ..perturbation import Fill, grid_regions, region_sums
from ..progress import progress_bar
from ..registry import register_evaluator
from ..targets import ScoreKind
from .base import Evaluator
from .case import Case
from .evaluation import Array, Evaluation, flagged
from .frames import Frames, chosen
from .removal import area

__all__ = [
    "Continuity",
    "Selectivity",
    "SensitivityMax",
    "check_ball",
    "explained",
    "largest",
    "neighbours",
    "translated",
]

NOT_FINITE = "the method's maps near the picture are not finite"

_MONTAVON = "Montavon, Samek, Müller: Methods for Interpreting and Understanding DNNs, 2018"
_MONTAVON_URL = "https://arxiv.org/abs/1706.07979"


def _norm(values: Array, order: int) -> Array:
    """L1 or L2 norm of each image's values, float64 [n]."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    norms: Array = np.linalg.norm(flat, order, axis=1)
    return norms


def check_ball(radius: float, n_samples: int) -> None:
    """Raise InputError where there is no such ball, or no point in it."""
    counts(n_samples=n_samples)
    if not 0 < radius <= 100:
        raise InputError(f"radius must be above 0 and at most 100; got {radius}")


def neighbours(case: Case, radius: float, n_samples: int, seed: int) -> Iterator[Array]:
    """The images moved to points drawn uniformly in a ball, like x, one batch for each sample.

    Args:
        radius: of the ball (largest change of any value), a share of the image's range.
    """
    draws = [np.random.default_rng([seed, int(row)]) for row in case.rows]
    reach = [radius * float(np.ptp(one)) for one in case.x]
    for _ in range(n_samples):
        noise = [rng.uniform(-r, r, case.x.shape[1:]) for rng, r in zip(draws, reach, strict=True)]
        yield (case.x + np.stack(noise)).astype(case.x.dtype)


def explained(case: Case, x: Array) -> tuple[Array, Array]:
    """Maps of other pictures, zero where one is not finite, and which are finite, bool [n]."""
    values = case.explain(x)
    finite = np.asarray(np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    return np.where(finite.reshape(-1, *[1] * (values.ndim - 1)), values, 0), finite


def largest(ratios: Array, otherwise: str = NOT_FINITE) -> tuple[Array, dict[int, str]]:
    """The largest ratio of each row, and flags: where none is known, and where one is infinite.

    Args:
        ratios: [n, points]; NaN where a point does not count, inf where its map is not finite.
        otherwise: why no ratio is known.
    """
    unknown = np.asarray(np.isnan(ratios).all(axis=1))
    values = np.where(np.isnan(ratios), -np.inf, ratios).max(axis=1)
    flags = flagged(unknown, otherwise) | flagged(np.isposinf(values), NOT_FINITE)
    return np.where(np.isfinite(values), values, np.nan), flags


def translated(x: Array, shift: int, axis: int) -> Array:
    """Images [n, C, H, W] moved by whole pixels along an axis; the edge is repeated."""
    size = x.shape[axis]
    return np.take(x, np.clip(np.arange(size) - shift, 0, size - 1), axis=axis)


@register_evaluator(
    "continuity",
    higher_is_better=False,
    paper=_MONTAVON,
    url=_MONTAVON_URL,
    needs=("interpreter",),
)
class Continuity(Evaluator):
    """The largest change of a map for a change of the image: max ‖R(x) − R(x′)‖₁ / ‖x − x′‖₂.

    x′ runs over translations of x, with the class explained for x. The values' scale is the map's:
    with `normalize` methods can be compared. `frames` of the
    result are translated pictures and their maps; `frames.plot_quarters()` shows how the relevance
    of each quarter of the picture changes.

    Args:
        max_shift: the series goes from -max_shift to max_shift pixels; translations by the whole
            picture or more are left out.
        step: pixels from one translation to the next.
        direction: "horizontal" or "vertical".
        normalize: divide the maps by ‖R(x)‖₁.

    Raises:
        InputError: an option is out of range.
    """

    ranks = False

    max_shift: int = 20
    step: int = 4
    direction: Literal["horizontal", "vertical"] = "horizontal"
    normalize: bool = False
    frames: int = 0

    def check(self) -> None:
        counts(step=self.step, max_shift=self.max_shift)
        at_least(0, frames=self.frames)
        if self.step > self.max_shift:
            raise InputError(f"step {self.step} is larger than max_shift {self.max_shift}")

    def evaluate_case(self, case: Case) -> Evaluation:
        axis = 3 if self.direction == "horizontal" else 2
        furthest = min(self.max_shift, case.x.shape[axis] - 1)
        ahead = list(range(self.step, furthest + 1, self.step))
        shifts = [-shift for shift in reversed(ahead)] + ahead
        if not shifts:
            raise InputError(
                f"the images are too small for translations of {self.step} pixels; give step="
            )
        ratios = np.empty((len(case.x), len(shifts)))
        every = sorted([*shifts, 0])
        kept = {every[i] for i in chosen(self.frames, len(every))} if self.frames else set()
        seen = {0: (case.x, case.maps)} if 0 in kept else {}
        with progress_bar(len(shifts), "continuity", "translation") as bar:
            for j, shift in enumerate(shifts):
                moved = translated(case.x, shift, axis)
                values, finite = explained(case, moved)
                if shift in kept:
                    seen[shift] = moved, case.heat_of(values)
                change = np.where(finite, _norm(values - case.values, 1), np.inf)
                way = _norm(moved - case.x, 2)
                # an image that looks the same when moved says nothing at this translation
                ratios[:, j] = np.where(way > 0, change / np.where(way > 0, way, 1), np.nan)
                bar.update()
        if self.normalize:
            ratios /= _norm(case.values, 1)[:, None]
        label = f"{self.direction} translation in pixels"
        values, flags = largest(ratios, "translations do not change the image")
        order = sorted(seen)
        pictures, maps = [seen[s][0] for s in order], [seen[s][1] for s in order]
        return self.result(
            values,
            curves={"change": np.where(np.isfinite(ratios), ratios, np.nan)},
            axis=np.array(shifts, np.float64),
            axis_label=label,
            flags=flags,
            frames=Frames.of(case, pictures, maps, order, label) if order else None,
        )


@register_evaluator(
    "sensitivity_max",
    higher_is_better=False,
    paper="Yeh et al.: On the (In)fidelity and Sensitivity of Explanations, 2019",
    url="https://arxiv.org/abs/1901.09392",
    needs=("interpreter",),
    random=True,
)
class SensitivityMax(Evaluator):
    """The largest change of a map in a small ball around the image: max ‖R(x + δ) − R(x)‖₂.

    Args:
        radius: of the ball (largest change of any value), a share of the image's range.
        n_samples: points δ, uniform in the ball.
        normalize: divide by ‖R(x)‖₂, so that maps of different scale can be compared.

    Raises:
        InputError: an option is out of range.
    """

    ranks = False

    radius: float = 0.02
    n_samples: int = 10
    normalize: bool = True
    seed: int = 0

    def check(self) -> None:
        check_ball(self.radius, self.n_samples)

    def evaluate_case(self, case: Case) -> Evaluation:
        changes = np.empty((len(case.x), self.n_samples))
        with progress_bar(self.n_samples, "sensitivity", "point") as bar:
            for j, near in enumerate(neighbours(case, self.radius, self.n_samples, self.seed)):
                values, finite = explained(case, near)
                changes[:, j] = np.where(finite, _norm(values - case.values, 2), np.inf)
                bar.update()
        if self.normalize:
            changes /= _norm(case.values, 2)[:, None]
        values, flags = largest(changes)
        return self.result(values, flags=flags)


@register_evaluator(
    "selectivity",
    higher_is_better=False,
    paper=_MONTAVON,
    url=_MONTAVON_URL,
    needs=("model", "interpreter"),
)
class Selectivity(Evaluator):
    """Area under the score while the most relevant patch is taken out, explained anew each time.

    The area is divided by the number of steps: it is the mean height of the curve. A map that has
    become empty orders nothing; the last one that did goes on to count.

    Args:
        patch: side of a patch in pixels.
        steps: patches taken out; fewer when the picture has fewer.

    Raises:
        InputError: an option is out of range.
    """

    patch: int = 4
    steps: int = 20
    fill: Fill = 0.0
    gradient_of: ScoreKind | None = None
    frames: int = 0

    def check(self) -> None:
        counts(patch=self.patch, steps=self.steps)
        at_least(0, frames=self.frames)

    def evaluate_case(self, case: Case) -> Evaluation:
        n, (height, width) = len(case.x), case.x.shape[2:]
        regions = grid_regions(height, width, self.patch)
        steps = min(self.steps, int(regions.max()) + 1)
        imputer, target = case.imputer(self.fill, regions), case.score(self.gradient_of)
        x, heat, finite = case.x, case.heat, np.ones(n, bool)
        gone = np.zeros((n, int(regions.max()) + 1), bool)
        curve = np.empty((n, steps + 1))
        curve[:, 0] = case.model.scores(x, target)
        kept = chosen(self.frames, steps + 1) if self.frames else []
        pictures, maps = [x][: len(kept)], [heat][: len(kept)]
        with progress_bar(steps, "selectivity", "patch") as bar:
            for step in range(steps):
                worst = np.where(gone, -np.inf, region_sums(heat, regions)).argmax(axis=1)
                gone[np.arange(n), worst] = True
                x = imputer.images(np.arange(n), ~gone[:, regions])
                curve[:, step + 1] = case.model.scores(x, target)
                if step + 1 < steps or kept:
                    values, known = explained(case, x)
                    finite, fresh = finite & known, case.heat_of(values)
                    said = fresh.any(axis=(1, 2), keepdims=True)
                    heat = np.where(said, fresh, heat)
                if step + 1 in kept:
                    pictures.append(x)
                    maps.append(fresh)
                bar.update()
        curve[~finite] = np.nan
        axis = np.arange(steps + 1, dtype=np.float64)
        label = "patches taken out"
        return self.result(
            area(curve, axis), curves={"score": curve}, axis=axis, axis_label=label,
            flags=flagged(~finite, NOT_FINITE),
            frames=Frames.of(case, pictures, maps, axis[kept], label) if kept else None,
        )  # fmt: skip
