"""What maps are held against where the truth is known, a number for each picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.heatmaps import heatmap_of
from ..evaluator import RankAccuracy, RelevanceMass
from ..evaluator.correlation import spearman
from .suite import TOLERANCE, Problem

__all__ = ["MEASURES", "TOLERANCE", "measured"]

Values = NDArray[np.float64]

MEASURES: dict[str, tuple[float, str]] = {
    "grade": (0.0, "mass; where the truth is nothing, silence"),
    "mass": (0.0, "share of the relevance that lies on the truth"),
    "rank accuracy": (0.0, "share of the K largest values that lie on the truth, of K pixels"),
    "AUC": (0.5, "how well the map's order tells the truth's pixels from the others"),
    "pointing": (0.0, "whether the maximum lies on the truth"),
    "sign": (0.0, "share, by size, of the relevance on the truth that speaks for the class"),
    "parts": (0.0, "rank correlation of the parts' relevance with their importance"),
    "class": (0.0, "mass that moves to the other class's evidence when that class is explained"),
    "silence": (0.0, "1 where the map is empty, 0 where it has what it has for another class"),
}
"""{measure: (what an empty map has, what it is in words)}; higher is better."""


def measured(
    problem: Problem, values: NDArray[Any], others: NDArray[Any] | None, signed: bool
) -> tuple[dict[str, Values], NDArray[np.bool_], NDArray[np.bool_]]:
    """All measures that the problem allows.

    Args:
        values: [N, C, h, w] or [N, h, w], the maps of the problem's labels.
        others: those of its other classes; None where it has none.
        signed: whether values below zero speak against the class.

    Returns:
        {measure: float64 [N]}; which maps have no value above 0, where there is something to be
        found, and which have values that are not finite, bool [N].
    """
    size = problem.x.shape[2:]
    heat = heatmap_of(values, (size[0], size[1]), signed)
    finite = np.asarray(np.isfinite(heat).all(axis=(1, 2)))
    empty = finite & ~(heat.max(axis=(1, 2)) > 0)
    found: dict[str, Values] = {}
    if problem.masks.any():
        mass = found["mass"] = _mass(problem, heat, problem.masks)
        ranks = RankAccuracy(tolerance=TOLERANCE)
        on_truth = ranks.measure(problem.x, heat, signed=True, masks=problem.masks).values
        found["rank accuracy"] = _filled(on_truth, "rank accuracy")
        found["AUC"] = _each("AUC", _auc, heat, problem.masks)
        found["pointing"] = _each("pointing", _pointing, heat, problem.near)
        if signed and not problem.mixed:
            found["sign"] = _each("sign", _sign, heat, problem.near)
        if others is not None and problem.other_masks is not None:
            other = heatmap_of(others, (size[0], size[1]), signed)
            moved = (
                mass
                - _mass(problem, other, problem.masks)
                + _mass(problem, other, problem.other_masks)
                - _mass(problem, heat, problem.other_masks)
            ) / 2
            found["class"] = moved
    elif others is not None:
        other = heatmap_of(others, (size[0], size[1]), signed)
        found["silence"] = _silence(heat, other)
        empty[:] = False  # as it should be
    if problem.parts is not None and problem.importance is not None:
        found["parts"] = _parts(heat, problem.parts, problem.importance)
    grade = found.get("mass", found.get("silence"))
    if grade is not None:
        found["grade"] = grade
    return {name: found[name] for name in MEASURES if name in found}, empty, ~finite


def _filled(values: Values, measure: str) -> Values:
    """Maps that say nothing count as what chance has or less, and are not left out."""
    return np.where(np.isfinite(values), values, MEASURES[measure][0])


def _mass(problem: Problem, heat: NDArray[Any], masks: NDArray[np.bool_]) -> Values:
    evaluator = RelevanceMass(tolerance=TOLERANCE)
    return _filled(evaluator.measure(problem.x, heat, signed=True, masks=masks).values, "mass")


def _each(
    measure: str,
    of: Callable[[Values, NDArray[np.bool_]], float],
    heat: NDArray[Any],
    masks: NDArray[np.bool_],
) -> Values:
    """A number for each picture; see `_filled`."""
    return np.array([
        of(one, mask) if np.isfinite(one).all() and one.max() > 0 else MEASURES[measure][0]
        for one, mask in zip(heat.astype(np.float64), masks, strict=True)
    ])  # fmt: skip


def _auc(heat: Values, mask: NDArray[np.bool_]) -> float:
    """Probability that a pixel of the truth is above one off it, by ranks (Mann and Whitney)."""
    from scipy.stats import rankdata

    inside = int(mask.sum())
    ranks = rankdata(heat)[mask.ravel()].sum() - inside * (inside + 1) / 2
    return float(ranks / (inside * (mask.size - inside)))


def _pointing(heat: Values, near: NDArray[np.bool_]) -> float:
    """Where several pixels share the maximum, the share of them that hit, as in PointGame."""
    return float(near[heat == heat.max()].mean())


def _sign(heat: Values, near: NDArray[np.bool_]) -> float:
    """Σ R⁺ / Σ |R| on the truth; 0 where nothing is there."""
    size = float(np.abs(heat[near]).sum())
    return float(np.maximum(heat[near], 0).sum()) / size if size else 0.0


def _silence(heat: NDArray[Any], other: NDArray[Any]) -> Values:
    """1 − Σ|R| / Σ|R of the other class|, not below 0; 0 where both maps are empty."""
    own, against = (np.abs(one.astype(np.float64)).sum(axis=(1, 2)) for one in (heat, other))
    known = np.isfinite(own) & np.isfinite(against) & (against > 0)
    ratio = np.divide(own, against, out=np.ones_like(own), where=known)
    return np.asarray(np.maximum(0, 1 - ratio))


def _parts(heat: NDArray[Any], parts: NDArray[np.bool_], importance: NDArray[np.float64]) -> Values:
    sums = np.einsum("nhw,nphw->np", np.nan_to_num(heat.astype(np.float64)), parts)
    return _filled(
        np.array([spearman(a, b) for a, b in zip(sums, importance, strict=True)]), "parts"
    )
