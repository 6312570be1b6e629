"""The names that `import interpretdl` gives. Importing this imports Paddle."""

from . import (
    callbacks,
    dissection,
    evaluator,
    feature_visualization,
    interpreter,
    lrp_model,
    truth,
)
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
from .exported import load_exported
from .interpreter import *  # noqa: F403  # every method that is registered
from .preprocessing import IMAGENET, Preprocessing
from .probe import Probe
from .progress import show_progress
from .runs import Clusters, Run, RunDiff, clusters_of, diff_runs, open_run, run
from .subject import Subject
from .suites import (
    Detection,
    DetectionSubject,
    Segmentation,
    SegmentationSubject,
    paddleclas_model,
)
from .targets import (
    ChannelScore,
    ClassScore,
    DetectionScore,
    DetectionSimilarity,
    SegmentationScore,
    SequenceScore,
    Target,
)
from .texts import TextPreprocessing
from .version import __version__

__all__ = [
    "IMAGENET",
    "ChannelScore",
    "ClassScore",
    "Clusters",
    "Detection",
    "DetectionScore",
    "DetectionSimilarity",
    "DetectionSubject",
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
    "Segmentation",
    "SegmentationScore",
    "SegmentationSubject",
    "SequenceScore",
    "Subject",
    "Target",
    "TargetError",
    "TextPreprocessing",
    "UnsupportedModelError",
    "WeightsError",
    "__version__",
    "callbacks",
    "clusters_of",
    "diff_runs",
    "dissection",
    "feature_visualization",
    "grid",
    "image_plot",
    "load_exported",
    "lrp_model",
    "open_run",
    "paddleclas_model",
    "run",
    "show_progress",
    "truth",
]
__all__ += evaluator.__all__
__all__ += interpreter.__all__
