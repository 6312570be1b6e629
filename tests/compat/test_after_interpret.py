"""What `interpret` leaves behind: attributes on the interpreter, and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn
from PIL import Image

import interpretdl as it
from tests.by_paddle import gradient_of, softmax

X = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)


@pytest.mark.parametrize(
    "cls", [it.SmoothGradInterpreter, it.GradCAMInterpreter, it.LRPInterpreter]
)
def test_what_interpret_leaves_on_the_interpreter(cls: Any, toy: Any) -> None:
    model = toy()
    method = cls(model, "cpu")
    assert method.device == "cpu"
    for name in ("labels", "predicted_label", "predicted_proba", "predict_fn"):
        assert getattr(method, name) is None
    method.explain(X)
    assert method.labels is None  # an Explanation has it
    odds = softmax(model, X)
    top = odds.argmax(axis=1)
    for label, expected in ((None, top), ([3, 1], [3, 1]), (2, [2, 2])):
        method.interpret(X, label=label, visual=False)
        assert method.labels.tolist() == list(expected)
        assert method.predicted_label.tolist() == top.tolist()
        np.testing.assert_allclose(method.predicted_proba, odds, rtol=1e-4, atol=1e-6)
    gradient, labels, found = method.predict_fn(X, [[3], [1]])
    assert labels.tolist() == [3, 1]
    np.testing.assert_allclose(found, odds, rtol=1e-4, atol=1e-6)
    expected = gradient_of(model, X, [3, 1], cls.gradient_of)
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-6)
    assert method.predict_fn(X)[1].tolist() == top.tolist()


def test_the_score_of_predict_fn_is_the_one_that_was_explained(toy: Any) -> None:
    model = toy()
    method = it.GradientInterpreter(model)
    for kind in ("probability", "loss", "logit"):
        method.interpret(X, 1, visual=False, gradient_of=kind)
        expected = gradient_of(model, X, [1, 1], kind)
        np.testing.assert_allclose(method.predict_fn(X, 1)[0], expected, rtol=1e-3, atol=1e-6)


def test_targets_without_classes_leave_what_there_is() -> None:
    model = nn.Sequential(nn.Conv2D(3, 4, 3, padding=1))
    method = it.GradientInterpreter(model)
    method.interpret(X, label=lambda out: out[:, 1].sum([1, 2]), visual=False)
    assert method.labels is not None
    assert method.labels.tolist() == [-1, -1]
    assert method.predicted_label is None
    assert method.predicted_proba is None


@pytest.mark.parametrize("label", [[[2]], np.array([[2]]), paddle.to_tensor([[2]]), [2], 2])
def test_labels_of_one_column(label: Any, toy: Any) -> None:
    found = it.GradientInterpreter(toy()).explain(X[:1], label=label)
    assert found.labels.tolist() == [2]


@pytest.mark.parametrize("style", ["overlay", "heatmap", "signed", "masked", "side_by_side"])
def test_bare_pictures_and_figures(style: str, toy: Any, tmp_path: Path) -> None:
    method = it.GradCAMInterpreter(toy())
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 32, 3), dtype=np.uint8)
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    method.interpret(pixels, "5", visual=False, save_path=paths, style=style, bare=True)
    width = 64 if style == "side_by_side" else 32
    for path, one in zip(paths, pixels, strict=True):
        with Image.open(path) as drawn:
            assert drawn.size == (width, 40)
            if style == "side_by_side":
                np.testing.assert_array_equal(np.asarray(drawn)[:, :32], one)
    method.interpret(pixels[:1], "5", visual=False, save_path=paths[0], style=style)
    with Image.open(paths[0]) as figure:
        assert figure.size[0] > 300


def test_a_bare_overlay_is_half_picture_half_map(toy: Any, tmp_path: Path) -> None:
    """Where the map is 0 and where it is largest: jet's ends, mixed with the picture."""
    method = it.GradCAMInterpreter(toy())
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 3), dtype=np.uint8)
    path = tmp_path / "map.png"
    method.interpret(pixels, "5", 1, visual=False, save_path=path, bare=True)
    heat = method.explain(pixels, "5", 1).heatmap()[0]
    with Image.open(path) as drawn:
        found = np.asarray(drawn).astype(float)
    for place, colour in ((heat.argmin(), (0, 0, 127.5)), (heat.argmax(), (127.5, 0, 0))):
        if heat.flat[place] in (0, heat.max()):
            expected = (pixels.reshape(-1, 3)[place] + np.array(colour)) / 2
            np.testing.assert_allclose(found.reshape(-1, 3)[place], expected, atol=1)


def test_bare_needs_pixels(toy: Any, tmp_path: Path) -> None:
    method = it.GradCAMInterpreter(toy())
    for name in ("map.pdf", "map.svg"):
        with pytest.raises(it.ResourceError, match=r"ending must be one of .*\.png"):
            method.interpret(X[:1], "5", visual=False, save_path=tmp_path / name, bare=True)
    archive = tmp_path / "map.npz"
    values = method.interpret(X[:1], "5", visual=False, save_path=archive, bare=True)
    np.testing.assert_array_equal(it.Explanation.load(archive).values, values)
