"""What class activation maps refuse, and what they see in a photograph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paddle import nn

import interpretdl as it
from tests.probes import attributed

METHODS = [
    *("ablation_cam", "cam", "eigen_cam", "grad_cam", "grad_cam_plus_plus"),
    *("hires_cam", "layer_cam", "score_cam", "xgrad_cam"),
]
LABELS = np.array([1, 4, 0])


def run(method: str, model: Any, **options: Any) -> Any:
    x = np.random.default_rng(1).normal(size=(3, 3, 12, 12)).astype(np.float32)
    return attributed(it.registry.find(method).cls(model), x, LABELS, **options)


@pytest.mark.parametrize(
    ("last", "why"),
    [
        ([nn.AdaptiveMaxPool2D(1), nn.Flatten(), nn.Linear(3, 5)], "is not fed the mean"),
        ([nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5)],
         "is not fed the mean"),
        ([nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(3, 5), nn.Sigmoid()], "changes the"),
        ([nn.AdaptiveAvgPool2D(1), nn.Conv2D(3, 5, 1), nn.Flatten()], "no dense layer"),
    ],
)  # fmt: skip
def test_cam_says_why_not(last: list[Any], why: str) -> None:
    model = nn.Sequential(nn.Conv2D(3, 3, 3), nn.ReLU(), *last).eval()
    with pytest.raises(it.UnsupportedModelError, match=why):
        run("cam", model)


@pytest.mark.parametrize("method", METHODS)
def test_wrong_layers(method: str, toy: Any) -> None:
    with pytest.raises(it.InputError, match="empty list"):
        run(method, toy(), target_layer_name=[])
    with pytest.raises(it.LayerNotFoundError, match="no layer 'layer5'"):
        run(method, toy(), target_layer_name="layer5")
    with pytest.raises(it.UnsupportedModelError, match=r"gives \[3, 6\]"):
        run(method, toy(), target_layer_name="7")


# Grad-CAM++ and Layer-CAM leave out what speaks against a class, of which the other side has much;
# Eigen-CAM does not know the class. Score-CAM takes 900 forward passes.
@pytest.mark.parametrize("method", ["cam", "grad_cam", "hires_cam", "xgrad_cam", "ablation_cam"])
def test_the_cat_and_the_cup_in_the_collage(method: str, root: Path) -> None:
    interpreter = it.registry.find(method).cls(it.lrp_model.efficientnet_lite0(pretrained=True))
    for label, half in (("tiger cat", slice(0, 112)), ("espresso", slice(112, 224))):
        found = interpreter.explain(root / "assets" / "collage.png", label=label)
        heat = np.maximum(found.heatmap(signed=True)[0], 0)
        assert heat[:, half].sum() > 0.7 * heat.sum()
