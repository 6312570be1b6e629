"""The only place that runs a user's model."""

from .attention import Attention
from .engine import EngineKind
from .function import FunctionModel
from .grid import Grid, is_attention
from .hooks import Array, Edits, Gradients, Rules, RulesRun, Tensor
from .inputs import Inputs
from .output import OutputKind
from .probe import Probe
from .spatial import Spatial

__all__ = [
    "Array",
    "Attention",
    "Edits",
    "EngineKind",
    "FunctionModel",
    "Gradients",
    "Grid",
    "Inputs",
    "OutputKind",
    "Probe",
    "Rules",
    "RulesRun",
    "Spatial",
    "Tensor",
    "is_attention",
]
