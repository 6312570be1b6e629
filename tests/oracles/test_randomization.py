"""The sanity checks: what happens to a map when the network that it explains is made random."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpretdl import evaluator as ev
from interpretdl.errors import InputError, LayerNotFoundError
from interpretdl.evaluator.randomization import rank_correlation
from interpretdl.interpreter import (
    GradCAMInterpreter,
    GradientInterpreter,
    GuidedBPInterpreter,
    IntegratedGradientsInterpreter,
    Interpreter,
)
from interpretdl.probe import Probe
from tests.probes import in_eval

_spec = importlib.util.spec_from_file_location(
    "digits", Path(__file__).resolve().parents[1] / "digits.py"
)
assert _spec is not None
assert _spec.loader is not None
_digits = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_digits)
digits_model = _digits.digits_model


class InputTimes(Interpreter):
    """A map that depends on the image and not on the model: x to a power."""

    power = 1

    def attribute(self, x: Any, target: Any) -> Any:
        return x**self.power


def test_rank_correlation_against_scipy() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, (2, 3, 5, 5)).astype(float)  # many equal values
    a[2] = 1.0
    expected = [spearmanr(p.ravel(), q.ravel()).statistic for p, q in zip(a[:2], b, strict=False)]
    assert rank_correlation(a, b)[:2] == pytest.approx(expected)
    assert np.isnan(rank_correlation(a, b)[2])


def test_a_map_that_does_not_depend_on_the_model_keeps_its_ranks(toy: Callable[..., Any]) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    for mode in ("cascading", "independent"):
        found = ev.ModelRandomization(mode=mode).measure(
            x, x, interpreter=InputTimes(toy()), signed=False
        )
        assert found.values.tolist() == pytest.approx([1, 1])
        # from the output on: dense, convolution, batch-norm, convolution
        assert found.ticks == ("8", "4", "1", "0")
        assert found.curves["rank correlation"].shape == (2, 4)


def test_independent_layers_are_put_back_one_by_one(toy: Callable[..., Any]) -> None:
    """The first layer alone, in the series, is what it is when it is the only one."""
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    method = GradientInterpreter(toy())
    maps = method.explain(x)
    options = {"interpreter": method}
    series = ev.ModelRandomization(mode="independent", layers=["8", "8"])
    curve = series.measure(x, maps, **options).curves["rank correlation"]
    alone = ev.ModelRandomization(mode="independent", layers=["8"]).measure(x, maps, **options)
    assert curve[:, :1] == pytest.approx(alone.curves["rank correlation"])
    with pytest.raises(LayerNotFoundError, match="no layer 'nine'"):
        ev.ModelRandomization(layers=["nine"]).measure(x, maps, **options)
    with pytest.raises(InputError, match="not a function"):
        ev.ModelRandomization(toy()).measure(x, maps, interpreter=lambda z, target: z)


def made_random(layer: Any, rng: Any, deep: bool) -> None:
    """Weights as wide as the old ones; vectors in another order. Parameters first, then buffers."""
    every = [
        *layer.parameters(include_sublayers=deep),
        *(b for b in layer.buffers(include_sublayers=deep) if b.is_floating_point()),
    ]
    for tensor in every:
        old = tensor.numpy()
        fresh = rng.normal(0, old.std() or 1, old.shape)
        tensor.set_value((rng.permutation(old) if old.ndim == 1 else fresh).astype(old.dtype))


@pytest.mark.parametrize("names", [None, ["8", "4"]])
@pytest.mark.parametrize("mode", ["cascading", "independent"])
def test_against_a_plain_loop(mode: Any, names: Any, toy: Callable[..., Any]) -> None:
    from scipy.stats import spearmanr

    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    method = GradientInterpreter(toy())
    maps = method.explain(x, [1, 3])
    found = ev.ModelRandomization(mode=mode, layers=names, n_draws=2, seed=5).measure(
        x, maps, interpreter=method
    )
    every = names or ["8", "4", "1", "0"]
    draws = np.zeros((2, 2, len(every)))
    for draw in range(2):
        model = toy()
        for j, name in enumerate(every):
            model = toy() if mode == "independent" else model
            made_random(
                dict(model.named_sublayers())[name], np.random.default_rng([5, draw, j]), True
            )
            other = GradientInterpreter(model).explain(x, [1, 3]).values
            for i in range(2):
                one, two = (np.abs(v[i]).sum(axis=0).ravel() for v in (maps.values, other))
                draws[draw, i, j] = spearmanr(one, two).statistic
    curve = draws.mean(axis=0)
    assert found.curves["rank correlation"] == pytest.approx(curve, abs=1e-4)
    value = np.abs(curve[:, -1]) if mode == "cascading" else np.abs(curve).mean(axis=1)
    assert found.values == pytest.approx(value, abs=1e-4)
    assert found.axis.tolist() == list(range(len(every)))
    assert found.axis_label.endswith("up to") is (mode == "cascading")


@pytest.mark.parametrize("name", ["1", "2"])
def test_a_layer_that_is_named_is_random_with_all_that_is_in_it(
    name: str, toy: Callable[..., Any]
) -> None:
    """One that only runs others is left out of those that are found, and may be named."""
    from paddle import nn

    model = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(12, 6), nn.Tanh()), nn.Linear(6, 4))
    x = np.random.default_rng(1).normal(size=(2, 3, 2, 2)).astype(np.float32)
    method = GradientInterpreter(in_eval(model))
    maps = method.explain(x, [0, 2])
    found = ev.ModelRandomization().measure(x, maps, interpreter=method)
    assert found.ticks == ("2", "1.0")
    alone = ev.ModelRandomization(layers=[name], seed=3).measure(x, maps, interpreter=method)
    twin = copy.deepcopy(model)
    made_random(twin[int(name)], np.random.default_rng([3, 0, 0]), True)
    other = GradientInterpreter(twin).explain(x, [0, 2])
    heats = (e.heatmap() for e in (maps, other))
    assert alone.curves["rank correlation"][:, 0] == pytest.approx(
        rank_correlation(*heats), abs=1e-4
    )


def test_random_logit_against_a_plain_loop(toy: Callable[..., Any]) -> None:
    """Other classes are drawn by seed and position, none twice."""
    x = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
    method, labels = GradientInterpreter(toy()), [1, 3, 0]
    maps = method.explain(x, labels)
    found = ev.RandomLogit(n_classes=3, seed=2).measure(x, maps, interpreter=method)
    for i, label in enumerate(labels):
        others = [k for k in range(5) if k != label]
        drawn = np.random.default_rng([2, i]).permutation(others)[:3]
        sizes = [
            abs(
                rank_correlation(maps[i].heatmap(), method.explain(x[i : i + 1], int(k)).heatmap())[
                    0
                ]
            )
            for k in drawn
        ]
        assert found.values[i] == pytest.approx(np.mean(sizes), abs=1e-4)
    everyone = ev.RandomLogit(n_classes=4).measure(x, maps, interpreter=method)
    assert np.isfinite(everyone.values).all()
    with pytest.raises(InputError, match="there are 4 others"):
        ev.RandomLogit(n_classes=5).measure(x, maps, interpreter=method)


LOSE = [
    pytest.param(GradientInterpreter, {}, id="gradient"),
    pytest.param(GradientInterpreter, {"times_input": True}, id="gradient times input"),
    pytest.param(
        IntegratedGradientsInterpreter, {"steps": 5, "tolerance": None}, id="integrated gradients"
    ),
    pytest.param(GradCAMInterpreter, {"target_layer_name": "12"}, id="grad_cam"),
]


@pytest.mark.parametrize(("cls", "options"), LOSE)
def test_maps_that_show_what_was_learned_are_lost_with_it(
    digits_model: Any, cls: Any, options: dict[str, Any]
) -> None:
    model, x, _ = digits_model
    method = cls(model)
    before = copy.deepcopy(model.state_dict())
    maps = method.explain(x[:16], **options)
    found = ev.ModelRandomization(n_draws=3).measure(
        x[:16], maps, interpreter=method, options=options
    )
    curve = found.curves["rank correlation"]
    assert abs(np.nanmean(curve[:, -1])) < 0.3
    assert found.mean < 0.3
    for key, value in model.state_dict().items():
        assert np.array_equal(value.numpy(), before[key].numpy())


def test_guided_backprop_keeps_its_map_when_the_network_is_random(digits_model: Any) -> None:
    """It shows edges that any weights find; see docs/evaluators.md."""
    model, x, _ = digits_model
    guided = GuidedBPInterpreter(model)
    found = ev.ModelRandomization(n_draws=3).measure(
        x[:24], guided.explain(x[:24]), interpreter=guided
    )
    curve = np.nanmean(found.curves["rank correlation"], axis=0)
    # half of the network is random, and the map is still the same
    assert (curve[: len(curve) // 2] > 0.5).all()
    assert (curve > 0.3).all()


def test_the_digits_network_has_learned(digits_model: Any) -> None:
    model, x, y = digits_model
    assert x.shape == (360, 1, 16, 16)
    assert (Probe(model).logits(x).argmax(axis=1) == y).mean() > 0.97
