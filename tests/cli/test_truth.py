"""The command `truth`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interpretdl import cli


def run(*arguments: object) -> int:
    return cli.main(["truth", *map(str, arguments)])


def test_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        "--method", "gradient", "--method", "rise", "--suite", "planted/keys",
        "--option", "rise.evaluations=20", "--pictures", 2, "--out", tmp_path / "made",
    )  # fmt: skip
    assert run(*arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("2 pictures of each problem")
    assert {line.split()[0].rstrip("*") for line in lines[2:7]} == {
        "gradient", "rise", "random", "centre", "sobel",
    }  # fmt: skip
    files = ["truth.csv", "truth.json", "truth.png", "maps.png"]
    assert lines[-4:] == [f"Wrote {tmp_path / 'made' / name}" for name in files]
    content = json.loads((tmp_path / "made/truth.json").read_text())
    assert content["options"] == {"rise": {"evaluations": 20}}


def test_metrics_are_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--method", "gradient", "--suite", "planted/keys", "--pictures", "2"]
    more = ["--metric", "sparseness", "--metric", "sufficiency", "--option", "sufficiency.patch=32"]
    assert run(*arguments, *more, "--out", tmp_path) == 0
    text = capsys.readouterr().out
    assert f"Wrote {tmp_path / 'agreement.csv'}" in text
    rows = (tmp_path / "agreement.csv").read_text().splitlines()
    assert {row.partition(",")[0] for row in rows} == {"evaluator", "sparseness", "sufficiency"}
    assert "rank correlation of each evaluator with the truth" in text
    assert {"sparseness", "sufficiency"} <= {line.split()[0] for line in text.splitlines() if line}
    assert run(*arguments, "--metric", "relevance_mass") == 2
    assert "is given the truth" in capsys.readouterr().err


def test_judging_without_methods_takes_those_of_the_leaderboard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from interpretdl import truth
    from interpretdl.truth.judging import METHODS_JUDGED

    known, given = truth.run, {}

    def judge(metrics: Any, methods: Any, problems: Any, **more: Any) -> Any:
        given.update(more, methods=methods, problems=[problem.name for problem in problems])
        return "judged"

    monkeypatch.setattr(truth, "run", lambda _, problems, **more: known([], problems, pictures=1))
    monkeypatch.setattr(truth, "judge", judge)
    more = ["--option", "rise.evaluations=20", "--option", "smooth_grad.n_samples=3"]
    assert run("--metric", "sparseness", "--suite", "planted/keys", *more, "--quiet") == 0
    assert given["methods"] == list(METHODS_JUDGED)
    assert given["problems"] == ["keys"]
    assert "rise" not in given["options"]
    assert given["options"]["smooth_grad"] == {"n_samples": 3}


def test_a_method_without_a_number_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--method", "lrp", "--method", "gradient", "--suite", "planted/keys"]
    assert run(*arguments, "--pictures", 1, "--option", "lrp.composite=nonsense") == 1
    printed = capsys.readouterr()
    assert "error: lrp explains none of the problems: InputError: no composite" in printed.err
    assert len(printed.err.splitlines()) == 1
    assert "lrp; keys: InputError: no composite" in printed.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "grad_camm"], "no method 'grad_camm'; did you mean 'grad_cam'"),
        (["--method", "gradient", "--suite", "plantd"], "no suite 'plantd'; did you mean"),
        (["--method", "gradient", "--option", "rise.evaluations=3"], "with one of gradient"),
        (["--method", "gradient", "--pictures", "0"], "--pictures"),
        (["--method", "gradient", "--out", "there/is/none"], "cannot make the folder"),
        (["--metric", "deletion", "--suite", "planted/nothing"], "there is nothing to find"),
        (["--metric", "deletion", "--out", "."], "agreement.csv: it is a folder"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agreement.csv").mkdir()
    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1


def test_the_list(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from interpretdl.truth import SUITES, planted

    few = planted.planted(1)
    monkeypatch.setattr("interpretdl.truth.SUITES", {"planted": lambda: few})
    assert SUITES.keys() >= {"planted"}
    assert run("--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["planted", p.name] for p in few]
    assert all(p.doc in line for p, line in zip(few, lines, strict=True))
