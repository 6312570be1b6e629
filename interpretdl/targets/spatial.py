"""Scores of segmentations and of detections: networks that answer for places in a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import paddle
import paddle.nn.functional as F
from numpy.typing import NDArray

from ..errors import InputError, TargetError
from ..tensors import from_numpy
from .scores import ScoreKind, Target, Tensor, checked_kind, class_score, labels_of

__all__ = ["Activation", "DetectionScore", "DetectionSimilarity", "SegmentationScore"]

Activation: TypeAlias = Literal["sigmoid", "softmax"] | None
"""What makes probabilities of a detector's scores; None: they are probabilities."""


class SegmentationScore(Target):
    """Score of a class in a region of a segmentation: the mean over the region's pixels.

    Vinogradova, Dibrov, Myers: Towards Interpretable Semantic Segmentation via Gradient-weighted
    Class Activation Mapping, 2020 (https://arxiv.org/abs/2002.11434) take the sum. The mean keeps
    the size of one pixel's score, which methods with a softmax over scores depend on.

    Args:
        labels: int, or ints [N], each in [0, K).
        region: bool [H, W], or [N, H, W] for a region of each image, at the size of the model's
            output. None: the pixels for which the class has the largest logit (with K = 1: a
            logit of 0 or more), found anew in each output; their sum is divided by all H·W pixels,
            so that the score falls with the area. A class that is predicted nowhere scores 0 and
            has no gradient. To hold on to what is predicted for the image itself, also where a
            method changes the image, give `logits.argmax(1) == label`.
        of: the score of a pixel: "logit" (default), "probability", "loss" or "contrast" as in
            ClassScore. A network trained with cross entropy says nothing by adding the same to all
            of a pixel's logits, yet a class's logit goes along; "contrast" does not.

    Raises:
        InputError: unknown `of`, or region is not bool, has another number of axes, or is empty
            in an image.
        TargetError: on the call, when the output is not [n, K, H, W], a label is not in [0, K), or
            the region has another size.
    """

    def __init__(
        self,
        labels: int | Sequence[int] | NDArray[Any],
        region: NDArray[Any] | None = None,
        of: ScoreKind = "logit",
    ) -> None:
        self.labels: NDArray[np.int64] = np.asarray(labels, np.int64)
        self.of = checked_kind(of)
        self.region = None if region is None else np.asarray(region)
        if self.region is None:
            return
        if self.region.dtype != np.bool_ or self.region.ndim not in (2, 3):
            raise InputError(
                "region must be a bool array [H, W] or [N, H, W]; got "
                f"{self.region.dtype} {list(self.region.shape)}"
            )
        if not self.region.any(axis=(-2, -1)).all():
            raise InputError("region has no pixel in it, in an image at least")

    def take(self, indices: NDArray[np.int64]) -> SegmentationScore:
        labels = self.labels[indices] if self.labels.ndim else self.labels
        region = self.region
        if region is not None and region.ndim == 3:
            region = region[indices]
        return SegmentationScore(labels, region, self.of)

    def __call__(self, output: Tensor) -> Tensor:
        if output.ndim != 4:
            raise TargetError(
                "a segmentation score needs an output [N, K, H, W]; this model's is "
                f"{list(output.shape)}. Pick a part of it with output="
            )
        n, classes, *size = output.shape
        labels = labels_of(self.labels, n, classes)
        pixels = class_score(output, labels, self.of)
        if self.region is None:
            fixed = output.detach()
            best = fixed.amax(axis=1) if classes > 1 else 0
            inside = (class_score(fixed, labels, "logit") >= best).astype(output.dtype)
            return (pixels * inside).mean(axis=[1, 2])
        if list(self.region.shape) not in (size, [n, *size]):
            raise TargetError(
                f"region is {list(self.region.shape)}, but the output {list(output.shape)} "
                f"needs {size} or {[n, *size]}"
            )
        inside = from_numpy(self.region, output.place, output.dtype)
        return (pixels * inside).sum(axis=[1, 2]) / inside.sum(axis=[-2, -1])

    def __repr__(self) -> str:
        region = None if self.region is None else f"bool {list(self.region.shape)}"
        return f"SegmentationScore({self.labels.tolist()}, region={region}, of={self.of!r})"


Choose: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], tuple[Any, Any]]


