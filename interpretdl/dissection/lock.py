"""One run at a time in a folder, whatever happens to the process that runs it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import stat
import sys
from pathlib import Path
from typing import Any

from ..errors import ResourceError, warn

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["LOCK", "Hold"]

LOCK = ".dissection.lock"
_TRIES = 100
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
_MOST_BYTES = 10_000
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class Hold:
    """Holds a folder: no other run can meanwhile, be it in a thread or in a process.

    The system gives the lock back when its process ends, also by `kill -9`. The file is removed at
    the end; what a killed run left is taken over by the next.

    Args:
        folder: where it writes.
        name: of the file that is locked.
        what: a run's name in messages.

    Raises:
        ResourceError: another run holds the folder (it is said who), or it cannot be written to.
    """

    def __init__(self, folder: Path, name: str = LOCK, what: str = "dissection") -> None:
        self._path, self._what = folder / name, what
        self.left: dict[str, Any] = {}
        """What a killed run had noted. It stays until something else is noted."""

    def __enter__(self) -> Hold:
        try:
            self._descriptor = _held(self._path, self._what)
        except ResourceError:
            raise
        except OSError as error:
            raise ResourceError(f"cannot write {self._path}: {error.strerror or error}") from error
        try:
            self.left = _read(self._descriptor)
            self.note(**self.left)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if sys.platform == "win32":  # an open file cannot be removed there
            os.close(self._descriptor)
            with contextlib.suppress(OSError):
                self._path.unlink()
        else:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)

    def note(self, **values: Any) -> None:
        """Write down values instead of those noted before; only a kill leaves them there."""
        who = {"process": os.getpid(), "computer": platform.node()}
        try:
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, json.dumps({**values, **who}).encode())
        except OSError as error:
            raise ResourceError(f"cannot write {self._path}: {error.strerror or error}") from error


def _held(path: Path, what: str) -> int:
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
                f"another {what} is writing into {path.parent}: process "
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
    raise ResourceError(f"another {what} begins and ends in {path.parent}; give another folder")


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        # What is locked cannot be read there: a byte far behind the text.
        os.lseek(descriptor, 2**30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read(descriptor: int) -> dict[str, Any]:
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        found = json.loads(os.read(descriptor, _MOST_BYTES))
    except (ValueError, RecursionError):  # new, or its process was killed while it wrote
        return {}
    return found if isinstance(found, dict) else {}
