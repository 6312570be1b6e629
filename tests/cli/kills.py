"""Kills commands at random moments and holds what they write in the end against a quiet run.

    python tests/cli/kills.py explain 20
    python tests/cli/kills.py compare 20 --seed 7

A child of this process runs the command on a small model and is killed (SIGKILL). It is started
again until it completes, and may be killed again. Then every file must be byte for byte that of a
run that nobody killed, and there must be no other. `tests/cli/test_kills.py` does few of them.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

OWN = ["--model", "killed_model:small", "--quiet"]
COMMANDS = {
    "explain": ["explain", "pictures", *OWN, "--method", "smooth_grad", "--save", "out"],
    "compare": [
        *("evaluate", "pictures", *OWN, "--method", "gradient", "--method", "smooth_grad"),
        *("--metric", "deletion", "--metric", "sparseness", "--option", "deletion.steps=8"),
        *("--resume", "out/a.json", "--csv", "out/a.csv", "--html", "out/a.html"),
    ],
}
MODEL = """
from interpretdl.testing import small_network

def small():
    return small_network()
"""


def prepare(folder: Path) -> None:
    """Make the current folder one with pictures and a model, and import what takes long."""
    import numpy as np
    from PIL import Image

    from interpretdl import registry
    from interpretdl.evaluator import evaluators

    for module in ("cli.explain", "cli.evaluate", "cli.models", "data_processor.visualizer"):
        importlib.import_module(f"interpretdl.{module}")
    registry.methods()
    evaluators()
    os.environ["SOURCE_DATE_EPOCH"] = "0"  # the date in a report
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    Path("killed_model.py").write_text(MODEL)
    Path("pictures").mkdir()
    for i in range(5):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 48, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(f"pictures/{i}.png")


def run(command: list[str], kill_after: float | None) -> tuple[bool, float]:
    """Run a command in a child: whether it completed, and the seconds that it took."""
    child = multiprocessing.get_context("fork").Process(target=_run, args=(command,))
    start = time.perf_counter()
    child.start()
    child.join(kill_after)
    child.kill()
    child.join()
    if child.exitcode not in (0, -9):
        raise SystemExit(f"{' '.join(command)} failed: exit code {child.exitcode}")
    return child.exitcode == 0, time.perf_counter() - start


def _run(command: list[str]) -> None:
    from interpretdl.cli import main

    sys.exit(main(command))


def contents() -> dict[str, bytes]:
    """Every file under `out`, hidden ones too."""
    return {str(path): path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}


def begin(command: list[str]) -> None:
    shutil.rmtree("out", ignore_errors=True)
    Path("out").mkdir()


def kill(name: str, kills: int, seed: int) -> str:
    """Kill a command so many times; what happened, in a line.

    Raises:
        SystemExit: a run that was killed did not end as one that was not.
    """
    command, chance = COMMANDS[name], random.Random(seed)
    begin(command)
    run(command, None)  # the first run makes caches, of fonts
    expected = contents()
    begin(command)
    _, usual = run(command, None)
    if contents() != expected:
        raise SystemExit(f"{name}: two runs that nobody killed differ")
    done = midway = runs = 0
    while done < kills:
        begin(command)
        completed, midway_of_run = False, 0
        while not completed:
            again = done < kills and (not midway_of_run or chance.random() < 0.5)
            moment = chance.uniform(0, usual) if again else None
            completed, _ = run(command, moment)
            done += not completed
            midway_of_run += not completed and bool(contents().keys() & expected.keys())
        runs += 1
        midway += midway_of_run
        found = contents()
        if found != expected:
            names = sorted(
                path for path in found | expected if found.get(path) != expected.get(path)
            )
            raise SystemExit(f"{name}, seed {seed}: after {done} kills these differ: {names}")
    return f"{name}: {done} kills in {runs} runs, {midway} amid the results; all bytes are equal"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("kills", type=int)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder).resolve())
        print(kill(given.command, given.kills, given.seed), flush=True)
        os.chdir("/")


if __name__ == "__main__":
    main()
