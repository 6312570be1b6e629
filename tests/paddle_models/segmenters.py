"""Networks that give a class for each pixel, in the form of PaddleSeg's: a list of logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle.nn.functional as F
from numpy.typing import NDArray
from paddle import nn

from .filling import made

CLASSES = 4
SIZE = 32


class ConvBNReLU(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2D(inputs, outputs, kernel, stride, kernel // 2, bias_attr=False),
            nn.BatchNorm2D(outputs),
            nn.ReLU(),
        )


class Head(nn.Layer):
    def __init__(self, inputs: int, between: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(inputs, between)
        self.conv_out = nn.Conv2D(between, CLASSES, 1)

    def forward(self, x: Any) -> Any:
        return self.conv_out(self.conv(x))


class LiteSeg(nn.Layer):
    """Two scales that are joined; auxiliary heads in training."""

    def __init__(self) -> None:
        super().__init__()
        self.early = ConvBNReLU(3, 8, stride=2)
        self.late = ConvBNReLU(8, 16, stride=2)
        self.context = ConvBNReLU(16, 8, 1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2D(1), nn.Conv2D(8, 8, 1), nn.Sigmoid())
        self.heads = nn.LayerList([Head(8, 8), Head(16, 8)])

    def forward(self, x: Any) -> list[Any]:
        size = x.shape[2:]
        early = self.early(x)
        late = self.late(early)
        up = F.interpolate(self.context(late), early.shape[2:], mode="bilinear")
        joined = early * self.gate(up) + up
        found = [self.heads[0](joined)]
        if self.training:
            found.append(self.heads[1](late))
        return [F.interpolate(y, size, mode="bilinear") for y in found]


class Former(nn.Layer):
    """Tokens of patches that attend to all, and a map that is a quarter of the picture's size."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2D(3, 16, 4, 4)
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48)
        self.proj = nn.Linear(16, 16)
        self.fuse = ConvBNReLU(16, 12, 1)
        self.dropout = nn.Dropout2D(0.1)
        self.linear_pred = nn.Conv2D(12, CLASSES, 1)

    def forward(self, x: Any) -> list[Any]:
        maps = self.patches(x)
        n, c, h, w = maps.shape
        tokens = maps.flatten(2).transpose([0, 2, 1])
        q, k, v = self.qkv(self.norm(tokens)).reshape([n, h * w, 3, c]).unbind(2)
        weights = F.softmax(q @ k.transpose([0, 2, 1]) / c**0.5, axis=-1)
        tokens = tokens + self.proj(weights @ v)
        maps = tokens.transpose([0, 2, 1]).reshape([n, c, h, w])
        return [self.linear_pred(self.dropout(self.fuse(maps)))]


def lite_seg(seed: int = 0, dtype: str = "float32") -> Any:
    """[[N, 4, 32, 32]]; in training a second one."""
    return made(LiteSeg, seed, dtype)


def former(seed: int = 0, dtype: str = "float32") -> Any:
    """[[N, 4, 8, 8]]."""
    return made(Former, seed, dtype)


SEGMENTERS = {"lite_seg": lite_seg, "former": former}


class Planted(nn.Layer):
    """A grey pixel is of the class of the colour `APART` pixels on its left, red or green.

    Anything else is ground. So what speaks for a grey square's class is the square, and the strip
    of colour on its left; other colours have no part in it.
    """

    APART = 8

    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.Conv2D(3, 3, 1)  # how grey, red and green a pixel is
        self.colours.weight.set_value(
            np.float32([[-1, -1, 3], [1, -1, -1], [-1, 1, -1]])[:, :, None, None]
        )
        self.colours.bias.set_value(np.zeros(3, np.float32))
        self.on = nn.ReLU()
        self.beside = nn.Conv2D(3, 2, (1, 2 * self.APART + 1), padding=(0, self.APART))
        weight = np.zeros((2, 3, 1, 2 * self.APART + 1), np.float32)
        weight[:, 0, 0, self.APART] = 1  # the pixel itself is grey
        weight[range(2), range(1, 3), 0, 0] = 1  # and the colour is on its left
        self.beside.weight.set_value(weight)
        self.beside.bias.set_value(np.full(2, -1, np.float32))
        self.both = nn.ReLU()
        self.classify = nn.Conv2D(2, 3, 1)
        self.classify.weight.set_value(np.float32([[0, 0], [1, 0], [0, 1]])[:, :, None, None])
        self.classify.bias.set_value(np.float32([0.5, 0, 0]))

    def forward(self, x: Any) -> list[Any]:
        return [self.classify(self.both(self.beside(self.on(self.colours(x)))))]


NAMES = ("ground", "near red", "near green")


def planted() -> Any:
    """The network, whose inputs are pixels in [0, 1]."""
    import interpretdl as it

    model = Planted()
    model.eval()
    model.preprocessing = it.Preprocessing(None, None, mean=(0.0,) * 3, std=(1.0,) * 3)
    model.class_names = NAMES
    return model


def street() -> tuple[NDArray[np.uint8], dict[str, NDArray[np.bool_]]]:
    """A picture [32, 32, 3] with two grey squares, each beside a colour, and red by itself.

    Returns:
        The picture, and the masks of "square", "strip" (on its left, red), "other" and "green" (the
        other square and its strip), and "alone".
    """
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    places = {
        "strip": (slice(4, 10), slice(4, 10), (255, 0, 0)),
        "square": (slice(4, 10), slice(12, 18), (255, 255, 255)),
        "green": (slice(20, 26), slice(4, 10), (0, 255, 0)),
        "other": (slice(20, 26), slice(12, 18), (255, 255, 255)),
        "alone": (slice(14, 18), slice(24, 28), (255, 0, 0)),
    }
    masks = {}
    for name, (rows, columns, colour) in places.items():
        picture[rows, columns] = colour
        masks[name] = np.zeros((SIZE, SIZE), bool)
        masks[name][rows, columns] = True
    return picture, masks
