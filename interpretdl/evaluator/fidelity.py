"""Whether a map's numbers say what the model does: infidelity, completeness, local fidelity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..registry import register_evaluator
from ..targets import ScoreKind
from .base import Evaluator
from .case import Case
from .compat import grey, picture_and_map
from .evaluation import Array, Evaluation
from .removal import Fill, check_fill, filled, grid_regions, perturbed_scores, region_sums

__all__ = ["Completeness", "Infidelity", "LocalFidelity"]

Windows = NDArray[np.int64]


@register_evaluator(
    "infidelity",
    higher_is_better=False,
    paper="Yeh et al.: On the (In)fidelity and Sensitivity of Explanations, 2019",
    url="https://arxiv.org/abs/1901.09392",
    random=True,
    aliases=("InfidelityInterpreterEvaluator",),
)
class Infidelity(Evaluator):
    """Mean squared difference between what a map foretells of perturbations and what they do.

        E[(Iᵀφ − (f(x) − f(x − I)))²]

    Args:
        model, device, **common: see Evaluator.
        n_samples: perturbations of each image; None takes all squares (about 1200).
        perturbation: "square" (a square is replaced by `fill`; sides 1/7, 2/7 and 4/7 of the short
            edge, on a grid of 1/28: 32, 64, 128 and 8 pixels at 224) or "noise" (Gaussian).
        unit: "score" for maps in units of the score (integrated gradients, LRP, occlusion, …): I
            counts as 1 where something was taken out. "gradient" for maps in units of score per
            input (the gradient): I is the difference x − x′ itself. Noise always is.
        normalize: scale the map by the factor that fits best, so that maps of different scale can
            be compared (as the authors' program and InterpretDL do); False is the formula alone.
        fill: for squares, see DeletionInsertion.
        noise_amount: σ of the noise, a share of each image's range.
        of: the score; None is the one explained.
        seed: of the perturbations, with each image's index.

    Raises:
        InputError: an option is out of range.
    """

    ranks = False

    def __init__(
        self,
        model: Any = None,
        device: str | None = None,
        *,
        n_samples: int | None = 100,
        perturbation: Literal["square", "noise"] = "square",
        unit: Literal["score", "gradient"] = "score",
        normalize: bool = True,
        fill: Fill = "mean",
        noise_amount: float = 0.1,
        of: ScoreKind | None = None,
        seed: int = 0,
        **common: Any,
    ) -> None:
        super().__init__(model, device, **common)
        if perturbation not in ("square", "noise") or unit not in ("score", "gradient"):
            raise InputError(
                "perturbation must be 'square' or 'noise' and unit 'score' or 'gradient'; got "
                f"{perturbation!r} and {unit!r}"
            )
        if perturbation == "noise" if n_samples is None else n_samples < 1:
            raise InputError(f"n_samples must be at least 1 (or None for squares); got {n_samples}")
        self.n_samples, self.perturbation, self.unit = n_samples, perturbation, unit
        self.normalize, self.fill, self.noise_amount = normalize, check_fill(fill), noise_amount
        self.of, self.seed = of, seed

    def evaluate_case(self, case: Case) -> Evaluation:
        base = filled(case.x, self.fill, case.preprocessing)
        whole = case.model.scores(case.x, case.target(self.of))
        values = np.empty(len(case.x))
        for i in range(len(case.x)):
            one = case.take(np.array([i]))
            told, made = self._foretold_and_done(one, base[i], float(whole[i]))
            values[i] = mean_square(told, made, self.normalize)
        return self.result(values)

    def _foretold_and_done(self, one: Case, base: Array, whole: float) -> tuple[Array, Array]:
        """Iᵀφ and f(x) − f(x − I) for each perturbation of one image, float64 [M] each."""
        x, rng = one.x[0], np.random.default_rng([self.seed, int(one.rows[0])])
        phi = _full_size(one)
        if self.perturbation == "square":
            windows = _windows(x.shape[1], x.shape[2])
            if self.n_samples is not None:
                windows = windows[rng.integers(len(windows), size=self.n_samples)]
            return _squares(one, base, whole, windows, phi, self.unit == "gradient", self.of)
        scale = self.noise_amount * float(np.ptp(x))
        seeds = rng.integers(2**63, size=self.n_samples)
        told = np.empty(len(seeds))

        def make(rows: NDArray[np.int64]) -> Array:
            noise = np.stack(
                [np.random.default_rng(seeds[row]).normal(0, scale, x.shape) for row in rows]
            )
            told[rows] = (noise * phi).sum(axis=(1, 2, 3))
            return np.asarray(x - noise, x.dtype)

        owner = np.zeros(len(seeds), np.int64)
        scores = perturbed_scores(one.model, one.x, one.target(self.of), owner, make)
        return told, whole - scores

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
        labels = np.array([given.label])
        case = Case(
            given.x, given.heat, np.arange(1), labels, True, "logit", None, probe=given.probe
        )
        whole = float(given.probe.scores(given.x, given.target("logit"))[0])
        windows = _windows(given.x.shape[2], given.x.shape[3])
        told, made = _squares(
            case, grey(given)[0], whole, windows, given.heat.astype(np.float64), False, "logit"
        )
        return mean_square(told, made, normalize=True)


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
    one: Case,
    base: Array,
    whole: float,
    windows: Windows,
    phi: Array,
    difference: bool,
    of: ScoreKind | None,
) -> tuple[Array, Array]:
    x = one.x[0]
    weighed = (phi * (x - base if difference else 1)).sum(axis=0)
    # the sum over a square from four corners of the running sum
    total = np.pad(weighed.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    y0, y1, x0, x1 = windows.T
    told = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]

    def make(rows: NDArray[np.int64]) -> Array:
        images: Array = np.repeat(x[None], len(rows), axis=0)
        for image, (top, bottom, left, right) in zip(images, windows[rows], strict=True):
            image[:, top:bottom, left:right] = base[:, top:bottom, left:right]
        return images

    owner = np.zeros(len(windows), np.int64)
    scores = perturbed_scores(one.model, one.x, one.target(of), owner, make)
    return told, whole - scores


@register_evaluator(
    "completeness",
    higher_is_better=False,
    paper="Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, 2017",
    url="https://arxiv.org/abs/1703.01365",
)
class Completeness(Evaluator):
    """How far a map's sum is from what it should sum to: |Σφ − Δ| / |Δ|, Δ = f(x) − f(baseline).

    An image whose Δ is zero has no value. Parts: "sum" and "difference" (Δ).

    Args:
        model, device, **common: see Evaluator.
        baseline: what the method compares with, see DeletionInsertion's fill; None: Δ is f(x)
            alone, as LRP has it.
        of: the score; None is the one explained.
    """

    ranks = False

    def __init__(
        self,
        model: Any = None,
        device: str | None = None,
        *,
        baseline: Fill | None = 0.0,
        of: ScoreKind | None = None,
        **common: Any,
    ) -> None:
        super().__init__(model, device, **common)
        self.baseline = None if baseline is None else check_fill(baseline)
        self.of = of

    def evaluate_case(self, case: Case) -> Evaluation:
        target = case.target(self.of)
        delta = case.model.scores(case.x, target).astype(np.float64)
        if self.baseline is not None:
            base = filled(case.x, self.baseline, case.preprocessing)
            delta -= case.model.scores(base, target)
        total = case.values.reshape(len(case.x), -1).sum(axis=1, dtype=np.float64)
        flags = {int(i): "the score is the baseline's" for i in np.flatnonzero(delta == 0)}
        known = np.where(delta == 0, np.nan, delta)
        return self.result(
            np.abs(total - delta) / np.abs(known),
            parts={"sum": total, "difference": delta},
            flags=flags,
        )


@register_evaluator(
    "local_fidelity",
    higher_is_better=True,
    paper="Bhatt, Weller, Moura: Evaluating and Aggregating Feature-based Model Explanations, 2020",
    url="https://arxiv.org/abs/2005.00631",
    random=True,
)
class LocalFidelity(Evaluator):
    """Correlation between the relevance of a random set of patches and the score lost without it.

    Pearson's, in [-1, 1]: 1 where the map, on some scale, foretells every loss.

    Args:
        model, device, **common: see Evaluator.
        n_samples: sets of patches for each image.
        share: how much of the picture a set takes out.
        patch: side of a patch in pixels; None is a fourteenth of the short edge.
        fill: see DeletionInsertion.
        of: the score; None is the one explained.
        seed: of the sets, with each image's index.

    Raises:
        InputError: an option is out of range.
    """

    def __init__(
        self,
        model: Any = None,
        device: str | None = None,
        *,
        n_samples: int = 100,
        share: float = 0.2,
        patch: int | None = None,
        fill: Fill = "mean",
        of: ScoreKind | None = None,
        seed: int = 0,
        **common: Any,
    ) -> None:
        super().__init__(model, device, **common)
        if n_samples < 2 or not 0 < share < 1:
            raise InputError(
                f"n_samples must be at least 2 and share in (0, 1); got {n_samples} and {share}"
            )
        self.n_samples, self.share, self.patch = n_samples, share, patch
        self.fill, self.of, self.seed = check_fill(fill), of, seed

    def evaluate_case(self, case: Case) -> Evaluation:
        n, (height, width) = len(case.x), case.x.shape[2:]
        patch = max(1, min(height, width) // 14) if self.patch is None else self.patch
        regions = grid_regions(height, width, patch)
        count = int(regions.max()) + 1
        taken = max(1, round(self.share * count))
        out = np.zeros((n, self.n_samples, count), bool)
        for i, row in enumerate(case.rows):
            rng = np.random.default_rng([self.seed, int(row)])
            for j in range(self.n_samples):
                out[i, j, rng.choice(count, taken, replace=False)] = True
        base = filled(case.x, self.fill, case.preprocessing)

        def make(rows: NDArray[np.int64]) -> Array:
            image, sample = np.divmod(rows, self.n_samples)
            gone = out[image, sample][:, regions][:, None]
            return np.asarray(np.where(gone, base[image], case.x[image]))

        owner = np.repeat(np.arange(n), self.n_samples)
        target = case.target(self.of)
        scores = perturbed_scores(case.model, case.x, target, owner, make)
        lost = case.model.scores(case.x, target)[:, None] - scores.reshape(n, -1)
        told = np.einsum("nsr,nr->ns", out, region_sums(case.heat, regions))
        values, flags = np.full(n, np.nan), {}
        for i in range(n):
            if min(np.ptp(told[i]), np.ptp(lost[i])) > 0:
                values[i] = np.corrcoef(told[i], lost[i])[0, 1]
            else:
                flags[i] = "the map or the score is the same for all sets of patches"
        return self.result(values, flags=flags)


InfidelityInterpreterEvaluator = Infidelity
