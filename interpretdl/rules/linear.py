"""Rules of linear layers: how a dense layer or convolution shares relevance R_k among its inputs.

Notation: z_jk = x_j w_jk, z_k = Σ_j z_jk + b_k, s(z) = z + 1e-6 sign(z), or 1e-6 of the largest |z|
where that is below 1.
Montavon et al. 2019, https://doi.org/10.1007/978-3-030-28954-6_10; Bach et al. 2015,
https://doi.org/10.1371/journal.pone.0130140.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import paddle
from numpy.typing import NDArray

from ..errors import InputError
from ..tensors import from_numpy
from .base import Rule, Site, signed, stabilize
from .linear_map import LinearMap
from .redirect import Way, redirect

__all__ = ["AlphaBeta", "Epsilon", "Flat", "Gamma", "WSquare", "ZBox", "ZPlus"]

Tensor: TypeAlias = "paddle.Tensor"


def positive(t: Tensor) -> Tensor:
    """The part above zero."""
    return paddle.nn.functional.relu(t)


def negative(t: Tensor) -> Tensor:
    """The part below zero."""
    return t.clip(max=0)


def same(t: Tensor) -> Tensor:
    """As it is."""
    return t


Part = Callable[[Tensor], Tensor]


def _map(site: Site) -> LinearMap:
    if site.linear is None:
        raise InputError(f"a rule for linear layers was given to {site.name}, which is none")
    return site.linear


def _paired(site: Site, for_positive: Part, for_negative: Part) -> Tensor:
    """x⁺ with one weight plus x⁻ with another; x⁻ costs nothing where there is none."""
    x, linear = site.x, _map(site)
    if site.one_sided:
        return linear(x, for_positive)
    return linear(positive(x), for_positive) + linear(negative(x), for_negative)


def _way(site: Site, z: Tensor, part: Part | None, sign: float, y: Tensor) -> Way:
    """The way to z, whose sum with part(bias) has a known sign; |sign| scales the stabilizer.

    Bias and stabilizer are added in one pass over the activations: those are what takes time.
    """
    linear = _map(site)
    offset = stabilizer = linear.in_units(sign * site.small, z)
    bias = None
    if part is not None and linear.bias is not None:
        bias = linear.in_units(linear.spread(part(linear.bias), z), z)
        offset = bias + stabilizer
    return Way(z, y / (z.detach() + offset), bias, stabilizer)


class Epsilon(Rule):
    """R_j = Σ_k z_jk / (z_k + ε sign z_k) R_k. The bias and ε keep their share.

    Args:
        epsilon: at least 0, in the units of the layer's output; 0 is LRP-0, which is gradient
            times input. None: the stabilizer of the other rules, see `small_of`.
    """

    def __init__(self, epsilon: float | None = None) -> None:
        if epsilon is not None and not epsilon >= 0:
            raise InputError(f"epsilon must be at least 0; got {epsilon}")
        self.epsilon = epsilon

    def __call__(self, site: Site) -> Tensor:
        y, linear = site.value, _map(site)
        bias = None if linear.bias is None else linear.spread(linear.bias, y)
        if self.epsilon == 0:
            return redirect(site.y, Way(site.y, paddle.ones_like(y), bias))
        small = site.small if self.epsilon is None else paddle.full([], self.epsilon, y.dtype)
        stabilizer = signed(small, y)
        return redirect(site.y, Way(site.y, y / (y + stabilizer), bias, stabilizer))


class ZPlus(Rule):
    """R_j = Σ_k (x⁺w⁺ + x⁻w⁻)_jk / s(Σ_j … + b⁺) R_k: only what raises the output counts.

    Args:
        bias: whether b⁺ keeps a share; without, all relevance arrives.
    """

    def __init__(self, bias: bool = True) -> None:
        self.bias = bias

    def __call__(self, site: Site) -> Tensor:
        z = _paired(site, positive, negative)
        return redirect(site.y, _way(site, z, positive if self.bias else None, 1, site.value))


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
        ways = []
        for factor, sign, part, other in (
            (self.alpha, 1, positive, negative),
            (-self.beta, -1, negative, positive),
        ):
            if factor:
                z = _paired(site, part, other)
                y = site.value * factor
                ways.append(_way(site, z, part if self.bias else None, sign, y))
        return redirect(site.y, *ways)


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
        # Weights and bias divided by 1 + γ, which cancels: one pass over the weights, not three.
        less = 1 / (1 + self.gamma)

        def raised(t: Tensor) -> Tensor:
            return paddle.maximum(t, t * less)

        def lowered(t: Tensor) -> Tensor:
            return paddle.minimum(t, t * less)

        raises, ways = site.value > 0, []
        for sign, active, part, other in (
            (less, raises, raised, lowered),
            (-less, ~raises, lowered, raised),
        ):
            way = _way(site, _paired(site, part, other), part, sign, site.value)
            # Elsewhere the sum may have either sign, and be 0.
            ratio = paddle.where(active, way.ratio, paddle.zeros_like(way.ratio))
            ways.append(way._replace(ratio=ratio))
        return redirect(site.y, *ways)


class _First(Rule):
    """A rule that only the first layer can have: relevance is not x times a gradient."""

    def arrived(self, site: Site) -> Sequence[Tensor]:
        """The carriers at their layer."""
        if not site.carriers:
            raise InputError(
                f"{type(self).__name__} was given to {site.name}, where it is not the first "
                "layer's rule: give it to a composite as first="
            )
        return site.carriers


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
        linear, (low, high) = _map(site), self.arrived(site)
        z = linear(site.x, same) - linear(low, positive) - linear(high, negative)
        small = linear.in_units(site.small, z)
        # Below zero for inputs out of bounds.
        return redirect(site.y, Way(z, site.value / stabilize(z.detach(), small), None, small))


class WSquare(_First):
    """First layer: R_j = Σ_k w²_jk / Σ_j w²_jk R_k: by the weights alone."""

    def carriers(self, x: Tensor) -> list[Tensor]:
        return [paddle.ones_like(x), paddle.zeros_like(x)]

    def share(self, weight: Tensor) -> Tensor:
        """What takes the place of x w."""
        return weight * weight

    def small(self, site: Site) -> Tensor:
        """The stabilizer, where `share` is not multiplied by batch-norm's scale squared."""
        linear = _map(site)
        return linear.in_units(linear.in_units(site.small, site.value), site.value)

    def __call__(self, site: Site) -> Tensor:
        one, zero = self.arrived(site)
        # 1 for each input, 0 for padding, whatever comes before the layer multiplies or adds.
        change = one - zero
        unit = change / paddle.where(change == 0, paddle.ones_like(change), change).detach()
        z, small = _map(site)(unit, self.share), self.small(site)
        return redirect(site.y, Way(z, site.value / (z.detach() + small), None, small))


class Flat(WSquare):
    """First layer: R_j = Σ_k 1 / n R_k: evenly over all inputs that the output sees."""

    def share(self, weight: Tensor) -> Tensor:
        return paddle.ones_like(weight)

    def small(self, site: Site) -> Tensor:
        return site.small


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
    return from_numpy(full, x.place, x.dtype)
