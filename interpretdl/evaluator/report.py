"""The HTML report of a comparison: one file that needs no other and no network."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.page import data_uri, made, render_page
from ..data_processor.readers import Batch
from ..registry import EVALUATORS
from .evaluation import Evaluation, better

__all__ = ["comparison_page", "facts_of", "number"]

_SOURCES = 200
_POINTS = 40  # so many pictures are drawn one by one
_WIDTH = 170  # pixels of a chart of the spread, with room for a dot at both ends
_MARGIN = 5


def number(value: float, digits: int = 4) -> str:
    """So many digits, or a dash for what is no number."""
    if abs(value) < 1e-12:  # of rounding
        value = 0.0
    return f"{value:.{digits}g}" if np.isfinite(value) else "–"


def facts_of(models: Mapping[str, Any], batch: Batch) -> dict[str, str]:
    """Models and data in words, the date and the versions.

    Args:
        models: by fingerprint, as `digest_of_model` gives it.
        batch: what was explained.
    """
    words = []
    for fingerprint, model in models.items():
        name, _, digest = fingerprint.rpartition(" ")
        count = sum(int(np.prod(parameter.shape)) for parameter in model.parameters())
        words.append(f"{name}, {count:,} parameters, fingerprint {digest}")
    pictures = [str(len(batch))]
    if batch.images is not None:
        height, width = batch.images.shape[1:3]
        pictures.append(f"{height} × {width} pixels as the model takes them")
    if batch.failures:
        pictures.append(f"{len(batch.failures)} more could not be read")
    name = "model" if len(words) == 1 else "models"
    return {name: "; ".join(words), "pictures": ", ".join(pictures), **made()}


def comparison_page(comparison: Any) -> str:
    """The page of a Comparison, whose module asks for it."""
    c = comparison
    colours = c.colours()
    return render_page(
        __package__,
        "comparison.html",
        count=len(c[c.methods[0], c.metrics[0]]),
        heads=[(name, better(c.higher_is_better(name))) for name in c.metrics],
        table=_summary(c),
        maps=_maps(c),
        metrics=[_metric(c, name, colours) for name in c.metrics],
        facts=c.facts,
        sources=c.sources[:_SOURCES],
        more_sources=max(0, len(c.sources) - _SOURCES),
        flags=c.flags(),
        told=c.told("bold"),
        controls=c.controls,
        settings=c.settings,
    )


def _summary(c: Any) -> list[dict[str, Any]]:
    table, spread, bounds, counts = c.table(), c.spread(), c.interval(), c.counts()
    return [
        {
            "method": method,
            "control": method in c.controls,
            "cells": [
                {
                    "mean": number(table[row, column]),
                    "spread": number(spread[row, column], 2),
                    "interval": " … ".join(number(value) for value in bounds[row, column]),
                    "best": method in c.leaders(metric),
                    "count": int(counts[row, column]),
                    "missing": len(c[method, metric]) - int(counts[row, column]),
                }
                for column, metric in enumerate(c.metrics)
            ],
        }
        for row, method in enumerate(c.methods)
    ]


# -- maps ------------------------------------------------------------------------------------------


def _maps(c: Any) -> dict[str, Any] | None:
    """A row for each of the first pictures, a column for each method; None without pictures."""
    if not c.pictures:
        return None
    width, height = _size(c.pictures[0])
    rows = []
    for i, picture in enumerate(c.pictures):
        cells: list[dict[str, Any] | None] = []
        title = ""
        for name in c.methods:
            drawn = c.maps.get(name)
            if drawn is None or i >= len(drawn.maps):
                cells.append(None)
                continue
            title = title or drawn.titles[i]
            values = [f"{metric} {number(c[name, metric].values[i])}" for metric in c.metrics]
            cells.append({
                "method": name,
                "note": " · ".join([drawn.titles[i], *values]),
                "picture": data_uri(drawn.maps[i]),
            })  # fmt: skip
        rows.append({
            # all of a path is in the list of names
            "source": re.split(r"[/\\]", c.sources[i])[-1] if c.sources else f"image {i}",
            "title": title,
            "picture": data_uri(picture),
            "cells": cells,
        })  # fmt: skip
    signed = {name: drawn.signed for name, drawn in c.maps.items()}
    return {"rows": rows, "width": width, "height": height, "signed": signed,
            "columns": c.methods}  # fmt: skip


def _size(file: bytes) -> tuple[int, int]:
    from PIL import Image

    with Image.open(io.BytesIO(file)) as image:
        return image.size


# -- metrics ---------------------------------------------------------------------------------------


def _metric(c: Any, metric: str, colours: list[str]) -> dict[str, Any]:
    """What a metric's numbers mean, and how they spread over the pictures."""
    cells: list[Evaluation] = [c[method, metric] for method in c.methods]
    info = EVALUATORS.all().get(cells[0].name)
    url = info.url if info else ""
    known = np.concatenate([cell.values[np.isfinite(cell.values)] for cell in cells])
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    column = c.metrics.index(metric)
    spreads, quartiles = c.spread()[:, column], c.quartiles()[:, column]
    bounds = c.interval()[:, column]
    rows = []
    for row, (method, cell) in enumerate(zip(c.methods, cells, strict=True)):
        values = cell.values[np.isfinite(cell.values)]
        rows.append({
            "method": method,
            "colour": colours[row],
            "mean": number(cell.mean),
            "interval": " … ".join(number(value) for value in bounds[row]),
            "best": method in c.leaders(metric),
            "control": method in c.controls,
            "spread": number(spreads[row]),
            "quartiles": [number(value) for value in quartiles[row]],
            "count": len(values),
            "missing": len(cell) - len(values),
            "strip": _strip(values, quartiles[row], low, high),
        })  # fmt: skip
    chart = c.curves_png(metric)
    return {
        "name": metric,
        "direction": better(c.higher_is_better(metric)),
        "summary": info.summary if info else "",
        "paper": info.paper if info else "",
        "url": url if url.startswith(("https://", "http://")) else "",
        "low": number(low),
        "high": number(high),
        "rows": rows,
        "width": _WIDTH,
        "chart": None if chart is None else (data_uri(chart, "png"), *_size(chart)),
    }


def _strip(
    values: NDArray[Any], quartiles: NDArray[Any], low: float, high: float
) -> dict[str, Any] | None:
    """Where smallest value, quartiles and largest value lie on a line, in pixels."""
    if not len(values):
        return None
    scale = (_WIDTH - 2 * _MARGIN) / (high - low) if high > low else 0.0

    def place(value: float) -> float:
        return round(_MARGIN + (float(value) - low) * scale, 1)

    first, median, third = (place(value) for value in quartiles)
    points = [place(value) for value in values] if len(values) <= _POINTS else []
    return {"low": place(values.min()), "first": first, "median": median, "third": third,
            "high": place(values.max()), "points": points}  # fmt: skip
