"""The adaptive rule of integrated gradients, against halving by hand and against many steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

import interpretdl as it
from interpretdl.interpreter.adaptive_path import adaptive
from tests.probes import attributed

SHAPE = (3, 4, 5)


def slow_adaptive(
    f: Callable[[float], float],
    gradient: Callable[[float], Any],
    way: Any,
    tolerance: float,
    first: int,
    most: int,
) -> tuple[Any, int]:
    """One line; all nodes are asked for again, and intervals are halved one after the other."""
    nodes = [i / first for i in range(first + 1)]
    while True:
        missing = {}
        for a, b in itertools.pairwise(nodes):
            slopes = gradient(a) @ way, gradient(b) @ way
            missing[a, b] = f(b) - f(a) - (b - a) * sum(slopes) / 2
        room = most - len(nodes)
        if abs(sum(missing.values())) <= tolerance * abs(f(1) - f(0)) or room <= 0:
            break
        worst = sorted(missing, key=lambda ab: -abs(missing[ab]))[: min(4, room)]
        worst = [ab for ab in worst if abs(missing[ab]) >= abs(missing[worst[0]]) / 10]
        nodes = sorted([*nodes, *(((a + b) / 2) for a, b in worst)])
    total = 0 * way
    for a, b in itertools.pairwise(nodes):
        total = total + (b - a) * (gradient(a) + gradient(b)) / 2 * way
    return total, len(nodes)


class Step(nn.Layer):
    """Most of the score's rise is on a small part of the way from 0 to x."""

    def __init__(self, slope: float = 60.0) -> None:
        super().__init__()
        rng = np.random.default_rng(1)
        self.w, self.slope = rng.normal(size=(60, 4)) / 8, slope
        self.weight = self.create_parameter([60, 4], dtype="float64")
        self.weight.set_value(self.w)

    def forward(self, x: Any) -> Any:
        return paddle.tanh(self.slope * (x.flatten(1) @ self.weight - 0.3)) + x.flatten(1) @ (
            self.weight
        )

    def score(self, x: Any, label: int) -> float:
        z = x @ self.w[:, label]
        return float(np.tanh(self.slope * (z - 0.3)) + z)

    def slow_gradient(self, x: Any, label: int) -> Any:
        w = self.w[:, label]
        return (self.slope / np.cosh(self.slope * (x @ w - 0.3)) ** 2 + 1) * w


def images(n: int = 3) -> Any:
    return np.random.default_rng(3).normal(size=(n, *SHAPE))


def method(**options: Any) -> Any:
    model = Step()
    model.eval()
    return it.IntegratedGradientsInterpreter(model, preprocessing=None, **options)


@pytest.mark.parametrize("tolerance", [0.1, 0.01, 1e-4])
@pytest.mark.parametrize("first", [1, 4, 7])
def test_by_hand(tolerance: float, first: int) -> None:
    net, x, labels = Step(), images(), np.array([1, 0, 3])
    base = np.random.default_rng(4).normal(size=SHAPE)
    found = attributed(
        method(), x, labels, "logit", baselines=base, tolerance=tolerance, steps=first
    )
    for i, label in enumerate(labels):
        begin, way = base.ravel(), (x[i] - base).ravel()
        expected, steps = slow_adaptive(
            lambda t, b=begin, w=way, k=label: net.score(b + t * w, k),
            lambda t, b=begin, w=way, k=label: net.slow_gradient(b + t * w, k),
            way, tolerance, first, 300,
        )  # fmt: skip
        np.testing.assert_allclose(found.values[i].ravel(), expected, rtol=1e-7, atol=1e-12)
        assert found.diagnostics["steps"][i] == steps
        rise = net.score(x[i].ravel(), label) - net.score(begin, label)
        np.testing.assert_allclose(found.diagnostics["score_difference"][i], rise, rtol=1e-9)
        error = abs(expected.sum() - rise) / abs(rise)
        assert error <= tolerance
        assert found.diagnostics["completeness_error"][i] == pytest.approx(
            error, rel=1e-5, abs=1e-9
        )
    assert found.diagnostics["converged"].all()
    facts = found.diagnostics
    assert (facts["absolute_error"] >= facts["completeness_error"] * (1 - 1e-6)).all()


