"""The page of two runs' differences: one file that needs no other and no network."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import numpy as np

from ..data_processor.page import made, render_page
from .page_data import PICTURE, model_of, number, percent, strip, thumbnails

__all__ = ["diff_page"]

_FLIPS, _MOVED, _PAIRS, _LISTED = 100, 12, 50, 100


def diff_page(diff: Any, read: Any) -> str:
    """The page of a RunDiff, whose module asks for it.

    Args:
        diff: the RunDiff.
        read: from a path to the picture, see `picture_reader`.
    """
    flips = np.flatnonzero(diff.flipped)
    sure = diff.b.probability[diff.pairs[flips, 1]]
    flips = flips[np.argsort(-np.nan_to_num(sure), kind="stable")][:_FLIPS]
    moved = {name: _most(each.change) for name, each in diff.methods.items()}
    shown = sorted({*flips.tolist(), *(k for places in moved.values() for k in places)})
    place = {k: i for i, k in enumerate(shown)}
    rows = diff.pairs[np.asarray(shown, int)]
    layers: dict[str, Any] = {}
    for side, columns, column in (("before", diff.a, 0), ("after", diff.b, 1)):
        maps = columns.maps([(name, rows[:, column]) for name in diff.methods])
        for name, mine in zip(diff.methods, maps, strict=True):
            layers[f"{side} {name}"] = (mine, columns.methods[name].signed)
    thumbs = thumbnails([diff.b.paths[i] for i in rows[:, 1]], read, layers)
    side = thumbs["side"]

    def strip_of(k: int, names: list[str]) -> dict[str, Any]:
        tiles, notes = [(place[k], PICTURE, "the picture")], []
        for name in names:
            tiles += [
                (place[k], f"{when} {name}", f"{name} {when}") for when in ("before", "after")
            ]
            notes.append(f"{name} changed by {number(float(diff.methods[name].change[k]))}")
        title = f"{os.path.basename(diff.sources[k])}: {_prediction(diff, k)}"
        return strip(title, "; ".join(notes), tiles, side)

    masked = any(np.isfinite(each.share_a).any() for each in diff.methods.values())
    return render_page(
        __package__,
        "diff.html",
        data={"thumbs": thumbs},
        n=len(diff), only_a=diff.only_a[:_LISTED], only_b=diff.only_b[:_LISTED],
        only=(len(diff.only_a), len(diff.only_b)), flipped=int(diff.flipped.sum()),
        share=percent(diff.flips, 1), lost=int(diff.lost.sum()), gaps=diff.gaps, masked=masked,
        table=[_row(name, each, masked) for name, each in diff.methods.items()],
        pairs=(pairs := _pairs(diff))[:_PAIRS], all_pairs=len(pairs),
        flips=[strip_of(int(k), list(diff.methods)) for k in flips],
        moved={name: [strip_of(k, [name]) for k in places] for name, places in moved.items()},
        facts={**_facts(diff), **made()},
    )  # fmt: skip


def _most(change: Any) -> list[int]:
    """Those that changed most."""
    order = np.argsort(-np.nan_to_num(change, nan=-1), kind="stable")
    return [int(k) for k in order[:_MOVED] if change[k] > 0]


def _prediction(diff: Any, k: int) -> str:
    i, j = diff.pairs[k]
    words = []
    for columns, row in ((diff.a, i), (diff.b, j)):
        known = columns.prediction[row] >= 0
        words.append(
            f"{columns.name(columns.prediction[row])} {percent(float(columns.probability[row]))}"
            if known
            else columns.errors[row] or "no prediction"
        )
    return words[0] if words[0] == words[1] else f"{words[0]} → {words[1]}"


def _row(name: str, each: Any, masked: bool) -> dict[str, Any]:
    def mean(values: Any) -> str:
        known = values[np.isfinite(values)]
        return number(float(known.mean())) if known.size else "–"

    change = each.change[np.isfinite(each.change)]
    cells = [
        mean(each.change),
        number(float(np.median(change))) if change.size else "–",
        number(float(change.max())) if change.size else "–",
        mean(each.change[each.same_target]),
        mean(each.moved),
        *((mean(each.share_a), mean(each.share_b)) if masked else ()),
    ]
    return {"method": name, "cells": cells}


def _pairs(diff: Any) -> list[tuple[str, str, int]]:
    rows = diff.pairs[diff.flipped]
    found = Counter(
        (diff.a.name(diff.a.prediction[i]), diff.b.name(diff.b.prediction[j])) for i, j in rows
    )
    return [(before, after, count) for (before, after), count in found.most_common()]


def _facts(diff: Any) -> dict[str, str]:
    facts = {}
    for name, run in zip(("A, before", "B, after"), diff.runs, strict=True):
        facts[name] = "; ".join(filter(None, (str(run.folder), model_of(run))))
    return facts
