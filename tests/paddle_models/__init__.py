"""Small networks, written as PaddleClas, PaddleOCR and PaddleDetection write theirs.

Each is in eval mode, takes pictures [N, 3, 32, 32] and has 5 classes; its parameters come from a
NumPy generator. `dtype="float64"` makes it for float64 (`model.to` fails on a new LSTM).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .convolutional import CRNN, Detector, ResNet
from .filling import made
from .gates import GhostNet, MobileNetV3, ReXNetV1, StarNet
from .grids import TNT, ConvNeXt, LeViT
from .hybrids import CSwinTransformer, MobileViT, PyramidVisionTransformerV2
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


def pvt_v2(seed: int = 0, dtype: str = "float32") -> Any:
    """8 x 8 tokens, then 4 x 4; keys and values from fewer places."""
    return made(PyramidVisionTransformerV2, seed, dtype)


def mobilevit(seed: int = 0, dtype: str = "float32") -> Any:
    """8 x 8, then 4 x 4; pixels of patches are in the batch axis where they attend."""
    return made(MobileViT, seed, dtype)


def cswin(seed: int = 0, dtype: str = "float32") -> Any:
    """8 x 8 tokens in stripes, then 4 x 4."""
    return made(CSwinTransformer, seed, dtype)


def mobilenet_v3(seed: int = 0, dtype: str = "float32") -> Any:
    """8 x 8, then 4 x 4; gates of hard sigmoids."""
    return made(MobileNetV3, seed, dtype)


def ghostnet(seed: int = 0, dtype: str = "float32") -> Any:
    """16 x 16 to 4 x 4; gates that are cut to [0, 1], ReLUs within batch-norms."""
    return made(GhostNet, seed, dtype)


def rexnet(seed: int = 0, dtype: str = "float32") -> Any:
    """16 x 16 to 4 x 4; gates of sigmoids, and sums in place on some of the channels."""
    return made(ReXNetV1, seed, dtype)


def starnet(seed: int = 0, dtype: str = "float32") -> Any:
    """8 x 8, then 4 x 4; products of two activations."""
    return made(StarNet, seed, dtype)


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
    "pvt_v2": (pvt_v2, None),
    "mobilevit": (mobilevit, None),
    "cswin": (cswin, None),
    "mobilenet_v3": (mobilenet_v3, None),
    "ghostnet": (ghostnet, None),
    "rexnet": (rexnet, None),
    "starnet": (starnet, None),
    "resnet": (resnet, None),
    "crnn": (crnn, lambda y: y.mean(axis=1)),
    "detector": (detector, lambda y: y[:, :, 4:].sum(axis=1)),
}
"""name -> the function that makes it, and what `output=` makes class scores of what it gives."""
