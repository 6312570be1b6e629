"""One page of a TIFF stack, without going through those before it.

Pillow compares every page with all that it met: 40,000 pages take it ten seconds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any, cast

from ..errors import InputError

__all__ = ["at_page"]


def at_page(stream: IO[bytes], frame: int, name: str) -> IO[bytes]:
    """`stream` as if its page number `frame` were the first.

    Raises:
        InputError: there is no such page; a negative number counts from the end.
    """
    stream.seek(0)
    head = stream.read(16)
    order = ">" if head.startswith(b"MM") else "<"
    big = 43 in head[2:4]
    link, place = (f"{order}Q", 8) if big else (f"{order}L", 4)
    pages = _pages(stream, link, place, big)
    found = list(islice(pages, frame + 1) if frame >= 0 else pages)
    if not -len(found) <= frame < len(found):
        raise InputError(f"{name!r} has {len(found)} frame(s), counted from 0; got frame={frame}")
    offset = struct.pack(link, found[frame])
    return cast("IO[bytes]", _AtPage(stream, head[:place] + offset))


def _pages(stream: IO[bytes], link: str, place: int, big: bool) -> Iterator[int]:
    """Where the directories lie that are whole, in order and each once."""
    count, entry = (f"{link[0]}Q", 20) if big else (f"{link[0]}H", 12)
    seen = {0}

    def number(at: int, form: str) -> int:
        stream.seek(at)
        return int(struct.unpack(form, stream.read(struct.calcsize(form)))[0])

    try:
        at = number(place, link)
        while at not in seen:
            seen.add(at)
            tags = number(at, count)
            following = number(at + struct.calcsize(count) + tags * entry, link)
            yield at
            at = following
    except (struct.error, OSError, ValueError, OverflowError):
        return  # the chain is cut off here


class _AtPage:
    """A stream with other first bytes; a descriptor that libtiff is given has the true ones.

    That is well: libtiff is told where the page lies.
    """

    def __init__(self, stream: IO[bytes], head: bytes) -> None:
        self._stream, self._head = stream, head

    def read(self, size: int = -1) -> bytes:
        at = self._stream.tell()
        data = self._stream.read(size)
        start = self._head[at : at + len(data)]
        return start + data[len(start) :] if start else data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
