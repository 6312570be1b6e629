"""A network and pictures on which every method works in milliseconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

from ..preprocessing import Preprocessing

__all__ = ["pictures", "small_network"]


def small_network(classes: int = 5, channels: int = 3, seed: int = 0) -> Any:
    """A convolutional network in eval mode on which every method works, for small images.

    Convolution, batch-norm, ReLU, max-pooling, convolution, ReLU, average pooling, dense; with
    weights drawn from `seed`, class names, and a preprocessing that leaves the size of pictures.
    """
    nn = paddle.nn
    model = nn.Sequential(
        nn.Conv2D(channels, 4, 3, padding=1),
        nn.BatchNorm2D(4),
        nn.ReLU(),
        nn.MaxPool2D(2),
        nn.Conv2D(4, 6, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2D(1),
        nn.Flatten(),
        nn.Linear(6, classes),
    )
    rng = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        values = rng.normal(0, 0.5, parameter.shape).astype(np.float32)
        parameter.set_value(abs(values) + 0.5 if "_variance" in name else values)
    model.eval()  # returns nothing in Paddle 3.0
    mean, std = (0.5,) * channels, (0.25,) * channels
    model.preprocessing = Preprocessing(resize=None, crop=None, mean=mean, std=std)
    model.class_names = tuple(f"class-{chr(97 + i)}" for i in range(classes))
    return model


def pictures(preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Three different images of blobs, float32 [3, C, 16, 16]."""
    coarse = np.random.default_rng(7).integers(0, 256, (3, 4, 4, preprocessing.channels), np.uint8)
    fine = np.random.default_rng(8).integers(0, 64, (3, 16, 16, preprocessing.channels), np.uint8)
    return preprocessing.normalize(coarse.repeat(4, 1).repeat(4, 2) // 2 + fine)
