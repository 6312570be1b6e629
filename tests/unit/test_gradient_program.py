"""Gradients by programs: those of the layers, on all families that have one, and left elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.nn import functional as F

import interpretdl as it
from interpretdl.probe import Probe, engine, gradient_program
from interpretdl.testing import differences, state_of
from tests.unit.test_model_families import SMALLER, build

Toy = Callable[..., Any]
X = np.random.default_rng(0).normal(size=(5, 3, 16, 16)).astype(np.float32)
pytestmark = pytest.mark.skipif(
    bool(gradient_program.no_gradient_program()), reason="needs a processor with AVX-512"
)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each program that is made."""
    entries: list[int] = []
    original = gradient_program.GradientProgram.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        entries.append(1)

    monkeypatch.setattr(gradient_program.GradientProgram, "__init__", init)
    return entries


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing pays from the first pass."""
    monkeypatch.setattr(engine, "_WORTH_GRADIENTS", 0)
    monkeypatch.setattr(engine, "_GRADIENTS", 0)


def distance(found: Any, expected: Any) -> float:
    """In the Euclidean norm, of the expected."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


class Convolutions(nn.Layer):
    """All that a convolution can be, and nothing that has a kink."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.before = nn.Conv2D(3, 8, 3, padding=1)
        self.conv = nn.Conv2D(8, 8, **options)
        self.norm = nn.BatchNorm2D(8)
        self.norm._mean.set_value(paddle.linspace(-1, 1, 8))
        self.norm._variance.set_value(paddle.linspace(0.5, 2, 8))
        self.norm.weight.set_value(paddle.linspace(-1, 2, 8))
        self.last = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        x = F.sigmoid(self.norm(self.conv(F.sigmoid(self.before(x)))))
        return self.last(x.mean(axis=[2, 3]))


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1},
        {"kernel_size": 1, "stride": 2},
        {"kernel_size": 3},
        {"kernel_size": 3, "padding": "SAME", "stride": 2},
        {"kernel_size": 5, "padding": [1, 2, 0, 2]},
        {"kernel_size": (1, 5), "padding": [0, 2], "stride": (2, 1)},
        {"kernel_size": 3, "padding": "VALID", "dilation": 2},
        {"kernel_size": 3, "padding": 2, "dilation": (1, 2), "stride": 3},
        {"kernel_size": 3, "padding": 1, "groups": 2},
        {"kernel_size": 3, "padding": 1, "groups": 8},
        {"kernel_size": 5, "padding": 2, "groups": 8, "stride": 2},
        {"kernel_size": 4, "stride": 4, "groups": 4},
        {"kernel_size": 2, "padding": 3},
    ],
    ids=str,
)
def test_every_convolution(options: dict[str, Any], always: None, made: list[int]) -> None:
    model = Convolutions(**options)
    model.eval()
    expected = Probe(model, engine="dygraph", batch_size=2).gradients(X, [0, 1, 2, 3, 0])
    probe = Probe(model, batch_size=2)
    found = probe.gradients(X, [0, 1, 2, 3, 0])
    assert (sum(made), probe.ran_by) == (1, "onednn") or options["kernel_size"] == 2
    assert distance(found.input, expected.input) < 1e-5
    np.testing.assert_allclose(found.scores, expected.scores, 1e-5, 1e-6)
    np.testing.assert_allclose(found.outputs, expected.outputs, 1e-5, 1e-6)


@pytest.mark.parametrize("name", SMALLER)
def test_every_family(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights amplify rounding, and put activations on the other side of kinks: what is
    exact is tested above.
    """
    case = build(name)
    model, x, given = case.model, case.x, case.options()
    x = np.concatenate([x, x[::-1], x * 0.5])
    before = state_of(model)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_WORTH_GRADIENTS", 0)
        patch.setattr(engine, "_GRADIENTS", 0)
        patch.setattr(engine, "_KINKS", 1e9)
        patch.setitem(engine._WITHIN, "onednn", 10)
        probe = Probe(model, **given)
        found = probe.gradients(x, 3)
    assert not differences(before, state_of(model))
    expected = Probe(model, engine="dygraph", **given).gradients(x, 3)
    assert probe.ran_by == "onednn"
    assert distance(found.outputs, expected.outputs) < 1e-2
    apart = [distance(*pair) for pair in zip(found.input, expected.input, strict=True)]
    assert np.median(apart) < 1e-2


