"""Grad-CAM and its kin: class activation maps from one backward pass to a layer."""

from __future__ import annotations

import numpy as np

from ..registry import register
from .base import Array
from .cam import GradientCAM, ratio

__all__ = [
    "GradCAMInterpreter",
    "GradCAMPlusPlusInterpreter",
    "HiResCAMInterpreter",
    "LayerCAMInterpreter",
    "XGradCAMInterpreter",
]


def _relu(values: Array) -> Array:
    return np.asarray(np.maximum(values, 0))


def _sum(values: Array) -> Array:
    """Sum over positions, [N, C, 1, 1], in double precision: powers of gradients are small."""
    return np.asarray(values.sum(axis=(2, 3), keepdims=True, dtype=np.float64))


@register(
    "grad_cam",
    layout="nhw",
    one_pass=True,
    signed=False,
    needs_layer=True,
    paper="Selvaraju et al.: Grad-CAM, Visual Explanations from Deep Networks, 2017",
    url="https://arxiv.org/abs/1610.02391",
)
class GradCAMInterpreter(GradientCAM):
    """Grad-CAM: the channels of a layer, weighted by how much the class's score depends on each.

        R = ReLU(Σ_c w_c A_c),    w_c = mean over positions of ∂f / ∂A_c

    A is the layer's output [N, C, h, w]. Coarse, and sensitive to the class: where the layer saw
    what speaks for it. The map is not negative.
    """

    @staticmethod
    def combine(activation: Array, gradient: Array) -> Array:
        weights = gradient.mean(axis=(2, 3), keepdims=True)
        return _relu((weights * activation).sum(axis=1))


@register(
    "grad_cam_plus_plus",
    layout="nhw",
    one_pass=True,
    signed=False,
    needs_layer=True,
    paper="Chattopadhay et al.: Grad-CAM++, Improved Visual Explanations for Deep Convolutional "
    "Networks, 2018",
    url="https://arxiv.org/abs/1710.11063",
)
class GradCAMPlusPlusInterpreter(GradientCAM):
    """Grad-CAM++: Grad-CAM whose weights do not shrink when an object covers few positions.

        R = ReLU(Σ_c w_c A_c),    w_c = Σ α · ReLU(g),    α = g² / (2 g² + ΣA_c · g³)

    g = ∂f / ∂A, sums over the channel's positions; α is 0 where its denominator is. It is the
    paper's form for the score exp(f), whose derivatives are exp(f) times powers of g; that common
    factor, which may overflow, is left out. The map is not negative.
    """

    @staticmethod
    def combine(activation: Array, gradient: Array) -> Array:
        g = gradient.astype(np.float64)
        alpha = ratio(g**2, 2 * g**2 + _sum(activation) * g**3)
        return _relu((_sum(alpha * _relu(g)) * activation).sum(axis=1))


@register(
    "hires_cam",
    layout="nhw",
    one_pass=True,
    signed=True,
    needs_layer=True,
    paper="Draelos, Carin: Use HiResCAM instead of Grad-CAM for faithful explanations of "
    "convolutional neural networks, 2020",
    url="https://arxiv.org/abs/2011.08891",
)
class HiResCAMInterpreter(GradientCAM):
    """HiResCAM: gradient times activation at each position, summed over the channels.

        R = Σ_c ∂f / ∂A_c · A_c

    Gradients are not averaged over the layer first, so the map shows only positions that the score
    depends on. Signed; in a network that is linear behind the layer its sum is the score without
    the biases.
    """

    @staticmethod
    def combine(activation: Array, gradient: Array) -> Array:
        return np.asarray((gradient * activation).sum(axis=1))


@register(
    "xgrad_cam",
    layout="nhw",
    one_pass=True,
    signed=False,
    needs_layer=True,
    paper="Fu et al.: Axiom-based Grad-CAM, Towards Accurate Visualization and Explanation of "
    "CNNs, 2020",
    url="https://arxiv.org/abs/2008.02312",
)
class XGradCAMInterpreter(GradientCAM):
    """XGrad-CAM: Grad-CAM with the gradient averaged where the channel is active.

        R = ReLU(Σ_c w_c A_c),    w_c = Σ (A_c / ΣA_c) · ∂f / ∂A_c

    Before the ReLU the map's sum is that of gradient times activation, so relevance is conserved.
    A channel whose sum is 0 has weight 0. The map is not negative.
    """

    @staticmethod
    def combine(activation: Array, gradient: Array) -> Array:
        weights = ratio(_sum(activation * gradient), _sum(activation))
        return _relu((weights * activation).sum(axis=1))


@register(
    "layer_cam",
    layout="nhw",
    one_pass=True,
    signed=False,
    needs_layer=True,
    paper="Jiang et al.: LayerCAM, Exploring Hierarchical Class Activation Maps for Localization, "
    "2021",
    url="https://doi.org/10.1109/TIP.2021.3089943",
)
class LayerCAMInterpreter(GradientCAM):
    """Layer-CAM: each position weighted by its own gradient, where that is positive.

        R = ReLU(Σ_c ReLU(∂f / ∂A_c) · A_c)

    Made for early layers too, whose maps are fine. The map is not negative.
    """

    @staticmethod
    def combine(activation: Array, gradient: Array) -> Array:
        return _relu((_relu(gradient) * activation).sum(axis=1))
