"""The command line, called in this process. As a process of its own: test_processes.py."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import paddle
import pytest
from PIL import Image

from interpretdl import GradientInterpreter, cli, lrp_model, registry
from interpretdl.cli.arguments import DEFAULT_METHOD, DEFAULT_MODEL
from interpretdl.explanation import Explanation

LINE = re.compile(r"^ *.{1,20} \( *(\d+)\):  ([01]\.\d{3})$")
OWN = ["--model", "own_model_here:small"]


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error, after nothing on standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err


# ---- explain -------------------------------------------------------------------------------------


def test_explain_prints_the_classes_and_writes_a_picture(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["explain", "photo.png", *OWN, "--save", "map.png", "--label", "bee"]) == 0
    lines = capsys.readouterr().out.splitlines()
    matches = [LINE.match(line) for line in lines[:5]]
    assert sorted(int(match[1]) for match in matches if match) == [0, 1, 2, 3, 4]
    chances = [float(match[2]) for match in matches if match]
    assert chances == sorted(chances, reverse=True)
    assert sum(chances) == pytest.approx(1, abs=0.005)  # five numbers of three digits
    assert lines[5:] == ["Use label: 1, bee", "Wrote map.png"]
    with Image.open("map.png") as image:
        assert min(image.size) > 100


# A few evaluations, where the method is asked for thousands by default.
QUICK = {"evaluations": "48", "regions": "3", "strides": "2", "steps": "4"}


@pytest.mark.parametrize("method", registry.methods())
def test_every_method_can_be_called(method: str, here: Path) -> None:
    info = registry.find(method)
    model = "attends" if info.needs_attention else "small"
    arguments = ["explain", "photo.png", "--model", f"own_model_here:{model}", "--method", method]
    for name in QUICK.keys() & info.options:
        arguments += ["--option", f"{name}={QUICK[name]}"]
    assert cli.main([*arguments, "--save", "map.npz", "--quiet"]) == 0
    explanation = Explanation.load("map.npz")
    assert explanation.method == method
    assert np.isfinite(explanation.values).all()


def test_an_option_arrives_and_is_typed(here: Path) -> None:
    arguments = ["explain", "photo.png", *OWN, "--method", "gradient", "--quiet"]
    values = []
    for text in ("yes", "no"):
        more = ["--option", f"times_input={text}", "--save", f"{text}.npz", "--label", "2"]
        assert cli.main([*arguments, *more]) == 0
        explanation = Explanation.load(f"{text}.npz")
        assert explanation.parameters["times_input"] is (text == "yes")
        assert explanation.labels.tolist() == [2]
        values.append(explanation.values)
    assert not np.array_equal(*values)


def test_folders_names_that_meet_and_one_bad_file(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Path(folder, "photo.png").write_bytes(Path("photo.png").read_bytes())
    Path("a/notes.txt").write_text("no picture, and not taken for one")
    Path("bad.png").write_bytes(b"no picture either")
    assert cli.main(["explain", "a", "bad.png", "b", *OWN, "--save", "maps", "--top", "1"]) == 1
    assert {path.name for path in Path("maps").iterdir()} == {
        f"photo_{DEFAULT_METHOD}.png",
        f"photo_{DEFAULT_METHOD}_2.png",
    }
    out, err = capsys.readouterr()
    assert [line for line in out.splitlines() if line.endswith(":")] == [
        "a/photo.png:",
        "b/photo.png:",
    ]
    errors = err.splitlines()
    assert len(errors) == 2
    assert "bad.png" in errors[0]
    assert errors[1] == "error: 1 of 3 pictures could not be read"


def test_several_that_are_all_bad(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.png").write_bytes(b"")
    assert cli.main(["explain", "bad.png", "gone.png", *OWN]) == 2
    assert "2 of 2" in capsys.readouterr().err


def test_without_save_it_goes_to_the_current_folder(here: Path) -> None:
    assert cli.main(["explain", "photo.png", *OWN, "--quiet"]) == 0
    assert Path(f"photo_{DEFAULT_METHOD}.png").is_file()


def test_quiet_is_silent(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "photo.png", *OWN, "-q", "--save", "map.png"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--option", "steps"], "name=value"),
        (["--option", "gradient_off=loss"], "did you mean 'gradient_of'"),
        (["--option", "gradient_of=price"], "'logit', 'probability'"),
        (["--method", "grad-kam"], "did you mean 'grad_cam'"),
        (["--style", "overly"], "overlay"),
        (["--colormap", "jett"], "did you mean 'jet'"),
        (["--label", "bea"], "did you mean 'bee'"),
        (["--label", "99"], "99 is not in [0, 5)"),
        (["--save", "gone/map.png"], "gone"),
        (["--save", "map.xyz"], ".png"),
        (["--save", "photo.png"], "one of the pictures given"),
        (["--output-kind", "logit"], "--output-kind"),
        (["--top", "0"], "--top"),
        (["--color", "red"], "--color"),
        (["--device", "toaster"], "toaster"),
        (["--batch-size", "0"], "batch_size"),
        (["--output", "3"], "output=3"),
        (["--weights", "gone.pdparams"], "gone.pdparams"),
        (["gone.png", "--save", "map.png"], "map.png"),
        (["--model", "resnet5000"], "did you mean"),
        (["--model", "mobilenet_v2"], "--pretrained"),
        (["--model", "no_such_module_here:small"], "no_such_module_here"),
        (["--model", "own_model_here:smal"], "did you mean 'small'"),
        (["--model", "own_model_here:needs"], "without arguments"),
        (["--model", "own_model_here:number"], "paddle.nn.Layer"),
        (["--model", ":small"], "package.module:function"),
        (["--weights", "x.pdparams", "--pretrained"], "not both"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], says: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["explain", "photo.png", *OWN, *arguments]) == 2
    assert says in error_line(capsys)
    assert sorted(path.name for path in here.glob("*.png")) == ["photo.png"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["explain"], "IMAGE"),
        (["explian", "photo.png"], "explian"),
        (["explain", "empty", *OWN], "no picture in the folder empty"),
        (["explain", "gone.png", *OWN], "gone.png"),
        (["predict", "gone.png", *OWN], "gone.png"),
        (["methods", "lime_and_soda"], "lime_and_soda"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], says: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    assert cli.main(arguments) == 2
    assert says in error_line(capsys)


def test_a_warning_is_one_line_too(
    here: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    if paddle.is_compiled_with_cuda():
        return  # the warning wanted here is that of a Paddle without GPUs
    import warnings

    warnings.simplefilter("default")
    assert cli.main(["predict", "photo.png", *OWN, "--device", "gpu", "-q"]) == 0
    err = capsys.readouterr().err
    assert err.startswith("warning: ")
    assert err.count("\n") == 1


# ---- predict, methods, models --------------------------------------------------------------------


def test_predict_agrees_with_explain(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", "photo.png", *OWN]) == 0
    predicted = capsys.readouterr().out.splitlines()
    assert cli.main(["explain", "photo.png", *OWN, "--save", "map.png"]) == 0
    assert predicted == capsys.readouterr().out.splitlines()[:5]


def test_weights_from_a_file_and_paddles_own_models(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A paddle.vision model with weights that make class 7 certain, whatever the picture."""
    model = paddle.vision.models.squeezenet1_1()
    state = {name: paddle.zeros_like(value) for name, value in model.state_dict().items()}
    bias = next(name for name, value in state.items() if list(value.shape) == [1000])
    state[bias][7] = 20.0
    paddle.save(state, "certain.pdparams")
    arguments = ["predict", "photo.png", "--model", "squeezenet1_1"]
    assert cli.main([*arguments, "--weights", "certain.pdparams", "--top", "1"]) == 0
    line = capsys.readouterr().out
    name = lrp_model.imagenet_class_names()[7][:20]
    assert line == f"{name:>20} (  7):  1.000\n"


