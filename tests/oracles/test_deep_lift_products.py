"""DeepLIFT through products, quotients, softmax and layer-norm, against NumPy and its sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from numpy.typing import NDArray
from paddle import nn

import interpretdl as it
from interpretdl.errors import UnsupportedModelError
from tests.oracles.rules_numpy import relative
from tests.oracles.test_deep_lift import LABELS, TOLERANCE, change_of, drawn, explained, pairs
from tests.probes import attributed

Array = NDArray[Any]

# -- multipliers by hand ---------------------------------------------------------------------------


def shapley(f: Callable[[Array, Array], Array], a: Array, b: Array) -> tuple[Array, Array]:
    """What of f(a, b) - f(a₀, b₀) is a's and b's, over Δa and Δb: the mean of the two orders.

    Args:
        a, b: [2, …], of the image and of the reference.
    """
    of_a = (f(a[0], b[1]) - f(a[1], b[1]) + f(a[0], b[0]) - f(a[1], b[0])) / 2
    of_b = (f(a[1], b[0]) - f(a[1], b[1]) + f(a[0], b[0]) - f(a[0], b[1])) / 2
    return of_a / (a[0] - a[1]), of_b / (b[0] - b[1])


def through_product(z: Array, g: Array) -> Array:
    m, n = shapley(lambda a, b: a * b, z[:, :4], z[:, 4:])
    return np.concatenate([g * m, g * n])


def through_quotient(z: Array, g: Array) -> Array:
    m, n = shapley(lambda a, b: a / b, z[:, :4], z[:, 4:])
    return np.concatenate([g * m, g * n])


def through_matmul(z: Array, g: Array) -> Array:
    a, b = z[:, :4].reshape(2, 2, 2), z[:, 4:].reshape(2, 2, 2)
    result = np.zeros((2, 2, 2))
    for i, j, k in np.ndindex(2, 2, 2):  # each of the products a_ij b_jk that are summed
        m, n = shapley(lambda a, b: a * b, a[:, i, j], b[:, j, k])
        result[0, i, j] += g.reshape(2, 2)[i, k] * m
        result[1, j, k] += g.reshape(2, 2)[i, k] * n
    return result.reshape(8)


def through_softmax(z: Array, g: Array) -> Array:
    s = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    mean = (s[0] - s[1]) / (np.log(s[0]) - np.log(s[1]))
    return np.array([mean[i] * (g[i] - (mean * g).sum() / mean.sum()) for i in range(8)])


WEIGHT = np.linspace(-1, 2, 8)


def through_layer_norm(z: Array, g: Array) -> Array:
    """Step by step: the mean off, the square, its mean, 1/√, the product."""
    c = z - z.mean(axis=1, keepdims=True)
    v = (c * c).mean(axis=1) + 1e-5
    r = np.repeat((1 / np.sqrt(v))[:, None], 8, axis=1)
    m, n = shapley(lambda a, b: a * b, c, r)
    g = g * WEIGHT
    of_v = (g * n).sum() * (r[0, 0] - r[1, 0]) / (v[0] - v[1])
    of_square = (c[0] ** 2 - c[1] ** 2) / (c[0] - c[1]) / 8
    of_c = g * m + of_v * of_square
    return np.asarray(of_c - of_c.mean())


class Made(nn.Layer):
    """A dense layer, a function of [N, 8], a dense layer."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function, self.before = function, nn.Linear(6, 8)
        with paddle.no_grad():
            width = function(paddle.ones([2, 8])).shape[1]
        self.after = nn.Linear(width, 4)

    def forward(self, x: Any) -> Any:
        return self.after(self.function(self.before(x)))


def norm(x: Any) -> Any:
    weight = paddle.to_tensor(WEIGHT, dtype=x.dtype)
    return F.layer_norm(x, [8], weight, weight / 3)


def written_norm(x: Any) -> Any:
    x = x - x.mean(axis=-1, keepdim=True)
    x = x / paddle.sqrt((x * x).mean(axis=-1, keepdim=True) + 1e-5)
    return x * paddle.to_tensor(WEIGHT, dtype=x.dtype)


