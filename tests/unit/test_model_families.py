"""What works on Paddle's classifiers: class activation maps find a layer, LRP conserves, every
ReLU is met, DeepLIFT is complete; or the model is refused. `docs/models.md` says which; `python
tests/unit/test_model_families.py` makes it.

Weights are random, batch-norm's statistics those of a batch: every layer has something to say.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paddle.vision import models

import interpretdl as it
from interpretdl import Preprocessing
from tests.families import COLUMNS, Case, row, take_statistics
from tests.unit import test_transformer_families

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
ZOO = "\n## PaddleClas's model zoo\n"  # the section of `tests/suites/table.py`
BIG = ("alexnet", "googlenet", "wide_resnet50_2", "vgg16")  # one image will do
# Shuffled channels, gates, fused and functional ReLUs, branches: at the smallest size each takes.
FAMILIES: dict[str, tuple[Callable[..., Any], int]] = {
    **{
        name: (getattr(models, name), size)
        for name, size in {
            "LeNet": 28,
            "alexnet": 224,
            "densenet121": 64,
            "googlenet": 224,
            "inception_v3": 96,
            "mobilenet_v1": 64,
            "mobilenet_v2": 64,
            "mobilenet_v3_small": 64,
            "mobilenet_v3_large": 64,
            "resnet18": 64,
            "resnext50_32x4d": 32,
            "wide_resnet50_2": 32,
            "shufflenet_v2_x1_0": 64,
            "shufflenet_v2_swish": 64,
            "squeezenet1_1": 64,
            "vgg16": 32,
        }.items()
    },
    "lrp_model.resnet18": (it.lrp_model.resnet18, 64),
    "lrp_model.efficientnet_lite0": (it.lrp_model.efficientnet_lite0, 64),
}

# Without two that are large, and whose layers others have too.
SMALLER = [name for name in FAMILIES if name not in ("vgg16", "wide_resnet50_2")]


def build(name: str) -> Case:
    builder, size = FAMILIES[name]
    model = builder(num_classes=10)
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        shape = parameter.shape
        values = rng.standard_normal(shape, dtype=np.float32)
        if len(shape) > 1:
            fan = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]
            values *= np.float32(np.sqrt(2 / fan))
            parameter.set_value(values)
        else:  # a bias, or batch-norm's scale around 1
            parameter.set_value(parameter.numpy() + np.float32(0.1) * values)
    channels = 1 if name == "LeNet" else 3
    if channels == 1:
        model.preprocessing = Preprocessing(None, None, mean=(0.5,), std=(0.5,))
    low, high = getattr(model, "preprocessing", Preprocessing()).bounds()
    pixels = rng.random((2 - (name in BIG), channels, size, size), dtype=np.float32)
    x = (low + (high - low) * pixels).astype(np.float32)
    take_statistics(model, x, rng)
    model.eval()
    return Case(model, x, 0 if name == "googlenet" else None, large=True)


# -- the page -------------------------------------------------------------------------------------

HEADING = """# Which methods work on which models

Made by `python tests/unit/test_model_families.py`; the tests find the same on every run, with
random weights and images. The first rows are Paddle's networks and those of `lrp_model`; below,
*PaddleClas: …* are PaddleClas's families, with its operations in its order, and a few layers of few
channels; its own definitions are [further down](#paddleclass-model-zoo). *works* means:

- CAMs: without `target_layer_name` a layer is found, it has the picture's rows and columns or
  tokens that are brought to them, upright, and no map is zero everywhere. Of PaddleClas's families
  that is tried with `grad_cam`, `grad_cam_plus_plus`, `hires_cam`, `layer_cam`, `xgrad_cam`,
  `eigen_cam`, `score_cam` and `ablation_cam`, of the others with the first three.
- LRP (the next seven columns are composites): what is missing at the pixels is what biases,
  stabilizers and softmax absorbed, layer by layer. Under `z_plus_box`: the relevance of the pixels
  sums to the score within 1 %. Gates (squeeze and excitation) are constants. A product of two other
  activations needs `attn_lrp` or `cp_lrp`, which share it.
- guided backpropagation, deconvnet: every ReLU that ran, as a layer, as a function or fused into a
  batch-norm, was met.
- DeepLIFT: the contributions sum to the difference of the scores within 0.1 %, through gates,
  products, softmax and layer-norm, too.

*biases keep a part*: there are outputs that only a bias raises, where `z_plus_box` has no input to
give relevance to. A warning says how much of the score stays there, and `strict=True` refuses the
model. Whether there are such outputs depends on the weights and the image.

*refused* means an `UnsupportedModelError` that names the reason: better no map than a wrong one.
Everything that only needs gradients or scores works on all. Attention methods have [conditions of
their own](methods/families/attention.md#which-models).

"""


def heading() -> str:
    names = "| model | " + " | ".join(COLUMNS) + " |"
    return HEADING + names + "\n" + "|---" * (len(COLUMNS) + 1) + "|\n"


@pytest.mark.parametrize("name", FAMILIES)
def test_as_the_page_says(name: str) -> None:
    rows = PAGE.read_text("utf-8").splitlines()
    assert row(name, build(name)) in rows


def test_the_page_has_every_family() -> None:
    page, _, _ = PAGE.read_text("utf-8").partition(ZOO)
    assert page.startswith(heading())
    names = [line.split("`")[1] for line in page[len(heading()) :].splitlines()]
    assert names == [*FAMILIES, *test_transformer_families.FAMILIES]
    families = {re.split(r"[\d_]", name.lower())[0] for name in FAMILIES}
    for name in models.__all__:
        assert any(name.lower().startswith(family) for family in families), name


if __name__ == "__main__":
    import time

    text = heading()
    cases = {**dict.fromkeys(FAMILIES, build), **test_transformer_families.FAMILIES}
    for family, make in cases.items():
        start = time.perf_counter()
        text += row(family, make(family)) + "\n"
        print(text.splitlines()[-1], f"{time.perf_counter() - start:.1f} s", file=sys.stderr)
    _, title, zoo = PAGE.read_text("utf-8").partition(ZOO)
    PAGE.write_text(text + title + zoo, "utf-8")
