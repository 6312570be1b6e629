"""The names that `import interpretdl` gives. Importing this imports Paddle."""

from . import dissection, evaluator, feature_visualization, interpreter, lrp_model
from .drawing import Explanations, grid, image_plot
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
from .explanation import Explanation
from .interpreter import *  # noqa: F403  # every method that is registered
from .preprocessing import IMAGENET, Preprocessing
from .probe import Probe
from .progress import show_progress
from .runs import Clusters, Run, RunDiff, clusters_of, diff_runs, open_run, run
from .subject import Subject
from .targets import ChannelScore, ClassScore, DetectionScore, SegmentationScore, Target
from .texts import TextPreprocessing
from .version import __version__

__all__ = [
    "IMAGENET",
    "ChannelScore",
    "ClassScore",
    "Clusters",
    "DetectionScore",
    "Explanation",
    "Explanations",
    "ImageReadError",
    "InputError",
    "InterpretError",
    "InterpretWarning",
    "LayerNotFoundError",
    "Preprocessing",
    "Probe",
    "ResourceError",
    "Run",
    "RunDiff",
    "SegmentationScore",
    "Subject",
    "Target",
    "TargetError",
    "TextPreprocessing",
    "UnsupportedModelError",
    "WeightsError",
    "__version__",
    "clusters_of",
    "diff_runs",
    "dissection",
    "feature_visualization",
    "grid",
    "image_plot",
    "lrp_model",
    "open_run",
    "run",
    "show_progress",
]
__all__ += evaluator.__all__
__all__ += interpreter.__all__
