"""G-LIME: LIME's linear model, drawn towards what is known of the class from other pictures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from os import PathLike
from typing import Any, Literal

import numpy as np

from ..errors import InputError
from ..perturbation import Estimate, Fill, Game, Regions, regions_of
from ..registry import register
from ..targets import ClassScore, TargetLike, settled
from .base import Array, Attribution
from .global_weights import Clusters, GlobalWeights
from .lime import Fit, LIMEInterpreter, lime, r_squared, robust_error
from .sampling import at_least

__all__ = ["GLIMEInterpreter", "PriorMethod", "check_force", "towards_prior"]

PriorMethod = Literal["none", "ridge"]
_TINY = 1e-12


@register(
    "g_lime",
    layout="n1hw",
    signed=True,
    one_pass=True,
    random=True,
    inputs=("pictures", "arrays", "text"),
    paper="Li et al.: G-LIME: Statistical Learning for Local Interpretations of Deep Neural "
    "Networks Using Global Priors, 2023",
    url="https://doi.org/10.1016/j.artint.2022.103823",
)
class GLIMEInterpreter(LIMEInterpreter):
    """G-LIME: LIME with weights drawn towards those of similar regions of other pictures.

        w = (XᵀX + βI)⁻¹ (Xᵀy + βw₀),    w₀ = prior / ‖prior‖₁

    X are LIME's samples and y their scores, centred, scaled to columns of length 1, rows multiplied
    by the root of LIME's weights. The prior comes from global weights, which
    NormLIMECVInterpreter computes from many pictures. It steadies the map where samples are few,
    and hides what is special about this picture: the larger β, the less the samples count. w
    belongs to the scaled columns, so its size says nothing about the score's units. As InterpretDL
    computes it, which has neither the paper's sparsity nor its path of solutions. Costs
    `evaluations` forward passes.
    """

    global_weights: GlobalWeights | None = None
    """What prior_method="ridge" draws towards."""

    def set_global_weights(
        self,
        global_weights_info: str | PathLike[str] | Mapping[Any, Any],
        *,
        clusters: Clusters | None = None,
    ) -> None:
        """Set the global weights, which the prior is made of.

        Args:
            global_weights_info: {class: {cluster: weight}} as NormLIMECVInterpreter gives it, or
                the path of a file in which it was saved.
            clusters: which cluster each region belongs to, for weights that do not say it, such as
                InterpretDL's: a function from a picture uint8 [H, W, 3] and its regions int [H, W]
                to a cluster for each region.

        Raises:
            InputError: no such weights. ResourceError: the file cannot be read.
        """
        self.global_weights = GlobalWeights.read(global_weights_info, clusters)

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        prior_method: PriorMethod = "none",
        prior_reg_force: float = 1.0,
        global_weights: str | PathLike[str] | Mapping[Any, Any] | None = None,
        regions: Regions | None = None,
        fill: Fill = "region_mean",
        evaluations: int = 1000,
        tolerance: float | None = None,
        kernel_width: float = 0.25,
        seed: int = 0,
    ) -> Attribution:
        """Weights of the regions. With regions=None pictures are cut by quickshift.

        Args:
            prior_method: "ridge": towards the global weights; "none": towards 0, which is ridge
                regression and not LIME.
            prior_reg_force: β, from 0, no prior. It is beside XᵀX, whose diagonal is about ½ for
                any number of samples.
            global_weights: {class: {cluster: weight}} as NormLIMECVInterpreter gives it, or the
                file in which it was saved; None: those of `set_global_weights`.

        Returns:
            float [N, 1, H, W], each pixel with its region's weight; for inputs that are no pictures
            of their shape. Diagnostics as LIMEInterpreter's; "intercept" is in the score's units.

        Raises:
            InputError: an option that does not fit, or "ridge" without global weights, or for
                inputs that are no pictures.
        """
        self._check(evaluations, tolerance, kernel_width)
        check_force(prior_reg_force)
        cut = self._cut(x, regions)
        priors: list[Array | None] = [None] * len(x)
        if prior_method == "ridge":
            weights = self._weights(global_weights)
            preprocessing = self.preprocessing
            if preprocessing is None or x.ndim != 4:
                raise InputError("prior_method='ridge' is for pictures; take 'none'")
            each = regions_of(x, cut, preprocessing)
            outputs = self.probe.logits(x)
            target = settled(target, outputs)
            if not isinstance(target, ClassScore):
                raise InputError(
                    "the prior is of classes, and what is explained is none; take "
                    "prior_method='none'"
                )
            labels = np.broadcast_to(target.labels, len(x)).tolist()
            pictures = preprocessing.pictures(x)
            clusters = weights.clusters_of(self.probe, x, pictures, each)
            priors = [weights.prior(*one) for one in zip(labels, clusters, strict=True)]
            cut = np.stack(each)

        def estimate(game: Game, rng: np.random.Generator) -> Estimate:
            fit = partial(towards_prior, prior=priors[game.item], force=prior_reg_force)
            return lime(
                game, rng, evaluations, kernel_width=kernel_width, tolerance=tolerance, fit=fit
            )

        return self._estimated(
            x, target, estimate, evaluations, regions=cut, fill=fill, seed=seed,
            tolerance=tolerance,
        )  # fmt: skip

    def _weights(
        self, given: str | PathLike[str] | Mapping[Any, Any] | None = None
    ) -> GlobalWeights:
        if given is not None:
            return GlobalWeights.read(given)
        if self.global_weights is None:
            raise InputError(
                "prior_method='ridge' needs global weights: call set_global_weights() or "
                "compute_global_weights() first, or take prior_method='none'"
            )
        return self.global_weights


def check_force(force: float) -> None:
    """Raise InputError where β is not a finite number from 0."""
    at_least(0, prior_reg_force=force)
    if force == np.inf:
        raise InputError("prior_reg_force must be finite")


def towards_prior(
    z: Array, y: Array, weights: Array, *, prior: Array | None = None, force: float = 1.0
) -> Fit:
    """Ridge regression towards a prior, on scaled columns; see `GLIMEInterpreter`.

    Args:
        z: [n, M]. y: [n]. weights: [n], above 0.
        prior: [M], of any size; None: 0.
        force: β.
    """
    share, root = weights / weights.sum(), np.sqrt(weights)
    mean_z, mean_y = share @ z, float(share @ y)
    away_z, away_y = z - mean_z, y - mean_y
    size_z, size_y = _size(away_z), _size(away_y)
    design, scores = root[:, None] * away_z / size_z, root * away_y / size_y
    wanted = np.zeros(z.shape[1]) if prior is None else np.asarray(prior, np.float64)
    wanted = wanted / (np.abs(wanted).sum() or 1.0)
    # The pseudo-inverse gives the smallest solution where β is 0 and samples are few.
    gram = design.T @ design + force * np.eye(z.shape[1])
    inverse = np.linalg.pinv(gram, rcond=_TINY, hermitian=True)
    found = inverse @ (design.T @ scores + force * wanted)
    determined = force > 0 or np.linalg.matrix_rank(design) == z.shape[1]
    error = np.full(z.shape[1], np.inf)
    if determined:
        taken = inverse @ design.T
        leverage = share + (design * taken.T).sum(axis=1)
        error = robust_error(taken, scores - design @ found, leverage)
    slope = found * size_y / size_z  # in the score's units
    intercept = float(mean_y - mean_z @ slope)
    r2 = r_squared(y, y - intercept - z @ slope, share)
    return Fit(found, error, intercept, r2, bool(determined))


def _size(away: Array) -> Array:
    """Lengths of columns; 1 where there is nothing to scale."""
    size = np.sqrt((away**2).sum(axis=0))
    return np.asarray(np.where(size > _TINY * np.sqrt(len(away)), size, 1.0))
