"""Tests in forked processes: which lines each of them runs, and whether one notices a mutant.

The parent has imported Paddle, and nothing of interpretdl: each child imports it anew, with the
mutant's source in the place of the file's. No file is changed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import io
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

# pytest's cache, which holds what tests have trained.
CACHE = Path("out/mutants/cache").resolve()
_MEMORY = 10 << 30
_ARGUMENTS = ["-q", "-x", "--no-header", "-p", "no:randomly", "-n", "0"]


class Selection:
    """A pytest plugin: runs the tests named, in that order, and remembers what happened.

    Args:
        names: of tests; None for all.
        begin: called with each test's name before it runs.
        limits: seconds that a test may take, by name.
    """

    def __init__(
        self,
        names: list[str] | None,
        begin: Callable[[str], None] | None = None,
        limits: Mapping[str, float] | None = None,
    ) -> None:
        self.order = None if names is None else {name: k for k, name in enumerate(names)}
        self.limits = limits or {}
        self.begin = begin
        self.seconds: dict[str, float] = {}
        self.failed: tuple[str, str] | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        if self.order is not None:
            items[:] = sorted(
                (item for item in items if item.nodeid in self.order),
                key=lambda item: self.order[item.nodeid],
            )
        for item in items:
            if item.nodeid in self.limits:
                item.add_marker(pytest.mark.timeout(self.limits[item.nodeid]))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        if self.begin is not None:
            self.begin(item.nodeid)
        start = time.perf_counter()
        result = yield
        self.seconds[item.nodeid] = time.perf_counter() - start
        return result

    def _report(self, report: Any) -> None:
        if report.failed and self.failed is None:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = crash.message if crash else str(report.longrepr)
            self.failed = report.nodeid, why.strip().splitlines()[0][:200] if why.strip() else ""

    pytest_runtest_logreport = pytest_collectreport = _report


class Source(importlib.machinery.SourceFileLoader):
    """A module whose source is not its file's."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self.text = text

    def get_code(self, fullname: str) -> Any:
        return compile(self.text, self.path, "exec", dont_inherit=True)


class Replaced:
    """Finds one module with another source."""

    def __init__(self, root: Path, path: str, text: str) -> None:
        self.name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        self.path, self.text = str(root / path), text

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self.name:
            return None
        loader = Source(name, self.path, self.text)
        return importlib.util.spec_from_file_location(name, self.path, loader=loader)


@contextlib.contextmanager
def forked(work: Callable[[Path], Any], limit: float) -> Iterator[Callable[[], Any]]:
    """Do work in a child; gives a function that says what came of it, None while it runs.

    The answer is what `work` returned, or {"ended": how} where the child was killed.
    """
    with tempfile.TemporaryDirectory(prefix="mutant", ignore_cleanup_errors=True) as folder:
        child = os.fork()
        if child == 0:
            try:
                os.setpgid(0, 0)
                resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
                out = os.open(Path(folder) / "output", os.O_CREAT | os.O_WRONLY)
                os.dup2(out, 1)
                os.dup2(out, 2)
                answer = json.dumps(work(Path(folder)))
                (Path(folder) / "answer").write_text(answer, encoding="utf-8")
            finally:
                os._exit(0)
        start = time.monotonic()

        def poll() -> Any:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid == 0:
                if time.monotonic() - start < limit:
                    return None
                _end(child)
                os.waitpid(child, 0)
                return {"ended": f"stopped after {limit:.0f} s"}
            _end(child)
            try:
                return json.loads((Path(folder) / "answer").read_text(encoding="utf-8"))
            except FileNotFoundError:
                text = (Path(folder) / "output").read_text(encoding="utf-8", errors="replace")
                last = text.strip().splitlines()[-1:] or [""]
                return {"ended": f"the process ended by itself ({status}): {last[0][:150]}"}

        yield poll


def _end(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def in_parallel(
    tasks: list[tuple[Callable[[Path], Any], float]], jobs: int
) -> Iterator[tuple[int, Any]]:
    """(number of the task, its answer) of forked work with its limits, as it is done."""
    waiting = list(enumerate(tasks))[::-1]
    running: dict[int, tuple[Any, Callable[[], Any]]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            k, (work, limit) = waiting.pop()
            manager = forked(work, limit)
            running[k] = manager, manager.__enter__()
        time.sleep(0.02)
        for k, (manager, poll) in list(running.items()):
            answer = poll()
            if answer is not None:
                manager.__exit__(None, None, None)
                del running[k]
                yield k, answer


def prepare() -> None:
    """Import, before there are children, what all of them need."""
    for name in ("matplotlib.pyplot", "paddle", "scipy.stats", "skimage.transform"):
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as nothing, contextlib.redirect_stdout(io.StringIO()):
        pytest.main([*_ARGUMENTS, "-p", "no:cacheprovider", "--rootdir", nothing, nothing])


def run_tests(files: list[str], selection: Selection, folder: Path) -> Any:
    """Run tests in this process: {"failed": (test, why) or None, "seconds": {test: s}}."""
    arguments = [*_ARGUMENTS, "--timeout=600", f"--basetemp={folder / 'tmp'}"]
    arguments += ["-o", f"cache_dir={CACHE}", *files]
    code = pytest.main(arguments, plugins=[selection])
    failed = selection.failed
    if failed is None and code not in (0, 5):
        failed = ("", f"pytest ended with {code}")
    return {"failed": failed, "seconds": selection.seconds}


def lines_of(file: str, mutated: list[str], root: Path) -> Callable[[Path], Any]:
    """Work that finds which tests of one file run each line of the files that are changed."""

    def work(folder: Path) -> Any:
        from coverage import Coverage

        coverage = Coverage(data_file=None, include=[str(root / path) for path in mutated])
        coverage.start()
        answer = run_tests([file], Selection(None, coverage.switch_context), folder)
        coverage.stop()
        data = coverage.get_data()
        answer["lines"] = {
            str(Path(path).relative_to(root)): {
                line: tests
                for line, names in data.contexts_by_lineno(path).items()
                if (tests := sorted(filter(None, names)))
            }
            for path in sorted(data.measured_files())
        }
        return answer

    return work


def noticed(root: Path, path: str, text: str, limits: Mapping[str, float]) -> Callable[[Path], Any]:
    """Work that runs tests with another source of one file, up to the first that fails.

    Args:
        limits: the tests, in their order, and the seconds that each may take.
    """

    def work(folder: Path) -> Any:
        sys.meta_path.insert(0, Replaced(root, path, text))
        files = list(dict.fromkeys(test.partition("::")[0] for test in limits))
        return run_tests(files, Selection(list(limits), limits=limits), folder)

    return work
