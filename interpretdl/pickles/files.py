"""Files of weights are opened only if they are files; what they say is quoted shortly."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO

from ..errors import WeightsError

__all__ = ["brief", "open_regular"]


def brief(text: str, longest: int = 200) -> str:
    """Words of a file or a server, for a message: one line, cut in the middle, nothing that a
    terminal would obey.
    """
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if len(text) <= longest:
        return text
    return f"{text[: longest * 2 // 3]}…{text[-(longest // 4) :]}"


def open_regular(path: Path) -> IO[bytes]:
    """Open a file for reading; a link may lead to it.

    Raises:
        WeightsError: it is a folder, pipe, socket or device, or the name cannot be one of a file.
        OSError: it cannot be opened.
    """
    try:
        _check(path.stat().st_mode)  # to open a device may already do something
        # once more when it is open, because it may have been replaced; a pipe does not block then
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - is returned
    except ValueError as error:  # a character that no name has
        raise WeightsError(f"this cannot be the name of a file ({brief(str(error))})") from error
    try:
        _check(os.fstat(file.fileno()).st_mode)
    except WeightsError:
        file.close()
        raise
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((word for test, word in _KINDS if test(mode)), "something else")
        raise WeightsError(f"a file of weights is expected, and this is {kind}; give a file")


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
