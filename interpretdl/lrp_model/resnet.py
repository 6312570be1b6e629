"""ResNet-18/34/50/101/152 (He et al. 2015, https://arxiv.org/abs/1512.03385), every step a layer.

State dicts are interchangeable with those of `paddle.vision.models`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import paddle
from paddle import nn

from .download import published
from .layers import Add, Pretrained, RelevanceModel
from .weights import finish

__all__ = ["ResNet", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2D:
    return nn.Conv2D(inputs, outputs, kernel, stride, padding=kernel // 2, bias_attr=False)


class BasicBlock(nn.Layer):
    """Two 3x3 convolutions and the shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, downsample: Any) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2D(width)
        self.relu1 = nn.ReLU()
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2D(width)
        self.downsample = downsample
        self.add = Add()
        self.relu2 = nn.ReLU()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, inputs, H, W] to [N, width, ceil(H / stride), ceil(W / stride)]."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu2(self.add(y, x if self.downsample is None else self.downsample(x)))


class BottleneckBlock(nn.Layer):
    """A 1x1, a 3x3 and a 1x1 convolution, and the shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, downsample: Any) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = _conv(inputs, width, 1)
        self.bn1 = nn.BatchNorm2D(width)
        self.relu1 = nn.ReLU()
        self.conv2 = _conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2D(width)
        self.relu2 = nn.ReLU()
        self.conv3 = _conv(width, outputs, 1)
        self.bn3 = nn.BatchNorm2D(outputs)
        self.downsample = downsample
        self.add = Add()
        self.relu3 = nn.ReLU()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, inputs, H, W] to [N, 4 width, ceil(H / stride), ceil(W / stride)]."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu3(self.add(y, x if self.downsample is None else self.downsample(x)))


_DEPTHS: dict[int, tuple[type[BasicBlock] | type[BottleneckBlock], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (BottleneckBlock, (3, 4, 6, 3)),
    101: (BottleneckBlock, (3, 4, 23, 3)),
    152: (BottleneckBlock, (3, 8, 36, 3)),
}


class ResNet(RelevanceModel):
    """A residual network of 18, 34, 50, 101 or 152 layers; see `resnet50`."""

    def __init__(self, depth: int, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__(num_classes, in_channels)
        block, repeats = _DEPTHS[depth]
        self.conv1 = _conv(in_channels, 64, 7, 2)
        self.bn1 = nn.BatchNorm2D(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2D(kernel_size=3, stride=2, padding=1)
        inputs = 64
        for i, count in enumerate(repeats):
            width, stride = 64 * 2**i, 1 if i == 0 else 2
            blocks = []
            for j in range(count):
                outputs, step = width * block.expansion, stride if j == 0 else 1
                downsample = None
                if step != 1 or inputs != outputs:
                    downsample = nn.Sequential(
                        _conv(inputs, outputs, 1, step), nn.BatchNorm2D(outputs)
                    )
                blocks.append(block(inputs, width, step, downsample))
                inputs = outputs
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2D((1, 1))
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(inputs, num_classes)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Input [N, in_channels, H, W] to logits [N, num_classes]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.flatten(self.avgpool(x)))


def _resnet(depth: int, pretrained: Pretrained, num_classes: int, in_channels: int) -> ResNet:
    model = ResNet(depth, num_classes, in_channels)
    return finish(model, pretrained, partial(published, f"resnet{depth}"))


def resnet18(
    pretrained: Pretrained = False, num_classes: int = 1000, in_channels: int = 3
) -> ResNet:
    """ResNet-18, 11.7 million parameters; arguments as in `resnet50`."""
    return _resnet(18, pretrained, num_classes, in_channels)


def resnet34(
    pretrained: Pretrained = False, num_classes: int = 1000, in_channels: int = 3
) -> ResNet:
    """ResNet-34, 21.8 million parameters; arguments as in `resnet50`."""
    return _resnet(34, pretrained, num_classes, in_channels)


def resnet50(
    pretrained: Pretrained = False, num_classes: int = 1000, in_channels: int = 3
) -> ResNet:
    """ResNet-50, 25.6 million parameters, input 224; its siblings take and return the same.

    Args:
        pretrained: True downloads Paddle's ImageNet weights into a cache (see
            `download.cache_directory`); a path takes a file, see `load_weights`; False leaves
            random weights.
        num_classes: number of logits.
        in_channels: number of input channels.

    Returns:
        The model, in training mode as Paddle makes it; float32 [N, C, H, W] in, H and W at least
        32, logits [N, num_classes] out. `.preprocessing` and `.class_names` say what it expects
        and answers.

    Raises:
        WeightsError: the weights cannot be obtained, are damaged, or do not fit.
    """
    return _resnet(50, pretrained, num_classes, in_channels)


def resnet101(
    pretrained: Pretrained = False, num_classes: int = 1000, in_channels: int = 3
) -> ResNet:
    """ResNet-101, 44.5 million parameters; arguments as in `resnet50`."""
    return _resnet(101, pretrained, num_classes, in_channels)


def resnet152(
    pretrained: Pretrained = False, num_classes: int = 1000, in_channels: int = 3
) -> ResNet:
    """ResNet-152, 60.2 million parameters; arguments as in `resnet50`."""
    return _resnet(152, pretrained, num_classes, in_channels)
