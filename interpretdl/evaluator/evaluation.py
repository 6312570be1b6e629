"""Evaluation: what an evaluator found, a number for each image, and curves that can be drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..record import plain
from .frames import Frames

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Evaluation", "better", "beyond_rounding", "flagged", "mean_of"]

Array = NDArray[Any]


def better(higher_is_better: bool) -> str:
    """The direction in words."""
    return "higher is better" if higher_is_better else "lower is better"


def mean_of(values: Array) -> float:
    """Mean of the values that are numbers; NaN where there is none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def beyond_rounding(changes: Array, score: Any) -> Array:
    """Changes of a score, those below 1e-6 of it as zero: so far float32 rounds."""
    return np.where(np.abs(changes) > 1e-6 * np.abs(score), changes, 0)


def flagged(rows: Array, reason: str) -> dict[int, str]:
    """Flags of the images where `rows`, bool [N], is true."""
    return {int(i): reason for i in np.flatnonzero(rows)}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How good the explanations of N images are by one metric.

    Attributes:
        name: the evaluator's registered name.
        values: float64 [N]; NaN for an image that is flagged.
        higher_is_better: the direction.
        parts: further numbers, {name: float64 [N]}.
        curves: {name: float64 [N, steps]}; they can be drawn with `plot`.
        axis: float64 [steps], what the curves go along.
        axis_label: what the axis is.
        ticks: names on the axis, such as layers; empty for numbers.
        flags: position of an image, and why it has no value.
        frames: pictures along the curve, where the evaluator was asked for them; not in JSON.
    """

    name: str
    values: Array
    higher_is_better: bool
    parts: dict[str, Array] = field(default_factory=dict)
    curves: dict[str, Array] = field(default_factory=dict)
    axis: Array = field(default_factory=lambda: np.empty(0))
    axis_label: str = ""
    ticks: tuple[str, ...] = ()
    flags: dict[int, str] = field(default_factory=dict)
    frames: Frames | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        """Mean over the images that have a value; NaN when none has."""
        return mean_of(self.values)

    def __repr__(self) -> str:
        flagged = f", {len(self.flags)} without a value" if self.flags else ""
        return (
            f"<Evaluation {self.name} {self.mean:.4g} ({better(self.higher_is_better)}) "
            f"of {len(self)} images{flagged}>"
        )

    def plot(self) -> Figure:
        """The curves, one thin line an image and a thick one for the mean; without curves, bars.

        Returns:
            a matplotlib Figure, which pyplot does not know.
        """
        from ..data_processor.canvas import Canvas, write_text

        panels = list(self.curves.items()) or [("", self.values)]
        figure = Canvas(figsize=(4.2 * len(panels), 3.2), layout="constrained")
        for axes, (name, rows) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):  # noqa: B905  # as many axes as panels
            if not self.curves:
                axes.bar(range(len(rows)), np.nan_to_num(rows))
                axes.set_xlabel("image")
                axes.xaxis.get_major_locator().set_params(integer=True)
            else:
                axes.plot(self.axis, rows.T, color="tab:blue", alpha=0.3, linewidth=0.8)
                means = [mean_of(column) for column in rows.T]
                axes.plot(self.axis, means, color="tab:blue", linewidth=2)
                axes.set_xlabel(self.axis_label)
                if self.ticks:
                    axes.set_xticks(self.axis, self.ticks, rotation=90, fontsize="x-small")
            number = self.parts.get(name, self.values)
            write_text(axes.set_title, f"{name or self.name}  {mean_of(number):.4g}", 40)
        figure.suptitle(f"{self.name}: {self.mean:.4g}, {better(self.higher_is_better)}")
        return figure

    def _repr_png_(self) -> bytes:
        from ..data_processor.canvas import png_of

        return png_of(self.plot(), dpi=80)

    def as_json(self) -> dict[str, Any]:
        """Everything in values that JSON knows; NaN becomes None."""
        kept = [f.name for f in fields(self) if f.name != "frames"]
        return {name: plain(getattr(self, name), longest=None) for name in kept}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Evaluation:
        """What `as_json` gave, back.

        Raises:
            KeyError, TypeError, ValueError: something is missing or of another kind.
        """
        curves = {
            kind: {name: _array(rows) for name, rows in content[kind].items()}
            for kind in ("parts", "curves")
        }
        return cls(
            **{
                **content,
                **curves,
                "values": _array(content["values"]),
                "axis": _array(content["axis"]),
                "ticks": tuple(content["ticks"]),
                "flags": {int(index): str(why) for index, why in content["flags"].items()},
            }
        )


def _array(rows: Any) -> Array:
    return np.asarray(rows, np.float64)  # None becomes NaN
