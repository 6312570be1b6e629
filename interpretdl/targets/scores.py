"""What is being explained: one number per image, computed from the model's output.

A target is any callable `output -> scores`, from the model's output (a paddle Tensor, logits
[n, K] for a classifier) to a Tensor [n]. `ClassScore` is the usual one, `SegmentationScore` is for
networks that classify every pixel, `DetectionScore` for those that find boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import paddle
import paddle.nn.functional as F
from numpy.typing import NDArray

from ..errors import InputError, TargetError, quoted
from ..tensors import HALF, from_numpy

__all__ = [
    "ClassScore",
    "ScoreKind",
    "Target",
    "TargetLike",
    "TopClass",
    "as_target",
    "check_labels",
    "checked_score",
    "scores_of",
    "settled",
    "take",
]

Tensor: TypeAlias = "paddle.Tensor"
ScoreKind = Literal["logit", "probability", "loss", "contrast"]


class Target:
    """Base of targets that hold something for each image. Subclass and write `__call__`."""

    def __call__(self, output: Tensor) -> Tensor:
        """Scores, Tensor [n], of the model's output for n images."""
        raise NotImplementedError

    def take(self, indices: NDArray[np.int64]) -> Target:
        """The target for the images at `indices`, int64 [m] in [0, N), repeats allowed."""
        return self

    def settled(self, outputs: NDArray[Any]) -> Target:
        """The target that no longer depends on the outputs, once those for the images are known."""
        return self


TargetLike = Target | Callable[[Tensor], Tensor]


def as_target(target: Any) -> TargetLike:
    """A target as it is; class indexes as a ClassScore.

    Raises:
        TargetError: neither.
    """
    return target if callable(target) else ClassScore(target)


def checked_score(target: TargetLike, rows: NDArray[np.int64], output: Tensor) -> Tensor:
    """The scores [n] of an output, of the items `rows`.

    Raises:
        TargetError: the target gives something else.
    """
    # With edits one input row may become many output rows; the target then is about those.
    score = (take(target, rows) if len(rows) == len(output) else target)(output)
    if not isinstance(score, paddle.Tensor) or list(score.shape) != [len(output)]:
        got = list(score.shape) if isinstance(score, paddle.Tensor) else type(score).__name__
        raise TargetError(
            f"a target must return one score per image, a Tensor [{len(output)}]; got {got}"
        )
    return score


def take(target: TargetLike, indices: NDArray[np.int64]) -> TargetLike:
    """`target.take(indices)`; a plain function holds nothing per image and is returned as it is."""
    return target.take(indices) if isinstance(target, Target) else target


def settled(target: TargetLike, outputs: NDArray[Any]) -> TargetLike:
    """`target.settled(outputs)`; a plain function depends on nothing and is returned as it is."""
    return target.settled(outputs) if isinstance(target, Target) else target


def scores_of(target: TargetLike, outputs: NDArray[Any]) -> NDArray[Any]:
    """The target's scores, float [N], of outputs that a run has given, [N, ...]."""
    scores = target(from_numpy(outputs, paddle.CPUPlace()))
    return np.asarray(scores.numpy())


def check_labels(labels: NDArray[Any], classes: int) -> None:
    """Raise TargetError for the first label that is not in [0, classes)."""
    for label in np.ravel(labels):
        if not 0 <= label < classes:
            given = quoted(int(label))
            raise TargetError(f"label {given} is not in [0, {classes}), the classes of this model")


def labels_of(labels: NDArray[np.int64], n: int, classes: int) -> NDArray[np.int64]:
    """A label for each of n images, [n], from one or from n, each in [0, classes)."""
    check_labels(labels, classes)
    if labels.ndim and len(labels) != n:
        raise TargetError(f"{len(labels)} labels were given for {n} images")
    return np.array(np.broadcast_to(labels, (n,)))


def class_indexes(labels: Any) -> NDArray[np.int64]:
    """Labels as an array; how many classes there are is known when the target is called.

    Raises:
        TargetError: they are not whole numbers.
    """
    array = np.asarray(labels)
    if array.dtype == object and all(isinstance(label, int) for label in array.ravel()):
        return array  # beyond 64 bits, and beyond any model's classes
    if array.dtype.kind not in "iu":
        raise TargetError(f"labels must be class indexes, whole numbers; got {labels!r}")
    return array.astype(np.int64)


