"""Every rule on every kind of layer against the dense matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from interpretdl import Probe
from interpretdl.rules import (
    AlphaBeta,
    Epsilon,
    Gamma,
    PassThrough,
    Rule,
    ZBox,
    ZPlus,
    linear_map,
    lrp_composite,
)
from interpretdl.rules.audit import Ledger
from interpretdl.rules.linear_map import DENSE
from tests.oracles import rules_numpy as oracle
from tests.oracles.rule_layers import (
    KINDS,
    RULES,
    TOLERANCE,
    Dense,
    build,
    composite,
    inputs,
    readout,
)
from tests.oracles.rules_numpy import Array, relative


def compare(kind: str, dtypes: Iterable[str], every: Iterable[str]) -> None:
    """Every rule on a kind of layer, for inputs of these dtypes and signs."""
    matrix = Dense(kind)
    wrong = []
    for dtype in dtypes:
        model, shape = build(kind, dtype)
        # Both images in one run; without batch_size the first one would run alone.
        probe = Probe(model, batch_size=2)
        for signs in every:
            x = inputs(shape, signs).astype(dtype)
            weights = matrix.readout(x)
            for name, (rule, formula, stabilizer) in RULES.items():
                found = probe.gradients(x, readout(weights), rules=composite(rule)).relevance
                expected = [matrix.propagate(formula, one, weights, stabilizer)[0] for one in x]
                error = relative(found, expected)
                if not error <= TOLERANCE[dtype]:
                    wrong.append(f"{name}, {signs}, {dtype}: {error:.2g}")
    assert not wrong, f"{kind}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_the_dense_matrix(kind: str) -> None:
    compare(kind, TOLERANCE, ("both", "positive", "one of each"))


@pytest.mark.parametrize(("size", "blocks"), [(1, 7), (12, 4), (34, 2)])
@pytest.mark.parametrize("kind", ["linear", "linear of a sequence", "linear norm"])
def test_the_dense_matrix_in_blocks(
    kind: str, size: int, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights [7, 5] as large ones are worked on: one, two or six rows at a time."""
    monkeypatch.setattr(linear_map, "_BLOCK", size)
    assert len(linear_map._Weight(paddle.ones([7, 5]), lambda w: w).blocks()) == blocks
    compare(kind, ["float64"], ["both"])


@pytest.mark.parametrize("kind", ["linear", "conv2d padding four", "norm negative", "norm off"])
def test_the_account(kind: str) -> None:
    """What arrives at a seam, what goes on, what the bias keeps; the stabilizer has the rest."""
    matrix = Dense(kind)
    model, shape = build(kind, "float64")
    x = inputs(shape, "both").astype(np.float64)
    weights = matrix.readout(x)
    for name, (rule, formula, stabilizer) in RULES.items():
        ledger = Ledger()
        Probe(model).gradients(x, readout(weights), rules=composite(rule).observed(ledger))
        (seam,) = ledger.seams()
        expected = [matrix.propagate(formula, one, weights, stabilizer) for one in x]
        whole = [((matrix.inputs(one) @ matrix.matrix + matrix.bias) * weights).sum() for one in x]
        for found, numbers in (
            (seam.arrived, whole),
            (seam.passed, [relevance.sum() for relevance, _ in expected]),
            (seam.bias, [bias for _, bias in expected]),
        ):
            np.testing.assert_allclose(found, numbers, rtol=1e-9, atol=1e-9, err_msg=name)
        kept = seam.arrived - seam.passed - seam.bias
        np.testing.assert_array_equal(seam.stabilizer, kept, err_msg=name)


# -- identities of rules ------------------------------------------------------------------------


def relevance(model: Any, x: Any, rule: Rule, score: Any) -> Array:
    return np.asarray(Probe(model).gradients(x, score, rules=composite(rule)).relevance)


@pytest.mark.parametrize("kind", ["linear", "conv2d groups", "norm negative"])
def test_limits(kind: str) -> None:
    model, shape = build(kind, "float64")
    x = inputs(shape, "both").astype(np.float64)
    some = readout(Dense(kind).readout(x))
    raised = lambda y: y.clip(min=0).sum(axis=1)  # noqa: E731  # outputs below 0 have a mirrored γ
    lrp_0 = relevance(model, x, Epsilon(0), some)
    assert relative(relevance(model, x, Gamma(0), some), lrp_0) < 1e-4  # stabilizers
    gradient = Probe(model).gradients(x, some).input
    assert relative(lrp_0, x * gradient) < 1e-12
    z_plus = relevance(model, x, ZPlus(), raised)
    assert relative(relevance(model, x, Gamma(1e7), raised), z_plus) < 1e-5
    assert relative(relevance(model, x, AlphaBeta(1, 0), raised), z_plus) < 1e-12


