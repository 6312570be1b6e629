"""Gradients that Paddle computes wrongly, or not at all, and that a probe computes rightly.

Those of norms and recurrent layers are in test_layers.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

import interpretdl as it
from interpretdl.probe.operations import cured


class Silu(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.act = nn.Silu()

    def forward(self, x: Any) -> Any:
        return self.act(x).flatten(1)


@pytest.mark.parametrize("composite", [None, "epsilon", "attn_lrp"])
def test_silu_far_below_zero(composite: str | None) -> None:
    """d/dx x·σ(x) = σ(x) (1 + x (1 − σ(x))), and LRP passes relevance on as it is."""
    x = np.array([[-300.0, -89.0, -20.0, -1.0, 0.5, 90.0]], np.float32)
    s = 1 / (1 + np.exp(-x.astype(np.float64)))

    def everything(output: Any) -> Any:
        return output.sum(axis=1)

    if composite is None:
        gradient = it.GradientInterpreter(Silu(), preprocessing=None)
        found, wanted = gradient.explain(x, label=everything).values, s * (1 + x * (1 - s))
    else:
        lrp = it.LRPInterpreter(Silu(), preprocessing=None)
        found = lrp.explain(x, label=everything, composite=composite).values
        wanted = x * s
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("connected", ["both", "places", "values"])
def test_sampling_at_places(connected: str) -> None:
    rng = np.random.default_rng(0)
    values, places = rng.normal(size=(2, 3, 5, 6)), rng.uniform(-1.2, 1.2, (2, 7, 4, 2))
    weights = paddle.to_tensor(rng.normal(size=(2, 3, 7, 4)))

    def score(v: Any, p: Any) -> Any:
        return (F.grid_sample(v, p, align_corners=False) * weights).sum()

    given = {"values": paddle.to_tensor(values), "places": paddle.to_tensor(places)}
    sources = list(given) if connected == "both" else [connected]
    for name in sources:
        given[name].stop_gradient = False
    with cured():
        found = paddle.grad(score(*given.values()), [given[name] for name in sources])
    for name, gradient in zip(sources, found, strict=True):
        for place in rng.integers(0, given[name].shape, (10, given[name].ndim)):
            moved = {key: [t.numpy().copy() for _ in range(2)] for key, t in given.items()}
            for sign, array in zip((1, -1), moved[name], strict=True):
                array[tuple(place)] += sign * 1e-6
            pairs = zip(*moved.values(), strict=True)
            up, down = (float(score(*map(paddle.to_tensor, pair))) for pair in pairs)
            wanted = (up - down) / 2e-6
            assert float(gradient.numpy()[tuple(place)]) == pytest.approx(wanted, abs=1e-7)
