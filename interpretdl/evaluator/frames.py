"""What an evaluator saw on its way: pictures and their maps, to be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .case import Case

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Frames", "chosen"]

Array = NDArray[Any]


def chosen(frames: int, points: int) -> list[int]:
    """Which of so many points of a curve are kept, the first and the last among them."""
    return sorted({round(each) for each in np.linspace(0, points - 1, min(frames, points))})


@dataclass(frozen=True, eq=False, repr=False)
class Frames:
    """Pictures along an evaluator's curve, and the maps of them.

    Attributes:
        images: uint8 [n, F, H, W, 3].
        maps: float [n, F, H, W], the attribution of each picture; None where the method explained
            the first one only.
        axis: [F], where on the curve's axis they are.
        axis_label: what the axis is.
        signed: whether negative values of the maps speak against the class.
        rows: [n], which of the evaluated images these are of; flagged ones are left out.
    """

    images: NDArray[np.uint8]
    maps: Array | None
    axis: Array
    axis_label: str
    signed: bool
    rows: NDArray[np.int64]

    @classmethod
    def of(
        cls, case: Case, inputs: list[Array], maps: list[Array] | None, axis: Any, label: str
    ) -> Frames:
        """From network inputs [n, C, H, W] of each frame, and maps [n, H, W]."""
        x = np.stack(inputs, axis=1)
        pictures = _pictures(case, x.reshape(-1, *x.shape[2:]))
        return cls(
            images=pictures.reshape(*x.shape[:2], *pictures.shape[1:]),
            maps=None if maps is None else np.stack(maps, axis=1),
            axis=np.asarray(axis, np.float64),
            axis_label=label,
            signed=case.signed,
            rows=np.arange(len(x)),
        )

    def __len__(self) -> int:
        return len(self.images)

    def plot(self, image: int = 0) -> Figure:
        """One image's pictures, and below them their maps on one scale.

        Args:
            image: its place among those that were evaluated.

        Returns:
            a matplotlib Figure that pyplot does not know.

        Raises:
            InputError: the image was flagged, so there is nothing to show.
        """
        from ..data_processor.canvas import Canvas
        from ..data_processor.heatmaps import limit_of, render, scaled

        row = self._row(image)
        pictures = self.images[row]
        panels = [list(pictures)]
        if self.maps is not None:
            limit = limit_of(self.maps[row])
            colours = ("heatmap", "RdBu_r" if self.signed else "viridis")
            panels.append(
                [
                    render(p, scaled(heat, limit, self.signed), *colours, signed=self.signed)
                    for p, heat in zip(pictures, self.maps[row], strict=True)
                ]
            )
        height, width = pictures.shape[1:3]
        figure: Figure = Canvas(
            figsize=(1.4 * len(pictures), len(panels) * 1.4 * height / width + 0.5),
            layout="compressed",
        )
        axes: Any = figure.subplots(len(panels), len(pictures), squeeze=False)
        for r, c in np.ndindex(axes.shape):
            axes[r, c].imshow(panels[r][c], interpolation="nearest" if height < 64 else None)
            axes[r, c].set_axis_off()
            if r == 0:
                axes[r, c].set_title(f"{self.axis[c]:.3g}", fontsize=8)
        figure.suptitle(self.axis_label, fontsize=9, parse_math=False)
        return figure

    @property
    def quarters(self) -> Array:
        """R1 to R4: the sum of each map in its upper left, upper right, lower left and lower right
        quarter, float64 [4, n, F]."""
        if self.maps is None:
            raise InputError("only the first picture was explained, so there are no maps to sum")
        height, width = self.maps.shape[2] // 2, self.maps.shape[3] // 2
        halves = self.maps[:, :, :height], self.maps[:, :, height:]
        parts = [part for half in halves for part in (half[..., :width], half[..., width:])]
        return np.stack([part.sum(axis=(2, 3), dtype=np.float64) for part in parts])

    def plot_quarters(self, image: int = 0) -> Figure:
        """One image's R1 to R4 along the curve.

        Args, Returns, Raises: see `plot`.
        """
        from ..data_processor.canvas import Canvas

        row = self._row(image)
        figure: Figure = Canvas(figsize=(4.2, 3.0), layout="constrained")
        axes: Any = figure.subplots()
        for name, sums in zip(("R1", "R2", "R3", "R4"), self.quarters[:, row], strict=True):
            axes.plot(self.axis, sums, label=name)
        axes.set_xlabel(self.axis_label)
        axes.set_ylabel("sum of the map in a quarter")
        axes.legend(fontsize=8)
        return figure

    def _row(self, image: int) -> int:
        found = np.flatnonzero(self.rows == image)
        if not len(found):
            raise InputError(f"image {image} has no pictures; there are {self.rows.tolist()}")
        return int(found[0])

    def _repr_png_(self) -> bytes:
        from ..data_processor.canvas import png_of

        return png_of(self.plot(int(self.rows[0])))


def _pictures(case: Case, x: Array) -> NDArray[np.uint8]:
    """By the preprocessing, where it is known; else from the smallest to the largest value."""
    if case.preprocessing is not None and case.preprocessing.channels == x.shape[1]:
        return case.preprocessing.pictures(x)
    low, high = float(x.min()), float(x.max())
    unit = (x - low) / (high - low or 1.0)
    grey = unit.mean(axis=1, keepdims=True) if x.shape[1] not in (1, 3) else unit
    images = np.rint(grey * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    return np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else np.ascontiguousarray(images)
