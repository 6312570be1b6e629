"""The gradient against finite differences, formulas and identities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import nn

import interpretdl as it
from tests.probes import attributed

Array = NDArray[np.float64]
KINDS = ["logit", "probability", "loss", "contrast"]


def images(n: int = 2, channels: int = 3, size: int = 6) -> Array:
    return np.random.default_rng(3).normal(size=(n, channels, size, size))


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def score(z: Array, labels: NDArray[np.int64], of: str) -> Array:
    """[N] from logits [N, K]."""
    own = z[np.arange(len(z)), labels]
    if of == "logit":
        return own
    if of == "contrast":
        return own - (z.sum(1) - own) / (z.shape[1] - 1)
    p = softmax(z)[np.arange(len(z)), labels]
    return p if of == "probability" else -np.log(p)


def score_gradient(z: Array, labels: NDArray[np.int64], of: str) -> Array:
    """d score / d logits, [N, K], by hand."""
    k = z.shape[1]
    one = np.eye(k)[labels]
    p = softmax(z)
    return {
        "logit": one,
        "probability": (p * one).sum(1, keepdims=True) * (one - p),
        "loss": p - one,
        "contrast": one - (1 - one) / (k - 1),
    }[of]


def attribute(model: Any, x: Any, labels: Any, **options: Any) -> Array:
    """As the method gives it, in the model's precision."""
    found = attributed(it.GradientInterpreter(model), x, np.asarray(labels), **options)
    return np.asarray(found.values)


