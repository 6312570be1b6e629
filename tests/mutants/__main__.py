"""Change the code, one small mistake at a time, and see whether an oracle notices.

    make mutants            # or: python -m tests.mutants [--count 400] [--seed 10] [--jobs 2]

Mutants are drawn by a seed from the code that computes results. For each of them the tests in
tests/oracles that run its line are run, quickest first, until one fails. Those that survive are to
be in survivors.toml with the reason why no test can tell them from the original.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process with threads must not be forked

import toml

from .draw import Mutant, draw
from .run import in_parallel, lines_of, noticed, prepare

ROOT = Path(__file__).resolve().parents[2]
SURVIVORS = Path(__file__).with_name("survivors.toml")
OUT = ROOT / "out" / "mutants"
ORACLES = "tests/oracles"
ROOMS = ("rules/*", "targets/*", "evaluator/*")
DRAWN = ("report", "thumbnails")  # tests/unit look at these
METHODS = (
    "sampling integrated_gradients smooth_grad expected_gradients cam activation_cam grad_cam "
    "gradient noise_tunnel baselines"
)
REQUIRED = 0.95


def paths() -> list[str]:
    """The files that are changed."""
    patterns = [*ROOMS, *(f"interpreter/{name}" for name in METHODS.split())]
    found = [p for pattern in patterns for p in (ROOT / "interpretdl").glob(f"{pattern}.py")]
    return sorted(str(p.relative_to(ROOT)) for p in found if p.stem not in DRAWN)


def digest(*files: Path) -> str:
    """Of the files' bytes."""
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return total.hexdigest()


class Coverage:
    """Which oracles run a line, and how long each takes; measured once for each file of tests."""

    def __init__(self, mutated: list[str], jobs: int) -> None:
        store = OUT / "lines.json"
        known = json.loads(store.read_text()) if store.exists() else {}
        every = sorted((ROOT / ORACLES).glob("*.py"))
        helpers = [f for f in every if not f.name.startswith("test_")]
        # Changes elsewhere move no line, and hardly change which test runs which.
        common = [*map(ROOT.joinpath, mutated), *helpers]
        keys = {str(f.relative_to(ROOT)): digest(*common, f) for f in every if f not in helpers}
        missing = [file for file, key in keys.items() if known.get(file, {}).get("key") != key]
        failed = []
        for k, answer in in_parallel([(lines_of(f, mutated, ROOT), 1800) for f in missing], jobs):
            if answer.get("failed") or "ended" in answer:
                failed.append(f"{missing[k]}: {answer.get('failed') or answer['ended']}")
                continue
            known[missing[k]] = {"key": keys[missing[k]], **answer}
            print(f"  {missing[k]}: {sum(answer['seconds'].values()):.0f} s", flush=True)
            store.parent.mkdir(parents=True, exist_ok=True)
            store.write_text(json.dumps(known))
        if failed:
            sys.exit("\n".join(["these do not pass on the code as it is:", *failed]))
        self.seconds: dict[str, float] = {}
        self.lines: dict[str, dict[int, set[str]]] = {}
        for file in keys:
            self.seconds |= known[file]["seconds"]
            for path, lines in known[file]["lines"].items():
                for line, tests in lines.items():
                    self.lines.setdefault(path, {}).setdefault(int(line), set()).update(tests)

    def tests(self, path: str, line: int) -> list[str]:
        """Tests that run the statement of that line, quickest first.

        What runs when the module is imported counts as run by what runs the function or class that
        it belongs to, or else the module; then come all others.
        """
        lines = self.lines.get(path, {})
        found: set[str] = set()
        for first, last in _around(path, line):
            found = {t for k in range(first, last + 1) for t in lines.get(k, ())}
            if found:
                break
        order = sorted(found, key=lambda test: self.seconds[test])
        if _at_import(path, line):
            order += sorted(set(self.seconds) - found, key=lambda test: self.seconds[test])
        return order


def _around(path: str, line: int) -> list[tuple[int, int]]:
    """First and last line of the statement (or the head of one) that has a line, and of what it
    is in, from the inside out."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            continue
        if isinstance(node, ast.match_case):
            node = node.body[0]
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(d.lineno for d in decorators)])
        last = node.end_lineno or node.lineno
        if first <= line <= last:
            body = getattr(node, "body", None)
            if isinstance(body, list) and line < body[0].lineno:
                found.append((first, max(first, body[0].lineno - 1)))
            if not body or isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.append((first, last))
    found.sort(key=lambda span: span[1] - span[0])
    return [*found, (1, 10**6)]


def _at_import(path: str, line: int) -> bool:
    """Whether the line is a module's or a class's own, or the head of a function there."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return not any(
        isinstance(node, ast.FunctionDef) and node.body[0].lineno <= line <= (node.end_lineno or 0)
        for node in ast.walk(tree)
    )


