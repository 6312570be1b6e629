"""VGG-16 (Simonyan & Zisserman 2014, https://arxiv.org/abs/1409.1556), every step a layer.

Its state dict is interchangeable with that of `paddle.vision.models.vgg16`.
"""

from __future__ import annotations

from functools import partial

import paddle
from paddle import nn

from .download import published
from .layers import Pretrained, RelevanceModel
from .weights import finish

__all__ = ["VGG", "vgg16"]

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


class VGG(RelevanceModel):
    """VGG-16; see `vgg16`."""

    def __init__(self, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__(num_classes, in_channels)
        layers = []
        inputs = in_channels
        for width, count in _STAGES:
            for _ in range(count):
                layers += [nn.Conv2D(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
            layers.append(nn.MaxPool2D(kernel_size=2, stride=2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2D((7, 7))
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            *(nn.Linear(512 * 7 * 7, 4096), nn.ReLU(), nn.Dropout()),
            *(nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Input [N, in_channels, H, W] to logits [N, num_classes]."""
        return self.classifier(self.flatten(self.avgpool(self.features(x))))


def vgg16(pretrained: Pretrained = False, num_classes: int = 1000, in_channels: int = 3) -> VGG:
    """VGG-16, 138 million parameters, input 224; arguments, result and errors as in `resnet50`."""
    return finish(VGG(num_classes, in_channels), pretrained, partial(published, "vgg16"))
