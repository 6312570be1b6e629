"""The rules of Chefer, Gur, Wolf 2020 for relevance at attention, https://arxiv.org/abs/2012.09838.

Linear layers have z⁺ without biases, products of activations half for each factor, sums of two
activations a normalization. Softmax, layer-norm and activations pass relevance on unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import paddle

from .activation import PassThrough
from .attention import Summand
from .base import Site
from .composites import ATTENTION_OPERATIONS, attention_composite
from .linear import ZPlus
from .linear_map import CONVOLUTION, DENSE
from .redirect import redirect

__all__ = ["TRANSFORMER_LRP", "NormalizedSum"]

Tensor: TypeAlias = "paddle.Tensor"


class NormalizedSum(Summand):
    """a + b: each part's sum over an item becomes |Σ R_a| / (|Σ R_a| + |Σ R_b|) of the relevance.

    R_a and R_b are the shares in proportion to a and b, which may be large and of opposite signs.
    """

    def meets(self, operands: Sequence[Tensor]) -> bool:
        return len(operands) > 1 and any(not t.stop_gradient for t in operands)

    def __call__(self, site: Site) -> Tensor:
        if len(site.connected) < 2:
            return super().__call__(site)
        values = [t.detach() for t in site.operands]
        factors: list[Tensor] = []  # known when relevance arrives, before it goes on to the parts

        def measure(gradient: Tensor) -> Tensor:
            sums = [_sums(value * gradient) for value in values]
            size = sums[0].abs() + sums[1].abs()
            scale = (sums[0] + sums[1]) / paddle.where(size == 0, paddle.ones_like(size), size)
            factors[:] = [total.sign() * scale for total in sums]
            return gradient

        def part(index: int) -> Tensor:
            t = site.operands[index].expand_as(site.y)
            one = paddle.ones([], t.dtype)
            return redirect(t, (t, one), change=lambda gradient: gradient * factors[index])

        whole = part(0) + part(1)
        return redirect(site.y, (whole, paddle.ones([], whole.dtype)), change=measure)


def _sums(t: Tensor) -> Tensor:
    """Over each item, [N, 1, …]."""
    return t.sum(axis=list(range(1, t.ndim)), keepdim=True)


TRANSFORMER_LRP = attention_composite(
    "transformer_lrp",
    layers={CONVOLUTION: ZPlus(bias=False), DENSE: ZPlus(bias=False)},
    operations={
        **ATTENTION_OPERATIONS,
        **dict.fromkeys(("softmax", "layer_norm"), PassThrough()),
        "add": NormalizedSum(),
    },
)
