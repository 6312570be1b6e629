"""Images explained in concepts: how much of a class's relevance goes through which detectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, warn
from ..interpreter import LRPInterpreter
from ..record import digest_of_model
from ..rules import Composite
from ..subject import Subject
from ..targets import ClassScore, scores_of, settled
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
    """The share that a concept has in the relevance of a class.

    Attributes:
        concept, category: names; empty for the units that detect nothing.
        share: of the relevance that speaks for the class, in [0, 1].
        relevance: sum over the concept's units, relevance against the class included.
        units: the units that detect it, the one with the largest relevance first.
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
    """The concepts through which one image's class gets its relevance; the shares sum to 1.

    Attributes:
        layer, label: the layer, and the class that was explained.
        shares: one for each concept, largest first; the units without a concept are last.
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
    """Find the concepts through whose detectors a class gets its relevance.

    A unit's relevance is the sum over its positions. A unit belongs to the concept that it detects
    (IoU of at least `result.min_iou`), or to none. A concept's share is the positive relevance of
    its units, divided by the positive relevance of all units.

    Args:
        model: the model that was dissected, a paddle.nn.Layer or a Subject. Another one, or the
            same with other weights, is refused: its units detect something else. If the result does
            not say what was dissected, a warning says so.
        inputs: pictures or arrays, as `Interpreter.explain` takes them.
        result: the dissected layer.
        label: the class, by index or name, or one for each image; None takes the top class of each.
        relevance: a function that computes the layer's relevance, see `Relevance`; None is
            `lrp(model)`.

    Returns:
        The shares of each image that could be read.

    Raises:
        InputError: the layer is rotated, another model was dissected, the relevance does not fit
            the layer, or no relevance is positive.
        ImageReadError, TargetError, LayerNotFoundError, UnsupportedModelError, ResourceError.
    """
    if result.rotated:
        raise InputError("a rotated layer has no units in the model; give the layer itself")
    if callable(label):
        raise InputError(f"label must be a class here, by index or name; got a target, {label!r}")
    subject = Subject.of(model)
    _refuse_another(subject.probe.model, result)
    batch = subject.read(inputs)
    x, logits = batch.inputs, subject.probe.logits(batch.inputs)
    target = cast(ClassScore, settled(subject.target(label, batch), logits))
    scores_of(target, logits)  # refuses labels and outputs that do not fit
    labels = np.array(np.broadcast_to(target.labels, len(x)))
    values = np.asarray((relevance or lrp(subject))(x, labels, result.layer), np.float64)
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


def lrp(model: Any, composite: str | Composite = "epsilon_gamma_box") -> Relevance:
    """Relevance by LRP under a composite, see `LRPInterpreter`."""
    interpreter = LRPInterpreter(model)

    def relevance(x: NDArray[Any], labels: NDArray[np.int64], layer: str) -> NDArray[Any]:
        return np.asarray(interpreter.relevance(x, labels, layer=layer, composite=composite))

    return relevance


def gradient_times_activation(model: Any) -> Relevance:
    """Relevance as gradient times activation; in a network of ReLUs this is LRP-0."""
    probe = Subject.of(model).probe

    def relevance(x: NDArray[Any], labels: NDArray[np.int64], layer: str) -> NDArray[Any]:
        found = probe.gradients(x, ClassScore(labels), at=layer)
        return np.asarray(found.activations[layer] * found.gradients[layer])

    return relevance


def _refuse_another(model: Any, result: LayerResult) -> None:
    """Hold a model against the one that was dissected."""
    if not result.model:
        warn(
            f"the result of {result.layer!r} does not say which model was dissected; make sure "
            "that it is this one, with these weights"
        )
        return
    found = digest_of_model(model)
    if found == result.model:
        return
    (kind, weights), (other, others) = found.split(" ", 1), result.model.split(" ", 1)
    what = f"a {other}, and this is a {kind}" if kind != other else (
        f"a {kind} with other weights or buffers (fingerprint {others}; of this model: {weights})"
    )  # fmt: skip
    raise InputError(
        f"the model that was dissected is {what}: its units detect something else; give the model "
        "that was dissected, or dissect this one"
    )


def _shares(
    layer: str, label: int, relevance: NDArray[np.float64], groups: dict[tuple[str, str], list[int]]
) -> ConceptShares:
    positive = np.maximum(relevance, 0)
    total = positive.sum()
    if not total > 0:
        raise InputError(
            f"no relevance at {layer!r} is positive, so nothing there speaks for class {label}"
        )
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
