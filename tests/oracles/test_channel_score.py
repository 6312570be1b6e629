"""Channels and units of inner layers as targets, and attribution at a layer, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

import interpretdl as it
from interpretdl.evaluator import Deletion, Selectivity
from interpretdl.testing import pictures, small_network

CONVOLUTION, DENSE = "4", "8"


@pytest.fixture
def model() -> Any:
    return small_network()


@pytest.fixture
def x(model: Any) -> Any:
    return pictures(model.preprocessing)


def inside(model: Any, x: Any, layer: str = CONVOLUTION) -> Any:
    """Activation of a layer of the sequence, connected to the input."""
    for name, part in model.named_children():
        x = part(x)
        if name == layer:
            return x
    raise AssertionError(layer)


def by_hand(model: Any, x: Any, take: Any) -> Any:
    tensor = paddle.to_tensor(x, stop_gradient=False)
    return paddle.grad(take(inside(model, tensor)).sum(), tensor)[0].numpy()


@pytest.mark.parametrize(
    ("target", "take"),
    [
        (it.ChannelScore(CONVOLUTION, 2), lambda y: y[:, 2].mean(axis=[1, 2])),
        (it.ChannelScore(CONVOLUTION, 5, (3, 0)), lambda y: y[:, 5, 3, 0]),
        (
            it.ChannelScore(CONVOLUTION, 5, [(3, 0), (7, 7), (0, 2)]),
            lambda y: paddle.stack([y[0, 5, 3, 0], y[1, 5, 7, 7], y[2, 5, 0, 2]]),
        ),
        (
            it.ChannelScore(CONVOLUTION, [0, 3, 1]),
            lambda y: paddle.stack([y[i, c].mean() for i, c in enumerate((0, 3, 1))]),
        ),
    ],
)
def test_gradient_of_a_channel(model: Any, x: Any, target: Any, take: Any) -> None:
    found = it.GradientInterpreter(model).explain(x, label=target)
    np.testing.assert_allclose(found.values, by_hand(model, x, take), atol=1e-6)
    scores = take(inside(model, paddle.to_tensor(x))).numpy()
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5)
    assert found.target is target
    assert found.labels.tolist() == [-1] * 3
    assert found.probabilities is None
    assert found.titles[0].startswith("4 channel ")


def test_an_image_alone_gives_the_same(model: Any, x: Any) -> None:
    target = it.ChannelScore(CONVOLUTION, [0, 3, 1])
    found = it.GradientInterpreter(model).explain(x, label=target)
    alone = it.GradientInterpreter(model).explain(x[1:2], label=it.ChannelScore(CONVOLUTION, 3))
    np.testing.assert_allclose(found.values[1:2], alone.values, atol=1e-6)
    assert found[1].titles == alone.titles


def test_integrated_gradients_share_out_the_rise_of_a_channel(model: Any, x: Any) -> None:
    target = it.ChannelScore(CONVOLUTION, 1)
    found = it.IntegratedGradientsInterpreter(model).explain(x, label=target, tolerance=0.01)
    black = np.broadcast_to(model.preprocessing.bounds()[0], x.shape).astype(np.float32)
    ends = [inside(model, paddle.to_tensor(e))[:, 1].mean(axis=[1, 2]).numpy() for e in (x, black)]
    rise = ends[0] - ends[1]
    np.testing.assert_allclose(found.values.sum(axis=(1, 2, 3)), rise, rtol=0.011)


def test_lrp_shares_out_a_channel(model: Any, x: Any) -> None:
    """Without biases the relevance at the pixels is the channel's score."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.set_value(paddle.zeros_like(parameter))
    for name in ("1._mean",):
        model[1]._mean.set_value(paddle.zeros_like(model[1]._mean))
        assert name
    found = it.LRPInterpreter(model).explain(
        x, label=it.ChannelScore(CONVOLUTION, 2), composite="epsilon"
    )
    np.testing.assert_allclose(found.values.sum(axis=(1, 2, 3)), found.scores, rtol=1e-3)


@pytest.mark.parametrize("name", ["grad_cam", "guided_bp", "smooth_grad", "score_cam", "deep_lift"])
def test_other_methods_take_it(model: Any, x: Any, name: str) -> None:
    options = {"target_layer_name": "0"} if name.endswith("cam") else {}
    interpreter = it.registry.find(name).cls(model)
    found = interpreter.explain(x, label=it.ChannelScore(CONVOLUTION, 2), **options)
    take = inside(model, paddle.to_tensor(x))[:, 2].mean(axis=[1, 2]).numpy()
    np.testing.assert_allclose(found.scores, take, rtol=1e-5)
    assert np.abs(found.values).max() > 0


