"""The only place that runs a user's model."""

from .hooks import Array, Edits, Gradients, Rules, RulesRun, Tensor
from .inputs import Inputs
from .output import OutputKind
from .probe import Probe

__all__ = [
    "Array",
    "Edits",
    "Gradients",
    "Inputs",
    "OutputKind",
    "Probe",
    "Rules",
    "RulesRun",
    "Tensor",
]
