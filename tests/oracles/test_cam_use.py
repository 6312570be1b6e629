"""What class activation maps refuse, and what they see in a photograph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paddle import nn

import interpretdl as it
from tests.probes import attributed, in_eval

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
    model = in_eval(nn.Sequential(nn.Conv2D(3, 3, 3), nn.ReLU(), *last))
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


@pytest.mark.parametrize("method", METHODS)
def test_a_class_in_the_place_of_a_layer(method: str, toy: Any) -> None:
    model = toy()
    model.class_names = ("cat", "dog", "owl", "hen", "bat")
    for given in (3, np.int64(3), ["2", 3]):
        with pytest.raises(it.InputError, match=r"must be a layer's name.*label="):
            run(method, model, target_layer_name=given)
    for given in ("owl", ["2", "owl"]):
        with pytest.raises(it.LayerNotFoundError, match="'owl' is a class, not a layer"):
            run(method, model, target_layer_name=given)


# Score-CAM and Ablation-CAM take what a layer gives.
@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("ablation_cam", "score_cam")])
def test_what_goes_into_a_layer_is_what_came_before(method: str, toy: Any) -> None:
    last = "5" if method == "cam" else "2"
    following = str(int(last) + 1)
    plain = run(method, toy(), target_layer_name=last).values
    assert plain.any()
    found = run(method, toy(), target_layer_name=f"{following}:input").values
    np.testing.assert_allclose(found, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [2, 12])  # fewer positions than channels, and more
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_eigen_cam_grows_with_the_activation(size: int, factor: float) -> None:
    """Of c A the first component is c times A's, whatever its sign."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 3, size, size)).astype(np.float32)
    values = []
    for scale in (1.0, factor):
        model = nn.Sequential(nn.Conv2D(3, 9, 1), nn.AdaptiveAvgPool2D(1), nn.Flatten())
        weights = np.random.default_rng(1).normal(size=(9, 3, 1, 1)) * scale
        model[0].weight.set_value(weights.astype(np.float32))
        model[0].bias.set_value(np.zeros(9, np.float32))
        interpreter = it.EigenCAMInterpreter(in_eval(model))
        values.append(attributed(interpreter, x, np.zeros(4, int), target_layer_name="0").values)
    assert (values[0] > 0).any(axis=(1, 2)).all()
    np.testing.assert_allclose(values[1], factor * values[0], rtol=1e-4, atol=1e-5 * factor)


@pytest.mark.parametrize("shape", [(1, 4), (4, 1)])
def test_cam_takes_the_last_layer_with_a_height_and_a_width(shape: tuple[int, int]) -> None:
    """Rows, or columns, brought together first: the map is of the layer before."""
    pool = nn.AdaptiveAvgPool2D(list(shape))
    head = [pool, nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(6, 5)]
    model = in_eval(nn.Sequential(nn.Conv2D(3, 6, 3, padding=1), nn.ReLU(), *head))
    x = np.random.default_rng(1).normal(size=(2, 3, 12, 12)).astype(np.float32)
    found = attributed(it.CAMInterpreter(model), x, np.array([1, 4]))
    assert found.values.shape == (2, 12, 12)
    assert found.diagnostics["layers"] == ["1"]
    logits = it.Probe(model).logits(x)[[0, 1], [1, 4]] - model[5].bias.numpy()[[1, 4]]
    np.testing.assert_allclose(found.values.mean(axis=(1, 2)), logits, rtol=1e-3, atol=1e-5)


# Grad-CAM++ and Layer-CAM leave out what speaks against a class, of which the other side has much;
# Eigen-CAM does not know the class. Score-CAM takes 900 forward passes.
@pytest.mark.parametrize("method", ["cam", "grad_cam", "hires_cam", "xgrad_cam", "ablation_cam"])
def test_the_cat_and_the_cup_in_the_collage(method: str, root: Path) -> None:
    interpreter = it.registry.find(method).cls(it.lrp_model.efficientnet_lite0(pretrained=True))
    for label, half in (("tiger cat", slice(0, 112)), ("espresso", slice(112, 224))):
        found = interpreter.explain(root / "assets" / "collage.png", label=label)
        heat = np.maximum(found.heatmap(signed=True)[0], 0)
        assert heat[:, half].sum() > 0.7 * heat.sum()
