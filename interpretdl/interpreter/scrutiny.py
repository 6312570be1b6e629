"""A last look at what a method gave: maps that say nothing, and sums that do not come out."""

from __future__ import annotations

import numpy as np

from ..errors import UnsupportedModelError, warn
from ..explanation import Explanation
from ..registry import MethodInfo

__all__ = ["scrutinize"]

# A completeness error above this is no rounding.
_INCOMPLETE = 0.1
# With fewer steps on a path nothing can be said of what more would bring.
_STEPS = 20
_CERTAIN = 1e-6
# Below this, values are what rounding has left of a zero.
_NOTHING = 1e-20


def scrutinize(explanation: Explanation, info: MethodInfo) -> None:
    """Hold any method's result against what a right one cannot be.

    Warns:
        InterpretWarning: an image's values are zero everywhere, or their sum is far from the
            score that they share out; with the likely reason.

    Raises:
        UnsupportedModelError: an image's values are not finite.
    """
    what = "image" if explanation.texts is None else "text"
    flat = explanation.values.reshape(len(explanation), -1)
    broken = np.flatnonzero(~np.isfinite(flat).all(axis=1))
    if len(broken):
        raise UnsupportedModelError(
            f"the {info.name} of {what} {broken[0]} has values that are NaN or infinite: numbers "
            "in the model or in the way back have become too large. Look for the layer with "
            "probe.activations(), take another method, or other options"
        )
    facts = explanation.diagnostics
    nothing = np.abs(flat).max(axis=1, initial=0) < _NOTHING
    # A channel that is off has a map of zeros, and is no fault.
    nothing &= np.abs(facts.get("relevance_through", np.ones(len(flat)))) >= _NOTHING
    empty = np.flatnonzero(nothing)
    if len(empty):
        warn(
            f"the {info.name} of {what} {empty[0]} is zero everywhere"
            f"{_also(len(empty), what)}: {_why_empty(explanation, info, int(empty[0]))}"
        )
    if "completeness_error" in facts:
        errors, coarse = facts["completeness_error"], facts.get("coarse_error")
        off = errors > _INCOMPLETE
        if coarse is not None:  # a path: with few steps, or where steps do help, more will do
            off &= (errors > 0.7 * coarse) & (facts["steps"] >= _STEPS)
        off = np.flatnonzero(off)
        if len(off):
            off_by = f"the {info.name} of {what} {off[0]} misses its sum by {errors[off[0]]:.0%}"
            why = (
                "some operation of the model has another gradient than its slope, such as a "
                "detach(), rounding or a choice, so the map leaves out what goes through it"
            )
            if coarse is None:
                warn(f"{off_by}{_also(len(off), what)}: {why}")
            else:
                warn(
                    f"{off_by}, and by as much with a third of the steps{_also(len(off), what)}: "
                    "either the score rises on a small part of the path, where tolerance=0.01 sets "
                    f"more steps, or {why}"
                )


def _also(count: int, what: str) -> str:
    return "" if count == 1 else f" ({count} {what}s in all)"


def _why_empty(explanation: Explanation, info: MethodInfo, i: int) -> str:
    of, p = getattr(explanation.target, "of", None), explanation.probability(i)
    if of in ("probability", "loss") and p is not None and min(p, 1 - p) < _CERTAIN:
        return (
            f"the class's probability is {p:.3g}, where it no longer changes with the input; "
            "take gradient_of='logit'"
        )
    if info.needs_layer:
        silent = "" if explanation.signed else "no position of the layer speaks for the class, or "
        return (
            f"{silent}the score does not depend on the layer; name another with target_layer_name="
        )
    return (
        "the score does not depend on the input. A detach() in the model, a constant input, units "
        "that are all off, or a score of 0 are the usual reasons"
    )
