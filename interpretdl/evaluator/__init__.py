"""How good an explanation is: evaluators, each stating which way is better, and a table of them."""

from ..registry import EVALUATORS, EvaluatorInfo, register_evaluator
from .base import Evaluator
from .compare import compare
from .compat_text import InfidelityNLP, PerturbationNLP
from .complexity import Complexity, Sparseness
from .correlation import FaithfulnessEstimate, MonotonicityCorrelation, SensitivityN
from .deletion import (
    Deletion,
    DeletionInsertion,
    DeletionInsertionInterpreterEvaluator,
    Insertion,
    Monotonicity,
    Perturbation,
    PerturbationInterpreterEvaluator,
)
from .erasure import Comprehensiveness, Sufficiency
from .evaluation import Evaluation
from .fidelity import Completeness, Infidelity, InfidelityInterpreterEvaluator, LocalFidelity
from .localization import PointGame, PointGameSegmentation
from .mass import RankAccuracy, RelevanceMass
from .mprt import EfficientMPRT, SmoothMPRT
from .randomization import ModelRandomization, RandomLogit
from .road import ROAD
from .robustness import (
    LocalLipschitz,
    RelativeInputStability,
    RelativeOutputStability,
    RelativeRepresentationStability,
)
from .stability import Continuity, Selectivity, SensitivityMax
from .table import Comparison

evaluators, find_evaluator = EVALUATORS.all, EVALUATORS.find

__all__ = [
    "ROAD",
    "Comparison",
    "Completeness",
    "Complexity",
    "Comprehensiveness",
    "Continuity",
    "Deletion",
    "DeletionInsertion",
    "DeletionInsertionInterpreterEvaluator",
    "EfficientMPRT",
    "Evaluation",
    "Evaluator",
    "EvaluatorInfo",
    "FaithfulnessEstimate",
    "Infidelity",
    "InfidelityInterpreterEvaluator",
    "InfidelityNLP",
    "Insertion",
    "LocalFidelity",
    "LocalLipschitz",
    "ModelRandomization",
    "Monotonicity",
    "MonotonicityCorrelation",
    "Perturbation",
    "PerturbationInterpreterEvaluator",
    "PerturbationNLP",
    "PointGame",
    "PointGameSegmentation",
    "RandomLogit",
    "RankAccuracy",
    "RelativeInputStability",
    "RelativeOutputStability",
    "RelativeRepresentationStability",
    "RelevanceMass",
    "Selectivity",
    "SensitivityMax",
    "SensitivityN",
    "SmoothMPRT",
    "Sparseness",
    "Sufficiency",
    "compare",
    "evaluators",
    "find_evaluator",
    "register_evaluator",
]
