"""Chefer's relevance of attention the slow, obvious way: explicit messages in NumPy, float64.

Written from Chefer, Gur, Wolf 2020, https://arxiv.org/abs/2012.09838, section 3: z⁺ without biases
in linear layers, products of activations by gradient × input with half for each factor, sums of two
activations normalised (eq. 9 to 11), and everything else passes relevance on.
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


def passed(relevance: Array, x: Array) -> Array:
    """All of it, but for the stabilizer."""
    return relevance * x / (x + np.where(np.signbit(x), -small(x), small(x)))


class Linear:
    """y = x W + b for each token, and z⁺ without the bias."""

    def __init__(self, weight: Array, bias: Array) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, x: Array) -> Array:
        self.x, self.y = x, x @ self.weight + self.bias
        return self.y

    def back(self, relevance: Array) -> Array:
        messages = self.x[:, :, None] * self.weight  # of each token, from input i to output j
        raising = np.maximum(messages, 0)
        shares = raising / (raising.sum(axis=1, keepdims=True) + small(self.y))
        return np.einsum("tij,tj->ti", shares, relevance)


class Norm:
    def __init__(self, weight: Array, bias: Array) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, x: Array) -> Array:
        self.x = x
        centred = x - x.mean(axis=1, keepdims=True)
        return centred / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5) * self.weight + self.bias

    def back(self, relevance: Array) -> Array:
        return passed(relevance, self.x)


class Gelu:
    def __call__(self, x: Array) -> Array:
        self.x = x
        return x * (1 + erf(x / np.sqrt(2))) / 2

    def back(self, relevance: Array) -> Array:
        return passed(relevance, self.x)


class Attention:
    """Heads of softmax(q kᵀ) v; keeps its attention `a` and the relevance `of_a` there."""

    def __call__(self, z: Array, heads: int = 2) -> Array:
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
        self.of_a, of_v = messages.sum(axis=3) / 2, messages.sum(axis=1) / 2
        of_s = passed(self.of_a, self.s)
        products = np.einsum("hid,hjd,hij->hijd", self.q, self.k, of_s / self.s)
        of_q, of_k = products.sum(axis=2) / 2, products.sum(axis=1) / 2
        return np.stack([of_q, of_k, of_v]).transpose(2, 0, 1, 3).reshape(tokens, -1)


def shared(relevance: Array, skip: Array, branch: Array) -> tuple[Array, Array]:
    """What the two summands of skip + branch get: their sums have the sign and size of theirs."""
    a, b = (relevance * part / (skip + branch) for part in (skip, branch))
    whole = relevance.sum()
    size = abs(a.sum()) + abs(b.sum())
    return (
        a / a.sum() * abs(a.sum()) / size * whole,
        b / b.sum() * abs(b.sum()) / size * whole,
    )


def small_transformer(
    state: Mapping[str, Any], image: Array, label: int, patch: int = 4
) -> list[tuple[Array, Array]]:
    """Of `interpretdl.testing.small_transformer`: attention of each layer and its relevance,
    [heads, T, T], where the class's output has the relevance 1.
    """
    p = {name: np.asarray(value, np.float64) for name, value in state.items()}

    def of(kind: Any, name: str) -> Any:
        return kind(p[f"{name}.weight"], p[f"{name}.bias"])

    channels, height, width = image.shape
    rows, columns = height // patch, width // patch
    cut = image.reshape(channels, rows, patch, columns, patch).transpose(1, 3, 0, 2, 4)
    kernel = p["patch_embed.weight"]
    patches = cut.reshape(rows * columns, -1) @ kernel.reshape(len(kernel), -1).T
    t = np.concatenate([p["cls_token"][0], patches + p["patch_embed.bias"]]) + p["pos_embed"][0]
    steps = []
    for i in range(2):
        name = f"blocks.{i}"
        first = [of(Norm, f"{name}.norm1"), of(Linear, f"{name}.attn.qkv"), Attention()]
        first.append(of(Linear, f"{name}.attn.proj"))
        second = [of(Norm, f"{name}.norm2"), of(Linear, f"{name}.mlp.0"), Gelu()]
        second.append(of(Linear, f"{name}.mlp.2"))
        for layers in (first, second):
            branch = t
            for layer in layers:
                branch = layer(branch)
            steps.append((t, branch, layers))
            t = t + branch
    norm, head = of(Norm, "norm"), of(Linear, "head")
    logits = head(norm(t)[:1])
    relevance = np.zeros_like(t)
    relevance[:1] = head.back(np.eye(logits.shape[1])[[label]])
    relevance = norm.back(relevance)
    for skip, branch, layers in reversed(steps):
        relevance, down = shared(relevance, skip, branch)
        for layer in reversed(layers):
            down = layer.back(down)
        relevance = relevance + down
    found = [layers[2] for _, _, layers in steps[::2]]
    return [(attention.a, attention.of_a) for attention in found]
