"""Rules on models that use their layers oddly: told sizes, other orders, norms of another axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from interpretdl import Probe
from interpretdl.rules import AlphaBeta, Epsilon, PassThrough, ZPlus, lrp_composite
from interpretdl.rules.linear_map import DENSE
from tests.oracles import rules_numpy as oracle
from tests.oracles.rule_layers import composite, inputs, readout
from tests.oracles.rules_numpy import Array, relative


def relevance(model: Any, x: Any, rule: Any, score: Any) -> Array:
    return np.asarray(Probe(model).gradients(x, score, rules=composite(rule)).relevance)


class Up(nn.Layer):
    """A transposed convolution that is told its output's size."""

    def __init__(self, how: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.layer, self.how = nn.Conv2DTranspose(3, 4, 3, stride=2, padding=1), how
        rng = np.random.default_rng(1)
        for parameter in self.parameters():
            parameter.set_value(rng.normal(size=parameter.shape).astype("float32"))
        self.eval()
        self.to(dtype="float64")

    def forward(self, x: Any) -> Any:
        return self.how(self.layer, x).flatten(1)


@pytest.mark.parametrize(
    "how", [lambda layer, x: layer(x, [6, 6]), lambda layer, x: layer(x, output_size=[6, 6])]
)
def test_a_layer_with_more_arguments(how: Callable[[Any, Any], Any]) -> None:
    model = Up(how)
    matrix, bias = oracle.dense(model, (3, 3, 3))
    assert matrix.shape == (27, 4 * 6 * 6)
    x = inputs((3, 3, 3), "both").astype(np.float64)
    weights = np.random.default_rng(2).normal(size=len(bias))
    expected = []
    for one in x.reshape(2, -1):
        y = one @ matrix + bias
        expected.append(oracle.propagate(oracle.z_plus(True), one, matrix, bias, y * weights)[0])
    found = relevance(model, x, ZPlus(), readout(weights))
    assert relative(found.reshape(2, -1), expected) < 1e-9


class Apart(nn.Layer):
    """Layers one behind the other, the outputs flattened."""

    def __init__(self, *layers: Any) -> None:
        super().__init__()
        self.layers = nn.LayerList(layers)
        rng = np.random.default_rng(4)
        for name, parameter in self.named_parameters():
            values = rng.normal(size=parameter.shape)
            values = np.abs(values) + 0.3 if "_variance" in name else values
            parameter.set_value(values.astype("float32"))
        self.eval()
        self.to(dtype="float64")

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x.flatten(1)


UNFOLDED: dict[str, tuple[Callable[[], list[Any]], tuple[int, ...]]] = {
    "norm of steps": (lambda: [nn.Linear(7, 5), nn.BatchNorm1D(3)], (3, 7)),
    "norm of as many steps": (lambda: [nn.Linear(7, 3), nn.BatchNorm1D(4)], (4, 7)),
    "transposed": (lambda: [nn.Conv2DTranspose(3, 3, 2), nn.BatchNorm2D(3)], (3, 3, 3)),
    "transposed to more": (lambda: [nn.Conv2DTranspose(3, 4, 2), nn.BatchNorm2D(4)], (3, 3, 3)),
}


@pytest.mark.parametrize("name", UNFOLDED)
def test_a_norm_that_cannot_be_folded_passes_relevance(name: str) -> None:
    """Of another axis than the layer's outputs, or behind a transposed convolution."""
    layers, shape = UNFOLDED[name]
    model = Apart(*layers())
    matrix, bias = oracle.dense(lambda x: model.layers[0](x).flatten(1), shape)
    x = inputs(shape, "both").astype(np.float64)
    weights = np.random.default_rng(2).normal(size=len(bias))
    with paddle.no_grad():
        logits = model(paddle.to_tensor(x)).numpy()
    expected = [
        oracle.propagate(
            oracle.z_plus(True), one, matrix, bias, y * weights,
            stabilizer=1e-6 * min(1.0, np.abs(one @ matrix + bias).max()),
        )[0]
        for one, y in zip(x.reshape(2, -1), logits, strict=True)
    ]  # fmt: skip
    found = relevance(model, x, ZPlus(), readout(weights))
    assert relative(found.reshape(2, -1), expected) < 1e-4  # the stabilizer of y / x


@pytest.mark.parametrize("last", [Epsilon(0.1), ZPlus(), None])
def test_the_last_layer_is_the_one_that_runs_last(last: Any) -> None:
    """Not the one that was made last."""

    class Backwards(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.second, self.first = nn.Linear(6, 4), nn.Linear(7, 6)
            self.eval()

        def forward(self, x: Any) -> Any:
            return self.second(nn.functional.relu(self.first(x)))

    class Forwards(Backwards):
        def __init__(self) -> None:
            super().__init__()
            first, second = self.first, self.second
            del self.first, self.second
            self.first, self.second = first, second

    found = []
    for cls in (Forwards, Backwards):
        model, rng = cls(), np.random.default_rng(3)
        for layer in (model.first, model.second):
            for parameter in layer.parameters():
                parameter.set_value(rng.normal(size=parameter.shape).astype("float32"))
        layers = {DENSE: AlphaBeta()}
        rules = lrp_composite("tested", layers=layers, last=last)
        score = lambda y: y[:, 1]  # noqa: E731
        found.append(Probe(model).gradients(inputs((7,), "both"), score, rules=rules).relevance)
        named = lrp_composite("named", layers=layers, names={"second": last} if last else {})
        found.append(Probe(model).gradients(inputs((7,), "both"), score, rules=named).relevance)
    for other in found[1:]:
        assert relative(other, found[0]) < 1e-6


class Scaled(nn.Layer):
    """tanh(x) · k, with k an argument."""

    def forward(self, x: Any, k: float) -> Any:
        return paddle.tanh(x) * k


def test_a_layer_of_ones_own_with_its_own_rule() -> None:
    """Its rule has its input and stands for all inside; operations behind it have theirs again."""

    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.scaled, self.last = nn.Linear(7, 5), Scaled(), nn.Linear(5, 4)
            self.eval()

        def forward(self, x: Any) -> Any:
            return self.last(paddle.tanh(self.scaled(self.dense(x), 3.0)))

    model, rng = Model(), np.random.default_rng(5)
    for parameter in model.parameters():
        parameter.set_value(rng.normal(size=parameter.shape).astype("float32"))
    rules = lrp_composite(
        "tested",
        layers={Scaled: PassThrough(), DENSE: ZPlus()},
        operations={"tanh": PassThrough()},
    )
    x = inputs((7,), "both")
    w1, b1, w2, b2 = (p.numpy().astype(np.float64) for p in model.parameters())
    expected = []
    for one in x.astype(np.float64):
        y = one @ w1 + b1
        h = np.tanh(3 * np.tanh(y))
        arrived, _ = oracle.propagate(oracle.z_plus(True), h, w2, b2, (h @ w2 + b2) * [0, 1, 0, 0])
        expected.append(oracle.propagate(oracle.z_plus(True), one, w1, b1, arrived)[0])
    found = Probe(model).gradients(x, lambda y: y[:, 1], rules=rules).relevance
    assert relative(found, expected) < 1e-4  # the stabilizers of y / x
