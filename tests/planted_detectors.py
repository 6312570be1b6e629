"""Subjects of the small detectors, and where their maps lie."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

import interpretdl as it
from tests.paddle_models import detectors
from tests.paddle_models.detectors import GREEN, RED, scene

PLAIN = it.Preprocessing(mean=(0, 0, 0), std=(1, 1, 1))
PICTURE = scene((8, 8, RED), (32, 32, GREEN))
CORNERS = {"red": (8, 8, 32, 32), "green": (32, 32, 56, 56)}
# 8 x 8 squares of pixels, at the edges of which the objects end
GRID = np.arange(64)[:, None] // 8 * 8 + np.arange(64) // 8

Build = Callable[[], Any]
FORMS: dict[str, Build] = {
    "ppyoloe": detectors.YOLOE,
    "picodet": detectors.PicoDet,
    "picodet_aligned": lambda: detectors.PicoDet(aligned=True),
    "detr": detectors.DETR,
    "faster_rcnn": detectors.FasterRCNN,
    "function": detectors.Raw,
}


def both(output: Any) -> Any:
    return output["boxes"], output["logits"]


def detector(name: str, model: Any = None, **options: Any) -> it.DetectionSubject:
    model = FORMS[name]() if model is None else model
    if name == "function":
        options = {"kind": both, "activation": "sigmoid", **options}
    options = {"size": 64, "preprocessing": PLAIN, "class_names": ["red", "green"], **options}
    return it.DetectionSubject(model, **options)


@cache
def usual(name: str) -> it.DetectionSubject:
    return detector(name)


def box_of(subject: it.DetectionSubject, name: str, picture: Any = PICTURE) -> it.Detection:
    return next(each for each in subject.detect(picture) if each.name == name)


def share(explained: it.Explanation, box: Any) -> float:
    """Of the positive relevance that in the box; cells of a layer have no blurred edge."""
    values = explained.values[0].astype(np.float64)
    if values.ndim == 3:
        values = values.sum(axis=0) if explained.signed else np.abs(values).sum(axis=0)
    values = np.maximum(values, 0)
    values = np.kron(values, np.ones([64 // side for side in values.shape]))
    x0, y0, x1, y1 = (round(side) for side in box)
    return float(values[y0:y1, x0:x1].sum() / values.sum())
