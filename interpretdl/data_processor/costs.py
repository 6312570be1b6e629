"""What decoding a picture costs, from what its file says before anything is decoded.

A few bytes can promise tiles, scans or frames that cost far more than the picture's own pixels.
"""

from __future__ import annotations

import struct
from typing import Any, cast

from PIL import Image

from ..errors import ImageReadError

__all__ = ["check_cost", "check_frame", "check_size", "check_webp"]

# Each scan of a JPEG and each frame before the one wanted is a pass over all pixels.
_PASSES = 16
# Pillow runs these decoders in Python, at a tenth of a microsecond a pixel.
_SLOW = {"bmp_rle": 8}
# Tiles at the edges reach beyond the picture.
_PADDED = 2

_WIDTH, _COUNTS, _ROWS, _PLANES = 322, (273, 324), 278, 284


def check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    """Raise ImageReadError if there are more than `max_pixels`, or none."""
    if width * height > max_pixels:
        _refuse(f"{width} x {height} pixels", name, max_pixels)
    if width * height == 0:
        raise ImageReadError(f"{name!r} has no pixels ({width} x {height})")


def check_webp(head: bytes, name: str, max_pixels: int) -> None:
    """`check_size` from the first 30 bytes: WebP's decoder takes its memory when it is made."""
    kind = head[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(head[24:27], "little") + 1
        height = int.from_bytes(head[27:30], "little") + 1
    elif kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", head[26:30]))
    check_size(width, height, name, max_pixels)


def check_cost(image: Image.Image, name: str, max_pixels: int) -> None:
    """Raise ImageReadError if the frame that `image` stands at is too much to decode."""
    width, height = image.size
    check_size(width, height, name, max_pixels)
    tiles: Any = getattr(image, "tile", None)
    if not tiles:  # decoded already
        return
    codec = tiles[0][0]
    if width * height * _SLOW.get(codec, 1) > max_pixels:
        _refuse(f"{width} x {height} pixels in a slow run-length code", name, max_pixels)
    if codec == "jpeg":
        scans = _scans(cast(Any, image).fp)
        if scans * width * height > _PASSES * max_pixels:
            _refuse(f"{scans} scans of {width} x {height} pixels", name, max_pixels)
    tags = getattr(image, "tag_v2", None)
    if tags is not None:
        _check_tiles(tags, codec, name, max_pixels)


def check_frame(image: Image.Image, number: int, name: str, max_pixels: int) -> None:
    """Raise ImageReadError if frame `number` is too large, or too many lie before it."""
    width, height = image.size
    check_size(width, height, name, max_pixels)
    if number * width * height > _PASSES * max_pixels:
        _refuse(f"{width} x {height} pixels, {number} frames before that one", name, max_pixels)


def _refuse(what: str, name: str, max_pixels: int) -> None:
    raise ImageReadError(
        f"{name!r} has {what}, more than max_pixels={max_pixels} allows; make it smaller, or raise "
        "max_pixels if you trust the file"
    )


def _scans(stream: Any) -> int:
    """How many scans a JPEG has: its decoder goes over the whole picture for each."""
    at = stream.tell()
    stream.seek(0)
    count = 0
    while data := stream.read(1 << 20):
        count += data.count(b"\xff\xda")
    stream.seek(at)
    return count


def _check_tiles(tags: Any, codec: str, name: str, max_pixels: int) -> None:
    """Tiles and strips of a TIFF's page: each is decoded whole, however little of it is seen."""
    width, height = tags[256], tags[257]
    if _WIDTH in tags:
        what, across, down = "tiles", int(tags[_WIDTH]), int(tags[_WIDTH + 1])
    else:
        what, across, down = "strips", width, min(int(tags.get(_ROWS, height)), height)
    if across < 1 or down < 1:
        raise ImageReadError(f"{name!r} is broken: its {what} are {across} x {down} pixels")
    count = -(-width // across) * -(-height // down)
    if codec != "libtiff":  # Pillow's own decoder goes through all that are listed
        listed = max(len(_tuple(tags.get(tag, ()))) for tag in _COUNTS)
        planes = tags.get(277, 1) if tags.get(_PLANES, 1) == 2 else 1
        count = max(count, listed // max(planes, 1))
    size = across * down
    if size > max_pixels or size * count > _PADDED * max_pixels:
        _refuse(f"{what} of {across} x {down} pixels, {count} in all", name, max_pixels)


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
