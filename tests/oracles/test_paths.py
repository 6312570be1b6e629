"""Integrated gradients against slow NumPy in float64, exact cases and identities."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import nn

import interpretdl as it
from interpretdl.interpreter.baselines import baselines_of
from tests.probes import attributed

Array = NDArray[np.float64]
RULES = ("midpoint", "gauss_legendre", "trapezoid", "left", "right")
SHAPE = (3, 4, 5)
LABELS = np.array([1, 0, 2])


class Net(nn.Layer):
    """Dense, tanh, dense, and the same in NumPy."""

    def __init__(self, seed: int = 0, inputs: int = math.prod(SHAPE)) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.v = rng.normal(0, 0.3, (inputs, 8))
        self.w = rng.normal(0, 1, (8, 3))
        self.flat = nn.Flatten()
        self.first = nn.Linear(inputs, 8)
        self.act = nn.Tanh()
        self.last = nn.Linear(8, 3)
        self.to(dtype="float64")
        self.first.weight.set_value(self.v)
        self.last.weight.set_value(self.w)

    def forward(self, x: Any) -> Any:
        return self.last(self.act(self.first(self.flat(x))))

    def score(self, x: Array, label: int) -> float:
        z = np.tanh(x.ravel() @ self.v) @ self.w
        e = np.exp(z - z.max())
        return float(e[label] / e.sum())

    def gradient(self, x: Array, label: int) -> Array:
        hidden = np.tanh(x.ravel() @ self.v)
        z = hidden @ self.w
        p = np.exp(z - z.max())
        p /= p.sum()
        dz = p[label] * (np.eye(3)[label] - p)
        return np.asarray((self.v @ ((1 - hidden**2) * (self.w @ dz))).reshape(x.shape))


class Polynomial(nn.Layer):
    """Outputs Σ a x + b x² + c x³, with given coefficients for each of two classes."""

    def __init__(self, *coefficients: Array) -> None:
        super().__init__()
        self.terms = [paddle.to_tensor(c) for c in coefficients]

    def forward(self, x: Any) -> Any:
        flat = x.flatten(1)
        return sum(flat**k @ c for k, c in enumerate(self.terms, 1))


def polynomial(degree: int) -> Polynomial:
    rng = np.random.default_rng(3)
    return Polynomial(*(rng.normal(size=(math.prod(SHAPE), 2)) for _ in range(degree)))


def images(n: int = 3) -> Array:
    return np.random.default_rng(1).normal(size=(n, *SHAPE))


def interpreter(model: Any, **settings: Any) -> it.IntegratedGradientsInterpreter:
    return it.IntegratedGradientsInterpreter(model, **settings)


def attribute(model: Any, x: Array, labels: Any = LABELS, **options: Any) -> Array:
    settings = {k: options.pop(k) for k in ("batch_size", "preprocessing") if k in options}
    return attributed(interpreter(model, **settings), x, labels, **options).values


def slow_path(
    gradient: Callable[[Array], Array], x: Array, b: Array, rule: str, steps: int
) -> Array:
    """The rules as sums, written out."""
    total = np.zeros_like(x)
    if rule == "midpoint":
        terms = [((k + 0.5) / steps, 1 / steps) for k in range(steps)]
    elif rule == "left":
        terms = [(k / steps, 1 / steps) for k in range(steps)]
    elif rule == "right":
        terms = [(k / steps, 1 / steps) for k in range(1, steps + 1)]
    elif rule == "trapezoid":
        terms = [(k / steps, (0.5 if k in (0, steps) else 1) / steps) for k in range(steps + 1)]
    else:  # three points, by hand
        away = math.sqrt(3 / 5) / 2
        terms = [(0.5 - away, 5 / 18), (0.5, 8 / 18), (0.5 + away, 5 / 18)]
    for t, weight in terms:
        total += weight * gradient(b + t * (x - b))
    return (x - b) * total


@pytest.mark.parametrize("rule", RULES)
def test_equals_the_sum_written_out(rule: Any) -> None:
    net, x = Net(), images()
    base = np.random.default_rng(5).normal(size=x.shape)
    got = attribute(net, x, baselines=base, rule=rule, steps=3)
    for i, label in enumerate(LABELS):
        slow = slow_path(lambda p, c=label: net.gradient(p, c), x[i], base[i], rule, 3)
        np.testing.assert_allclose(got[i], slow, rtol=1e-9, atol=1e-12)


def mean_colour(x: Array) -> Array:
    return np.stack([np.full(x.shape[1:], channel.sum() / channel.size) for channel in x])


def blurred(x: Array) -> Array:
    """The Gaussian's sum at every pixel, over the pixels that there are."""
    sigma = max(min(x.shape[1:]) / 10, 0.5)
    out = np.zeros_like(x)
    for c, h, w in np.ndindex(*x.shape):
        weights = [
            [math.exp(-((h - i) ** 2 + (w - j) ** 2) / (2 * sigma**2)) for j in range(x.shape[2])]
            for i in range(x.shape[1])
        ]
        out[c, h, w] = (np.array(weights) * x[c]).sum() / np.sum(weights)
    return out


