"""What activation maximization returns."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.files import check_writable, write_archive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FeatureVisualization"]


@dataclass(frozen=True)
class FeatureVisualization:
    """Pictures from S starts, and how they came about.

    Attributes:
        inputs: float32 [S, C, H, W], as the network takes them.
        images: uint8 [S, H, W, 3], as a person sees them.
        scores: [S], the objective of the finished pictures.
        history: [S, steps], the objective at each step, of the view that was drawn there and less
            the likeness to the other pictures, where these are asked for.
        objective: what was maximized, in words.
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

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def best(self) -> int:
        """The start with the highest score; others may have ended on a lower hill."""
        return int(self.scores.argmax())

    def plot(self, *, history: bool = True) -> Figure:
        """The pictures in one grid, and below them the objective at each step.

        Returns:
            a matplotlib Figure that pyplot does not know.
        """
        from ..data_processor.canvas import Canvas

        columns = min(len(self), 4)
        rows = -(-len(self) // columns)
        figure = Canvas(figsize=(2.6 * max(columns, 2), 2.9 * rows + 2.0 * history))
        figure.set_layout_engine("constrained")
        grid = figure.add_gridspec(
            rows + history, columns, height_ratios=[1.0] * rows + [0.6] * history
        )
        for i, (image, score) in enumerate(zip(self.images, self.scores, strict=True)):
            axes = figure.add_subplot(grid[divmod(i, columns)])
            axes.imshow(image, interpolation="nearest" if max(image.shape) < 64 else None)
            axes.set_title(f"{score:.2f}", fontsize="small")
            axes.set_axis_off()
        if history:
            axes = figure.add_subplot(grid[rows, :])
            axes.plot(self.history.T, linewidth=0.8)
            axes.set_xlabel("step", fontsize="small")
            axes.tick_params(labelsize="small")
        figure.suptitle(self.objective, fontsize="medium", parse_math=False)
        return figure

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
