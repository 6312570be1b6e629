"""InterpretDL's way of calling an evaluator: one picture, read here, and one map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.heatmaps import heatmap_of
from ..errors import InputError, warn
from ..explanation import Explanation
from ..preprocessing import Preprocessing
from ..subject import Subject
from ..targets import ClassScore, ScoreKind
from .base import Evaluator

__all__ = ["PicturesAndMap", "as_heat", "grey", "picture_and_map"]

Array = NDArray[Any]
GREY = 127


@dataclass(frozen=True)
class PicturesAndMap:
    """One picture as the network sees it, its top class, and a map of it.

    Attributes:
        x: float [1, C, H, W].
        heat: float [1, H, W].
        regions: int64 [H, W], single pixels or superpixels.
        steps: as many as superpixels; None for pixels.
        label: the top class.
    """

    x: Array
    heat: Array
    regions: NDArray[np.int64]
    steps: int | None
    label: int
    subject: Subject

    def target(self, of: ScoreKind) -> ClassScore:
        return ClassScore(self.label, of)

    @property
    def preprocessing(self) -> Preprocessing:
        if self.subject.preprocessing is None:
            raise InputError("evaluate() is for pictures; give the evaluator preprocessing=")
        return self.subject.preprocessing


def picture_and_map(
    evaluator: Evaluator,
    picture: Any,
    explanation: Any,
    batch_size: int | None,
    resize_to: int | None,
    crop_to: int | None,
) -> PicturesAndMap:
    """Read one picture and bring the map to its size.

    Raises:
        ImageReadError: the picture cannot be read.
        InputError: no model, several pictures, or a map that is no map of one picture.
    """
    if evaluator.subject is None:
        raise InputError(f"{type(evaluator).__name__} needs a model: give it to the constructor")
    subject = evaluator.subject.with_batch_size(batch_size)
    batch = subject.read(picture, resize_to=resize_to, crop_to=crop_to)
    if batch.given != 1:
        raise InputError(
            f"evaluate() takes one picture; got {batch.given}. measure() takes a batch of inputs"
        )
    x = batch.inputs
    size = (x.shape[2], x.shape[3])
    if isinstance(explanation, Mapping):
        heat, regions, steps = _of_superpixels(explanation, size)
    else:
        heat, steps = as_heat(explanation, size), None
        regions = np.arange(heat.size).reshape(size)
    label = int(subject.probe.logits(x)[0].argmax())
    return PicturesAndMap(x, heat, regions, steps, label, subject)


def as_heat(explanation: Any, size: tuple[int, int]) -> Array:
    """A map of one picture, [h, w], [C, h, w], [1, h, w] or [1, C, h, w], as float [1, H, W].

    Over several channels absolute values are summed, or values where an Explanation says that they
    are signed.

    Warns:
        InterpretWarning: it is an array of several channels with negative numbers.
    """
    known = isinstance(explanation, Explanation)
    values = np.asarray(explanation.values if known else explanation, np.float32)
    if values.ndim == 4 and len(values) == 1:
        values = values[0]
    if values.ndim == 3:
        if len(values) > 1 and not known and (values < 0).any():
            warn(
                "the sizes of the array's channels are summed, as InterpretDL does, so that what "
                "speaks against the class counts for it; measure(signed=True) minds the sign"
            )
        signed = len(values) == 1 or (known and explanation.signed)
        values = (values if signed else np.abs(values)).sum(axis=0)
    if values.ndim != 2:
        raise InputError(
            f"the explanation of one picture is [1, C, h, w], [1, h, w] or [h, w]; got "
            f"{list(np.shape(explanation))}"
        )
    return heatmap_of(values[None], size, signed=True)


def _of_superpixels(
    lime: Mapping[str, Any], size: tuple[int, int]
) -> tuple[Array, NDArray[np.int64], int]:
    """LIME's results: superpixels are relevant in the order in which they are listed."""
    if not {"segmentation", "lime_weights"} <= set(lime):
        raise InputError(
            f"LIME's results have 'segmentation' and 'lime_weights'; got {', '.join(lime)}"
        )
    segments = np.asarray(lime["segmentation"])
    if segments.shape != size:
        raise InputError(f"the segmentation is {list(segments.shape)}, the picture {list(size)}")
    numbers, regions = np.unique(segments, return_inverse=True)
    regions = regions.reshape(size)
    listed = next(iter(lime["lime_weights"].values()))
    relevance = dict.fromkeys(numbers.tolist(), 0)
    relevance |= {number: len(listed) - i for i, (number, _) in enumerate(listed)}
    pixels = np.bincount(regions.ravel())  # a region's relevance is the sum over its pixels
    per_region = np.array([relevance[number] for number in numbers.tolist()]) / pixels
    return per_region[regions][None], regions, len(numbers)


def grey(given: PicturesAndMap) -> Array:
    """The input for a grey picture (127), like x."""
    pixel = np.full((1, 1, 1, given.x.shape[1]), GREY, np.uint8)
    return np.broadcast_to(given.preprocessing.normalize(pixel), given.x.shape)