class DetectionScore(Target):
    """Score of a class in one of the boxes that a detector proposes.

    Of a model whose output is [N, M, 4 + K]: M boxes x0, y0, x1, y1 and a score for each of K
    classes, before the boxes are sorted out (what non-maximum suppression leaves has no gradient).
    A detector with several outputs is brought to this form by the interpreter's `output=`, as in
    `output=lambda out: paddle.concat([out["boxes"], out["scores"]], axis=-1)`.

    The box is chosen anew in each output, so that also in a changed image the object's best box
    counts. The choice has no gradient. Only `index` takes the same box always, which is right where
    a box's number says where in the image it is, as in detectors with anchors.

    Args:
        labels: int, or ints [N], each in [0, K).
        box: x0, y0, x1, y1, [4] or [N, 4] in the output's units: the model's box that overlaps it
            most (intersection over union) is taken. None: the one with the class's largest score.
        index: in place of box, the number of the model's box, int or ints [N], each in [0, M).
        choose: in place of all, a function from boxes [n, M, 4] and scores [n, M, K], NumPy
            arrays, to the box's index and the class, each an int or ints [n].

    Raises:
        InputError: neither labels nor choose, choose or index beside others, or box not [4] or
            [N, 4].
        TargetError: on the call, when the output is not [n, M, 4 + K], a label is not in [0, K),
            or an index that is given or chosen is not in range.
    """

    def __init__(
        self,
        labels: int | Sequence[int] | NDArray[Any] | None = None,
        box: Sequence[float] | NDArray[Any] | None = None,
        *,
        index: int | Sequence[int] | NDArray[Any] | None = None,
        choose: Choose | None = None,
    ) -> None:
        if (labels is None) == (choose is None) or (
            choose is not None and not (box is None and index is None)
        ):
            raise InputError("give either labels, with or without box or index, or choose")
        if box is not None and index is not None:
            raise InputError("box and index both say which box is meant; give one of them")
        self.labels: NDArray[np.int64] = np.asarray(0 if labels is None else labels, np.int64)
        self.box = None if box is None else np.asarray(box, np.float64)
        self.index = None if index is None else np.asarray(index, np.int64)
        self.choose = choose
        if self.box is not None:
            _check_box(self.box)

    def take(self, indices: NDArray[np.int64]) -> DetectionScore:
        if self.choose is not None:
            return self
        labels = self.labels[indices] if self.labels.ndim else self.labels
        box = self.box[indices] if self.box is not None and self.box.ndim == 2 else self.box
        index = self.index[indices] if self.index is not None and self.index.ndim else self.index
        return DetectionScore(labels, box, index=index)

    def __call__(self, output: Tensor) -> Tensor:
        _check_boxes(output)
        n, m, width = output.shape
        classes = width - 4
        values = output.detach().astype("float32").numpy()
        found, labels = self._chosen(values[..., :4], values[..., 4:])
        labels = labels_of(np.asarray(labels, np.int64), n, classes)
        found = np.broadcast_to(np.asarray(found, np.int64), (n,))
        if found.min() < 0 or found.max() >= m:
            raise TargetError(f"box {found.tolist()} is not in [0, {m}), the boxes of this output")
        places = from_numpy((found * width + 4 + labels)[:, None], output.place)
        return paddle.take_along_axis(output.reshape([n, m * width]), places, axis=1)[:, 0]

    def _chosen(self, boxes: NDArray[Any], scores: NDArray[Any]) -> tuple[Any, Any]:
        """Index and class of a box for each image, from boxes [n, M, 4] and scores [n, M, K]."""
        if self.choose is not None:
            return self.choose(boxes, scores)
        n, _, classes = scores.shape
        labels = labels_of(self.labels, n, classes)
        if self.index is not None:
            if self.index.ndim and len(self.index) != n:
                raise TargetError(f"{len(self.index)} indexes were given for {n} images")
            return self.index, labels
        if self.box is None:
            return scores[np.arange(n), :, labels].argmax(axis=1), labels
        return overlap(boxes, _of_each(self.box, n)[:, None]).argmax(axis=1), labels

    def __repr__(self) -> str:
        if self.choose is not None:
            return f"DetectionScore(choose={getattr(self.choose, '__name__', self.choose)!r})"
        if self.index is not None:
            return f"DetectionScore({self.labels.tolist()}, index={self.index.tolist()})"
        box = None if self.box is None else self.box.tolist()
        return f"DetectionScore({self.labels.tolist()}, box={box})"


