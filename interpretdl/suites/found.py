"""What a detector has found in one picture, and which of its boxes is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, TargetError, UnsupportedModelError
from ..targets.spatial import overlap
from .frames import Frame

__all__ = ["Detection", "Found", "chosen", "row_of", "sorted_out"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Detection:
    """One box that a detector has found.

    Attributes:
        index: its place among the boxes of the picture, the surest first.
        label: its class.
        name: of its class.
        score: the class's probability.
        box: x0, y0, x1, y1 in pixels of the picture.
    """

    index: int
    label: int
    name: str
    score: float
    box: tuple[float, float, float, float]

    def __str__(self) -> str:
        corners = ", ".join(f"{side:.0f}" for side in self.box)
        return f"{self.index}: {self.name} {self.score:.3f} at [{corners}]"


@dataclass(frozen=True)
class Found:
    """What is known of the boxes in one picture.

    Attributes:
        frame: the picture.
        boxes: float [M, 4], before they are sorted out, in pixels of the input.
        p: float [M, K], their probabilities of the classes.
        rows: int [R], which of them are left.
        detections: what is left.
    """

    frame: Frame
    boxes: Array
    p: Array
    rows: NDArray[np.int64]
    detections: tuple[Detection, ...]


def chosen(found: Found, box: Any) -> Detection:
    """The box that a user means: by its index, its corners, or a place in it.

    Raises:
        InputError: what was given is no index, no corners and no place.
        TargetError: there is no such box.
    """
    known = found.detections
    values = _numbers(box)
    if not known:
        raise TargetError(
            "no box of the subject's score_threshold or more is found; the largest score of any "
            f"box is {found.p.max():.3g}. Give DetectionSubject a lower score_threshold="
        )
    if isinstance(values, int):
        if not 0 <= values < len(known):
            raise TargetError(f"box {values} is not in [0, {len(known)}): {_listed(known)}")
        return known[values]
    corners = np.array([each.box for each in known])
    if len(values) == 2:
        x, y = values
        inside = (corners[:, :2] <= values).all(axis=1) & (values <= corners[:, 2:]).all(axis=1)
        if not inside.any():
            raise TargetError(f"no box is at ({x:g}, {y:g}): {_listed(known)}")
        return known[int(inside.argmax())]  # the surest are first
    shares = overlap(corners, np.asarray(values))
    if not shares.any():
        raise TargetError(f"no box overlaps {list(values)}: {_listed(known)}")
    return known[int(shares.argmax())]


def row_of(listed: Array, boxes: Array, p: Array, frame: Frame) -> int:
    """The box before sorting out that was listed as [6], class, score and corners."""
    label = int(listed[0])
    off = np.abs(p[:, label] - listed[1])
    height, width = frame.x.shape[2:]
    inside = boxes.clip(0, [width, height, width, height])
    apart = np.minimum(np.abs(boxes - listed[2:]), np.abs(inside - listed[2:])).max(axis=1)
    row = int(np.where(off <= off.min() + 1e-5, apart, np.inf).argmin())
    if off[row] > 1e-2:
        raise UnsupportedModelError(
            f"the model lists a box of score {listed[1]:.3f}, but before sorting out the nearest "
            f"has {p[row, label]:.3f}; give kind= a function for this model"
        )
    return row


def sorted_out(
    boxes: Array, p: Array, least: float, most: float
) -> tuple[list[int], NDArray[np.int64]]:
    """Non-maximum suppression for each class: which boxes are left, and their classes."""
    labels = p.argmax(axis=1)
    scores = p.max(axis=1)
    left: list[int] = []
    for row in np.argsort(-scores, kind="stable"):
        if scores[row] < least:
            break
        same = [other for other in left if labels[other] == labels[row]]
        if not same or overlap(boxes[same], boxes[row]).max() <= most:
            left.append(int(row))
    return left, labels[left]


def _numbers(box: Any) -> Any:
    """An index as an int, corners or a place as an array [4] or [2].

    Raises:
        InputError: it is neither.
    """
    box = box.numpy() if hasattr(box, "numpy") else box
    values = np.asarray(box) if not isinstance(box, str) else np.empty(0, object)
    if values.ndim == 0 and values.dtype.kind in "iu":
        return int(values)
    usable = values.dtype.kind in "iuf" and values.shape in ((2,), (4,))
    if not usable or not np.isfinite(values).all():
        raise InputError(
            "box must be an index, a place (x, y), or corners (x0, y0, x1, y1) in pixels of the "
            f"picture; got {box!r}"
        )
    if len(values) == 4 and not (values[:2] < values[2:]).all():
        raise InputError(f"box must be x0, y0, x1, y1 with x0 < x1 and y0 < y1; got {list(values)}")
    return values.astype(np.float64)


def _listed(known: Sequence[Detection]) -> str:
    shown = "; ".join(map(str, known[:5]))
    return f"found are {shown}" + ("; …" if len(known) > 5 else "")
