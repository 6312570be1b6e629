"""The methods: one file per family, each entered in the registry when it is imported."""

from .base import Attribution, Interpreter
from .grad_cam import GradCAMInterpreter
from .gradient import GradientInterpreter

__all__ = ["Attribution", "GradCAMInterpreter", "GradientInterpreter", "Interpreter"]
