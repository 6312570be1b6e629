"""Kills runs and their workers, and holds what they store in the end against a quiet run.

    python tests/unit/runs_kills.py 20             at random moments
    python tests/unit/runs_kills.py 20 --seed 7
    python tests/unit/runs_kills.py 20 --ray       actors of Ray instead

Children of this process explain some pictures, in that process and with one and two workers. Either
the child is killed (SIGKILL), and started again until it completes; or one of its workers is. Then
every file must be byte for byte that of a run that nobody killed, and there must be no other."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.small_runs import contents, run, write_pictures

NAMED = "interpretdl.testing:small_network"


class Course:
    """Runs over a few pictures, and what one leaves that nobody killed."""

    def __init__(self, folder: Path, pictures: int = 16) -> None:
        self.source = write_pictures(folder / "pictures", pictures)
        self.out = folder / "out"
        began = time.monotonic()
        self.explain(0)
        self.seconds = time.monotonic() - began
        self.expected = contents(self.out)

    def explain(self, workers: int, ray: str | None = None) -> None:
        """In the way that costs some time a shard, so that kills come in the middle."""
        run(self.source, self.out, ["lrp", "rise"], NAMED, workers=workers, ray=ray,
            options={"rise": {"evaluations": 100}})  # fmt: skip

    def killed(self, workers: int, after: float, *, worker: bool, ray: str | None = None) -> bool:
        """Whether the run, or one of its workers, was killed; it is started again till it ends."""
        shutil.rmtree(self.out, ignore_errors=True)
        killed = False
        child = self._start(workers, ray)
        wanted = b"ray::Actor" if ray else b"runs.process"
        victims = [child.pid]
        while worker and child.is_alive():
            victims = [pid for pid in below(child.pid) if wanted in command(pid)]
            if victims:
                break
            child.join(0.1)
        child.join(after)
        if child.is_alive() and victims:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(random.choice(victims), signal.SIGKILL)
                killed = True
        child.join()
        if child.exitcode != 0:
            assert not worker, f"the run ended ({child.exitcode}) when a worker was killed"
            child = self._start(workers, ray)
            child.join()
            assert child.exitcode == 0, "a run that was killed does not go on"
        found = contents(self.out)
        assert list(found) == list(self.expected), f"other files: {sorted(found)}"
        assert found == self.expected, "other bytes"
        return killed

    def _start(self, workers: int, ray: str | None) -> Any:
        child = multiprocessing.get_context("fork").Process(
            target=self.explain, args=(workers, ray)
        )
        child.start()
        return child


def below(pid: int | None) -> list[int]:
    """The processes that a process started, and theirs."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, left = [], [pid or 0]
    while left:
        inside = parents.get(left.pop(), [])
        found += inside
        left += inside
    return found


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def kills(folder: Path, count: int, seed: int, *, ray: bool = False) -> int:
    """So many kills; how many came in time."""
    random.seed(seed)
    course = Course(folder)
    hits = 0
    for i in range(count):
        workers = (1, 2)[i % 2] if ray or i % 5 else 0
        worker = bool(workers) and i % 4 > 1
        starting = 0.0 if worker or not workers else 8.0 if ray else 2.0
        after = random.uniform(0, course.seconds + starting)
        began = time.monotonic()
        hit = course.killed(workers, after, worker=worker, ray="local" if ray else None)
        hits += hit
        seconds, came = time.monotonic() - began, "hit" if hit else "too late"
        victim = f"{'worker' if worker else 'run'} of {workers} workers killed"
        print(f"{i}: {victim} after {after:.2f} s: {came}, {seconds:.1f} s", flush=True)
    return hits


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ray", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        hit = kills(Path(place), given.count, given.seed, ray=given.ray)
    print(f"{hit} of {given.count} kills came in time; every store is the same")
