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
from .sequences import SequenceScore
from .spatial import DetectionScore, DetectionSimilarity, SegmentationScore

__all__ = [
    "ChannelScore",
    "ClassScore",
    "DetectionScore",
    "DetectionSimilarity",
    "ScoreKind",
    "SegmentationScore",
    "SequenceScore",
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
