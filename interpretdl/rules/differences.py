"""Rules of DeepLIFT: what a difference of the output is made of.

They work on a batch of pairs: image, its reference, image, its reference, …
Shrikumar et al. 2017, https://arxiv.org/abs/1704.02685; products as in Lundberg and Lee 2017,
https://arxiv.org/abs/1705.07874: the Shapley values of the two factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import paddle
import paddle.nn.functional as F

from ..errors import UnsupportedModelError
from .base import JointRule, Rule, Site
from .redirect import redirect

__all__ = [
    "ProductDifference",
    "QuotientDifference",
    "Rescale",
    "RescaleLayerNorm",
    "RescaleMaxPool",
    "RescaleSoftmax",
]

Tensor: TypeAlias = "paddle.Tensor"


class Rescale(Rule):
    """The rescale rule: the multiplier is Δy / Δx, the gradient where |Δx| is below 1e-6."""

    def __call__(self, site: Site) -> Tensor:
        dx, dy = _difference(site, site.x), _difference(site, site.y)
        still = dx.abs() < 1e-6
        slope = paddle.where(still, paddle.zeros_like(dx), dy / paddle.where(still, 1 + dx, dx))
        still = still.astype(slope.dtype)
        return redirect(site.y, *((t, _both(r, t)) for t, r in ((site.x, slope), (site.y, still))))


class RescaleMaxPool(Rule):
    """Rescale for max-pooling: Δy goes to the winner among the inputs where the maximum rose, to
    the winner among the references where it fell; that winner's Δx has Δy's sign and is not
    smaller, so the multiplier is in [0, 1].
    """

    def __call__(self, site: Site) -> Tensor:
        kernel, stride, padding, ceil, _, form, kind, is_global, adaptive = site.arguments[:9]
        if kind != "max":
            return site.y
        pooling = {"NCHW": F.max_pool2d, "NCDHW": F.max_pool3d}.get(form)
        if pooling is None or is_global or adaptive:
            raise UnsupportedModelError(
                "DeepLIFT reaches max-pooling over windows of [N, C, H, W] and [N, C, D, H, W] "
                "only; this model has an adaptive or global one, or another layout. Take "
                "integrated gradients"
            )
        source, y = site.x, site.y.detach()
        if site.arguments[9] == "SAME":
            source, padding = _padded(source, kernel, stride), 0
        x = source.detach()
        pooled, winner = pooling(
            x, kernel, stride, padding, return_mask=True, ceil_mode=ceil, data_format=form
        )
        if pooled.shape != y.shape or not bool((pooled == y).all()):
            raise UnsupportedModelError("DeepLIFT could not find the winners of a max-pooling")
        (image, reference), winners = _sides(site, y), _sides(site, winner.astype("int64"))
        chosen = _both(paddle.where(image >= reference, *winners), y)
        z = paddle.take_along_axis(source.flatten(2), chosen.flatten(2), axis=2)
        z = z.reshape(y.shape)
        dx, dy = _difference(site, z), image - reference
        still = dx.abs() < 1e-6
        slope = paddle.where(still, paddle.ones_like(dx), dy / paddle.where(still, 1 + dx, dx))
        return redirect(site.y, (z, _both(slope, y)))


def _padded(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """With an edge that is below all values, as wide as padding="SAME" makes it."""
    edges: list[int] = []
    for size, width, step in zip(x.shape[2:], kernel, stride, strict=True):
        missing = max((-(-size // step) - 1) * step + width - size, 0)
        edges = [missing // 2, missing - missing // 2, *edges]  # from the last axis to the first
    form = "NCHW" if x.ndim == 4 else "NCDHW"
    return F.pad(x, edges, value=float(x.min()) - 1, data_format=form)


class ProductDifference(JointRule):
    """A product of two activations: Δ(ab) = Δa (b + b₀)/2 + (a + a₀)/2 Δb."""

    def meets(self, operands: Sequence[Tensor]) -> bool:
        return sum(not t.stop_gradient for t in operands) == 2

    def __call__(self, site: Site) -> Tensor:
        # Linear in each of the two, whatever is summed: a matmul and an einsum, too.
        middles = [t if t.stop_gradient else _mean(site, t) for t in site.operands]
        ways = [
            site.again([*middles[:i], t, *middles[i + 1 :]])
            for i, t in enumerate(site.operands)
            if not t.stop_gradient
        ]
        z = ways[0] + ways[1]
        return redirect(site.y, (z, paddle.ones_like(site.y)))


class QuotientDifference(JointRule):
    """A quotient: Δ(a/b) = Δa (1/b + 1/b₀)/2 - (a + a₀)/2 Δb / (b b₀)."""

    def meets(self, operands: Sequence[Tensor]) -> bool:
        return len(operands) == 2 and not operands[1].stop_gradient

    def __call__(self, site: Site) -> Tensor:
        a, b = site.operands
        image, reference = _sides(site, b)
        slope = _both(-1 / (image * reference), b)
        middle = a if a.stop_gradient else _mean(site, a)
        z = a * _mean(site, 1 / b) + b * (middle * slope)
        return redirect(site.y, (z, paddle.ones_like(site.y)))


class RescaleSoftmax(Rule):
    """Δs_i = L_i (Δx_i - Σ_j L_j Δx_j / Σ_j L_j), with L = Δs / Δ(log s), the logarithmic mean.

    That is rescale for the exponential in s = exp(x - log Σ exp x), and for the sum the one share
    with which the probabilities go on to sum to 1. A constant added to x changes nothing.
    """

    def __call__(self, site: Site) -> Tensor:
        axis = site.arguments[0] if site.arguments else -1
        x = site.x.detach()
        # Paddle's log_softmax ends at -64, and its logsumexp takes four axes at most.
        log = x - x.max(axis, keepdim=True)
        log = log - paddle.exp(log).sum(axis, keepdim=True).log()
        (now, then), (image, reference) = _sides(site, log), _sides(site, site.value)
        apart = now - then
        known = paddle.isfinite(apart)  # else masked by -inf, and 0
        apart = paddle.where(known, apart, paddle.zeros_like(apart))
        close = apart.abs() < 0.01
        series = paddle.exp((now + then) / 2) * (1 + apart * apart / 24)
        ratio = (image - reference) / paddle.where(close, paddle.ones_like(apart), apart)
        mean = paddle.where(close, series, ratio)
        mean = paddle.where(known, mean, paddle.zeros_like(mean))
        mean = _both(mean, site.y)
        total = mean.sum(axis, keepdim=True).clip(min=1e-30)

        def back(gradient: Tensor) -> Tensor:
            gradient = gradient * mean
            return gradient - mean * (gradient.sum(axis, keepdim=True) / total)

        return redirect(site.y, (site.x, paddle.ones_like(site.y)), change=back)


class RescaleLayerNorm(Rule):
    """The product of x - mean and 1/std, where rescale is the rule of the root.

    With c = x - mean and s = std: Δ(c/s) = Δc (1/s + 1/s₀)/2 - (c + c₀)/2 Δ(s²) / (s s₀ (s + s₀)).
    """

    def __call__(self, site: Site) -> Tensor:
        weight, _, epsilon, begin = site.arguments[:4]
        x = site.x.detach()
        axes = list(range(begin, x.ndim))
        centred = x - x.mean(axes, keepdim=True)
        std = paddle.sqrt((centred * centred).mean(axes, keepdim=True) + epsilon)
        image, reference = _sides(site, std)
        slope = -1 / (image * reference * (image + reference))
        slope, scale = _both(slope, std), _mean(site, 1 / std)
        middle = _mean(site, centred)
        by = None if weight is None else weight.reshape(x.shape[begin:]).astype(x.dtype)

        def back(gradient: Tensor) -> Tensor:
            gradient = gradient if by is None else gradient * by
            along = (gradient * middle).mean(axes, keepdim=True)
            # Δ(s²) is the mean of 2 (c + c₀)/2 Δc, and what is summed over the outputs is n means.
            gradient = gradient * scale + 2 * slope * along * middle
            return gradient - gradient.mean(axes, keepdim=True)

        return redirect(site.y, (site.x, paddle.ones_like(site.y)), change=back)


def _sides(site: Site, t: Tensor) -> tuple[Tensor, Tensor]:
    """Images and references, as constants [pairs, k, …], where the first axis is k for each image.

    Raises:
        UnsupportedModelError: it is not.
    """
    images = site.images or len(t)
    if len(t) % images:
        raise UnsupportedModelError(
            f"DeepLIFT found the images along another axis than the first, at {site.name}: "
            f"{list(t.shape)} for {images} images and references. Take integrated gradients"
        )
    shape = [images // 2, len(t) // images, *t.shape[1:]]
    pairs = t.detach().reshape([images // 2, 2, -1])  # Paddle indexes six axes at most
    return pairs[:, 0].reshape(shape), pairs[:, 1].reshape(shape)


def _difference(site: Site, t: Tensor) -> Tensor:
    image, reference = _sides(site, t)
    return image - reference


def _both(t: Tensor, like: Tensor) -> Tensor:
    """What is the same for image and reference, back from `_sides`."""
    flat = t.flatten(1)
    return paddle.stack([flat, flat], axis=1).reshape(like.shape)


def _mean(site: Site, t: Tensor) -> Tensor:
    """(t + t₀)/2, for both."""
    image, reference = _sides(site, t)
    return _both((image + reference) / 2, t)
