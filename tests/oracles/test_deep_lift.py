"""DeepLIFT against its rescale rule in NumPy, its sum, and integrated gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

import interpretdl as it
from interpretdl import Preprocessing, Probe
from interpretdl.errors import InputError, UnsupportedModelError
from tests.oracles.rules_numpy import Array, relative
from tests.probes import attributed

TOLERANCE = {"float32": 1e-5, "float64": 1e-9}
LABELS = [1, 3]


def drawn(model: Any, dtype: str = "float32", seed: int = 0) -> Any:
    """The model with weights of its own generator, in eval mode."""
    rng = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        values = rng.normal(0, 0.7, parameter.shape)
        values = np.abs(values) + 0.5 if "_variance" in name else values
        parameter.set_value(values.astype("float32"))
    model.eval()
    model.to(dtype=dtype)
    return model


def pairs(shape: tuple[int, ...], dtype: str = "float32") -> tuple[Any, Any]:
    """Two images and a reference for each."""
    rng = np.random.default_rng(9)
    x, references = rng.normal(size=(2, 2, *shape)).astype(dtype)
    return x, references


def explained(model: Any, x: Any, references: Any) -> tuple[Array, Array]:
    # Both pairs in one run; without batch_size the first one would run alone.
    method = it.DeepLIFTInterpreter(model, batch_size=4)
    found = attributed(method, x, np.array(LABELS), baselines=references)
    return np.asarray(found.values), np.asarray(found.diagnostics["completeness_error"])


def change_of(model: Any, x: Any, references: Any) -> Array:
    probe, score = Probe(model), it.ClassScore(LABELS)
    return np.asarray(probe.scores(x, score) - probe.scores(references, score))


def multiplier(dx: Array, dy: Array, slope: Array) -> Array:
    """Δy / Δx; the gradient where |Δx| < 1e-6."""
    still = np.abs(dx) < 1e-6
    return np.where(still, slope, dy / np.where(still, 1, dx))


@pytest.mark.parametrize("name", ["ReLU", "Sigmoid", "Tanh"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_rescale_by_hand(name: str, dtype: str) -> None:
    """Two hidden layers; some inputs are the reference's, so that some Δ are 0."""
    layer = getattr(nn, name)
    model = drawn(
        nn.Sequential(nn.Linear(6, 5), layer(), nn.Linear(5, 7), layer(), nn.Linear(7, 4)), dtype
    )
    f: Callable[[Array], Array] = {
        "ReLU": lambda z: np.maximum(z, 0),
        "Sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "Tanh": np.tanh,
    }[name]
    x, references = pairs((6,), dtype)
    x[:, :2] = references[:, :2]
    x[1] = references[1]
    w = [p.numpy().astype(np.float64) for p in model.parameters()]
    expected = []
    for image, reference, label in zip(x, references, LABELS, strict=True):
        values = []
        for start in (image.astype(np.float64), reference.astype(np.float64)):
            z1 = start @ w[0] + w[1]
            values.append((z1, f(z1) @ w[2] + w[3]))
        (z1, z2), (r1, r2) = values
        step = 1e-6
        slopes = [(f(z + step) - f(z - step)) / (2 * step) for z in (z1, z2)]
        g = w[4][:, label] * multiplier(z2 - r2, f(z2) - f(r2), slopes[1])
        g = (w[2] @ g) * multiplier(z1 - r1, f(z1) - f(r1), slopes[0])
        expected.append((image - reference) * (w[0] @ g))
    found, _ = explained(model, x, references)
    assert relative(found, expected) < TOLERANCE[dtype]
    assert np.all(found[1] == 0)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("axes", [2, 3])
