"""Methods that change what a ReLU does on the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..registry import register
from ..rules.composites import COMPOSITES
from ..targets import TargetLike
from .base import Array, Attribution, Interpreter
from .grad_cam import GradCAMInterpreter

__all__ = ["DeconvnetInterpreter", "GuidedBPInterpreter", "GuidedGradCAMInterpreter"]


class _ThroughReLUs(Interpreter):
    """Gradients under a composite that must reach every ReLU."""

    def through(self, x: Array, target: TargetLike, composite: str) -> Attribution:
        """The input's gradient under the composite, [N, C, H, W]."""
        found = self.probe.gradients(x, target, rules=COMPOSITES[composite])
        return Attribution(found.input, outputs=found.outputs)


@register(
    "guided_bp",
    class_blind=True,
    layout="nchw",
    one_pass=True,
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

    def attribute(self, x: Array, target: TargetLike) -> Attribution:
        """Guided gradient.

        Returns:
            float [N, C, H, W].

        Raises:
            UnsupportedModelError: a ReLU that cannot be reached, or no ReLU at all.
        """
        return self.through(x, target, "guided")


@register(
    "deconvnet",
    class_blind=True,
    layout="nchw",
    one_pass=True,
    signed=False,
    paper="Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, 2014",
    url="https://arxiv.org/abs/1311.2901",
)
class DeconvnetInterpreter(_ThroughReLUs):
    """Deconvolution: as the gradient, but a ReLU looks at what comes back, not at what went in.

    at each ReLU:  g ← g · [g > 0]
    """

    def attribute(self, x: Array, target: TargetLike) -> Attribution:
        """Deconvolved score.

        Returns:
            float [N, C, H, W].

        Raises:
            UnsupportedModelError: a ReLU that cannot be reached, or no ReLU at all.
        """
        return self.through(x, target, "deconvnet")


@register(
    "guided_grad_cam",
    layout="nchw",
    one_pass=True,
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
        target: TargetLike,
        *,
        target_layer_name: str | Sequence[str] | None = None,
        reshape_transform: Callable[[Array], Array] | None = None,
    ) -> Attribution:
        """The product of both maps.

        Returns:
            float [N, C, H, W].

        Raises:
            LayerNotFoundError: no layer of that name.
            UnsupportedModelError: a ReLU that cannot be reached, or no spatial layer.
        """
        from ..data_processor.heatmaps import heatmap_of

        guided = self.through(x, target, "guided")
        cam = super().attribute(
            x, target, target_layer_name=target_layer_name, reshape_transform=reshape_transform
        )
        size = (x.shape[2], x.shape[3])
        guided.values *= heatmap_of(cam.values, size, signed=False)[:, None]
        return guided
