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
from .attention import (
    AttentionGradientInterpreter,
    GACVInterpreter,
    RolloutInterpreter,
)
from .attention_bimodal import GAInterpreter
from .attention_path import BTCVInterpreter, TAMInterpreter
from .base import Attribution, Interpreter
from .consensus import ConsensusInterpreter
from .deep_lift import DeepLIFTInterpreter
from .expected_gradients import ExpectedGradientsInterpreter, ShapValues
from .explain_with import explain_with
from .extremal_perturbation import ExtremalPerturbationInterpreter
from .feature_ablation import FeatureAblationInterpreter
from .g_lime import GLIMEInterpreter
from .g_lime_compat import GLIMECVInterpreter
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
from .hsic import HSICInterpreter
from .integrated_gradients import IntegratedGradientsInterpreter, IntGradCVInterpreter
from .kernel_shap import KernelSHAPInterpreter
from .lime import LIMEInterpreter
from .lime_compat import LIMECVInterpreter
from .lime_text import LIMENLPInterpreter
from .lrp import (
    Audit,
    DeepTaylorInterpreter,
    ExcitationBPInterpreter,
    LRPCVInterpreter,
    LRPInterpreter,
)
from .noise_tunnel import NoiseTunnel
from .norm_lime import NormLIMECVInterpreter
from .norm_lime_text import NormLIMENLPInterpreter
from .occlusion import OcclusionInterpreter
from .partition_shap import PartitionSHAPInterpreter
from .path_images import PathImages
from .rise import RISEInterpreter
from .score_cam import ScoreCAMInterpreter
from .shapley_sampling import ShapleySamplingInterpreter
from .smooth_grad import (
    SmoothGradCVInterpreter,
    SmoothGradInterpreter,
    SmoothGradInterpreterV2,
    SmoothGradSquaredInterpreter,
    VarGradInterpreter,
)
from .sobol import SobolInterpreter
from .text_compat import (
    BTNLPInterpreter,
    GANLPInterpreter,
    GradShapNLPInterpreter,
    IntGradNLPInterpreter,
    SmoothGradNLPInterpreter,
    TextInterpreter,
)
from .transformer_lrp import TransformerLRPInterpreter

__all__ = [
    "AblationCAMInterpreter",
    "AttentionGradientInterpreter",
    "Attribution",
    "Audit",
    "BTCVInterpreter",
    "BTNLPInterpreter",
    "CAMInterpreter",
    "ConsensusInterpreter",
    "DeconvnetInterpreter",
    "DeepLIFTInterpreter",
    "DeepTaylorInterpreter",
    "EigenCAMInterpreter",
    "ExcitationBPInterpreter",
    "ExpectedGradientsInterpreter",
    "ExtremalPerturbationInterpreter",
    "FeatureAblationInterpreter",
    "GACVInterpreter",
    "GAInterpreter",
    "GANLPInterpreter",
    "GLIMECVInterpreter",
    "GLIMEInterpreter",
    "GradCAMInterpreter",
    "GradCAMPlusPlusInterpreter",
    "GradShapCVInterpreter",
    "GradShapNLPInterpreter",
    "GradientInterpreter",
    "GuidedBPInterpreter",
    "GuidedGradCAMInterpreter",
    "HSICInterpreter",
    "HiResCAMInterpreter",
    "InputGradientInterpreter",
    "InputOutputInterpreter",
    "IntGradCVInterpreter",
    "IntGradNLPInterpreter",
    "IntegratedGradientsInterpreter",
    "IntermediateGradientInterpreter",
    "IntermediateLayerInterpreter",
    "Interpreter",
    "KernelSHAPInterpreter",
    "LIMECVInterpreter",
    "LIMEInterpreter",
    "LIMENLPInterpreter",
    "LRPCVInterpreter",
    "LRPInterpreter",
    "LayerCAMInterpreter",
    "NoiseTunnel",
    "NormLIMECVInterpreter",
    "NormLIMENLPInterpreter",
    "OcclusionInterpreter",
    "PartitionSHAPInterpreter",
    "PathImages",
    "RISEInterpreter",
    "RolloutInterpreter",
    "ScoreCAMInterpreter",
    "SensitivityInterpreter",
    "ShapValues",
    "ShapleySamplingInterpreter",
    "SimpleTaylorInterpreter",
    "SmoothGradCVInterpreter",
    "SmoothGradInterpreter",
    "SmoothGradInterpreterV2",
    "SmoothGradNLPInterpreter",
    "SmoothGradSquaredInterpreter",
    "SobolInterpreter",
    "TAMInterpreter",
    "TextInterpreter",
    "TransformerInterpreter",
    "TransformerLRPInterpreter",
    "VarGradInterpreter",
    "XGradCAMInterpreter",
    "explain_with",
]
