"""Notebooks from their sources: run them and keep what they show.

    python tests/notebooks/build.py                 # all whose outputs are not those of the source
    python tests/notebooks/build.py 02 07 --always  # these, whether or not they are

A source is `tutorials/NN_name.py`, in jupytext's py:percent format; the notebook lies beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = ROOT / "tutorials"
LARGEST = 1_500_000  # bytes of a notebook


def sources() -> list[Path]:
    """The sources in the order of their numbers."""
    return sorted(TUTORIALS.glob("[0-9][0-9]*_*.py"))


def fingerprint(source: Path) -> str:
    """Of a source's text; the notebook keeps that of the source whose outputs it has."""
    return hashlib.sha256(source.read_bytes()).hexdigest()[:16]


def executed(source: Path, timeout: int = 300) -> Any:
    """The notebook with its outputs. Cells that fail raise."""
    notebook = jupytext.read(source)
    notebook.metadata = nbformat.NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        interpretdl={"source": fingerprint(source)},
    )
    # Paddle and interpretdl from here, and no bars or paths of this machine in the outputs
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    where = {"metadata": {"path": str(TUTORIALS)}}
    NotebookClient(notebook, timeout=timeout, kernel_name="python3", resources=where).execute()
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # the same in each run
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.outputs = [kept for kept in map(_kept, cell.outputs) if kept is not None]
    return notebook


def _kept(output: Any) -> Any:
    """An output without what changes from run to run: bars, and the texts of pictures."""
    if output.output_type == "stream" and output.name == "stderr" and "\r" in output.text:
        return None
    if {"image/png", "image/jpeg"} & {*output.get("data", {})}:
        output.data.pop("text/plain", None)
        output.metadata.clear()
    return output


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="numbers; none are all")
    parser.add_argument("--always", action="store_true", help="also where the outputs are current")
    given = parser.parse_args()
    for source in sources():
        target = source.with_suffix(".ipynb")
        if given.only and not any(source.name.startswith(number) for number in given.only):
            continue
        if target.exists() and not given.always:
            metadata = nbformat.read(target, as_version=4).metadata
            if metadata.get("interpretdl", {}).get("source") == fingerprint(source):
                continue
        start = time.monotonic()
        text = nbformat.writes(executed(source)) + "\n"
        print(
            f"{target.name}: {time.monotonic() - start:.0f} s, {len(text) / 1e6:.2f} MB", flush=True
        )
        if len(text) > LARGEST:
            print(f"{target.name} is larger than {LARGEST / 1e6} MB", file=sys.stderr)
            return 1
        target.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
