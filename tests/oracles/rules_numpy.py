"""Layer-wise relevance propagation the slow, obvious way: dense matrices in NumPy.

A linear layer, whatever its kind, is a matrix [J, K] found by feeding it unit vectors. A rule is a
table of contributions z_jk [J, K] and what the bias adds [K]; relevance is handed back in
proportion:

    R_j = Σ_k  z_jk / s(Σ_j z_jk + bias_k) R_k,      s(z) = z + 1e-6 sign(z), sign(0) = 1

Everything is float64 and one image at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

Array = NDArray[np.float64]
# One term of a rule: its factor, contributions [J, K], the bias's [K].
Term = tuple[float, Array, Array]


def positive(a: Array) -> Array:
    return np.maximum(a, 0)


def negative(a: Array) -> Array:
    return np.minimum(a, 0)


def dense(layer: Callable[[Any], Any], shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Matrix [J, K] and bias [K] of an affine function of float64 tensors [N, *shape]."""
    count = int(np.prod(shape))
    with paddle.no_grad():
        # Each unit vector by itself: a sum of float64 products depends on nothing else.
        units = paddle.to_tensor(np.eye(count).reshape(count, *shape))
        bias = layer(paddle.zeros([1, *shape], "float64")).numpy().reshape(-1)
        rows = layer(units).numpy().reshape(count, -1)
    return rows - bias, bias


# -- rules --------------------------------------------------------------------------------------
# Each: (x [J], matrix [J, K], bias [K], connected [J, K]) -> terms. `connected` counts how often
# an input meets an output: 0 or 1.


def epsilon() -> Any:
    return lambda x, w, b, connected: [(1.0, x[:, None] * w, b)]


def gamma(g: float) -> Any:
    """By the sign of the output. (In a network of ReLUs only outputs above 0 have relevance.)"""

    def terms(x: Array, w: Array, b: Array, connected: Array) -> list[Term]:
        up, down = w + g * positive(w), w + g * negative(w)
        a, c = positive(x)[:, None], negative(x)[:, None]
        raised, lowered = a * up + c * down, a * down + c * up
        above = x @ w + b > 0
        bias = np.where(above, b + g * positive(b), b + g * negative(b))
        return [(1.0, np.where(above, raised, lowered), bias)]

    return terms


def _raising(x: Array, w: Array) -> Array:
    return positive(x)[:, None] * positive(w) + negative(x)[:, None] * negative(w)


def _lowering(x: Array, w: Array) -> Array:
    return positive(x)[:, None] * negative(w) + negative(x)[:, None] * positive(w)


def z_plus(with_bias: bool) -> Any:
    return lambda x, w, b, connected: [(1.0, _raising(x, w), with_bias * positive(b))]


def alpha_beta(alpha: float, beta: float) -> Any:
    return lambda x, w, b, connected: [
        (alpha, _raising(x, w), positive(b)),
        (-beta, _lowering(x, w), negative(b)),
    ]


def z_box(low: Array, high: Array) -> Any:
    """low, high: [J]."""

    def terms(x: Array, w: Array, b: Array, connected: Array) -> list[Term]:
        boxed = x[:, None] * w - low[:, None] * positive(w) - high[:, None] * negative(w)
        return [(1.0, boxed, 0 * b)]

    return terms


def w_square() -> Any:
    return lambda x, w, b, connected: [(1.0, w**2, 0 * b)]


def flat() -> Any:
    return lambda x, w, b, connected: [(1.0, connected, 0 * b)]


def propagate(
    rule: Any,
    x: Array,
    matrix: Array,
    bias: Array,
    relevance: Array,
    *,
    connected: Array | None = None,
    stabilizer: float | None = None,
    bias_alone: bool = False,
) -> tuple[Array, float]:
    """Relevance of the inputs [J], and what the bias keeps.

    Args:
        stabilizer: ε; None: 1e-6, or that share of the largest |output| if it is below 1.
        bias_alone: a rule that gives the bias no share: it keeps the relevance of outputs above
            zero to which no input contributed.
    """
    if stabilizer is None:
        stabilizer = 1e-6 * min(1.0, float(np.abs(x @ matrix + bias).max()))
    connected = (matrix != 0).astype(float) if connected is None else connected
    arrived, kept = np.zeros(len(x)), 0.0
    for factor, contributions, share in rule(x, matrix, bias, connected):
        total = contributions.sum(0) + share
        total = total + stabilizer * np.where(total >= 0, 1, -1)
        ratio = np.divide(relevance, total, out=np.zeros_like(total), where=total != 0)
        arrived += factor * (contributions @ ratio)
        kept += factor * float(share @ ratio)
        if bias_alone:
            alone = (np.abs(total) <= 2 * stabilizer) & (x @ matrix + bias > 0)
            kept += factor * float(stabilizer * ratio[alone].sum())
    return arrived, kept


# -- what needs no rule -------------------------------------------------------------------------


def max_pool(image: Array, size: int, stride: int, padding: int = 0) -> tuple[Array, Any]:
    """[C, H, W] -> pooled [C, h, w], and a function that hands relevance to each winner."""
    c, height, width = image.shape
    padded = np.pad(image, [(0, 0)] + [(padding, padding)] * 2, constant_values=-np.inf)
    h, w = ((n + 2 * padding - size) // stride + 1 for n in (height, width))
    pooled, winners = np.zeros((c, h, w)), {}
    for k in range(c):
        for i in range(h):
            for j in range(w):
                window = padded[k, i * stride :, j * stride :][:size, :size]
                a, b = np.unravel_index(np.argmax(window), window.shape)
                pooled[k, i, j] = window[a, b]
                winners[k, i, j] = (k, i * stride + a - padding, j * stride + b - padding)

    def back(relevance: Array) -> Array:
        found = np.zeros_like(image)
        for place, winner in winners.items():
            found[winner] += relevance[place]
        return found

    return pooled, back


def relative(found: Any, expected: Any) -> float:
    """Relative L2 distance."""
    a, b = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert a.shape == b.shape, f"{a.shape} is not {b.shape}"
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
