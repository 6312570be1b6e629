"""One run at a time in a folder, whatever happens to the process that runs it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ResourceError, warn

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["LOCK", "Hold", "hold"]

LOCK = ".dissection.lock"
_TRIES = 100
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
_MOST_BYTES = 10_000
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class Hold:
    """A folder that is held. What is noted outlives a kill, and is gone after any other end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.left = _read(descriptor)
        """What a killed run had noted. It stays until something else is noted."""
        self.note(**self.left)

    def note(self, **values: Any) -> None:
        """Write down values instead of those noted before, and who holds the folder."""
        try:
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, json.dumps({**values, **_who()}).encode())
        except OSError as error:
            raise ResourceError(f"cannot write {LOCK}: {error.strerror or error}") from error


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[Hold]:
    """Hold a folder: no other run, in a thread, a process or on another computer, can meanwhile.

    The system gives the lock back when its process ends, also by `kill -9`. The file is removed at
    the end; what a killed run left is taken over by the next.

    Raises:
        ResourceError: another run holds it (it is said who), or the folder cannot be written to.
    """
    path = folder / LOCK
    try:
        descriptor = _held(path)
    except ResourceError:
        raise
    except OSError as error:
        raise ResourceError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield Hold(descriptor)
    finally:
        _give_back(descriptor, path)


def _who() -> dict[str, Any]:
    return {"process": os.getpid(), "computer": platform.node()}


def _held(path: Path) -> int:
    for _ in range(_TRIES):
        descriptor = os.open(path, _FLAGS, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "it is no regular file")
            _lock(descriptor)
            # Its last holder may have removed the file between these two lines.
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:
            pass
        except (BlockingIOError, PermissionError) as error:
            who = _read(descriptor)
            os.close(descriptor)
            raise ResourceError(
                f"another dissection is writing into {path.parent}: process "
                f"{who.get('process', 'unknown')} on {who.get('computer', 'an unknown computer')}; "
                "wait until it has ended, or give another folder"
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
            warn(f"{path.parent} cannot be locked ({error.strerror}); start no second run there")
            return descriptor
        os.close(descriptor)
    raise ResourceError(f"other dissections begin and end in {path.parent}; give another folder")


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        # What is locked cannot be read there: a byte far behind the text.
        os.lseek(descriptor, 2**30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _give_back(descriptor: int, path: Path) -> None:
    if sys.platform == "win32":  # an open file cannot be removed there
        os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
    else:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _read(descriptor: int) -> dict[str, Any]:
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        found = json.loads(os.read(descriptor, _MOST_BYTES))
    except (ValueError, RecursionError):  # new, or its process was killed while it wrote
        return {}
    return found if isinstance(found, dict) else {}
