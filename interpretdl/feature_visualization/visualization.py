"""What activation maximization returns."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ..data_processor.files import check_writable, write_archive
from ..errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FeatureVisualization", "each_objective"]

P = ParamSpec("P")
_Owner = TypeVar("_Owner")


@dataclass(frozen=True, repr=False, eq=False)
class FeatureVisualization:
    """Pictures from S starts, and how they came about.

    Attributes:
        inputs: float32 [S, C, H, W], as the network takes them.
        images: uint8 [S, H, W, 3], as a person sees them.
        scores: [S], the objective of the finished pictures.
        history: [S, steps], the objective at each step, of the view that was drawn there and less
            the likeness to the other pictures, where these are asked for.
        objective: what was maximized, in words; several are separated by semicolons.
        objectives: what each picture was made for, [S].
        method: "plain", "regularized" or "code".
        parameters: the settings, JSON-able.
        codes: float32 [S, d] in code space, else None.
    """

    inputs: NDArray[np.float32]
    images: NDArray[np.uint8]
    scores: NDArray[np.float64]
    history: NDArray[np.float64]
    objective: str
    method: str
    parameters: dict[str, Any] = field(default_factory=dict)
    codes: NDArray[np.float32] | None = None
    objectives: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.objectives:
            object.__setattr__(self, "objectives", (self.objective,) * len(self.inputs))

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def best(self) -> int:
        """The start with the highest score; others may have ended on a lower hill."""
        return int(self.scores.argmax())

    def plot(self, *, history: bool = True) -> Figure:
        """The pictures in one grid, and below them the objective at each step.

        Args:
            history: draw the objective at each step.

        Returns:
            a matplotlib Figure that pyplot does not know.
        """
        from ..data_processor.canvas import Canvas, write_text

        several = len(set(self.objectives)) > 1
        columns = min(len(self), 5 if several else 4)
        rows = -(-len(self) // columns)
        figure = Canvas(figsize=(2.6 * max(columns, 2), 2.9 * rows + 2.0 * history))
        figure.set_layout_engine("constrained")
        grid = figure.add_gridspec(
            rows + history, columns, height_ratios=[1.0] * rows + [0.6] * history
        )
        for i, (image, score) in enumerate(zip(self.images, self.scores, strict=True)):
            axes = figure.add_subplot(grid[divmod(i, columns)])
            axes.imshow(image, interpolation="nearest" if max(image.shape) < 64 else None)
            heading = self.objectives[i].partition(" (log")[0] if several else ""
            write_text(axes.set_title, f"{score:.2f}", 24, heading, fontsize="small")
            axes.set_axis_off()
        if history:
            axes = figure.add_subplot(grid[rows, :])
            axes.plot(self.history.T, linewidth=0.8)
            axes.set_xlabel("step", fontsize="small")
            axes.tick_params(labelsize="small")
        if not several:
            figure.suptitle(self.objective, fontsize="medium", parse_math=False)
        return figure

    def _repr_png_(self) -> bytes:
        from ..data_processor.canvas import png_of

        return png_of(self.plot(), dpi=80)

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.inputs.shape[2:]))
        return (
            f"<FeatureVisualization of {self.objective}: {len(self)} pictures of {size}, "
            f"method {self.method!r}>"
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the figure (.png, .jpg, .pdf, .svg …), or everything as an .npz.

        Raises:
            ResourceError: the place cannot be written to, or the ending is not known.
        """
        target = check_writable(path)
        if Path(target).suffix.lower() != ".npz":
            from ..data_processor.visualizer import save_figure

            save_figure(self.plot(), target)
            return
        names = ["inputs", "images", "scores", "history"]
        if self.codes is not None:
            names.append("codes")
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in names}
        facts = {"objective": self.objective, "method": self.method, "parameters": self.parameters}
        write_archive(target, arrays, facts)


def each_objective(
    maximize: Callable[Concatenate[_Owner, Any, P], FeatureVisualization],
) -> Callable[Concatenate[_Owner, Any, P], FeatureVisualization]:
    """Let a method take a list of objectives: one after the other, each as if alone."""

    @functools.wraps(maximize)
    def run(
        owner: _Owner, objective: Any, *args: P.args, **options: P.kwargs
    ) -> FeatureVisualization:
        if not isinstance(objective, list | tuple | range | np.ndarray):
            return maximize(owner, objective, *args, **options)
        if not len(objective):
            raise InputError("no objective was given; give a class, or a list of them")
        given = objective.tolist() if isinstance(objective, np.ndarray) else objective
        return _joined([maximize(owner, one, *args, **options) for one in given])

    return cast("Callable[Concatenate[_Owner, Any, P], FeatureVisualization]", run)


def _joined(parts: list[FeatureVisualization]) -> FeatureVisualization:
    """Results for several objectives as one."""
    first = parts[0]
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("inputs", "images", "scores", "history")
    }
    if first.codes is not None:
        arrays["codes"] = np.concatenate([part.codes for part in parts if part.codes is not None])
    return replace(
        first,
        **arrays,  # type: ignore[arg-type]  # arrays by name
        objective="; ".join(part.objective for part in parts),
        objectives=tuple(name for part in parts for name in part.objectives),
    )