@pytest.mark.parametrize("of", KINDS)
def test_central_differences(of: str, toy: Any) -> None:
    """The network is piecewise smooth: no step of 1e-6 crosses a ReLU's or a maximum's edge."""
    model = toy().to(dtype="float64")
    x, labels, h = images(), np.array([1, 3]), 1e-6
    found = attribute(model, x, labels, gradient_of=of)
    assert found.dtype == np.float64

    def f(points: Array) -> Array:
        z = model(paddle.to_tensor(points)).numpy()
        return score(z, np.repeat(labels, len(points) // 2), of)

    steps = h * np.eye(x[0].size).reshape(-1, *x.shape[1:])
    points = [np.concatenate([one + sign * steps for one in x]) for sign in (1, -1)]
    slopes = ((f(points[0]) - f(points[1])) / (2 * h)).reshape(x.shape)
    assert np.linalg.norm(found - slopes) <= 1e-6 * np.linalg.norm(slopes)


@pytest.mark.parametrize("of", KINDS)
def test_linear_model(of: str) -> None:
    """logits = x w + b: the gradient is w by the score's own gradient, and w itself for a logit."""
    x, labels = images(), np.array([2, 0])
    model = nn.Sequential(nn.Flatten(), nn.Linear(x[0].size, 4)).to(dtype="float64")
    w, b = np.random.default_rng(0).normal(size=(x[0].size, 4)) / 10, np.arange(4.0)
    model[1].weight.set_value(w)
    model[1].bias.set_value(b)
    z = x.reshape(2, -1) @ w + b
    expected = (score_gradient(z, labels, of) @ w.T).reshape(x.shape)
    found = attribute(model, x, labels, gradient_of=of)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    if of == "logit":
        np.testing.assert_allclose(found, w[:, labels].T.reshape(x.shape), rtol=1e-12)
    times = attribute(model, x, labels, gradient_of=of, times_input=True)
    np.testing.assert_allclose(times, expected * x, rtol=1e-9, atol=1e-12)


def test_scores_gradients_by_hand_are_those_of_the_scores() -> None:
    """The oracle itself, against differences of the formulas."""
    z, labels, h = np.random.default_rng(1).normal(size=(3, 5)), np.array([0, 4, 2]), 1e-6
    for of in KINDS:
        for k in range(5):
            e = h * np.eye(5)[k]
            slope = (score(z + e, labels, of) - score(z - e, labels, of)) / (2 * h)
            np.testing.assert_allclose(score_gradient(z, labels, of)[:, k], slope, atol=1e-8)


def bias_free(dtype: str = "float64") -> Any:
    return nn.Sequential(
        nn.Conv2D(3, 4, 3, padding=1, bias_attr=False), nn.ReLU(), nn.MaxPool2D(2),
        nn.Conv2D(4, 5, 3, bias_attr=False), nn.ReLU(), nn.AvgPool2D(1),
        nn.Flatten(), nn.Linear(5, 4, bias_attr=False),
    ).to(dtype=dtype)  # fmt: skip


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
def test_gradient_times_input_sums_to_the_score(dtype: str, tolerance: float) -> None:
    """A network of ReLUs without biases is positively homogeneous (Euler)."""
    model, x, labels = bias_free(dtype), images().astype(dtype), [3, 1]
    f = model(paddle.to_tensor(x)).numpy()[[0, 1], labels]
    found = attribute(model, x, labels, times_input=True)
    np.testing.assert_allclose(found.sum((1, 2, 3)), f, rtol=tolerance, atol=tolerance)


class Half(nn.Layer):
    """Looks at the left half only, and at the first channel not at all."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Any) -> Any:
        seen = x * paddle.to_tensor(np.array([0, 1, 1.0]).reshape(1, 3, 1, 1), dtype=x.dtype)
        return self.inner(paddle.concat([seen[..., :3], paddle.zeros_like(seen[..., 3:])], -1))


@pytest.mark.parametrize("of", KINDS)
def test_what_is_not_used_gets_exactly_nothing(of: str, toy: Any) -> None:
    found = attribute(Half(toy()), images().astype(np.float32), [1, 2], gradient_of=of)
    assert not found[:, 0].any()
    assert not found[..., 3:].any()
    assert (found[:, 1:, :, :3] != 0).mean() > 0.5


def test_symmetric_inputs_get_equal_values() -> None:
    """Features that the network adds up, and pictures that are mirror images."""
    model, x = bias_free(), images()
    mirrored = nn.Sequential(Mirror(), model)
    found, other = attribute(model, x, [0, 1]), attribute(mirrored, x[..., ::-1].copy(), [0, 1])
    np.testing.assert_allclose(other, found[..., ::-1], rtol=1e-9, atol=1e-12)
    summed = nn.Sequential(Sum(), nn.ReLU(), nn.Flatten(), nn.Linear(36, 4)).to(dtype="float64")
    found = attribute(summed, x, [0, 1])
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    np.testing.assert_array_equal(found[:, 0], found[:, 2])


class Mirror(nn.Layer):
    def forward(self, x: Any) -> Any:
        return x.flip(-1)


class Sum(nn.Layer):
    def forward(self, x: Any) -> Any:
        return x.sum(1, keepdim=True)


def test_a_shift_of_the_input_that_the_bias_takes_up() -> None:
    """Input invariance (Kindermans et al., 2017): the same function, the same gradient."""
    x, shift = images(), 3.0
    layers = [nn.Conv2D(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 4)]
    model = nn.Sequential(*layers).to(dtype="float64")
    moved = nn.Sequential(nn.Conv2D(3, 4, 3), *layers[1:]).to(dtype="float64")
    moved[0].weight.set_value(model[0].weight)
    moved[0].bias.set_value(model[0].bias - shift * model[0].weight.sum([1, 2, 3]))
    np.testing.assert_allclose(
        attribute(moved, x + shift, [1, 2]), attribute(model, x, [1, 2]), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("form", ["module", "functional", "reused", "in place"])
def test_every_way_of_writing_relu(form: str) -> None:
    first, second, head = nn.Conv2D(3, 3, 3), nn.Conv2D(3, 3, 3), nn.Linear(12, 3)
    relus: dict[str, Callable[[Any], Any]] = {
        "module": nn.ReLU(),
        "functional": nn.functional.relu,
        "reused": nn.ReLU(),
        "in place": nn.functional.relu_,
    }

    class Net(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = first, second, head

        def forward(self, x: Any) -> Any:
            x = relus[form](self.first(x))
            return self.head(relus[form](self.second(x)).flatten(1))

    x = images()
    found = attribute(Net().to(dtype="float64"), x, [0, 2])
    # By hand: matrices of the two convolutions from unit inputs, and masks.
    w1, w2, w3 = first.weight.numpy(), second.weight.numpy(), head.weight.numpy()
    a = correlate(x, w1) + first.bias.numpy().reshape(1, -1, 1, 1)
    b = correlate(np.maximum(a, 0), w2) + second.bias.numpy().reshape(1, -1, 1, 1)
    g = w3[:, [0, 2]].T.reshape(2, 3, 2, 2) * (b > 0)
    g = back(g, w2, a.shape) * (a > 0)
    np.testing.assert_allclose(found, back(g, w1, x.shape), rtol=1e-9, atol=1e-12)


def correlate(x: Array, w: Array) -> Array:
    k = w.shape[2]
    size = x.shape[2] - k + 1
    y = np.zeros((len(x), len(w), size, size))
    for i in range(size):
        for j in range(size):
            y[:, :, i, j] = np.einsum("ncij,ocij->no", x[:, :, i : i + k, j : j + k], w)
    return y


def back(g: Array, w: Array, shape: tuple[int, ...]) -> Array:
    k = w.shape[2]
    x = np.zeros(shape)
    for i in range(g.shape[2]):
        for j in range(g.shape[3]):
            x[:, :, i : i + k, j : j + k] += np.einsum("no,ocij->ncij", g[:, :, i, j], w)
    return x


def test_explain_gives_the_attribution(toy: Any) -> None:
    x = images().astype(np.float32)
    explained = it.GradientInterpreter(toy()).explain(x, [1, 2], gradient_of="loss")
    np.testing.assert_array_equal(explained.values, attribute(toy(), x, [1, 2], gradient_of="loss"))
    assert not explained.signed
    assert it.GradientInterpreter(toy()).explain(x, times_input=True).signed
