"""Comparison: a table of methods by metrics, as text, CSV, HTML or a figure."""

from __future__ import annotations

import base64
import csv
import io
import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .evaluation import Evaluation, better

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
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    cells: dict[tuple[str, str], Evaluation]
    sources: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, cell: tuple[str, str]) -> Evaluation:
        return self.cells[cell]

    def table(self) -> NDArray[np.float64]:
        """Mean over the images, float64 [methods, metrics]; NaN where no image has a value."""
        return np.array(
            [[self.cells[row, column].mean for column in self.metrics] for row in self.methods]
        )

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
            [name, *map(_number, row)] for name, row in zip(self.methods, self.table(), strict=True)
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
        """A page of its own: the table, the figure, what has no value, and the settings."""
        from jinja2 import Environment, PackageLoader

        from ..data_processor.files import encodable

        environment = Environment(
            loader=PackageLoader("interpretdl.evaluator"), autoescape=True, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        table = [
            (name, [(_number(mean), name in self.best(metric)) for mean, metric in
                    zip(row, self.metrics, strict=True)])
            for name, row in zip(self.methods, self.table(), strict=True)
        ]  # fmt: skip
        directions = [better(self.higher_is_better(name)) for name in self.metrics]
        page: str = environment.get_template("comparison.html").render(
            heads=list(zip(self.metrics, directions, strict=True)),
            table=table,
            images=len(self.cells[self.methods[0], self.metrics[0]]),
            figure=base64.b64encode(self._png()).decode(),
            flags=self.flags(),
            settings=self.settings,
        )
        return encodable(page)

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
        drawn = False
        for i, (method, cell) in enumerate(zip(self.methods, cells, strict=True)):
            for dash, rows in zip(("-", "--", ":"), cell.curves.values()):  # noqa: B905  # first three
                if np.isfinite(rows).any():
                    drawn = True
                    axes.plot(
                        cell.axis, _mean_curve(rows), dash, color=f"C{i % 10}",
                        label=_drawn(method) if dash == "-" else None,
                    )  # fmt: skip
                    axes.set_xlabel(cell.axis_label, fontsize="small")
                    if cell.ticks:
                        names = [_drawn(name) for name in cell.ticks]
                        axes.set_xticks(cell.axis, names, rotation=90, fontsize="xx-small")
        if drawn:
            axes.legend(fontsize="x-small")
            return
        colours = [f"C{i % 10}" for i in range(len(cells))]
        axes.barh(range(len(cells)), np.nan_to_num(means), color=colours)
        axes.set_yticks(range(len(cells)), map(_drawn, self.methods), fontsize="small")
        axes.invert_yaxis()

    def _png(self) -> bytes:
        from ..data_processor.canvas import png_of

        return png_of(self.plot(), dpi=90)

    def _repr_html_(self) -> str:
        import html

        heads = "".join(f"<th>{html.escape(head)}</th>" for head in ["method", *self.heads()])
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td>"
            + "".join(f"<td>{_number(mean)}</td>" for mean in row)
            + "</tr>"
            for name, row in zip(self.methods, self.table(), strict=True)
        )
        return f"<table><tr>{heads}</tr>{rows}</table>"


def _drawn(name: str) -> str:
    """A name as matplotlib's own texts take it, which read formulas between dollars."""
    from ..data_processor.canvas import drawable

    return drawable(name)[0].replace("$", r"\$")


def _mean_curve(rows: NDArray[Any]) -> NDArray[Any]:
    known = rows[np.isfinite(rows).any(axis=1)]
    masked: NDArray[Any] = np.ma.masked_invalid(known).mean(axis=0).filled(np.nan)
    return masked


def _number(mean: float) -> str:
    return "–" if math.isnan(mean) else f"{mean:.4g}"
