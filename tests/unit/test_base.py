"""The base of all methods: reading, labels, options, what is printed and saved."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paddle import nn
from PIL import Image

import interpretdl as it
from interpretdl import registry
from interpretdl.testing import small_network


def images(n: int = 3, size: int = 12) -> Any:
    return np.random.default_rng(1).normal(size=(n, 3, size, size)).astype(np.float32)


def pictures(n: int = 3, size: int = 12) -> Any:
    return np.random.default_rng(1).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def test_explain_is_silent(capsys: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    it.GradCAMInterpreter(small_network()).explain(images())
    assert capsys.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_what_an_explanation_remembers() -> None:
    model, x = small_network(), images()
    found = it.GradCAMInterpreter(model).explain(
        x, target_layer_name="2", label=["class-a", 1, np.int64(2)], gradient_of="loss"
    )
    logits = it.Probe(model).logits(x)
    assert found.labels.tolist() == [0, 1, 2]
    assert found.label_names == ("class-a", "class-b", "class-c")
    e = np.exp(logits.astype(np.float64))
    losses = -np.log(e[range(3), range(3)] / e.sum(1))
    np.testing.assert_allclose(found.scores, losses, rtol=1e-4)
    assert repr(found.target) == "ClassScore([0, 1, 2], of='loss')"
    np.testing.assert_allclose(found.probabilities, e / e.sum(1, keepdims=True), rtol=1e-5)
    facts = json.loads(json.dumps(found.parameters))
    assert facts["target_layer_name"] == "2"
    assert facts["gradient_of"] == "loss"
    assert facts["label"] == ["class-a", 1, 2]
    assert facts["version"] == it.__version__
    again = it.registry.find(found.method).cls(model)
    options = {k: facts[k] for k in registry.find(found.method).options}
    np.testing.assert_array_equal(again.explain(x, label=facts["label"], **options), found.values)


def test_pictures_that_cannot_be_read_are_left_out(tmp_path: Path, capsys: Any) -> None:
    good = []
    for i, pixels in enumerate(pictures()):
        good.append(tmp_path / f"{i}.png")
        Image.fromarray(pixels).save(good[-1])
    broken = tmp_path / "broken.png"
    broken.write_bytes(good[0].read_bytes()[:60])
    method = it.GradientInterpreter(small_network())
    given = [good[0], broken, good[1]]
    with pytest.warns(it.InterpretWarning, match=r"input 1 is left out: .*broken\.png") as warned:
        found = method.explain(given, label=[3, 4, 1])
    assert warned[0].filename == __file__
    assert found.labels.tolist() == [3, 1]
    assert list(found.failures) == [1]
    expected = method.explain([good[0], good[1]], label=[3, 1])
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-5)
    maps = [tmp_path / f"map{i}.npz" for i in range(3)]
    with pytest.warns(it.InterpretWarning, match="input 1 is left out") as warned:
        values = method.interpret(given, label=[3, 4, 1], visual=False, save_path=maps)
    assert warned[0].filename == __file__
    assert [path.exists() for path in maps] == [True, False, True]
    np.testing.assert_array_equal(it.Explanation.load(maps[2]).values[0], values[1])
    assert capsys.readouterr().out.count("Use label") == 2
    with pytest.raises(it.ImageReadError, match=r"broken\.png"):
        method.explain(broken)


def test_resize_and_crop_take_the_place_of_the_models_own() -> None:
    method = it.GradientInterpreter(small_network())
    picture = Image.fromarray(pictures(1, 30)[0])
    assert method.explain(picture).values.shape == (1, 3, 30, 30)
    assert method.explain(picture.crop((0, 0, 20, 30)), resize_to=16).values.shape == (1, 3, 24, 16)
    assert method.explain(picture, resize_to=16, crop_to=12).values.shape == (1, 3, 12, 12)
    own = it.GradientInterpreter(small_network(), preprocessing=it.Preprocessing(16, 14))
    assert own.explain(picture).values.shape == (1, 3, 14, 14)


def test_preprocessing_and_class_names(toy: Any) -> None:
    bare = toy()
    method = it.GradientInterpreter(bare)
    assert (method.preprocessing, method.class_names) == (it.IMAGENET, None)
    assert method.explain(images()).label_names[0].startswith("class ")
    with pytest.raises(it.TargetError, match="class_names="):
        method.explain(images(), label="cat")
    named = it.GradientInterpreter(bare, class_names=list("abcde"))
    assert named.explain(images(), label="c").labels.tolist() == [2, 2, 2]
    with pytest.raises(it.InputError, match="3 class names were given for a model with 5 classes"):
        it.GradientInterpreter(bare, class_names=list("abc")).explain(images())
    assert it.GradientInterpreter(small_network()).class_names == small_network().class_names
    thousand = it.GradientInterpreter(toy(classes=1000)).explain(images(), label="tabby")
    assert thousand.labels.tolist() == [281] * 3


def test_a_target_of_ones_own() -> None:
    x, model = images(), small_network()
    found = it.GradientInterpreter(model).explain(x, label=lambda out: out[:, 1] - out[:, 2])
    one, two = (it.GradientInterpreter(model).explain(x, label=k) for k in (1, 2))
    np.testing.assert_allclose(found.values, one.values - two.values, atol=1e-5)
    np.testing.assert_allclose(found.scores, one.scores - two.scores, rtol=1e-4, atol=1e-5)
    assert found.labels.tolist() == [-1, -1, -1]


def test_a_target_prints_no_label(capsys: Any) -> None:
    it.GradientInterpreter(small_network()).interpret(
        images(1), label=lambda out: out[:, 1], visual=False
    )
    assert "Use label" not in capsys.readouterr().out


def test_outputs_that_are_maps() -> None:
    model = nn.Sequential(nn.Conv2D(3, 4, 3, padding=1))
    method = it.GradientInterpreter(model)
    with pytest.raises(it.TargetError, match="target"):
        method.explain(images())
    found = method.explain(images(), label=lambda out: out[:, 1].sum([1, 2]))
    assert found.probabilities is None


def test_a_disk_that_fails_loses_only_the_file(tmp_path: Path, monkeypatch: Any) -> None:
    def full(self: Any, path: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(it.Explanation, "save", full)
    path = tmp_path / "map.png"
    method = it.GradientInterpreter(small_network())
    with pytest.warns(it.InterpretWarning, match=r"map\.png was not saved: .*No space left"):
        values = method.interpret(images(1), visual=False, save_path=path)
    assert values.shape == (1, 3, 12, 12)


def test_options() -> None:
    method = it.GradCAMInterpreter(small_network())
    with pytest.raises(TypeError, match=r"GradCAMInterpreter\.explain\(\) has no option 'steps'"):
        method.explain(images(), steps=3)
    with pytest.raises(TypeError, match="multiple values"):
        method.explain(images(), "2", target_layer_name="2")
    with pytest.raises(TypeError, match="inputs"):
        method.explain()
    shown = list(inspect.signature(it.GradCAMInterpreter.interpret).parameters)
    assert shown[:8] == ["self", "inputs", "target_layer_name", "label", *shown[4:8]]
    assert shown[4:8] == ["resize_to", "crop_to", "visual", "save_path"]
    help_text = inspect.getdoc(it.GradCAMInterpreter.explain)
    assert "target_layer_name" in str(help_text)


def test_use_cuda_is_told_once_and_falls_back() -> None:
    with pytest.warns(DeprecationWarning, match="device='gpu'"):
        it.GradientInterpreter(small_network(), use_cuda=False)
    with pytest.raises(it.InputError, match="device"):
        it.GradientInterpreter(small_network(), device="abacus")


def test_registry() -> None:
    found = registry.methods()
    assert list(found) == sorted(found)
    assert found["grad_cam"].cls is it.GradCAMInterpreter
    assert registry.find("gradient").summary.endswith(".")
    with pytest.raises(it.InputError, match=r"no method 'gradkam'; did you mean .*'grad_cam'"):
        registry.find("gradkam")
    with pytest.raises(it.InputError, match=r"there are .*grad_cam"):
        registry.find("xyzzy")
    with pytest.raises(it.InputError, match="'gradient' is registered already"):
        registry.register("gradient", layout="nchw", signed=True, paper="")(it.GradientInterpreter)
    for info in found.values():
        assert getattr(it, info.cls.__name__) is info.cls, f"{info.name} is not exported"


def test_attribute_must_be_written() -> None:
    with pytest.raises(TypeError, match="abstract"):
        it.Interpreter(small_network())  # type: ignore[abstract]  # the mistake itself


def test_one_path_for_two_images_is_refused_before_the_work(toy: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    path = tmp_path / "a.png"
    with pytest.raises(it.InputError, match="one file for several"):
        it.GradientInterpreter(toy()).interpret(x, visual=False, save_path=[path, path])
    assert not path.exists()


def test_a_model_with_fewer_rows_than_items() -> None:
    """One answer for a whole batch is none for each picture."""

    class Mean(nn.Layer):
        def forward(self, x: Any) -> Any:
            return x.mean([0, 2, 3]).unsqueeze(0)

    with pytest.raises(it.UnsupportedModelError, match="1 rows for 3 items"):
        it.GradientInterpreter(Mean(), batch_size=3).explain(images())


def test_a_cell_of_a_notebook_may_be_run_again() -> None:
    def cell(module: str) -> type:
        class Mine(it.GradientInterpreter):
            pass

        Mine.__module__ = module
        return registry.register("mine", layout="nchw", signed=True, paper="")(Mine)

    try:
        first, second = cell("__main__"), cell("__main__")
        assert first is not second
        assert registry.find("mine").cls is second
        with pytest.raises(it.InputError, match="is registered already"):
            cell("elsewhere")
    finally:
        registry.METHODS.remove("mine")
