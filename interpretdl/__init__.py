"""interpretdl: why a PaddlePaddle image classifier decided what it decided."""

import warnings as _warnings

try:
    with _warnings.catch_warnings():
        # Paddle says on import that a compiler cache is missing, which nothing here needs.
        _warnings.filterwarnings("ignore", "No ccache found")
        import paddle as _paddle  # noqa: F401  # asked for here so that its absence is explained
except ModuleNotFoundError as error:
    if error.name != "paddle":
        raise
    raise ModuleNotFoundError(
        "interpretdl needs PaddlePaddle 3.0 or later: `pip install paddlepaddle` for the CPU, or "
        "the `paddlepaddle-gpu` build for your CUDA version",
        name="paddle",
    ) from None

from . import dissection, feature_visualization, lrp_model
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
from .evaluator import __all__ as _evaluators
from .explanation import Explanation, grid
from .interpreter import *  # noqa: F403  # every method that is registered
from .interpreter import __all__ as _interpreters
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
__all__ += _evaluators
__all__ += _interpreters