class Between(nn.Layer):
    """An operation between two convolutions."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2D(3, 8, 3, padding=1), nn.Conv2D(8, 8, 3)
        self.last, self.function = nn.Linear(8, 4), function

    def forward(self, x: Any) -> Any:
        return self.last(self.second(self.function(self.first(x))).mean(axis=[2, 3]))


OPERATIONS: dict[str, Any] = {
    **{
        name: getattr(F, name)
        for name in ("relu", "relu6", "hardswish", "hardsigmoid", "sigmoid", "swish", "silu",
                     "gelu", "leaky_relu")
    },
    "tanh": paddle.tanh,
    "max": lambda x: F.max_pool2d(x, 3, 2, 1),
    "max without overlap": lambda x: F.max_pool2d(x, 2),
    "mean": lambda x: F.avg_pool2d(x, 3, 1, 1),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, 5),
    "gate": lambda x: x * F.sigmoid(F.adaptive_avg_pool2d(x, 1)),
    "times itself": lambda x: x * F.tanh(x),
    "shortcut": lambda x: x + F.sigmoid(x),
    "twice": lambda x: 2 * x - 0.5,
    "halves": lambda x: paddle.concat(paddle.split(F.sigmoid(x), 2, axis=1)[::-1], axis=1),
    "shuffled": lambda x: x.reshape([0, 2, 4, *x.shape[2:]]).transpose([0, 2, 1, 3, 4])
    .flatten(1, 2),
    "there and back": lambda x: x.unsqueeze(1).squeeze(1),
    "drop-out": lambda x: F.dropout(x, 0.3, training=False, mode="downscale_in_infer"),
    "no drop-out": lambda x: F.dropout(x, 0.3, training=False),
    "softmax": lambda x: F.softmax(x, axis=1),
    "a number for each channel": lambda x: x * paddle.full([1, 8, 1, 1], 2.0),
    "a number more": lambda x: x + paddle.full([1, 8, 1, 1], 2.0),
}  # fmt: skip


REFUSED = {"softmax": "no gradient through the operation 'softmax_grad'"}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("of", ["logit", "probability", "loss", "contrast"])
def test_every_operation(name: str, of: Any, always: None) -> None:
    """By a program or, where that is refused, by the layers; never otherwise."""
    if of != "logit" and name not in ("sigmoid", "max"):
        return
    model = Between(OPERATIONS[name])
    model.eval()
    target = it.ClassScore([0, 1, 2, 3, 0], of)
    expected = Probe(model, engine="dygraph", batch_size=5).gradients(X, target)
    probe = Probe(model, batch_size=2)
    found = probe.gradients(X, target)
    assert probe.ran_by == "onednn" or (name in REFUSED and REFUSED[name] in probe.ran_by)
    assert distance(found.input, expected.input) < 1e-5
    np.testing.assert_allclose(found.scores, expected.scores, 1e-5, 1e-6)


# -- when ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["integrated_gradients", "smooth_grad", "grad_shap"])
def test_what_announces_its_gradients(
    name: str, monkeypatch: pytest.MonkeyPatch, made: list[int]
) -> None:
    """Each has one program for all of its samples, and the map that the layers give."""
    model = Convolutions(kernel_size=3)
    model.eval()
    options: dict[str, Any] = {
        "integrated_gradients": {"steps": 20, "baselines": np.zeros((3, 16, 16), np.float32)},
        "smooth_grad": {"n_samples": 20},
        "grad_shap": {"n_samples": 20, "baselines": np.zeros((1, 3, 16, 16), np.float32)},
    }[name]

    def run(engine: Any) -> Any:
        return it.registry.find(name).cls(model, engine=engine).explain(X[:2], 1, **options)

    monkeypatch.setattr(engine, "_WORTH_GRADIENTS", 1e5)  # what some ten passes give
    expected = run("dygraph")
    assert not made
    assert "engine" not in expected.diagnostics
    before = state_of(model)
    found = run(None)
    assert not differences(before, state_of(model))
    assert sum(made) == 1
    assert found.diagnostics["engine"] == "onednn"
    assert distance(found.values, expected.values) < 1e-5
    assert np.array_equal(found.values, run(None).values)  # the same bits


def test_few_gradients_are_not_worth_a_program(toy: Toy, made: list[int]) -> None:
    probe = Probe(toy())
    probe.gradients(X, 0)
    assert not made
    assert not probe.ran_by
    with probe.many(10**6, gradient=True):
        probe.gradients(X[:1], 0)
        probe.gradients(X, 0)
    assert sum(made) == 1
    assert probe.ran_by == "onednn"


def test_what_the_layers_run(toy: Toy, always: None, made: list[int]) -> None:
    probe = Probe(toy())
    name = probe.last_spatial_layer(X)
    probe.gradients(X, 0, at=name)
    probe.gradients_of(X, [0, 1])
    probe.gradients(X, lambda output: output[:, 0])
    probe.gradients(X, 0, edit={name: lambda y: y * 2})
    Probe(toy(), engine="dygraph").gradients(X, 0)
    assert not made
    with pytest.raises(it.TargetError, match="label 99 is not in"):
        probe.gradients(X, [0, 1, 2, 3, 99])
    probe.gradients(X, 0)
    with pytest.raises(it.TargetError, match="label 99 is not in"):
        probe.gradients(X, [99, 1, 2, 3, 0])


def test_a_gradient_that_is_wrong(toy: Toy, always: None, monkeypatch: pytest.MonkeyPatch) -> None:
    program = gradient_program.GradientProgram
    original = program.__call__

    def wrong(self: Any, x: Any) -> Any:
        outputs, gradient = original(self, x)
        return [outputs, gradient * 1.05]

    monkeypatch.setattr(program, "__call__", wrong)
    probe = Probe(toy())
    expected = Probe(toy(), engine="dygraph").gradients(X, 0)
    assert np.array_equal(probe.gradients(X, 0).input, expected.input)
    assert "the program's values differ by" in probe.ran_by


def test_other_processors(toy: Toy, always: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "no_gradient_program", lambda: "it is another processor")
    probe = Probe(toy())
    probe.gradients(X, 0)
    assert probe.ran_by == "dygraph: it is another processor"


def test_weights_that_change(toy: Toy, always: None, made: list[int]) -> None:
    model = Convolutions(kernel_size=3)
    model.eval()
    probe, layers = Probe(model), Probe(model, engine="dygraph")
    for _ in range(2):
        assert distance(probe.gradients(X, 0).input, layers.gradients(X, 0).input) < 1e-5
    assert sum(made) == 1
    model.last.weight.set_value(model.last.weight.numpy() * 2)
    assert distance(probe.gradients(X, 0).input, layers.gradients(X, 0).input) < 1e-5
    assert sum(made) == 2
