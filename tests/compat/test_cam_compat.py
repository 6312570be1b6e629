"""Class activation maps called as InterpretDL's users call them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import interpretdl as it

METHODS = [it.GradCAMInterpreter, it.ScoreCAMInterpreter]


def shape(method: Any, n: int, size: int = 48) -> tuple[int, ...]:
    """Grad-CAM has the layer's size, Score-CAM the input's."""
    return (n, size // 2, size // 2) if method is it.GradCAMInterpreter else (n, size, size)


@pytest.mark.parametrize("method", METHODS)
def test_positions_and_names(method: Any, toy: Any, picture: Path, capsys: Any) -> None:
    interpreter = method(toy(), device="cpu")
    options: dict[str, Any] = {"resize_to": 48, "crop_to": 48, "visual": False}
    first = interpreter.interpret(str(picture), "5", 2, **options)
    assert isinstance(first, np.ndarray)
    assert first.shape == shape(method, 1)
    assert first.min() >= 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6  # five classes
    assert lines[-1].startswith("Use label: 2")
    for labels in (2, [2], np.array([2])):
        named = interpreter.interpret(
            inputs=[str(picture)], target_layer_name="5", labels=labels, **options
        )
        assert np.array_equal(named, first)
    assert np.array_equal(interpreter.interpret(str(picture), "5", 2, 48, 48, False, None), first)


@pytest.mark.parametrize("method", METHODS)
def test_arrays_and_files(method: Any, toy: Any, tmp_path: Path) -> None:
    interpreter = method(toy())
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    paths = [str(tmp_path / f"{i}.png") for i in range(2)]
    found = interpreter.interpret(
        pictures, "5", labels=[1, 3], resize_to=48, visual=False, save_path=paths
    )
    assert found.shape == shape(method, 2)
    assert all(Path(path).stat().st_size > 0 for path in paths)
    normalised = it.IMAGENET.normalize(pictures)
    same = interpreter.interpret(normalised, "5", [1, 3], visual=False)
    np.testing.assert_allclose(same, found, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_second_call_is_a_first_one(method: Any, toy: Any) -> None:
    """InterpretDL answers it with the first call's layer and score."""
    x = np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)
    used, fresh = method(toy()), method(toy())
    used.interpret(x, "5", 1, visual=False, gradient_of="probability")
    second = used.interpret(x, "2", 1, visual=False)
    assert np.array_equal(second, fresh.interpret(x, "2", 1, visual=False))


def test_use_cuda(toy: Any) -> None:
    with pytest.warns(DeprecationWarning, match="device="):
        it.ScoreCAMInterpreter(toy(), use_cuda=False)


@pytest.mark.parametrize("method", [m for m in it.registry.methods().values() if m.needs_layer])
def test_a_class_in_the_place_of_a_layer(method: Any, toy: Any) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    interpreter = method.cls(toy(), class_names=["sparrow", "tiger cat, moggy", "c", "d", "e"])
    target = it.ClassScore(1)
    for given in (1, np.int64(1), [1, 3], np.array([1, 3]), target):
        for call in (interpreter.explain, interpreter.interpret):
            with pytest.raises(it.InputError, match=r"write label=[\[1C]"):
                call(x, given)
    for name in ("tiger cat", "Moggy"):
        with pytest.raises(it.LayerNotFoundError, match=f"a class, not a layer; .*label='{name}"):
            interpreter.explain(x, name)
    with pytest.raises(it.LayerNotFoundError, match="no layer 'tiger'"):
        interpreter.explain(x, "tiger")
    with pytest.raises(it.LayerNotFoundError, match="no layer 'sparrow'"):
        method.cls(toy()).explain(x, "sparrow")  # without names of classes
