"""The command `interpretdl report`: a page to look through a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import arguments as arg
from .outcome import say

__all__ = ["Folder", "Root", "report"]

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="Folder of a run, from `interpretdl run`.", parser=arg.given_path
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Where the pictures' relative paths start.  [default: where the run was started]",
        parser=arg.given_path,
    ),
]


def report(
    folder: Folder,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FILE", help="The page, an .html file.", parser=arg.given_path
        ),
    ] = Path("report.html"),
    pictures: Annotated[
        int, typer.Option(metavar="N", min=1, help="Most pictures shown one by one.")
    ] = 1000,
    root: Root = None,
    quiet: arg.Quiet = False,
) -> None:
    """Write a page to look through a run: classes, confusions, maps, groups among them.

    One file that needs no other and no network.
    """
    from ..runs.opened import open_run
    from ..runs.report import write_report

    run = open_run(folder)
    write_report(run, out, pictures=pictures, root=None if root is None else str(root))
    if not quiet:
        say(f"Wrote {out}")
