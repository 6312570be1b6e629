"""Guided backpropagation and deconvolution against a backward pass in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

import interpretdl as it
from interpretdl import Probe
from interpretdl.errors import UnsupportedModelError
from interpretdl.rules import COMPOSITES
from tests.oracles import rules_numpy as oracle
from tests.oracles.rules_numpy import Array, relative
from tests.probes import attributed

SHAPE, LABELS = (3, 5, 5), [1, 3]
METHODS = {"guided": it.GuidedBPInterpreter, "deconvnet": it.DeconvnetInterpreter}


class Network(nn.Layer):
    """Convolution, ReLU, convolution, ReLU, dense; the ReLU as a function of (model, place, x)."""

    def __init__(self, relu: Callable[[Any, int, Any], Any], positive: bool = False) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2D(3, 4, 3, padding=1), nn.Conv2D(4, 6, 3)
        self.last = nn.Linear(54, 5)
        rng = np.random.default_rng(6)
        for parameter in self.parameters():
            values = rng.normal(size=parameter.shape)
            parameter.set_value((abs(values) if positive else values).astype("float32"))
        self.layer = nn.ReLU()  # for those who use one twice
        self.layers = nn.LayerList([nn.ReLU(), nn.ReLU()])
        self.sixes = nn.LayerList([nn.ReLU6(), nn.ReLU6()])
        self.fused = nn.LayerList([neutral(c) for c in (4, 6)])
        self.relu = relu
        self.eval()

    def forward(self, x: Any) -> Any:
        x = self.relu(self, 0, self.one(x))
        return self.last(self.relu(self, 1, self.two(x)).flatten(1))


def neutral(channels: int) -> Any:
    """Batch-norm that changes nothing, with a ReLU fused into it."""
    norm = nn.BatchNorm(channels, act="relu", epsilon=1e-5)
    norm._variance.set_value(np.full(channels, 1 - 1e-5, np.float32))
    return norm


RELUS: dict[str, Callable[[Any, int, Any], Any]] = {
    "layers": lambda m, i, x: m.layers[i](x),
    "functions": lambda m, i, x: F.relu(x),
    "one layer twice": lambda m, i, x: m.layer(x),
    "layer, function": lambda m, i, x: F.relu(x) if i else m.layer(x),
    "fused": lambda m, i, x: m.fused[i](x),
    "another name": lambda m, i, x: paddle.nn.functional.activation.relu(x),
    "engine": lambda m, i, x: paddle._C_ops.relu(x),
}


class ByHand:
    """The network with batch of one in NumPy."""

    def __init__(self, **options: Any) -> None:
        model = Network(RELUS["layers"], **options)
        model.to(dtype="float64")
        self.one = oracle.dense(lambda x: model.one(x).flatten(1), SHAPE)
        self.two = oracle.dense(lambda x: model.two(x).flatten(1), (4, 5, 5))
        self.last = oracle.dense(model.last, (54,))

    def backward(self, x: Array, label: int, rule: str, top: float = np.inf) -> Array:
        """Gradient [C, H, W]; ReLUs end at `top`."""

        def through(y: Array, g: Array) -> Array:
            inside = (y > 0) & (y < top)
            if rule == "gradient":
                return g * inside
            return g * (g > 0) * (inside if rule == "guided" else 1)

        (w1, b1), (w2, b2), (w3, _) = self.one, self.two, self.last
        y1 = x.astype(np.float64).reshape(-1) @ w1 + b1
        y2 = np.clip(y1, 0, top) @ w2 + b2
        g = through(y2, w3[:, label])
        return (w1 @ through(y1, w2 @ g)).reshape(SHAPE)


def images(dtype: str = "float32") -> Any:
    return np.random.default_rng(7).normal(size=(2, *SHAPE)).astype(dtype)


def explained(model: Any, rule: str, x: Any) -> Array:
    # Both images in one run; without batch_size the first one would run alone.
    method = METHODS[rule](model, batch_size=2)
    return np.asarray(attributed(method, x, np.array(LABELS)).values)


@pytest.mark.parametrize("relu", RELUS)
@pytest.mark.parametrize("rule", METHODS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-9)])
def test_backward_by_hand(relu: str, rule: str, dtype: str, tolerance: float) -> None:
    by_hand, x = ByHand(), images(dtype)
    expected = [by_hand.backward(*one, rule) for one in zip(x, LABELS, strict=True)]
    model = Network(RELUS[relu])
    model.to(dtype=dtype)
    if relu == "fused" and dtype == "float64":
        tolerance = 1e-6  # a variance of 1 - 1e-5 is not exact in float32
    assert relative(explained(model, rule, x), expected) < tolerance
    method = METHODS[rule](model)
    singles = [attributed(method, x[k : k + 1], LABELS[k]).values[0] for k in range(2)]
    assert relative(singles, expected) < tolerance


@pytest.mark.parametrize("rule", METHODS)
def test_relu6(rule: str) -> None:
    by_hand, x = ByHand(), images()
    expected = [by_hand.backward(*one, rule, 6.0) for one in zip(x, LABELS, strict=True)]
    found = explained(Network(lambda m, i, y: m.sixes[i](y)), rule, x)
    assert relative(found, expected) < 1e-5


@pytest.mark.parametrize("rule", METHODS)
def test_a_relu_of_a_constant(rule: str) -> None:
    """No gradient passes there, and no rule is needed: the bias could have been written so."""
    plain, model, x = Network(RELUS["functions"]), Network(RELUS["functions"]), images()
    shift = np.random.default_rng(3).normal(size=(1, 4, 1, 1)).astype(np.float32)
    model.shift = model.create_parameter([1, 4, 1, 1])
    model.shift.set_value(shift)
    model.relu = lambda m, i, y: F.relu(y if i else y + F.relu(m.shift))
    plain.one.bias.set_value(plain.one.bias.numpy() + np.maximum(shift, 0).ravel())
    assert relative(explained(model, rule, x), explained(plain, rule, x)) < 1e-6


@pytest.mark.parametrize("positive", [True, False])
def test_guided_is_the_gradient_where_all_weights_are_positive(positive: bool) -> None:
    x, model = np.abs(images()), Network(RELUS["layers"], positive=positive)
    gradient = Probe(model).gradients(x, it.ClassScore(LABELS)).input
    same = [relative(explained(model, rule, x), gradient) < 1e-6 for rule in METHODS]
    assert same == [positive] * 2


def test_in_place() -> None:
    """What a ReLU writes over is gone, so the deconvnet cannot do without it and says so."""
    model = Network(lambda m, i, x: F.relu_(x))
    by_hand, x = ByHand(), images()
    expected = [by_hand.backward(*one, "guided") for one in zip(x, LABELS, strict=True)]
    assert relative(explained(model, "guided", x), expected) < 1e-5
    with pytest.raises(UnsupportedModelError, match=r"no way through .*relu \(2\)"):
        explained(model, "deconvnet", x)


def test_relus_that_rules_do_not_reach_are_refused() -> None:
    relu = paddle._C_ops.relu  # taken before the rules exchange it
    for function, count in (
        (lambda m, i, x: relu(x), 2),
        (lambda m, i, x: relu(x) if i else m.layer(x), 1),
    ):
        for rule in METHODS:
            with pytest.raises(UnsupportedModelError, match=rf"no way through .*relu \({count}\)"):
                explained(Network(function), rule, images())


@pytest.mark.parametrize("rule", METHODS)
def test_without_relu(rule: str) -> None:
    with pytest.raises(UnsupportedModelError, match="has no ReLU"):
        explained(Network(lambda m, i, x: F.sigmoid(x)), rule, images())


@pytest.mark.parametrize("rule", METHODS)
def test_other_scores(rule: str) -> None:
    """The contrast's gradient sets out as 1 for the class and -1/4 for each of the others."""
    model, x = Network(RELUS["layers"]), images()
    by_hand = ByHand()
    matrix, bias = by_hand.last
    expected = []
    for image, label in zip(x, LABELS, strict=True):
        mixed = matrix @ np.where(np.arange(5) == label, 1, -0.25)
        by_hand.last = (np.stack([mixed] * 5, axis=1), bias)
        expected.append(by_hand.backward(image, label, rule))
    found = attributed(METHODS[rule](model), x, np.array(LABELS), gradient_of="contrast")
    assert relative(found.values, expected) < 1e-5


def test_guided_grad_cam_is_the_product() -> None:
    from interpretdl.data_processor.heatmaps import heatmap_of

    model, x = Network(RELUS["layers"]), images()
    cam = attributed(it.GradCAMInterpreter(model), x, np.array(LABELS), target_layer_name="two")
    found = attributed(
        it.GuidedGradCAMInterpreter(model), x, np.array(LABELS), target_layer_name="two"
    )
    wide = heatmap_of(cam.values, (5, 5), signed=False)[:, None]
    assert np.abs(found.values).max() > 0
    assert relative(found.values, explained(model, "guided", x) * wide) < 1e-6


def test_rules_end_with_the_run() -> None:
    """The same functions before and after, and a gradient without rules is the gradient."""
    model, x = Network(RELUS["functions"]), images()
    by_hand, before = ByHand(), paddle._C_ops.relu
    expected = [by_hand.backward(*one, "gradient") for one in zip(x, LABELS, strict=True)]
    probe = Probe(model)
    probe.gradients(x, it.ClassScore(LABELS), rules=COMPOSITES["guided"])
    assert paddle._C_ops.relu is before
    assert relative(probe.gradients(x, it.ClassScore(LABELS)).input, expected) < 1e-5
