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

from ..errors import InputError, TargetError

__all__ = [
    "ClassScore",
    "ScoreKind",
    "Target",
    "TargetLike",
    "check_labels",
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


TargetLike = Target | Callable[[Tensor], Tensor]


def take(target: TargetLike, indices: NDArray[np.int64]) -> TargetLike:
    """`target.take(indices)`; a plain function holds nothing per image and is returned as it is."""
    return target.take(indices) if isinstance(target, Target) else target


def check_labels(labels: NDArray[Any], classes: int) -> None:
    """Raise TargetError for the first label that is not in [0, classes)."""
    for label in np.ravel(labels):
        if not 0 <= label < classes:
            raise TargetError(f"label {label} is not in [0, {classes}), the classes of this model")


def labels_of(labels: NDArray[np.int64], n: int, classes: int) -> NDArray[np.int64]:
    """A label for each of n images, [n], from one or from n, each in [0, classes)."""
    check_labels(labels, classes)
    if labels.ndim and len(labels) != n:
        raise TargetError(f"{len(labels)} labels were given for {n} images")
    return np.array(np.broadcast_to(labels, (n,)))


def checked_kind(of: ScoreKind) -> ScoreKind:
    if of not in get_args(ScoreKind):
        raise InputError(f"the score must be one of {get_args(ScoreKind)}; got {of!r}")
    return of


def class_score(output: Tensor, labels: NDArray[np.int64], of: ScoreKind) -> Tensor:
    """Score [n, ...] of a class for each image, labels [n], from logits [n, K, ...]."""
    rows = paddle.to_tensor(labels.reshape(-1, *[1] * (output.ndim - 1)), place=output.place)
    if of == "probability":
        output = F.softmax(output, axis=1)
    elif of == "loss":
        # By hand: Paddle's log_softmax on the CPU ends at -64.
        output = output - output.max(axis=1, keepdim=True).detach()
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
        self.labels: NDArray[np.int64] = np.asarray(labels, np.int64)
        self.of = checked_kind(of)

    def take(self, indices: NDArray[np.int64]) -> ClassScore:
        return self if self.labels.ndim == 0 else ClassScore(self.labels[indices], self.of)

    def __call__(self, output: Tensor) -> Tensor:
        if output.ndim != 2:
            raise TargetError(
                f"a class score needs an output [N, K]; this model's is {list(output.shape)}. Pick "
                "a part of it with output=, or give a target for such outputs"
            )
        n, classes = output.shape
        return class_score(output, labels_of(self.labels, n, classes), self.of)

    def __repr__(self) -> str:
        return f"ClassScore({self.labels.tolist()}, of={self.of!r})"