class DetectionSimilarity(Target):
    """How much a detector still finds a box: the score of D-RISE.

    The largest value, over all boxes of the output, of

        IoU(box, box_j) · cos(p, p_j) · max p_j

    where p are the box's probabilities of the classes. The cosine says whether the classes agree,
    and the last factor stands for objectness. `method="rise"` with this target is D-RISE:
    Petsiuk, Jain, Manjunatha, Morariu, Mehra, Ordonez, Saenko: Black-box Explanation of Object
    Detectors via Saliency Maps, 2021 (https://arxiv.org/abs/2006.03204).

    Of a model whose output is [N, M, 4 + K], see DetectionScore, or [N, M, 4 + K + 1] with scores
    of the background last.

    Args:
        box: x0, y0, x1, y1, [4] or [N, 4], in the output's units.
        probabilities: of its classes, [K] or [N, K].
        activation: what makes probabilities of the output's scores: "sigmoid", "softmax", or None
            where they are probabilities.

    Raises:
        InputError: shapes that do not fit, or probabilities that are all 0.
        TargetError: on the call, when the output has another number of classes or of images.
    """

    def __init__(
        self,
        box: Sequence[float] | NDArray[Any],
        probabilities: Sequence[float] | NDArray[Any],
        activation: Activation = "sigmoid",
    ) -> None:
        self.box = np.asarray(box, np.float64)
        self.probabilities = np.asarray(probabilities, np.float64)
        self.activation = activation
        _check_box(self.box)
        if self.probabilities.ndim not in (1, 2) or not self.probabilities.any(axis=-1).all():
            raise InputError(
                "probabilities must be [K] or [N, K], and not all 0; got shape "
                f"{list(self.probabilities.shape)}"
            )
        if activation not in ("sigmoid", "softmax", None):
            raise InputError(f"activation must be 'sigmoid', 'softmax' or None; got {activation!r}")

    def take(self, indices: NDArray[np.int64]) -> DetectionSimilarity:
        box, p = (a[indices] if a.ndim == 2 else a for a in (self.box, self.probabilities))
        return DetectionSimilarity(box, p, self.activation)

    def __call__(self, output: Tensor) -> Tensor:
        _check_boxes(output)
        n, classes = len(output), self.probabilities.shape[-1]
        found = output.shape[2] - 4
        if found - classes not in ((0, 1) if self.activation == "softmax" else (0,)):
            raise TargetError(
                f"the output has {found} classes, and the box {classes} probabilities"
            )
        overlaps = overlap(output[..., :4].detach().numpy(), _of_each(self.box, n)[:, None])
        p = probabilities_of(output[..., 4:], self.activation)[..., :classes]
        wanted = _of_each(self.probabilities, n)
        wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
        same = (p * from_numpy(wanted[:, None], p.place, p.dtype)).sum(axis=2)
        cosine = same / p.norm(axis=2).clip(min=1e-12)
        return (from_numpy(overlaps, p.place, p.dtype) * cosine * p.amax(axis=2)).amax(axis=1)

    def __repr__(self) -> str:
        label = self.probabilities.argmax(axis=-1).tolist()
        return f"DetectionSimilarity({self.box.tolist()}, class {label})"


def probabilities_of(scores: Tensor, activation: Activation) -> Tensor:
    """Probabilities of the classes, on the last axis."""
    if activation == "sigmoid":
        return F.sigmoid(scores)
    return F.softmax(scores, axis=-1) if activation == "softmax" else scores


def _check_box(box: NDArray[np.float64]) -> None:
    if box.ndim not in (1, 2) or box.shape[-1] != 4:
        raise InputError(f"box must be x0, y0, x1, y1, [4] or [N, 4]; got shape {list(box.shape)}")


def _check_boxes(output: Tensor) -> None:
    if output.ndim != 3 or output.shape[2] < 5:
        raise TargetError(
            "a detection score needs an output [N, M, 4 + K], boxes and class scores; this "
            f"model's is {list(output.shape)}. Bring it to that form with output="
        )


def _of_each(values: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """A row for each of n images, from one or from n."""
    if values.ndim == 2 and len(values) != n:
        raise TargetError(f"{len(values)} boxes were given for {n} images")
    return np.broadcast_to(values, (n, values.shape[-1]))


def overlap(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of boxes x0, y0, x1, y1 on the last axis; 0 where both are empty."""
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    common = np.clip(high - low, 0, None).prod(axis=-1)
    areas = [np.clip(c[..., 2:] - c[..., :2], 0, None).prod(axis=-1) for c in (a, b)]
    union = areas[0] + areas[1] - common
    return np.asarray(common / np.where(union > 0, union, 1), np.float64)
