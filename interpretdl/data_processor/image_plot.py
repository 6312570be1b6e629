"""SHAP's picture: for each image the maps of several classes on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .heatmaps import BAD, grey_of, heatmap_of, limit_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["image_plot"]

_RED, _BLUE = (1.0, 0.0, 0.32), (0.0, 0.54, 0.98)
_FAINT = 0.15


def image_plot(
    values: Sequence[NDArray[Any]] | NDArray[Any],
    pixels: NDArray[Any],
    labels: Sequence[Sequence[str]] | NDArray[Any] | None = None,
) -> Figure:
    """Attributions of several classes beside each picture, as SHAP draws them.

    N rows; in each the picture, then one map for each of k classes over a faint grey copy of the
    picture. Channels are summed. Red speaks for the class, blue against it, zero is transparent;
    all maps share one scale, symmetric around zero, whose end is the 99.9th percentile of the
    summed values' sizes over the whole figure.

    Args:
        values: k arrays [N, C, h, w], or one array [N, k, C, h, w] or [N, C, h, w]; h and w are
            enlarged to the picture's.
        pixels: the pictures, uint8 in 0..255 or float in 0..1, [N, H, W, 3], [N, H, W, 1],
            [N, H, W] or [N, C, H, W] with C of 1 or 3.
        labels: a text above each map, [N][k], or the k texts of every row.

    Returns:
        a matplotlib Figure.

    Raises:
        InputError: shapes that do not fit together.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    from .canvas import Canvas, write_text

    maps = _maps(values)
    n, k = maps.shape[:2]
    pictures = _pictures(pixels, n)
    height, width = pictures.shape[1:3]
    flat = maps.reshape(n * k, *maps.shape[2:])
    resized = heatmap_of(flat, (height, width), signed=True).astype(np.float64)
    maps = resized.reshape(n, k, height, width)
    texts = _labels(labels, n, k)

    limit = limit_of(maps)
    ends = np.linspace(-1, 1, 255)  # odd, so that the middle is zero to the bit
    colours = [(*(_RED if t > 0 else _BLUE), abs(t)) for t in ends]
    colormap = ListedColormap(colours, "red_transparent_blue").with_extremes(bad=(*BAD, 1.0))
    norm = Normalize(-(limit or 1.0), limit or 1.0)

    cell_w = max(2.4 * width / max(height, width), 1.4)
    cell_h = 2.4 * height / max(height, width)
    figure: Figure = Canvas(
        figsize=((k + 1) * cell_w, n * (cell_h + 0.3) + 0.8), layout="compressed"
    )
    axes: Any = figure.subplots(n, k + 1, squeeze=False)
    # small pictures are drawn pixel by pixel, as digits are meant to be seen
    interpolation = "nearest" if max(height, width) < 64 else "antialiased"
    for row in range(n):
        axes[row, 0].imshow(pictures[row], interpolation=interpolation)
        for column in range(k):
            axis = axes[row, column + 1]
            axis.imshow(grey_of(pictures[row]), alpha=_FAINT, interpolation=interpolation)
            # a map without contrast is drawn as zero, not as one even colour
            heat = maps[row, column] if limit else maps[row, column] * 0.0
            axis.imshow(
                np.ma.masked_invalid(heat), cmap=colormap, norm=norm, interpolation=interpolation
            )
            write_text(axis.set_title, texts[row][column], int(cell_w * 12), fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    bar = figure.colorbar(
        ScalarMappable(norm, colormap), ax=axes, orientation="horizontal",
        fraction=0.05, pad=0.03, aspect=40, shrink=0.8,
    )  # fmt: skip
    bar.set_label("attribution", fontsize=8)
    bar.ax.tick_params(labelsize=8, width=0.4)
    bar.outline.set_linewidth(0.4)
    return figure


def _maps(values: Sequence[NDArray[Any]] | NDArray[Any]) -> NDArray[np.float64]:
    """[N, k, H, W], channels summed."""
    if isinstance(values, np.ndarray):
        array = values[:, None] if values.ndim == 4 else values
    else:
        shapes = {np.shape(one) for one in values}
        if len(shapes) != 1:
            raise InputError(f"the classes' values must have one shape; got {sorted(shapes)}")
        array = np.stack(list(values), axis=1)
    if array.ndim != 5 or 0 in array.shape:
        raise InputError(
            "values must be a list of [N, C, H, W], or an array [N, C, H, W] or [N, k, C, H, W]; "
            f"got {list(np.shape(values))}"
        )
    return np.asarray(array.sum(axis=2, dtype=np.float64))


def _pictures(pixels: NDArray[Any], n: int) -> NDArray[np.uint8]:
    array = np.asarray(pixels)
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[-1] not in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or len(array) != n or array.shape[-1] not in (1, 3):
        raise InputError(
            f"pixels must be {n} pictures, as the values are, with 1 or 3 channels; got "
            f"{list(np.shape(pixels))}"
        )
    if array.dtype != np.uint8:
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise InputError("pixels must be uint8 in 0..255 or float in 0..1")
        array = np.rint(array * 255).astype(np.uint8)
    return np.repeat(array, 3, axis=-1) if array.shape[-1] == 1 else array


def _labels(
    labels: Sequence[Sequence[str]] | NDArray[Any] | None, n: int, k: int
) -> list[list[str]]:
    if labels is None:
        return [[""] * k] * n
    rows = [labels] * n if all(isinstance(one, str) for one in labels) else list(labels)
    texts = [[str(one) for one in row] for row in rows]
    if len(texts) != n or any(len(row) != k for row in texts):
        raise InputError(f"labels must be {n} rows of {k} texts, or {k} texts for all rows")
    return texts
