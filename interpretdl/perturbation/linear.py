"""Gaps filled by noisy linear interpolation, as ROAD has it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["interpolated"]

Array = NDArray[Any]

# Rong et al., 2022: a pixel beside a gap's pixel counts twice as much as one at its corner.
_NEIGHBOURS = {(0, 1): 1 / 6, (1, 0): 1 / 6, (1, 1): 1 / 12, (1, -1): 1 / 12}
_NOISE = 0.01


def interpolated(x: Array, keep: NDArray[np.bool_], noise: float = _NOISE) -> Array:
    """Pictures whose gaps are weighted means of what surrounds them, with a little noise.

    Every missing pixel is the weighted mean of its eight neighbours, of which those beside it count
    1/6 and those at its corners 1/12; at the border the weights that are left are scaled to sum to
    1. Neighbours that are missing too are unknown, so this is a sparse linear system, solved once
    for each picture and all its channels. Then Gaussian noise is added, the same for every picture,
    so that neither the seed nor other pictures matter.

    Args:
        x: float [m, C, H, W].
        keep: bool [m, H, W], what is there.
        noise: its standard deviation, a share of each picture's range.

    Returns:
        like x. A picture of which nothing is left is the mean of each channel, without noise.

    Paper: Rong et al.: A Consistent and Efficient Evaluation Strategy for Attribution Methods, 2022
    """
    from scipy.sparse import diags
    from scipy.sparse.linalg import splu

    weights = _weights(*x.shape[2:])
    total = np.asarray(weights.sum(axis=1)).ravel()
    drawn = noise * np.random.default_rng(0).standard_normal(x.shape[1:]).reshape(x.shape[1], -1)
    images = x.copy()
    for image, kept, before in zip(images, keep, x, strict=True):
        flat = before.reshape(len(before), -1).astype(np.float64)
        known, gap = np.flatnonzero(kept), np.flatnonzero(~kept)
        if not len(known):
            image[:] = before.mean(axis=(1, 2), keepdims=True)
        elif len(gap):
            rows = weights[gap]
            system = diags(total[gap]) - rows[:, gap]
            # Symmetric and diagonally dominant, so it needs no pivoting.
            solve = splu(
                system.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            ).solve  # fmt: skip
            means = solve(rows[:, known] @ flat[:, known].T).T
            image.reshape(len(flat), -1)[:, gap] = means + np.ptp(flat) * drawn[:, gap]
    return images


def _weights(height: int, width: int) -> Any:
    """Of each pixel's neighbours, a symmetric sparse matrix [H·W, H·W]."""
    from scipy.sparse import coo_matrix

    place = np.arange(height * width).reshape(height, width)
    rows, columns, values = [], [], []
    for (down, right), weight in _NEIGHBOURS.items():
        one = place[: height - down, max(0, -right) : width - max(0, right)]
        other = place[down:, max(0, right) : width + min(0, right)]
        rows += [one.ravel(), other.ravel()]
        columns += [other.ravel(), one.ravel()]
        values.append(np.full(2 * one.size, weight))
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return coo_matrix(entries, shape=(place.size, place.size)).tocsr()
