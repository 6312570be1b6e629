"""The methods: one file per family, each entered in the registry when it is imported."""

from .ablation_cam import AblationCAMInterpreter
from .activation_cam import CAMInterpreter, EigenCAMInterpreter
from .base import Attribution, Interpreter
from .grad_cam import (
    GradCAMInterpreter,
    GradCAMPlusPlusInterpreter,
    HiResCAMInterpreter,
    LayerCAMInterpreter,
    XGradCAMInterpreter,
)
from .gradient import GradientInterpreter
from .score_cam import ScoreCAMInterpreter

__all__ = [
    "AblationCAMInterpreter",
    "Attribution",
    "CAMInterpreter",
    "EigenCAMInterpreter",
    "GradCAMInterpreter",
    "GradCAMPlusPlusInterpreter",
    "GradientInterpreter",
    "HiResCAMInterpreter",
    "Interpreter",
    "LayerCAMInterpreter",
    "ScoreCAMInterpreter",
    "XGradCAMInterpreter",
]