def convnexts_norm(x: Any) -> Any:
    centred = x - x.mean(1, keepdim=True)
    variance = centred.pow(2).mean(1, keepdim=True)
    return centred / paddle.sqrt(variance + 1e-5) * paddle.to_tensor(WEIGHT, dtype=x.dtype)


def product(x: Any) -> Any:
    return x[:, :4] * x[:, 4:]


def products_sum(x: Any) -> Any:
    a, b = x[:, :4].reshape([-1, 2, 2]), x[:, 4:].reshape([-1, 2, 2])
    return (a @ b).flatten(1)


BY_HAND: dict[str, tuple[Callable[[Any], Any], Callable[[Array, Array], Array]]] = {
    "product": (product, through_product),
    "quotient": (lambda x: x[:, :4] / x[:, 4:], through_quotient),
    "matmul": (products_sum, through_matmul),
    "softmax": (lambda x: F.softmax(x, axis=-1), through_softmax),
    "softmax of windows": (
        lambda x: F.softmax(x.reshape([-1, 1, 1, 1, 8]), axis=-1).flatten(1),
        through_softmax,
    ),
    "layer-norm": (norm, through_layer_norm),
    "layer-norm, written out": (written_norm, through_layer_norm),
    "layer-norm, ConvNeXt's": (convnexts_norm, through_layer_norm),
}


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_multipliers_by_hand(name: str, dtype: str) -> None:
    function, through = BY_HAND[name]
    model = drawn(Made(function), dtype)
    if name == "quotient":  # not by almost nothing
        model.before.bias.set_value(model.before.bias + 8)
    x, references = pairs((6,), dtype)
    w, bias, last, _ = (p.numpy().astype(np.float64) for p in model.parameters())
    expected = []
    for image, reference, label in zip(x, references, LABELS, strict=True):
        z = np.stack([image, reference]).astype(np.float64) @ w + bias
        expected.append((image - reference) * (w @ through(z, last[:, label])))
    found, error = explained(model, x, references)
    assert relative(found, expected) < 10 * TOLERANCE[dtype]
    assert np.all(error < 10 * TOLERANCE[dtype])


# -- softmax ---------------------------------------------------------------------------------------


def multipliers_of_softmax(x: Array, references: Array) -> Array:
    """[N, K, K] of a softmax of the input itself, by R / Δx."""
    model = nn.Softmax()
    model.eval()
    result = []
    for label in range(x.shape[1]):
        method = it.DeepLIFTInterpreter(model, batch_size=4, output_kind="logits")
        found = attributed(method, x, np.full(len(x), label), baselines=references)
        result.append(found.values / (x - references))
    return np.stack(result, axis=1)


def test_softmax_near_its_reference_is_its_gradient() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 5))
    found = multipliers_of_softmax(x + 1e-5, x)
    s = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    expected = s[:, :, None] * (np.eye(5) - s[:, None])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_constant_added_to_softmax_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    x, references = rng.normal(size=(2, 2, 5))
    found = multipliers_of_softmax(x, references)
    np.testing.assert_allclose(found.sum(axis=2), 0, atol=1e-12)
    np.testing.assert_allclose(multipliers_of_softmax(x + 7, references), found, atol=1e-12)


def test_softmax_where_one_probability_is_almost_all() -> None:
    """200 apart, another class each: exact, and no multiplier is large."""
    x, references = np.zeros((2, 2, 5), np.float32)
    x[:, 0], references[:, 1] = 200, 200
    x[:, 2:], references[:, 2:] = 1, 2
    found = multipliers_of_softmax(x, references)
    assert np.abs(found).max() < 1
    change = np.einsum("nkj,nj->nk", found, x - references)
    np.testing.assert_allclose(change, [[1, -1, 0, 0, 0]] * 2, atol=1e-5)


def test_masked_attention() -> None:
    mask = paddle.to_tensor(np.where(np.tri(8) > 0, 0, -np.inf).astype(np.float32))

    def attend(x: Any) -> Any:
        weights = F.softmax(x[:, :, None] @ x[:, None] + mask, axis=-1)
        return (weights @ x[:, :, None]).squeeze(2)

    found, error = explained(drawn(Made(attend)), *pairs((6,)))
    assert np.isfinite(found).all()
    assert np.all(error < 1e-4)


