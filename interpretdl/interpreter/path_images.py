"""The pictures on a path from a baseline, and how the score rises along it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PathImages"]


@dataclass(frozen=True, eq=False, repr=False)
class PathImages:
    """What integrated gradients sees on its way, see `IntegratedGradientsInterpreter.path`.

    Attributes:
        images: uint8 [N, steps, H, W, 3], from the baseline to the image.
        scores: float64 [N, steps], the score that is explained.
        shares: float64 [steps], how far along the line, from 0 to 1.
    """

    images: NDArray[np.uint8]
    scores: NDArray[np.float64]
    shares: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.images)

    def plot(self) -> Figure:
        """A row of pictures for each image, with the score above each.

        Returns:
            a matplotlib Figure that pyplot does not know.
        """
        from ..data_processor.canvas import Canvas

        rows, columns = self.scores.shape
        height, width = self.images.shape[2:4]
        figure: Figure = Canvas(
            figsize=(1.5 * columns, rows * (1.5 * height / width + 0.4)), layout="compressed"
        )
        axes: Any = figure.subplots(rows, columns, squeeze=False)
        for r, c in np.ndindex(rows, columns):
            axis = axes[r, c]
            axis.imshow(self.images[r, c], interpolation="nearest" if height < 64 else None)
            axis.set_title(f"{self.shares[c]:.0%}: {self.scores[r, c]:.3g}", fontsize=8)
            axis.set_axis_off()
        return figure

    def _repr_png_(self) -> bytes:
        from ..data_processor.canvas import png_of

        return png_of(self.plot())
