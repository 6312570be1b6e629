"""Relevance through a transformer the slow, obvious way: explicit messages in NumPy, float64.

Written from Achtibat et al. 2024, https://arxiv.org/abs/2402.05602: the ε rule (their eq. 8) for
sums and linear layers, eq. 13 for the softmax, eq. 14 for products of matrices; the normalization's
1/std is a constant, and GELU passes relevance on. With `constant`, attention gets none (CP-LRP).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

Array = NDArray[np.float64]


def small(a: Array) -> float:
    """The stabilizer for one image's numbers."""
    return 1e-6 * min(max(float(np.abs(a).max()), 1e-30), 1.0)


def signed(a: Array, by: float) -> Array:
    return np.where(np.signbit(a), -by, by)


class Linear:
    """y = x W + b for each token, and the ε rule."""

    def __init__(self, weight: Array, bias: Array) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, x: Array) -> Array:
        self.x, self.y = x, x @ self.weight + self.bias
        return self.y

    def back(self, relevance: Array) -> Array:
        shared = relevance / (self.y + signed(self.y, small(self.y)))
        contributions = self.x[:, :, None] * self.weight  # z_ij of each token
        return np.einsum("tij,tj->ti", contributions, shared)


class Norm:
    """y_j = Σ_i (δ_ij − 1/D) x_i w_j/std + b_j, a linear layer whose weights are as they came."""

    def __init__(self, weight: Array, bias: Array, epsilon: float = 1e-5) -> None:
        self.weight, self.bias, self.epsilon = weight, bias, epsilon

    def __call__(self, x: Array) -> Array:
        width = x.shape[1]
        std = np.sqrt(x.var(axis=1) + self.epsilon)
        minus_mean = np.eye(width) - 1 / width
        self.x, self.maps = x, minus_mean * self.weight / std[:, None, None]
        self.y = np.einsum("ti,tij->tj", x, self.maps) + self.bias
        return self.y

    def back(self, relevance: Array) -> Array:
        return np.einsum("ti,tij,tj->ti", self.x, self.maps, relevance / self.y)


class Gelu:
    def __call__(self, x: Array) -> Array:
        self.x = x
        return x * (1 + erf(x / np.sqrt(2))) / 2

    def back(self, relevance: Array) -> Array:
        return relevance * self.x / (self.x + signed(self.x, small(self.x)))


class Attention:
    """Heads of softmax(q kᵀ) v."""

    def __init__(self, constant: bool) -> None:
        self.constant = constant

    def __call__(self, z: Array, heads: int) -> Array:
        tokens, width = z.shape[0], z.shape[1] // 3
        parts = z.reshape(tokens, 3, heads, width // heads).transpose(1, 2, 0, 3)
        self.q, self.k, self.v = parts
        self.s = np.einsum("hid,hjd->hij", self.q, self.k)
        e = np.exp(self.s - self.s.max(axis=-1, keepdims=True))
        self.a = e / e.sum(axis=-1, keepdims=True)
        self.o = np.einsum("hij,hjd->hid", self.a, self.v)
        return self.o.transpose(1, 0, 2).reshape(tokens, width)

    def back(self, relevance: Array) -> Array:
        heads, tokens, depth = self.o.shape
        r = relevance.reshape(tokens, heads, depth).transpose(1, 0, 2)
        messages = np.einsum("hij,hjd,hid->hijd", self.a, self.v, r / self.o)
        if self.constant:
            rv, rq, rk = messages.sum(axis=1), 0 * self.q, 0 * self.k
        else:
            ra, rv = messages.sum(axis=3) / 2, messages.sum(axis=1) / 2
            rs = self.s * (ra - self.a * ra.sum(axis=-1, keepdims=True))
            products = np.einsum("hid,hjd,hij->hijd", self.q, self.k, rs / self.s) / 2
            rq, rk = products.sum(axis=2), products.sum(axis=1)
        return np.stack([rq, rk, rv]).transpose(2, 0, 1, 3).reshape(tokens, -1)


def small_transformer(
    state: Mapping[str, Any], image: Array, label: int, constant: bool, patch: int = 4
) -> tuple[float, Array, dict[str, float]]:
    """Of `interpretdl.testing.small_transformer`: the logit, relevance of one image's pixels, and
    what the position and the class token keep.
    """
    p = {name: np.asarray(value, np.float64) for name, value in state.items()}

    def of(kind: Any, name: str) -> Any:
        return kind(p[f"{name}.weight"], p[f"{name}.bias"])

    channels, height, width = image.shape
    rows, columns = height // patch, width // patch
    cut = image.reshape(channels, rows, patch, columns, patch).transpose(1, 3, 0, 2, 4)
    kernel = p["patch_embed.weight"]
    embed = Linear(kernel.reshape(len(kernel), -1).T, p["patch_embed.bias"])
    patches = embed(cut.reshape(rows * columns, -1))
    before = np.concatenate([p["cls_token"][0], patches])
    t = before + p["pos_embed"][0]
    steps = []
    for i in range(2):
        name = f"blocks.{i}"
        norm1, qkv = of(Norm, f"{name}.norm1"), of(Linear, f"{name}.attn.qkv")
        attention, proj = Attention(constant), of(Linear, f"{name}.attn.proj")
        one = proj(attention(qkv(norm1(t)), 2))
        norm2, up = of(Norm, f"{name}.norm2"), of(Linear, f"{name}.mlp.0")
        gelu, down = Gelu(), of(Linear, f"{name}.mlp.2")
        middle = t + one
        two = down(gelu(up(norm2(middle))))
        steps.append((t, one, middle, two, [proj, attention, qkv, norm1], [down, gelu, up, norm2]))
        t = middle + two
    norm, head = of(Norm, "norm"), of(Linear, "head")
    logits = head(norm(t)[:1])

    start = np.zeros_like(logits)
    start[0, label] = logits[0, label]
    relevance = np.zeros_like(t)
    relevance[:1] = head.back(start)
    relevance = norm.back(relevance)
    for t, one, middle, two, first, second in reversed(steps):
        for (skip, branch), layers in (((middle, two), second), ((t, one), first)):
            passed = relevance / (skip + branch) * branch
            for layer in layers:
                passed = layer.back(passed)
            relevance = relevance / (skip + branch) * skip + passed
    tokens = relevance * before / (before + p["pos_embed"][0])
    kept = {"position": relevance.sum() - tokens.sum(), "class": tokens[0].sum()}
    pixels = embed.back(tokens[1:]).reshape(rows, columns, channels, patch, patch)
    return float(logits[0, label]), pixels.transpose(2, 0, 3, 1, 4).reshape(image.shape), kept
