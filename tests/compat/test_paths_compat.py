"""InterpretDL 0.8's names, arguments, their order and shapes for path and noise methods."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import interpretdl as it

COMMON = ["resize_to", "crop_to", "visual", "save_path"]
ARGUMENTS: dict[str, dict[str, Any]] = {
    "SmoothGradInterpreter": {
        "noise_amount": 0.1, "n_samples": 50, "gradient_of": "probability",
    },
    "SmoothGradCVInterpreter": {
        "noise_amount": 0.1, "n_samples": 50, "gradient_of": "probability",
    },
    "SmoothGradInterpreterV2": {
        "noise_amount": 0.1, "n_samples": 50, "split": 2, "gradient_of": "probability",
    },
    "IntegratedGradientsInterpreter": {
        "baselines": None, "steps": 50, "num_random_trials": 10, "gradient_of": "probability",
    },
    "IntGradCVInterpreter": {
        "baselines": None, "steps": 50, "num_random_trials": 10, "gradient_of": "probability",
    },
    "GradShapCVInterpreter": {
        "baselines": None, "n_samples": 5, "noise_amount": 0.1, "gradient_of": "probability",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_order_and_defaults(name: str) -> None:
    parameters = inspect.signature(getattr(it, name).interpret).parameters
    positional = [n for n, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == ["self", "inputs", "label", *ARGUMENTS[name], *COMMON]
    for option, default in ARGUMENTS[name].items():
        # None is 50 without a tolerance, which InterpretDL does not have.
        assert parameters[option].default == (None if option == "steps" else default)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_file_by_position_gives_an_array_of_the_inputs_shape(
    name: str, toy: Any, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method = getattr(it, name)(toy(), device="cpu")
    few = {"noise_amount": 0.2, "n_samples": 3, "split": 2, "steps": 3, "num_random_trials": 2}
    given = [few.get(n, default) for n, default in ARGUMENTS[name].items()]
    values = method.interpret(str(picture), None, *given, 24, 20, False, None)
    assert isinstance(values, np.ndarray)
    assert values.shape == (1, 3, 20, 20)
    assert values.dtype == np.float32
    assert "Use label: " in capsys.readouterr().out
    by_name = dict(zip(ARGUMENTS[name], given, strict=True))
    again = method.interpret(
        str(picture), labels=None, resize_to=24, crop_to=20, visual=False, **by_name
    )
    np.testing.assert_array_equal(again, values)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_labels_of_any_kind_agree(name: str, toy: Any) -> None:
    method = getattr(it, name)(toy())
    option = "steps" if "steps" in ARGUMENTS[name] else "n_samples"
    picture = np.random.default_rng(0).integers(0, 255, (2, 16, 16, 3), np.uint8)
    first, *others = (
        method.interpret(picture, labels=labels, visual=False, resize_to=16, **{option: 2})
        for labels in (3, [3, 3], np.array([3, 3]))
    )
    assert first.shape == (2, 3, 16, 16)
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_random_and_given_baselines(toy: Any) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    method = it.IntGradCVInterpreter(toy())
    options: dict[str, Any] = {"steps": 3, "visual": False}
    values = method.interpret(x, baselines="random", num_random_trials=2, **options)
    assert values.shape == x.shape
    # one for each trial and image, as InterpretDL stacks them
    stacked = method.interpret(x, baselines=np.zeros((2, *x.shape), np.float32), **options)
    same = method.interpret(x, baselines=np.zeros_like(x), **options)
    np.testing.assert_allclose(stacked, same, rtol=1e-5, atol=1e-8)


def test_use_cuda_is_deprecated(toy: Any) -> None:
    with pytest.warns(DeprecationWarning, match="use_cuda"):
        it.SmoothGradInterpreter(toy(), use_cuda=False)
    with pytest.warns(DeprecationWarning, match="use_cuda"):
        it.ExpectedGradientsInterpreter(toy(), use_cuda=False)


def test_an_unknown_option_is_a_type_error_that_lists_those_there_are(toy: Any) -> None:
    x = np.zeros((1, 3, 8, 8), np.float32)
    with pytest.raises(TypeError, match="no option 'n_steps'; it has "):
        it.IntegratedGradientsInterpreter(toy()).interpret(x, n_steps=3)
