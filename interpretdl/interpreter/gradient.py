"""The plain gradient, and gradient times input."""

from __future__ import annotations

from ..registry import register
from ..targets import ScoreKind
from .base import Array, Attribution, Interpreter
from .labels import Labels

__all__ = ["GradientInterpreter"]


@register(
    "gradient",
    layout="nchw",
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
        labels: Labels,
        *,
        gradient_of: ScoreKind = "logit",
        times_input: bool = False,
    ) -> Attribution:
        """Gradient of the score.

        Args:
            x: float [N, C, H, W].
            labels: int [N], or a target.
            gradient_of: "logit" (default), "probability", "loss" or "contrast".
            times_input: multiply by the input.

        Returns:
            float [N, C, H, W].

        Raises:
            InputError: unknown gradient_of.
        """
        gradient = self.probe.gradients(x, self.target(labels, gradient_of)).input
        return Attribution(gradient * x if times_input else gradient, signed=times_input)
