"""What a page's script draws: sheets of pictures and maps, and strips cut from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..progress import progress_bar
from .sheets import MAP_SIDE, colours, map_sheets, picture_sheets, picture_side, shape_of

__all__ = ["PICTURE", "counted", "model_of", "number", "percent", "rounded", "strip", "thumbnails"]

PICTURE = ""  # in the place of a method's name: the picture without a map


def thumbnails(
    paths: Sequence[str],
    read: Callable[[str], NDArray[np.uint8] | None],
    layers: Mapping[str, tuple[Sequence[NDArray[np.float32] | None], bool]],
) -> dict[str, Any]:
    """Pictures and maps for `templates/thumbnails.js`.

    Args:
        paths: of the pictures.
        read: from a path to the picture, or None; see `picture_reader`.
        layers: by name, a map or None for each picture, and whether they are signed.
    """
    side = picture_side(len(paths))

    with progress_bar(len(paths), "report", "picture") as bar:

        def pictures() -> Any:
            for path in paths:
                yield read(path)
                bar.update()

        sheets, shapes = picture_sheets(pictures(), side)
    there = [int(shape is not None) for shape in shapes]
    for k, shape in enumerate(shapes):
        if shape is None:  # without a picture, its first map says how high and wide it is
            mine = (maps[k] for maps, _ in layers.values())
            shapes[k] = next((shape_of(one) for one in mine if one is not None), None)
    drawn = {}
    for name, (maps, signed) in layers.items():
        files, mapped = map_sheets(maps, shapes, signed)
        drawn[name] = {"sheets": files, "there": mapped, "signed": signed}
    return {
        "side": side, "mapSide": MAP_SIDE, "sheets": sheets, "layers": drawn, "there": there,
        "shapes": [shape and [round(each, 4) for each in shape] for shape in shapes],
        "colours": {"signed": colours(True), "unsigned": colours(False)},
    }  # fmt: skip


def strip(
    title: str, note: str, tiles: Sequence[tuple[int, str, str]], side: int
) -> dict[str, Any]:
    """A row of tiles as a button that enlarges it.

    Args:
        title, note: above the enlarged tiles.
        tiles: (picture's place, layer's name or PICTURE, caption) of each.
        side: pixels of a tile.
    """
    return {
        "title": title, "note": note, "count": len(tiles), "width": side * len(tiles),
        "side": side, "cut": [[place, layer] for place, layer, _ in tiles],
        "captions": [caption for _, _, caption in tiles],
    }  # fmt: skip


def number(value: float, digits: int = 3) -> str:
    """So many digits, or a dash for what is no number."""
    return f"{0.0 if abs(value) < 1e-12 else value:.{digits}g}" if math.isfinite(value) else "–"


def percent(value: float, digits: int = 0) -> str:
    """As a percentage, with more digits where it would else be all or nothing and is not quite."""
    if not math.isfinite(value):
        return "–"
    while digits < 6 and 0 < value < 1 and round(100 * value, digits) in (0, 100):
        digits += 1
    return f"{100 * value:.{digits}f}%"


def counted(count: int, what: str) -> str:
    """A number of things in words: "1 picture", "2 pictures"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def model_of(run: Any) -> str:
    """What is known of a run's model: its name, and the digest of its weights."""
    model = run.settings.get("model")
    given = model.get("name") if isinstance(model, dict) else model
    words = dict.fromkeys(str(each or "") for each in (given, run.fingerprint.get("model")))
    return "; ".join(filter(None, words))


def rounded(values: Any) -> list[float | None]:
    """Numbers for JSON, which knows no NaN."""
    return [float(f"{v:.4g}") if math.isfinite(v) else None for v in np.asarray(values).tolist()]
