"""Nodes and weights, and integrated gradients on whole networks: branches, Ctrl-C, photographs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

import interpretdl as it
from interpretdl.data_processor.readers import read_images
from interpretdl.interpreter.baselines import baselines_of
from interpretdl.interpreter.integrated_gradients import quadrature, refined
from tests.probes import attributed, in_train

RULES = ("midpoint", "gauss_legendre", "trapezoid", "left", "right")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 50, 301])
def test_weights_sum_to_one(rule: Any, steps: int) -> None:
    nodes, weights = quadrature(rule, steps)
    assert abs(weights.sum() - 1) < 1e-12
    assert nodes.min() >= 0
    assert nodes.max() <= 1
    assert len(nodes) == len(weights) == steps + (rule == "trapezoid")


def test_two_gauss_legendre_nodes() -> None:
    nodes, weights = quadrature("gauss_legendre", 2)
    np.testing.assert_allclose(nodes, [0.5 - 1 / math.sqrt(12), 0.5 + 1 / math.sqrt(12)], 1e-14)
    np.testing.assert_allclose(weights, [0.5, 0.5], 1e-14)


@pytest.mark.parametrize("rule", ["midpoint", "trapezoid", "left", "right"])
def test_refined_levels_are_the_rule_itself(rule: Any) -> None:
    nodes, weights, levels = refined(rule, 4, 100)
    assert levels == ([4, 12, 36] if rule == "midpoint" else [4, 8, 16, 32, 64])
    for steps in levels:
        count = steps + (rule == "trapezoid")
        order = np.argsort(nodes[:count])
        expected_nodes, expected_weights = quadrature(rule, steps)
        np.testing.assert_allclose(nodes[:count][order], expected_nodes, atol=1e-14)
        share = weights[:count][order] / weights[:count].sum()
        np.testing.assert_allclose(share, expected_weights, atol=1e-14)


@pytest.mark.parametrize("baselines", [1, 2])
@pytest.mark.parametrize("size", [None, 1, 4])
def test_the_coarse_error_is_that_of_a_third_of_the_steps(baselines: int, size: int | None) -> None:
    """Every third midpoint of 3 n is a midpoint of n."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 3))
    model.to(dtype="float64")
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.set_value(rng.normal(size=parameter.shape))
    x, starts = rng.normal(size=(2, 3, 2, 2)), rng.normal(size=(baselines, 2, 3, 2, 2))
    interpreter = it.IntegratedGradientsInterpreter(model, batch_size=size)
    fine, coarse = (
        attributed(interpreter, x, np.array([0, 2]), baselines=starts, steps=n).diagnostics
        for n in (12, 4)
    )
    if baselines == 1:
        np.testing.assert_allclose(fine["coarse_error"], coarse["completeness_error"], rtol=1e-9)
    assert (fine["completeness_error"] < coarse["completeness_error"]).all()
    alone = attributed(interpreter, x, np.array([0, 2]), baselines=starts[0], steps=1)
    assert np.isnan(alone.diagnostics["coarse_error"]).all()