def test_it_is_the_integral_in_few_steps() -> None:
    """The map is that of ten thousand steps, and the midpoint rule needs far more for its sum."""
    x, labels = images(), np.array([1, 0, 3])
    exact = attributed(method(), x, labels, "logit", baselines=0 * x, steps=10000)
    found = attributed(method(), x, labels, "logit", baselines=0 * x, tolerance=0.001)
    plain = attributed(
        method(), x, labels, "logit", baselines=0 * x, tolerance=0.001, rule="midpoint", steps=5
    )
    for one, other in zip(found.values, exact.values, strict=True):
        assert np.linalg.norm(one - other) < 0.02 * np.linalg.norm(other)
    assert found.diagnostics["steps"].sum() < plain.diagnostics["steps"].sum() / 2


def test_several_baselines_are_several_lines() -> None:
    x, labels = images(2), np.array([1, 2])
    base = np.random.default_rng(5).normal(size=(3, 1, *SHAPE))
    options: dict[str, Any] = {"baselines": base, "gradient_of": "logit"}
    found = attributed(method(), x, labels, tolerance=0.001, **options)
    exact = attributed(method(), x, labels, steps=5000, **options)
    np.testing.assert_allclose(found.values.sum((1, 2, 3)), exact.values.sum((1, 2, 3)), rtol=2e-3)
    np.testing.assert_allclose(
        found.diagnostics["score_difference"], exact.diagnostics["score_difference"], rtol=1e-9
    )


def test_who_needs_more_is_flagged() -> None:
    with pytest.warns(it.InterpretWarning, match="2 of 2 images did not meet tolerance=1e-09"):
        found = attributed(
            method(), images(2), np.array([1, 0]), "logit", baselines=0 * images(2),
            tolerance=1e-9, max_steps=10,
        )  # fmt: skip
    assert not found.diagnostics["converged"].any()
    assert found.diagnostics["steps"].tolist() == [10, 10]


def test_the_same_whatever_the_batch() -> None:
    x, labels = images(), np.array([1, 0, 3])
    maps = [
        attributed(
            method(batch_size=size), x, labels, "logit", baselines=0 * x, tolerance=0.001
        ).values
        for size in (1, 2, 8, None)
    ]
    for other in maps[1:]:
        np.testing.assert_allclose(other, maps[0], rtol=1e-9, atol=1e-14)


def test_at_a_layer() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(60, 8), nn.Tanh(), nn.Linear(8, 4))
    x = images(2).astype(np.float32)
    interpreter = it.IntegratedGradientsInterpreter(net, preprocessing=None)
    options: dict[str, Any] = {"baselines": 0 * x, "layer": "1"}
    found = attributed(interpreter, x, np.array([1, 2]), "logit", tolerance=0.01, **options)
    exact = attributed(interpreter, x, np.array([1, 2]), "logit", steps=2000, **options)
    assert found.values.shape == (2, 8)
    assert found.diagnostics["converged"].all()
    assert np.linalg.norm(found.values - exact.values) < 0.05 * np.linalg.norm(exact.values)


def test_a_straight_line_needs_no_more_nodes() -> None:
    def ask(line: Any, time: Any) -> tuple[Any, Any]:
        return 3 * time, np.full((len(time), 2), 1.5)

    found = adaptive(ask, np.ones((1, 2)), 0.0, 2, 100)
    assert (found.steps, found.error, found.rise) == (3, 0.0, 3.0)
    assert found.values.tolist() == [1.5, 1.5]
    assert np.isnan(found.coarse)
