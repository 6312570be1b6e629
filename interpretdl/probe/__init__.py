"""The only place that runs a user's model."""

from .hooks import Array, Edits, Gradients, Tensor
from .output import OutputKind
from .probe import Probe, Rules, RulesRun

__all__ = ["Array", "Edits", "Gradients", "OutputKind", "Probe", "Rules", "RulesRun", "Tensor"]