_OTHERS = {
    3: "For a reader of sequences, [N, T, K], give label=interpretdl.SequenceScore(class, step); "
    "for a detector, [N, M, 4 + K], label=interpretdl.DetectionScore(class). ",
    4: "For a segmentation, [N, K, H, W], give label=interpretdl.SegmentationScore(class), which "
    "is about all pixels of that class, or SegmentationScore(class, region), about those that a "
    "bool array region [H, W] marks. ",
}


def _need_classes(shape: Sequence[int]) -> None:
    if len(shape) != 2:
        raise TargetError(
            f"the model's output is {list(shape)}, not [N, K], so there is no class to take. "
            f"{_OTHERS.get(len(shape), '')}Else pick a part of the output with output=, or give "
            "label= a target, a callable output -> one score per image"
        )


def checked_kind(of: ScoreKind) -> ScoreKind:
    if of not in get_args(ScoreKind):
        raise InputError(f"the score must be one of {get_args(ScoreKind)}; got {of!r}")
    return of


def class_score(output: Tensor, labels: NDArray[np.int64], of: ScoreKind) -> Tensor:
    """Score [n, ...] of a class for each image, labels [n], from logits [n, K, ...]."""
    rows = from_numpy(labels.reshape(-1, *[1] * (output.ndim - 1)), output.place)
    if of == "probability":
        output = F.softmax(output, axis=1)
    elif of == "loss":
        # By hand: Paddle's log_softmax on the CPU ends at -64.
        output = output - output.amax(axis=1, keepdim=True).detach()
        output = paddle.logsumexp(output, axis=1, keepdim=True) - output
    score = paddle.take_along_axis(output, rows, axis=1)[:, 0]
    classes = output.shape[1]
    if of == "contrast" and classes > 1:
        return score - (output.sum(axis=1) - score) / (classes - 1)
    return score


class ClassScore(Target):
    """Score of a class, of the same one for all images or of one for each.

    Args:
        labels: int, or ints [N], each in [0, K).
        of: "logit" (default); "probability" (softmax of the logits); "loss" (cross entropy,
            -log probability); "contrast" (logit minus the mean of the other classes' logits).

    Raises:
        InputError: unknown `of`.
        TargetError: on the call, when a label is not in [0, K) or the output is not [n, K].
    """

    def __init__(self, labels: int | Sequence[int] | NDArray[Any], of: ScoreKind = "logit") -> None:
        self.labels = class_indexes(labels)
        self.of = checked_kind(of)

    def take(self, indices: NDArray[np.int64]) -> ClassScore:
        return self if self.labels.ndim == 0 else ClassScore(self.labels[indices], self.of)

    def __call__(self, output: Tensor) -> Tensor:
        _need_classes(output.shape)
        n, classes = output.shape
        return class_score(output, labels_of(self.labels, n, classes), self.of)

    def __repr__(self) -> str:
        return f"ClassScore({self.labels.tolist()}, of={self.of!r})"


class TopClass(Target):
    """Score of the class with the largest logit in each output.

    Where a method runs the images themselves, this is the target that `label=None` means, and no
    run is needed to find the class first. `settled` gives the `ClassScore` of those classes.

    Args:
        of: as in ClassScore.

    Raises:
        TargetError: on the call, when the output is not [n, K].
    """

    def __init__(self, of: ScoreKind = "logit") -> None:
        self.of = checked_kind(of)

    def settled(self, outputs: NDArray[Any]) -> ClassScore:
        _need_classes(outputs.shape)
        return ClassScore(outputs.argmax(axis=1), self.of)

    def __call__(self, output: Tensor) -> Tensor:
        values = output.detach()
        if values.dtype in HALF:
            values = values.astype("float32")
        return self.settled(values.numpy())(output)

    def __repr__(self) -> str:
        return f"TopClass(of={self.of!r})"
