"""Pictures that a class, a channel or a unit responds to most: activation maximization."""

from .images import Views
from .maximization import ActivationMaximization
from .objectives import Objective, channel, class_score, unit
from .visualization import FeatureVisualization

__all__ = [
    "ActivationMaximization",
    "FeatureVisualization",
    "Objective",
    "Views",
    "channel",
    "class_score",
    "unit",
]
