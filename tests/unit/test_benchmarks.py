"""The benchmark program: one case from end to end, and what it makes of results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import report
from benchmarks.cases import REASONS, Case, cases, reason
from benchmarks.measure import Result, comparable, quartiles


def run(*arguments: str, cwd: Path) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=cwd, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_one_case(root: Path, tmp_path: Path) -> None:
    """Beside its floor; a peer that is not there is a failed case, and said."""
    chosen = ("--quick", "--only", "grad_cam_explain", "--rounds", "1", "--out", str(tmp_path))
    ended = run(*chosen, cwd=root)
    assert ended.returncode == 0, ended.stderr
    assert "of floor" in ended.stdout
    (result,), machine = report.read([tmp_path / "results.json"])
    assert result.wall["ours"][1] > 0
    assert result.memory["ours"][1] > 50
    assert result.facts["ours"]["passes"] == {"forward": 1}
    assert result.ratios["floor"][1] == pytest.approx(
        result.wall["ours"][1] / result.wall["floor"][1], rel=1e-6
    )
    assert machine["threads"] == "1"
    assert "| grad_cam_explain | 1 |" in (tmp_path / "results.md").read_text()
    ended = run(*chosen, "--peers", sys.executable, cwd=root)
    assert ended.returncode == 1
    assert "failed: ModuleNotFoundError: No module named 'torch'" in ended.stdout


def test_no_such_case(root: Path) -> None:
    ended = run("--only", "nothing of the kind", cwd=root)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "no case is named like 'nothing of the kind'\n"


def test_cases_have_names_of_their_own() -> None:
    for quick in (False, True):
        names = [case.name for case in cases(quick, None)]
        assert len(names) == len(set(names)) > 10
    assert {case.model for case in cases(False, "resnet50*lrp")} == {"resnet50"}
    methods = {case.method for case in cases(False, None)}
    assert {method for method, _, _ in REASONS} <= methods


def result(ratio: float, **options: Any) -> Result:
    case = Case("gradient", "resnet50", 8, 0, "captum", 1.0, **options)
    return Result(
        case, wall={"ours": [1.0, 2.0, 3.0]}, memory={"ours": [1.0] * 3, "peer": [2.0] * 3},
        first={"ours": 1.5}, ratios={"peer": [ratio] * 3}, difference=1e-3, correlation=0.5,
    )  # fmt: skip


def test_a_goal_that_is_missed_has_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = {"processor": "some"}
    monkeypatch.setitem(REASONS, ("gradient", "*", "peer"), "because.")
    text = report.markdown([result(0.9)], machine)
    assert "| gradient | 8 | 250 (125–375) | 1.5 | 0.90 (0.90–0.90) captum | 1.0 |" in text
    assert "because" not in text
    text = report.markdown([result(1.2)], machine)
    assert "**1.20 (1.20–1.20)** captum" in text
    assert "- gradient, 8, peer 1.20 > 1.0: because." in text
    assert reason(Case("of no kind", "vgg16"), "floor") == ""


def test_the_page_and_the_chart(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    for _ in range(2):
        report.into_page([result(0.5)], {"a": "b"}, page, tmp_path / "chart.png")
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{report.END}\nafter\n")
    assert "old" not in text
    assert text.count("### resnet50") == 1
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_results_are_written_and_read_again(tmp_path: Path) -> None:
    report.write([result(0.5)], {"a": "b"}, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["machine"] == {"a": "b"}
    assert report.read([tmp_path / "results.json"] * 2) == ([result(0.5)] * 2, {"a": "b"})


def test_maps_are_brought_to_one_shape() -> None:
    ours, theirs = comparable(np.ones((1, 1, 2, 2)), np.ones((1, 3, 2, 2)))
    assert theirs.tolist() == [[[[3.0] * 2] * 2]]
    assert ours.shape == theirs.shape
    ours, theirs = comparable([[[1.0, 3.0]]], np.zeros((1, 4, 4)))
    assert (ours.shape, ours.min(), ours.max()) == ((1, 4, 4), 0, 1)
    assert quartiles([4.0, 1, 2, 3, 5]) == [2, 3, 4]
