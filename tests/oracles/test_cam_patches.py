"""Patches that are cut by an unfolding, and what is not the picture's grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle.nn.functional as F
import pytest
from paddle import nn

import interpretdl as it
from tests.oracles.test_cam_grids import (
    Patches,
    by_hooks,
    close,
    expected_map,
    images,
    on_grid,
    run,
)
from tests.paddle_models.transformers import DIM


@pytest.mark.parametrize(
    ("options", "features", "rows", "columns"),
    [
        ({"kernel_sizes": 8, "strides": 8}, 192, 4, 6),
        ({"kernel_sizes": 7, "strides": 4, "paddings": 3}, 147, 8, 12),
        ({"kernel_sizes": [8, 4], "strides": [8, 6], "paddings": [0, 1, 0, 2]}, 96, 4, 8),
        ({"kernel_sizes": 3, "strides": 5, "dilations": [2, 3]}, 27, 6, 9),
    ],
)
def test_patches_of_an_unfolding(
    options: dict[str, Any], features: int, rows: int, columns: int
) -> None:
    """As many rows and columns as Paddle has, in their order."""
    x = np.random.default_rng(2).normal(size=(2, 3, 32, 48)).astype(np.float32)

    def cut(self: Any, x: Any) -> Any:
        return self.embed(F.unfold(x, **options).transpose([0, 2, 1]))

    model = Patches(cut, embed=nn.Linear(features, DIM))
    found = it.HiResCAMInterpreter(model, preprocessing=None).explain(x, label=1)
    tokens = it.Probe(model).gradients(x, it.ClassScore(1), at="blocks")
    expected = (tokens.activations["blocks"] * tokens.gradients["blocks"]).sum(-1)
    close(found.values, expected.reshape(2, rows, columns))


@pytest.mark.parametrize(
    ("name", "layer", "side", "prefix"),
    [
        ("cswin", "stages.0.0", 8, 0),  # not 16 tokens of a stripe of 8 x 2
        ("pvt_v2", "block1.0.norm2", 8, 0),
        ("tnt", "blocks.0.norm_out", 4, 1),
    ],
)
def test_tokens_of_a_layer_that_is_named(name: str, layer: str, side: int, prefix: int) -> None:
    x, labels = images(), [1, 4, 0]
    found = run("hires_cam", name, x, target_layer_name=layer)
    a, g = (on_grid(values, side, prefix) for values in by_hooks(name, layer, x, labels))
    close(found.values, expected_map("hires_cam", a, g))


@pytest.mark.parametrize("layer", ["stages.0.0.attns.0.get_v", "stages.0.0.attns.1.get_v"])
def test_stripes_are_not_the_picture(layer: str) -> None:
    with pytest.raises(it.InterpretError, match=r"gives \[12, 4, [28], [28]\]"):
        run("grad_cam", "cswin", images(), target_layer_name=layer)
