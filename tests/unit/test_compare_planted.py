"""Methods broken on purpose are ranked last on a model whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from interpretdl import evaluator as ev
from interpretdl.interpreter import (
    DeepLIFTInterpreter,
    GradCAMInterpreter,
    IntegratedGradientsInterpreter,
)
from interpretdl.testing import small_network
from interpretdl.truth.planted import planted

LOGIT = {"gradient_of": "logit"}


class Correct(IntegratedGradientsInterpreter):
    """Integrated gradients from nothing, 0, in few steps."""

    def attribute(self, x: Any, target: Any) -> Any:
        return super().attribute(x, target, steps=10, baselines=np.zeros_like(x[0]))


class Flipped(Correct):
    """The map, with left and right exchanged."""

    def attribute(self, x: Any, target: Any) -> Any:
        found = super().attribute(x, target)
        found.values = found.values[..., ::-1].copy()
        return found


class ClassIgnored(Correct):
    """All classes at once, whichever is asked for."""

    def attribute(self, x: Any, target: Any) -> Any:
        return super().attribute(x, lambda output: output.sum(axis=1))


def test_broken_methods_are_last() -> None:
    """Behind every method that is right, on the truth and on what the model says."""
    problem = next(each for each in planted() if each.name == "keys").take(8)
    model = problem.model
    blank = np.zeros((3, *problem.x.shape[2:]), np.float32)
    right = {
        "integrated gradients": (Correct(model, preprocessing=None), LOGIT),
        "deep lift": (DeepLIFTInterpreter(model, preprocessing=None), {"baselines": blank}),
        "grad-cam": GradCAMInterpreter(model, preprocessing=None),
    }
    broken = {
        "flipped": (Flipped(model, preprocessing=None), LOGIT),
        "class ignored": (ClassIgnored(model, preprocessing=None), LOGIT),
        "random network": (Correct(small_network(2), preprocessing=None), LOGIT),
    }
    metrics = {
        "mass": ev.RelevanceMass(),
        "fidelity": ev.LocalFidelity(model, preprocessing=None, fill=0.0, n_samples=30),
        "logit": ev.RandomLogit(model, preprocessing=None),
    }
    table = ev.compare(
        right | broken, problem.x, metrics,
        label=problem.labels, masks=problem.masks, controls=True,
    )  # fmt: skip
    means = dict(zip(table.methods, table.table(), strict=True))
    for column, metric in enumerate(("mass", "fidelity")):
        worst = min(means[name][column] for name in right)
        for name in broken:
            assert means[name][column] < worst, (name, metric)
            assert name not in table.leaders(metric)
        assert not set(table.controls) & set(table.leaders(metric))
    # each class has the same map
    others = max(means[name][2] for name in right)
    np.testing.assert_allclose(means["class ignored"][2], 1)
    assert others < 0.5
    for control in table.controls:
        np.testing.assert_allclose(means[control][2], 1)
