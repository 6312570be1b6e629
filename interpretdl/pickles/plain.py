"""Pickles of plain Python values and NumPy arrays, as training programs keep them in files."""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import InputError, ResourceError, WeightsError
from .files import brief, open_regular
from .machine import Budget, read_pickle
from .values import Array, malformed, quoted_name

__all__ = ["read_dictionaries", "read_dictionary", "read_plain"]

_MAGIC = b"\x93NUMPY"
_HEADER = 10_000  # bytes; that of a dictionary has fewer than 200
_MOST, _MOST_IN_ALL = 2**30, 2**33  # bytes of one dictionary in an archive, and of all


def read_plain(path: str | os.PathLike[str]) -> Any:
    """The object in a pickle: None, numbers, texts, bytes, lists, tuples, dictionaries and arrays.

    Keys of dictionaries are texts or whole numbers. Anything else, such as an object of a class
    or a function, is refused, and nothing that the file names is imported or run.

    Raises:
        InputError: the file is no such pickle, or `path` is no file.
        ResourceError: it cannot be opened, or does not fit into memory.
    """
    with _mapped(path) as stream:
        return _plain(read_pickle(stream, Budget(len(stream)), objects=True))


def read_dictionary(path: str | os.PathLike[str]) -> Any:
    """What `numpy.save(path, dictionary)` wrote: a dictionary, or None.

    Raises:
        InputError, ResourceError: as `read_plain`; or the file holds an array of numbers.
    """
    with _mapped(path) as stream:
        return _dictionary(stream, len(stream), path)


def read_dictionaries(path: str | os.PathLike[str]) -> dict[str, dict[Any, Any]]:
    """What `numpy.savez(path, **dictionaries)` wrote: dictionaries by name.

    Raises:
        InputError, ResourceError: as `read_dictionary`.
    """
    found: dict[str, dict[Any, Any]] = {}
    with _opened(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                sizes = [info.file_size for info in archive.infolist()]
                if max(sizes, default=0) > _MOST or sum(sizes) > _MOST_IN_ALL:
                    raise WeightsError(f"it unpacks to {sum(sizes)} bytes, which is too much")
                for info in archive.infolist():
                    content = archive.read(info)
                    name = info.filename.removesuffix(".npy")
                    one = _dictionary(io.BytesIO(content), len(content), path)
                    if one is not None:
                        found[name] = one
        except (
            *(zipfile.BadZipFile, zlib.error, EOFError),
            *(ValueError, KeyError, RuntimeError),  # names, offsets, encryption, compressions
        ) as error:
            if isinstance(error, InputError):
                raise
            raise malformed(f"no archive of dictionaries ({brief(str(error))})") from error
    return found


def _dictionary(stream: Any, size: int, path: str | os.PathLike[str]) -> Any:
    _read_header(stream)
    found = _plain(read_pickle(stream, Budget(size), objects=True))
    found = found.item() if isinstance(found, np.ndarray) and found.shape == () else found
    if found is not None and not isinstance(found, dict):
        raise InputError(
            f"{brief(str(path))} holds a {type(found).__name__}, and a dictionary is expected"
        )
    return found


def _read_header(stream: Any) -> None:
    """Go on to where the pickle of a .npy file begins, if there is one of a single object."""
    magic, version = stream.read(len(_MAGIC)), stream.read(2)
    if magic != _MAGIC or version[:1] not in (b"\1", b"\2"):
        raise malformed("no .npy file")
    length = int.from_bytes(stream.read(2 if version[:1] == b"\1" else 4), "little")
    header = stream.read(min(length, _HEADER))
    if b"'descr': '|O'" not in header or b"'shape': ()" not in header:
        raise WeightsError("it holds an array, not a dictionary; read it with numpy.load")


@contextlib.contextmanager
def _mapped(path: str | os.PathLike[str]) -> Iterator[mmap.mmap]:
    with (
        _opened(path) as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream,
    ):
        yield stream


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"the path of a file is expected; got {type(path).__name__}")
    shown = brief(str(path))
    try:
        with open_regular(Path(path)) as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise malformed("an empty file")
            yield file
    except WeightsError as error:
        raise InputError(
            f"{shown} is not read: {error}. Such a file may hold numbers, texts, lists, tuples, "
            "dictionaries and arrays"
        ) from error
    except OSError as error:
        why = brief(error.strerror or str(error))
        raise ResourceError(f"cannot read {shown}: {why}") from error
    except MemoryError as error:
        raise ResourceError(f"{shown} does not fit into memory; free some") from error


def _plain(found: Any) -> Any:
    try:
        return _Plain()(found)
    except RecursionError as error:
        raise malformed("lists in lists, too deep to be data") from error


class _Plain:
    """Puts arrays in the place of what the machine has for them.

    Each container is looked at once, however often a pickle names it: a short one can name the
    same list millions of times.
    """

    def __init__(self) -> None:
        self._done: dict[int, tuple[Any, Any]] = {}  # by id: the thing, kept alive, and its value

    def __call__(self, thing: Any) -> Any:
        if thing is None or isinstance(thing, bool | int | float | str | bytes):
            return thing
        if id(thing) in self._done:
            return self._done[id(thing)][1]
        if isinstance(thing, list | dict):
            self._done[id(thing)] = thing, thing  # before its items, which may name it
            for key in list(thing) if isinstance(thing, dict) else range(len(thing)):
                thing[key] = self(thing[key])
            return thing
        value = self._of(thing)
        self._done[id(thing)] = thing, value
        return value

    def _of(self, thing: Any) -> Any:
        if isinstance(thing, tuple):
            return tuple(map(self, thing))
        if isinstance(thing, Array) and isinstance(thing.value, np.ndarray | np.generic):
            if thing.value.dtype.kind != "O":
                return thing.value.copy(order="K")  # which may be written to
            objects = np.empty(thing.value.shape, object)
            for place in np.ndindex(objects.shape):
                objects[place] = self(thing.value[place])
            return objects
        raise WeightsError(f"holds a {quoted_name(thing)}, which is neither a number nor an array")
