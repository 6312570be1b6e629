"""`make test-versions` runs what README names, and says what came of it."""

from __future__ import annotations

import importlib.util
import re
import sys
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest

PYTEST = """\
import sys
from pathlib import Path
(path,) = [a.partition("=")[2] for a in sys.argv if a.startswith("--junitxml=")]
Path(path).write_text({report!r})
"""


@pytest.fixture(scope="module")
def versions(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("versions", root / "tests" / "versions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_readme_names_what_is_run(versions: ModuleType, root: Path) -> None:
    promise = " ".join((root / "README.md").read_text(encoding="utf-8").split())
    (first, last, paddles) = re.findall(
        r"tries Python ([\d.]+) to ([\d.]+) and Paddle ([\d., and]+) \(", promise
    )[0]
    assert (first, last) == (versions.PYTHONS[0], versions.PYTHONS[-1])
    assert tuple(re.findall(r"[\d.]+\d", paddles)) == versions.PADDLES
    setup = (root / "setup.py").read_text(encoding="utf-8")
    assert f'python_requires=">={first}"' in setup
    minors = [versions.number(python)[1] for python in versions.PYTHONS]
    assert minors == list(range(minors[0], minors[-1] + 1))
    assert f"range({minors[0]}, {minors[-1] + 1})" in setup
    required = (root / "requirements.txt").read_text(encoding="utf-8")
    assert f"paddlepaddle>={versions.PADDLES[0].removesuffix('.0')}\n" in required


@pytest.mark.parametrize(("m", "n"), [*product([1, 2, 3, 4], repeat=2)])
def test_each_version_has_its_turn(versions: ModuleType, m: int, n: int) -> None:
    paddles, pythons = versions.PADDLES[:m], ["3.9", "3.10", "3.11", "3.13"][:n]
    found = versions.pairs(paddles[::-1], pythons[::-1], False)
    assert len(found) == max(m, n)
    assert {paddle for paddle, _ in found} == set(paddles)
    assert {python for _, python in found} == set(pythons)
    assert found[0] == (paddles[0], pythons[0])
    assert found[-1] == (paddles[-1], pythons[-1])
    assert set(versions.pairs(paddles, pythons, True)) == set(product(paddles, pythons))


def test_without_python_nothing_is_run(
    versions: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert versions.main(["--python", "3.99"]) == 1
    assert "3.99" in capsys.readouterr().out


def test_this_python_is_found(versions: ModuleType) -> None:
    this = f"{sys.version_info[0]}.{sys.version_info[1]}"
    here = versions.pythons_here([this, "3.99"])
    assert list(here) == [this]
    assert versions.ask(here[this])[0] == this


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("ERROR: No matching distribution found for paddlepaddle==3.0.0", "no wheel"),
        (
            "WARNING: Retrying (Retry(total=4, …\n"
            "ERROR: No matching distribution found for paddlepaddle==3.0.0",
            "not installed",
        ),
        ("ERROR: Could not install packages due to an OSError", "not installed"),
    ],
)
def test_a_wheel_that_is_not_there_is_no_failure(
    versions: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, word: str
) -> None:
    def answer(command: list[str], **_: object) -> object:
        return versions.subprocess.CompletedProcess(command, int("pip" in command), "", said)

    monkeypatch.setattr(versions.subprocess, "run", answer)
    assert versions.install(tmp_path / "env", sys.executable, "3.0.0") == word


@pytest.mark.parametrize(
    ("report", "row", "red"),
    [
        ('<x><testsuite tests="9" failures="2" errors="1" skipped="1"/></x>', "5 3 1", True),
        ('<x><testsuite tests="9" failures="0" errors="0" skipped="1"/></x>', "8 0 1", False),
        ('<x><testsuite tests="0" failures="0" errors="0" skipped="0"/></x>', "", True),
        ("<x", "", True),
    ],
)
def test_what_is_counted(
    versions: ModuleType, tmp_path: Path, report: str, row: str, red: bool
) -> None:
    """A program that writes this report in the place of pytest."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f"#!{sys.executable}\n{PYTEST.format(report=report)}")
    python.chmod(0o755)
    result = versions.Result("3.0.0", "3.10", "2.2.6")
    versions.run(tmp_path, result, ["tests"], "1")
    assert " ".join(result.row()[3:6]).strip() == row
    assert (result.red, result.word) == (red, "" if row else "did not finish")
    assert ("did not finish" in versions.table([result])) == (not row)