def test_noise_around_it(model: Any, x: Any) -> None:
    target = it.ChannelScore(CONVOLUTION, 2)
    tunnel = it.NoiseTunnel(it.GradientInterpreter(model))
    found = tunnel.explain(x, label=target, noise_amount=0.0, n_samples=2)
    plain = it.GradientInterpreter(model).explain(x, label=target)
    np.testing.assert_allclose(found.values, plain.values, atol=1e-6)


def test_evaluators_watch_the_channel(model: Any, x: Any) -> None:
    target = it.ChannelScore(CONVOLUTION, 2)
    interpreter = it.SimpleTaylorInterpreter(model)
    found = interpreter.explain(x, label=target)
    deletion = Deletion(steps=4, gradient_of=None).measure(x, found, interpreter=interpreter)
    np.testing.assert_allclose(deletion.curves["deletion"][:, 0], found.scores, rtol=1e-5)
    anew = Selectivity(steps=2).measure(x, found, interpreter=interpreter)
    np.testing.assert_allclose(anew.curves["score"][:, 0], found.scores, rtol=1e-5)


def test_a_dense_layer_has_channels_but_no_positions(model: Any, x: Any) -> None:
    found = it.GradientInterpreter(model).explain(x, label=it.ChannelScore(DENSE, 1))
    as_class = it.GradientInterpreter(model).explain(x, label=1)
    np.testing.assert_allclose(found.values, as_class.values, atol=1e-6)
    assert found.probabilities is None
    with pytest.raises(it.TargetError, match="no positions"):
        it.GradientInterpreter(model).explain(x, label=it.ChannelScore(DENSE, 1, (0, 0)))


def test_what_is_refused(model: Any, x: Any) -> None:
    gradient = it.GradientInterpreter(model)
    with pytest.raises(it.LayerNotFoundError, match="conv9"):
        gradient.explain(x, label=it.ChannelScore("conv9", 0))
    with pytest.raises(it.TargetError, match="channels 0 to 5; got 6"):
        gradient.explain(x, label=it.ChannelScore(CONVOLUTION, 6))
    with pytest.raises(it.TargetError, match="is not in the 8 x 8"):
        gradient.explain(x, label=it.ChannelScore(CONVOLUTION, 0, (8, 0)))
    with pytest.raises(it.TargetError, match="2 channels were given for 3"):
        gradient.explain(x, label=it.ChannelScore(CONVOLUTION, [0, 1]))
    with pytest.raises(it.TargetError, match="2 positions were given for 3"):
        gradient.explain(x, label=it.ChannelScore(CONVOLUTION, 0, [(0, 0), (1, 1)]))
    with pytest.raises(it.InputError, match="whole number"):
        it.ChannelScore(CONVOLUTION, 1.5)  # type: ignore[arg-type]  # the mistake itself
    with pytest.raises(it.InputError, match="row, column"):
        it.ChannelScore(CONVOLUTION, 1, (1, 2, 3))  # type: ignore[arg-type]  # likewise
    with pytest.raises(it.TargetError, match="a layer inside"):
        gradient.probe.scores(x, it.ChannelScore(CONVOLUTION, 1))
    with pytest.raises(it.InputError, match="says itself"):
        gradient.explain(x, label=it.ChannelScore(CONVOLUTION, 1), gradient_of="probability")


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("gradient", lambda a, g: g),
        ("sensitivity", lambda a, g: g**2),
        ("simple_taylor", lambda a, g: a * g),
    ],
)
def test_at_a_layer(model: Any, x: Any, name: str, of: Any) -> None:
    activation = inside(model, paddle.to_tensor(x)).detach()
    activation.stop_gradient = False
    y = activation
    for part in list(model.children())[5:]:
        y = part(y)
    slope = paddle.grad(y[:, 2].sum(), activation)[0].numpy()
    interpreter = it.registry.find(name).cls(model)
    found = interpreter.explain(x, label=2, layer=CONVOLUTION)
    np.testing.assert_allclose(found.values, of(activation.numpy(), slope), atol=1e-6)
    assert found.heatmap().shape == (3, 16, 16)
    with pytest.raises(it.LayerNotFoundError):
        interpreter.explain(x, label=2, layer="nowhere")


def test_gradient_times_the_layers_output(model: Any, x: Any) -> None:
    found = it.GradientInterpreter(model).explain(x, layer=CONVOLUTION, times_input=True)
    taylor = it.SimpleTaylorInterpreter(model).explain(x, layer=CONVOLUTION)
    np.testing.assert_array_equal(found.values, taylor.values)
    assert found.signed