def _check_that_the_code_as_it_is_survives(coverage: Coverage) -> None:
    """A source that is exchanged for itself: else every mutant would seem to be noticed."""
    path = "interpretdl/interpreter/sampling.py"
    tests = sorted(coverage.seconds, key=coverage.seconds.__getitem__)[:100]
    limits = dict.fromkeys(tests, 60.0)
    work = noticed(ROOT, path, (ROOT / path).read_text(encoding="utf-8"), limits)
    ((_, answer),) = in_parallel([(work, 600)], 1)
    if "ended" in answer or answer["failed"] or len(answer["seconds"]) != len(tests):
        sys.exit(f"the tests do not pass on the code as it is: {answer}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=400, help="mutants drawn")
    parser.add_argument("--seed", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--only", default="", help="files whose path has this in it")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    parser.add_argument("--again", action="store_true", help="only the last run's survivors")
    options = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    start = time.monotonic()
    mutants, count = draw(ROOT, paths(), options.count, options.seed)
    mutants = [m for m in mutants if options.only in m.path]
    log = OUT / "results.jsonl"
    known = {}
    if log.exists() and (options.again or options.resume):
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        known = {(r["path"], r["before"], r["after"]): r for r in rows}
    if options.again:
        known = {key: row for key, row in known.items() if row["killed"]}
    print(f"{len(mutants)} mutants of {count} places, seed {options.seed}", flush=True)

    prepare()
    coverage = Coverage(paths(), options.jobs)
    print(f"{len(coverage.seconds)} tests, {sum(coverage.seconds.values()):.0f} s", flush=True)
    _check_that_the_code_as_it_is_survives(coverage)
    tasks = []
    todo = [mutant for mutant in mutants if mutant.key not in known]
    for mutant in todo:
        tests = coverage.tests(mutant.path, mutant.line)
        seconds = {test: coverage.seconds[test] for test in tests}
        limits = {test: 20 + 10 * each for test, each in seconds.items()}
        work = noticed(ROOT, mutant.path, mutant.source, limits)
        tasks.append((work, 60 + 10 * sum(seconds.values())))
    OUT.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(json.dumps(row) + "\n" for row in known.values()), encoding="utf-8")
    with log.open("a", encoding="utf-8") as file:
        for k, answer in in_parallel(tasks, options.jobs):
            mutant, killed = todo[k], answer.get("ended") or answer["failed"]
            row = {**vars(mutant), "killed": killed, "ran": len(answer.get("seconds", ()))}
            del row["source"]
            known[mutant.key] = row
            print(json.dumps(row), file=file, flush=True)
            print("." if killed else "S", end="", flush=True)
    results = [(mutant, known[mutant.key]) for mutant in mutants]
    return report(results, time.monotonic() - start, whole=not (options.only or options.again))


def report(results: list[tuple[Mutant, dict[str, Any]]], seconds: float, whole: bool) -> int:
    """Print what happened; 1 where a survivor is not listed, or too many survived."""
    listed = {
        (entry["path"], entry["before"], entry["after"]): entry["reason"]
        for entry in toml.loads(SURVIVORS.read_text(encoding="utf-8")).get("survivor", ())
    }
    alive = [mutant for mutant, answer in results if not answer["killed"]]
    print()
    for path, total in sorted(Counter(m.path for m, _ in results).items()):
        print(f"  {path}: {sum(m.path == path for m in alive)} of {total} survived")
    new = [mutant for mutant in alive if mutant.key not in listed]
    for mutant in sorted(new, key=lambda m: (m.path, m.line)):
        print(f"\n{mutant.path}:{mutant.line} ({mutant.operator})")
        print(f"  - {mutant.before}\n  + {mutant.after}".replace("\n", "\n    "))
    share = 1 - len(alive) / max(1, len(results))
    print(
        f"\n{len(results)} mutants, {len(results) - len(alive)} killed ({share:.1%}), {len(alive)} "
        f"survived, {len(new)} of them not in {SURVIVORS.name}; {seconds / 60:.0f} min"
    )
    return int(bool(new) or (whole and share < REQUIRED))


if __name__ == "__main__":
    sys.exit(main())
