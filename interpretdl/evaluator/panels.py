"""Figures of a comparison: a panel for each metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .evaluation import better

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["colours_of", "curves_of", "figure_of"]

_FEW = 10  # methods, in colours that are easily told apart
_GREYS = ("#555555", "#888888", "#bbbbbb")


def figure_of(c: Any) -> Figure:
    """A panel for each metric of a Comparison."""
    from ..data_processor.canvas import Canvas, write_text

    columns = min(3, len(c.metrics))
    lines = -(-len(c.metrics) // columns)
    height = max(3.2, 1.4 + 0.2 * len(c.methods))
    figure = Canvas(figsize=(5.2 * columns, height * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for panel in panels[len(c.metrics) :]:
        panel.set_axis_off()
    for axes, metric in zip(panels, c.metrics):  # noqa: B905  # panels may be left over
        _panel(axes, c, metric)
        direction = f"{better(c.higher_is_better(metric))}, {_count(c, metric)}"
        write_text(axes.set_title, direction, 40, metric, fontsize="small")
    return figure


def curves_of(c: Any, metric: str) -> bytes | None:
    """The panel of a metric as a PNG file; None where it has no curves."""
    from ..data_processor.canvas import Canvas, png_of

    cells = [c[method, metric] for method in c.methods]
    if not any(np.isfinite(rows).any() for cell in cells for rows in cell.curves.values()):
        return None
    figure = Canvas(figsize=(5.2, 3.4), layout="constrained")
    _panel(figure.subplots(), c, metric)
    return png_of(figure, dpi=120)


def colours_of(c: Any) -> list[str]:
    """The colour of each method, as "#1f77b4"; controls are grey."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    others = [name for name in c.methods if name not in c.controls]
    drawn = colormaps["tab10" if len(others) <= _FEW else "tab20"]
    colours = {name: to_hex(drawn(i % drawn.N)) for i, name in enumerate(others)}
    colours |= {name: _GREYS[i % len(_GREYS)] for i, name in enumerate(c.controls)}
    return [colours[name] for name in c.methods]


def _count(c: Any, metric: str) -> str:
    counts = c.counts()[:, c.metrics.index(metric)]
    low, high = int(counts.min()), int(counts.max())
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def _panel(axes: Any, c: Any, metric: str) -> None:
    cells = [c[method, metric] for method in c.methods]
    drawn, colours, names = False, colours_of(c), _names(c, metric)
    leaders = [method in c.leaders(metric) for method in c.methods]
    bold = []
    for i, cell in enumerate(cells):
        for dash, rows in zip(("-", "--", ":"), cell.curves.values()):  # noqa: B905  # first three
            if np.isfinite(rows).any():
                drawn = True
                label = names[i] if dash == "-" else None
                axes.plot(cell.axis, _mean_curve(rows), dash, color=colours[i], label=label)
                bold += [leaders[i]] if label else []
                axes.set_xlabel(cell.axis_label, fontsize="small")
                if cell.ticks:
                    ticks = [_drawn(name) for name in cell.ticks]
                    axes.set_xticks(cell.axis, ticks, rotation=90, fontsize="xx-small")
    if drawn:
        legend = axes.legend(fontsize="x-small", bbox_to_anchor=(1.01, 1), loc="upper left")
        _embolden(legend.get_texts(), bold)
        return
    means = np.array([cell.mean for cell in cells])
    reach = np.abs(c.interval()[:, c.metrics.index(metric)].T - means)
    places = np.arange(len(cells))
    axes.barh(places, np.nan_to_num(means), color=colours)
    known = np.isfinite(reach).all(axis=0)
    axes.errorbar(
        means[known], places[known], xerr=reach[:, known], fmt="none", ecolor="black",
        elinewidth=1, capsize=2,
    )  # fmt: skip
    axes.set_yticks(places, names, fontsize="small")
    _embolden(axes.get_yticklabels(), leaders)
    axes.invert_yaxis()


def _names(c: Any, metric: str) -> list[str]:
    """The methods' names, with n where values are missing."""
    counts = c.counts()[:, c.metrics.index(metric)]
    return [
        _drawn(method) + ("" if n == len(c[method, metric]) else f" (n = {n})")
        for method, n in zip(c.methods, counts, strict=True)
    ]


def _embolden(texts: Any, which: list[bool]) -> None:
    for text, bold in zip(texts, which, strict=True):
        text.set_fontweight("bold" if bold else "normal")


def _drawn(name: str) -> str:
    """A name as matplotlib's own texts take it, which read formulas between dollars."""
    from ..data_processor.canvas import drawable

    return drawable(name)[0].replace("$", r"\$")


def _mean_curve(rows: NDArray[Any]) -> NDArray[Any]:
    known = rows[np.isfinite(rows).any(axis=1)]
    masked: NDArray[Any] = np.ma.masked_invalid(known).mean(axis=0).filled(np.nan)
    return masked
