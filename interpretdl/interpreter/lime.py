"""LIME: a linear model fitted to the scores of an input of which random regions are filled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import warn
from ..perturbation import Estimate, Fill, Game, Regions
from ..registry import register
from ..targets import TargetLike
from .base import Array, Attribution
from .region_method import RegionMethod, relative_error, rounds
from .sampling import at_least, counts

__all__ = [
    "Fit",
    "LIMEInterpreter",
    "least_squares",
    "lime",
    "proximity",
    "subsets",
    "warn_undetermined",
]

_NEGLIGIBLE = 1e-10


@dataclass
class Fit:
    """A linear model of scores, y ≈ intercept + z · weights.

    Attributes:
        weights: float64 [M]; of `towards_prior`, on that function's scale.
        standard_error: float64 [M], of the weights; infinite where the samples do not say.
        intercept: in the score's units.
        r2: the weighted coefficient of determination.
        determined: whether the samples were enough to determine the weights.
    """

    weights: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    intercept: float
    r2: float
    determined: bool = True


Fitting = Callable[[Array, Array, Array], Fit]


@register(
    "lime",
    layout="n1hw",
    signed=True,
    one_pass=True,
    random=True,
    inputs=("pictures", "arrays", "text"),
    paper='Ribeiro, Singh, Guestrin: "Why Should I Trust You?": Explaining the Predictions of Any '
    "Classifier, 2016",
    url="https://arxiv.org/abs/1602.04938",
)
class LIMEInterpreter(RegionMethod):
    """LIME: the weights of a linear model fitted to scores with a random half of the regions out.

        φ₀, φ = argmin Σ_z π(z) (v(z) − φ₀ − z·φ)²,    π(z) = √exp(−d²/σ²),    d = 1 − √(|z|/M)

    Each region is kept (z = 1) with probability ½; the first sample keeps all. d is the cosine
    distance of z from the whole input. With the published width of .25 the kernel is nearly flat,
    so the map says what regions are worth when about half of the picture is there, not close to
    the picture. It is exact for a score to which regions add up, whatever the width; "r2" says how
    much of the variance the linear model explains. Costs `evaluations` forward passes.
    """

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        regions: Regions | None = None,
        fill: Fill = "region_mean",
        evaluations: int = 1000,
        tolerance: float | None = None,
        kernel_width: float = 0.25,
        seed: int = 0,
    ) -> Attribution:
        """Weights of the regions. With regions=None pictures are cut by quickshift.

        Args:
            tolerance: stop when the largest standard error is at most this part of the largest
                value; it is looked at after 128, 256, 512 … evaluations. None: all are made.
            kernel_width: σ; a smaller one gives more weight to samples that keep more.

        Returns:
            float [N, 1, H, W], each pixel with its region's weight, in the score's units; for
            inputs that are no pictures of their shape. Diagnostics "evaluations", "r2" and
            "intercept" [N]; "standard_error", robust to residuals of different size, like the
            values; "regions" [N, H, W]; with a tolerance "converged" [N].

        Raises:
            InputError: an option that does not fit.

        Warns:
            InterpretWarning: there are fewer samples than regions + 1, or a region that no sample
                takes out. Of the weights that fit the samples the smallest are given then.
        """
        self._check(evaluations, tolerance, kernel_width)

        def estimate(game: Game, rng: np.random.Generator) -> Estimate:
            return lime(game, rng, evaluations, kernel_width=kernel_width, tolerance=tolerance)

        return self._estimated(
            x, target, estimate, evaluations, regions=self._cut(x, regions), fill=fill, seed=seed,
            tolerance=tolerance,
        )  # fmt: skip

    def _check(self, evaluations: int, tolerance: float | None, kernel_width: float) -> None:
        counts(evaluations=evaluations)
        at_least(0, tolerance=tolerance)
        at_least(1e-3, kernel_width=kernel_width)

    def _cut(self, x: Array, regions: Regions | None) -> Regions | None:
        """The regions asked for; superpixels of pictures where nothing was said."""
        pictures = self.preprocessing is not None and x.ndim == 4
        return "quickshift" if regions is None and pictures else regions


def lime(
    game: Game,
    rng: np.random.Generator,
    evaluations: int,
    *,
    kernel_width: float = 0.25,
    tolerance: float | None = None,
    fit: Fitting | None = None,
) -> Estimate:
    """LIME's weights in a game.

    Args:
        evaluations: samples, the whole input included.
        kernel_width, tolerance: see `LIMEInterpreter.attribute`.
        fit: from samples bool [n, M], scores [n] and their weights [n] to a linear model; None:
            `least_squares`.
    """
    fit = fit or least_squares
    z = np.ones((1, game.players), bool)
    y = np.array([game.whole])
    for n in rounds(evaluations, tolerance):
        new = subsets(rng, n - len(z), game.players)
        z, y = np.concatenate([z, new]), np.concatenate([y, game(new)])
        found = fit(z, y, proximity(z, kernel_width))
        reached = relative_error(found.weights, found.standard_error)
        if tolerance is not None and reached <= tolerance:
            break
    warn_undetermined(found, z)
    return Estimate(
        found.weights,
        found.standard_error,
        {"r2": found.r2, "intercept": found.intercept},
        sums=False,
    )


def warn_undetermined(fit: Fit, z: Array) -> None:
    """Warn where the samples [n, M] were too few."""
    if fit.determined:
        return
    n, m = z.shape
    advice = f"take {m + 1} samples at the very least, better {10 * m}, or fewer regions"
    if n > m:
        advice = (
            "a region was never taken out, or kernel_width leaves most samples without weight; "
            "take more samples, or a larger width"
        )
    warn(
        f"{n} samples do not determine the weights of {m} regions, so the smallest that fit are "
        f"given: {advice}"
    )


def subsets(rng: np.random.Generator, n: int, players: int) -> NDArray[np.bool_]:
    """n samples in which each region is kept with probability ½, [n, M]. In two calls or in one
    they are the same."""
    return rng.random((n, players)) < 0.5


def proximity(z: Array, width: float) -> NDArray[np.float64]:
    """LIME's weight of samples [n, M]: √exp(−d²/width²), with the cosine distance d from ones."""
    distance = 1 - np.sqrt(z.mean(axis=1))
    return np.asarray(np.exp(-((distance / width) ** 2) / 2))


