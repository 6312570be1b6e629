"""No evaluator takes the size of an array's negative numbers in silence."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from interpretdl import evaluator as ev
from interpretdl.errors import InterpretWarning
from interpretdl.interpreter import GradientInterpreter, IntegratedGradientsInterpreter
from interpretdl.registry import EVALUATORS
from interpretdl.testing import small_network

SMALL = {"steps": 5, "n_samples": 8, "max_shift": 4}
NEED_A_METHOD = {"model_randomization", "smooth_mprt", "efficient_mprt"}
H, W = 12, 14


@pytest.fixture(scope="module")
def given() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    masks = np.zeros((2, H, W), bool)
    masks[:, 3:7, 2:9] = True
    return {
        "x": rng.normal(size=(2, 3, H, W)).astype(np.float32),
        "explanation": rng.normal(size=(2, 3, H, W)).astype(np.float32),
        "labels": [0, 1],
        "masks": masks,
        "boxes": [(2, 3, 9, 7)] * 2,
    }


def explained(x: Any, target: Any) -> Any:
    """In the place of a method, of which nothing is known."""
    return np.roll(x, 1, axis=3) * np.float32(0.5) + 0.1


def values_of(evaluator: Any, given: dict[str, Any], **more: Any) -> tuple[Any, bool]:
    """The numbers, and whether something was said of signs."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InterpretWarning)
        found = evaluator.measure(**given, **more).values
    return found, any("negative numbers" in str(one.message) for one in caught)


@pytest.mark.parametrize("name", EVALUATORS.all())
def test_an_array_whose_sign_matters_is_warned_of(name: str, given: dict[str, Any]) -> None:
    info = ev.find_evaluator(name)
    model = small_network()
    made = info.cls(model, **{k: v for k, v in SMALL.items() if k in info.options})
    method: Any = GradientInterpreter(model) if name in NEED_A_METHOD else explained
    options = {"times_input": True} if name in NEED_A_METHOD else None
    more: dict[str, Any] = {"interpreter": method, "options": options}
    signed, said = values_of(made, given, signed=True, **more)
    assert not said
    sizes, said = values_of(made, given, signed=False, **more)
    assert not said
    unknown, said = values_of(made, given, **more)
    np.testing.assert_array_equal(unknown, sizes)
    assert said or np.allclose(signed, sizes, equal_nan=True)


def test_what_a_method_says_of_its_signs(given: dict[str, Any]) -> None:
    """A signed method's arrays are signed; an unsigned one's may be, if options were given."""
    model = small_network()
    measure = ev.Deletion(model, steps=5)
    signed, _ = values_of(measure, given, signed=True)
    sizes, _ = values_of(measure, given, signed=False)
    assert (signed != sizes).any()
    for method, options, expected, warned in (
        (IntegratedGradientsInterpreter(model), {}, signed, False),
        (IntegratedGradientsInterpreter(model), {"steps": 3}, signed, False),
        (GradientInterpreter(model), {}, sizes, False),
        (GradientInterpreter(model), {"times_input": True}, sizes, True),
    ):
        found, said = values_of(measure, given, interpreter=method, options=options)
        np.testing.assert_array_equal(found, expected)
        assert said == warned


def test_maps_explained_again_count_too(given: dict[str, Any]) -> None:
    """The first map has no negative numbers, those of other pictures have."""
    positive = {**given, "explanation": abs(given["explanation"])}
    _, said = values_of(ev.Selectivity(small_network(), steps=3), positive, interpreter=explained)
    assert said
