"""Calls as InterpretDL's users write them, for the classes that are there."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import interpretdl as it
from interpretdl import registry

BASELINE = np.zeros((1, 3, 16, 16), np.float32)

# Class and its other name; the arguments of interpret after `inputs`, by position in InterpretDL's
# order with values that are quick; shape of what is returned for [2, 3, 16, 16].
CALLS: dict[str, tuple[str | None, dict[str, Any], tuple[int, ...]]] = {
    "SmoothGradInterpreter": (
        "SmoothGradCVInterpreter",
        {"labels": [1, 2], "noise_amount": 0.1, "n_samples": 3, "gradient_of": "probability"},
        (2, 3, 16, 16),
    ),
    "SmoothGradInterpreterV2": (
        None,
        {"labels": 1, "noise_amount": 0.1, "n_samples": 4, "split": 2, "gradient_of": "logit"},
        (2, 3, 16, 16),
    ),
    "IntegratedGradientsInterpreter": (
        "IntGradCVInterpreter",
        {"labels": [1, 2], "baselines": "random", "steps": 3, "num_random_trials": 2,
         "gradient_of": "probability"},
        (2, 3, 16, 16),
    ),
    "GradShapCVInterpreter": (
        None,
        {"labels": None, "baselines": None, "n_samples": 3, "noise_amount": 0.1,
         "gradient_of": "probability"},
        (2, 3, 16, 16),
    ),
    "GradCAMInterpreter": (None, {"target_layer_name": "5", "label": [1, 2]}, (2, 8, 8)),
    "ScoreCAMInterpreter": (None, {"target_layer_name": "5", "labels": 1}, (2, 16, 16)),
    "LRPInterpreter": ("LRPCVInterpreter", {"label": 1}, (2, 1, 16, 16)),
    "OcclusionInterpreter": (
        None,
        {"sliding_window_shapes": (3, 8, 8), "labels": 1, "strides": 8, "baselines": None,
         "perturbations_per_eval": 2},
        (2, 3, 16, 16),
    ),
}  # fmt: skip
THERE = [name for name in CALLS if hasattr(it, name)]
TAIL: dict[str, Any] = {"resize_to": 224, "crop_to": None, "visual": False, "save_path": None}


@pytest.fixture
def pictures() -> Any:
    return np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)


def floats(pictures: Any) -> Any:
    return it.IMAGENET.normalize(pictures)


def test_first_classes_are_there() -> None:
    assert {"SmoothGradInterpreter", "IntegratedGradientsInterpreter", "GradCAMInterpreter"} <= set(
        THERE
    )
    pictures = ("Rollout", "TAM", "GACV", "BTCV", "LIMECV", "GLIMECV", "NormLIMECV", "Consensus")
    texts = ("LIME", "NormLIME", "IntGrad", "SmoothGrad", "GradShap", "GA", "BT")  # own test files
    names = (*pictures, *(f"{name}NLP" for name in texts))
    assert not [name for name in names if not hasattr(it, f"{name}Interpreter")]


@pytest.mark.parametrize("name", THERE)
def test_by_position_and_by_name(name: str, toy: Any, pictures: Any, capsys: Any) -> None:
    other, arguments, shape = CALLS[name]
    cls, x = getattr(it, name), floats(pictures)
    if other is not None:
        assert getattr(it, other) is cls
        assert other in cls.info.aliases
    by_position = cls(toy(), device="cpu").interpret(x, *arguments.values(), *TAIL.values())
    assert isinstance(by_position, np.ndarray)
    assert (by_position.dtype, by_position.shape) == (np.float32, shape)
    by_name = cls(toy(), "cpu").interpret(inputs=x, **arguments, **TAIL)
    np.testing.assert_array_equal(by_name, by_position)
    printed = capsys.readouterr().out
    assert printed.count("Use label: ") == 4
    said = 1 if cls is it.LRPInterpreter else 0  # which share of the score arrived
    assert len(printed.splitlines()) == 4 * (5 + 1 + said)


@pytest.mark.parametrize("name", THERE)
def test_label_and_labels(name: str, toy: Any, pictures: Any) -> None:
    _, arguments, _ = CALLS[name]
    rest = {k: v for k, v in arguments.items() if k not in ("label", "labels")}
    method, x = getattr(it, name)(toy()), floats(pictures)
    one = method.interpret(x, label=[1, 2], visual=False, **rest)
    for form in ([1, 2], np.array([1, 2]), (1, 2)):
        np.testing.assert_array_equal(method.interpret(x, labels=form, visual=False, **rest), one)
    with pytest.raises(it.InputError, match="give one of them"):
        method.interpret(x, label=1, labels=1, visual=False, **rest)


@pytest.mark.parametrize("name", THERE)
def test_files(name: str, toy: Any, pictures: Any, tmp_path: Path) -> None:
    from PIL import Image

    _, arguments, _ = CALLS[name]
    paths = [str(tmp_path / f"{i}.png") for i in range(2)]
    for path, pixels in zip(paths, pictures, strict=True):
        Image.fromarray(pixels).resize((24, 32)).save(path)
    out = [str(tmp_path / f"map{i}.png") for i in range(2)]
    tail = {"resize_to": 20, "crop_to": 16, "visual": False, "save_path": out}
    many = getattr(it, name)(toy()).interpret(paths, **arguments, **tail)
    assert many.shape == CALLS[name][2]
    assert all(Path(path).stat().st_size for path in out)
    arguments = {k: v[0] if k in ("label", "labels") and isinstance(v, list) else v
                 for k, v in arguments.items()}  # fmt: skip
    one = getattr(it, name)(toy()).interpret(
        paths[0], **arguments, resize_to=20, crop_to=16, visual=False, save_path=out[0]
    )
    np.testing.assert_allclose(one[0], many[0], rtol=1e-3, atol=1e-5 * abs(one).max())
    assert getattr(it, name)(toy()).interpret(
        paths[0], **arguments, resize_to=20, visual=False
    ).shape[0] == 1  # fmt: skip


@pytest.mark.parametrize("name", THERE)
def test_use_cuda(name: str, toy: Any) -> None:
    with pytest.warns(DeprecationWarning, match="device=") as warned:
        getattr(it, name)(toy(), use_cuda=False)
    assert warned[0].filename == __file__
    with pytest.raises(TypeError, match=r"no option 'n_sample'; it has inputs, "):
        getattr(it, name)(toy()).interpret(BASELINE, n_sample=3)


@pytest.mark.parametrize("name", registry.methods())
def test_signatures_show_everything(name: str) -> None:
    info = registry.methods()[name]
    shown = inspect.signature(info.cls.interpret).parameters
    assert {"inputs", "label", *TAIL, *info.options} <= set(shown)
    tail = [p for p in shown if p in TAIL]
    assert tail == list(TAIL)
    for other in info.aliases:
        assert getattr(it, other) is info.cls
    assert all(option in (inspect.getdoc(info.cls.interpret) or "") for option in info.options)


@pytest.mark.parametrize("name", registry.methods())
def test_gradient_of_is_a_probability_where_interpretdl_has_it(name: str) -> None:
    info = registry.methods()[name]
    if "gradient_of" in info.options:
        theirs = {"smooth_grad", "integrated_gradients", "grad_shap", "generic_attention"}
        theirs |= {"transition_attention", "bidirectional_transformer"}
        ours = {"smooth_grad_squared", "var_grad"}  # relatives of SmoothGrad go with it
        if name not in ours:
            wanted = "probability" if name in theirs else "logit"
            assert info.options["gradient_of"].default == wanted
