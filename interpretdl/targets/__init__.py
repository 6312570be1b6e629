"""What is explained: one number per item, computed from the model's output."""

from .scores import ClassScore, ScoreKind, Target, TargetLike, check_labels, take
from .spatial import DetectionScore, SegmentationScore

__all__ = [
    "ClassScore",
    "DetectionScore",
    "ScoreKind",
    "SegmentationScore",
    "Target",
    "TargetLike",
    "check_labels",
    "take",
]
