"""Methods that change what a ReLU does on the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..registry import register
from ..rules.composites import COMPOSITES
from ..targets import ScoreKind
from ..targets.labels import Labels
from .base import Array, Interpreter
from .grad_cam import GradCAMInterpreter

__all__ = ["DeconvnetInterpreter", "GuidedBPInterpreter", "GuidedGradCAMInterpreter"]


class _ThroughReLUs(Interpreter):
    """Gradients under a composite that must reach every ReLU."""

    def through(self, x: Array, labels: Labels, of: ScoreKind, composite: str) -> Array:
        """The input's gradient under the composite, [N, C, H, W]."""
        target = self.target(labels, of)
        return self.probe.gradients(x, target, rules=COMPOSITES[composite]).input


@register(
    "guided_bp",
    layout="nchw",
    signed=False,
    paper="Springenberg et al.: Striving for Simplicity, the All Convolutional Net, 2014",
    url="https://arxiv.org/abs/1412.6806",
)
class GuidedBPInterpreter(_ThroughReLUs):
    """Guided backpropagation: the gradient, of which every ReLU lets only the positive part by.

        at each ReLU:  g ← g · [x > 0] · [g > 0]

    Sharp, and nearly the same for every class: it shows what the network sees, not what decides.
    Every ReLU is reached (layers, functions, fused ones; ReLU6 too), or the model is refused.
    Other activations pass the plain gradient.
    """

    def attribute(self, x: Array, labels: Labels, *, gradient_of: ScoreKind = "logit") -> Array:
        """Guided gradient.

        Args:
            x: float [N, C, H, W].
            labels: int [N], or a target.
            gradient_of: "logit" (default), "probability", "loss" or "contrast".

        Returns:
            float [N, C, H, W].

        Raises:
            UnsupportedModelError: a ReLU that cannot be reached, or no ReLU at all.
        """
        return self.through(x, labels, gradient_of, "guided")


@register(
    "deconvnet",
    layout="nchw",
    signed=False,
    paper="Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, 2014",
    url="https://arxiv.org/abs/1311.2901",
)
class DeconvnetInterpreter(_ThroughReLUs):
    """Deconvolution: as the gradient, but a ReLU looks at what comes back, not at what went in.

    at each ReLU:  g ← g · [g > 0]
    """

    def attribute(self, x: Array, labels: Labels, *, gradient_of: ScoreKind = "logit") -> Array:
        """Deconvolved score.

        Args:
            x: float [N, C, H, W].
            labels: int [N], or a target.
            gradient_of: "logit" (default), "probability", "loss" or "contrast".

        Returns:
            float [N, C, H, W].

        Raises:
            UnsupportedModelError: a ReLU that cannot be reached, or no ReLU at all.
        """
        return self.through(x, labels, gradient_of, "deconvnet")


@register(
    "guided_grad_cam",
    layout="nchw",
    signed=False,
    needs_layer=True,
    paper="Selvaraju et al.: Grad-CAM, Visual Explanations from Deep Networks, 2017",
    url="https://arxiv.org/abs/1610.02391",
)
class GuidedGradCAMInterpreter(_ThroughReLUs, GradCAMInterpreter):
    """Guided Grad-CAM: guided backpropagation, where Grad-CAM says that the class is.

    R = guided gradient · upsampled Grad-CAM
    """

    def attribute(
        self,
        x: Array,
        labels: Labels,
        *,
        target_layer_name: str | Sequence[str] | None = None,
        gradient_of: ScoreKind = "logit",
        reshape_transform: Callable[[Array], Array] | None = None,
    ) -> Array:
        """The product of both maps.

        Args:
            x: float [N, C, H, W].
            labels: int [N], or a target.
            target_layer_name, reshape_transform: of Grad-CAM, see there.
            gradient_of: "logit" (default), "probability", "loss" or "contrast"; for both.

        Returns:
            float [N, C, H, W].

        Raises:
            LayerNotFoundError: no layer of that name.
            UnsupportedModelError: a ReLU that cannot be reached, or no spatial layer.
        """
        from ..data_processor.heatmaps import heatmap_of

        guided = self.through(x, labels, gradient_of, "guided")
        cam = super().attribute(
            x,
            labels,
            target_layer_name=target_layer_name,
            gradient_of=gradient_of,
            reshape_transform=reshape_transform,
        )
        size = (x.shape[2], x.shape[3])
        return np.asarray(guided * heatmap_of(cam, size, signed=False)[:, None])
