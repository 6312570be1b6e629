"""The methods: one file per family, each entered in the registry when it is imported."""

from .ablation_cam import AblationCAMInterpreter
from .activation_cam import CAMInterpreter, EigenCAMInterpreter
from .base import Attribution, Interpreter
from .expected_gradients import ExpectedGradientsInterpreter, ShapValues
from .grad_cam import (
    GradCAMInterpreter,
    GradCAMPlusPlusInterpreter,
    HiResCAMInterpreter,
    LayerCAMInterpreter,
    XGradCAMInterpreter,
)
from .grad_shap import GradShapCVInterpreter
from .gradient import GradientInterpreter
from .integrated_gradients import IntegratedGradientsInterpreter, IntGradCVInterpreter
from .noise_tunnel import NoiseTunnel
from .score_cam import ScoreCAMInterpreter
from .smooth_grad import (
    SmoothGradCVInterpreter,
    SmoothGradInterpreter,
    SmoothGradInterpreterV2,
    SmoothGradSquaredInterpreter,
    VarGradInterpreter,
)

__all__ = [
    "AblationCAMInterpreter",
    "Attribution",
    "CAMInterpreter",
    "EigenCAMInterpreter",
    "ExpectedGradientsInterpreter",
    "GradCAMInterpreter",
    "GradCAMPlusPlusInterpreter",
    "GradShapCVInterpreter",
    "GradientInterpreter",
    "HiResCAMInterpreter",
    "IntGradCVInterpreter",
    "IntegratedGradientsInterpreter",
    "Interpreter",
    "LayerCAMInterpreter",
    "NoiseTunnel",
    "ScoreCAMInterpreter",
    "ShapValues",
    "SmoothGradCVInterpreter",
    "SmoothGradInterpreter",
    "SmoothGradInterpreterV2",
    "SmoothGradSquaredInterpreter",
    "VarGradInterpreter",
    "XGradCAMInterpreter",
]