# -- images in windows -----------------------------------------------------------------------------

# Halves of the 8 as two items each, and the same with an axis of their own.
WINDOWS: dict[str, Callable[[Any], Any]] = {
    "relu": F.relu,
    "softmax": lambda x: F.softmax(x, axis=-1),
    "layer-norm": lambda x: F.layer_norm(x, [4]),
    "square": lambda x: x * x,
    "matmul": lambda x: (x[..., None] @ x[..., None, :]).sum(axis=-1),
    "quotient": lambda x: x / (x * x + 1),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_in_the_first_axis(name: str) -> None:
    f = WINDOWS[name]
    x, references = pairs((6,))
    models = (
        drawn(Made(lambda x: f(x.reshape([-1, 4])).reshape([-1, 8]))),
        drawn(Made(lambda x: f(x.reshape([-1, 2, 4])).reshape([-1, 8]))),
    )
    (found, error), (expected, _) = (explained(model, x, references) for model in models)
    assert relative(found, expected) < 1e-5
    assert np.all(error < 1e-4)


def test_images_along_another_axis_are_refused() -> None:
    model = drawn(Made(lambda x: F.relu(x[:, :6].transpose([1, 0])).transpose([1, 0])))
    with pytest.raises(UnsupportedModelError, match=r"another axis.*relu: \[6, 4\] for 4 images"):
        explained(model, *pairs((6,)))


# -- products sum to the difference ----------------------------------------------------------------


class Bilinear(nn.Layer):
    """Bilinear pooling: products of two activations."""

    def __init__(self, join: Callable[[Any, Any, Any], Any]) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2D(3, 4, 3), nn.Conv2D(3, 4, 3)
        self.bilinear, self.last, self.join = nn.Bilinear(64, 64, 16), nn.Linear(16, 5), join

    def forward(self, x: Any) -> Any:
        x, y = F.relu(self.one(x)).flatten(2), F.relu(self.two(x)).flatten(2)
        return self.last(self.join(self, x, y).flatten(1)[:, :16])


PRODUCTS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "@": lambda m, x, y: x @ y.transpose([0, 2, 1]),
    "matmul": lambda m, x, y: paddle.matmul(x, y, transpose_y=True),
    "bmm": lambda m, x, y: paddle.bmm(x, y.transpose([0, 2, 1])),
    "einsum": lambda m, x, y: paddle.einsum("nip,njp->nij", x, y),
    "*": lambda m, x, y: (x[:, :, None] * y[:, None]).sum(axis=3),
    "multiply": lambda m, x, y: paddle.multiply(x, y).mean(axis=2).tile([1, 4]),
    "bilinear": lambda m, x, y: m.bilinear(x.flatten(1)[:, :64], y.flatten(1)[:, :64]),
    "/": lambda m, x, y: (x / (1 + y)).mean(axis=2).tile([1, 4]),
    "a square": lambda m, x, y: (x * x).mean(axis=2).tile([1, 4]),
    "by name": lambda m, x, y: paddle.multiply(x=x, y=y).mean(axis=2).tile([1, 4]),
    "over the picture": lambda m, x, y: (x * F.sigmoid(y.mean(axis=2, keepdim=True)))[:, :, :4],
}


CONSTANTS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "@ constant": lambda m, x, y: x @ m.last.weight[:1].sum().expand([64, 4]),
    "* constant": lambda m, x, y: (y * m.one.bias[:, None])[:, :, :4],
    "/ constant": lambda m, x, y: (x / (1 + m.one.bias[:, None].abs()))[:, :, :4],
}


@pytest.mark.parametrize("name", [*PRODUCTS, *CONSTANTS])
def test_products_sum_to_the_difference(name: str) -> None:
    model = Bilinear({**PRODUCTS, **CONSTANTS}[name])
    x, references = pairs((3, 10, 10))
    found, _ = explained(drawn(model), x, references)
    np.testing.assert_allclose(
        found.sum((1, 2, 3)), change_of(model, x, references), rtol=1e-4, atol=1e-5
    )
