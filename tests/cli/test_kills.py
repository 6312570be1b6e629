"""Runs that were killed go on, to the same bytes; and only where nothing has changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from interpretdl import GradientInterpreter, cli
from interpretdl.explanation import Explanation

KILLS = Path(__file__).with_name("kills.py")
COMMAND = [
    "explain",
    "pictures",
    "--model",
    "own_model_here:small",
    "--method",
    "gradient",
    "--batch-size",
    "1",
]
TO = ["--save", "out"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks, which Windows cannot")
@pytest.mark.parametrize("command", ["explain", "compare"])
def test_killed_runs_end_in_the_same_bytes(command: str, root: Path) -> None:
    """Two kills; `python tests/cli/kills.py explain 20` does as many as wanted."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(KILLS), command, "2"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)}, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all bytes are equal" in done.stdout


@pytest.fixture
def explained(here: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A folder with three pictures; the list grows by the name of each that is explained."""
    Path("pictures").mkdir()
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (30, 30, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(f"pictures/{i}.png")
    names: list[str] = []
    explain = GradientInterpreter.explain

    def counted(self: Any, given: Any, *rest: Any, **options: Any) -> Explanation:
        names.extend(path.name for path in (given if isinstance(given, list) else [given]))
        return explain(self, given, *rest, **options)

    monkeypatch.setattr(GradientInterpreter, "explain", counted)
    return names


def interrupted(explained: list[str], monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    """Run until two pictures are done, as Ctrl-C leaves it."""
    save = Explanation.save

    def once(self: Explanation, *rest: Any, **options: Any) -> None:
        if len(explained) == 3:
            raise KeyboardInterrupt
        save(self, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Explanation, "save", once)
        assert cli.main([*COMMAND, *TO, *more]) == 130
    assert explained == ["0.png", "1.png", "2.png"]
    explained.clear()


def results(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_what_is_done_is_not_done_again(
    explained: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*COMMAND, "--save", "whole"]) == 0
    said = capsys.readouterr().out
    assert explained == ["0.png", "1.png", "2.png"]
    explained.clear()
    interrupted(explained, monkeypatch)
    capsys.readouterr()
    assert cli.main([*COMMAND, *TO]) == 0
    assert explained == ["2.png"]
    assert results("out") == results("whole")
    assert capsys.readouterr().out.replace("out", "whole") == said
    # a run that was complete is forgotten
    explained.clear()
    assert cli.main([*COMMAND, *TO]) == 0
    assert len(explained) == 3


def edit_model(old: str, new: str) -> None:
    source = Path("own_model_here.py")
    source.write_text(source.read_text().replace(old, new))
    sys.modules.pop("own_model_here")
    sys.path_importer_cache.clear()


def other_picture() -> None:
    Path("pictures/0.png").write_bytes(Path("pictures/1.png").read_bytes())


CHANGES: dict[str, tuple[list[str], Any, int]] = {
    "label": (["--label", "2"], None, 3),
    "option": (["--option", "times_input=yes"], None, 3),
    "style": (["--style", "heatmap"], None, 3),
    "top": (["--top", "1"], None, 3),
    "batch size": (["--batch-size", "2"], None, 3),
    "weights": ([], lambda: edit_model("toy_network()", "toy_network(seed=1)"), 3),
    "preprocessing": ([], lambda: edit_model("crop=24", "crop=20"), 3),
    "names": ([], lambda: edit_model('"ant"', '"ape"'), 3),
    "picture": ([], other_picture, 2),
    "result": ([], lambda: Path("out/0_gradient.png").write_bytes(b"painted over"), 2),
    "result away": ([], lambda: Path("out/1_gradient.png").unlink(), 2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_made_otherwise_is_made_again(
    change: str, explained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    more, do, times = CHANGES[change]
    interrupted(explained, monkeypatch)
    if do is not None:
        do()
    assert cli.main([*COMMAND, *TO, *more]) == 0
    assert len(explained) == times
    if times == 3:  # nothing is left of the other settings
        return
    assert cli.main([*COMMAND, "--save", "whole", *more]) == 0
    assert results("out") == results("whole")


OWN_LAYER = """
import paddle
from own_model_here import small

class Changed(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.inner = small()
        self.preprocessing = self.inner.preprocessing

    def forward(self, x):
        return 2 * self.inner(x)
"""


def test_other_code_of_the_model(explained: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same name and with the same weights."""
    source = Path("changed_here.py")
    source.write_text(OWN_LAYER)
    monkeypatch.delitem(sys.modules, "changed_here", raising=False)
    own = ["--model", "changed_here:Changed"]
    interrupted(explained, monkeypatch, *own)
    source.write_text(OWN_LAYER.replace("2 *", "self.inner(x) *"))
    del sys.modules["changed_here"]
    assert cli.main([*COMMAND, *TO, *own]) == 0
    assert len(explained) == 3


NOTED = Path("out/.interpretdl-unfinished.jsonl")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) * 2 // 3],  # killed while a line was written
        lambda text: text + '[1]\n"a"\n{"result": []}\n{"result": "0_gradient.png"}\n\xff\0',
        lambda text: "".join(
            json.dumps({**json.loads(line), "lines": 7}) + "\n" for line in text.split()
        ),
    ],
)
def test_notes_that_are_damaged_are_not_believed(
    spoil: Any, explained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(explained, monkeypatch)
    NOTED.write_bytes(spoil(NOTED.read_text().replace(" ", "")).encode("latin-1"))
    assert cli.main([*COMMAND, *TO]) == 0
    assert "2.png" in explained
    assert sorted(results("out")) == [f"{i}_gradient.png" for i in range(3)]


@pytest.mark.skipif(os.name == "nt", reason="makes what Windows has not")
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("x", path)])
def test_notes_that_are_no_file(
    make: Any, explained: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out").mkdir()
    make(NOTED)
    assert cli.main([*COMMAND, *TO]) == 2
    assert f"error: {NOTED} is no regular file; remove it\n" == capsys.readouterr().err
    assert explained == []
