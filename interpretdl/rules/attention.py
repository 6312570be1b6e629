"""Rules of transformers: products, quotients, softmax, normalization, and what constants add.

AttnLRP: Achtibat et al. 2024, https://arxiv.org/abs/2402.05602. CP-LRP, in which attention is a
constant: Ali et al. 2022, https://arxiv.org/abs/2202.07304.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import paddle
import paddle.nn.functional as F

from .activation import PassThrough
from .base import JointRule, Rule, Site
from .redirect import Way, redirect

__all__ = [
    *("BatchNorm", "Divided", "LayerNorm", "Parts", "Shared", "Softmax", "Summand", "SwiGLU"),
]

Tensor: TypeAlias = "paddle.Tensor"


class Shared(JointRule):
    """A product of activations: each of k factors gets 1/k of the relevance.

    A factor that does not depend on the input gets none, and the other one all.
    """

    def meets(self, operands: Sequence[Tensor]) -> bool:
        return len(_connected(operands)) > 1

    def __call__(self, site: Site) -> Tensor:
        share = paddle.full([], 1 / len(site.connected), site.y.dtype)
        return redirect(site.y, (site.y, share))


class Divided(JointRule):
    """A quotient of activations: the divisor is a constant, all relevance goes to the dividend."""

    def meets(self, operands: Sequence[Tensor]) -> bool:
        return len(_connected(operands)) > 1

    def sources(self, site: Site) -> list[Tensor]:
        return [site.x]

    def __call__(self, site: Site) -> Tensor:
        return site.x / site.operands[1].detach()


class Softmax(Rule):
    """Gradient times input: R_i = x_i (R'_i - s_i Σ_k R'_k), where s is the softmax of x.

    The sum of R is another than that of R'; the softmax keeps or adds the rest.
    """

    def __call__(self, site: Site) -> Tensor:
        return site.y


class LayerNorm(Rule):
    """1/std is a constant, the mean is a part of the linear map; the bias keeps its share."""

    def __call__(self, site: Site) -> Tensor:
        weight, bias, epsilon, begin = site.arguments[:4]
        x = site.x.detach()
        axes, shape = list(range(begin, x.ndim)), x.shape[begin:]
        centred = x - x.mean(axes, keepdim=True)
        scale = paddle.rsqrt((centred * centred).mean(axes, keepdim=True) + epsilon)
        if weight is not None:
            scale = scale * weight.reshape(shape).astype(x.dtype)

        def back(gradient: Tensor) -> Tensor:
            gradient = gradient * scale
            return gradient - gradient.mean(axes, keepdim=True)

        kept = None if bias is None else bias.reshape(shape).astype(x.dtype)
        # The share of the bias is taken of what arrives, before `back`.
        return redirect(site.y, Way(site.x, paddle.ones([], x.dtype), kept), change=back)


class BatchNorm(Rule):
    """A batch-norm that is not folded into a linear layer: one of its own, whose bias keeps its
    share. Handed on whole, relevance would grow without bound where the bias outweighs the input.
    """

    def __call__(self, site: Site) -> Tensor:
        (norm,) = site.arguments
        if getattr(norm, "_act", None):
            return PassThrough()(site)
        site.constant = norm.forward(paddle.zeros_like(site.x[:1])).detach()
        return site.y


class SwiGLU(JointRule):
    """silu(a) b: a product of two, of which each gets half; silu passes its half on."""

    def meets(self, operands: Sequence[Tensor]) -> bool:
        return bool(_connected(operands))

    def __call__(self, site: Site) -> Tensor:
        halves = site.operands if len(site.operands) > 1 else site.x.chunk(2, axis=-1)
        a, b = (half.detach() for half in halves)
        gate, share = F.sigmoid(a), 1 / len(_connected(halves))
        ratios = (gate * b * share, gate * a * share)
        ways = [(z, r) for z, r in zip(halves, ratios, strict=True) if not z.stop_gradient]
        y = redirect(site.y, ways[0])
        for way in ways[1:]:  # apart: Paddle fails where a gradient is wanted behind one alone
            y = y + redirect(paddle.zeros_like(site.y), way)
        return y


class Summand(JointRule):
    """A sum of an activation and a constant, such as a position: the constant keeps its share."""

    def meets(self, operands: Sequence[Tensor]) -> bool:
        return 0 < len(_connected(operands)) < len(operands)

    def __call__(self, site: Site) -> Tensor:
        (site.constant,) = (t for t in site.operands if t.stop_gradient)
        return site.y


class Parts(Summand):
    """Activations and constants, such as a class token, put together; constants keep theirs."""

    def __call__(self, site: Site) -> Tensor:
        parts = [t if t.stop_gradient else paddle.zeros_like(t) for t in site.operands]
        site.constant = paddle.concat(parts, *site.arguments)
        return site.y


def _connected(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [t for t in tensors if not t.stop_gradient]
