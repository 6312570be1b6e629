"""An image explained in concepts: how much of a class's relevance flows through which detectors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..data_processor.readers import read_images
from ..errors import InputError, InterpretWarning
from ..preprocessing import IMAGENET
from ..probe import Probe
from ..targets import ClassScore
from ..targets.labels import resolve
from .result import LayerResult

__all__ = [
    "ConceptShare",
    "ConceptShares",
    "Relevance",
    "explain_in_concepts",
    "gradient_times_activation",
    "lrp",
]

Relevance: TypeAlias = Callable[[NDArray[Any], NDArray[np.int64], str], NDArray[Any]]
"""(x [N, C, H, W], labels [N], layer) -> the layer's relevance [N, U, h, w]."""


@dataclass(frozen=True)
class ConceptShare:
    """A concept's part in a decision.

    Attributes:
        concept, category: names; empty for units that detect nothing.
        share: of the relevance that speaks for the class, in [0, 1].
        relevance: sum over its units, with what speaks against the class.
        units: those that detect it, strongest in this image first.
    """

    concept: str
    category: str
    share: float
    relevance: float
    units: tuple[int, ...]

    def __str__(self) -> str:
        through = f"units that detect {self.concept}" if self.concept else "units without a concept"
        return f"{100 * self.share:.0f} % through {through}"


@dataclass(frozen=True)
class ConceptShares:
    """What one image's class owes to which concepts; the shares sum to 1.

    Attributes:
        layer, label: what was explained.
        shares: concepts with the largest share first; units without a concept are last.
    """

    layer: str
    label: int
    shares: tuple[ConceptShare, ...]

    def __str__(self) -> str:
        return "\n".join(str(share) for share in self.shares if round(100 * share.share))


def explain_in_concepts(
    model: Any,
    inputs: Any,
    result: LayerResult,
    label: Any = None,
    *,
    relevance: Relevance | None = None,
) -> list[ConceptShares]:
    """Through which concepts' detectors does a class's relevance flow?

    A unit's relevance is the sum over its positions. A unit belongs to the concept that it detects
    (IoU of at least `result.min_iou`), and to none if it detects nothing. A concept's share is what
    its units have of the sum of all positive relevance.

    Args:
        model: the model that was dissected.
        inputs: pictures in any form that `read_images` takes, or float [N, C, H, W].
        result: the dissected layer.
        label: the class, by index or name, or one for each image; None takes the top class of each.
        relevance: gives the layer's relevance; None takes `lrp(model)`.

    Returns:
        for each image its shares.

    Raises:
        InputError: the relevance does not fit the layer, or nothing speaks for the class.
        ImageReadError, TargetError, LayerNotFoundError, UnsupportedModelError, ResourceError.
    """
    if result.rotated:
        raise InputError("a rotated layer has no units in the model; give the layer itself")
    images = read_images(inputs, getattr(model, "preprocessing", None) or IMAGENET)
    for index, error in images.failures.items():
        warnings.warn(f"input {index} is left out: {error}", InterpretWarning, stacklevel=2)
    x, given = images.inputs, len(images.inputs) + len(images.failures)
    names = getattr(model, "class_names", None)
    labels = resolve(label, Probe(model).logits(x), names, given, images.indices)
    if callable(labels):
        raise InputError("label must be a class here, by index or name; got a target")
    values = np.asarray((relevance or lrp(model))(x, labels, result.layer), np.float64)
    if values.ndim < 2 or values.shape[:2] != (len(x), result.units):
        raise InputError(
            f"relevance must be [{len(x)}, {result.units}, …] for {result.layer!r}; got "
            f"{list(values.shape)}"
        )
    per_unit = values.reshape(len(x), result.units, -1).sum(axis=2)
    groups: dict[tuple[str, str], list[int]] = {}
    detected = {found.unit: found for found in result.detectors()}
    for unit in range(result.units):
        found = detected.get(unit)
        key = (found.label, found.category) if found else ("", "")
        groups.setdefault(key, []).append(unit)
    return [
        _shares(result.layer, one, row, groups)
        for one, row in zip(labels.tolist(), per_unit, strict=True)
    ]


def lrp(model: Any, composite: str = "z_plus_box") -> Relevance:
    """Relevance by LRP under a composite, see `LRPInterpreter`."""
    from ..interpreter import LRPInterpreter

    interpreter = LRPInterpreter(model)

    def relevance(x: NDArray[Any], labels: NDArray[np.int64], layer: str) -> NDArray[Any]:
        return np.asarray(interpreter.relevance(x, labels, layer=layer, composite=composite))

    return relevance


def gradient_times_activation(model: Any) -> Relevance:
    """Relevance as gradient times activation, which for ReLU networks is what LRP-0 gives."""

    probe = Probe(model)

    def relevance(x: NDArray[Any], labels: NDArray[np.int64], layer: str) -> NDArray[Any]:
        found = probe.gradients(x, ClassScore(labels), at=layer)
        return np.asarray(found.activations[layer] * found.gradients[layer])

    return relevance


def _shares(
    layer: str, label: int, relevance: NDArray[np.float64], groups: dict[tuple[str, str], list[int]]
) -> ConceptShares:
    positive = np.maximum(relevance, 0)
    total = positive.sum()
    if not total > 0:
        raise InputError(f"nothing at {layer!r} speaks for class {label}: no relevance is positive")
    shares = [
        ConceptShare(
            concept,
            category,
            float(positive[units].sum() / total),
            float(relevance[units].sum()),
            tuple(sorted(units, key=lambda unit: -relevance[unit])),
        )
        for (concept, category), units in groups.items()
    ]
    shares.sort(key=lambda share: (share.concept == "", -share.share))
    return ConceptShares(layer, label, tuple(shares))
