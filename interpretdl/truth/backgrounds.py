"""Natural backgrounds: small cuts of photographs that scikit-image brings with it."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIDE", "backgrounds"]

SIDE = 64
"""Of the suites' pictures, in pixels."""

_PHOTOGRAPHS = ("chelsea", "coffee", "astronaut", "rocket")
_REDUCE = 2
"""Pixels of a photograph, each way, for one of a background."""


@cache
def _photographs() -> tuple[NDArray[np.float32], ...]:
    """Float32 [3, h, w] in 0 to 1, reduced by block means."""
    import skimage.data

    found = []
    for name in _PHOTOGRAPHS:
        picture = np.asarray(getattr(skimage.data, name)(), np.float32)[..., :3] / 255
        height, width = (side // _REDUCE * _REDUCE for side in picture.shape[:2])
        blocks = picture[:height, :width].reshape(
            height // _REDUCE, _REDUCE, width // _REDUCE, _REDUCE, 3
        )
        found.append(blocks.mean(axis=(1, 3)).transpose(2, 0, 1))
    return tuple(found)


def backgrounds(n: int, size: int = SIDE, seed: int = 0) -> NDArray[np.float32]:
    """Cuts of photographs, mirrored every other time, the same for the same seed.

    Args:
        n: how many.
        size: side in pixels.
        seed: of the places they are cut from.

    Returns:
        float32 [n, 3, size, size] in 0 to 1, in whole 256ths, so that sums of few are exact.
    """
    rng = np.random.default_rng(seed)
    found = np.empty((n, 3, size, size), np.float32)
    for i in range(n):
        picture = _photographs()[i % len(_PHOTOGRAPHS)]
        top, left = (int(rng.integers(0, side - size + 1)) for side in picture.shape[1:])
        cut = picture[:, top : top + size, left : left + size]
        found[i] = cut[..., ::-1] if rng.integers(2) else cut
    whole: NDArray[np.float32] = np.round(found * 256) / np.float32(256)
    return whole
