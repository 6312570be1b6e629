"""The command `evaluate`."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from interpretdl import cli
from interpretdl.evaluator import evaluators

MODULE = """
import sys
sys.path.insert(0, {tests!r})
from conftest import toy_network
from interpretdl import Preprocessing

def small():
    model = toy_network()
    model.preprocessing = Preprocessing(resize=24, crop=24)
    model.class_names = ("ant", "bee", "cat", "dog", "elk")
    return model
"""


@pytest.fixture
def here(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with a module that has a model."""
    (tmp_path / "measured.py").write_text(MODULE.format(tests=str(root / "tests")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "measured", raising=False)
    return tmp_path


def run(*arguments: object) -> int:
    return cli.main(["evaluate", *map(str, arguments)])


def test_a_table_of_methods_by_metrics(
    here: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        picture, "--model", "measured:small", "--method", "gradient", "--method", "grad_cam",
        "--metric", "deletion", "--metric", "sparseness", "--option", "deletion.steps=4",
        "--option", "deletion.fill=blur", "--option", "gradient.times_input=yes",
        "--label", "cat", "--csv", "out.csv", "--html", "out.html", "--resume", "out.json",
    ]  # fmt: skip
    assert run(*command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ")[0] == "method"
    assert [line.split()[0] for line in lines[1:3]] == ["gradient", "grad_cam"]
    assert lines[3].startswith("n = 1; none is marked")
    assert lines[4:] == ["Wrote out.csv", "Wrote out.html"]
    rows = list(csv.reader((here / "out.csv").read_text().splitlines()))
    assert [len(row) for row in rows] == [15, 15, 15]  # two means, and six more of each metric
    assert "<table>" in (here / "out.html").read_text()
    content = json.loads((here / "out.json").read_text())
    assert content["settings"]["metrics"]["deletion"]["steps"] == 4
    assert content["settings"]["metrics"]["deletion"]["fill"] == "blur"
    assert content["settings"]["methods"]["gradient"]["options"] == {"times_input": True}
    assert len(content["cells"]["gradient"]["deletion"]["axis"]) == 5
    assert run(*command, "--quiet") == 0
    assert capsys.readouterr().out == ""
    assert run(*command, "--option", "deletion.steps=3") == 2
    assert "out.json was made with other settings of deletion" in capsys.readouterr().err


def test_controls(here: Path, picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--metric", "sparseness", "--controls"]
    assert run(picture, "--model", "measured:small", *options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["grad_cam", "random", "centre", "sobel"]
    assert "Controls" in lines[-1]


@pytest.mark.filterwarnings("always::interpretdl.errors.InterpretWarning")
def test_unreadable_pictures_are_said(
    here: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "broken.png").write_bytes(b"no picture")
    assert run(picture, "broken.png", "--model", "measured:small", "--metric", "sparseness") == 1
    told = capsys.readouterr()
    assert "broken.png" in told.err
    assert "grad_cam" in told.out


def test_the_list_is_the_table_of_evaluators(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(evaluators())
    for line, info in zip(lines, evaluators().values(), strict=True):
        assert line.split()[1] == ("higher" if info.higher_is_better else "lower")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "delection"], "did you mean 'deletion'"),
        (["--method", "grad_can"], "did you mean 'grad_cam'"),
        (["--metric", "point_game"], "use interpretdl.evaluator.compare in Python"),
        (["--option", "steps=3"], "NAME.OPTION=VALUE"),
        (["--option", "deletion.step=3"], "did you mean 'steps'"),
        (["--option", "deletion.steps=few"], "deletion: steps must be int"),
        (["--csv", "missing/out.csv"], "does not exist"),
        (["--html", "out.csv"], "the ending must be .html"),
    ],
)
def test_what_is_refused(
    here: Path,
    picture: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert run(picture, "--model", "measured:small", *arguments) == 2
    assert message in capsys.readouterr().err
