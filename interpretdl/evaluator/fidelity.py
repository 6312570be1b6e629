"""Whether a map's numbers say what the model does: infidelity, completeness, local fidelity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..interpreter.sampling import counts
from ..perturbation import Fill, Imputer, perturbed_scores
from ..probe import Probe
from ..registry import register_evaluator
from ..targets import ScoreKind, TargetLike
from .base import Evaluator
from .case import Case
from .compat import grey, picture_and_map
from .evaluation import Array, Evaluation, beyond_rounding, flagged

__all__ = ["Completeness", "Infidelity", "LocalFidelity"]

Windows = NDArray[np.int64]


@register_evaluator(
    "infidelity",
    higher_is_better=False,
    paper="Yeh et al.: On the (In)fidelity and Sensitivity of Explanations, 2019",
    url="https://arxiv.org/abs/1901.09392",
    random=True,
    aliases=("InfidelityInterpreterEvaluator",),
    inputs=("pictures", "text"),
)
class Infidelity(Evaluator):
    """Mean squared difference between what a map foretells of perturbations and what they do.

        E[(Iᵀφ − (f(x) − f(x − I)))²]

    With `normalize`, the default, the factor that fits best may be negative: a map and its negative
    have the same value. `normalize=False` tells them apart.

    Args:
        n_samples: perturbations of each image; None takes all squares (about 1200). Of a text they
            are runs of one to five words, and all of them are taken where there are no more.
        perturbation: "square" (a square is replaced by `fill`; sides 1/7, 2/7 and 4/7 of the short
            edge, on a grid of 1/28: 32, 64, 128 and 8 pixels at 224) or "noise" (Gaussian).
        unit: "score" for maps in units of the score (integrated gradients, LRP, occlusion, …): I
            counts as 1 where something was taken out. "gradient" for maps in units of score per
            input (the gradient): I is the difference x − x′ itself. Noise always is.
        normalize: scale the map by the factor that fits best, so that maps of different scale can
            be compared (as the authors' program and InterpretDL do); False is the formula alone.
        noise_amount: σ of the noise, a share of each image's range.

    Raises:
        InputError: an option is out of range.
    """

    ranks = False

    n_samples: int | None = 100
    perturbation: Literal["square", "noise"] = "square"
    unit: Literal["score", "gradient"] = "score"
    normalize: bool = True
    fill: Fill = "mean"
    noise_amount: float = 0.1
    gradient_of: ScoreKind | None = None
    seed: int = 0

    def check(self) -> None:
        if self.n_samples is not None:
            counts(n_samples=self.n_samples)
        elif self.perturbation == "noise":
            raise InputError("n_samples=None takes all squares; for noise give a number")

    def evaluate_case(self, case: Case) -> Evaluation:
        if case.part is not None and (self.perturbation, self.unit) != ("square", "score"):
            raise InputError(
                "perturbation='noise' and unit='gradient' are for pictures: a word is there or not"
            )
        imputer, target = case.imputer(self.fill), case.score(self.gradient_of)
        whole = case.model.scores(case.x, target)
        values = np.empty(len(case.x))
        for i in range(len(case.x)):
            one = case.take(np.array([i]))
            told, scores = self._foretold_and_scores(one, imputer, i)
            values[i] = mean_square(told, whole[i] - scores, self.normalize)
        return self.result(values)

    def _foretold_and_scores(self, one: Case, imputer: Imputer, row: int) -> tuple[Array, Array]:
        """Iᵀφ and f(x − I) for each perturbation of one image, float64 [M] each."""
        x, rng = one.x[0], np.random.default_rng([self.seed, int(one.rows[0])])
        target = one.score(self.gradient_of)
        if one.part is not None:
            out = runs_of(one.values.shape[1])
            if self.n_samples is not None and self.n_samples < len(out):
                out = out[rng.choice(len(out), self.n_samples, replace=False)]
            return without(one.model, imputer, target, one.heat[0], one.part.units, out)
        phi = _full_size(one)
        if self.perturbation == "square":
            windows = _windows(x.shape[1], x.shape[2])
            if self.n_samples is not None:
                windows = windows[rng.integers(len(windows), size=self.n_samples)]
            if self.unit == "gradient":
                if imputer.base is None:
                    raise InputError("unit='gradient' needs a fill that does not depend on the gap")
                phi = phi * (x - imputer.base[row])
            return _squares(one.model, imputer, row, target, phi.sum(axis=0), windows)
        scale = self.noise_amount * float(np.ptp(x))
        seeds = rng.integers(2**63, size=self.n_samples)
        told = np.empty(len(seeds))

        def make(rows: NDArray[np.int64]) -> Array:
            noise = np.stack(
                [np.random.default_rng(seeds[row]).normal(0, scale, x.shape) for row in rows]
            )
            told[rows] = (noise * phi).sum(axis=(1, 2, 3))
            return np.asarray(x - noise, x.dtype)

        return told, perturbed_scores(one.model, one.x, target, np.zeros_like(seeds), make)

    def evaluate(
        self,
        img_path: Any,
        explanation: Any,
        recompute: bool = False,
        batch_size: int | None = None,
        resize_to: int | None = None,
        crop_to: int | None = None,
    ) -> float:
        """InterpretDL's call, for one picture: all squares, grey (127), normalised, logits.

        Args:
            img_path: a picture, see `Interpreter.explain`.
            explanation: values [1, C, h, w], [1, h, w] or [h, w]; absolute values are summed over
                channels where there are several.
            recompute: accepted; nothing is kept between calls, so it changes nothing.
            batch_size: most images in one run.
            resize_to, crop_to: in place of the model's own preprocessing.

        Returns:
            the infidelity.
        """
        given = picture_and_map(self, img_path, explanation, batch_size, resize_to, crop_to)
        probe, target = given.subject.probe, given.target("logit")
        told, scores = _squares(
            probe, Imputer(given.x, grey(given), given.preprocessing), 0, target,
            given.heat[0].astype(np.float64), _windows(*given.x.shape[2:]),
        )  # fmt: skip
        return mean_square(told, probe.scores(given.x, target) - scores, normalize=True)


def mean_square(told: Array, made: Array, normalize: bool) -> float:
    """Mean of (β told − made)²; β is 1, or the factor that makes it least."""
    power = float((told**2).mean())
    if normalize and power > 0:
        told = told * (float((told * made).mean()) / power)
    return float(((told - made) ** 2).mean())


def _full_size(one: Case) -> Array:
    """One map at the image's size, with its channels where it has the input's; float64."""
    values = one.values[0]
    if values.ndim == 3 and values.shape == one.x.shape[1:]:
        return np.asarray(values, np.float64)
    return one.heat.astype(np.float64)


def _windows(height: int, width: int) -> Windows:
    """Squares y0, y1, x0, x1, int64 [M, 4]."""
    short = min(height, width)
    stride = max(1, round(short / 28))

    def every() -> Iterator[tuple[int, int, int, int]]:
        for side in sorted({max(1, round(short * part / 7)) for part in (1, 2, 4)}):
            for y in range(0, height - side + 1, stride):
                for x in range(0, width - side + 1, stride):
                    yield y, y + side, x, x + side

    return np.array(list(every()), np.int64)


def _squares(
    probe: Probe, imputer: Imputer, row: int, target: TargetLike, phi: Array, windows: Windows
) -> tuple[Array, Array]:
    """Sum of phi [H, W] over each square, and the score of one image without it."""
    # the sum over a square from four corners of the running sum
    total = np.pad(phi.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    y0, y1, x0, x1 = windows.T
    told = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]

    def make(rows: NDArray[np.int64]) -> Array:
        keep = np.ones((len(rows), *phi.shape), bool)
        for mask, (top, bottom, left, right) in zip(keep, windows[rows], strict=True):
            mask[top:bottom, left:right] = False
        return imputer.images(np.full(len(rows), row), keep)

    owner = np.zeros(len(windows), np.int64)
    return told, perturbed_scores(probe, imputer.x[row : row + 1], target, owner, make)


def runs_of(words: int) -> NDArray[np.bool_]:
    """Every run of one to five neighbouring words, bool [S, words]."""
    place = np.arange(words)
    runs = [
        (place >= start) & (place < start + length)
        for length in range(1, min(words, 5) + 1)
        for start in range(words - length + 1)
    ]
    return np.array(runs)


def without(
    probe: Probe, imputer: Imputer, target: TargetLike, phi: Array, regions: Array, out: Array
) -> tuple[Array, Array]:
    """Sum of phi [M] over each set of regions, and the score of one input without it.

    Args:
        imputer: of that input alone.
        regions: int64, like the input; which region each of its parts belongs to.
        out: bool [S, M], the sets.
    """
    owner = np.zeros(len(out), np.int64)
    scores = perturbed_scores(
        probe, imputer.x, target, owner,
        lambda rows: imputer.images(owner[rows], ~out[rows][:, regions]),
    )  # fmt: skip
    return out @ np.asarray(phi, np.float64), scores


@register_evaluator(
    "completeness",
    higher_is_better=False,
    paper="Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, 2017",
    url="https://arxiv.org/abs/1703.01365",
)
class Completeness(Evaluator):
    """How far a map's sum is from what it should sum to: |Σφ − Δ| / |Δ|, Δ = f(x) − f(baseline).

    An image whose Δ is zero has no value. Parts: "sum" and "difference" (Δ). Only the sum counts:
    a map that is moved, turned or mirrored has the same value.

    Args:
        baseline: what the method compares with: "mean" (of each image and channel), "blur",
            "black", a number, or an array that broadcasts to the images. None: Δ is f(x) alone, as
            LRP has it.
    """

    ranks = False

    baseline: Fill | None = 0.0
    gradient_of: ScoreKind | None = None

    def evaluate_case(self, case: Case) -> Evaluation:
        target = case.score(self.gradient_of)
        delta = case.model.scores(case.x, target).astype(np.float64)
        if self.baseline is not None:
            delta -= case.model.scores(case.imputer(self.baseline).nothing(), target)
        total = case.values.reshape(len(case.x), -1).sum(axis=1, dtype=np.float64)
        known = np.where(delta == 0, np.nan, delta)
        return self.result(
            np.abs(total - delta) / np.abs(known),
            parts={"sum": total, "difference": delta},
            flags=flagged(delta == 0, "the score is the baseline's"),
        )


@register_evaluator(
    "local_fidelity",
    higher_is_better=True,
    paper="Bhatt, Weller, Moura: Evaluating and Aggregating Feature-based Model Explanations, 2020",
    url="https://arxiv.org/abs/2005.00631",
    random=True,
    inputs=("pictures", "text"),
)
class LocalFidelity(Evaluator):
    """Correlation between the relevance of a random set of patches and the score lost without it.

    Pearson's, in [-1, 1]: 1 where the map, on some scale, foretells every loss.

    Args:
        n_samples: sets of patches for each image, or of words for each text.
        share: how much of the picture, or of the words, a set takes out.
        patch: side of a patch in pixels; None is a fourteenth of the short edge.

    Raises:
        InputError: an option is out of range.
    """

    n_samples: int = 100
    share: float = 0.2
    patch: int | None = None
    fill: Fill = "mean"
    gradient_of: ScoreKind | None = None
    seed: int = 0

    def check(self) -> None:
        if self.n_samples < 2 or not 0 < self.share < 1:
            raise InputError(
                "n_samples must be at least 2 and share in (0, 1); got "
                f"{self.n_samples} and {self.share}"
            )

    def evaluate_case(self, case: Case) -> Evaluation:
        n, regions = len(case.x), case.regions(self.patch)
        relevance = case.relevance(regions)
        count = relevance.shape[1]
        taken = max(1, round(self.share * count))
        out = np.zeros((n, self.n_samples, count), bool)
        for i, row in enumerate(case.rows):
            rng = np.random.default_rng([self.seed, int(row)])
            for j in range(self.n_samples):
                out[i, j, rng.choice(count, taken, replace=False)] = True
        imputer = case.imputer(self.fill, regions)

        def make(rows: NDArray[np.int64]) -> Array:
            image, sample = np.divmod(rows, self.n_samples)
            return imputer.images(image, ~out[image, sample][:, regions])

        owner = np.repeat(np.arange(n), self.n_samples)
        target = case.score(self.gradient_of)
        scores = perturbed_scores(case.model, case.x, target, owner, make)
        whole = case.model.scores(case.x, target)[:, None]
        lost = beyond_rounding(whole - scores.reshape(n, -1), whole)
        told = np.einsum("nsr,nr->ns", out, relevance)
        values, flags = np.full(n, np.nan), {}
        for i in range(n):
            if min(np.ptp(told[i]), np.ptp(lost[i])) > 0:
                values[i] = np.corrcoef(told[i], lost[i])[0, 1]
            else:
                parts = "patches" if case.part is None else "words"
                flags[i] = f"the map or the score is the same for all sets of {parts}"
        return self.result(values, flags=flags)


InfidelityInterpreterEvaluator = Infidelity
