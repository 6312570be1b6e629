"""Maps that say nothing, and sums that more steps would not bring, are told in one place."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

import interpretdl as it
from tests.probes import Run


def images(n: int = 2, size: int = 10) -> Any:
    return np.random.default_rng(2).normal(size=(n, 3, size, size)).astype(np.float32)


def half_detached() -> Any:
    """Half of the score goes through a detach, which no gradient sees."""

    def forward(self: Any, x: Any) -> Any:
        return self.one(x.flatten(1)) + self.two(x.flatten(1).detach())

    model = Run(forward, one=nn.Linear(300, 4), two=nn.Linear(300, 4))
    rng = np.random.default_rng(0)
    for layer in (model.one, model.two):
        layer.weight.set_value(rng.normal(0, 0.1, [300, 4]).astype(np.float32))
    return model


def test_a_sum_that_more_steps_do_not_bring() -> None:
    method = it.IntegratedGradientsInterpreter(half_detached())
    for steps in (30, 90):
        with pytest.warns(it.InterpretWarning, match=r"misses its sum by .* third .* detach\(\)"):
            found = method.explain(images(), steps=steps, gradient_of="logit")
    assert (found.diagnostics["completeness_error"] > 0.1).all()
    with pytest.warns(it.InterpretWarning, match="did not meet tolerance"):
        method.explain(images(), steps=5, max_steps=15, tolerance=0.01, gradient_of="logit")


def test_a_rough_path_that_more_steps_do_cure_is_not_blamed_on_the_model() -> None:
    """A step in the middle of the path: few nodes see it, more nodes see it better."""
    model = Run(lambda self, x: self.last(paddle.tanh(9 * self.first(x.flatten(1)))),
                first=nn.Linear(300, 6), last=nn.Linear(6, 4))  # fmt: skip
    found = it.IntegratedGradientsInterpreter(model).explain(
        images(), steps=50, gradient_of="logit"
    )
    assert "coarse_error" in found.diagnostics


@pytest.mark.parametrize("method", ["gradient", "simple_taylor", "smooth_grad", "guided_bp"])
def test_a_map_that_is_zero_everywhere(method: str) -> None:
    dead = nn.Sequential(nn.Conv2D(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3))
    dead[0].bias.set_value(np.full(2, -1e6, np.float32))
    interpreter = it.registry.find(method).cls(dead)
    with pytest.warns(it.InterpretWarning, match="zero everywhere.*does not depend on the input"):
        found = interpreter.explain(images(), gradient_of="logit")
    assert not found.values.any()


def test_a_probability_that_no_longer_changes_is_named_as_the_reason() -> None:
    sure = nn.Sequential(nn.Flatten(), nn.Linear(300, 3))
    sure[1].bias.set_value(np.array([500, 0, 0], np.float32))
    for of in ("probability", "loss"):
        with pytest.warns(it.InterpretWarning, match="gradient_of='logit'"):
            it.GradientInterpreter(sure).explain(images(), gradient_of=of)
    assert it.GradientInterpreter(sure).explain(images()).values.any()


def test_one_empty_map_among_others_is_named() -> None:
    x = images(3)
    x[1] = 0
    model = nn.Sequential(nn.Flatten(), nn.Linear(300, 3))
    with pytest.warns(it.InterpretWarning, match="simple_taylor of image 1 is zero everywhere"):
        it.SimpleTaylorInterpreter(model).explain(x)


def test_values_that_are_not_finite_are_an_error() -> None:
    class Overflow(it.GradientInterpreter):
        def attribute(self, x: Any, target: Any, *, times_input: bool = False) -> Any:
            found = super().attribute(x, target, times_input=times_input)
            found.values[1, 0, 2, 3] = np.inf
            return found

    model = nn.Sequential(nn.Flatten(), nn.Linear(300, 3))
    with pytest.raises(it.UnsupportedModelError, match=r"gradient of image 1 .* NaN or inf"):
        Overflow(model).explain(images())