def least_squares(z: Array, y: Array, weights: Array) -> Fit:
    """Weighted least squares with an intercept; the smallest solution where there are several.

    The standard error is the sandwich estimator HC3 (MacKinnon and White, 1985), whose residuals
    are divided by 1 − leverage, as in a jackknife.

    Args:
        z: [n, M]. y: [n]. weights: [n], above 0.
    """
    share, root = weights / weights.sum(), np.sqrt(weights)
    mean_z, mean_y = share @ z, float(share @ y)
    u, size, vt = np.linalg.svd(root[:, None] * (z - mean_z), full_matrices=False)
    kept = size > _NEGLIGIBLE * size.max(initial=0)
    u, size, vt = u[:, kept], size[kept], vt[kept]
    inverse = (vt.T / size) @ u.T
    found = inverse @ (root * (y - mean_y))
    intercept = float(mean_y - mean_z @ found)
    residual = y - intercept - z @ found
    determined = int(kept.sum()) == z.shape[1]
    error = np.full(z.shape[1], np.inf)
    if determined:
        error = robust_error(inverse, root * residual, share + (u**2).sum(axis=1))
    return Fit(found, error, intercept, r_squared(y, residual, share), determined)


def robust_error(inverse: Array, residual: Array, leverage: Array) -> NDArray[np.float64]:
    """Standard error of `inverse @ y` by HC3, [M]; infinite where a residual is 0 because the fit
    goes through the sample whatever its score is."""
    free = 1 - leverage
    if free.min() < _NEGLIGIBLE:
        return np.full(len(inverse), np.inf)
    return np.asarray(np.sqrt((inverse * (residual / free)) ** 2 @ np.ones(len(residual))))


def r_squared(y: Array, residual: Array, share: Array) -> float:
    """1 − (variance of the residuals) / (variance of y), weighted; 1 where y does not vary."""
    variance = float(share @ (y - share @ y) ** 2)
    if variance <= (1e-12 * np.abs(y).max()) ** 2:
        return 1.0
    return float(1 - share @ residual**2 / variance)
