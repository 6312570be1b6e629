"""The first layer's rule on models that do something before their first layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

import interpretdl as it
from interpretdl import Probe
from interpretdl.rules import Flat, Rule, WSquare, ZBox, ZPlus, lrp_composite
from interpretdl.rules.linear_map import CONVOLUTION, DENSE
from tests.oracles.lrp_by_hand import LABELS, PREPROCESSING, images, network
from tests.oracles.rules_numpy import Array, relative
from tests.probes import Run

LOW, HIGH = PREPROCESSING.bounds()
MEAN, STD = (np.float32(v).reshape(1, 3, 1, 1) for v in (PREPROCESSING.mean, PREPROCESSING.std))
FIRST: dict[str, Callable[[], Rule]] = {
    "z-box": lambda: ZBox(LOW, HIGH),
    "w2": WSquare,
    "flat": Flat,
}


def relevance(model: Any, x: Array, first: Rule, rule: Rule | None = None) -> Array:
    every = dict.fromkeys((CONVOLUTION, DENSE), rule or ZPlus())
    rules = lrp_composite("tested", layers=every, first=first)
    return np.asarray(Probe(model).gradients(x, it.ClassScore(LABELS), rules=rules).relevance)


def before(function: Callable[[Any], Any]) -> Any:
    """The network, with a function before it."""
    return Run(lambda self, x: self.inner(function(x)), inner=network())


class Counting(nn.Layer):
    """The network, which asks for its batch's size first and needs it later."""

    def __init__(self, tell: Callable[[int], None] = lambda n: None) -> None:
        super().__init__()
        self.inner, self.tell = network(), tell

    def forward(self, x: Any) -> Any:
        n = x.shape[0]
        self.tell(n)
        return self.inner[7](self.inner[:6](x).reshape([n, 20]))


PRELUDES: dict[str, Callable[[], Any]] = {
    "its batch": Counting,
    "adds for its batch": lambda: before(lambda x: x + paddle.zeros([x.shape[0], 1, 1, 1])),
    "rows apart": lambda: before(lambda x: paddle.stack([x[i] for i in range(x.shape[0])])),
    "its size": lambda: before(lambda x: x.reshape([*x.shape[:2], -1]).reshape(x.shape)),
}


@pytest.mark.parametrize("prelude", PRELUDES)
@pytest.mark.parametrize("first", FIRST)
def test_what_comes_before_may_read_the_batch(prelude: str, first: str) -> None:
    x = images()
    found = relevance(PRELUDES[prelude](), x, FIRST[first]())
    assert relative(found, relevance(network(), x, FIRST[first]())) < 1e-6


def test_a_model_sees_its_batch_in_every_run() -> None:
    seen: list[int] = []
    model = Counting(seen.append)
    interpreter = it.LRPInterpreter(model, preprocessing=PREPROCESSING, batch_size=3)
    interpreter.explain(images(), LABELS)
    assert {3} <= set(seen) <= {1, 3}  # one image shows what the output is like
    assert seen.count(1) <= 1


@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("how", ["function", "batch-norm"])
def test_a_model_that_normalises_its_pixels(first: str, how: str) -> None:
    """Pixels in [0, 1] and a normalising model: the map of normalised pixels and a plain model."""
    x = images()
    pixels = x * STD + MEAN
    if how == "function":
        model = before(lambda p: (p - paddle.to_tensor(MEAN)) / paddle.to_tensor(STD))
    else:
        norm = nn.BatchNorm2D(3, epsilon=0.0, weight_attr=False, bias_attr=False)
        norm._mean.set_value(MEAN.reshape(3))
        norm._variance.set_value(STD.reshape(3) ** 2)
        model = nn.Sequential(norm, network())
        model.eval()
    box = ZBox(0.0, 1.0) if first == "z-box" else FIRST[first]()
    assert relative(relevance(model, pixels, box), relevance(network(), x, FIRST[first]())) < 1e-4


@pytest.mark.parametrize("first", FIRST)
def test_a_model_that_pads(first: str) -> None:
    """A border of zeros from the model is the convolution's own padding."""
    inner = network()
    inner[0]._updated_padding = [0, 0]
    model = Run(lambda self, x: self.inner(nn.functional.pad(x, [1] * 4)), inner=inner)
    found = relevance(model, images(), FIRST[first]())
    assert relative(found, relevance(network(), images(), FIRST[first]())) < 1e-5


