"""Models that read sequences, and models of video."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from paddle import nn

import interpretdl as it
from interpretdl import ClassScore, Probe
from interpretdl.registry import METHODS
from interpretdl.testing import differences, state_of
from tests.paddle_models import crnn
from tests.paddle_models.forms import pictures, video
from tests.slopes import check_slopes, x_of

Array = NDArray[Any]

# -- sequences -------------------------------------------------------------------------------------


def test_a_recogniser_is_explained_at_a_step_and_as_a_whole() -> None:
    model, x = crnn(dtype="float64"), x_of(2, 3, 32, 32, dtype=np.float64)
    probe = Probe(model)
    read = probe.logits(x).argmax(axis=2)
    for target in (
        it.SequenceScore(2, 3),
        it.SequenceScore([1, 4], [0, 7], "probability"),
        it.SequenceScore(read, np.ones(8, bool)),
        it.SequenceScore(read, read == read[:, :1], "loss"),
    ):
        before = state_of(model)
        found = it.GradientInterpreter(model, preprocessing=None).explain(x, label=target)
        assert differences(before, state_of(model)) == []
        inner = probe.gradients(x, target).input
        np.testing.assert_allclose(found.values, inner, rtol=1e-5, atol=1e-7)
        check_slopes(inner, lambda x, t=target: probe.scores(x, t), x)


@pytest.mark.parametrize("label", [None, 1])
def test_a_label_for_a_recogniser_names_the_targets(label: Any) -> None:
    says = r"\[\d, 8, 5\], not \[N, K\].*label=interpretdl.SequenceScore\(class, step\).*Detection"
    with pytest.raises(it.TargetError, match=says):
        it.GradientInterpreter(crnn()).explain(x_of(2, 3, 32, 32), label=label)


def test_a_recogniser_that_ends_in_a_softmax() -> None:
    """As PaddleOCR's do in eval mode."""
    model, x = crnn(), x_of(1, 3, 32, 32)

    def softmax(y: Any) -> Any:
        return nn.functional.softmax(y, axis=2)

    target = it.SequenceScore(2, 3, "contrast")
    with pytest.warns(it.InterpretWarning, match="softmax"):
        found = it.GradientInterpreter(model, output=softmax).explain(x, label=target)
    expected = it.GradientInterpreter(model).explain(x, label=target)
    size = abs(expected.values).max()
    np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=1e-4 * size)


# -- video -----------------------------------------------------------------------------------------

CLIP = x_of(2, 3, 4, 8, 8)


def test_video_gradients_are_finite_differences() -> None:
    model, x = video("float64"), CLIP.astype(np.float64)
    found = Probe(model).gradients(x, ClassScore(1)).input
    check_slopes(found, lambda x: Probe(model).scores(x, ClassScore(1)), x)


def test_video() -> None:
    model = video()
    before = state_of(model)

    def explain(method: str, **options: Any) -> it.Explanation:
        return METHODS.find(method).cls(model, preprocessing=None).explain(CLIP, label=1, **options)

    gradient = explain("gradient")
    np.testing.assert_allclose(
        gradient.values, Probe(model).gradients(CLIP, ClassScore(1)).input, rtol=1e-6
    )
    start = Probe(model).scores(0 * CLIP, ClassScore(1))
    for method, options in {
        "integrated_gradients": {"baselines": 0 * CLIP, "steps": 200, "gradient_of": "logit"},
        "deep_lift": {"baselines": 0 * CLIP},
    }.items():
        found = explain(method, **options)
        assert found.values.shape == CLIP.shape
        np.testing.assert_allclose(
            found.values.sum(axis=(1, 2, 3, 4)), found.scores - start, rtol=2e-2
        )
    # The whole of each frame is a window of its own; by hand.
    shape = (3, 1, 8, 8)
    found = explain(
        "occlusion", sliding_window_shapes=shape, strides=shape, baselines=0.0, gradient_of="logit"
    )
    for t in range(4):
        without = CLIP.copy()
        without[:, :, t] = 0
        drop = found.scores - Probe(model).scores(without, ClassScore(1))
        np.testing.assert_allclose(
            found.values[:, :, t], np.broadcast_to(drop[:, None, None, None], (2, 3, 8, 8)),
            atol=1e-5,
        )  # fmt: skip
    assert explain("lrp").values.shape == CLIP.shape
    assert differences(before, state_of(model)) == []


def test_lrp_of_a_video_conserves() -> None:
    model = video()
    for layer in model.sublayers():
        if isinstance(layer, nn.Conv3D | nn.Linear):
            layer.bias.set_value(np.zeros(layer.bias.shape, np.float32))
        if isinstance(layer, nn.BatchNorm3D):
            layer.bias.set_value(np.zeros(4, np.float32))
            layer._mean.set_value(np.zeros(4, np.float32))
    found = it.LRPInterpreter(model, preprocessing=None).explain(CLIP, label=1, composite="epsilon")
    np.testing.assert_allclose(found.values.sum(axis=(1, 2, 3, 4)), found.scores, rtol=1e-3)


@pytest.mark.parametrize("method", ["grad_cam", "hires_cam", "rise", "extremal_perturbation"])
def test_maps_of_pictures_refuse_a_video(method: str) -> None:
    with pytest.raises(it.InputError, match=rf"{method} explains pictures.*got \[2, 3, 4, 8, 8\]"):
        METHODS.find(method).cls(video(), preprocessing=None).explain(CLIP, label=1)


@pytest.mark.parametrize("method", ["feature_ablation", "lime", "kernel_shap", "hsic"])
@pytest.mark.parametrize("x", [CLIP, CLIP[:, :, 0]])
def test_fills_of_pictures_refuse_arrays(method: str, x: Array) -> None:
    model = video() if x.ndim == 5 else pictures()
    with pytest.raises(it.InputError, match=r"is for pictures.*give a number|too few for"):
        METHODS.find(method).cls(model, preprocessing=None).explain(x, label=1)
