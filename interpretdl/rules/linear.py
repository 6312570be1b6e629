"""Rules of linear layers: how a dense layer or convolution hands relevance R_k to its inputs.

Notation: z_jk = x_j w_jk, z_k = Σ_j z_jk + b_k, s(z) = z + 1e-6 sign(z).
Montavon et al. 2019, https://doi.org/10.1007/978-3-030-28954-6_10; Bach et al. 2015,
https://doi.org/10.1371/journal.pone.0130140.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import paddle
from numpy.typing import NDArray

from ..errors import InputError
from .base import Rule, Site, stabilize
from .redirect import redirect

__all__ = ["AlphaBeta", "Epsilon", "Flat", "Gamma", "WSquare", "ZBox", "ZPlus"]

Tensor: TypeAlias = "paddle.Tensor"


def positive(t: Tensor) -> Tensor:
    """The part above zero."""
    return paddle.nn.functional.relu(t)


def negative(t: Tensor) -> Tensor:
    """The part below zero."""
    return -paddle.nn.functional.relu(-t)


def _paired(site: Site, for_positive: Tensor, for_negative: Tensor) -> Tensor:
    """x⁺ with one weight plus x⁻ with another; x⁻ costs nothing where there is none."""
    x, linear = site.x, site.linear
    if float(x.min()) >= 0:
        return linear(x, for_positive)  # type: ignore[misc]  # linear sites have one
    return linear(positive(x), for_positive) + linear(negative(x), for_negative)  # type: ignore[misc]


def _plus_bias(site: Site, z: Tensor, bias: Tensor | None) -> Tensor:
    return z.detach() if bias is None else z.detach() + site.spread(bias)


def _keep(site: Site, *ways: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Redirect y to (z, ratio, denominator) ways, and note the shares for the audit."""
    if site.audited:
        site.shares = {
            "input": sum(z.detach() * ratio for z, ratio, _ in ways),
            "bias": sum((whole - z.detach()) * ratio for z, ratio, whole in ways),
        }
    return redirect(site.y, *((z, ratio) for z, ratio, _ in ways))


class Epsilon(Rule):
    """R_j = Σ_k z_jk / (z_k + ε sign z_k) R_k. The bias and ε keep their share.

    Args:
        epsilon: at least 0; 0 is LRP-0, which is gradient times input.
    """

    def __init__(self, epsilon: float = 1e-6) -> None:
        if not epsilon >= 0:
            raise InputError(f"epsilon must be at least 0; got {epsilon}")
        self.epsilon = epsilon

    def __call__(self, site: Site) -> Tensor:
        y = site.y.detach()
        ratio = y / stabilize(y, self.epsilon) if self.epsilon else paddle.ones_like(y)
        if site.audited:
            bias = paddle.zeros_like(y) if site.bias is None else site.spread(site.bias)
            site.shares = {"input": (y - bias) * ratio, "bias": bias * ratio}
        return redirect(site.y, (site.y, ratio)) if self.epsilon else site.y


class ZPlus(Rule):
    """R_j = Σ_k (x⁺w⁺ + x⁻w⁻)_jk / s(Σ_j … + b⁺) R_k: only what raises the output counts.

    Args:
        bias: whether b⁺ keeps a share; without, all relevance arrives.
    """

    def __init__(self, bias: bool = True) -> None:
        self.bias = bias

    def __call__(self, site: Site) -> Tensor:
        w = site.weight
        z = _paired(site, positive(w), negative(w))
        bias = positive(site.bias) if self.bias and site.bias is not None else None
        whole = _plus_bias(site, z, bias)
        return _keep(site, (z, site.y.detach() / stabilize(whole), whole))


class AlphaBeta(Rule):
    """R_j = Σ_k (α z⁺_jk / s(z⁺_k) - β z⁻_jk / s(z⁻_k)) R_k with α - β = 1.

    z⁺ sums what raises the output (and b⁺), z⁻ what lowers it (and b⁻), each divided by itself.

    Raises:
        InputError: α - β is not 1, or β is negative.
    """

    def __init__(self, alpha: float = 2.0, beta: float | None = None, bias: bool = True) -> None:
        beta = alpha - 1 if beta is None else beta
        if abs(alpha - beta - 1) > 1e-9 or beta < 0:
            raise InputError(
                f"alpha - beta must be 1 and beta at least 0, so that relevance is conserved; got "
                f"alpha={alpha}, beta={beta}"
            )
        self.alpha, self.beta, self.bias = alpha, beta, bias

    def __call__(self, site: Site) -> Tensor:
        w, y = site.weight, site.y.detach()
        up, down = positive(w), negative(w)
        bias = site.bias if self.bias else None
        z = _paired(site, up, down)
        whole = _plus_bias(site, z, None if bias is None else positive(bias))
        ways = [(z, self.alpha * y / stabilize(whole), whole)]
        if self.beta:
            z = _paired(site, down, up)
            whole = _plus_bias(site, z, None if bias is None else negative(bias))
            ways.append((z, -self.beta * y / stabilize(whole), whole))
        return _keep(site, *ways)


