"""What all processes of a run share: the model's weights and the inputs, in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import interpretdl as it

ASSETS = Path(__file__).parents[1] / "assets"
LAYERS = {"resnet50": "layer4", "vgg16": "features.29", "efficientnet_lite0": "relu1"}
LAYERS["deit_tiny_patch16_224"] = "blocks.11.norm1"
BATCH = 8
WINDOWS = {169: (32, 16), 49: (32, 32)}
"""For a number of windows their side and stride in pixels."""


def model_of(name: str, folder: Path) -> Any:
    """The zoo's model with the weights of this run."""
    model = it.lrp_model.models()[name]()
    model.set_state_dict(dict(np.load(folder / "weights.npz")))
    model.eval()
    return model


def write(name: str, folder: Path) -> str:
    """Write weights and inputs; say which weights they are.

    The default model's are trained where its package is installed, the others' are random: what
    is measured does not depend on them.
    """
    import paddle

    paddle.seed(0)
    builder = it.lrp_model.models()[name]
    try:
        model, weights = builder(pretrained=name == "efficientnet_lite0"), "trained"
    except it.WeightsError:
        model = builder()
    if name != "efficientnet_lite0":
        weights = "random"
    model.eval()
    np.savez(folder / "weights.npz", **{k: v.numpy() for k, v in model.state_dict().items()})
    prepare = model.preprocessing
    pictures = [_picture(ASSETS / f"{which}.png") for which in ("chelsea", "coffee")]
    pictures += [p[:, ::-1] for p in pictures]
    pictures += [p[::-1] for p in pictures]
    x = prepare.normalize(np.stack(pictures))
    low, high = prepare.bounds()
    labels = it.Probe(model).logits(x).argmax(axis=1)
    heat = np.random.default_rng(0).random((1, *x.shape[2:]))
    np.savez(folder / "inputs.npz", x=x, low=low, high=high, labels=labels, heat=heat)
    return weights


def _picture(path: Path) -> Any:
    from PIL import Image

    with Image.open(path) as image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.convert("RGB").crop((left, top, left + side, top + side))
        return np.asarray(square.resize((224, 224)))