MEAN, STD = np.array(it.IMAGENET.mean), np.array(it.IMAGENET.std)
BASELINES: dict[str, Callable[[Array], Array]] = {
    "black": lambda x: np.broadcast_to((-MEAN / STD)[:, None, None], x.shape),
    "white": lambda x: np.broadcast_to(((1 - MEAN) / STD)[:, None, None], x.shape),
    "mean": mean_colour,
    "blur": blurred,
}


@pytest.mark.parametrize("name", BASELINES)
def test_named_baselines(name: str) -> None:
    net, x = Net(), images()
    got = attribute(net, x, baselines=None if name == "black" else name, steps=4)
    for i, label in enumerate(LABELS):
        base = BASELINES[name](x[i])
        slow = slow_path(lambda p, c=label: net.gradient(p, c), x[i], base, "midpoint", 4)
        np.testing.assert_allclose(got[i], slow, rtol=1e-5, atol=1e-9)  # bounds() are float32


def test_random_baselines_are_valid_pixels_and_depend_on_position_alone() -> None:
    net, x = Net(), images()
    count, make = baselines_of(x, "random", it.IMAGENET, 6, seed=4)
    low, high = it.IMAGENET.bounds()
    assert count == 6
    assert make(1).shape == (6, *SHAPE)
    assert ((make(1) >= low) & (make(1) <= high)).all()
    assert not np.array_equal(make(0), make(1))
    np.testing.assert_array_equal(make(2), baselines_of(x * 0, "random", it.IMAGENET, 6, 4)[1](2))
    got = attribute(net, x, baselines="random", num_random_trials=6, seed=4, steps=3)
    slow = [slow_path(lambda p: net.gradient(p, 0), x[1], b, "midpoint", 3) for b in make(1)]
    np.testing.assert_allclose(got[1], np.mean(slow, axis=0), rtol=1e-9, atol=1e-12)


def test_several_baselines_are_averaged() -> None:
    net, x = Net(), images()
    arrays = np.random.default_rng(6).normal(size=(2, *x.shape))
    each = [attribute(net, x, baselines=a, steps=5) for a in arrays]
    mean = np.mean(each, axis=0)
    np.testing.assert_allclose(attribute(net, x, baselines=arrays, steps=5), mean, atol=1e-12)
    np.testing.assert_allclose(attribute(net, x, baselines=list(arrays), steps=5), mean, atol=1e-12)
    mixed = attribute(net, x, baselines=["white", arrays[0, 0]], steps=5)
    one = attribute(net, x, baselines=arrays[0, :1], steps=5)
    white = attribute(net, x, baselines="white", steps=5)
    np.testing.assert_allclose(mixed, (one + white) / 2, atol=1e-12)


