"""The command `interpretdl diff`: two runs over the same pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError
from . import arguments as arg
from .outcome import SOME_FAILED, complain, say
from .report import Root

__all__ = ["diff"]

_WHITE = 128


def diff(
    before: Annotated[
        Path, typer.Argument(metavar="A", help="Folder of the run before.", parser=arg.given_path)
    ],
    after: Annotated[
        Path, typer.Argument(metavar="B", help="Folder of the run after.", parser=arg.given_path)
    ],
    max_change: Annotated[
        float | None,
        typer.Option(
            metavar="X", min=0, max=2,
            help="Exit code 1 where the maps of a method changed by more, in the mean. A map's "
            "change is 1 minus the rank correlation: 0 the same, 1 nothing in common.",
        ),
    ] = None,
    max_flips: Annotated[
        float | None,
        typer.Option(
            metavar="X", min=0, max=1,
            help="Exit code 1 where a larger share of A's predictions flipped or are lost.",
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="A picture, white where the share of heat is measured, laid over the picture as "
            "the model sees it; or a folder with one for each picture, of its name or of the end "
            "of its path.",
            parser=arg.given_path,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Page to write, an .html file.",
            parser=arg.given_path,
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Table to write, a row for each picture and method.",
            parser=arg.given_path,
        ),
    ] = None,
    mlflow: Annotated[
        bool, typer.Option("--mlflow", help="Log page and numbers to MLflow's active run.")
    ] = False,
    root: Root = None,
    quiet: arg.Quiet = False,
) -> None:  # fmt: skip
    """Compare two runs over the same pictures: predictions that flipped, maps that moved.

    An explanation test for a new model: the exit code is 1 beyond a limit, or where a limit was
    given and a run is not finished, or the second lacks a method.
    """
    from ..data_processor.files import check_writable
    from ..runs.diff import diff_runs

    place = None if root is None else str(root)
    for path, ending in ((out, ".html"), (csv, ".csv")):
        if path is not None:
            check_writable(path, (ending,))
    found = diff_runs(before, after, mask=None if mask is None else _masks(mask))
    if not quiet:
        say(*str(found).splitlines())
    if out is not None:
        found.to_html(out, root=place)
    if csv is not None:
        found.to_csv(csv)
    for written in (out, csv):
        if written is not None and not quiet:
            say(f"Wrote {written}")
    if mlflow:
        found.to_mlflow(root=place)
    if beyond := found.beyond(max_change, max_flips):
        for line in beyond:
            complain(line)
        raise typer.Exit(SOME_FAILED)


def _masks(path: Path) -> Any:
    """The mask of all pictures, or of each by the mask's path within the folder."""
    from ..runs.source import source_of

    if not path.is_dir():
        return _mask(path)
    files = map(Path, source_of(path).paths or ())
    return {file.relative_to(path).as_posix(): _mask(file, black=True) for file in files}


def _mask(file: Path, *, black: bool = False) -> Any:
    from ..data_processor.readers import load_image

    values = load_image(file).max(axis=2)
    most = values.max()
    if most < _WHITE and not (black and most == 0):
        raise InputError(
            f"{file} has no white pixel, only values up to {most} of 255; a mask is white inside "
            "and black outside"
        )
    return values >= _WHITE
