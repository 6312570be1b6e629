"""How good an explanation is: evaluators, each stating which way is better, and a table of them."""

from ..registry import EVALUATORS, EvaluatorInfo, register_evaluator
from .base import Evaluator
from .compare import compare
from .compat_text import InfidelityNLP, PerturbationNLP
from .complexity import Sparseness
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
from .randomization import ModelRandomization, RandomLogit
from .stability import Continuity, Selectivity, SensitivityMax
from .table import Comparison

evaluators, find_evaluator = EVALUATORS.all, EVALUATORS.find

__all__ = [
    "Comparison",
    "Completeness",
    "Comprehensiveness",
    "Continuity",
    "Deletion",
    "DeletionInsertion",
    "DeletionInsertionInterpreterEvaluator",
    "Evaluation",
    "Evaluator",
    "EvaluatorInfo",
    "Infidelity",
    "InfidelityInterpreterEvaluator",
    "InfidelityNLP",
    "Insertion",
    "LocalFidelity",
    "ModelRandomization",
    "Monotonicity",
    "Perturbation",
    "PerturbationInterpreterEvaluator",
    "PerturbationNLP",
    "PointGame",
    "PointGameSegmentation",
    "RandomLogit",
    "Selectivity",
    "SensitivityMax",
    "Sparseness",
    "Sufficiency",
    "compare",
    "evaluators",
    "find_evaluator",
    "register_evaluator",
]
