"""Pictures of segmentations: each pixel in the colour of its class."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["colours_of", "plot_segments"]

_LISTED = 12  # classes in a legend; the others are small
_CELL = 2.8  # inches, the longer side of one picture


def colours_of(classes: int) -> NDArray[np.float64]:
    """A colour for each class, [K, 3] in 0..1; neighbours are far apart on the colour circle."""
    golden = (5**0.5 - 1) / 2
    values = ((0.95, 0.85), (0.6, 0.95), (0.9, 0.55))
    return np.array(
        [
            colorsys.hsv_to_rgb((0.6 + k * golden) % 1, *values[k % len(values)])
            for k in range(classes)
        ]
    )


def plot_segments(
    images: NDArray[np.uint8],
    labels: NDArray[np.unsignedinteger[Any]],
    names: Sequence[str],
    shares: Sequence[Mapping[str, float]],
) -> Figure:
    """Pictures and, beside each, its classes in colour over it, with a legend.

    Args:
        images: uint8 [N, H, W, 3].
        labels: [N, H, W], the class of each pixel.
        names: of the K classes.
        shares: of each picture the classes that are there, largest first, and their shares.

    Returns:
        a matplotlib Figure that pyplot does not know.
    """
    from matplotlib.patches import Patch

    from .canvas import Canvas, write_text
    from .heatmaps import grey_of

    height, width = images.shape[1:3]
    cell_w, cell_h = _CELL * width / max(height, width), _CELL * height / max(height, width)
    figure: Figure = Canvas(
        figsize=(2 * cell_w + 2.4, len(images) * (max(cell_h, 1.6) + 0.15)), layout="compressed"
    )
    axes: Any = figure.subplots(len(images), 2, squeeze=False)
    colours = colours_of(len(names))
    for row, image, classes, there in zip(axes, images, labels, shares, strict=True):
        mixed = 0.4 * grey_of(image) + 0.6 * colours[classes]
        for axis, picture in zip(row, (image, mixed), strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set_axis_off()
        listed = list(there)[:_LISTED]
        legend = row[1].legend(
            handles=[Patch(color=colours[names.index(name)]) for name in listed],
            labels=[""] * len(listed),
            loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, borderaxespad=0.3,
        )  # fmt: skip
        for text, name in zip(legend.get_texts(), listed, strict=True):
            share = f"{there[name]:.1%}"

            def put(words: str, text: Any = text, **style: Any) -> None:
                text.set(text=words, **style)

            write_text(put, f"{name}  {share}", 28, fontsize=8)
    return figure
