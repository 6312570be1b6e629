"""Score of a sequence: networks that give a class for each step, such as readers of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, TargetError
from ..tensors import from_numpy
from .scores import ScoreKind, Target, Tensor, checked_kind, class_indexes, class_score, labels_of

__all__ = ["SequenceScore"]


class SequenceScore(Target):
    """Score of a class at steps of a sequence: the mean over these steps.

    Of a model whose output is [N, T, K]: scores of K classes at each of T steps. A recogniser of
    text that was trained with CTC has a step for each column of its last feature map, and one
    class, mostly the first, is the blank between letters.

        read = it.Probe(recogniser).logits(x).argmax(axis=2)
        whole = it.SequenceScore(read, read != 0)  # all that is read, without the blanks
        letter = it.SequenceScore(7, 3)  # class 7 at step 3

    Args:
        labels: int, or ints [N]; or ints [N, T], a class for each step. Each in [0, K).
        steps: which steps: an int, or ints [N], each in [0, T); or bool [T] or [N, T]. None: those
            at which the class has the largest score, found anew in each output; their sum is
            divided by T, so that the score falls with their number.
        of: the score at a step: "logit" (default), "probability", "loss" or "contrast" as in
            ClassScore.

    Raises:
        InputError: unknown `of`, steps of another kind, or no step in an image.
        TargetError: labels are no whole numbers; on the call, when the output is not [n, T, K], or
            labels or steps do not fit it.
    """

    def __init__(
        self,
        labels: int | Sequence[int] | NDArray[Any],
        steps: int | Sequence[int] | NDArray[Any] | None = None,
        of: ScoreKind = "logit",
    ) -> None:
        self.labels = class_indexes(labels)
        self.of = checked_kind(of)
        self.steps: NDArray[Any] | None = None if steps is None else np.asarray(steps)
        if self.labels.ndim > 2:
            raise TargetError(
                "labels must be one class, or classes [N] or [N, T]; got the shape "
                f"{list(self.labels.shape)}"
            )
        if self.steps is None:
            return
        kind, axes = self.steps.dtype.kind, self.steps.ndim
        if not (kind in "iu" and axes < 2) and not (kind == "b" and axes in (1, 2)):
            raise InputError(
                "steps must be a whole number, whole numbers [N], or bool [T] or [N, T]; got "
                f"{self.steps.dtype} {list(self.steps.shape)}"
            )
        if kind == "b" and not self.steps.any(axis=-1).all():
            raise InputError(
                "steps has no step in it, in an image at least; where nothing but blanks is read, "
                "name the steps yourself"
            )

    def take(self, indices: NDArray[np.int64]) -> SequenceScore:
        labels = self.labels[indices] if self.labels.ndim else self.labels
        steps = self.steps
        if steps is not None and steps.ndim == (2 if steps.dtype == np.bool_ else 1):
            steps = steps[indices]
        return SequenceScore(labels, steps, self.of)

    def __call__(self, output: Tensor) -> Tensor:
        if output.ndim != 3:
            raise TargetError(
                "a sequence's score needs an output [N, T, K]; this model's is "
                f"{list(output.shape)}. Bring it to that form with output="
            )
        n, length, classes = output.shape
        if self.labels.ndim == 2:
            if self.labels.shape != (n, length):
                raise TargetError(
                    f"labels are {list(self.labels.shape)}, a class for each step, but the output "
                    f"{list(output.shape)} needs {[n, length]}"
                )
            labels = labels_of(self.labels.ravel(), n * length, classes)
        else:
            labels = labels_of(self.labels, n, classes).repeat(length)
        flat = output.reshape([n * length, classes])
        scores = class_score(flat, labels, self.of).reshape([n, length])
        if self.steps is None:
            fixed = flat.detach()
            largest = class_score(fixed, labels, "logit") >= fixed.amax(axis=1)
            return (scores * largest.reshape([n, length]).astype(scores.dtype)).mean(axis=1)
        inside = from_numpy(_marked(self.steps, n, length), output.place, scores.dtype)
        return (scores * inside).sum(axis=1) / inside.sum(axis=1)

    def __repr__(self) -> str:
        steps: Any = None if self.steps is None else self.steps.tolist()
        if self.steps is not None and self.steps.dtype == np.bool_:
            steps = f"bool {list(self.steps.shape)}"
        return f"SequenceScore({self.labels.tolist()}, steps={steps}, of={self.of!r})"


def _marked(steps: NDArray[Any], n: int, length: int) -> NDArray[np.bool_]:
    """The steps of n sequences, bool [n, T]."""
    if steps.dtype == np.bool_:
        if steps.shape not in ((length,), (n, length)):
            raise TargetError(
                f"steps are {list(steps.shape)}, but the output needs {[length]} or {[n, length]}"
            )
        return np.broadcast_to(steps, (n, length))
    if steps.ndim and len(steps) != n:
        raise TargetError(f"{len(steps)} steps were given for {n} images")
    if steps.min() < 0 or steps.max() >= length:
        raise TargetError(f"step {steps.tolist()} is not in [0, {length}), this output's steps")
    return np.asarray(np.arange(length) == np.broadcast_to(steps, (n,))[:, None])