class Gamma(Rule):
    """R_j = Σ_k x_j (w + γw⁺)_jk / s(Σ_j … + b + γb⁺) R_k: what raises the output counts more.

    For inputs of both signs by the sign of the output: x⁺(w + γw⁺) + x⁻(w + γw⁻) where it is
    positive, mirrored where it is negative.

    Args:
        gamma: at least 0; 0 is LRP-0, and the limit of a large one is z⁺.
    """

    def __init__(self, gamma: float = 0.25) -> None:
        if not gamma >= 0:
            raise InputError(f"gamma must be at least 0; got {gamma}")
        self.gamma = gamma

    def __call__(self, site: Site) -> Tensor:
        w, b, y = site.weight, site.bias, site.y.detach()
        up, down = w + self.gamma * positive(w), w + self.gamma * negative(w)
        raised = (y > 0).astype(y.dtype)
        ways = []
        for chosen, part, weights in (
            (raised, positive, (up, down)),
            (1 - raised, negative, (down, up)),
        ):
            z = _paired(site, *weights)
            whole = _plus_bias(site, z, None if b is None else b + self.gamma * part(b))
            ways.append((z, chosen * y / stabilize(whole), whole))
        return _keep(site, *ways)


class _First(Rule):
    """A rule that only the first layer can have: relevance is not x times a gradient."""


class ZBox(_First):
    """First layer, for pixels: R_j = Σ_k (x w - l w⁺ - h w⁻)_jk / s(Σ_j …) R_k, without bias.

    Args:
        low, high: smallest and largest value that an input can have, float [1, C, 1, 1] or
            anything that broadcasts to [N, C, H, W]. None: the interpreter fills in its
            preprocessing's bounds.
    """

    def __init__(
        self,
        low: NDArray[np.float32] | float | None = None,
        high: NDArray[np.float32] | float | None = None,
    ) -> None:
        self.low, self.high = low, high

    def carriers(self, x: Tensor) -> list[Tensor]:
        if self.low is None or self.high is None:
            raise InputError("the z-box rule needs low= and high=, the range of the input's values")
        return [_like(x, self.low), _like(x, self.high)]

    def __call__(self, site: Site) -> Tensor:
        w, linear = site.weight, site.linear
        low, high = site.carriers
        z = linear(site.x, w) - linear(low, positive(w)) - linear(high, negative(w))  # type: ignore[misc]
        return _keep(site, (z, site.y.detach() / stabilize(z.detach()), z.detach()))


class WSquare(_First):
    """First layer: R_j = Σ_k w²_jk / Σ_j w²_jk R_k: by the weights alone."""

    def carriers(self, x: Tensor) -> list[Tensor]:
        return [paddle.ones_like(x)]

    def share(self, weight: Tensor) -> Tensor:
        """What takes the place of x w."""
        return weight * weight

    def __call__(self, site: Site) -> Tensor:
        z = site.linear(site.carriers[0], self.share(site.weight))  # type: ignore[misc]
        return _keep(site, (z, site.y.detach() / stabilize(z.detach()), z.detach()))


class Flat(WSquare):
    """First layer: R_j = Σ_k 1 / n R_k: evenly over all inputs that the output sees."""

    def share(self, weight: Tensor) -> Tensor:
        return paddle.ones_like(weight)


def _like(x: Tensor, value: NDArray[np.float32] | float) -> Tensor:
    """`value` broadcast to x's shape."""
    array = np.asarray(value)
    try:
        full = np.broadcast_to(array, x.shape)
    except ValueError:
        raise InputError(
            f"the bounds of the z-box rule have shape {list(array.shape)}, which does not fit "
            f"inputs {list(x.shape)}; give the interpreter a preprocessing= with as many channels"
        ) from None
    return paddle.to_tensor(np.array(full), place=x.place).astype(x.dtype)
