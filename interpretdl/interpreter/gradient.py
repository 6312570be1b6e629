"""The plain gradient, and gradient times input."""

from __future__ import annotations

import numpy as np

from ..probe import Probe
from ..registry import register
from ..targets import TargetLike
from .base import Array, Attribution, Interpreter

__all__ = ["GradientInterpreter", "SensitivityInterpreter", "SimpleTaylorInterpreter"]


@register(
    "gradient",
    layout="nchw",
    one_pass=True,
    inputs=("pictures", "arrays", "text"),
    signed=False,
    paper="Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks, 2013",
    url="https://arxiv.org/abs/1312.6034",
)
class GradientInterpreter(Interpreter):
    """The gradient of a class's score with respect to the input: which pixels change it fastest.

        R = ∂f_c / ∂x          (times_input: R = x · ∂f_c / ∂x)

    The gradient is what the network is locally sensitive to, not what it has seen; its picture
    shows the sum of absolute values over the channels. Times the input it is signed, and in a
    network of ReLUs without biases its sum is the score.
    """

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        times_input: bool = False,
        layer: str | None = None,
    ) -> Attribution:
        """Gradient of the score.

        Args:
            times_input: multiply by the input, or by the layer's output.
            layer: differentiate with respect to the output of this layer instead.

        Returns:
            float, of the input's shape, or the layer's.

        Raises:
            LayerNotFoundError: no such layer.
        """
        here, gradient, outputs = _gradient(self.probe, x, target, layer)
        values = gradient * here if times_input else gradient
        return Attribution(values, signed=times_input, outputs=outputs)


@register(
    "sensitivity",
    layout="nchw",
    one_pass=True,
    inputs=("pictures", "arrays", "text"),
    signed=False,
    paper="Montavon, Samek, Müller: Methods for Interpreting and Understanding Deep Neural "
    "Networks, 2018",
    url="https://arxiv.org/abs/1706.07979",
)
class SensitivityInterpreter(Interpreter):
    """Sensitivity analysis: the squared gradient.

        R = (∂f_c / ∂x)²

    Its sum is the squared length of the gradient: it explains a change of the score, not the score.
    """

    def attribute(self, x: Array, target: TargetLike, *, layer: str | None = None) -> Attribution:
        """Squared gradient of the score.

        Args:
            layer: see `GradientInterpreter`.

        Returns:
            float, of the input's shape, or the layer's; not negative.
        """
        _, gradient, outputs = _gradient(self.probe, x, target, layer)
        return Attribution(np.square(gradient), outputs=outputs)


@register(
    "simple_taylor",
    layout="nchw",
    one_pass=True,
    inputs=("pictures", "arrays", "text"),
    signed=True,
    paper="Montavon, Samek, Müller: Methods for Interpreting and Understanding Deep Neural "
    "Networks, 2018",
    url="https://arxiv.org/abs/1706.07979",
)
class SimpleTaylorInterpreter(Interpreter):
    """Simple Taylor decomposition: the first term of the expansion of the score around zero.

        R = x · ∂f_c / ∂x

    Exact for a network of ReLUs without biases, where its sum is the score.
    """

    def attribute(self, x: Array, target: TargetLike, *, layer: str | None = None) -> Attribution:
        """Input times gradient of the score.

        Args:
            layer: its output times the gradient there, see `GradientInterpreter`.

        Returns:
            float, of the input's shape, or the layer's.
        """
        here, gradient, outputs = _gradient(self.probe, x, target, layer)
        return Attribution(here * gradient, outputs=outputs)


def _gradient(
    probe: Probe, x: Array, target: TargetLike, layer: str | None
) -> tuple[Array, Array, Array]:
    """The values where the gradient is taken, the gradient, and the model's outputs."""
    found = probe.gradients(x, target, at=layer)
    if layer is None:
        return x, found.input, found.outputs
    return found.activations[layer], found.gradients[layer], found.outputs