class Stems(nn.Layer):
    """One convolution, or two with its numbers, on the image and on something made of it."""

    def __init__(self, join: Callable[[Any, Any, Any], Any], shared: bool) -> None:
        super().__init__()
        self.one = nn.Conv2D(3, 3, 3, padding=1)
        self.other = self.one if shared else nn.Conv2D(3, 3, 3, padding=1)
        self.last = nn.Linear(3, 4)
        rng = np.random.default_rng(4)
        for parameter in self.one.parameters() + self.last.parameters():
            parameter.set_value(rng.normal(size=parameter.shape).astype("float32"))
        for mine, its in zip(self.other.parameters(), self.one.parameters(), strict=True):
            mine.set_value(its.numpy())
        self.join = join
        self.eval()

    def forward(self, x: Any) -> Any:
        return self.last(nn.functional.relu(self.join(self, x, self.one(x))).mean(axis=[2, 3]))


STEMS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "one after the other": lambda m, x, y: m.other(nn.functional.relu(y)),
    "side by side": lambda m, x, y: y + m.other(x.flip([3])),
}


@pytest.mark.parametrize("name", STEMS)
@pytest.mark.parametrize("first", FIRST)
def test_a_first_layer_that_runs_twice(name: str, first: str) -> None:
    """The rule of the first layer is for what sees the image, not for what has the layer's name."""
    shared, apart = (
        relevance(Stems(STEMS[name], shared), images(), FIRST[first]()) for shared in (True, False)
    )
    assert relative(shared, apart) < 1e-6
    if name == "side by side":  # both are first, and no relevance is lost
        model = Stems(STEMS[name], True)
        model.one.bias.set_value(np.zeros(3, np.float32))
        score = (
            Probe(model).scores(images(), it.ClassScore(LABELS)) - model.last.bias.numpy()[LABELS]
        )
        rules = lrp_composite("tested", layers={DENSE: it.rules.Epsilon(0)}, first=FIRST[first]())
        found = Probe(model).gradients(images(), it.ClassScore(LABELS), rules=rules).relevance
        np.testing.assert_allclose(found.sum((1, 2, 3)), score, rtol=1e-4)


def test_the_image_beside_its_first_layer() -> None:
    """A shortcut around the first layer: what it carries has the plain share."""
    model = Stems(lambda m, x, y: x + y, True)
    model.one.bias.set_value(np.zeros(3, np.float32))
    rules = lrp_composite("tested", layers={DENSE: it.rules.Epsilon(0)}, first=ZBox(LOW, HIGH))
    x, score = images(), it.ClassScore(LABELS)
    found = Probe(model).gradients(x, score, rules=rules).relevance
    whole = Probe(model).scores(x, score) - model.last.bias.numpy()[LABELS]
    np.testing.assert_allclose(found.sum((1, 2, 3)), whole, rtol=1e-4)


def test_inputs_that_are_no_pictures() -> None:
    """Without a range there is no box: the first layer has the rule of its kind."""
    rng = np.random.default_rng(2)
    dense = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 4))
    volume = nn.Sequential(nn.Conv3D(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 4))
    for model, shape, kind in ((dense, (3, 7), "epsilon"), (volume, (3, 2, 4, 4, 4), "gamma")):
        for parameter in model.parameters():
            parameter.set_value(rng.normal(size=parameter.shape).astype("float32"))
        model.eval()
        x = rng.normal(size=shape).astype("float32")
        interpreter = it.LRPInterpreter(model, preprocessing=None)
        found = interpreter.explain(x, LABELS)
        assert found.values.shape == shape
        first = {"epsilon": it.rules.Epsilon(), "gamma": it.rules.Gamma()}[kind]
        rules = lrp_composite("same", layers={CONVOLUTION: first, DENSE: it.rules.Epsilon()})
        same = Probe(model).gradients(x, it.ClassScore(LABELS), rules=rules)
        np.testing.assert_array_equal(found.values, same.relevance)
        audit = interpreter.audit(x, LABELS)
        np.testing.assert_allclose(audit.start - audit.absorbed, audit.input, rtol=1e-4, atol=1e-4)
        with pytest.raises(it.InputError, match="needs low= and high="):
            interpreter.explain(x, LABELS, composite=lrp_composite("own", first=ZBox()))
