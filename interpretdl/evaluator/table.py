"""Comparison: a table of methods by metrics, as text, CSV, HTML or a figure."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .evaluation import Evaluation, better
from .report import comparison_page, number
from .thumbnails import Thumbnails

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison"]

_FEW = 10  # methods, in colours that are easily told apart
_IN_PANEL = 8  # methods, so that a legend leaves room for the curves


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
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    cells: dict[tuple[str, str], Evaluation]
    sources: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    pictures: tuple[bytes, ...] = ()
    maps: dict[str, Thumbnails] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)

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
        """The methods whose mean is best; several when they are equal, none when all are NaN."""
        column = self.table()[:, self.metrics.index(metric)]
        known = column[np.isfinite(column)]
        if not known.size:
            return ()
        top = known.max() if self.higher_is_better(metric) else known.min()
        return tuple(name for name, mean in zip(self.methods, column, strict=True) if mean == top)

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
        lines = [heads] + [
            [name, *map(number, row)] for name, row in zip(self.methods, self.table(), strict=True)
        ]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rows = [
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in lines
        ]
        return "\n".join(row.rstrip() for row in rows)

    def __repr__(self) -> str:
        return f"<Comparison of {len(self.methods)} methods by {', '.join(self.metrics)}>"

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the means: a head with the directions, and a row for each method.

        Raises:
            ResourceError: it cannot be written.
        """
        from ..data_processor.files import atomic_path, check_writable, encodable

        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["method", *self.heads()])
        for name, row in zip(self.methods, self.table(), strict=True):
            writer.writerow(
                [name, *("" if math.isnan(mean) else repr(float(mean)) for mean in row)]
            )
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
        """One panel for each metric: the methods' mean curves where it has any, else bars.

        Returns:
            a matplotlib Figure, which pyplot does not know.
        """
        from ..data_processor.canvas import Canvas, write_text

        columns = min(3, len(self.metrics))
        lines = -(-len(self.metrics) // columns)
        figure = Canvas(figsize=(4.4 * columns, 3.2 * lines), layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for panel in panels[len(self.metrics) :]:
            panel.set_axis_off()
        for axes, metric in zip(panels, self.metrics):  # noqa: B905  # panels may be left over
            self._panel(axes, metric)
            write_text(
                axes.set_title, better(self.higher_is_better(metric)), 40, metric, fontsize="small"
            )
        return figure

    def _panel(self, axes: Any, metric: str) -> None:
        cells = [self.cells[method, metric] for method in self.methods]
        means = [cell.mean for cell in cells]
        drawn, colours = False, self.colours()
        for i, (method, cell) in enumerate(zip(self.methods, cells, strict=True)):
            for dash, rows in zip(("-", "--", ":"), cell.curves.values()):  # noqa: B905  # first three
                if np.isfinite(rows).any():
                    drawn = True
                    axes.plot(
                        cell.axis, _mean_curve(rows), dash, color=colours[i],
                        label=_drawn(method) if dash == "-" else None,
                    )  # fmt: skip
                    axes.set_xlabel(cell.axis_label, fontsize="small")
                    if cell.ticks:
                        names = [_drawn(name) for name in cell.ticks]
                        axes.set_xticks(cell.axis, names, rotation=90, fontsize="xx-small")
        if drawn:
            beside = {"bbox_to_anchor": (1.01, 1), "loc": "upper left"}
            axes.legend(fontsize="x-small", **(beside if len(cells) > _IN_PANEL else {}))
            return
        axes.barh(range(len(cells)), np.nan_to_num(means), color=colours)
        axes.set_yticks(range(len(cells)), map(_drawn, self.methods), fontsize="small")
        axes.invert_yaxis()

    def colours(self) -> list[str]:
        """The colour of each method in figures, as "#1f77b4"."""
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

        drawn = colormaps["tab10" if len(self.methods) <= _FEW else "tab20"]
        return [to_hex(drawn(i % drawn.N)) for i in range(len(self.methods))]

    def curves_png(self, metric: str) -> bytes | None:
        """The panel of a metric as a PNG file; None where it has no curves."""
        from ..data_processor.canvas import Canvas, png_of

        cells = [self.cells[method, metric] for method in self.methods]
        if not any(np.isfinite(rows).any() for cell in cells for rows in cell.curves.values()):
            return None
        figure = Canvas(figsize=(5.2, 3.4), layout="constrained")
        self._panel(figure.subplots(), metric)
        return png_of(figure, dpi=120)

    def _repr_html_(self) -> str:
        import html

        from ..data_processor.files import encodable

        lines = ["".join(f"<th>{html.escape(head)}</th>" for head in ["method", *self.heads()])]
        best = {metric: self.best(metric) for metric in self.metrics}
        for method, means, spreads in zip(self.methods, self.table(), self.spread(), strict=True):
            cells = [html.escape(method)]
            for metric, mean, spread in zip(self.metrics, means, spreads, strict=True):
                shown = f"<b>{number(mean)}</b>" if method in best[metric] else number(mean)
                cells.append(shown + ("" if math.isnan(spread) else f" ± {number(spread, 2)}"))
            lines.append("".join(f"<td>{cell}</td>" for cell in cells))
        rows = "".join(f"<tr>{line}</tr>" for line in lines)
        return encodable(f'<table class="tex2jax_ignore mathjax_ignore">{rows}</table>')


def _drawn(name: str) -> str:
    """A name as matplotlib's own texts take it, which read formulas between dollars."""
    from ..data_processor.canvas import drawable

    return drawable(name)[0].replace("$", r"\$")


def _mean_curve(rows: NDArray[Any]) -> NDArray[Any]:
    known = rows[np.isfinite(rows).any(axis=1)]
    masked: NDArray[Any] = np.ma.masked_invalid(known).mean(axis=0).filled(np.nan)
    return masked
