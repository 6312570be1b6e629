"""Rules of activations and of max-pooling."""

from __future__ import annotations

from typing import TypeAlias

import paddle
import paddle.nn.functional as F

from ..errors import UnsupportedModelError
from .base import Rule, Site, stabilize
from .redirect import redirect

__all__ = ["Deconvnet", "Gate", "Guided", "PassThrough", "Rescale", "RescaleMaxPool"]

Tensor: TypeAlias = "paddle.Tensor"


class PassThrough(Rule):
    """Relevance passes unchanged: R_x = R_y. Where x is 0, there is nothing to carry it."""

    def __call__(self, site: Site) -> Tensor:
        x = site.x.detach()
        return redirect(site.y, (site.x, site.value / stabilize(x)))


class Gate(Rule):
    """A gate is a constant factor: relevance goes to what is gated, none to the gate."""

    def __call__(self, site: Site) -> Tensor:
        return site.y.detach()


class Guided(Rule):
    """Guided backpropagation on a ReLU: g · [x > 0] · [g > 0].

    Springenberg et al. 2014, https://arxiv.org/abs/1412.6806.
    """

    def __call__(self, site: Site) -> Tensor:
        site.y.register_hook(F.relu)
        return site.y


class Deconvnet(Rule):
    """Deconvolution on a ReLU: g · [g > 0], whatever the input was.

    Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901.
    """

    def __call__(self, site: Site) -> Tensor:
        return redirect(site.y, (site.x, paddle.ones_like(site.y)), change=F.relu)


class Rescale(Rule):
    """DeepLIFT's rescale rule: the multiplier is Δy / Δx, the gradient where |Δx| is below 1e-6.

    Works on a batch of pairs: image, its reference, image, its reference, …
    Shrikumar et al. 2017, https://arxiv.org/abs/1704.02685.
    """

    def __call__(self, site: Site) -> Tensor:
        x, y = site.x.detach(), site.y.detach()
        dx, dy = _difference(x), _difference(y)
        still = dx.abs() < 1e-6
        slope = paddle.where(still, paddle.zeros_like(dx), dy / paddle.where(still, 1 + dx, dx))
        return redirect(site.y, (site.x, _twice(slope)), (site.y, _twice(still.astype(y.dtype))))


class RescaleMaxPool(Rule):
    """Rescale for max-pooling: Δy goes to the winner among the inputs where the maximum rose, to
    the winner among the references where it fell; that winner's Δx has Δy's sign and is not
    smaller, so the multiplier is in [0, 1].
    """

    def __call__(self, site: Site) -> Tensor:
        kernel, stride, padding, ceil, _, form, kind, is_global, adaptive = site.arguments[:9]
        if kind != "max":
            return site.y
        if form != "NCHW" or is_global or adaptive:
            raise UnsupportedModelError(
                "DeepLIFT reaches max-pooling over windows of [N, C, H, W] only; this model has an "
                "adaptive or global one, or another layout"
            )
        x, y = site.x.detach(), site.y.detach()
        pooled, winner = F.max_pool2d(
            x, kernel, stride, padding, return_mask=True, ceil_mode=ceil, data_format=form
        )
        if pooled.shape != y.shape or not bool((pooled == y).all()):
            raise UnsupportedModelError("DeepLIFT could not find the winners of a max-pooling")
        winner = winner.astype("int64")
        chosen = _twice(paddle.where(y[0::2] >= y[1::2], winner[0::2], winner[1::2]))
        z = paddle.take_along_axis(site.x.flatten(2), chosen.flatten(2), axis=2)
        z = z.reshape(y.shape)
        dx, dy = _difference(z.detach()), _difference(y)
        still = dx.abs() < 1e-6
        slope = paddle.where(still, paddle.ones_like(dx), dy / paddle.where(still, 1 + dx, dx))
        return redirect(site.y, (z, _twice(slope)))


def _difference(t: Tensor) -> Tensor:
    return t[0::2] - t[1::2]


def _twice(t: Tensor) -> Tensor:
    return t.repeat_interleave(2, axis=0)