@pytest.mark.parametrize("method", ["integrated_gradients", "smooth_grad"])
def test_an_error_of_nothing_meets_a_tolerance_of_nothing(method: str) -> None:
    """On a linear model no step and no sample is missing."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    weights = np.zeros((12, 3), np.float32)
    weights[[0, 5]] = [[1, 2, 4], [-2, 1, 0.5]]  # powers of two: no rounding
    model[1].weight.set_value(weights)
    x = np.ones((2, 3, 2, 2), np.float32)
    interpreter = it.registry.find(method).cls(model, preprocessing=None)
    options = {"baselines": 0 * x, "steps": 4} if method == "integrated_gradients" else {}
    found = attributed(interpreter, x, np.array([0, 2]), "logit", tolerance=0.0, **options)
    assert found.diagnostics["converged"].all()
    if options:
        assert found.diagnostics["steps"].tolist() == [5, 5]
        assert found.diagnostics["completeness_error"].tolist() == [0, 0]


def test_a_float_array_is_taken_as_it_is() -> None:
    """Also where its last axis is as long as a picture has channels."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 3, 3)).astype(np.float32)
    for given in (x[0] * 0.5, x[:1] * 0.5, x * 0.5, rng.normal(size=(4, 2, 3, 3, 3))):
        count, make = baselines_of(x, np.asarray(given, np.float32), it.IMAGENET)
        lines = np.asarray(given, np.float32)
        for i in range(2):
            if lines.ndim == 5:
                expected = lines[:, i]
            else:
                one = lines if lines.ndim == 3 else lines[i if len(lines) == 2 else 0]
                expected = one[None]
            assert count == len(expected)
            np.testing.assert_array_equal(make(i), expected)
    picture = rng.integers(0, 255, (3, 3, 3)).astype(np.uint8)
    _, make = baselines_of(x, picture, it.IMAGENET)
    mean, std = (np.reshape(v, (3, 1, 1)) for v in (it.IMAGENET.mean, it.IMAGENET.std))
    expected = (picture.transpose(2, 0, 1) / 255 - mean) / std
    np.testing.assert_allclose(make(1)[0], expected, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", ["white", "random", None])
def test_bounds_of_other_channels_are_refused(channels: int, name: Any) -> None:
    numbers = [0.5] * channels, [0.25] * channels
    other = it.Preprocessing(None, None, mean=numbers[0], std=numbers[1])
    with pytest.raises(it.InputError, match=f"the preprocessing has {channels} channels"):
        baselines_of(np.zeros((1, 3, 4, 5)), name, other)[1](0)


def test_inputs_that_are_no_pictures_start_from_zeros() -> None:
    x = np.random.default_rng(0).normal(size=(2, 7))
    assert baselines_of(x, None, None)[1](1).tolist() == [[0] * 7]
    np.testing.assert_allclose(baselines_of(x, "mean", None)[1](1), np.full((1, 7), x[1].mean()))


def test_a_layer_that_not_everything_passes_holds_the_rest() -> None:
    class Branches(nn.Layer):
        """f = (a x)·(b x): x has a way past the first branch."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4, bias_attr=False), nn.Linear(4, 4, bias_attr=False)
            self.flat = nn.Flatten()
            self.to(dtype="float64")

        def forward(self, x: Any) -> Any:
            return self.a(self.flat(x)) * self.b(self.flat(x))

    model, x = Branches(), np.random.default_rng(0).normal(size=(2, 1, 2, 2))
    base = np.ones((1, 2, 2))
    with pytest.warns(it.InterpretWarning, match="not everything passes through layer 'a'"):
        got = attributed(
            it.IntegratedGradientsInterpreter(model),
            x,
            np.array([2, 1]),
            baselines=base,
            layer="a",
            steps=1,
            gradient_of="logit",
        )
    a, b = (m.weight.numpy() for m in (model.a, model.b))
    for i, label in enumerate((2, 1)):
        rise = (x[i].ravel() - base.ravel()) @ a[:, label] * (x[i].ravel() @ b[:, label])
        np.testing.assert_allclose(got.values[i], rise * np.eye(4)[label], rtol=1e-9, atol=1e-12)


def next_draws() -> list[float]:
    # the old global generator is the one that must stay as it is
    return [float(np.random.random()), float(paddle.rand([1])[0])]  # noqa: NPY002


def seed_global() -> None:
    np.random.seed(5)  # noqa: NPY002  # likewise
    paddle.seed(5)


def test_ctrl_c_leaves_the_model_and_the_random_state_as_they_were(toy: Any) -> None:
    model = in_train(toy())
    hooks = [len(layer._forward_post_hooks) for layer in model.sublayers()]
    frozen = [p.stop_gradient for p in model.parameters()]
    seed_global()
    expected = next_draws()
    seed_global()
    runs = 0

    def target(output: Any) -> Any:
        nonlocal runs
        runs += 1
        if runs > 5:
            raise KeyboardInterrupt
        return output[:, 0]

    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    with pytest.raises(KeyboardInterrupt):
        it.IntegratedGradientsInterpreter(model, batch_size=3).explain(
            x, target, baselines="random", layer="4"
        )
    assert all(layer.training for layer in model.sublayers())
    assert [len(layer._forward_post_hooks) for layer in model.sublayers()] == hooks
    assert [p.stop_gradient for p in model.parameters()] == frozen
    assert all(p.grad is None for p in model.parameters())
    assert next_draws() == expected


@pytest.mark.filterwarnings("ignore:.*did not meet tolerance")
def test_real_photographs_meet_the_tolerance_or_are_flagged(root: Path) -> None:
    """From black nearly all of the score's rise lies on a few hundredths of the path, so a cat
    needs hundreds of steps; from its own darker self, a few."""
    model = it.lrp_model.efficientnet_lite0(pretrained=True)
    pictures = [root / "assets" / name for name in ("chelsea.png", "coffee.png")]
    method = it.IntegratedGradientsInterpreter(model)
    x = read_images(pictures, model.preprocessing).inputs
    base = np.stack([np.broadcast_to(model.preprocessing.bounds()[0][0], x[0].shape), 0.8 * x[1]])
    base = base.astype(np.float32)
    found = method.explain(
        x, baselines=base, steps=3, tolerance=0.01, max_steps=27, gradient_of="logit"
    )
    facts = found.diagnostics
    for i, label in enumerate(found.labels):
        f, f0 = method.probe.logits(np.stack([x[i], base[i]]))[:, label]
        error = abs(found.values[i].sum(dtype=np.float64) - (f - f0)) / abs(f - f0)
        assert facts["completeness_error"][i] == pytest.approx(error, abs=1e-3)
        assert facts["converged"][i] == (facts["completeness_error"][i] <= 0.01)
        assert facts["converged"][i] or facts["steps"][i] == 27
    assert facts["converged"][1]
