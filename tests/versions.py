"""Run the tests on the versions of Paddle and Python that README names, and print a table.

    make test-versions
    make test-versions PADDLE="3.0.0" PYTHONS="3.10 3.13" SUITE="tests/contract tests/oracles"
    python tests/versions.py --help

Needs nothing but a Python. Each pair of versions gets an environment of its own, about 1.5 GB,
which is kept for the next time.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PADDLES = ("3.0.0", "3.1.1", "3.2.2", "3.3.1")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
METADATA = ("requirements.txt", "setup.py", "pyproject.toml")
ANSWER = """\
import importlib.metadata as m, sys
def version(name):
    try: return m.version(name)
    except m.PackageNotFoundError: return "-"
print("%d.%d" % sys.version_info[:2], sys.executable, version("paddlepaddle"), version("numpy"))
"""


@dataclass
class Result:
    """What came of a pair of versions; `word` where no test ran."""

    paddle: str
    python: str
    numpy: str = ""
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    minutes: float = 0.0
    word: str = ""
    wrong: bool = False

    @property
    def red(self) -> bool:
        """Whether something is to be cured."""
        return self.wrong or self.failed > 0

    def row(self) -> list[str]:
        counts = [self.passed, self.failed, self.skipped] if not self.word else ["", "", ""]
        minutes = f"{self.minutes:.1f}" if self.minutes else ""
        return [self.paddle, self.python, self.numpy, *map(str, counts), minutes, self.word]


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def pairs(paddles: Sequence[str], pythons: Sequence[str], product: bool) -> list[tuple[str, str]]:
    """Pairs in which each version is at least once, from the oldest two to the newest two."""
    paddles, pythons = sorted(set(paddles), key=number), sorted(set(pythons), key=number)
    if product or not (paddles and pythons):
        return [(paddle, python) for paddle in paddles for python in pythons]
    last = max(len(paddles), len(pythons)) - 1
    steps = [i / max(last, 1) for i in range(last + 1)]
    return [
        (paddles[round(s * (len(paddles) - 1))], pythons[round(s * (len(pythons) - 1))])
        for s in steps
    ]


def ask(python: str | Path) -> list[str]:
    """Its version, path, and versions of Paddle and NumPy ("-": none); empty if it does not run."""
    try:
        done = subprocess.run(
            [str(python), "-c", ANSWER],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []


def candidates(version: str) -> Iterator[str | Path]:
    """Where a Python of this version may be: this one, on PATH, or of pyenv."""
    yield sys.executable
    yield f"python{version}"
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    if os.access(root, os.R_OK | os.X_OK):  # it may be another user's
        yield from sorted(root.glob(f"versions/{version}.*/bin/python"), reverse=True)


def pythons_here(wanted: Sequence[str]) -> dict[str, str]:
    """The path of each version of Python that is found."""
    found: dict[str, str] = {}
    for version in wanted:
        for candidate in candidates(version):
            answer = ask(candidate)
            if answer and answer[0] == version:
                found[version] = answer[1]
                break
    return found


def install(folder: Path, python: str, paddle: str) -> str:
    """An environment with everything that the tests need; says what went wrong, if anything."""
    content = b"".join((ROOT / name).read_bytes() for name in METADATA) + os.fsencode(ROOT)
    stamp, digest = folder / ".ready", hashlib.sha256(content).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return ""
    shutil.rmtree(folder, ignore_errors=True)
    print(f"Making {folder} …", flush=True)
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    done = subprocess.run(
        [
            *(str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"),
            *("--disable-pip-version-check", f"paddlepaddle=={paddle}"),
            *("-r", "requirements.txt", "-e", ".[demo,dev]"),
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        stamp.write_text(digest)
        return ""
    shutil.rmtree(folder, ignore_errors=True)
    # What a registry that cannot be reached says too, but after it was tried again.
    none = f"No matching distribution found for paddlepaddle=={paddle}" in done.stderr
    if none and "Retrying" not in done.stderr:
        return "no wheel"
    print(done.stderr, flush=True)
    return "not installed"


def run(folder: Path, result: Result, suite: Sequence[str], jobs: str) -> None:
    """pytest in the environment; its output is shown as it comes."""
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    started = time.monotonic()
    subprocess.run(
        [
            *(str(folder / "bin" / "python"), "-m", "pytest", "-q", "-n", jobs),
            *("--maxprocesses", "4", "--dist", "worksteal"),
            *(f"--junitxml={report}", "-p", "no:cacheprovider", *suite),
        ],
        cwd=ROOT,
        check=False,
    )
    result.minutes = (time.monotonic() - started) / 60
    try:
        counts = ET.parse(report).getroot().find("testsuite")  # noqa: S314 - our own file
    except (OSError, ET.ParseError):
        counts = None
    if counts is None or counts.get("tests") == "0":
        result.word, result.wrong = "did not finish", True
        return
    result.failed = int(counts.get("failures", 0)) + int(counts.get("errors", 0))
    result.skipped = int(counts.get("skipped", 0))
    result.passed = int(counts.get("tests", 0)) - result.failed - result.skipped


def table(results: Sequence[Result]) -> str:
    head = ["Paddle", "Python", "NumPy", "passed", "failed", "skipped", "minutes", ""]
    rows = [head, *(result.row() for result in results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests/versions.py",
        description="Run the tests on several versions of Paddle and Python, and print a table.",
        epilog="By default each version is run once, the oldest Paddle with the oldest Python and "
        "the newest with the newest: what fails does so because of one of the two, hardly ever "
        "because of the pair, and all pairs would take hours. The exit status is 1 if a test "
        "failed. A Python that is not found, and a pair that pip has no wheel for, are in the "
        "table and are no failure.",
    )
    parser.add_argument("--paddle", nargs="+", default=PADDLES, metavar="VERSION")
    parser.add_argument("--python", nargs="+", default=PYTHONS, metavar="VERSION")
    parser.add_argument("--all", action="store_true", help="every Paddle with every Python")
    parser.add_argument(
        "--ends", action="store_true", help="the oldest pair and the newest pair, no others"
    )
    parser.add_argument(
        "--tested", metavar="PYTHON", help="the Python of an environment that is left out"
    )
    parser.add_argument("--jobs", default="auto", help="processes, as pytest's -n (at most 4)")
    parser.add_argument("--folder", type=Path, default=ROOT / ".venv-versions")
    parser.add_argument("suite", nargs="*", help="files and folders of tests; all by default")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    here = pythons_here(options.python)
    chosen = pairs(options.paddle, list(here), options.all)
    if options.ends:
        chosen = list(dict.fromkeys((chosen[0], chosen[-1]))) if chosen else []
    results = [
        Result("", python, word="this Python is not here")
        for python in options.python
        if python not in here
    ]
    left_out = ask(options.tested) if options.tested else []
    for paddle, python in chosen:
        result = Result(paddle, python)
        results.append(result)
        if left_out and (left_out[2], left_out[0]) == (paddle, python):
            result.word = "tested before"
            continue
        print(f"\nPaddle {paddle}, Python {python}", flush=True)
        folder = options.folder / f"paddle-{paddle}-python-{python}"
        result.word = install(folder, here[python], paddle)
        result.wrong = result.word == "not installed"
        if not result.word:
            result.numpy = ask(folder / "bin" / "python")[3]
            run(folder, result, options.suite, options.jobs)
        print(f"\n{table(results)}", flush=True)
    if not chosen:
        print(table(results))
    return int(not chosen or any(result.red for result in results))


if __name__ == "__main__":
    sys.exit(main())
