"""What a command prints: results, errors in one line each, and an exit code."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from ..errors import ImageReadError, ResourceError
from ..progress import progress_bar

__all__ = [
    "DONE",
    "INTERRUPTED",
    "REFUSED",
    "SOME_FAILED",
    "UNREAD",
    "OutputClosed",
    "any_text",
    "complain",
    "for_each",
    "say",
    "settle",
]

DONE, SOME_FAILED, REFUSED, INTERRUPTED, UNREAD = 0, 1, 2, 130, 141
_LONGEST = 2000  # characters of an error; what was given may be longer than anybody reads


class OutputClosed(Exception):
    """Nobody reads standard output any more, as after `| head`. No OSError, which Typer handles."""


def for_each(
    paths: Sequence[Path],
    one: Callable[[Path], list[str]],
    verb: str,
    quiet: bool,
    complete: Callable[[], None] | None = None,
    *,
    headed: bool = True,
) -> None:
    """Do the work for each path and print the lines that it returns; in the end call `complete`.

    Args:
        headed: where there are several, print the path above its lines.

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
                    say(*([f"{path}:", *lines] if several and headed else lines))
            bar.update()
    if complete:
        complete()
    for failure in failures:
        complain(str(failure))
    if failures:
        complain(f"{len(failures)} of {len(paths)} pictures could not be read")
        raise typer.Exit(REFUSED if len(failures) == len(paths) else SOME_FAILED)


def say(*lines: str) -> None:
    """Print lines on standard output; what is not printable in them is escaped.

    Raises:
        OutputClosed: nobody reads it.
        ResourceError: it cannot be written, because the disk is full.
    """
    try:
        typer.echo("\n".join(map(_printable, lines)))
    except BrokenPipeError as error:
        raise OutputClosed from error
    except OSError as error:
        raise ResourceError(f"cannot print the results: {error.strerror or error}") from error


def complain(message: str, kind: str = "error") -> None:
    """One line on standard error; the exit code tells the rest where that is full or closed."""
    text = " ".join(message.split())
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} […] {text[-_LONGEST // 2 :]}"
    try:
        typer.echo(f"{kind}: {_printable(text)}", err=True)
    except OSError:
        settle(sys.stderr)


def _printable(text: str) -> str:
    """Line breaks, control characters and bytes that are no text, as in names of files, escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


@contextlib.contextmanager
def any_text() -> Iterator[None]:
    """Characters that standard output and error cannot encode are escaped while this lasts."""
    before = {
        stream: stream.errors
        for stream in (sys.stdout, sys.stderr)
        if isinstance(stream, io.TextIOWrapper)
    }
    for stream in before:
        stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, errors in before.items():
            settle(stream)
            stream.reconfigure(errors=errors)


def settle(stream: Any) -> None:
    """Write what a stream holds; if that fails, have it go nowhere, or Python tries at its end."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):  # no file of the system, or closed
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
