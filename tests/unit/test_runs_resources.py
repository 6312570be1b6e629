"""Runs whose workers have too little memory, or too little room on the disk."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import interpretdl as it
from interpretdl import cli
from tests.small_runs import contents, run, write_pictures

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sets limits")

# Each function makes the same network, and its process a poor one.
POOR = """
import os, resource, signal
from pathlib import Path
import paddle
from interpretdl.testing import small_network

GREED = 400 * 2**20  # bytes for a picture, which are never touched

class Model(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.model = small_network()
        self.preprocessing, self.class_names = self.model.preprocessing, self.model.class_names
        self.kill = self.greed = False

    def forward(self, x):
        with Path(__file__).with_name("sizes").open("a") as file:
            print(len(x), file=file)
        if self.kill and len(x) > 1:  # as the system does where memory runs out
            os.kill(os.getpid(), signal.SIGKILL)
        if self.greed:
            paddle.empty([len(x), GREED // 4])
        return self.model(x)

def limit(which, more):
    resource.setrlimit(which, (more, resource.getrlimit(which)[1]))

def rich():
    return Model()

def killed():
    model = Model()
    model.kill = True
    return model

def little_memory():
    model = Model()
    model(paddle.zeros([1, 3, 16, 16]))
    model.greed = True
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit(resource.RLIMIT_AS, pages * os.sysconf("SC_PAGE_SIZE") + int(2.5 * GREED))
    return model

def little_disk():
    limit(resource.RLIMIT_FSIZE, int(Path(__file__).with_name("room").read_text()))
    return Model()
"""


@pytest.fixture
def poor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "poor_models.py").write_text(textwrap.dedent(POOR))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "poor_models", raising=False)
    return "poor_models"


@pytest.mark.parametrize("way", ["little_memory", "killed"])
def test_a_worker_out_of_memory(poor: str, tmp_path: Path, way: str) -> None:
    folder = write_pictures(tmp_path / "pictures", 4)
    whole = run(folder, tmp_path / "whole", ["gradient"], f"{poor}:rich", workers=0, batch_size=4)
    (tmp_path / "sizes").unlink()
    told: list[dict[str, Any]] = []
    found = run(folder, tmp_path / "run", ["gradient"], f"{poor}:{way}", workers=1,
                batch_size=4 if way == "little_memory" else 2, on_shard=told.append)  # fmt: skip
    sizes = list(map(int, (tmp_path / "sizes").read_text().split()))
    assert not any(row["error"] for row in found.rows("gradient"))
    np.testing.assert_allclose(found.maps("gradient"), whole.maps("gradient"), atol=1e-3)
    if way == "killed":
        assert sizes == [2, 2, 1, 1, 1, 1]  # once more, then halved
        assert told[0]["batch_size"] == 1
    else:
        assert sizes[:2] == [1, 4]
        assert max(sizes[2:]) == 2


def test_a_disk_without_room(poor: str, tmp_path: Path) -> None:
    """The first file has nothing but errors, for which there is room."""
    folder = write_pictures(tmp_path / "pictures", 6)
    for broken in range(4):
        (folder / f"{broken:02}.png").write_bytes(b"")
    whole = run(folder, tmp_path / "whole", ["gradient"], f"{poor}:rich", workers=0)
    expected = contents(whole.folder)
    sizes = [len(expected[f"shard-0000{k}.parquet"]) for k in range(2)]
    (tmp_path / "room").write_text(str(sum(sizes) // 2))
    out = tmp_path / "run"
    with pytest.raises(it.ResourceError, match=r"shard-00001.parquet: .*make room, and run again"):
        run(folder, out, ["gradient"], f"{poor}:little_disk", workers=1)
    assert sorted(contents(out)) == ["README.md", "run.json", "shard-00000.parquet"]
    run(folder, out, ["gradient"], f"{poor}:rich", workers=0)
    found = contents(out)
    for each in (found, expected):  # which names the model as it was given
        each.pop("run.json")
    assert found == expected


@pytest.mark.parametrize("command", ["run", "report", "diff"])
def test_without_pyarrow_it_says_what_to_install(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "there").mkdir()
    for name in ("pyarrow", "pyarrow.parquet", "pyarrow.compute"):
        monkeypatch.setitem(sys.modules, name, None)
    arguments = {
        "run": ["pictures", "--method", "gradient", "--out", "made"],
        "report": ["there"],
        "diff": ["there", "there"],
    }
    monkeypatch.chdir(tmp_path)
    assert cli.main([command, *arguments[command]]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "pip install 'interpretdl[runs]'" in printed.err
    assert len(printed.err.splitlines()) == 1
    assert not (tmp_path / "made").exists()
