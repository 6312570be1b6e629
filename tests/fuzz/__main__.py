"""Feed hostile values to all that reads what a user gives: python -m tests.fuzz --seconds 600.

What falls over is made as small as possible and written into tests/fuzz/corpus, which the tests
replay. Exit code 1 when anything was found.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import random
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase

from .rooms import ROOMS, Room

CORPUS = Path(__file__).parent / "corpus"


def search(room: Room, examples: int, seed: int) -> tuple[Any, BaseException] | None:
    """The smallest value found that the room does not survive, and how it fell."""
    last: list[Any] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @hypothesis.given(room.values)
    def run(value: Any) -> None:
        last[:] = [value]
        room.check(value)

    try:
        run()
    except (Exception, SystemExit) as error:
        if not last:  # of this program itself
            raise
        return last[0], error
    return None


def rounds(seconds: float, examples: int, seed: int, names: list[str]) -> Iterator[Any]:
    """Findings, (room, value, error), until the time is up; every room in turn."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name in names:
            if found := search(ROOMS[name], examples, seed):
                yield name, *found
            if time.monotonic() > end:
                return
        seed += 1


def keep(name: str, value: Any) -> Path:
    """Write a finding into the corpus."""
    binary = isinstance(value, bytes)
    data = value if binary else json.dumps(value).encode()
    digest = hashlib.sha256(data).hexdigest()[:12]
    path = CORPUS / name / f"{digest}.{'bin' if binary else 'json'}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def corpus() -> list[Path]:
    """What was found so far."""
    return sorted(path for path in CORPUS.glob("*/*") if path.suffix in (".bin", ".json"))


def replay(path: Path) -> None:
    """Hold one finding against what is there now."""
    data = path.read_bytes()
    ROOMS[path.parent.name].check(data if path.suffix == ".bin" else json.loads(data))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one each time")
    parser.add_argument("--examples", type=int, default=200, help="values a room gets in one turn")
    parser.add_argument("--only", nargs="+", choices=sorted(ROOMS), default=list(ROOMS))
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    seed = random.randrange(2**32) if arguments.seed is None else arguments.seed
    faulthandler.enable()
    print(f"seed {seed}", flush=True)
    known: set[tuple[str, str]] = set()
    for name, value, error in rounds(arguments.seconds, arguments.examples, seed, arguments.only):
        frames = traceback.extract_tb(error.__traceback__)
        where = frames[-1] if frames else None
        kind = name, f"{type(error).__name__} at {where and (where.filename, where.lineno)}"
        if kind in known:
            continue
        known.add(kind)
        print(f"\n{name}: {kind[1]}\n  {str(error)[:300]}\n  kept in {keep(name, value)}")
        traceback.print_exception(error, limit=-4, file=sys.stdout)
        sys.stdout.flush()
    print(f"{len(known)} found in {', '.join(arguments.only)}")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
