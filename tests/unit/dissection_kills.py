"""Kills dissections and holds what they write in the end against a quiet run.

    python tests/unit/dissection_kills.py 20             at random moments
    python tests/unit/dissection_kills.py 20 --seed 7
    python tests/unit/dissection_kills.py all            before each change of a file
    python tests/unit/dissection_kills.py few            some of both, as `make test` does

Children of this process dissect a small model, and are killed (SIGKILL). Half of them begin in an
empty folder, the others replace the results of another share (`restart=True`). What was killed is
started again, with `restart` or without, until it completes. Then every file must be byte for byte
that of a run that nobody killed, and there must be no other."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

CHANGES = ("unlink", "replace", "rename", "write", "ftruncate")


class Course:
    """Dissections of a small data set in a folder, and what one leaves that nobody killed."""

    def __init__(self, folder: Path) -> None:
        from interpretdl.dissection import mini_broden

        self.data = mini_broden(folder / "data", scenes=6, size=32)
        self.out, self.other = folder / "out", folder / "other"
        os.environ["SOURCE_DATE_EPOCH"] = "0"  # the date in the report
        for module in ("jinja2", "PIL.JpegImagePlugin"):  # once, and not in every child
            __import__(module)
        self.dissect(self.other, 0.1, False)
        self.dissect(self.out, 0.005, False)
        self.expected = contents(self.out)

    def dissect(self, out: Path, share: float, restart: bool) -> None:
        from interpretdl.dissection import dissect
        from interpretdl.testing import small_network

        dissect(small_network(), self.data, ["0", "5"], out, share=share, input_size=32,
                baseline=True, batch_size=2, checkpoint_seconds=0, restart=restart)  # fmt: skip

    def begin(self, restart: bool) -> None:
        """An empty folder, or one with the results that are replaced."""
        shutil.rmtree(self.out)
        if restart:
            shutil.copytree(self.other, self.out)

    def run(
        self, restart: bool, kill_after: float | None = None, before: Callable[[], Any] = int
    ) -> bool:
        """Dissect in a child; whether it completed."""
        context = multiprocessing.get_context("fork")
        child = context.Process(target=self._child, args=(restart, before))
        child.start()
        child.join(kill_after)
        child.kill()
        child.join()
        if child.exitcode not in (0, -signal.SIGKILL):
            raise SystemExit(f"a dissection that was started again failed ({child.exitcode})")
        return child.exitcode == 0

    def _child(self, restart: bool, before: Callable[[], Any]) -> None:
        before()
        self.dissect(self.out, 0.005, restart)

    def began(self, restart: bool) -> bool:
        """Whether a killed run had come to change results: it goes on without `restart` then."""
        found = contents(self.out) if self.out.exists() else {}
        if not restart:
            return bool(found)
        noted = b"replacing" in found.get(".dissection.lock", b"")
        return noted or any(found.get(name) != old for name, old in contents(self.other).items())

    def compare(self, when: str) -> None:
        found = contents(self.out)
        names = sorted(n for n in found | self.expected if found.get(n) != self.expected.get(n))
        if names:
            raise SystemExit(f"{when}, these differ: {', '.join(names)}")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def at_random(course: Course, kills: int, seed: int) -> str:
    """Kill so many times, and say what happened.

    Raises:
        SystemExit: a run that was killed did not end as one that was not.
    """
    chance, done, runs, midway = random.Random(seed), 0, 0, 0
    start = time.perf_counter()
    course.begin(False)
    course.run(False)
    usual = time.perf_counter() - start
    while done < kills:
        restart = runs % 2 == 1
        course.begin(restart)
        completed, again = False, restart
        while not completed:
            completed = course.run(again, chance.uniform(0, 1.1 * usual) if done < kills else None)
            done += not completed
            began = course.began(restart)
            midway += not completed and began
            again = restart and (not began or chance.random() < 0.5)
        runs += 1
        course.compare(f"seed {seed}, after {done} kills")
    return f"{done} kills in {runs} runs, {midway} after a file had changed; all bytes are equal"


def at_changes(course: Course, restart: bool, which: Callable[[int], Sequence[int]]) -> str:
    """Kill a run at chosen changes of files, and continue without `restart`.

    Args:
        which: from the number of changes in a run to the numbers of those that are fatal.

    Raises:
        SystemExit: a run that was killed did not end as one that was not.
    """
    counter = multiprocessing.get_context("fork").Value("i", 0)
    course.begin(restart)
    course.run(restart, before=lambda: _fatal(counter, -1))
    chosen = which(counter.value)
    for fatal in chosen:
        counter.value = 0
        course.begin(restart)
        if course.run(restart, before=lambda n=fatal: _fatal(counter, n)):
            raise SystemExit(f"change {fatal} was never made")
        course.run(restart and not course.began(restart))
        course.compare(f"killed at change {fatal} (restart={restart})")
    return f"killed at {len(chosen)} changes (restart={restart}); all bytes are equal"


def _fatal(counter: Any, fatal: int) -> None:
    """Count what changes files in this process, and kill it before change `fatal`."""
    for name in CHANGES:
        real = getattr(os, name)

        def change(*args: Any, real: Any = real, **options: Any) -> Any:
            if counter.value == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            counter.value += 1
            return real(*args, **options)

        setattr(os, name, change)


def few(count: int) -> list[int]:
    """Of a restart, three amid the removal of the old results, which chance rarely meets."""
    return [3, 9, 14, count // 2, count - 1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("kills", help="a number; all; or few, of both kinds")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        course = Course(Path(folder))
        if given.kills != "all":
            count = 4 if given.kills == "few" else int(given.kills)
            print(at_random(course, count, given.seed), flush=True)
        for restart in (False, True) if given.kills in ("all", "few") else ():
            print(at_changes(course, restart, few if given.kills == "few" else range), flush=True)


if __name__ == "__main__":
    main()
