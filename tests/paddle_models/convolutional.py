"""A ResNet, a CRNN, and a detector."""

from __future__ import annotations

from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from .filling import CLASSES


class ConvBNLayer(nn.Layer):
    def __init__(self, inside: int, outside: int, size: int = 3, stride: int = 1) -> None:
        super().__init__()
        padding = size // 2
        self.conv = nn.Conv2D(inside, outside, size, stride, padding, bias_attr=False)
        self.bn = nn.BatchNorm2D(outside)

    def forward(self, x: Any) -> Any:
        return self.bn(self.conv(x))


class BasicBlock(nn.Layer):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv0 = ConvBNLayer(inside, outside, 3, stride)
        self.conv1 = ConvBNLayer(outside, outside)
        self.short = ConvBNLayer(inside, outside, 1, stride)
        self.relu = nn.ReLU()

    def forward(self, x: Any) -> Any:
        return self.relu(self.conv1(self.relu(self.conv0(x))) + self.short(x))


class ResNet(nn.Layer):
    """With a dropout before the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.relu = ConvBNLayer(3, 6, 3, 2), nn.ReLU()
        self.max_pool = nn.MaxPool2D(3, 2, 1)
        self.blocks = nn.Sequential(BasicBlock(6, 6, 1), BasicBlock(6, 8, 2))
        self.avg_pool, self.flatten = nn.AdaptiveAvgPool2D(1), nn.Flatten()
        self.dropout, self.fc = nn.Dropout(0.5), nn.Linear(8, CLASSES)

    def forward(self, x: Any) -> Any:
        x = self.blocks(self.max_pool(self.relu(self.stem(x))))
        return self.fc(self.dropout(self.flatten(self.avg_pool(x))))


class CRNN(nn.Layer):
    """Columns of a picture read by an LSTM in both directions: [N, 8, classes]."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            ConvBNLayer(3, 6, 3, 2), nn.Hardswish(), nn.AvgPool2D(2), ConvBNLayer(6, 6),
            nn.Hardswish(), nn.AvgPool2D((8, 1)),
        )  # fmt: skip
        self.neck = nn.LSTM(6, 5, num_layers=2, direction="bidirect")
        self.head = nn.Linear(10, CLASSES)

    def forward(self, x: Any) -> Any:
        x = self.backbone(x).squeeze(2).transpose([0, 2, 1])
        return self.head(self.neck(x)[0])


class Detector(nn.Layer):
    """PP-YOLOE in small: keeps what it was given and found, and finds its boxes last.

    Gives [N, 16, 4 + classes]: boxes, and a score for each class.
    """

    reg_max = 4

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.LayerList(
            [ConvBNLayer(3, 6, 3, 2), ConvBNLayer(6, 8, 3, 2), ConvBNLayer(8, 8, 3, 2)]
        )
        self.stem_cls, self.stem_reg = ConvBNLayer(8, 8, 1), ConvBNLayer(8, 8, 1)
        self.pred_cls = nn.Conv2D(8, CLASSES, 3, padding=1)
        self.pred_reg = nn.Conv2D(8, 4 * (self.reg_max + 1), 3, padding=1)
        self.feats: list[Any] = []

    def forward(self, x: Any) -> Any:
        self.inputs = x
        self.feats.clear()
        for layer in self.backbone:
            x = F.silu(layer(x))
            self.feats.append(x)
        n = x.shape[0]
        mean = F.adaptive_avg_pool2d(x, 1)
        score = F.sigmoid(self.pred_cls(F.silu(self.stem_cls(x)) * mean + x))
        score = score.flatten(2).transpose([0, 2, 1])
        apart = self.pred_reg(F.silu(self.stem_reg(x)) * mean)
        apart = apart.reshape([n, 4, self.reg_max + 1, -1]).transpose([0, 3, 1, 2])
        steps = paddle.arange(self.reg_max + 1, dtype=x.dtype)
        apart = (F.softmax(apart, axis=-1) * steps).sum(-1)
        self.outputs = {"boxes": apart, "scores": score}
        return paddle.concat([self.centers(x) + apart, score], axis=-1)

    def centers(self, x: Any) -> Any:
        at = paddle.arange(x.shape[-1], dtype=x.dtype) + 0.5
        y, x = paddle.meshgrid(at, at)
        return paddle.stack([x, y, x, y], axis=-1).reshape([1, -1, 4])
