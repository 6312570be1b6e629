"""The HTML report: one file that needs nothing else and no network."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.files import atomic_path
from ..data_processor.page import data_uri, jpeg_of, made, render_page
from ..progress import progress_bar
from .broden import Broden
from .result import MIN_IOU, LayerResult, UnitConcept
from .tally import upsample

__all__ = ["strip", "write_report"]

_FORMAT = 2  # increased when the page changes, so that an older one is not kept
_SIDE, _LARGEST = 80, 200  # pixels of a picture as it is shown, and at most as it is kept
_PIXELS = 80e6  # of all pictures together, some 20 MB
_WIDEST = 60_000  # pixels of a row: a JPEG has at most 65,535
_DIM = 0.25
_COLOURS = {
    "object": "#4c72b0", "scene": "#55a868", "part": "#8172b3", "material": "#937860",
    "texture": "#dd8452", "color": "#c44e52",
}  # fmt: skip
_BAR, _HEIGHT = 18, 120


def write_report(
    path: str | os.PathLike[str],
    results: Sequence[LayerResult],
    data: Broden,
    *,
    digest: str = "",
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write the report of one or several layers.

    Args:
        path: the .html file.
        results: the layers; rotated ones get a headline and a chart, but no cards.
        data: the data set, for the pictures.
        digest: fingerprint of what the report depends on; a file with the same one is kept.
        settings: of the dissection, to be listed.

    Raises:
        ResourceError: the file cannot be written.
    """
    digest = digest and f"{digest} {_FORMAT}"
    if digest and _digest_of(Path(path)) == digest:
        return
    shown = [result for result in results if not result.rotated]
    side = _side(shown, data)
    # One thumbnail serves many units; what is kept is bounded, to some 40 MB.
    kept = lru_cache(maxsize=int(13e6 / side**2))
    thumbnail = kept(lambda index: _thumbnail(data.image(index), side))
    cards: list[dict[str, Any]] = []
    with progress_bar(sum(result.units for result in shown), "report", "unit") as bar:
        for result in shown:
            for found in result.best():
                cards.append(_card(result, found, thumbnail))
                bar.update()
    page = render_page(
        __package__,
        "report.html",
        digest=digest,
        layers=[{"name": r.name, "headline": r.headline(), "chart": chart(r)} for r in results],
        data={
            "images": len(data), "labels": len(data.labels), "categories": data.categories,
            "left_out": data.left_out,
        },
        facts=_facts(results, data, settings or {}),
        min_iou=results[0].min_iou if results else MIN_IOU,
        names=[result.name for result in shown],
        categories=list(results[0].categories) if results else [],
        cards=cards,
    )  # fmt: skip
    with atomic_path(path) as file:
        file.write_text(page, encoding="utf-8")


def _facts(
    results: Sequence[LayerResult], data: Broden, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Model, data, settings, date and versions."""
    models = dict.fromkeys(result.model for result in results if result.model)
    # what is said elsewhere in the page, and what helps no reader, is left out
    said = ("algorithm", "model", "data", "categories")
    listed = {k: v for k, v in settings.items() if k not in said and v is not None}
    return {
        "model": ", ".join(models) or "unknown",
        "data": f"{len(data)} images of {data.path.name or data.path}",
        **{name.replace("_", " "): value for name, value in listed.items()},
        **made(),
    }


def _side(results: Sequence[LayerResult], data: Broden) -> int:
    """Pixels of a picture in the page: enough for the viewer, as long as the page stays small."""
    count = sum(int((result.top_images >= 0).sum()) for result in results)
    row = max((result.top_images.shape[1] for result in results), default=1)
    own = max((max(record.size) for record in data.records), default=_SIDE)
    fits = min(math.isqrt(int(_PIXELS / max(count, 1))), _WIDEST // row)
    return max(_SIDE, min(own, fits, _LARGEST))


def strip(result: LayerResult, unit: int, picture_of: Any) -> NDArray[np.uint8]:
    """A unit's strongest images in a row, dark where it is not above its threshold.

    Args:
        result: the layer.
        unit: from 0.
        picture_of: index of an image -> uint8 [side, side, 3].

    Returns:
        uint8 [side, width, 3].
    """
    pieces = []
    kept = result.top_images[unit] >= 0
    pictures = [picture_of(int(index)) for index in result.top_images[unit][kept]]
    maps = upsample(result.top_maps[unit][kept], pictures[0].shape[:2])
    for picture, heat in zip(pictures, maps, strict=True):
        mask = heat > result.thresholds[unit]
        dimmed = np.rint(picture * _DIM).astype(np.uint8)
        pieces += [np.where(mask[..., None], picture, dimmed), np.full((len(picture), 2, 3), 255)]
    return np.concatenate(pieces[:-1], axis=1).astype(np.uint8)


def chart(result: LayerResult) -> dict[str, Any]:
    """Bars of the detectors per concept, in the categories' order, as lengths in pixels."""
    table = result.unique()
    most = max((count for found in table.values() for count in found.values()), default=1)
    bars, groups, left = [], [], 0
    for category, found in table.items():
        if not found:
            continue
        colour = _COLOURS.get(category, "#777777")
        groups.append({"name": f"{category}: {len(found)}", "colour": colour})
        for label, count in found.items():
            height = round(_HEIGHT * count / most)
            bars.append(
                {"x": left, "y": _HEIGHT - height, "height": height, "colour": colour,
                 "label": label, "category": category, "count": count}
            )  # fmt: skip
            left += _BAR
        left += _BAR // 2
    return {"bars": bars, "groups": groups, "width": max(left, 1), "height": _HEIGHT}


def _card(result: LayerResult, found: UnitConcept, picture_of: Any) -> dict[str, Any]:
    pixels = strip(result, found.unit, picture_of)
    return {
        "layer": result.name,
        "unit": found.unit,
        "label": found.label,
        "category": found.category,
        "iou": found.iou,
        "detector": found.iou >= result.min_iou,
        "colour": _COLOURS.get(found.category, "#777777"),
        "image": data_uri(jpeg_of(pixels)),
        "tiles": int((result.top_images[found.unit] >= 0).sum()),
        "width": pixels.shape[1],
        "height": pixels.shape[0],
    }


def _thumbnail(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    from PIL import Image

    resized = Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def _digest_of(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            head = file.read(2048)
    except OSError:
        return ""
    return head.partition('name="digest" content="')[2].partition('"')[0]
