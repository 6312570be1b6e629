"""Networks whose activations are multiplied: gates are constants, and sums in place are sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import nn

import interpretdl as it
from interpretdl import Preprocessing, Probe
from interpretdl.errors import UnsupportedModelError
from interpretdl.rules import composite_of
from tests import paddle_models
from tests.oracles.rules_numpy import relative
from tests.paddle_models import gates
from tests.probes import attributed

Array = NDArray[Any]
LABELS = [1, 4]


def images() -> Array:
    return np.random.default_rng(2).normal(size=(2, 3, 32, 32)).astype(np.float32)


def relevance(model: Any, composite: str) -> Array:
    rules = composite_of(composite, Preprocessing())
    probe = Probe(model, batch_size=2)
    return np.asarray(probe.gradients(images(), it.ClassScore(LABELS), rules=rules).relevance)


class Times(nn.Layer):
    """Times numbers [N, C]."""

    def __init__(self, gate: Array) -> None:
        super().__init__()
        self.gate = paddle.to_tensor(gate[:, :, None, None])

    def forward(self, x: Any) -> Any:
        return x * self.gate


# The last layer of what makes the gate, and the gate of its output.
GATES: dict[str, tuple[type, str, Any]] = {
    "mobilenet_v3": (gates.SEModule, "conv2", lambda y: np.clip(0.2 * y + 0.5, 0, 1)),
    "ghostnet": (gates.SEBlock, "excitation", lambda y: np.clip(y, 0, 1)),
    "rexnet": (gates.SE, "fc.3", lambda y: 1 / (1 + np.exp(-y))),
}


@pytest.mark.parametrize("composite", ["epsilon", "epsilon_gamma_box", "z_plus_box", "attn_lrp"])
@pytest.mark.parametrize("name", GATES)
def test_gates_are_constants(name: str, composite: str) -> None:
    kind, last, gate = GATES[name]
    model, frozen = (paddle_models.MODELS[name][0]() for _ in range(2))
    places = [n for n, layer in model.named_sublayers() if isinstance(layer, kind)]
    assert len(places) >= 2
    found = Probe(model).forward(images(), layers=[f"{place}.{last}" for place in places])
    for place in places:
        values = found.activations[f"{place}.{last}"].reshape(2, -1)
        parent, _, attribute = place.rpartition(".")
        owner = dict(frozen.named_sublayers())[parent]
        setattr(owner, attribute, Times(gate(values).astype(np.float32)))
    first, other = (Probe(m, batch_size=2).logits(images()) for m in (model, frozen))
    assert relative(other, first) < 1e-5
    assert relative(relevance(model, composite), relevance(frozen, composite)) < 1e-4


def outside(self: gates.LinearBottleneck, x: Any) -> Any:
    """The same without writing on what the layers gave."""
    out = self.out(x)
    if not self.joins:
        return out
    return paddle.concat([out[:, : self.inside] + x, out[:, self.inside :]], axis=1)


@pytest.mark.parametrize("composite", ["epsilon", "epsilon_gamma_box", "attn_lrp", "deep_lift"])
def test_sums_in_place_are_sums(composite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> Array:
        model = paddle_models.rexnet()
        if composite != "deep_lift":
            return relevance(model, composite)
        return np.asarray(attributed(it.DeepLIFTInterpreter(model), images(), LABELS).values)

    first = found()
    monkeypatch.setattr(gates.LinearBottleneck, "forward", outside)
    assert relative(first, found()) < 1e-4


def test_products_of_equals_are_refused_without_a_rule() -> None:
    """StarNet's are no gates: none of the two factors is the constant."""
    with pytest.raises(UnsupportedModelError, match=r"multiply \(3\)"):
        relevance(paddle_models.starnet(), "epsilon")
    assert relevance(paddle_models.starnet(), "attn_lrp").any()


class Cut(nn.Layer):
    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Any) -> Any:
        return paddle.clip(x, self.low, self.high)


@pytest.mark.parametrize(("high", "shape"), [(6.0, (4,)), (1.0, (4, 3, 3)), (6.0, (4, 3, 3))])
def test_a_cut_that_is_no_gate_passes_relevance_on(high: float, shape: tuple[int, ...]) -> None:
    """As ReLU6 does, where that is the same function."""
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    weight = np.random.default_rng(1).normal(size=(int(np.prod(shape)), 5)).astype(np.float32)

    def found(act: Any, scale: float) -> Array:
        model = nn.Sequential(nn.Flatten(), nn.Linear(len(weight), 5))
        model[1].weight.set_value(weight)
        model = nn.Sequential(act, model)
        model.eval()
        rules = composite_of("epsilon")
        target = it.ClassScore(LABELS)
        return np.asarray(Probe(model).gradients(x * scale, target, rules=rules).relevance)

    assert np.abs(found(Cut(0, high), high)).max() > 0
    assert relative(found(Cut(0, high), high) * 6 / high, found(nn.ReLU6(), 6.0)) < 1e-4


def test_a_gate_of_channels() -> None:
    class Gated(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.last = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(4, 5)

        def forward(self, x: Any) -> Any:
            return self.last(self.one(x) * paddle.clip(self.two(x), 0, 1))

    paddle.seed(0)
    model = Gated()
    model.eval()
    x = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
    values = {n: p.numpy().astype(np.float64) for n, p in model.named_parameters()}
    gate = np.clip(x @ values["two.weight"] + values["two.bias"], 0, 1)
    weight = values["last.weight"][:, LABELS].T
    expected = x * ((gate * weight) @ values["one.weight"].T)
    found = Probe(model).gradients(x, it.ClassScore(LABELS), rules=composite_of("epsilon"))
    assert relative(found.relevance, expected) < 1e-4