@pytest.mark.parametrize(("alpha", "beta"), [(2, 0), (1, 1), (0, 1), (0.5, -0.5), (2, 1.1)])
def test_alpha_less_beta_must_be_one(alpha: float, beta: float) -> None:
    with pytest.raises(ValueError, match=r"alpha - beta must be 1"):
        AlphaBeta(alpha, beta)


@pytest.mark.parametrize("rule", [Epsilon, Gamma])
@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_negative_numbers_are_refused(rule: Any, value: float) -> None:
    with pytest.raises(ValueError, match="must be at least 0"):
        rule(value)


def test_a_box_without_bounds_is_refused() -> None:
    model, shape = build("linear", "float32")
    with pytest.raises(ValueError, match="needs low= and high="):
        relevance(model, inputs(shape, "both"), ZBox(), lambda y: y.sum(axis=1))


def test_bounds_that_do_not_fit_are_refused() -> None:
    model, shape = build("conv2d plain", "float32")
    low = np.zeros((1, 3, 1, 1), np.float32)
    with pytest.raises(ValueError, match=r"\[1, 3, 1, 1\], which does not fit"):
        relevance(model, inputs(shape, "both"), ZBox(low, low + 1), lambda y: y.sum(axis=1))


def test_a_linear_rule_for_another_layer_is_refused() -> None:
    model = nn.Sequential(nn.Linear(7, 5), nn.ReLU())
    rules = lrp_composite("wrong", layers={nn.ReLU: ZPlus()})
    with pytest.raises(ValueError, match="a rule for linear layers"):
        Probe(model).gradients(inputs((7,), "both"), lambda y: y.sum(axis=1), rules=rules)


# -- what needs no rule, or its own --------------------------------------------------------------


class Two(nn.Layer):
    """Two convolutions of one input, brought together; then, if given, something more."""

    def __init__(self, join: Callable[[Any, Any], Any], then: Any = None) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2D(3, 4, 3, padding=1), nn.Conv2D(3, 4, 1)
        rng = np.random.default_rng(1)
        for parameter in self.parameters():
            parameter.set_value(rng.normal(size=parameter.shape).astype("float32"))
        self.join, self.then = join, then or nn.Identity()
        self.eval()

    def forward(self, x: Any) -> Any:
        return self.then(self.join(self.one(x), self.other(x))).flatten(1)


JOINS: dict[str, tuple[Callable[[Any, Any], Any], int]] = {
    "add": (lambda a, b: a + b, 4),
    "concat": (lambda a, b: paddle.concat([a, b], axis=1), 8),
}
POOLS: dict[str, Callable[[], Any]] = {
    "nothing": nn.Identity,
    "average": lambda: nn.AvgPool2D(2),
    "average padded": lambda: nn.AvgPool2D(3, stride=2, padding=1),
    "average padding counted": lambda: nn.AvgPool2D(3, stride=2, padding=1, exclusive=False),
    "average to one": lambda: nn.AdaptiveAvgPool2D(1),
    "average to three": lambda: nn.AdaptiveAvgPool2D(3),
}


