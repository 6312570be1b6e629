"""Whether what a map says of parts goes with what the score loses without them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..interpreter.sampling import counts
from ..perturbation import Fill, Imputer
from ..registry import register_evaluator
from ..targets import ScoreKind
from .base import Evaluator
from .case import Case
from .evaluation import Array, Evaluation, beyond_rounding, flagged, mean_of
from .fidelity import without

__all__ = ["FaithfulnessEstimate", "MonotonicityCorrelation", "SensitivityN"]


def pearson(a: Array, b: Array) -> float:
    """Pearson's correlation of two rows of numbers; NaN where one of them is constant."""
    if len(a) < 2 or min(np.ptp(a), np.ptp(b)) <= 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def spearman(a: Array, b: Array) -> float:
    """Spearman's rank correlation; equal numbers share the mean of their ranks.

    NaN where one of them is constant or not finite.
    """
    from scipy.stats import rankdata

    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan")
    return pearson(rankdata(a), rankdata(b))


def _undefined(case: Case, values: Array) -> dict[int, str]:
    parts = "patches" if case.part is None else "words"
    return flagged(np.isnan(values), f"the map or the score is the same for all {parts}")


class _Correlation(Evaluator):
    """Base of the three. Changes of the score below 1e-6 of it count as none: they are rounding.

    Args:
        patch: side in pixels of the squares that are the parts of a picture; None is a fourteenth
            of the short edge. Of a text the words are.

    Raises:
        InputError: an option is out of range.
    """

    patch: int | None = None
    gradient_of: ScoreKind | None = None

    def check(self) -> None:
        if self.patch is not None:
            counts(patch=self.patch)

    def _images(self, case: Case) -> Any:
        """For each image its case, its map's sums over its parts [M], the parts, and its score."""
        regions, target = case.regions(self.patch), case.score(self.gradient_of)
        relevance, whole = case.relevance(regions), case.model.scores(case.x, target)
        for i in range(len(case.x)):
            yield case.take(np.array([i])), relevance[i], regions, float(whole[i])

    def _scores(
        self, one: Case, imputer: Imputer, relevance: Array, regions: Array, out: Array
    ) -> tuple[Array, Array]:
        """Relevance of each set of parts, `out` bool [S, M], and the score without it."""
        target = one.score(self.gradient_of)
        return without(one.model, imputer, target, relevance, regions, out)


@register_evaluator(
    "faithfulness_estimate",
    higher_is_better=True,
    paper="Alvarez-Melis, Jaakkola: Towards Robust Interpretability with Self-Explaining Neural "
    "Networks, 2018",
    url="https://arxiv.org/abs/1806.07538",
    inputs=("pictures", "text"),
)
class FaithfulnessEstimate(_Correlation):
    """Correlation between each part's relevance and the fall of the score without that part alone.

        corr_i(R_i, f(x) − f(x without part i))

    Pearson's, in [-1, 1]. 1 where the map, on some scale, says what each part is worth while all
    others are there. Evidence that is there twice is worth nothing by this measure, because the
    other copy is still there. Costs a run for each part, about 200 for a picture.
    """

    fill: Fill = "mean"
    gradient_of: ScoreKind | None = "probability"

    def evaluate_case(self, case: Case) -> Evaluation:
        values = np.full(len(case.x), np.nan)
        for i, (one, relevance, regions, whole) in enumerate(self._images(case)):
            each = np.eye(len(relevance), dtype=bool)
            imputer = one.imputer(self.fill, regions)
            told, scores = self._scores(one, imputer, relevance, regions, each)
            values[i] = pearson(told, beyond_rounding(whole - scores, whole))
        return self.result(values, flags=_undefined(case, values))


