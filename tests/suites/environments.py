"""An environment for each of Paddle's suites, and the tests against it: `make test-suites`.

    python tests/suites/environments.py
    python tests/suites/environments.py paddleclas -- -k table
    python tests/suites/environments.py paddlenlp --only-install

It is run by the Python of the tests' environment. What a suite needs beyond that is installed in an
environment of its own, which is kept for the next time; the rest, Paddle and this checkout among
it, is that of the tests. The suites' wheels ask for versions of NumPy and OpenCV that were made for
older Pythons, and for much that is not imported, so they are installed without what they ask for,
and with what they import.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-suites"


@dataclass(frozen=True)
class Suite:
    """What is installed for a suite, and how it is imported.

    Attributes:
        module: the name that is imported.
        wheels: installed without what they ask for.
        needs: installed with what they ask for, unless the tests' environment has it.
    """

    module: str
    wheels: tuple[str, ...]
    needs: tuple[str, ...]


OPENCV = "opencv-python-headless>=4.8"
SUITES = {
    "paddleclas": Suite(
        "paddleclas",
        ("paddleclas==2.6.0", "visualdl==2.5.3"),
        (
            *(OPENCV, "easydict>=1.13", "faiss-cpu>=1.8", "prettytable>=3.10", "six>=1.16"),
            *("requests>=2.32", "ujson>=5.10"),
        ),
    ),
    "paddleseg": Suite("paddleseg", ("paddleseg==2.8.0",), (OPENCV, "six>=1.16")),
    "paddledet": Suite(
        "ppdet",
        ("paddledet==2.6.0",),
        (OPENCV, "six>=1.16", "pandas>=2.2", "pycocotools>=2.0.8"),
    ),
    # Later versions of the last three lack what it imports of them.
    "paddlenlp": Suite(
        "paddlenlp",
        ("paddlenlp==2.8.1",),
        (
            *("colorama>=0.4", "colorlog>=6.8", "fastapi>=0.110", "jieba>=0.42", "regex>=2024.4"),
            *("sentencepiece>=0.2", "seqeval>=1.2.2"),
            *("aistudio-sdk==0.2.6", "datasets==3.2.0", "huggingface-hub==0.23.5"),
        ),
    ),
}


def install(suite: Suite, folder: Path) -> bool:
    """Make the suite's environment, unless it is there; whether the suite can be imported."""
    content = repr((suite, sys.prefix, sys.version, str(ROOT)))
    stamp, digest = folder / ".ready", hashlib.sha256(content.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return True
    shutil.rmtree(folder, ignore_errors=True)
    print(f"Making {folder} …", flush=True)
    python = str(folder / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    # Not `--system-site-packages`, which would be those of the Python that .venv was made with.
    tests = sysconfig.get_path("purelib")
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "tests.pth").write_text(f"import site; site.addsitedir({tests!r})\n")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for what in (["--no-deps", *suite.wheels], list(suite.needs)):
        # pip ends with 0 and says what the wheels ask for, which is known
        done = subprocess.run([*pip, *what], stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            print(done.stderr, flush=True)
            return False
    command = [python, "-W", "ignore", "-c", f"import {suite.module}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr, flush=True)
        return False
    stamp.write_text(digest)
    return True


def run(name: str, folder: Path, given: Sequence[str]) -> int:
    """pytest's exit status."""
    command = [str(folder / "bin" / "python"), "-m", "pytest", "-q", "-m", "suites"]
    # Suites warn when they are imported; interpretdl's own warnings are errors, see conftest.py.
    command += ["-W", "ignore", "-p", "no:cacheprovider", "-p", "no:xdist"]
    file = ROOT / "tests" / "suites" / f"test_{name}.py"
    return subprocess.run([*command, str(file), *given], cwd=ROOT, check=False).returncode


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run the tests against Paddle's suites.")
    parser.add_argument(
        "suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all by default"
    )
    parser.add_argument("--only-install", action="store_true", help="run no tests")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    words, rest = _cut(sys.argv[1:] if given is None else list(given))
    options = parser.parse_args(words)
    unknown = set(options.suites) - set(SUITES)
    if unknown:
        parser.error(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    lines, wrong = [], False
    for name in options.suites or SUITES:
        start, folder = time.monotonic(), options.folder / name
        ready = install(SUITES[name], folder)
        installed = time.monotonic()
        word = "installed" if ready else "not installed"
        if ready and not options.only_install:
            word = "passed" if run(name, folder, rest) == 0 else "failed"
        wrong |= word not in ("passed", "installed")
        seconds = f"{installed - start:.0f} s to install, {time.monotonic() - installed:.0f} s"
        lines.append(f"{name:12}{word}  ({seconds})")
    print("\n" + "\n".join(lines))
    return int(wrong)


def _cut(words: list[str]) -> tuple[list[str], list[str]]:
    """What stands before `--`, and what stands behind it, which is pytest's."""
    if "--" not in words:
        return words, []
    place = words.index("--")
    return words[:place], words[place + 1 :]


if __name__ == "__main__":
    sys.exit(main())
