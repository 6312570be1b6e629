"""What Pillow and libtiff say besides their errors, kept away while a picture is read."""

from __future__ import annotations

import ctypes
import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, cast

from PIL import Image

__all__ = ["quiet_libtiff", "quiet_pillow"]

_log = logging.getLogger(__name__)
_reading = threading.local()


class _WhileReading:
    """A pattern for `warnings.filters`, and a filter of a logger, for threads that read a picture.

    `warnings.catch_warnings` would change what all threads see, and two of them that overlap
    restore each other's state. This does nothing in other threads, so it does no harm even where
    another thread's catch_warnings brings it back after it was removed.
    """

    def match(self, text: str) -> bool:
        if getattr(_reading, "name", None) is None:
            return False
        _log.debug("Pillow warned of %r: %s", _reading.name, text)
        return True

    def filter(self, record: logging.LogRecord) -> bool:
        return not self.match(record.getMessage())


_here = _WhileReading()
_IGNORE = ("ignore", _here, Warning, re.compile(r"PIL\b"), 0)


# The only logger of Pillow's that says more than Python prints where no logging is set up.
_LOGGER = logging.getLogger("PIL.TiffImagePlugin")


@contextmanager
def quiet_pillow(name: str) -> Iterator[None]:
    """No warning of Pillow's own is seen from this thread; `name` is what is read."""
    outer = getattr(_reading, "name", None)
    _reading.name = name
    cast("list[Any]", warnings.filters).insert(0, _IGNORE)
    _LOGGER.addFilter(_here)  # once, and for good
    try:
        yield
    finally:
        _reading.name = outer
        with suppress(ValueError):  # another thread's catch_warnings took it out
            cast("list[Any]", warnings.filters).remove(_IGNORE)


_lock = threading.Lock()
_readers = 0
_kept: list[tuple[Callable[[int | None], int | None], int | None]] = []


@contextmanager
def quiet_libtiff() -> Iterator[None]:
    """libtiff writes no lines; the errors that Pillow raises for them are raised as ever.

    File descriptor 2 stays as it is: it belongs to all threads, and to programs that they start.
    Only the handlers of libtiff are set aside, for as long as some thread is in here. Where
    libtiff is built into Pillow and hides them (Pillow's wheels for Windows), its lines are seen.
    """
    global _readers
    with _lock:
        if not _readers:
            _kept[:] = [(setter, setter(None)) for setter in _handler_setters()]
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if not _readers:
                for setter, handler in _kept:
                    setter(handler)


@cache
def _handler_setters() -> list[Callable[[int | None], int | None]]:
    """TIFFSetErrorHandler and TIFFSetWarningHandler of the libtiff that Pillow runs."""
    setters: list[Any] = []
    try:
        # Names are looked up in what Pillow's extension is linked with too.
        library = ctypes.CDLL(cast(Any, Image).core.__file__)
        setters = [library.TIFFSetErrorHandler, library.TIFFSetWarningHandler]
    except (OSError, AttributeError):
        return []
    for setter in setters:
        setter.restype, setter.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    return setters
