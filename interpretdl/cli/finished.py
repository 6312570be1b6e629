"""What a run over several pictures has finished, so that one that was killed can go on."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..errors import ResourceError
from ..record import digest

__all__ = ["Finished", "code_of"]

_NAME = ".interpretdl-unfinished.jsonl"


class Finished:
    """A hidden file beside the results of a run, with a line for each that is done.

    A line names what a result was made from (the settings and the picture, by fingerprint) and the
    fingerprint of the result. So a result is only kept if this run would make it again, and nobody
    has changed it since. The file is removed when the run is complete: then the same command starts
    anew.

    Args:
        folder: where the results are.
        settings: everything but the picture that a result depends on, as plain values.

    Raises:
        ResourceError: the file cannot be read, or is none.
    """

    def __init__(self, folder: Path, settings: Any) -> None:
        self.path = folder / _NAME
        self.settings = digest(json.dumps(settings))
        self._lines: dict[str, dict[str, Any]] = {}
        if os.path.lexists(self.path) and not stat.S_ISREG(os.lstat(self.path).st_mode):
            raise ResourceError(f"{self.path} is no regular file; remove it")
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._wrong("read", error) from error
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                self._lines[entry["result"]] = entry
            except (ValueError, TypeError, KeyError):  # the line that a killed process was writing
                continue

    def lines(self, picture: Path, result: Path, make: Callable[[], list[str]]) -> list[str]:
        """The lines to print of a picture: those noted if its result is there, else made."""
        source = self._source(picture)
        entry = self._lines.get(result.name)
        if source and entry and entry.get("source") == source:
            with_the_same_bytes = entry.get("bytes") == _fingerprint(result)
            if with_the_same_bytes and isinstance(entry.get("lines"), list):
                return [str(line) for line in entry["lines"]]
        lines = make()
        entry = {"result": result.name, "source": source, "bytes": _fingerprint(result)}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write("\n" + json.dumps({**entry, "lines": lines}) + "\n")
        except OSError as error:
            raise self._wrong("write", error) from error
        return lines

    def forget(self) -> None:
        """The run is complete."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise self._wrong("remove", error) from error

    def _source(self, picture: Path) -> str | None:
        found = _fingerprint(picture)
        return found and f"{self.settings} {found}"

    def _wrong(self, what: str, error: OSError) -> ResourceError:
        return ResourceError(
            f"cannot {what} {self.path}, which holds what is finished: {error.strerror or error}"
        )


def code_of(things: Iterable[object]) -> dict[str, str | None]:
    """The modules in which the classes of these things are written, with their fingerprints."""
    names = {type(thing).__module__ for thing in things}
    files = {name: getattr(sys.modules.get(name), "__file__", None) for name in sorted(names)}
    return {name: file and _fingerprint(Path(file)) for name, file in files.items()}


def _fingerprint(path: Path) -> str | None:
    """Of a file's content; None if it is no file, or cannot be read."""
    total = hashlib.sha256()
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            while part := file.read(2**20):
                total.update(part)
    except (OSError, ValueError):
        return None
    return total.hexdigest()
