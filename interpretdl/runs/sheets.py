"""Small pictures and maps side by side in large ones, from which a page's script cuts them."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.heatmaps import colormap_of, heatmap_of, limit_of, scaled
from ..data_processor.page import data_uri, jpeg_of

__all__ = [
    "ACROSS",
    "MAP_SIDE",
    "Shape",
    "colours",
    "map_sheets",
    "picture_sheets",
    "picture_side",
    "shape_of",
]  # fmt: skip

ACROSS = 8  # tiles in a row, and rows in a sheet
MAP_SIDE = 56  # of a tile; a multiple of 8, a JPEG's block, so that tiles do not run into another
_PIXELS, _LEAST, _MOST = 15e6, 96, 224
_MIDDLE = 128
Shape = tuple[float, float]
"""Width and height of what is in a tile, as shares of its side; the longer one is 1."""


def picture_side(count: int) -> int:
    """Pixels of a picture's tile, so that all together stay small; a multiple of 16."""
    side = math.isqrt(int(_PIXELS / max(count, 1))) // 16 * 16
    return max(_LEAST, min(side, _MOST))


def shape_of(array: NDArray[Any]) -> Shape:
    """Of [H, W, …]."""
    height, width = array.shape[:2]
    return width / max(height, width), height / max(height, width)


def _size(shape: Shape, side: int) -> tuple[int, int]:
    """Width and height in pixels; the page's script computes the same."""
    return max(1, math.floor(shape[0] * side + 0.5)), max(1, math.floor(shape[1] * side + 0.5))


def picture_sheets(
    pictures: Iterable[NDArray[np.uint8] | None], side: int
) -> tuple[list[str], list[Shape | None]]:
    """Pictures as colour JPEGs.

    Returns:
        the sheets as data URIs, and each picture's shape, None where there is none.
    """
    from PIL import Image

    tiles: list[NDArray[np.uint8]] = []
    shapes: list[Shape | None] = []
    sheets = []
    for picture in pictures:
        tile = np.full((side, side, 3), _MIDDLE, np.uint8)
        shapes.append(None if picture is None else shape_of(picture))
        if picture is not None:
            size = _size(shape_of(picture), side)
            small = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
            tile[: size[1], : size[0]] = np.asarray(small)
        tiles.append(tile)
        if len(tiles) == ACROSS**2:
            sheets.append(data_uri(jpeg_of(_joined(tiles))))
            tiles = []
    if tiles:
        sheets.append(data_uri(jpeg_of(_joined(tiles))))
    return sheets, shapes


def map_sheets(
    maps: Sequence[NDArray[np.float32] | None], shapes: Sequence[Shape | None], signed: bool
) -> tuple[list[str], list[int]]:
    """Maps as grey JPEGs, each on its own scale: 0 to 255; signed: 128 is zero.

    Args:
        maps: [h, w].
        shapes: of the pictures below; None takes the map's own.

    Returns:
        the sheets as data URIs; and for each map 1, or 0 where there is none to be drawn.
    """
    tiles, drawn = [], []
    for one, shape in zip(maps, shapes, strict=True):
        tile = np.full((MAP_SIDE, MAP_SIDE), _MIDDLE if signed else 0, np.uint8)
        there = one is not None and bool(np.isfinite(one).all())
        if one is not None and there:
            width, height = _size(shape or shape_of(one), MAP_SIDE)
            heat = heatmap_of(one[None], (height, width), signed)[0]
            values = scaled(heat, limit_of(heat), signed)
            values = 127.5 + 127.5 * values if signed else 255 * values
            tile[:height, :width] = np.rint(values).astype(np.uint8)
        tiles.append(tile)
        drawn.append(int(there))
    step = ACROSS**2
    sheets = [_grey(_joined(tiles[i : i + step])) for i in range(0, len(tiles), step)]
    return sheets, drawn


def _joined(tiles: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Tiles of one size in rows of ACROSS."""
    full = [*tiles, *[np.zeros_like(tiles[0])] * (-len(tiles) % ACROSS)]
    rows = [np.concatenate(full[i : i + ACROSS], axis=1) for i in range(0, len(full), ACROSS)]
    return np.concatenate(rows, axis=0)


def _grey(pixels: NDArray[np.uint8]) -> str:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=70)
    return data_uri(stream.getvalue())


def colours(signed: bool) -> str:
    """256 colours of 3 bytes each, in base64."""
    table = colormap_of("RdBu_r" if signed else "jet")(np.arange(256))[:, :3]
    return base64.b64encode(np.rint(table * 255).astype(np.uint8).tobytes()).decode()
