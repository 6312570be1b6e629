"""InterpretDL's features of superpixels.

Its `FeatureExtractor` and `get_pre_models` are not here: they need Paddle's old static graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "avg_using_superpixels",
    "centroid_using_superpixels",
    "extract_superpixel_features",
]

Array = NDArray[Any]


def avg_using_superpixels(features: Array, segments: NDArray[np.integer[Any]]) -> Array:
    """Mean feature of each superpixel.

    Args:
        features: [H, W, C].
        segments: [H, W], each pixel's superpixel; S different numbers.

    Returns:
        float [S, C], in the order of the numbers.
    """
    return np.stack([features[segments == one].mean(axis=0) for one in np.unique(segments)])


def centroid_using_superpixels(features: Array, segments: NDArray[np.integer[Any]]) -> Array:
    """Feature at the pixel nearest to each superpixel's centre; as `avg_using_superpixels`."""
    places = [np.argwhere(segments == one).mean(axis=0) for one in np.unique(segments)]
    rows, columns = np.floor(np.array(places) + 0.5).astype(int).T
    return np.asarray(features[rows, columns])


def extract_superpixel_features(
    feature_map: Array, segments: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """Both of them side by side, [S, 2 C], each row of length 1."""
    parts = [function(feature_map, segments) for function in _PARTS]
    found = np.concatenate(parts, axis=1, dtype=np.float64)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.where(length > 0, length, 1.0))


_PARTS = (centroid_using_superpixels, avg_using_superpixels)
