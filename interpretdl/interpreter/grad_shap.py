"""GradShap: InterpretDL's arguments on the engine of expected gradients."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..registry import register
from ..targets import TargetLike
from .base import Array, Attribution, Interpreter
from .baselines import Baselines, baselines_of
from .expected_gradients import attribution, expectation, lines
from .layer_function import LayerFunction
from .sampling import at_least, counts

__all__ = ["GradShapCVInterpreter"]


@register(
    "grad_shap",
    layout="nchw",
    inputs=("pictures", "arrays", "text"),
    signed=True,
    random=True,
    paper="Lundberg, Lee: A Unified Approach to Interpreting Model Predictions, 2017",
    url="https://arxiv.org/abs/1705.07874",
)
class GradShapCVInterpreter(Interpreter):
    """GradShap: the gradient at random places between baselines and noisy copies of the image.

        R = E[∂f/∂x (b + t (x̃ - b)) · (x̃ - b)],    x̃ = x + N(0, σ²),  σ = noise_amount · (max - min)

    Expected gradients whose background is one baseline or a few, with SmoothGrad's noise.
    """

    gradient_of = "probability"
    positional = ("label", "baselines", "n_samples", "noise_amount", "gradient_of")

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        baselines: Baselines = None,
        n_samples: int = 5,
        noise_amount: float = 0.1,
        num_random_trials: int = 10,
        seed: int = 0,
    ) -> Attribution:
        """Gradients on lines from baselines to noisy copies of the image, as one map.

        Args:
            baselines: None (black), "white", "mean" (each image's mean colour), "blur", "random",
                an array [C, H, W] or [N, C, H, W], several as [B, N, C, H, W] or in a list. Each
                sample draws one.

        Returns:
            float64 [N, C, H, W]. Diagnostics as ExpectedGradientsInterpreter's.

        Raises:
            InputError: an option that does not fit.
        """
        counts(n_samples=n_samples)
        at_least(0, noise_amount=noise_amount)
        _, make = baselines_of(
            x, baselines, self.preprocessing, num_random_trials, seed, self._blank
        )
        begins = lru_cache(maxsize=1)(make)  # samples come image by image
        flat = x.reshape(len(x), -1).astype(np.float64)
        sigma = noise_amount * (flat.max(axis=1) - flat.min(axis=1))
        space, target = LayerFunction(self.probe, x), target
        moments = expectation(
            space, [target], lines(space.values, begins, sigma, seed), n_samples, "grad shap"
        )
        return attribution(moments[0])
