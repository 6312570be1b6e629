"""Runs in processes of their own: the same store, and what ends or hangs a process."""

from __future__ import annotations

import json
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import interpretdl as it
from interpretdl.cli import main
from interpretdl.runs.shard import Maker
from interpretdl.testing import small_network
from tests.small_runs import contents, run, write_pictures

pytest.importorskip("pyarrow")

NAMED = "interpretdl.testing:small_network"

# Item 1 hangs, item 2 ends the process, and item 4 is what the model dies of.
FAULTY = """
import os, time
import numpy as np
import paddle
from interpretdl.testing import small_network

class Pictures:
    def __len__(self):
        return 6

    def __getitem__(self, i):
        if i == 1:
            time.sleep(1000)
        if i == 2:
            os.abort()
        pixels = np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)
        return (np.full_like(pixels, 7) if i == 4 else pixels), i % 5

class Model(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.model = small_network()
        self.preprocessing, self.class_names = self.model.preprocessing, self.model.class_names

    def forward(self, x):
        if (np.ptp(x.numpy(), axis=(2, 3)) == 0).all(axis=1).any():
            os.kill(os.getpid(), 9)
        print("a model that prints")
        return self.model(x)

def another():
    return small_network(seed=os.getpid())
"""


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "faulty_data.py").write_text(textwrap.dedent(FAULTY))
    monkeypatch.syspath_prepend(str(tmp_path))
    return "faulty_data"


def test_the_same_store_whoever_makes_it(tmp_path: Path) -> None:
    """By one and two workers: tests of kills and of disks without room."""
    folder = write_pictures(tmp_path / "pictures", 15)
    options = {"deletion": {"steps": 3}}
    given: dict[str, Any] = {"metrics": ["deletion"], "options": options}
    here = run(folder, tmp_path / "here", **given)
    found = run(folder, tmp_path / "found", model=NAMED, workers=4, **given)
    assert found.table().equals(here.table())
    one, other = contents(found.folder), contents(here.folder)
    for each in (one, other):  # which names the model as it was given
        each.pop("run.json")
    assert one == other
    assert found.fingerprint == here.fingerprint


def test_pictures_that_hang_or_end_the_process(faulty: str, tmp_path: Path) -> None:
    """One by one; `test_runs_resources` has batches that become smaller."""
    found = run(f"{faulty}:Pictures", tmp_path / "run", ["gradient"],
                f"{faulty}:Model", workers=2, seconds=2, batch_size=1, shard_size=2)  # fmt: skip
    assert found.complete
    rows = found.rows("gradient")
    assert {row["picture"]: row["error"] for row in rows if row["error"]} == {
        1: "the process that read the picture took more than 2 s",
        2: "the process that read the picture was killed (SIGABRT)",
        4: "the process was killed (SIGKILL) in gradient",
    }
    assert [row["label"] for row in rows if not row["error"]] == [0, 3, 0]


def test_the_folder_it_is_started_in_and_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module there is not the standard one's; what a worker warns of is a warning here."""
    (tmp_path / "random.py").write_text("raise SystemExit('mine ran')")
    monkeypatch.chdir(tmp_path)
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "green")]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    told: list[dict[str, Any]] = []
    with pytest.warns(it.InterpretWarning, match=r"moving\.gif.*one frame") as said:
        found = run(["moving.gif"], tmp_path / "run", ["gradient"], NAMED, on_shard=told.append)
    assert [Path(each.filename).name for each in said] == ["small_runs.py"]
    assert found.complete
    assert "warnings" not in told[0]


def test_models_that_differ_from_process_to_process(faulty: str, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures")
    with pytest.raises(it.InputError, match="the workers built different models"):
        run(folder, tmp_path / "run", model=f"{faulty}:another", workers=2)
    assert not list((tmp_path / "run").glob("*.parquet"))


def test_a_model_that_cannot_be_built(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 1)
    with pytest.raises(it.InputError, match="has no 'small_networks'; did you mean"):
        run(folder, tmp_path / "run", model=f"{NAMED}s")


def test_a_function_is_given_as_itself(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 2)
    found = run(folder, tmp_path / "run", model=small_network, workers=0)
    assert found.settings["model"] == found.fingerprint["model"]
    assert it.open_run(found.folder).complete


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_pictures(tmp_path / "pictures", 6)
    (folder / "broken.png").write_bytes(b"")
    out = tmp_path / "run"
    command = ["run", str(folder), "--model", NAMED, "--method", "grad_cam", "--metric", "deletion",
               "--option", "deletion.steps=5", "--out", str(out), "--shard-size", "4",
               "--workers", "0"]  # fmt: skip
    with warnings.catch_warnings():
        assert main([*command, "--json"]) == 1
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [(line["shard"], line["pictures"], line["errors"]) for line in lines] == [
        (0, 4, 0), (1, 3, 1),
    ]  # fmt: skip
    assert lines[-1]["seconds_left"] == 0
    assert "1 of 7 pictures could not be read or explained" in printed.err
    assert it.open_run(out).settings["metrics"]["deletion"]["options"] == {"steps": 5}

    made = []
    monkeypatch.setattr(Maker, "make", lambda *_: made.append(1))
    assert main(command) == 1  # nothing is left to do
    assert "7 pictures, 1 with an error" in capsys.readouterr().out
    assert not made
    assert main([*command, "--map-size", "7"]) == 2
    assert "map_size: 56 there, 7 now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("package", "ray", "extra"),
    [("pyarrow", None, "runs"), ("pyarrow", "local", "ray"), ("ray", "local", "ray")],
)
def test_without_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, ray: str | None, extra: str
) -> None:
    folder = write_pictures(tmp_path / "pictures", 1)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(it.ResourceError, match=rf"pip install 'interpretdl\[{extra}\]'"):
        run(folder, tmp_path / "run", model=NAMED, ray=ray)
