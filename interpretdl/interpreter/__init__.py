"""The methods: one file per family, each entered in the registry when it is imported."""

from .abc_interpreter import (
    InputGradientInterpreter,
    InputOutputInterpreter,
    IntermediateGradientInterpreter,
    IntermediateLayerInterpreter,
    TransformerInterpreter,
)
from .ablation_cam import AblationCAMInterpreter
from .activation_cam import CAMInterpreter, EigenCAMInterpreter
from .base import Attribution, Interpreter
from .deep_lift import DeepLIFTInterpreter
from .expected_gradients import ExpectedGradientsInterpreter, ShapValues
from .explain_with import explain_with
from .feature_ablation import FeatureAblationInterpreter
from .grad_cam import (
    GradCAMInterpreter,
    GradCAMPlusPlusInterpreter,
    HiResCAMInterpreter,
    LayerCAMInterpreter,
    XGradCAMInterpreter,
)
from .grad_shap import GradShapCVInterpreter
from .gradient import GradientInterpreter, SensitivityInterpreter, SimpleTaylorInterpreter
from .guided import DeconvnetInterpreter, GuidedBPInterpreter, GuidedGradCAMInterpreter
from .integrated_gradients import IntegratedGradientsInterpreter, IntGradCVInterpreter
from .lrp import (
    Audit,
    DeepTaylorInterpreter,
    ExcitationBPInterpreter,
    LRPCVInterpreter,
    LRPInterpreter,
)
from .noise_tunnel import NoiseTunnel
from .path_images import PathImages
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
    "Audit",
    "CAMInterpreter",
    "DeconvnetInterpreter",
    "DeepLIFTInterpreter",
    "DeepTaylorInterpreter",
    "EigenCAMInterpreter",
    "ExcitationBPInterpreter",
    "ExpectedGradientsInterpreter",
    "FeatureAblationInterpreter",
    "GradCAMInterpreter",
    "GradCAMPlusPlusInterpreter",
    "GradShapCVInterpreter",
    "GradientInterpreter",
    "GuidedBPInterpreter",
    "GuidedGradCAMInterpreter",
    "HiResCAMInterpreter",
    "InputGradientInterpreter",
    "InputOutputInterpreter",
    "IntGradCVInterpreter",
    "IntegratedGradientsInterpreter",
    "IntermediateGradientInterpreter",
    "IntermediateLayerInterpreter",
    "Interpreter",
    "LRPCVInterpreter",
    "LRPInterpreter",
    "LayerCAMInterpreter",
    "NoiseTunnel",
    "PathImages",
    "ScoreCAMInterpreter",
    "SensitivityInterpreter",
    "ShapValues",
    "SimpleTaylorInterpreter",
    "SmoothGradCVInterpreter",
    "SmoothGradInterpreter",
    "SmoothGradInterpreterV2",
    "SmoothGradSquaredInterpreter",
    "TransformerInterpreter",
    "VarGradInterpreter",
    "XGradCAMInterpreter",
    "explain_with",
]
