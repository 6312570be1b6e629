"""Case: what an evaluator is given, images, maps, and what made them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.heatmaps import heatmap_of
from ..errors import InputError, warn
from ..interpreter.base import Attribution, Interpreter
from ..perturbation import Fill, Imputer, grid_regions, region_sums
from ..preprocessing import Preprocessing
from ..probe import Probe
from ..subject import TextPart
from ..targets import ClassScore, ScoreKind, TargetLike, take

__all__ = ["Case", "Explain", "checked_boxes", "checked_masks", "explainer_of", "warn_of_signs"]

Array = NDArray[Any]
Explain = Callable[[Array, TargetLike], Array]


@dataclass(frozen=True)
class Case:
    """What is evaluated: n images, their maps, and what made them; or one text.

    Attributes:
        x: float [n, C, H, W]; of a text int64 [1, W], the ids of its words' tokens.
        values: float [n, …], the maps as the method gave them; of a text [1, M], its words'.
        rows: int64 [n], positions among the images given; random numbers are drawn by these.
        target: what was explained; None where the evaluator needs no model.
        signed: whether values below zero speak against the class.
        preprocessing: how pictures become inputs, where it is known.
        probe, interpreter, explain_with: None where they are not needed and not given.
        options: the method's, for explaining again.
        masks: bool [n, H, W], or None.
        boxes: for each image float [boxes, 4] of x1, y1, x2, y2; or None.
        sign_unknown: whether nothing said what values below zero mean.
        part: of a text, which word each of its tokens belongs to, and what stands for nothing.
    """

    x: Array
    values: Array
    rows: NDArray[np.int64]
    target: TargetLike | None
    signed: bool
    preprocessing: Preprocessing | None
    probe: Probe | None = None
    interpreter: Interpreter | None = None
    explain_with: Explain | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    masks: Array | None = None
    boxes: Sequence[Array] | None = None
    sign_unknown: bool = False
    part: TextPart | None = None

    @cached_property
    def maps(self) -> NDArray[Any]:
        """One map per image, float32 [n, H, W], at the image's size; of a text [1, M]."""
        return self._reduced(self.values) if self.part is None else self.values

    @property
    def heat(self) -> NDArray[Any]:
        """`maps`, for an evaluator to which their sign matters.

        Warns:
            InterpretWarning: there are negative values, and nothing said what they mean.
        """
        self._heed_signs(self.values)
        return self.maps

    def heat_of(self, values: Array) -> NDArray[np.float32]:
        """Maps as `heat` has them, of other values; it warns as well."""
        self._heed_signs(values)
        return self._reduced(values)

    def _heed_signs(self, values: Array) -> None:
        if self.sign_unknown and (values < 0).any():
            warn_of_signs()

    def _reduced(self, values: Array) -> NDArray[np.float32]:
        return heatmap_of(values, (self.x.shape[2], self.x.shape[3]), self.signed)

    def regions(self, patch: int | None) -> NDArray[np.int64]:
        """What is taken out together: squares of `patch` pixels [H, W], where None is a fourteenth
        of the short edge; of a text the words of its tokens [W]."""
        if self.part is not None:
            return self.part.units
        height, width = self.x.shape[2:]
        patch = max(1, min(height, width) // 14) if patch is None else patch
        return grid_regions(height, width, patch)

    def relevance(self, regions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Sum of each map over each region, float64 [n, M]."""
        if self.part is not None:
            return np.asarray(self.heat, np.float64)
        return np.asarray(region_sums(self.heat, regions), np.float64)

    @property
    def whole(self) -> str:
        """What parts are shares of, in words."""
        return "picture" if self.part is None else "words"

    def imputer(self, fill: Fill, regions: NDArray[np.int64] | None = None) -> Imputer:
        """The images with parts taken out; for "region_mean" regions [H, W].

        Of a text "mean", the default, is the token that its TextPreprocessing names.
        """
        if self.part is not None:
            if isinstance(fill, str) and fill == "mean":
                fill = self.part.blank
            elif not isinstance(fill, str) and np.asarray(fill).dtype.kind not in "iu":
                raise InputError(f"the fill of a text must be token ids, integers; got {fill!r}")
            return Imputer(self.x, fill, None)
        cut = None if regions is None else [regions] * len(self.x)
        return Imputer(self.x, fill, self.preprocessing, cut)

    @property
    def model(self) -> Probe:
        """The probe; `measure` has made sure that it is there."""
        if self.probe is None:
            raise InputError("this evaluator needs a model: Evaluator(model) or interpreter=")
        return self.probe

    def score(self, gradient_of: ScoreKind | None = None) -> TargetLike:
        """The target that is watched.

        Args:
            gradient_of: another score of the class that was explained; None: what was explained. A
                target that is no class stays what it is.
        """
        if self.target is None:
            raise InputError("the target is not known: give labels=")
        if gradient_of is None or not isinstance(self.target, ClassScore):
            return self.target
        return ClassScore(self.target.labels, gradient_of)

    @property
    def class_score(self) -> ClassScore:
        """The target with a class for each image, labels [n], for evaluators that need classes."""
        target = self.score()
        if not isinstance(target, ClassScore):
            raise InputError("this evaluator needs class indexes as labels, not a target")
        return ClassScore(np.broadcast_to(target.labels, len(self.x)), target.of)

    @property
    def method(self) -> Interpreter:
        """The Interpreter, where a function does not do.

        Raises:
            InputError: it is not there.
        """
        if self.interpreter is None:
            raise InputError("interpreter= must be an Interpreter, not a function, for this")
        return self.interpreter

    def explain(self, x: Array, target: TargetLike | None = None) -> Array:
        """The method's values for other images in the places of these, float [n, …]."""
        if self.explain_with is None:
            raise InputError("this evaluator explains again: give interpreter=")
        return self.explain_with(x, self.score() if target is None else target)

    def take(self, which: NDArray[np.int64]) -> Case:
        """The case of some of the images."""
        return replace(
            self,
            x=self.x[which],
            values=self.values[which],
            rows=self.rows[which],
            target=None if self.target is None else take(self.target, which),
            masks=None if self.masks is None else self.masks[which],
            boxes=None if self.boxes is None else [self.boxes[i] for i in which],
        )


def warn_of_signs() -> None:
    """Say that nothing was said of negative values."""
    warn(
        "the values are an array with negative numbers, of which only the size counts "
        "here; give signed=True if they speak against the class, signed=False if not"
    )


def explainer_of(interpreter: Interpreter, options: Mapping[str, Any]) -> Explain:
    """The method as a function (x, target) -> values.

    Args:
        options: as `explain` takes them; the target already says which score is explained.
    """
    own = {k: v for k, v in options.items() if k not in ("gradient_of", "relevance_of")}

    def explain(x: Array, target: TargetLike) -> Array:
        found = interpreter.attribute(x, target, **own)
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