@pytest.mark.parametrize("join", JOINS)
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_sums_and_averages_split_in_proportion(join: str, pool: str, dtype: str) -> None:
    together, channels = JOINS[join]
    exact = Two(together, POOLS[pool]())
    exact.to(dtype="float64")
    one, one_bias = oracle.dense(lambda x: exact.one(x).flatten(1), (3, 4, 4))
    other, other_bias = oracle.dense(lambda x: exact.other(x).flatten(1), (3, 4, 4))
    mean, _ = oracle.dense(lambda x: exact.then(x).flatten(1), (channels, 4, 4))
    x = inputs((3, 4, 4), "both").astype(dtype)
    weights = np.random.default_rng(2).normal(size=mean.shape[1])
    expected = []
    for image in x.astype(np.float64).reshape(2, -1):
        a, b = image @ one + one_bias, image @ other + other_bias
        joined = a + b if join == "add" else np.concatenate([a, b])
        # Exactly in proportion, so no stabilizer: ratios of tiny sums are what they are.
        back, _ = oracle.propagate(
            oracle.epsilon(), joined, mean, 0 * weights, (joined @ mean) * weights, stabilizer=0
        )
        shares = [a / joined * back, b / joined * back] if join == "add" else np.split(back, 2)
        parts = [
            oracle.propagate(oracle.z_plus(True), image, *layer, share, stabilizer=small)[0]
            for layer, y, share in (
                ((one, one_bias), a, shares[0]),
                ((other, other_bias), b, shares[1]),
            )
            for small in [1e-6 * min(1, np.abs(y).max())]
        ]
        expected.append(sum(parts).reshape(3, 4, 4))
    model = Two(together, POOLS[pool]())
    model.to(dtype=dtype)
    found = relevance(model, x, ZPlus(), readout(weights))
    # Paddle's average pooling has 1/9 in float32 on the way back, in float64 too.
    assert relative(found, expected) < (TOLERANCE[dtype] if "padd" not in pool else 1e-5)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_max_pooling_gives_all_to_the_winner(padding: int, dtype: str) -> None:
    model, _ = build("conv2d plain", "float64")
    matrix = Dense("conv2d plain")
    x = inputs((4, 5, 4), "both").astype(dtype)
    weights = np.random.default_rng(2).normal(size=(4, 2 if padding else 1, 2 if padding else 1))
    expected = []
    for image in x.astype(np.float64):
        y = (image.reshape(-1) @ matrix.matrix + matrix.bias).reshape(4, 3, 3)
        pooled, back = oracle.max_pool(y, 2, 2, padding)
        arrived = back(pooled * weights).reshape(-1)
        found, _ = oracle.propagate(
            oracle.z_plus(True), image.reshape(-1), matrix.matrix, matrix.bias, arrived
        )
        expected.append(found.reshape(image.shape))
    model = nn.Sequential(model[0], nn.MaxPool2D(2, padding=padding), nn.Flatten())
    model.to(dtype=dtype)
    found = relevance(model, x, ZPlus(), readout(weights.reshape(-1)))
    assert relative(found, expected) < TOLERANCE[dtype]


ACTIVATIONS = ["ReLU6", "Hardswish", "Swish", "Silu", "GELU", "ELU", "Mish", "Tanh", "SELU", "CELU"]


@pytest.mark.parametrize("name", [*ACTIVATIONS, "BatchNorm1D"])
def test_activations_pass_relevance(name: str) -> None:
    """Activations, and a batch-norm that is not behind a linear layer."""
    middle = nn.BatchNorm1D(7) if name == "BatchNorm1D" else getattr(nn, name)()
    model = nn.Sequential(middle, nn.Linear(7, 5))
    rng = np.random.default_rng(3)
    for parameter in model.parameters():
        parameter.set_value((np.abs(rng.normal(size=parameter.shape)) + 0.1).astype("float32"))
    model.eval()
    model.to(dtype="float64")
    x = rng.normal(size=(2, 7))
    probe, weights = Probe(model), np.random.default_rng(2).normal(size=5)
    middle_values = probe.activations(x, "0")["0"]
    matrix, bias = oracle.dense(model[1], (7,))
    expected = [
        oracle.propagate(oracle.alpha_beta(2, 1), a, matrix, bias, (a @ matrix + bias) * weights)[0]
        for a in middle_values
    ]
    found = probe.gradients(x, readout(weights), rules=composite(AlphaBeta())).relevance
    assert relative(found, expected) < 1e-5  # the stabilizer of y / x


def test_what_relevance_cannot_pass() -> None:
    """Where an activation is not 0 at 0, relevance stays there: nothing of x caused it."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    with paddle.no_grad():
        model[0].weight.set_value(np.eye(4, dtype="float32"))
    rules = lrp_composite("tested", layers={DENSE: Epsilon(0)}, operations={"tanh": PassThrough()})
    x = np.array([[0.0, 1.0, -2.0, 0.5]], np.float32)
    found = Probe(model).gradients(x, lambda y: y.sum(axis=1), rules=rules)
    np.testing.assert_allclose(found.relevance, np.tanh(x), rtol=1e-5)
