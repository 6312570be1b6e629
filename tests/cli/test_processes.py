"""The command line as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from interpretdl import Preprocessing, __version__, registry
from interpretdl.cli.arguments import DEFAULT_METHOD
from interpretdl.data_processor.readers import read_images
from interpretdl.explanation import Explanation

LINE = re.compile(r"^ *.{1,20} \( *(\d+)\):  ([01]\.\d{3})$")
OWN = ["--model", "own_model_here:small"]


def run(
    *arguments: str, cwd: Path, root: Path, python: tuple[str, ...] = ("-m", "interpretdl")
) -> subprocess.CompletedProcess[str]:
    places = os.pathsep.join([str(root), str(cwd)])
    environment = {**os.environ, "PYTHONPATH": places, "COLUMNS": "80", "NO_COLOR": "1"}
    # Nothing was drawn on this machine yet: matplotlib tells that it collects fonts.
    environment["MPLCONFIGDIR"] = str(cwd / "matplotlib")
    return subprocess.run(
        [sys.executable, "-W", "ignore", *python, *arguments],
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
    assert run("--version", cwd=tmp_path, root=root).stdout == f"interpretdl {__version__}\n"


HEAVY = """
import sys
from interpretdl.cli import main
main(sys.argv[1:])
heavy = {"paddle", "numpy", "PIL", "scipy", "matplotlib"} & set(sys.modules)
print("imported:", sorted(heavy))
"""


@pytest.mark.parametrize("command", ["", "explain", "predict", "evaluate", "dissect", "methods"])
def test_help_imports_nothing_heavy(command: str, root: Path, tmp_path: Path) -> None:
    words = [word for word in (command, "--help") if word]
    done = run(*words, cwd=tmp_path, root=root, python=("-c", HEAVY))
    assert done.stdout.startswith("Usage: ")
    assert done.stdout.endswith("imported: []\n"), done.stdout + done.stderr


def test_methods_are_listed_without_importing_them(root: Path, tmp_path: Path) -> None:
    done = run("methods", cwd=tmp_path, root=root, python=("-c", HEAVY))
    *lines, imported = done.stdout.splitlines()
    assert "paddle" not in imported
    assert dict(line.split(maxsplit=1) for line in lines) == {
        name: info.summary for name, info in registry.methods().items()
    }


def test_summaries_are_those_of_the_classes() -> None:
    for table in (registry.METHODS, registry.EVALUATORS):
        fresh = type(table)(table.noun, "interpretdl.none", table.own)
        assert fresh.summaries() == {name: each.summary for name, each in table.all().items()}


OTHERS = """
import numpy as np
from interpretdl import Interpreter
from interpretdl.evaluator import Evaluator, register_evaluator
from interpretdl.registry import register

@register("other_half", layout="nchw", signed=True, paper="none")
class Half(Interpreter):
    \"\"\"Half of the input.\"\"\"
    def attribute(self, x, target, *, twice: bool = False):
        return x * (1.0 if twice else 0.5)

@register_evaluator("other_mean", higher_is_better=True, paper="none", needs=())
class Mean(Evaluator):
    \"\"\"The mean of the map.\"\"\"
"""


def test_methods_and_evaluators_of_other_packages(here: Path, root: Path) -> None:
    """Of a distribution that is installed beside this one, through its entry points."""
    facts = here / "other_methods-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: other-methods\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[interpretdl.methods]\nhalf = other_methods_here:Half\n"
        "[interpretdl.evaluators]\nmean = other_methods_here\n"
    )
    (here / "other_methods_here.py").write_text(OTHERS)
    listed = run("methods", cwd=here, root=root)
    assert listed.returncode == 0, listed.stderr
    lines = {line.split()[0]: line for line in listed.stdout.splitlines()}
    assert lines["other_half"].endswith("Half of the input.")
    assert DEFAULT_METHOD in lines
    about = run("methods", "other_half", cwd=here, root=root).stdout
    assert "other_methods_here.Half" in about
    assert "twice=False  (bool)" in about
    assert "other_mean" in run("evaluate", "--list", cwd=here, root=root).stdout
    for option, factor in (("no", 0.5), ("yes", 1.0)):
        words = ("explain", "photo.png", *OWN, "--method", "other_half", "--save", "out.npz")
        done = run(*words, "--option", f"twice={option}", cwd=here, root=root)
        assert done.returncode == 0, done.stderr
        values = Explanation.load("out.npz").values
        x = read_images("photo.png", Preprocessing(resize=24, crop=24)).inputs
        np.testing.assert_allclose(values, factor * x, rtol=1e-6)


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
        # A shell that starts the tests in the background has them ignore Ctrl-C.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
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
        process.communicate()
    assert (process.returncode, out, err) == (130, "", "")
