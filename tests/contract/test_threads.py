"""Another thread runs the model while this one explains it: as if nothing were there."""

from __future__ import annotations

import functools
import threading
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

import interpretdl as it
from interpretdl import ClassScore, Probe, registry
from interpretdl.testing import differences, state_of

Array = Any


class Net(nn.Layer):
    """Notes how it is run; its blocks are called in all the ways that models call theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4)
        self.blocks = nn.LayerList([nn.Sequential(nn.Conv2D(4, 4, 3), nn.ReLU())])
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(4, 5)
        self.last: Any = None

    def forward(self, x: Any) -> Any:
        self.last = x
        for block in [self.conv, self.norm, *self.blocks]:
            x = block(x)
        return self.fc(self.drop(F.relu(x).mean(axis=[2, 3])))


def network(kind: type[Net] = Net) -> Net:
    paddle.seed(3)
    model = kind()
    model.eval()
    return model


def images(n: int = 2) -> Array:
    return np.random.default_rng(1).normal(size=(n, 3, 12, 12)).astype(np.float32)


def elsewhere(work: Callable[[], Any]) -> Any:
    """What `work` gives in another thread."""
    found: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    if errors:
        raise errors[0]
    return found[0]


CALLS: dict[str, Callable[[Probe, Any], Any]] = {
    "scores": lambda p, target: p.scores(images(), target),
    "an edit": lambda p, target: p.scores(images(), target, edit={"conv": lambda y: y * 0}),
    "gradients": lambda p, target: p.gradients(images(), target),
    "gradients at a layer": lambda p, target: p.gradients(images(), target, at="blocks.0"),
    "a composite": lambda p, target: p.gradients(
        images(), target, rules=it.rules.composite_of("epsilon_alpha2_beta1")
    ),
    "guided": lambda p, target: p.gradients(
        images(), target, rules=it.rules.composite_of("guided")
    ),
}


@pytest.mark.filterwarnings("ignore:When training, we now always track:UserWarning")
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("call", CALLS)
def test_another_thread_finds_the_model_as_it_was(call: str, mode: str) -> None:
    """In the middle of a run: modes, parameters, hooks, attributes, outputs and operations."""
    model, x = network(), paddle.to_tensor(images(4))
    getattr(model, mode)()
    if mode == "train":
        model.drop.p = 0.0  # for outputs that can be compared
        model.norm._momentum = 1.0  # which leaves the running statistics
    expected, before = model(x).numpy(), state_of(model)
    kept, seen = model.last, []

    def look() -> None:
        seen.append(differences(before, state_of(model)))
        assert model.last is kept
        output = model(x)
        assert not output.stop_gradient
        np.testing.assert_array_equal(output.numpy(), expected)
        assert model.last is x

    def target(output: Any) -> Any:
        elsewhere(look)
        model.last = kept
        return output[:, 1]

    CALLS[call](Probe(model), target)
    assert seen
    assert not any(seen), seen


class Hidden:
    """An object that is no layer and holds some."""

    def __init__(self, *layers: Any) -> None:
        self.layers = layers

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


def _list(net: Any) -> Any:
    net.steps = [net.conv, net.drop]
    return lambda self, x: self.steps[1](self.steps[0](x))


def _closure(net: Any) -> Any:
    net.step = lambda x: F.dropout(net.conv(x), 0.5, training=net.training)
    return lambda self, x: self.step(x)


def _bound(net: Any) -> Any:
    net.step = net.conv.forward
    return lambda self, x: self.drop(self.step(x))


def _partial(net: Any) -> Any:
    net.step = functools.partial(lambda layers, x: layers[1](layers[0](x)), (net.conv, net.drop))
    return lambda self, x: self.step(x)


def _object(net: Any) -> Any:
    net.step = Hidden(net.conv, net.drop)
    return lambda self, x: self.step(x)


def _outside(net: Any) -> Any:
    steps = [net.conv, net.drop]
    return lambda self, x: steps[1](steps[0](x))


def _parent(net: Any) -> Any:
    net.conv.parents = [net]
    return lambda self, x: self.conv.parents[0].drop(self.conv(x))


@pytest.mark.parametrize("way", [_list, _closure, _bound, _partial, _object, _outside, _parent])
def test_layers_that_are_reached_another_way(way: Callable[[Any], Any]) -> None:
    """Called from lists, closures, other objects: in eval mode, and hooks find them."""
    model = network()
    x = images()
    features = model.conv(paddle.to_tensor(x)).numpy()
    expected = model.fc(paddle.to_tensor(features.mean((2, 3)))).numpy()
    forward = way(model)
    model.forward = types.MethodType(
        lambda self, x: self.fc(forward(self, x).mean(axis=[2, 3])), model
    )
    model.train()
    before = state_of(model)
    found = Probe(model).forward(x, layers="conv" if way is not _bound else "fc:input")
    np.testing.assert_allclose(found.outputs, expected, rtol=1e-5, atol=1e-6)
    if way is not _bound:
        np.testing.assert_allclose(found.activations["conv"], features, rtol=1e-5, atol=1e-6)
    assert differences(before, state_of(model)) == []


def test_what_a_layer_counts_is_for_its_owner_alone() -> None:
    class Counts(Net):
        calls = 0

        def forward(self, x: Any) -> Any:
            self.calls += 1
            return super().forward(x)

    model = network(Counts)
    Probe(model).gradients(images(), ClassScore(1))
    assert model.calls == 0
    model(paddle.to_tensor(images()))
    assert model.calls == 1


def test_a_server_runs_the_model_while_it_is_explained() -> None:
    """Every output and every map is what it is without the other thread."""
    model, x = network(), images(1)
    batches = [paddle.to_tensor(images(1) * scale) for scale in (1, 2, 3)]
    with paddle.no_grad():
        expected = [model(batch).numpy() for batch in batches]
    names = ("gradient", "grad_cam", "lrp", "guided_bp", "ablation_cam", "integrated_gradients")
    few = {"integrated_gradients": {"steps": 4}}
    methods = [(registry.find(name).cls(model), few.get(name, {})) for name in names]

    def maps() -> list[Array]:
        return [each.explain(x, label=1, **options).values for each, options in methods]

    alone, stop, wrong, served = maps(), threading.Event(), [], [0]

    def serve() -> None:
        with paddle.no_grad():
            while not stop.is_set():
                for batch, output in zip(batches, expected, strict=True):
                    served[0] += 1
                    if not np.array_equal(model(batch).numpy(), output):
                        wrong.append(served[0])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        for _ in range(5):
            for found, map_ in zip(maps(), alone, strict=True):
                np.testing.assert_array_equal(found, map_)
    finally:
        stop.set()
        thread.join(60)
    assert served[0] > 10
    assert not wrong


def test_two_threads_explain_one_model() -> None:
    model, x = network(), images(1)
    cam, lrp = it.GradCAMInterpreter(model), it.LRPInterpreter(model)
    expected = [m.explain(x, label=1).values for m in (cam, lrp)]
    found: list[Array] = []
    workers = [
        threading.Thread(target=lambda m=m: found.append((m, m.explain(x, label=1).values)))
        for m in (cam, lrp) * 3
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(found) == 6
    for method, heatmap in found:
        np.testing.assert_array_equal(heatmap, expected[method is lrp])
