"""Networks of other forms than a picture's: several inputs, video, dictionaries, channels."""

from __future__ import annotations

from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from .filling import CLASSES, made


class TwoInputs(nn.Layer):
    """A picture and the columns of a table, whose product counts too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2D(3, 6, 3, 2)
        self.relu = nn.ReLU()
        self.table = nn.Linear(4, 6)
        self.last = nn.Linear(12, CLASSES)

    def forward(self, image: Any, table: Any) -> Any:
        seen = self.relu(self.conv(image)).mean([2, 3])
        known = F.gelu(self.table(table))
        return self.last(paddle.concat([seen * known, known], axis=1))


class Video(nn.Layer):
    """[N, 3, T, H, W]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3D(3, 4, 3, padding=1), nn.BatchNorm3D(4), nn.ReLU(), nn.MaxPool3D(2),
            nn.Conv3D(4, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3D(1),
        )  # fmt: skip
        self.last = nn.Linear(6, CLASSES)

    def forward(self, x: Any) -> Any:
        return self.last(self.body(x).flatten(1))


class Pictures(nn.Layer):
    """Of any number of channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2D(channels, 6, 3, 2),
            nn.BatchNorm2D(6),
            nn.ReLU(),
            nn.Conv2D(6, 6, 3),
            nn.ReLU(),
        )
        self.last = nn.Linear(6, CLASSES)

    def forward(self, x: Any) -> Any:
        return self.last(self.body(x).mean([2, 3]))


class Dictionary(nn.Layer):
    """As PaddleClas's recognition models: features and logits, and a teacher's."""

    def __init__(self) -> None:
        super().__init__()
        self.student, self.teacher = Pictures(3), Pictures(3)

    def forward(self, x: Any) -> Any:
        features = self.student.body(x).mean([2, 3])
        student = {"features": features, "logits": self.student.last(features)}
        return {**student, "Teacher": {"logits": self.teacher(x)}}


def two_inputs(dtype: str = "float32") -> Any:
    return made(TwoInputs, 0, dtype)


def video(dtype: str = "float32") -> Any:
    return made(Video, 0, dtype)


def pictures(channels: int = 3, dtype: str = "float32") -> Any:
    return made(lambda: Pictures(channels), 0, dtype)


def dictionary(dtype: str = "float32") -> Any:
    return made(Dictionary, 0, dtype)
