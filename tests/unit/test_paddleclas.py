"""PaddleClas's architectures by name, with a package of the same form in its place.

`tests/suites/test_paddleclas.py` tries PaddleClas itself.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import paddle
import pytest
from typer.testing import CliRunner

import interpretdl as it
from interpretdl.cli.app import app
from interpretdl.cli.models import load_model

NAME = "paddleclas.ppcls.arch.backbone"


def small_net(class_num: int = 1000, pretrained: bool = True, names: str = "twice") -> Any:
    if pretrained:
        raise RuntimeError("this would download")
    print("a line for who trains")
    return paddle.nn.Sequential(
        paddle.nn.Conv2D(3, 4, 3, weight_attr=paddle.ParamAttr(name=f"conv_{names}")),
        paddle.nn.AdaptiveAvgPool2D(1),
        paddle.nn.Flatten(),
        paddle.nn.Linear(4, class_num),
    )


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = NAME.split(".")
    for i in range(len(parts)):
        monkeypatch.setitem(sys.modules, ".".join(parts[: i + 1]), ModuleType(parts[i]))
    backbone: Any = sys.modules[NAME]
    backbone.__name__ = NAME
    for name in ("SmallNet_x1_0", "SmallNet_x0_5_384", "ViT_small_patch16_224"):
        builder = type(small_net)(
            small_net.__code__, globals(), name, small_net.__defaults__, small_net.__closure__
        )
        builder.__module__ = f"{NAME}.model_zoo.small_net"
        setattr(backbone, name, builder)
    backbone.inspect = lambda: None  # what it has imported is no model
    backbone.inspect.__module__ = "inspect"


def test_it_is_built_twice_with_the_same_names_and_prints_nothing(
    package: None, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (it.paddleclas_model("SmallNet_x1_0", class_num=3) for _ in range(2))
    assert one[0].weight.name == two[0].weight.name == "conv_twice"
    assert one[3].weight.name != two[3].weight.name  # names that Paddle makes stay apart
    assert not one.training
    assert capsys.readouterr().out == ""


def test_the_number_of_classes_is_that_of_the_weights(package: None, tmp_path: Path) -> None:
    model = it.paddleclas_model("SmallNet_x1_0", class_num=7)
    file = tmp_path / "weights.pdparams"
    paddle.save(model.state_dict(), str(file))
    again = load_model("paddleclas:SmallNet_x1_0", weights=file)
    assert (again[3].weight == model[3].weight).all()
    with pytest.raises(it.WeightsError, match="mis-shaped"):
        it.paddleclas_model("SmallNet_x1_0", file, class_num=8)
    other = {name: t.flatten() for name, t in model.state_dict().items()}
    paddle.save(other, str(file))
    with pytest.raises(it.WeightsError, match="mis-shaped"):
        it.paddleclas_model("SmallNet_x1_0", file)


def test_preprocessing_follows_from_the_name(package: None) -> None:
    def of(name: str) -> it.Preprocessing:
        found = it.paddleclas_model(name).preprocessing
        assert isinstance(found, it.Preprocessing)
        return found

    assert of("SmallNet_x1_0") == it.IMAGENET
    assert of("SmallNet_x0_5_384") == it.Preprocessing(438, 384)
    assert tuple(of("ViT_small_patch16_224").mean) == (0.5, 0.5, 0.5)


def test_mistakes_are_one_line(package: None, picture: Path) -> None:
    for model, answer in {
        "paddleclas:SmallNet_x1": "no model 'SmallNet_x1'; did you mean 'SmallNet_x1_0'",
        "paddleclas:inspect": "no model 'inspect'",
        "paddleclas:SmallNet_x1_0": "starts with random weights: give --weights FILE",
    }.items():
        done = CliRunner().invoke(app, ["predict", str(picture), "--model", model])
        assert isinstance(done.exception, it.InputError)
        assert answer in str(done.exception)
    with pytest.raises(it.InputError, match=r"cannot build SmallNet_x1_0: RuntimeError: this wo"):
        it.paddleclas_model("SmallNet_x1_0", pretrained=True)
    with pytest.raises(it.InputError, match=r"cannot build SmallNet_x1_0: TypeError"):
        it.paddleclas_model("SmallNet_x1_0", width=3)


def test_without_paddleclas_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paddleclas", None)
    with pytest.raises(it.InputError, match="pip install --no-deps paddleclas"):
        it.paddleclas_model("ResNet18")
