"""The plain gradient, and gradient times input."""

from __future__ import annotations

import numpy as np

from ..registry import register
from ..targets import TargetLike
from .base import Array, Attribution, Interpreter

__all__ = ["GradientInterpreter", "SensitivityInterpreter", "SimpleTaylorInterpreter"]


@register(
    "gradient",
    layout="nchw",
    one_pass=True,
    inputs=("pictures", "arrays"),
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
    ) -> Attribution:
        """Gradient of the score.

        Args:
            times_input: multiply by the input.

        Returns:
            float, of the input's shape.
        """
        found = self.probe.gradients(x, target)
        values = found.input * x if times_input else found.input
        return Attribution(values, signed=times_input, outputs=found.outputs)


@register(
    "sensitivity",
    layout="nchw",
    one_pass=True,
    inputs=("pictures", "arrays"),
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

    def attribute(self, x: Array, target: TargetLike) -> Attribution:
        """Squared gradient of the score.

        Returns:
            float, of the input's shape, not negative.
        """
        found = self.probe.gradients(x, target)
        return Attribution(np.square(found.input), outputs=found.outputs)


@register(
    "simple_taylor",
    layout="nchw",
    one_pass=True,
    inputs=("pictures", "arrays"),
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

    def attribute(self, x: Array, target: TargetLike) -> Attribution:
        """Input times gradient of the score.

        Returns:
            float, of the input's shape.
        """
        found = self.probe.gradients(x, target)
        return Attribution(x * found.input, outputs=found.outputs)
