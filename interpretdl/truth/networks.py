"""The small networks of the trained suites, and the weights they have learned."""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from paddle import nn

from ..lrp_model.vision_transformer import VisionTransformer
from ..preprocessing import Preprocessing
from ..probe import Probe
from .backgrounds import SIDE

__all__ = [
    "LAST",
    "PIXELS",
    "convolutional",
    "difference_of_logits",
    "inputs",
    "logits",
    "transformer",
    "weights",
    "with_weights",
]

PIXELS = Preprocessing(resize=None, crop=None, mean=(0.5,) * 3, std=(0.25,) * 3)
"""From pictures in [0, 1] to inputs: grey is 0."""

LAST = "12"
"""The layer of `convolutional` for class activation maps: its last ReLU, 16 × 16."""


def inputs(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pictures in [0, 1] as the networks take them, float32 of the same shape."""
    return (pictures - np.float32(0.5)) / np.float32(0.25)


def convolutional(classes: int) -> nn.Sequential:
    """Four convolutions with batch-norm and ReLU, the mean of 16 × 16 places, a dense layer."""
    layers: list[nn.Layer] = [
        nn.Conv2D(3, 16, 5, stride=2, padding=2, bias_attr=False), nn.BatchNorm2D(16), nn.ReLU(),
        nn.Conv2D(16, 24, 3, padding=1, bias_attr=False), nn.BatchNorm2D(24), nn.ReLU(),
        nn.MaxPool2D(2),
        nn.Conv2D(24, 32, 3, padding=1, bias_attr=False), nn.BatchNorm2D(32), nn.ReLU(),
        nn.Conv2D(32, 48, 3, padding=1, bias_attr=False), nn.BatchNorm2D(48), nn.ReLU(),
        nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(48, classes),
    ]  # fmt: skip
    return nn.Sequential(*layers)


def transformer(classes: int) -> VisionTransformer:
    """A vision transformer with patches of 8 × 8 pixels and three blocks of four heads."""
    return VisionTransformer(classes, size=SIDE, patch=8, width=48, depth=3, heads=4, mlp_ratio=2)


def difference_of_logits(model: nn.Sequential) -> nn.Sequential:
    """The network whose output a · K + b is the logit of class a less that of class b.

    It shares all layers but the last with `model`, whose K logits a dense layer gives.
    """
    *before, last = list(model.children())
    weight, bias = last.weight.numpy(), last.bias.numpy()
    classes = len(bias)
    pairs = nn.Linear(len(weight), classes**2)
    pairs.weight.set_value((weight[:, :, None] - weight[:, None]).reshape(-1, classes**2))
    pairs.bias.set_value((bias[:, None] - bias).ravel())
    differences = nn.Sequential(*before, pairs)
    differences.eval()
    differences.preprocessing = PIXELS
    return differences


def weights(model: nn.Layer) -> dict[str, NDArray[np.float16]]:
    """A network's parameters and statistics in half precision, by name."""
    return {name: value.numpy().astype(np.float16) for name, value in model.state_dict().items()}


def with_weights(model: Any, name: str) -> Any:
    """The network with the weights that this package has under a name, in eval mode.

    Raises:
        KeyError: the file has no such weight.
    """
    path = resources.files(__package__) / "weights" / f"{name}.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
        for key, value in model.state_dict().items():
            value.set_value(kept[key].astype(np.float32))
    model.eval()
    model.preprocessing = PIXELS
    return model


def logits(model: Any, pictures: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logits [..., K] of pictures in [0, 1], [..., 3, 64, 64]."""
    flat = pictures.reshape(-1, *pictures.shape[-3:])
    found = np.asarray(Probe(model, batch_size=64).logits(inputs(flat)), np.float64)
    return found.reshape(*pictures.shape[:-3], -1)
