"""Rules of activations."""

from __future__ import annotations

from typing import TypeAlias

import paddle
import paddle.nn.functional as F

from .base import Rule, Site, stabilize
from .redirect import redirect

__all__ = ["Clip", "Deconvnet", "Gate", "Guided", "PassThrough"]

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


class Clip(Rule):
    """A cut to [0, 1] of a number for each channel is a gate; any other cut passes relevance on."""

    def __call__(self, site: Site) -> Tensor:
        low, high = (float(bound) for bound in site.arguments[:2])
        spread = site.y.ndim > 2 and any(n > 1 for n in site.y.shape[2:])
        gates = (low, high) == (0, 1) and not spread
        return Gate()(site) if gates else PassThrough()(site)


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
