"""Networks and pictures on which every method works in milliseconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

from ..preprocessing import Preprocessing

__all__ = ["pictures", "small_network", "small_transformer"]


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
    return _filled(model, classes, channels, seed)


def pictures(preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Three different images of blobs, float32 [3, C, 16, 16]."""
    coarse = np.random.default_rng(7).integers(0, 256, (3, 4, 4, preprocessing.channels), np.uint8)
    fine = np.random.default_rng(8).integers(0, 64, (3, 16, 16, preprocessing.channels), np.uint8)
    return preprocessing.normalize(coarse.repeat(4, 1).repeat(4, 2) // 2 + fine)


def small_transformer(classes: int = 5, channels: int = 3, seed: int = 0, width: int = 8) -> Any:
    """A vision transformer in eval mode, for images of 16 × 16 pixels.

    4 × 4 patches and a class token, two layers of attention with two heads, tokens of `width`
    numbers; weights drawn from `seed`, class names, and a preprocessing that leaves the size of
    pictures.
    """
    nn = paddle.nn

    class Attention(nn.Layer):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x: Any) -> Any:
            n, tokens, _ = x.shape
            q, k, v = self.qkv(x).reshape([n, tokens, 3, 2, width // 2]).transpose([2, 0, 3, 1, 4])
            mixed = paddle.nn.functional.softmax(q @ k.transpose([0, 1, 3, 2]), axis=-1) @ v
            return self.proj(mixed.transpose([0, 2, 1, 3]).reshape([n, tokens, width]))

    class Block(nn.Layer):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.attn = nn.LayerNorm(width), Attention()
            self.norm2 = nn.LayerNorm(width)
            self.mlp = nn.Sequential(
                nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
            )

        def forward(self, x: Any) -> Any:
            x = x + self.attn(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class Transformer(nn.Layer):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.patch_embed = nn.Conv2D(channels, width, 4, 4)
            self.cls_token = self.create_parameter([1, 1, width])
            self.pos_embed = self.create_parameter([1, 17, width])
            self.blocks = nn.LayerList([Block() for _ in range(2)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

        def forward(self, x: Any) -> Any:
            x = self.patch_embed(x).flatten(2).transpose([0, 2, 1])
            first = self.cls_token.expand([x.shape[0], 1, width])
            x = paddle.concat([first, x], axis=1) + self.pos_embed
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x)[:, 0])

    return _filled(Transformer(), classes, channels, seed)


def _filled(model: Any, classes: int, channels: int, seed: int) -> Any:
    """The model with weights from `seed`, class names and a preprocessing."""
    rng = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        values = rng.normal(0, 0.5, parameter.shape).astype(np.float32)
        parameter.set_value(abs(values) + 0.5 if "_variance" in name else values)
    model.eval()  # returns nothing in Paddle 3.0
    mean, std = (0.5,) * channels, (0.25,) * channels
    model.preprocessing = Preprocessing(resize=None, crop=None, mean=mean, std=std)
    model.class_names = tuple(f"class-{chr(97 + i)}" for i in range(classes))
    return model
