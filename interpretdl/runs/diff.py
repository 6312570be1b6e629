"""How two runs over the same pictures differ: an explanation test for a new model."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.files import atomic_path, check_writable
from ..data_processor.heatmaps import heatmap_of
from ..errors import InputError, ResourceError
from ..hints import check_value
from .columns import Columns, columns_of, picture_reader, same_class
from .diff_page import diff_page
from .measures import masks_of, moved, rank_correlation, share_in
from .opened import Run, open_run
from .page_data import counted, percent

__all__ = ["MethodDiff", "RunDiff", "diff_runs"]

Array = NDArray[np.float64]
_AT_ONCE = 512  # pictures whose maps are in memory


@dataclass(frozen=True, eq=False)
class MethodDiff:
    """How the maps of one method moved, for each of n pictures that both runs have.

    Attributes:
        correlation: float64 [n], Spearman's rank correlation of the two maps: 1 where the order of
            all pixels is the same, 0 where they have nothing in common, -1 where it is reversed.
            NaN where neither run has a map.
        moved: float64 [n], how far the centre of mass of the heat went, as a share of the map's
            diagonal.
        share_a, share_b: float64 [n], the share of the heat that lies in the mask; NaN without one.
        same_target: bool [n], whether both runs explain the same class.
    """

    correlation: Array
    moved: Array
    share_a: Array
    share_b: Array
    same_target: NDArray[np.bool_]

    @property
    def change(self) -> Array:
        """1 - correlation, in [0, 2]; 1 where only one of the runs has a map."""
        return 1 - self.correlation


@dataclass(frozen=True, eq=False)
class RunDiff:
    """Two runs over the same pictures, `a` before and `b` after.

    Attributes:
        a, b: the runs' rows, of all their pictures.
        pairs: int64 [n, 2], rows of `a` and `b` that are the same picture.
        only_a, only_b: titles of pictures that the other run lacks.
        methods: by name, those that both runs have.
        settings: of both, for the page.
    """

    runs: tuple[Run, Run]
    a: Columns
    b: Columns
    pairs: NDArray[np.int64]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    methods: dict[str, MethodDiff]

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def sources(self) -> list[str]:
        """The pictures' paths, as run b has them."""
        return [self.b.title(int(row)) for row in self.pairs[:, 1]]

    @property
    def flipped(self) -> NDArray[np.bool_]:
        """bool [n]: both runs predict a class, and not the same one.

        Classes are compared by number; by name where both runs know names and these differ.
        """
        before, after = self._predictions()
        differ = ~same_class(self.a, self.b, before, after)
        return np.asarray(differ & (before >= 0) & (after >= 0))

    @property
    def lost(self) -> NDArray[np.bool_]:
        """bool [n]: run a predicts a class, and run b none."""
        before, after = self._predictions()
        return np.asarray((before >= 0) & (after < 0))

    def _predictions(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.a.prediction[self.pairs[:, 0]], self.b.prediction[self.pairs[:, 1]]

    @property
    def flips(self) -> float:
        """The share of run a's predictions that flipped; NaN where it has none."""
        return self._share(self.flipped)

    def _share(self, where: NDArray[np.bool_]) -> float:
        predicted = int((self._predictions()[0] >= 0).sum())
        return int(where.sum()) / predicted if predicted else math.nan

    @property
    def changes(self) -> dict[str, float]:
        """The mean change of each method's maps, 1 - rank correlation."""
        return {name: _mean(each.change) for name, each in self.methods.items()}

    def beyond(self, max_change: float | None = None, max_flips: float | None = None) -> list[str]:
        """What exceeds the limits, a sentence for each; empty where all is within them.

        A run that is not finished, and a method that run b lacks, exceed any limit.

        Args:
            max_change: of the mean of 1 - rank correlation, for each method.
            max_flips: of the share of run a's predictions that flipped or are lost.

        Raises:
            InputError: a limit that is no number between 0 and 2, or 0 and 1 for max_flips.
        """
        for name, limit, most in (("max_change", max_change, 2), ("max_flips", max_flips, 1)):
            check_value(name, limit, float | None)
            if limit is not None and not 0 <= limit <= most:
                raise InputError(f"{name} must be between 0 and {most}; got {limit}")
        found = [] if max_change is None and max_flips is None else self._lacking()
        if max_change is not None:
            found += [
                f"{name}: maps changed by {change:.3g}, more than {max_change:g}"
                for name, change in self.changes.items()
                if not change <= max_change  # NaN as well
            ]
        share = self._share(self.flipped | self.lost)
        if max_flips is not None and math.isnan(share):
            found.append("run A has no prediction that could flip")
        elif max_flips is not None and share > max_flips:
            what = "flipped or are lost" if self.lost.any() else "flipped"
            found.append(f"{share:.3g} of the predictions {what}, more than {max_flips:g}")
        return found

    @property
    def gaps(self) -> list[str]:
        """What one run lacks, a sentence each: pictures if it is not finished, and methods."""
        return [*self._lacking(), *self._alone(1)]

    def _lacking(self) -> list[str]:
        """Those without which nothing can be said to be within a limit."""
        runs = zip("AB", self.runs, (self.a, self.b), strict=True)
        unfinished = [
            f"run {name} is not finished: {len(rows)} of {run.pictures} pictures"
            for name, run, rows in runs
            if len(rows) < run.pictures
        ]
        return [*unfinished, *self._alone(0)]

    def _alone(self, k: int) -> list[str]:
        methods = self.runs[k].methods
        return [f"only run {'AB'[k]} has {each}" for each in methods if each not in self.methods]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each picture and method, as plain values; None where there is none."""
        before, after = self._predictions()
        flipped, sources = self.flipped, self.sources
        return [
            {
                "picture": sources[i],
                "method": name,
                "prediction_a": self.a.name(before[i]) if before[i] >= 0 else None,
                "prediction_b": self.b.name(after[i]) if after[i] >= 0 else None,
                "flipped": bool(flipped[i]),
                "same_target": bool(each.same_target[i]),
                **{
                    key: _number(getattr(each, key)[i])
                    for key in ("change", "correlation", "moved", "share_a", "share_b")
                },
            }
            for name, each in self.methods.items()
            for i in range(len(self))
        ]

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write `rows` as a table.

        Raises:
            ResourceError: the file cannot be written, or does not end in .csv.
        """
        check_writable(path, (".csv",))
        rows = self.rows()
        with (
            atomic_path(path) as file,
            file.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
        ):
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def to_html(self, path: str | os.PathLike[str], *, root: str | None = None) -> None:
        """Write a page with the flipped predictions and the maps that moved most.

        Args:
            path: the .html file; it needs no other and no network.
            root: the folder where relative paths of pictures start; None: where run `b` was
                started.

        Raises:
            InputError: `root` is no folder.
            ResourceError: the file cannot be written, or does not end in .html.
        """
        check_writable(path, (".html",))
        page = self._page(root)
        with atomic_path(path) as file:
            file.write_text(page, encoding="utf-8")

    def _page(self, root: str | None) -> str:
        return diff_page(self, picture_reader(self.runs[1], None if root is None else Path(root)))

    def to_mlflow(
        self, artifact: str = "interpretdl_diff.html", *, root: str | None = None
    ) -> None:
        """Log the page as an artifact, and flips and changes as metrics, to MLflow's active run.

        Args:
            artifact: the page's name.
            root: see `to_html`.

        Raises:
            InputError: `root` is no folder.
            ResourceError: mlflow is not installed.
        """
        try:
            import mlflow
        except ImportError as error:
            raise ResourceError("mlflow is needed and not installed: pip install mlflow") from error
        mlflow.log_text(self._page(root), artifact)
        values = {  # what MLflow allows in names
            f"change_{re.sub('[^A-Za-z0-9_. -]', '_', name)}": value
            for name, value in self.changes.items()
        }
        values = {"flips": self.flips, "lost": self._share(self.lost), **values}
        mlflow.log_metrics({key: value for key, value in values.items() if math.isfinite(value)})

    def __str__(self) -> str:
        lines = [
            f"{counted(len(self), 'picture')} in both runs"
            + (f", {len(self.only_a)} only in A" if self.only_a else "")
            + (f", {len(self.only_b)} only in B" if self.only_b else ""),
            f"{counted(int(self.flipped.sum()), 'prediction')} flipped ({percent(self.flips, 1)})"
            + (f", {int(self.lost.sum())} lost: run B has none" if self.lost.any() else ""),
            *self.gaps,
        ]
        masked = any(np.isfinite(each.share_a).any() for each in self.methods.values())
        head = ["method", "change", "largest", "moved", *(["in mask A", "in mask B"] * masked)]
        table = [head] + [
            [name, *map(_short, (
                _mean(each.change), _largest(each.change), _mean(each.moved),
                *((_mean(each.share_a), _mean(each.share_b)) if masked else ()),
            ))]
            for name, each in self.methods.items()
        ]  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<RunDiff of {counted(len(self), 'picture')}, {', '.join(self.methods)}>"


def diff_runs(
    a: Run | str | os.PathLike[str], b: Run | str | os.PathLike[str], *, mask: Any = None
) -> RunDiff:
    """Compare two runs over the same pictures, such as of two checkpoints.

    Pictures are matched by the digests of their files; where a run has none, by path. Maps are
    compared by rank correlation, which is the same on any scale. For the centre of mass and the
    share in a mask, heat is the values above zero.

    Where only one of the runs has a map, or only one of two maps says anything (the other is the
    same everywhere, or not finite), their correlation is 0. Maps that are equal have 1.

    Args:
        a, b: folders, or what `open_run` returns: before and after.
        mask: where the heat is measured: an array [h, w] for all pictures, laid over the picture as
            the model sees it, above 0 inside; or a mapping to such arrays, which may be empty then.
            Its keys are the pictures' paths or their ends, such as the names of files, with or
            without the ending; of several the longest counts.

    Returns:
        RunDiff.

    Raises:
        InputError: no picture or no method is in both, a folder is no run, a mask does not fit, or
            there is no telling which mask is whose.
    """
    first, second = (each if isinstance(each, Run) else open_run(each) for each in (a, b))
    one, two = columns_of(first), columns_of(second)
    pairs = _pairs(one, two)
    names = [name for name in one.methods if name in two.methods]
    if not len(pairs) or not names:
        what = "method" if len(pairs) else "picture"
        raise InputError(f"{first.folder} and {second.folder} have no {what} in common")
    masks = masks_of(mask, [two.paths[j] for j in pairs[:, 1]])
    only = [
        tuple(c.title(i) for i in sorted({*range(len(c))} - {*pairs[:, k].tolist()}))
        for k, c in enumerate((one, two))
    ]
    methods = _methods(one, two, pairs, names, masks)
    return RunDiff((first, second), one, two, pairs, only[0], only[1], methods)


def _pairs(a: Columns, b: Columns) -> NDArray[np.int64]:
    """Rows of the same pictures: of equal digests, then of equal paths where one has no digest.

    Of several equal files the first goes with the first, and so on.
    """
    found: dict[int, int] = {}
    for keys_a, keys_b in ((a.digests, b.digests), (a.paths, b.paths)):
        waiting: dict[str, list[int]] = {}
        taken = set(found.values())
        for j, key in enumerate(keys_b):
            if key and j not in taken:
                waiting.setdefault(key, []).append(j)
        for i, key in enumerate(keys_a):
            if i in found or not waiting.get(key):
                continue
            j = waiting[key][0]
            # two digests that differ are two pictures, whatever the files' names
            if keys_a is a.digests or not (a.digests[i] and b.digests[j]):
                found[i] = waiting[key].pop(0)
    return np.asarray(sorted(found.items()), np.int64).reshape(-1, 2)


def _methods(
    a: Columns, b: Columns, pairs: NDArray[np.int64], names: Sequence[str],
    masks: Sequence[NDArray[Any] | None],
) -> dict[str, MethodDiff]:  # fmt: skip
    values = {name: np.full((4, len(pairs)), np.nan) for name in names}
    for start in range(0, len(pairs), _AT_ONCE):
        some = pairs[start : start + _AT_ONCE]
        before = a.maps([(name, some[:, 0]) for name in names])
        after = b.maps([(name, some[:, 1]) for name in names])
        for name, *maps in zip(names, before, after, strict=True):
            for k, three in enumerate(zip(*maps, masks[start : start + _AT_ONCE], strict=True)):
                values[name][:, start + k] = _compared(*three)
    found = {}
    for name, (correlation, far, share_a, share_b) in values.items():
        targets = a.methods[name].target[pairs[:, 0]], b.methods[name].target[pairs[:, 1]]
        same = same_class(a, b, *targets)
        found[name] = MethodDiff(correlation, far, share_a, share_b, same)
    return found


def _compared(
    before: NDArray[np.float32] | None, after: NDArray[np.float32] | None,
    mask: NDArray[Any] | None,
) -> tuple[float, float, float, float]:  # fmt: skip
    """Correlation, how far the centre of mass went, and both shares in the mask."""
    if before is None or after is None:
        return math.nan if before is after else 0.0, math.nan, math.nan, math.nan
    if before.shape != after.shape:
        after = heatmap_of(after[None], before.shape, signed=True)[0]
    shares = [math.nan if mask is None else share_in(each, mask) for each in (before, after)]
    return rank_correlation(before, after), moved(before, after), shares[0], shares[1]


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _largest(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.max()) if known.size else math.nan


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _short(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"
