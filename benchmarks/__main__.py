"""The command `python -m benchmarks`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from . import report
from .cases import cases
from .measure import ROOT, Result, machine, measured


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="How fast explanations are: each method beside the passes that it needs (its "
        "floor) and beside the library of torch that does the same, in turns, in processes of "
        "their own.",
    )
    parser.add_argument("--quick", action="store_true", help="one model, fewer samples, 3 rounds")
    parser.add_argument(
        "--peers", metavar="PYTHON", help="of an environment with torch, torchvision, captum, "
        "zennit, grad-cam and shap; without it there is only the floor",
    )  # fmt: skip
    parser.add_argument("--only", metavar="PATTERN", help='such as "resnet50*lrp"')
    parser.add_argument("--threads", type=int, default=1, help="of Paddle and of torch (1)")
    parser.add_argument("--rounds", type=int, help="5, or 3 with --quick")
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks"), help="folder")
    parser.add_argument(
        "--page", nargs="+", type=Path, metavar="JSON",
        help="measure nothing; write these results into docs/benchmarks.md",
    )  # fmt: skip
    given = parser.parse_args()
    if given.page:
        docs = ROOT / "docs"
        report.into_page(
            *report.read(given.page), docs / "benchmarks.md", docs / "images" / "benchmarks.png"
        )
        return 0
    chosen = cases(given.quick, given.only)
    if not chosen:
        print(f"no case is named like {given.only!r}", file=sys.stderr)
        return 2
    rounds = given.rounds or (3 if given.quick else 5)
    known, results = machine(given.threads), []
    with tempfile.TemporaryDirectory() as temporary:
        for case in chosen:
            folder = Path(temporary, case.model)
            if not folder.exists():
                folder.mkdir()
                from .inputs import write

                weights = write(case.model, folder)
                print(f"{case.model}, {weights} weights", flush=True)
            start = time.monotonic()
            result = measured(case, folder, given.peers, given.threads, rounds)
            print(
                f"  {case.name}: {_line(result)}   [{time.monotonic() - start:.0f} s]", flush=True
            )
            results.append(result)
            report.write(results, known, given.out)
    return int(any(result.failure for result in results))


def _line(result: Result) -> str:
    if result.failure:
        return f"failed: {result.failure}"
    parts = [f"{1000 * result.wall['ours'][1] / result.case.batch:.0f} ms an image"]
    parts += [f"{ratio[1]:.2f} of {name}" for name, ratio in result.ratios.items()]
    if result.difference is not None:
        parts.append(f"maps {result.difference:.1e} apart, r = {result.correlation:.4f}")
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
