"""Grad-CAM."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..registry import register
from ..targets import ScoreKind
from .base import Array
from .cam import CAMBase
from .labels import Labels

__all__ = ["GradCAMInterpreter"]


@register(
    "grad_cam",
    layout="nhw",
    signed=False,
    needs_layer=True,
    paper="Selvaraju et al.: Grad-CAM, Visual Explanations from Deep Networks, 2017",
    url="https://arxiv.org/abs/1610.02391",
)
class GradCAMInterpreter(CAMBase):
    """Grad-CAM: the channels of a layer, weighted by how much the class's score depends on each.

        R = ReLU(Σ_c w_c A_c),    w_c = mean over positions of ∂f / ∂A_c

    A is the layer's output [N, C, h, w]. Coarse, and sensitive to the class: where the layer saw
    what speaks for it.
    """

    positional = ("target_layer_name", "label")

    def attribute(
        self,
        x: Array,
        labels: Labels,
        *,
        target_layer_name: str | Sequence[str] | None = None,
        gradient_of: ScoreKind = "logit",
    ) -> Array:
        """Grad-CAM of one layer, or the mean of several layers' maps.

        Args:
            x: float [N, C, H, W].
            labels: int [N], or a target.
            target_layer_name: a layer with output [N, C, h, w], or several; None takes the last one
                whose output has a height and a width. Maps of several are brought to the largest.
            gradient_of: "logit" (default), "probability", "loss" or "contrast".

        Returns:
            float [N, h, w], not negative, at the layer's size.

        Raises:
            LayerNotFoundError: no layer of that name, or it did not run.
            UnsupportedModelError: the layer's output is not [N, C, h, w].
        """
        return self.layer_maps(x, labels, target_layer_name, gradient_of, _grad_cam)


def _grad_cam(activation: Array, gradient: Array) -> Array:
    weights = gradient.mean(axis=(2, 3), keepdims=True)
    return np.asarray(np.maximum((weights * activation).sum(axis=1), 0))
