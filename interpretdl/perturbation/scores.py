"""Scores of images that are made when they are needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..probe import Probe
from ..targets import TargetLike, take

__all__ = ["perturbed_scores"]

Array = NDArray[Any]


def perturbed_scores(
    probe: Probe,
    x: Array,
    target: TargetLike,
    owner: NDArray[np.int64],
    make: Callable[[NDArray[np.int64]], Array],
) -> Array:
    """Scores of perturbed images that are made when they are needed, so that memory is bounded.

    Args:
        x: the images, float [N, C, H, W].
        target: the score of each of the N.
        owner: int64 [M], for each perturbed image the image that it comes from.
        make: from positions in [0, M) to that many perturbed images.

    Returns:
        float64 [M].
    """
    scores = np.empty(len(owner))
    with probe.many(len(owner)):
        for rows in probe.cuts(x, len(owner)):
            scores[rows] = probe.scores(make(rows), take(target, owner[rows]))
    return scores