def test_max_pooling_by_hand(axes: int, dtype: str) -> None:
    """Δ of a maximum goes to the winner of whichever is larger, image or reference."""
    pool = {2: nn.MaxPool2D, 3: nn.MaxPool3D}[axes](2)
    model = drawn(nn.Sequential(pool, nn.Flatten(), nn.Linear(2 * 2**axes, 4)), dtype)
    x, references = pairs((2, *[4] * axes), dtype)
    weight = model[2].weight.numpy().astype(np.float64)
    expected = np.zeros(x.shape)
    for n in range(2):
        image, reference = x[n].astype(np.float64), references[n].astype(np.float64)
        for k, (c, *out) in enumerate(np.ndindex(2, *[2] * axes)):
            window = (c, *(slice(2 * i, 2 * i + 2) for i in out))
            change = image[window].max() - reference[window].max()
            larger = image if change >= 0 else reference
            inner = np.unravel_index(np.argmax(larger[window]), [2] * axes)
            winner = (n, c, *(2 * i + a for i, a in zip(out, inner, strict=True)))
            expected[winner] += change * weight[k, LABELS[n]]
    found, _ = explained(model, x, references)
    assert relative(found, expected) < TOLERANCE[dtype]


class Branches(nn.Layer):
    """A residual sum and a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2D(3, 3, 3, padding=1), nn.Conv2D(3, 3, 3, padding=1)
        self.last = nn.Linear(6, 5)

    def forward(self, x: Any) -> Any:
        y = F.relu(self.one(x)) + x
        z = paddle.concat([F.sigmoid(self.two(y)), y], axis=1)
        return self.last(F.relu(z).mean(axis=[2, 3]))


def convolutional(activation: Any, pool: Any) -> Any:
    return nn.Sequential(
        nn.Conv2D(3, 6, 3, padding=1),
        nn.BatchNorm2D(6),
        activation,
        pool,
        nn.Conv2D(6, 6, 3, groups=2, stride=2, padding=1),
        activation,
        nn.Flatten(),
        nn.Linear(54 if not isinstance(pool, nn.Identity) else 150, 5),
    )


MODELS: dict[str, Callable[[], Any]] = {
    "max-pooling": lambda: convolutional(nn.ReLU(), nn.MaxPool2D(2)),
    "overlapping": lambda: convolutional(nn.ReLU(), nn.MaxPool2D(3, stride=2, padding=1)),
    "same, one side": lambda: convolutional(nn.ReLU(), nn.MaxPool2D(3, 2, "SAME", ceil_mode=True)),
    "same, both sides": lambda: convolutional(nn.ReLU(), nn.MaxPool2D(4, 2, "SAME")),
    "average pooling": lambda: convolutional(nn.Sigmoid(), nn.AvgPool2D(2)),
    "tanh": lambda: convolutional(nn.Tanh(), nn.Identity()),
    "relu6": lambda: convolutional(nn.ReLU6(), nn.MaxPool2D(2)),
    "hard-swish": lambda: convolutional(nn.Hardswish(), nn.MaxPool2D(2)),
    "leaky": lambda: convolutional(nn.LeakyReLU(0.2), nn.AvgPool2D(2)),
    "branches": Branches,
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_sums_to_the_difference(name: str, dtype: str) -> None:
    model = drawn(MODELS[name](), dtype)
    x, references = pairs((3, 10, 10), dtype)
    found, error = explained(model, x, references)
    change = change_of(model, x, references)
    # One |Δx| below the rule's threshold of 1e-6 is worth about that much of the sum.
    tolerance = {"float32": 1e-5, "float64": 1e-6}[dtype]
    np.testing.assert_allclose(found.sum((1, 2, 3)), change, rtol=tolerance)
    assert np.all(error < 1e-5)
    for k in range(2):
        one = attributed(
            it.DeepLIFTInterpreter(model),
            x[k : k + 1],
            np.array(LABELS[k : k + 1]),
            baselines=references[k : k + 1],
        )
        assert relative(one.values[0], found[k]) < tolerance
    # Image and reference exchanged, it is the negative: no multiplier knows which is which.
    swapped, _ = explained(model, references, x)
    assert relative(swapped, -found) < 1e-4


@pytest.mark.parametrize("activation", ["ReLU", "Sigmoid"])
def test_one_hidden_layer_is_integrated_gradients(activation: str) -> None:
    model = drawn(
        nn.Sequential(nn.Linear(6, 8), getattr(nn, activation)(), nn.Linear(8, 4)), "float64"
    )
    x, references = pairs((6,), "float64")
    found, _ = explained(model, x, references)
    slope = {
        "ReLU": lambda z: (z > 0).astype(float),
        "Sigmoid": lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2,
    }[activation]
    w1, b1, w2, _ = (p.numpy() for p in model.parameters())
    # Midpoints of the path: ReLU's kinks leave an error of one step in its place.
    steps = 20_000
    at = (np.arange(steps) + 0.5)[:, None] / steps
    for k in range(2):
        path = references[k] + at * (x[k] - references[k])
        gradients = slope(path @ w1 + b1) * w2[:, LABELS[k]] @ w1.T
        expected = (x[k] - references[k]) * gradients.mean(0)
        assert relative(found[k], expected) < (1e-3 if activation == "ReLU" else 1e-7)


def test_a_linear_model_is_weight_times_change() -> None:
    model = drawn(nn.Sequential(nn.Flatten(), nn.Linear(12, 4)))
    x, references = pairs((3, 2, 2))
    weight = model[1].weight.numpy()[:, LABELS].T.reshape(x.shape)
    assert relative(explained(model, x, references)[0], (x - references) * weight) < 1e-6


def test_baselines() -> None:
    model = drawn(MODELS["max-pooling"]())
    model.preprocessing = Preprocessing(None, None, mean=(0.3, 0.5, 0.7), std=(0.2, 0.25, 0.3))
    x, _ = pairs((3, 10, 10))
    low, high = model.preprocessing.bounds()
    interpreter = it.DeepLIFTInterpreter(model)

    def found(baselines: Any) -> Array:
        return np.asarray(attributed(interpreter, x, np.array(LABELS), baselines=baselines).values)

    same = {
        "black": np.broadcast_to(low[0], x.shape[1:]),
        "white": np.broadcast_to(high[0], x.shape[1:]),
        "mean": np.broadcast_to(x.mean((2, 3), keepdims=True), x.shape),  # of each image
    }
    for name, array in same.items():
        assert relative(found(name), found(array.astype("float32"))) < 1e-5
    assert relative(found("black"), found("white")) > 0.1
    own = np.stack([x[1], x[0]])
    assert relative(found(own)[0].sum(), change_of(model, x, own)[0]) < 1e-5
    with pytest.raises(InputError, match="one baseline per image"):
        found(["black", "white"])


class Function(nn.Layer):
    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function, self.first = function, nn.Conv2D(3, 4, 3)
        self.last = nn.Linear(4, 5)

    def forward(self, x: Any) -> Any:
        return self.last(self.function(self.first(x)).mean(axis=[2, 3]))


@pytest.mark.parametrize(
    ("function", "operation"),
    [
        (lambda x: F.log_softmax(x, axis=1), "log_softmax"),
        (paddle.exp, "exp"),
        (lambda x: 1 / (1 + x * x), "divide"),
        (lambda x: F.group_norm(x, 2), "group_norm"),
        (lambda x: F.adaptive_max_pool2d(x, 2), "max_pool2d_with_index"),
        (lambda x: F.max_pool2d(x, 2, return_mask=True)[0], "max_pool2d_with_index"),
        (lambda x: paddle.abs(x), "abs"),
        (lambda x: paddle.maximum(x, -x), "maximum"),
    ],
)
def test_operations_without_a_rule_are_refused(function: Any, operation: str) -> None:
    model = drawn(Function(function))
    with pytest.raises(UnsupportedModelError, match=operation):
        explained(model, *pairs((3, 10, 10)))
