"""A case in its processes, its reference beside it, in turns."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .cases import Case

ROOT = Path(__file__).parents[1]


@dataclass
class Result:
    """What came out.

    Attributes:
        threads: of Paddle and of torch.
        wall, cpu, memory: of ours and of the peer, each [first quartile, median, third]; seconds
            for all images and MB.
        first: seconds of the first run.
        ratios: "floor", "peer" -> quartiles of ours / theirs, each pair from one round.
        difference, correlation: of the two maps; the largest difference, of the largest value.
        facts: what the processes said of themselves.
    """

    case: Case
    threads: int = 1
    wall: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, list[float]] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, list[float]] = field(default_factory=dict)
    difference: float | None = None
    correlation: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    failure: str = ""


class Worker:
    """A process that runs one case; see `worker`."""

    def __init__(self, python: str, kind: str, folder: Path, case: Any, threads: int) -> None:
        environment = {
            **os.environ,
            **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)),
            "PYTHONPATH": str(ROOT),
        }
        command = [python, "-m", "benchmarks.worker", kind, str(folder), json.dumps(case)]
        self._errors = (folder / f"{kind}.log").open("w")
        self._process = subprocess.Popen(
            [*command, str(threads)], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip
        self.facts = self._answer()

    def ask(self, line: str) -> Any:
        """Its answer to a line."""
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._errors.flush()
            said = Path(self._errors.name).read_text().strip().splitlines()
            raise RuntimeError(said[-1] if said else "it ended")
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


@contextlib.contextmanager
def workers() -> Iterator[list[Worker]]:
    """A list whose workers are ended with the context."""
    started: list[Worker] = []
    try:
        yield started
    finally:
        for worker in started:
            worker.close()


def measured(case: Case, folder: Path, peers: str | None, threads: int, repeats: int) -> Result:
    """Run the case, its floor and its peer in turns; a failure is a part of the result."""
    result, given = Result(case, threads), asdict(case)
    with workers() as started:
        try:
            parties: dict[str, Worker] = {}
            if peers and case.peer:  # first, because one that is not there is soon known
                parties["peer"] = Worker(peers, "peers", folder, given, threads)
                started.append(parties["peer"])
            parties["ours"] = Worker(sys.executable, "ours", folder, given, threads)
            started.append(parties["ours"])
            passes = parties["ours"].facts.get("passes")
            if passes and case.floor:
                given["passes"] = passes
                parties["floor"] = Worker(sys.executable, "plain", folder, given, threads)
                started.append(parties["floor"])
            rounds = []
            for number in range(repeats):
                names = list(parties) if number % 2 else list(parties)[::-1]
                rounds.append({name: parties[name].ask("run") for name in names})
            arrays = {
                name: _saved(worker, folder / f"{name}.npy")
                for name, worker in parties.items()
                if name != "floor"
            }
        except RuntimeError as error:
            result.failure = str(error)
            return result
    scale = parties["floor"].facts["scale"] if "floor" in parties else 1.0
    for name, worker in parties.items():
        factor = scale if name == "floor" else 1.0
        for quantity in ("wall", "cpu", "memory"):
            values = [r[name][quantity] * (1 if quantity == "memory" else factor) for r in rounds]
            getattr(result, quantity)[name] = quartiles(values)
        result.first[name] = worker.facts["wall"]
        result.facts[name] = worker.facts
        if name != "ours":
            ratios = [r["ours"]["wall"] / (factor * r[name]["wall"]) for r in rounds]
            result.ratios[name] = quartiles(ratios)
    if "peer" in arrays:
        ours, theirs = comparable(arrays["ours"], arrays["peer"])
        result.difference = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
        result.correlation = float(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1])
    return result


def quartiles(values: list[float]) -> list[float]:
    """First quartile, median, third."""
    return [float(q) for q in np.quantile(values, (0.25, 0.5, 0.75))]


def comparable(ours: Any, theirs: Any) -> tuple[Any, Any]:
    """The two maps in one shape: relevance summed over channels, the smaller enlarged.

    pytorch-grad-cam gives its maps enlarged and scaled to [0, 1], image by image.
    """
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.ndim == theirs.ndim == 4 and ours.shape[1] == 1:
        theirs = theirs.sum(axis=1, keepdims=True)
    if ours.shape != theirs.shape:
        ours = np.stack([_enlarged(one, theirs.shape[-2:]) for one in ours])
        ours = np.stack([(one - one.min()) / (np.ptp(one) or 1) for one in ours])
    return ours, theirs


def _enlarged(heat: Any, size: tuple[int, int]) -> Any:
    from skimage.transform import resize

    return resize(heat, size, order=1)


def _saved(worker: Worker, path: Path) -> Any:
    worker.ask(str(path))
    return np.load(path)


def machine(threads: int) -> dict[str, str]:
    """The machine in words, as `interpretdl info` has it."""
    from interpretdl.cli.info import facts

    known = dict(facts())
    wanted = ("interpretdl", "system", "Paddle", "processor", "fast products on AMD")
    wanted += ("matrix products",)
    return {**{name: known[name] for name in wanted}, "threads": str(threads)}
