"""Models of Paddle's suites, from the model to a picture in one call. No suite is needed to import
this.
"""

from .classification import paddleclas_model
from .detection import Detection, DetectionSubject
from .segmentation import Segmentation, SegmentationSubject

__all__ = [
    "Detection",
    "DetectionSubject",
    "Segmentation",
    "SegmentationSubject",
    "paddleclas_model",
]
