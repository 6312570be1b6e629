"""Case: what an evaluator is given, images, maps, and what made them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.heatmaps import heatmap_of
from ..errors import InputError
from ..interpreter.base import Attribution, Interpreter
from ..preprocessing import Preprocessing
from ..probe import Probe
from ..targets import ClassScore, ScoreKind, TargetLike, take
from ..targets.labels import Labels

__all__ = ["Case", "Explain", "checked_boxes", "checked_masks", "explainer_of"]

Array = NDArray[Any]
Explain = Callable[[Array, Labels], Array]


@dataclass(frozen=True)
class Case:
    """What is evaluated: n images, their maps, and what made them.

    Attributes:
        x: float [n, C, H, W].
        values: float [n, …], the maps as the method gave them.
        rows: int64 [n], positions among the images given; random numbers are drawn by these.
        labels: int64 [n], or a target; None where the evaluator needs no model.
        signed: whether values below zero speak against the class.
        of: the class score that the maps explain.
        probe, interpreter, explain: None where they are not needed and not given.
        masks: bool [n, H, W], or None.
        boxes: for each image float [boxes, 4] of x1, y1, x2, y2; or None.
    """

    x: Array
    values: Array
    rows: NDArray[np.int64]
    labels: Labels | None
    signed: bool
    of: ScoreKind
    preprocessing: Preprocessing | None
    probe: Probe | None = None
    interpreter: Interpreter | None = None
    explain_with: Explain | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    masks: Array | None = None
    boxes: Sequence[Array] | None = None

    @cached_property
    def heat(self) -> NDArray[np.float32]:
        """One map per image, float32 [n, H, W], at the image's size."""
        return self.heat_of(self.values)

    def heat_of(self, values: Array) -> NDArray[np.float32]:
        """Maps as `heat` has them, of other values."""
        return heatmap_of(values, (self.x.shape[2], self.x.shape[3]), self.signed)

    @property
    def model(self) -> Probe:
        """The probe; `measure` has made sure that it is there."""
        if self.probe is None:
            raise InputError("this evaluator needs a model: Evaluator(model) or interpreter=")
        return self.probe

    def target(self, of: ScoreKind | None = None) -> TargetLike:
        """The score that is watched: `of` the class of each image, or the user's target."""
        if self.labels is None or callable(self.labels):
            if self.labels is None:
                raise InputError("labels are needed: give labels=")
            return self.labels
        return ClassScore(self.labels, of or self.of)

    @property
    def method(self) -> Interpreter:
        """The Interpreter, where a function does not do.

        Raises:
            InputError: it is not there.
        """
        if self.interpreter is None:
            raise InputError("interpreter= must be an Interpreter, not a function, for this")
        return self.interpreter

    def explain(self, x: Array, labels: Labels | None = None) -> Array:
        """The method's values for other images in the places of these, float [n, …]."""
        if self.explain_with is None:
            raise InputError("this evaluator explains again: give interpreter=")
        return self.explain_with(x, self.target_labels if labels is None else labels)

    @property
    def target_labels(self) -> Labels:
        """`labels`, which are there."""
        if self.labels is None:
            raise InputError("labels are needed: give labels=")
        return self.labels

    def take(self, which: NDArray[np.int64]) -> Case:
        """The case of some of the images."""
        labels = self.labels
        if isinstance(labels, np.ndarray):
            labels = labels[which]
        elif labels is not None:
            labels = take(labels, which)
        return replace(
            self,
            x=self.x[which],
            values=self.values[which],
            rows=self.rows[which],
            labels=labels,
            masks=None if self.masks is None else self.masks[which],
            boxes=None if self.boxes is None else [self.boxes[i] for i in which],
        )


def explainer_of(interpreter: Interpreter, options: Mapping[str, Any]) -> Explain:
    """The method as a function (x, labels) -> values."""

    def explain(x: Array, labels: Labels) -> Array:
        found = interpreter.attribute(x, labels, **options)
        return np.asarray(found.values if isinstance(found, Attribution) else found)

    return explain


def checked_masks(masks: Any, x: Array) -> Array | None:
    if masks is None:
        return None
    array = np.asarray(masks)
    shape = (len(x), *x.shape[2:])
    if array.shape != shape:
        raise InputError(f"masks must be {list(shape)}, as x is; got {list(array.shape)}")
    return np.asarray(array > 0)


def checked_boxes(boxes: Any, n: int) -> list[Array] | None:
    if boxes is None:
        return None
    if len(boxes) != n:
        raise InputError(f"boxes must be given for each of {n} images; got {len(boxes)}")
    arrays = [np.atleast_2d(np.asarray(box, np.float64)) for box in boxes]
    for i, array in enumerate(arrays):
        if array.ndim != 2 or array.shape[1] != 4 or (array[:, 2:] <= array[:, :2]).any():
            raise InputError(
                f"image {i}: a box is x1, y1, x2, y2 with x1 < x2 and y1 < y2; got {boxes[i]!r}"
            )
    return arrays