def test_methods_lists_the_registry(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["methods"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == list(registry.methods())
    for name, info in registry.methods().items():
        assert cli.main(["methods", name]) == 0
        told = capsys.readouterr().out
        assert info.paper in told
        assert all(f"\n  {option}=" in told for option in info.options)


def test_models_lists_the_zoo_and_paddles(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:2] == "  "]
    assert {*lrp_model.models(), "mobilenet_v2", DEFAULT_MODEL} <= set(names)
    assert len(names) == len(set(names))


def test_no_method_is_typed_in_the_command_line(root: Path) -> None:
    files = sorted((root / "interpretdl" / "cli").glob("*.py"))
    source = "".join(path.read_text(encoding="utf-8") for path in files)
    source = source.replace(f'DEFAULT_METHOD = "{DEFAULT_METHOD}"', "")
    assert len(source) > 10_000
    for name, info in registry.methods().items():
        assert not re.search(rf"\b{name}\b|{info.cls.__name__}", source)


def test_no_memory_is_one_line(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def too_much(*_args: object, **_options: object) -> None:
        np.empty(2**62, np.uint8)

    monkeypatch.setattr(GradientInterpreter, "explain", too_much)
    own = ["--model", "own_model_here:small", "--method", "gradient"]
    assert cli.main(["explain", "photo.png", *own]) == 2
    assert "not enough memory" in error_line(capsys)
