"""Comparison: a table of methods by metrics, as text, CSV, HTML or a figure."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .bootstrap import FEWEST, interval, is_worse
from .evaluation import Evaluation, better
from .panels import colours_of, curves_of, figure_of
from .report import comparison_page, number
from .thumbnails import Thumbnails

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Methods by metrics.

    Attributes:
        methods: names, the rows.
        metrics: names, the columns.
        cells: {(method, metric): Evaluation}, with the value of each image and the curves.
        sources: where each image came from.
        settings: of the methods and metrics, as they were used.
        pictures: the first eight pictures, small, as JPEG files; none where inputs are no pictures.
        maps: {method: Thumbnails}, its maps of these. A method whose cells were read from a file
            that has no maps is not in it.
        facts: model, number and size of the pictures, date and versions, for the report.
        controls: which of the methods are controls, maps that know no model.
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    cells: dict[tuple[str, str], Evaluation]
    sources: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    pictures: tuple[bytes, ...] = ()
    maps: dict[str, Thumbnails] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    controls: tuple[str, ...] = ()

    def __getitem__(self, cell: tuple[str, str]) -> Evaluation:
        return self.cells[cell]

    def table(self) -> NDArray[np.float64]:
        """Mean over the images, float64 [methods, metrics]; NaN where no image has a value."""
        return np.array(
            [[self.cells[row, column].mean for column in self.metrics] for row in self.methods]
        )

    def spread(self) -> NDArray[np.float64]:
        """Standard deviation over the images, float64 [methods, metrics]; NaN where fewer than two
        images have a value."""
        return self._of_each(lambda known: [known.std(ddof=1) if known.size > 1 else np.nan])[
            ..., 0
        ]

    def quartiles(self) -> NDArray[np.float64]:
        """First quartile, median and third, float64 [methods, metrics, 3]; NaN as in `table`."""
        return self._of_each(
            lambda known: np.percentile(known, (25, 50, 75)) if known.size else [np.nan] * 3
        )

    def counts(self) -> NDArray[np.int64]:
        """How many images have a value, int64 [methods, metrics]."""
        return self._of_each(lambda known: known.size).astype(np.int64)

    def interval(self) -> NDArray[np.float64]:
        """Bootstrap interval of the mean at 95 %, float64 [methods, metrics, 2]; NaN where fewer
        than two images have a value. See `interpretdl.evaluator.bootstrap.interval`."""
        return self._bounds.copy()

    @cached_property
    def _bounds(self) -> NDArray[np.float64]:
        return self._of_each(interval)

    def _of_each(self, function: Callable[[NDArray[Any]], Any]) -> NDArray[np.float64]:
        """A function of each cell's values that are numbers."""
        cells = [
            [self.cells[row, column].values for column in self.metrics] for row in self.methods
        ]
        return np.array([[function(one[np.isfinite(one)]) for one in row] for row in cells])

    def higher_is_better(self, metric: str) -> bool:
        """The metric's direction."""
        return self.cells[self.methods[0], metric].higher_is_better

    def best(self, metric: str) -> tuple[str, ...]:
        """The methods whose mean is best; several when they are equal, none when all are NaN.

        Controls do not count, nor methods with values for fewer than six images, or for fewer than
        all where there are no six.
        """
        least = min(FEWEST, len(self.cells[self.methods[0], metric]))
        column = self.metrics.index(metric)
        means = {
            name: mean
            for name, mean, n in zip(
                self.methods, self.table()[:, column], self.counts()[:, column], strict=True
            )
            if 0 < n >= least and name not in self.controls
        }
        if not means:
            return ()
        top = (max if self.higher_is_better(metric) else min)(means.values())
        return tuple(name for name, mean in means.items() if mean == top)

    def leaders(self, metric: str) -> tuple[str, ...]:
        """The rows that cannot be told from the best method, which is one of them; in bold.

        The others are worse: a paired bootstrap over the images that both have a value for gives an
        interval of the mean difference, at 95 %, that does not hold zero. Fewer than six such
        images tell nothing: such a row is none of them, see `untold`. A control among them means
        that the metric does not tell the methods from maps that know no model.
        """
        return self._compared[metric][0]

    def untold(self, metric: str) -> tuple[str, ...]:
        """The rows that have values, but fewer than six that the best method has too."""
        return self._compared[metric][1]

    @cached_property
    def _compared(self) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
        return {metric: self._compare(metric) for metric in self.metrics}

    def _compare(self, metric: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        values = {name: self.cells[name, metric].values for name in self.methods}
        known = {name: np.isfinite(each) for name, each in values.items()}
        there = [name for name in self.methods if known[name].any()]
        best = self.best(metric)
        if not best:
            return (), tuple(there)
        top, higher = best[0], self.higher_is_better(metric)
        untold = [n for n in there if (known[n] & known[top]).sum() < FEWEST]
        leaders = [n for n in there if n in best or not is_worse(values[n], values[top], higher)]
        return tuple(n for n in leaders if n not in untold), tuple(untold)

    def told(self, mark: str = "*") -> str:
        """What is said by the mark of `leaders`."""
        if len(self.cells[self.methods[0], self.metrics[0]]) < FEWEST:
            return f"none is marked: it takes {FEWEST} pictures to tell methods apart"
        said = f"{mark}: cannot be told from the best at 95 % (paired bootstrap over pictures)"
        few = [f"{name} ({metric})" for metric in self.metrics for name in self.untold(metric)]
        if not few:
            return said
        return f"{said}; too few pictures to be held against the best: {', '.join(few)}"

    def notes(self, mark: str = "*") -> list[str]:
        """What the numbers of the table are, in sentences.

        Args:
            mark: how `leaders` are marked.
        """
        n, flags = len(self.cells[self.methods[0], self.metrics[0]]), len(self.flags())
        spread = "; ± standard deviation" if n > 1 else ""
        lines = [f"n = {n}{spread}; {self.told(mark)}."]
        if flags:
            lines.append(
                f"{flags} value{' is' if flags == 1 else 's are'} missing; n is how many are there."
            )
        if self.controls:
            lines.append(f"Controls, maps that know no model: {', '.join(self.controls)}.")
        return lines

    def heads(self) -> list[str]:
        """A head for each metric, with its direction."""
        return [f"{name} ({better(self.higher_is_better(name))})" for name in self.metrics]

    def flags(self) -> list[tuple[str, str, str, str]]:
        """What has no value, and why: (method, metric, image, reason)."""
        return [
            (method, metric, self.sources[i] if self.sources else f"image {i}", reason)
            for (method, metric), cell in self.cells.items()
            for i, reason in cell.flags.items()
        ]

    def __str__(self) -> str:
        heads = ["method", *self.heads()]
        cells = [[self._cell(cell) for cell in row] for row in self._rows()]
        lines = [heads, *([name, *row] for name, row in zip(self.methods, cells, strict=True))]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rows = [
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in lines
        ]
        return "\n".join([*(row.rstrip() for row in rows), *self.notes()])

    def _rows(self) -> list[list[tuple[str, bool, str]]]:
        """For each row its cells: the mean, whether it is in the lead, and in words the spread, and
        n where values are missing."""
        means, spreads, counts = self.table(), self.spread(), self.counts()

        def cell(row: int, column: int) -> tuple[str, bool, str]:
            method, metric = self.methods[row], self.metrics[column]
            spread, n = spreads[row, column], counts[row, column]
            more = "" if math.isnan(spread) else f" ± {number(spread, 2)}"
            more += "" if n == len(self[method, metric]) else f" (n = {n})"
            return number(means[row, column]), method in self.leaders(metric), more

        columns = range(len(self.metrics))
        return [[cell(row, column) for column in columns] for row in range(len(self.methods))]

    @staticmethod
    def _cell(cell: tuple[str, bool, str]) -> str:
        mean, leads, more = cell
        return mean.rjust(7) + ("*" if leads else " ") + more

    def __repr__(self) -> str:
        return f"<Comparison of {len(self.methods)} methods by {', '.join(self.metrics)}>"

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a head with the directions, and a row for each method.

        First the means of all metrics; then for each metric "in the lead" (1 or 0, see `leaders`),
        "sd", "low" and "high" (the interval of the mean), "n" (images with a value) and "flagged"
        (images without).

        Raises:
            ResourceError: it cannot be written.
        """
        from ..data_processor.files import atomic_path, check_writable, encodable

        more = ("in the lead", "sd", "low", "high", "n", "flagged")
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(
            ["method", *self.heads(), *(f"{m}: {each}" for m in self.metrics for each in more)]
        )
        table, spread, bounds, counts = (
            self.table(), self.spread(), self.interval(), self.counts()
        )  # fmt: skip
        for row, name in enumerate(self.methods):
            line: list[str] = [name, *map(_exact, table[row])]
            for column, metric in enumerate(self.metrics):
                line += [str(int(name in self.leaders(metric)))]
                line += map(_exact, (spread[row, column], *bounds[row, column]))
                line += [str(counts[row, column]), str(len(self.cells[name, metric].flags))]
            writer.writerow(line)
        with atomic_path(check_writable(path, (".csv",))) as temporary:
            temporary.write_text(encodable(text.getvalue()), encoding="utf-8")

    def html(self) -> str:
        """A report as a page of its own: the means and how they spread, the maps of the first
        pictures, curves, what each number means, what has no value, model, data and settings.

        Pictures enlarge. The page needs no other file and no network.
        """
        return comparison_page(self)

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write `html()` to a file, which needs no other.

        Raises:
            ResourceError: it cannot be written.
        """
        from ..data_processor.files import atomic_path, check_writable

        target = check_writable(path, (".html", ".htm"))
        page = self.html()
        with atomic_path(target) as temporary:
            temporary.write_text(page, encoding="utf-8")

    def plot(self) -> Figure:
        """One panel for each metric: the methods' mean curves where it has any, else bars with the
        interval of the mean. Names in bold are those of `leaders`; n is the number of images.

        Returns:
            a matplotlib Figure, which pyplot does not know.
        """
        return figure_of(self)

    def colours(self) -> list[str]:
        """The colour of each method in figures, as "#1f77b4"; controls are grey."""
        return colours_of(self)

    def curves_png(self, metric: str) -> bytes | None:
        """The panel of a metric as a PNG file; None where it has no curves."""
        return curves_of(self, metric)

    def _repr_html_(self) -> str:
        import html

        from ..data_processor.files import encodable

        lines = ["".join(f"<th>{html.escape(head)}</th>" for head in ["method", *self.heads()])]
        for method, row in zip(self.methods, self._rows(), strict=True):
            name = html.escape(method)
            cells = [f"<i>{name}</i>" if method in self.controls else name]
            cells += [(f"<b>{mean}</b>" if leads else mean) + more for mean, leads, more in row]
            lines.append("".join(f"<td>{cell}</td>" for cell in cells))
        notes = html.escape(" ".join(self.notes("bold")))
        lines.append(f'<td colspan="{1 + len(self.metrics)}">{notes}</td>')
        rows = "".join(f"<tr>{line}</tr>" for line in lines)
        return encodable(f'<table class="tex2jax_ignore mathjax_ignore">{rows}</table>')


def _exact(value: float) -> str:
    """A number for CSV, nothing for what is none."""
    return repr(float(value)) if math.isfinite(value) else ""
