"""The names that `import interpretdl` gives. Importing this imports Paddle."""

from . import dissection, evaluator, feature_visualization, interpreter, lrp_model
from .errors import (
    ImageReadError,
    InputError,
    InterpretError,
    InterpretWarning,
    LayerNotFoundError,
    ResourceError,
    TargetError,
    UnsupportedModelError,
    WeightsError,
)
from .evaluator import *  # noqa: F403  # every evaluator that is registered
from .explanation import Explanation, grid
from .interpreter import *  # noqa: F403  # every method that is registered
from .preprocessing import IMAGENET, Preprocessing
from .probe import Probe
from .progress import show_progress
from .targets import ClassScore, DetectionScore, SegmentationScore, Target
from .version import __version__

__all__ = [
    "IMAGENET",
    "ClassScore",
    "DetectionScore",
    "Explanation",
    "ImageReadError",
    "InputError",
    "InterpretError",
    "InterpretWarning",
    "LayerNotFoundError",
    "Preprocessing",
    "Probe",
    "ResourceError",
    "SegmentationScore",
    "Target",
    "TargetError",
    "UnsupportedModelError",
    "WeightsError",
    "__version__",
    "dissection",
    "feature_visualization",
    "grid",
    "lrp_model",
    "show_progress",
]
__all__ += evaluator.__all__
__all__ += interpreter.__all__
