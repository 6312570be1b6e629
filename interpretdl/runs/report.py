"""The report of a run: one file that needs no other and no network."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.files import atomic_path, check_writable
from ..data_processor.page import made, render_page
from ..errors import InputError
from ..preprocessing import whole_number
from ..registry import EVALUATORS
from .clusters import FEWEST, Clusters, clusters_of
from .columns import Columns, Stored, class_number, columns_of, picture_reader, stacked
from .page_data import PICTURE, counted, model_of, number, percent, rounded, strip, thumbnails
from .sheets import map_sheets, shape_of

__all__ = ["clusters_in_run", "write_report"]

_EXAMPLES = 6
_PAIRS, _LISTED = 50, 300  # rows of a table
_MOST_CLUSTERED = 1000  # maps of a class
_AT_ONCE = 4000  # maps in memory while groups are looked for
_SEARCHED = 60  # classes and methods, those with most maps
_FEWEST_SHOWN = 32  # of fewer maps, chance makes groups now and then


def write_report(
    run: Stored, path: str | os.PathLike[str], *, pictures: int = 1000, root: str | None = None
) -> None:
    """Write the report of a run.

    Args:
        run: it may be incomplete.
        path: the .html file.
        pictures: the most that are shown one by one; of more, evenly spread ones are. Tables count
            all.
        root: the folder where relative paths of pictures start; None: where the run was started.

    Raises:
        InputError: the run has no row yet, or `root` is no folder.
        ResourceError: the file cannot be written, or does not end in .html.
    """
    check_writable(path, (".html",))
    whole_number(pictures, "pictures")
    page = _Page(run, columns_of(run), pictures, None if root is None else Path(root)).render()
    with atomic_path(path) as file:
        file.write_text(page, encoding="utf-8")


def clusters_in_run(
    run: Stored, label: int | str, method: str | None = None, **options: Any
) -> Clusters:
    """Groups among one method's maps of a class.

    Args:
        run: the run.
        label: the class that the maps explain, by number or name.
        method: None: the run's only one.
        options: of `clusters_of`.

    Returns:
        Clusters, whose `pictures` are positions in the run.

    Raises:
        InputError: no such class or method, or too few maps.
    """
    found = columns_of(run)
    if method is None and len(found.methods) > 1:
        raise InputError(f"the run has several methods; give method=, of {', '.join(run.methods)}")
    name = method or run.methods[0]
    if name not in found.methods:
        raise InputError(f"the run has no method {name!r}; it has {', '.join(run.methods)}")
    label = class_number(found, label)
    rows = _rows_of(found, name, label)
    if len(rows) < FEWEST:
        raise InputError(
            f"{name} has {len(rows)} maps of class {found.name(label)}; groups need {FEWEST}"
        )
    maps = stacked(found.maps([(name, rows)])[0])
    return clusters_of(maps, pictures=found.positions[rows], **options)


def _rows_of(columns: Columns, name: str, label: int) -> NDArray[np.int64]:
    """The rows of a class's maps; of many, evenly spread ones."""
    method = columns.methods[name]
    rows = np.flatnonzero((method.target == label) & method.there)
    return np.asarray(rows[:: -(-len(rows) // _MOST_CLUSTERED) or 1], np.int64)


class _Page:
    """One report while it is made."""

    def __init__(self, run: Stored, columns: Columns, most: int, root: Path | None) -> None:
        self.run, self.c = run, columns
        self.read = picture_reader(run, root)
        n = len(columns)
        step = np.arange(min(n, most)) * n // min(n, most)
        self.shown = step.astype(int)
        self.place = {int(i): place for place, i in enumerate(self.shown)}
        self.right = np.where(
            (columns.label >= 0) & (columns.prediction >= 0),
            (columns.label == columns.prediction).astype(float), np.nan,
        )  # fmt: skip
        self.directions = {name: self._direction(name) for name in run.metrics}

    def _direction(self, metric: str) -> bool | None:
        """Whether higher values are better; None where the metric is not known here."""
        entry = self.run.settings["metrics"][metric]
        info = EVALUATORS.all().get(entry.get("metric", metric))
        return None if info is None else info.higher_is_better

    def render(self) -> str:
        c, shown = self.c, self.shown
        groups = self._groups()
        maps = c.maps([(name, shown) for name in c.methods])
        layers: dict[str, Any] = {
            name: (mine, method.signed)
            for (name, method), mine in zip(c.methods.items(), maps, strict=True)
        }
        thumbs = thumbnails([c.paths[i] for i in shown], self.read, layers)
        side = thumbs["side"]
        for group in groups:  # mean maps have layers of their own, without a picture below
            means, signed = group["means"], group["signed"]
            sheets, there = map_sheets(means, [None] * len(means), signed)
            thumbs["layers"][group["layer"]] = {
                "sheets": sheets, "there": there, "signed": signed, "shape": shape_of(means[0])
            }  # fmt: skip
        classes, failures, (pairs, all_pairs) = self._classes(), self._failures(), self._pairs()
        return render_page(
            __package__,
            "run.html",
            data={"thumbs": thumbs, **self._rows()},
            n=len(c), shown=len(shown), methods=list(c.methods),
            facts=self._facts(), summary=self._summary(),
            heads=[(name, _better(self.directions[name])) for name in self.run.metrics],
            classes=classes[:_LISTED], all_classes=len(classes),
            by_label=bool((c.label >= 0).any()),
            pairs=pairs, all_pairs=all_pairs, extremes=self._extremes(side),
            groups=[{**group, "strips": self._strips(group, side)} for group in groups],
            looked_at=self._looked_at, fewest=_FEWEST_SHOWN,
            failures=failures[:_LISTED], all_failures=len(failures),
            missing=sum(bool(e) for method in c.methods.values() for e in method.errors),
        )  # fmt: skip

    # -- tables -----------------------------------------------------------------------------------

    def _facts(self) -> dict[str, str]:
        run = self.run
        count = f"{len(self.c)} of {run.pictures}"
        return {
            "model": model_of(run) or "unknown",
            "pictures": count if len(self.c) < run.pictures else str(run.pictures),
            "complete": "yes" if run.complete else "no: the run was not finished",
            "methods": ", ".join(run.methods),
            **made(),
        }

    def _summary(self) -> list[dict[str, Any]]:
        rows = []
        for name, method in self.c.methods.items():
            cells = [
                (number(_mean(values)), number(_spread(values)))
                for values in method.metrics.values()
            ]
            rows.append({"method": name, "maps": int(method.there.sum()), "cells": cells})
        return rows

    def _classes(self) -> list[dict[str, Any]]:
        """A row for each class, the worst first."""
        c = self.c
        of = c.label if (c.label >= 0).any() else c.prediction
        rows: list[dict[str, Any]] = []
        for k in np.unique(of[of >= 0]):
            mine = of == k
            cells = [
                number(_mean(values[mine]))
                for method in c.methods.values()
                for values in method.metrics.values()
            ]
            rows.append({
                "number": int(k), "name": c.name(k), "count": int(mine.sum()),
                "right": _mean(self.right[mine]), "probability": _mean(c.probability[mine]),
                "cells": cells,
            })  # fmt: skip
        rows.sort(key=lambda row: (row["right"] if row["right"] == row["right"] else 2,
                                   -row["count"]))  # fmt: skip
        for row in rows:
            row["right"], row["probability"] = percent(row["right"]), percent(row["probability"])
        return rows

    def _pairs(self) -> tuple[list[dict[str, Any]], int]:
        """Which class was taken for which, the most frequent ones; and how many pairs there are."""
        c = self.c
        wrong = np.flatnonzero(self.right == 0)
        found = Counter((int(c.label[i]), int(c.prediction[i])) for i in wrong)
        rows = []
        for (label, prediction), count in found.most_common(_PAIRS):
            mine = (c.label == label) & (c.prediction == prediction)
            rows.append({
                "label": label, "prediction": prediction, "count": count,
                "label_name": c.name(label), "prediction_name": c.name(prediction),
                "probability": percent(_mean(c.probability[mine])),
            })  # fmt: skip
        return rows, len(found)

    def _failures(self) -> list[tuple[str, str]]:
        """Pictures that lack a map, and why: what every method says, or each for itself."""
        found = []
        for i in range(len(self.c)):
            said = {name: each.errors[i] for name, each in self.c.methods.items()}
            if len({*said.values()}) == 1:
                why = self.c.errors[i]
            else:
                why = "; ".join(f"{name}: {error}" for name, error in said.items() if error)
            if why:
                found.append((self.c.title(i), why))
        return found

    # -- strips -----------------------------------------------------------------------------------

    def _extremes(self, side: int) -> list[dict[str, Any]]:
        """For each method and metric the best and the worst maps of those shown."""
        found = []
        for name, method in self.c.methods.items():
            for metric, every in method.metrics.items():
                values = every[self.shown]
                order = [k for k in np.argsort(values, kind="stable") if np.isfinite(values[k])]
                if not order:
                    continue
                higher = self.directions[metric]
                ends = {"highest": order[::-1], "lowest": order}
                strips = []
                for end, places in ends.items():
                    tiles = [
                        (k, name, f"{self._file(k)}: {number(float(values[k]))}")
                        for k in map(int, places[:_EXAMPLES])
                    ]
                    title = f"{name}, {end} {metric}"
                    if higher is not None:
                        title += ": best" if (end == "highest") == higher else ": worst"
                    strips.append(strip(title, _better(higher), tiles, side))
                found.append({"method": name, "metric": metric,
                              "strips": strips[::-1] if higher is False else strips})  # fmt: skip
        return found

    def _file(self, place: int) -> str:
        return os.path.basename(self.c.title(int(self.shown[place])))

    def _groups(self) -> list[dict[str, Any]]:
        """Classes whose maps fall into groups, for each method."""
        c = self.c
        counts: Counter[tuple[int, str]] = Counter()
        for name, method in c.methods.items():
            labels = method.target[method.there & (method.target >= 0)]
            counts.update((int(label), name) for label in labels)
        large = [each for each, count in counts.most_common(_SEARCHED) if count >= _FEWEST_SHOWN]
        self._looked_at = len(large)
        wanted = [(label, name, _rows_of(c, name, label)) for label, name in sorted(large)]
        found: list[dict[str, Any]] = []
        while wanted:  # as many at once as memory should hold
            totals = np.cumsum([len(rows) for _, _, rows in wanted])
            some = max(1, int((totals <= _AT_ONCE).sum()))
            now, wanted = wanted[:some], wanted[some:]
            every = c.maps([(name, rows) for _, name, rows in now])
            for (label, name, rows), maps in zip(now, every, strict=True):
                array = stacked(maps)
                try:
                    groups = clusters_of(array, pictures=c.positions[rows])
                except InputError:  # too few of them are more than zeros
                    continue
                if groups.count > 1:
                    found.append({
                        "method": name, "label": c.name(label), "groups": groups,
                        "means": list(groups.means), "signed": c.methods[name].signed,
                        "layer": f"\nmeans {len(found)}",
                        "nearest": [self._nearest(groups, k, rows, array)
                                    for k in range(groups.count)],
                    })  # fmt: skip
        return found

    def _nearest(
        self, groups: Clusters, k: int, rows: NDArray[np.int64], maps: NDArray[np.float32]
    ) -> list[int]:
        """Of one group's pictures that are shown, those whose maps are nearest to the mean."""
        mine = [i for i in np.flatnonzero(groups.labels == k) if int(rows[i]) in self.place]
        mean = groups.means[k].ravel()
        far = [_distance(maps[i], mean) for i in mine]
        return [int(rows[mine[i]]) for i in np.argsort(far, kind="stable")[:_EXAMPLES]]

    def _strips(self, group: dict[str, Any], side: int) -> list[dict[str, Any]]:
        """The mean map of each group, and the pictures nearest to it."""
        groups: Clusters = group["groups"]
        strips = []
        for k, size in enumerate(groups.sizes):
            tiles = [(k, group["layer"], f"mean of {size}")]
            for i in group["nearest"][k]:
                place = self.place[i]
                tiles.append((place, group["method"], self._file(place)))
            right = _mean(self.right[np.searchsorted(self.c.positions, groups.members(k))])
            note = "The mean map, then the pictures whose maps are nearest to it."
            what = counted(size, "picture")
            title = f"{group['label']}, {group['method']}: group {k + 1}, {what}"
            if right == right:
                title += f", {percent(right)} right"
            strips.append(strip(title, note, tiles, side))
        return strips

    # -- what is filtered -------------------------------------------------------------------------

    def _rows(self) -> dict[str, Any]:
        c, shown = self.c, self.shown
        return {
            "picture": PICTURE,
            "methods": list(c.methods),
            "metrics": list(self.run.metrics),
            "classes": {
                name: [[k, c.name(k)] for k in sorted({*values.tolist()} - {-1}, key=c.name)]
                for name, values in (("label", c.label), ("prediction", c.prediction))
            },
            "title": [c.title(i) for i in shown],
            "error": [c.errors[i] for i in shown],
            "label": c.label[shown].tolist(),
            "prediction": c.prediction[shown].tolist(),
            "probability": rounded(c.probability[shown]),
            "of": {
                name: {
                    "error": [method.errors[i] for i in shown],
                    "target": [c.name(t) if t >= 0 else "" for t in method.target[shown]],
                    "score": rounded(method.score[shown]),
                    "metrics": {m: rounded(v[shown]) for m, v in method.metrics.items()},
                }
                for name, method in c.methods.items()
            },
        }


def _better(higher: bool | None) -> str:
    return "" if higher is None else "higher is better" if higher else "lower is better"


def _distance(one: NDArray[np.float32], mean: NDArray[np.float32]) -> float:
    """One minus the cosine."""
    flat = one.ravel()
    size = float(np.linalg.norm(flat) * np.linalg.norm(mean))
    return 1 - float(flat @ mean) / size if size > 0 else 2.0


def _known(values: Any) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    return array[np.isfinite(array)]


def _mean(values: Any) -> float:
    known = _known(values)
    with np.errstate(over="ignore"):
        return float(known.mean()) if known.size else float("nan")


def _spread(values: Any) -> float:
    known = _known(values)
    with np.errstate(over="ignore"):
        return float(known.std(ddof=1)) if known.size > 1 else float("nan")
