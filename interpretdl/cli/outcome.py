"""What a command prints: results, errors in one line each, and an exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from ..errors import ImageReadError
from ..progress import progress_bar

__all__ = ["DONE", "INTERRUPTED", "REFUSED", "SOME_FAILED", "complain", "for_each"]

DONE, SOME_FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130


def for_each(
    paths: Sequence[Path], one: Callable[[Path], list[str]], verb: str, quiet: bool
) -> None:
    """Do the work for each path and print the lines that it returns.

    Raises:
        typer.Exit: some or all of several pictures could not be read.
        ImageReadError: the only one could not.
    """
    failures: list[ImageReadError] = []
    several = len(paths) > 1
    with progress_bar(len(paths), verb, "picture") as bar:
        for path in paths:
            try:
                lines = one(path)
            except ImageReadError as error:
                if not several:
                    raise
                failures.append(error)
            else:
                if not quiet:
                    bar.clear()
                    typer.echo("\n".join([f"{path}:", *lines] if several else lines))
            bar.update()
    for failure in failures:
        complain(str(failure))
    if failures:
        complain(f"{len(failures)} of {len(paths)} pictures could not be read")
        raise typer.Exit(REFUSED if len(failures) == len(paths) else SOME_FAILED)


def complain(message: str, kind: str = "error") -> None:
    """One line on standard error."""
    typer.echo(f"{kind}: {' '.join(message.split())}", err=True)
