"""What works on PaddleClas's families, in small; a part of `docs/models.md`, which
`python tests/unit/test_model_families.py` makes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interpretdl import Preprocessing
from tests import paddle_models
from tests.families import Case, row, take_statistics
from tests.paddle_models.grids import LeViTAttention
from tests.paddle_models.transformers import HEADS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
NAMES = (
    *("vit", "deit", "swin", "cswin", "pvt_v2", "tnt", "levit", "mobilevit", "convnext"),
    *("mobilenet_v3", "ghostnet", "rexnet", "starnet"),
)


def build(family: str) -> Case:
    name = family.removeprefix("PaddleClas: ")
    make, _ = paddle_models.MODELS[name]
    low, high = Preprocessing().bounds()
    rng = np.random.default_rng(0)
    pixels = rng.random((2, 3, 32, 32), dtype=np.float32)
    # With seed 0, TNT's Grad-CAM++, which is cut at zero, has nothing above it.
    model, x = make(1 if name == "tnt" else 0), (low + (high - low) * pixels).astype(np.float32)
    for layer in model.sublayers():
        if isinstance(layer, LeViTAttention):  # what is near is attended to, as after training
            rows, columns = np.divmod(np.arange(layer.side**2), layer.side)
            biases = np.float32(-2 * (rows + columns))
            layer.attention_biases.set_value(np.stack([biases] * HEADS, axis=1))
    take_statistics(model, x, rng)
    model.eval()
    return Case(model, x)


FAMILIES = {f"PaddleClas: {name}": build for name in NAMES}


@pytest.mark.parametrize("family", FAMILIES)
def test_as_the_page_says(family: str) -> None:
    assert row(family, build(family)) in PAGE.read_text("utf-8").splitlines()
