"""Figures of a TruthTable, which draws them by this: grades, and the maps behind them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, did_you_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["grades_figure", "maps_figure"]

_BEST = 10


def grades_figure(table: Any) -> Figure:
    """Grades with intervals, and the grade on each problem, a line of panels for each suite."""
    from ..data_processor.canvas import Canvas

    ranks = {suite: list(table.ranks(suite)) for suite in table.suites}
    heights = [1.5 + 0.22 * len(names) for names in ranks.values()]
    figure = Canvas(figsize=(11, sum(heights)), layout="constrained")
    panels = figure.subplots(
        len(ranks), 2, squeeze=False, width_ratios=(1, 1.6), height_ratios=heights
    )
    for (left, right), (suite, names) in zip(panels, ranks.items(), strict=True):
        keys = [key for key, problem in table.problems.items() if problem.suite == suite]
        places = np.arange(len(names))
        for place, name in zip(places, names, strict=True):
            colour = "#888888" if name in table.controls else "#1f77b4"
            left.plot(table.interval(name, suite), (place, place), color=colour, linewidth=2)
            left.plot(table.mean(name, suite), place, "o", color=colour, markersize=4)
        left.set_yticks(places, [_label(name, 40) for name in names], fontsize="x-small")
        left.set_xlim(-0.02, 1.02)
        left.set_ylim(len(names) - 0.5, -0.5)
        left.grid(axis="x", linewidth=0.4)
        left.set_title(f"{suite}: grade, higher is better", fontsize="small")
        cells = np.array([[table.mean(name, key) for key in keys] for name in names])
        right.imshow(np.ma.masked_invalid(cells), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for row, column in np.argwhere(np.isfinite(cells)):
            value = cells[row, column]
            right.text(
                column, row, f"{value:.2f}", ha="center", va="center", fontsize="xx-small",
                color="white" if value > 0.6 else "black",
            )  # fmt: skip
        short = [_label(table.problems[key].name, 40) for key in keys]
        right.set_xticks(range(len(keys)), short, rotation=30, ha="right", fontsize="x-small")
        right.set_yticks(places, [""] * len(names))
        right.set_facecolor("#d9c9b0")
        right.set_title("on each problem; brown: refused", fontsize="small")
    return figure


def maps_figure(
    table: Any, methods: Sequence[str] | str | None, problems: Sequence[str] | str | None
) -> Figure:
    """A line for each problem: picture, truth, maps."""
    from ..data_processor.canvas import Canvas

    problems = [problems] if isinstance(problems, str) else problems
    methods = [methods] if isinstance(methods, str) else methods
    keys = list(table.problems) if problems is None else list(problems)
    if methods is None:
        ranked = [name for name in table.ranks(table.suites[0]) if name not in table.controls]
        methods = [*ranked[:_BEST], *table.controls]
    for given, known in ((keys, table.problems), (methods, table.methods)):
        for name in given:
            if name not in known:
                raise InputError(f"no {name!r} in the table{did_you_mean(name, known)}")
    columns = 2 + len(methods)
    titles = [_label(name.replace("_", " "), 14, 4) for name in ("picture", "truth", *methods)]
    heads = 0.3 + 0.15 * max(title.count("\n") + 1 for title in titles)
    figure = Canvas(figsize=(1.1 * columns, 1.2 * len(keys) + heads), layout="constrained")
    panels = figure.subplots(len(keys), columns, squeeze=False)
    for line, key in zip(panels, keys, strict=True):
        problem = table.problems[key]
        for axes in line:
            axes.set_xticks([])
            axes.set_yticks([])
        line[0].imshow(_picture(problem))
        line[0].set_ylabel(_label(problem.name, 20, 2), fontsize="x-small")
        line[1].imshow(problem.masks[0], cmap="gray", vmin=0, vmax=1)
        for axes, name in zip(line[2:], methods, strict=True):
            _draw(axes, table, name, key)
    for axes, title in zip(panels[0], titles, strict=True):
        axes.set_title(title, fontsize="x-small")
    return figure


def _label(name: str, width: int, lines: int = 1) -> str:
    """A name as matplotlib draws it, in lines of so many characters; the rest is cut off."""
    from ..data_processor.canvas import drawable

    rows = textwrap.wrap(drawable(name)[0], width)
    if len(rows) > lines:
        rows = [*rows[: lines - 1], rows[lines - 1][: width - 1] + "…"]
    return "\n".join(rows).replace("$", r"\$")


def _picture(problem: Any) -> Any:
    """The first picture as a person sees it, uint8 [H, W, 3]."""
    preprocessing = getattr(problem.model, "preprocessing", None)
    x = problem.x[:1]
    if preprocessing is not None and preprocessing.channels == x.shape[1]:
        return preprocessing.restore(x)[0]
    grey = x[0].mean(axis=0)
    span = float(np.ptp(grey)) or 1.0
    return np.repeat((255 * (grey - grey.min()) / span).astype(np.uint8)[..., None], 3, axis=2)


def _draw(axes: Any, table: Any, name: str, key: str) -> None:
    """One map: red for the class, blue against it, on one scale with its other class."""
    from ..data_processor.heatmaps import heatmap_of

    found = table[name, key]
    if found.first is None:
        axes.text(0.5, 0.5, "refused", transform=axes.transAxes, ha="center", fontsize="xx-small")
        return
    size = table.problems[key].x.shape[2:]
    heat = heatmap_of(found.first, (size[0], size[1]), found.signed)[0]
    limit = max(float(np.abs(heat).max()), found.scale)
    limit = limit if math.isfinite(limit) and limit > 0 else 1.0
    axes.imshow(heat, cmap="seismic", vmin=-limit, vmax=limit, interpolation="nearest")
    grade = table.mean(name, key)
    axes.set_xlabel("" if math.isnan(grade) else f"{grade:.2f}", fontsize="xx-small", labelpad=1)