def test_integer_baselines_are_pictures() -> None:
    net, x = Net(), images()
    picture = np.full((4, 5, 3), 255, np.uint8)
    got = attribute(net, x, baselines=picture, steps=2)
    np.testing.assert_allclose(got, attribute(net, x, baselines="white", steps=2), atol=1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_exact_on_linear_functions(rule: Any) -> None:
    model, x = polynomial(1), images()
    base = np.ones(SHAPE)
    got = attributed(
        interpreter(model),
        x,
        np.ones(3, int),
        baselines=base,
        steps=1,
        rule=rule,
        gradient_of="logit",
    )
    weights = model.terms[0].numpy()[:, 1].reshape(SHAPE)
    np.testing.assert_allclose(got.values, weights * (x - base), rtol=1e-12)
    assert got.diagnostics["completeness_error"].max() < 1e-9


@pytest.mark.parametrize(
    ("rule", "steps", "degree"),
    [("midpoint", 1, 2), ("trapezoid", 1, 2), ("gauss_legendre", 1, 2), ("gauss_legendre", 2, 3)],
)
def test_exact_on_polynomials(rule: Any, steps: int, degree: int) -> None:
    """A rule that integrates the gradient exactly gives ∫ = Σ_k c_k (x^k - b^k), pixel by pixel."""
    model, x = polynomial(degree), images()
    base = np.random.default_rng(7).normal(size=SHAPE)
    got = attribute(
        model, x, np.zeros(3, int), baselines=base, steps=steps, rule=rule, gradient_of="logit"
    )
    terms = [t.numpy()[:, 0].reshape(SHAPE) for t in model.terms]
    expected = sum(c * (x**k - base**k) for k, c in enumerate(terms, 1))
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def test_left_and_right_on_a_square() -> None:
    """∫₀¹ 2t dt by n steps is 1 ∓ 1/n: their sums are known."""
    one = np.ones((1, 1, 1, 1))
    model = Polynomial(np.zeros((1, 2)), np.ones((1, 2)))
    for rule, expected in (("left", 0.75), ("right", 1.25), ("midpoint", 1.0)):
        got = attribute(
            model, one, np.array([0]), baselines=0 * one, steps=4, rule=rule, gradient_of="logit"
        )
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_identities() -> None:
    net, other, x = Net(), Net(seed=1), images()
    base = np.random.default_rng(8).normal(size=x.shape)

    same = attributed(interpreter(net), x, LABELS, baselines=x, steps=3)
    assert not same.values.any()
    assert not same.diagnostics["completeness_error"].any()

    forth = attribute(net, x, baselines=base)
    np.testing.assert_allclose(attribute(net, base, baselines=x), -forth, atol=1e-12)

    class Sum(nn.Layer):
        def forward(self, x: Any) -> Any:
            return net(x) + other(x)

    each = [attribute(m, x, baselines=base, gradient_of="logit") for m in (net, other)]
    both = attribute(Sum(), x, baselines=base, gradient_of="logit")
    np.testing.assert_allclose(both, each[0] + each[1], atol=1e-12)

    class Shifted(nn.Layer):
        def forward(self, x: Any) -> Any:
            return net(x - 0.7)

    moved = attribute(Shifted(), x + 0.7, baselines=base + 0.7)
    np.testing.assert_allclose(moved, forth, atol=1e-12)

    rise = [net.score(x[i], c) - net.score(base[i], c) for i, c in enumerate(LABELS)]
    found = attributed(interpreter(net), x, LABELS, baselines=base, steps=400)
    np.testing.assert_allclose(found.diagnostics["score_difference"], rise, rtol=1e-9)
    np.testing.assert_allclose(found.values.sum((1, 2, 3)), rise, rtol=1e-4)
    error = np.abs(found.values.sum((1, 2, 3)) - rise) / np.abs(rise)
    np.testing.assert_allclose(found.diagnostics["completeness_error"], error, rtol=1e-6)


def test_what_is_not_used_gets_nothing_and_twins_get_the_same() -> None:
    net, x = Net(), images()
    net.v[5], net.v[8] = 0, net.v[7]
    net.first.weight.set_value(net.v)
    x.reshape(3, -1)[:, 8] = x.reshape(3, -1)[:, 7]
    got = attribute(net, x, baselines=np.zeros(SHAPE), steps=7).reshape(3, -1)
    assert not got[:, 5].any()
    np.testing.assert_allclose(got[:, 8], got[:, 7], rtol=1e-12)


@pytest.mark.parametrize("size", [1, 7, 15])
def test_the_cut_into_batches_and_the_other_images_do_not_matter(toy: Any, size: int) -> None:
    x = np.random.default_rng(2).normal(size=(3, 3, 8, 8)).astype(np.float32)
    whole = attribute(toy(), x, steps=5)
    cut = attribute(toy(), x, steps=5, batch_size=size)
    assert np.linalg.norm(cut - whole) <= 1e-5 * np.linalg.norm(whole)
    single = attribute(toy(), x[1:2], LABELS[1:2], steps=5)
    assert np.linalg.norm(single[0] - whole[1]) <= 1e-5 * np.linalg.norm(whole[1])


class Counted(nn.Layer):
    """A net that tells how many images it runs with a gradient."""

    def __init__(self, net: nn.Layer, tell: Callable[[int], None]) -> None:
        super().__init__()
        self.net, self.tell = net, tell

    def forward(self, x: Any) -> Any:
        self.tell(0 if x.stop_gradient else len(x))
        return self.net(x)


@pytest.mark.parametrize("rule", ["midpoint", "trapezoid", "left", "right"])
def test_tolerance_adds_steps_and_uses_those_taken(rule: Any) -> None:
    x, base = images(4), 0.5 * np.ones(SHAPE)
    x[2] = base + 1e-3  # nearly straight: converges at once
    rows: list[int] = []
    labels, model = np.array([1, 0, 2, 1]), Counted(Net(), rows.append)
    found = attributed(
        interpreter(model),
        x,
        labels,
        baselines=base,
        rule=rule,
        steps=2,
        tolerance=0.01,
        max_steps=5000,
    )
    steps, facts = found.diagnostics["steps"], found.diagnostics
    assert facts["converged"].all()
    assert (facts["completeness_error"] <= 0.01).all()
    assert steps[2] == 2 < steps.max()
    assert sum(rows) == (steps + (rule == "trapezoid")).sum()  # none is taken twice
    for i in range(4):
        direct = attribute(
            model.net, x[i : i + 1], labels[i : i + 1], baselines=base, rule=rule, steps=steps[i]
        )
        np.testing.assert_allclose(found.values[i], direct[0], rtol=1e-9, atol=1e-14)


def test_what_does_not_converge_is_flagged() -> None:
    with pytest.warns(it.InterpretWarning, match="3 of 3 images did not meet tolerance=1e-09"):
        found = attributed(
            interpreter(Net()), images(), LABELS, rule="left", steps=2, tolerance=1e-9, max_steps=7
        )
    assert not found.diagnostics["converged"].any()
    assert found.diagnostics["steps"].tolist() == [4, 4, 4]


@pytest.mark.parametrize("layer", ["first", "act", "last:input"])
def test_a_layers_attribution(layer: str) -> None:
    """The path is straight in the layer's values, and the rest of the network is the function."""
    net, x = Net(), images()
    base = np.random.default_rng(9).normal(size=x.shape)
    found = attributed(
        interpreter(net, batch_size=4),
        x,
        LABELS,
        baselines=base,
        steps=3,
        layer=layer,
        gradient_of="logit",
    )
    for i, label in enumerate(LABELS):
        ends = [v.ravel() @ net.v for v in (x[i], base[i])]
        tail = net.w[:, label]
        if layer == "first":
            slow = slow_path(lambda h, w=tail: (1 - np.tanh(h) ** 2) * w, *ends, "midpoint", 3)
        else:
            slow = (np.tanh(ends[0]) - np.tanh(ends[1])) * tail
        np.testing.assert_allclose(found.values[i], slow, rtol=1e-9, atol=1e-12)
        rise = (np.tanh(ends[0]) - np.tanh(ends[1])) @ tail
        np.testing.assert_allclose(found.diagnostics["score_difference"][i], rise, rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "simpson"}, "rule must be one of"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"steps": 0}, "steps must be a whole number, at least 1"),
        ({"baselines": "whit"}, "did you mean 'white'"),
        ({"baselines": []}, "baselines is empty"),
        ({"baselines": np.zeros((3, 9, 9))}, r"must be float \[3, 4, 5\]"),
        ({"baselines": np.full(SHAPE, np.nan)}, "NaN or Inf"),
        ({"baselines": "random", "seed": -1}, "seed must be a whole number"),
        ({"baselines": "random", "num_random_trials": 0}, "num_random_trials must be"),
        ({"tolerance": 0.1, "rule": "gauss_legendre"}, "no node of gauss_legendre"),
        ({"tolerance": -1.0}, "tolerance must be"),
        ({"tolerance": 0.1, "max_steps": 3}, "max_steps must be a number, at least 5"),
        (
            {"tolerance": 0.1, "rule": "midpoint", "max_steps": 3},
            "max_steps must be a number, at least 50",
        ),
        ({"rule": "adaptive"}, "rule='adaptive' needs a tolerance="),
        ({"tolerance": 0.1, "steps": 0}, "steps must be a whole number, at least 1"),
        ({"gradient_of": "odds"}, "the score must be one of"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(it.InputError, match=message):
        attribute(Net(), images(), **options)


def test_black_is_not_guessed_for_unknown_channels() -> None:
    x = np.random.default_rng(0).normal(size=(1, 2, 5, 6))
    with pytest.raises(it.InputError, match="the preprocessing has 3"):
        attribute(Net(), x, LABELS[:1])
    x = x[:, :1].repeat(2, axis=2)
    grey = it.Preprocessing(None, None, mean=[0.5], std=[0.25])
    got = attribute(Net(), x, LABELS[:1], preprocessing=grey, steps=3)
    expected = attribute(Net(), x, LABELS[:1], baselines=np.full((1, 10, 6), -2.0), steps=3)
    np.testing.assert_array_equal(got, expected)
