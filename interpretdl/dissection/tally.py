"""Counting where a unit is high and where a concept is, and a unit's strongest images."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Strongest", "Tally", "intersection_over_union", "upsample"]

Floats = NDArray[np.float32]
_BLOCK = 2**22  # pixels of enlarged maps at once


@cache
def _weights(small: int, large: int) -> Floats:
    """Bilinear interpolation with half-pixel centres and clamped edges, [large, small]."""
    place = np.clip((np.arange(large) + 0.5) * small / large - 0.5, 0, small - 1)
    low = np.minimum(place.astype(int), max(small - 2, 0))
    weights = np.zeros((large, small))
    rows = np.arange(large)
    weights[rows, low] = 1 - (place - low)
    weights[rows, np.minimum(low + 1, small - 1)] += place - low
    return np.asarray(weights, np.float32)


def upsample(maps: Floats, size: tuple[int, int]) -> Floats:
    """Maps [U, h, w] at another size, bilinearly with half-pixel centres, [U, H, W]."""
    units, h, w = maps.shape
    if (h, w) == size:
        return maps
    wide = (maps.reshape(units * h, w) @ _weights(w, size[1]).T).reshape(units, h, size[1])
    enlarged: Floats = np.matmul(_weights(h, size[0]), wide)
    return enlarged


class Tally:
    """Pixels counted over a data set.

    IoU of unit u and label l is I / (A + G - I): I = `both`[u, l], the pixels where u is above its
    threshold and l is; G = `truth`[l], those of l; A, those of u in the images whose ground truth
    has the category of l, `activation`[u, category]. All are int64.

    Args:
        thresholds: [U].
        category_of: the category's position for each of the labels, [L].
        categories: their number K.
    """

    def __init__(self, thresholds: Floats, category_of: NDArray[np.int64], categories: int) -> None:
        self.thresholds, self.category_of = thresholds, category_of
        units, labels = len(thresholds), len(category_of)
        self.both = np.zeros((units, labels), np.int64)
        self.truth = np.zeros(labels, np.int64)
        self.activation = np.zeros((units, categories), np.int64)

    def update(self, maps: Floats, labels: NDArray[np.int64], masks: NDArray[np.bool_]) -> None:
        """Add one image.

        Args:
            maps: activations [U, h, w].
            labels: positions of the labels it has, [l], each once.
            masks: where they are, [l, H, W].
        """
        if not len(labels):
            return
        size = masks.shape[1:]
        flat = masks.reshape(len(labels), -1)
        self.truth[labels] += flat.sum(axis=1)
        # The last column of ones counts the unit's own pixels.
        onehot = np.ones((flat.shape[1], len(labels) + 1), np.float32)
        onehot[:, :-1] = flat.T
        categories = np.unique(self.category_of[labels])
        # An interpolated value is never above the largest: the other units have no pixel.
        active = np.flatnonzero(maps.max(axis=(1, 2)) > self.thresholds)
        step = max(1, _BLOCK // flat.shape[1])
        for start in range(0, len(active), step):
            units = active[start : start + step]
            above = upsample(maps[units], size) > self.thresholds[units, None, None]
            counts = above.reshape(len(units), -1).astype(np.float32) @ onehot
            counts = np.rint(counts).astype(np.int64)
            self.both[np.ix_(units, labels)] += counts[:, :-1]
            self.activation[np.ix_(units, categories)] += counts[:, -1:]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The counts by name."""
        return {"both": self.both, "truth": self.truth, "activation": self.activation}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Continue from `arrays()`."""
        self.both, self.truth = arrays["both"], arrays["truth"]
        self.activation = arrays["activation"]


def intersection_over_union(
    both: NDArray[np.int64],
    truth: NDArray[np.int64],
    activation: NDArray[np.int64],
    category_of: NDArray[np.int64],
) -> NDArray[np.float64]:
    """IoU [U, L] from a tally's counts, see `Tally`."""
    union = activation[:, category_of] + truth - both
    return both / (union + 1e-20)


class Strongest:
    """The images in which each unit is strongest, with the unit's map in them.

    Args:
        units: U.
        shape: h and w of the maps.
        count: how many images for each unit.
    """

    def __init__(self, units: int, shape: tuple[int, int], count: int) -> None:
        self.scores = np.full((units, count), -np.inf, np.float32)
        self.images = np.full((units, count), -1, np.int64)
        self.maps = np.zeros((units, count, *shape), np.float32)

    def update(self, index: int, maps: Floats) -> None:
        """Add one image's maps [U, h, w]; of equal ones the image that came first stays."""
        scores = maps.max(axis=(1, 2))
        slots = self.scores.argmin(axis=1)
        weakest = np.take_along_axis(self.scores, slots[:, None], axis=1)[:, 0]
        units = np.flatnonzero(scores > weakest)
        slots = slots[units]
        self.scores[units, slots] = scores[units]
        self.images[units, slots] = index
        self.maps[units, slots] = maps[units]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Scores and images [U, count], maps [U, count, h, w], strongest first; -1 is no image."""
        order = np.lexsort((self.images, -self.scores), axis=1)
        return {
            "top_scores": np.take_along_axis(self.scores, order, axis=1),
            "top_images": np.take_along_axis(self.images, order, axis=1),
            "top_maps": np.take_along_axis(self.maps, order[..., None, None], axis=1),
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Continue from `arrays()`."""
        self.scores, self.images = arrays["top_scores"], arrays["top_images"]
        self.maps = arrays["top_maps"]