@register_evaluator(
    "sensitivity_n",
    higher_is_better=True,
    paper="Ancona, Ceolini, Öztireli, Gross: Towards Better Understanding of Gradient-based "
    "Attribution Methods for Deep Neural Networks, 2018",
    url="https://arxiv.org/abs/1711.06104",
    random=True,
    inputs=("pictures", "text"),
)
class SensitivityN(_Correlation):
    """Correlation between the relevance of random sets of n parts and the fall of the score.

        corr_S(Σ_{i in S} R_i, f(x) − f(x without S)),  |S| = n

    Pearson's, in [-1, 1], for each n by itself; the value is the mean over the n for which it is
    defined, the curve has it for each. The paper's property "sensitivity-n" is a correlation of 1
    at this n. A method can have it for small n and lose it for large ones, where the parts that are
    gone act together. `local_fidelity` is one point of the curve, at a fifth of the picture. Costs
    `n_samples` runs for each n, 800 for a picture.

    Args:
        shares: the n as shares of all parts, in (0, 1); rounded, at least one part. Those that are
            the same n count once.
        n_samples: sets for each n.
    """

    shares: tuple[float, ...] = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
    n_samples: int = 100
    fill: Fill = "mean"
    seed: int = 0

    def check(self) -> None:
        super().check()
        if self.n_samples < 2:
            raise InputError(f"n_samples must be at least 2; got {self.n_samples}")
        if not self.shares or not all(0 < share < 1 for share in self.shares):
            raise InputError(f"shares must be in (0, 1), at least one; got {self.shares!r}")

    def evaluate_case(self, case: Case) -> Evaluation:
        shares, values = np.sort(self.shares), np.full(len(case.x), np.nan)
        curve = np.full((len(case.x), len(shares)), np.nan)
        for i, (one, relevance, regions, whole) in enumerate(self._images(case)):
            rounded = np.rint(shares * len(relevance)).astype(np.int64)
            sizes, place = np.unique(np.maximum(1, rounded), return_inverse=True)
            out = self._sets(int(one.rows[0]), len(relevance), sizes)
            imputer = one.imputer(self.fill, regions)
            told, scores = self._scores(one, imputer, relevance, regions, out)
            lost = beyond_rounding(whole - scores, whole).reshape(len(sizes), -1)
            pairs = zip(told.reshape(lost.shape), lost, strict=True)
            found = np.array([pearson(*pair) for pair in pairs])
            curve[i], values[i] = found[place], mean_of(found)
        return self.result(
            values, curves={"correlation": curve}, axis=shares,
            axis_label=f"share of the {case.whole} taken out", flags=_undefined(case, values),
        )  # fmt: skip

    def _sets(self, row: int, count: int, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """`n_samples` random sets of each size, bool [sizes · n_samples, M]."""
        rng = np.random.default_rng([self.seed, row])
        # The order of random numbers is a random permutation.
        order = rng.random((len(sizes), self.n_samples, count)).argsort(axis=2)
        return np.asarray((order < sizes[:, None, None]).reshape(-1, count))


@register_evaluator(
    "monotonicity_correlation",
    higher_is_better=True,
    paper="Nguyen, Rodríguez Martínez: On Quantitative Aspects of Model Interpretability, 2020",
    url="https://arxiv.org/abs/2007.07584",
    random=True,
    inputs=("pictures", "text"),
)
class MonotonicityCorrelation(_Correlation):
    """Rank correlation between a part's |relevance| and how far the score moves when it changes.

        ρ_i(|R_i|, E_z (f(x with z in the place of part i) − f(x))²)

    Spearman's, in [-1, 1]: 1 where the larger relevance always means the larger effect, whichever
    its direction. The paper leaves open what z is drawn from. Here it is what lies in the same
    place of the picture moved at random, so that parts are exchanged for others of the same picture
    (of a text, words for other words of the text), and the picture keeps its colours.

    Ranks do not know how small a value is: a map that has small values where nothing happens, as
    that of LRP, is far below one that has zeros there. Costs `n_samples` runs for each part, about
    1000 for a picture.

    Args:
        n_samples: values of z for each part.
    """

    n_samples: int = 5
    seed: int = 0

    def check(self) -> None:
        super().check()
        counts(n_samples=self.n_samples)

    def evaluate_case(self, case: Case) -> Evaluation:
        values = np.full(len(case.x), np.nan)
        for i, (one, relevance, regions, whole) in enumerate(self._images(case)):
            rng = np.random.default_rng([self.seed, int(one.rows[0])])
            each, effect = np.eye(len(relevance), dtype=bool), np.zeros(len(relevance))
            for _ in range(self.n_samples):
                imputer = Imputer(one.x, _moved(one.x, rng), None)
                told, scores = self._scores(one, imputer, relevance, regions, each)
                effect += beyond_rounding(scores - whole, whole) ** 2
            values[i] = spearman(np.abs(told), effect)
        return self.result(values, flags=_undefined(case, values))


def _moved(x: Array, rng: np.random.Generator) -> Array:
    """x [1, …, H, W] moved by a random number of pixels, around the edges; a text [1, W]."""
    shape = x.shape[2:] if x.ndim == 4 else x.shape[1:]
    size = int(np.prod(shape))
    shift = np.unravel_index(rng.integers(min(1, size - 1), size), shape)
    axes = tuple(range(-len(shape), 0))
    return np.roll(x, [int(each) for each in shift], axes)
