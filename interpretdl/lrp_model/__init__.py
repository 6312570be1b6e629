"""The zoo: networks in which every operation is a layer that a rule can reach.

    model = efficientnet_lite0(pretrained=True)

Builders take (pretrained=False | True | path, num_classes=1000, in_channels=3); `models()` lists
them. Any other Paddle model can be explained as well; the zoo only leaves nothing out.
"""

from __future__ import annotations

from collections.abc import Callable

from .efficientnet_lite import efficientnet_lite0
from .layers import RelevanceModel, imagenet_class_names
from .resnet import resnet18, resnet34, resnet50, resnet101, resnet152
from .vgg import vgg16
from .vision_transformer import (
    deit_base_patch16_224,
    deit_small_patch16_224,
    deit_tiny_patch16_224,
    vit_base_patch16_224,
    vit_small_patch16_224,
)
from .weights import load_state, load_weights

__all__ = [
    "RelevanceModel",
    "deit_base_patch16_224",
    "deit_small_patch16_224",
    "deit_tiny_patch16_224",
    "efficientnet_lite0",
    "imagenet_class_names",
    "load_state",
    "load_weights",
    "models",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "vgg16",
    "vit_base_patch16_224",
    "vit_small_patch16_224",
]


def models() -> dict[str, Callable[..., RelevanceModel]]:
    """The zoo's builders by name; each takes (pretrained, num_classes, in_channels)."""
    builders: tuple[Callable[..., RelevanceModel], ...] = (
        *(efficientnet_lite0, resnet18, resnet34, resnet50, resnet101, resnet152, vgg16),
        *(vit_small_patch16_224, vit_base_patch16_224),
        *(deit_tiny_patch16_224, deit_small_patch16_224, deit_base_patch16_224),
    )
    return {builder.__name__: builder for builder in builders}
