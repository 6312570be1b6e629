"""`interpretdl dissect` and `interpretdl mini-broden`."""

from __future__ import annotations

from pathlib import Path

import pytest

from interpretdl.cli import main

NETWORK = """
import paddle
from interpretdl import Preprocessing
def network():
    paddle.seed(0)
    model = paddle.nn.Sequential(
        paddle.nn.Conv2D(3, 4, 3, stride=4), paddle.nn.ReLU(), paddle.nn.AdaptiveAvgPool2D(1),
        paddle.nn.Flatten(), paddle.nn.Linear(4, 2))
    model.preprocessing = Preprocessing(resize=None, crop=64)
    return model
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "small_network.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["mini-broden", "data", "--scenes", "6", "-q"]) == 0
    return tmp_path


def test_from_nothing_to_a_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dissect", "data", "--check"]) == 0
    assert capsys.readouterr().out == "data: no fault found\n"
    command = ["dissect", "data", "--model", "small_network:network", "--layer", "1"]
    assert main([*command, "--baseline", "--batch-size", "3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1: ")
    assert "/4 units covering" in out
    assert "1-rotated: " in out
    assert "Wrote dissection/1-result.csv" in out
    assert out.endswith("Wrote dissection/report.html\n")
    assert (folder / "dissection" / "report.html").stat().st_size > 10_000
    # taken up again, and never mixed
    assert main([*command, "--batch-size", "3", "-q"]) == 0
    assert capsys.readouterr().out == ""
    assert main([*command, "--share", "0.1"]) == 2
    assert "another batch_size, share; results are not mixed" in capsys.readouterr().err
    assert main([*command, "--share", "0.1", "--restart", "--no-report", "-q"]) == 0


def test_the_default_layer_is_the_last_spatial_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dissect", "data", "-m", "small_network:network", "-o", "out", "--no-report"]) == 0
    assert "Wrote out/1-result.csv" in capsys.readouterr().out


def test_categories_that_count(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["dissect", "data", "-m", "small_network:network", "-o", "out"]
    assert main(command) == 0
    assert main([*command, "--categories", "object, texture"]) == 2
    assert "another categories, data; results are not mixed" in capsys.readouterr().err
    assert main([*command, "--categories", "object, texture", "--restart"]) == 0
    head = (folder / "out" / "1-result.csv").read_text().splitlines()[0]
    assert {column.split("-")[0] for column in head.split(",")[4:]} == {"object", "texture"}
    page = (folder / "out" / "report.html").read_text()
    assert "count: object, texture; left out: scene, part, material, color" in page
    assert main([*command, "--categories", "objects"]) == 2
    assert "did you mean 'object'" in capsys.readouterr().err
    assert main([*command, "--categories", ""]) == 2
    assert "no category ''" in capsys.readouterr().err


def test_a_folder_that_is_in_use(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from interpretdl.dissection.lock import Hold

    command = ["dissect", "data", "-m", "small_network:network", "-o", "out"]
    (folder / "out").mkdir()
    with Hold(folder / "out"):
        assert main(command) == 2
    said = capsys.readouterr()
    assert "another dissection is writing into out: process" in said.err
    assert "Traceback" not in said.err
    (folder / "out" / "1-tally.npz").write_bytes(b"PK")
    assert main(command) == 2
    assert "not a file written by interpretdl" in capsys.readouterr().err


def test_faults_are_one_line_each(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mini-broden", "data"]) == 2
    assert "data is not an empty folder" in capsys.readouterr().err
    (folder / "data" / "images" / "00002.jpg").unlink()
    assert main(["dissect", "data", "--check"]) == 2
    assert capsys.readouterr().out == "index.csv, line 4: no file images/00002.jpg\n"
    assert main(["dissect", "data", "--model", "small_network:network"]) == 2
    assert "not a data set in Broden's layout" in capsys.readouterr().err
