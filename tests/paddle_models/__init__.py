"""Small networks, written as PaddleClas, PaddleOCR and PaddleDetection write theirs.

Each is in eval mode, takes pictures [N, 3, 32, 32] and has 5 classes; its parameters come from a
NumPy generator. `dtype="float64"` makes it for float64 (`model.to` fails on a new LSTM).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .convolutional import CRNN, Detector, ResNet
from .filling import made
from .grids import TNT, ConvNeXt, LeViT
from .transformers import DistilledVisionTransformer, SwinTransformer, VisionTransformer


def vit(seed: int = 0, dtype: str = "float32") -> Any:
    """A class token, 4 x 4 patches."""
    return made(VisionTransformer, seed, dtype)


def deit(seed: int = 0, dtype: str = "float32") -> Any:
    """Two tokens, 4 x 4 patches."""
    return made(DistilledVisionTransformer, seed, dtype)


def swin(seed: int = 0, dtype: str = "float32") -> Any:
    """8 x 8 patches, merged to 4 x 4; no other tokens."""
    return made(SwinTransformer, seed, dtype)


def levit(seed: int = 0, dtype: str = "float32") -> Any:
    """7 x 7 tokens, then 4 x 4, then 2 x 2."""
    return made(LeViT, seed, dtype)


def tnt(seed: int = 0, dtype: str = "float32") -> Any:
    """A class token, 4 x 4 patches, each with 4 pixel tokens."""
    return made(TNT, seed, dtype)


def convnext(seed: int = 0, dtype: str = "float32") -> Any:
    """8 x 8, then 4 x 4."""
    return made(ConvNeXt, seed, dtype)


def resnet(seed: int = 0, dtype: str = "float32") -> Any:
    """8 x 8, then 4 x 4; batch-norms, and a dropout before the last layer."""
    return made(ResNet, seed, dtype)


def crnn(seed: int = 0, dtype: str = "float32") -> Any:
    """Gives [N, 8, classes]: a reading for each column."""
    return made(CRNN, seed, dtype)


def detector(seed: int = 0, dtype: str = "float32") -> Any:
    """Gives [N, 16, 4 + classes]: boxes and scores at 4 x 4 places."""
    return made(Detector, seed, dtype)


MODELS: dict[str, tuple[Callable[..., Any], Any]] = {
    "vit": (vit, None),
    "deit": (deit, None),
    "swin": (swin, None),
    "levit": (levit, None),
    "tnt": (tnt, None),
    "convnext": (convnext, None),
    "resnet": (resnet, None),
    "crnn": (crnn, lambda y: y.mean(axis=1)),
    "detector": (detector, lambda y: y[:, :, 4:].sum(axis=1)),
}
"""name -> the function that makes it, and what `output=` makes class scores of what it gives."""
