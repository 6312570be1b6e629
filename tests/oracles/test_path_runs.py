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
from interpretdl.interpreter.integrated_gradients import quadrature, refined
from tests.probes import attributed

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
    model = toy().train()
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
