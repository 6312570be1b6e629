"""The command line: in this process for speed, as a process of its own where that matters."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import paddle
import pytest
from PIL import Image

from interpretdl import cli, lrp_model, registry
from interpretdl.cli.defaults import DEFAULT_METHOD, DEFAULT_MODEL
from interpretdl.explanation import Explanation

LINE = re.compile(r"^ *.{1,20} \( *(\d+)\):  ([01]\.\d{3})$")

OWN_MODEL = """
import sys
sys.path.insert(0, {tests!r})
from conftest import toy_network
from interpretdl import Preprocessing

def small():
    model = toy_network()
    model.preprocessing = Preprocessing(resize=24, crop=24)
    model.class_names = ("ant", "bee", "cat", "dog", "elk")
    return model

def needs(argument):
    return small()

number = 7
"""


@pytest.fixture
def here(tmp_path: Path, picture: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with photo.png and a module own_model_here."""
    (tmp_path / "photo.png").write_bytes(picture.read_bytes())
    text = OWN_MODEL.format(tests=str(root / "tests"))
    (tmp_path / "own_model_here.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_model_here", raising=False)
    return tmp_path


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error, after nothing on standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err


OWN = ["--model", "own_model_here:small"]


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


@pytest.mark.parametrize("method", registry.methods())
def test_every_method_can_be_called(method: str, here: Path) -> None:
    arguments = ["explain", "photo.png", *OWN, "--method", method, "--save", "map.npz", "--quiet"]
    assert cli.main(arguments) == 0
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
        (["--method", "grad-cam"], "did you mean 'grad_cam'"),
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
    source = (root / "interpretdl" / "cli.py").read_text(encoding="utf-8")
    for name, info in registry.methods().items():
        assert not re.search(rf"\b{name}\b|{info.cls.__name__}", source) or name == "gradient"


# ---- as a process --------------------------------------------------------------------------------


def run(*arguments: str, cwd: Path, root: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "80", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "interpretdl", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=120,
    )


def test_help_and_version(root: Path, tmp_path: Path) -> None:
    done = run("explain", "--help", cwd=tmp_path, root=root)
    assert done.returncode == 0
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    for word in ("--method", "--label", "--save", "--option", "--weights", "--device", "IMAGE"):
        assert word in done.stdout
    from interpretdl import __version__

    assert run("--version", cwd=tmp_path, root=root).stdout == f"interpretdl {__version__}\n"


def test_a_photograph_and_a_mistake(root: Path, tmp_path: Path) -> None:
    """What the README shows, with the real model; then an error's exit code and one line."""
    cat = str(root / "assets" / "chelsea.png")
    done = run("explain", cat, "--label", "tiger cat", "--save", "out.png", cwd=tmp_path, root=root)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("           tiger cat (282):  0.3")
    assert len([line for line in lines if LINE.match(line)]) == 10
    assert lines[10:] == ["Use label: 282, tiger cat", "Wrote out.png"]
    assert (tmp_path / "out.png").is_file()
    assert done.stderr == ""
    done = run("explain", cat, "--label", "tiger cart", cwd=tmp_path, root=root)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"error: .*did you mean 'tiger cat'.*\n", done.stderr)


@pytest.mark.skipif(os.name == "nt", reason="sends a Unix signal")
def test_ctrl_c_is_quiet(here: Path, root: Path) -> None:
    slow = (
        "import pathlib, time\n\ndef model():\n    pathlib.Path('up').touch()\n    time.sleep(60)\n"
    )
    (here / "slow_model_here.py").write_text(slow)
    process = subprocess.Popen(
        [
            *(sys.executable, "-W", "ignore", "-m", "interpretdl"),
            *("predict", "photo.png", "--model", "slow_model_here:model"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    try:
        for _ in range(600):
            if (here / "up").exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (130, "", "")
