"""What is explained: one number per item, computed from the model's output."""

from .channel import ChannelScore
from .labels import target_of
from .scores import (
    ClassScore,
    ScoreKind,
    Target,
    TargetLike,
    TopClass,
    as_target,
    check_labels,
    checked_score,
    scores_of,
    settled,
    take,
)
from .spatial import DetectionScore, SegmentationScore

__all__ = [
    "ChannelScore",
    "ClassScore",
    "DetectionScore",
    "ScoreKind",
    "SegmentationScore",
    "Target",
    "TargetLike",
    "TopClass",
    "as_target",
    "check_labels",
    "checked_score",
    "scores_of",
    "settled",
    "take",
    "target_of",
]
