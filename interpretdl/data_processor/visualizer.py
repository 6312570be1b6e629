"""Pictures of explanations, from arrays. Knows no model and never imports pyplot but to show.

heatmap_of      values to one map per image, at the image's size
plot, plot_grid figures
image_plot      SHAP's picture: one map per class on one scale
save_figure, show
and the helpers that InterpretDL has under this name
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .compat_visualizer import (
    VisualizationTextRecord,
    _grayscale,  # noqa: F401 - InterpretDL's users import these two
    _heatmap,  # noqa: F401
    explanation_to_vis,
    overlay_grayscale,
    overlay_heatmap,
    overlay_threshold,
    save_image,
    show_vis_explanation,
    sp_to_array,
    sp_weights_to_image_explanation,
    visualize_text,
)
from .files import FIGURE_SUFFIXES, atomic_path, check_writable
from .heatmaps import STYLES, bar_label, check_choice, heatmap_of, limit_of, render, scaled
from .image_plot import image_plot
from .showing import show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "STYLES",
    "VisualizationTextRecord",
    "explanation_to_vis",
    "heatmap_of",
    "image_plot",
    "overlay_grayscale",
    "overlay_heatmap",
    "overlay_threshold",
    "plot",
    "plot_grid",
    "save_figure",
    "save_image",
    "show",
    "show_vis_explanation",
    "sp_to_array",
    "sp_weights_to_image_explanation",
    "visualize_text",
]

SCALES = ("image", "row", "method", "shared")
MAX_PANELS = 256
_CELL = 2.8  # inches, the longer side of one picture


def plot(
    images: NDArray[np.uint8],
    heatmaps: NDArray[Any],
    titles: Sequence[str] | None = None,
    *,
    style: str = "overlay",
    colormap: str | None = None,
    signed: bool = False,
    original: bool = False,
    scale: str | None = None,
    share: float = 0.2,
) -> Figure:
    """One method's maps of several images.

    Args:
        images: uint8 [N, H, W, 3].
        heatmaps: [N, H, W], see `heatmap_of`. NaN and infinite values are drawn grey. Unless
            signed, values below zero are drawn as zero.
        titles: one text for each image, drawn literally.
        style:
            "overlay": the map over the picture (signed: red and blue over the grey picture);
            "heatmap": the map alone;
            "signed": the map alone, red above and blue below zero, nearly white at zero;
            "masked": only the most relevant pixels (`share`), the rest nearly white;
            "side_by_side": the picture, and beside it the overlay.
        colormap: any name that matplotlib knows. Default: "jet" for an overlay, "inferno" for a
            heatmap, "RdBu_r" for what is signed.
        signed: draw the scale symmetric around zero; style "signed" implies it.
        original: put each picture itself before its map.
        scale: what full colour means, always the 99.9th percentile of |values| (`limit_of`) of
            "image": the one map. The default of "overlay", "masked" and "side_by_side".
            "row": all maps of one image.
            "method": all maps of one method.
            "shared": all maps in the figure, so that colours compare, in the values' own unit.
            The default of "heatmap" and "signed".
        share: of the pixels, for style "masked".

    Returns:
        a matplotlib Figure that pyplot does not know; show it with `show`, keep it with
        `save_figure`.

    Raises:
        InputError: shapes that do not fit, unknown style, colormap or scale, share outside (0, 1],
            nothing to draw, or more than 256 panels.
    """
    return plot_grid(
        images, [heatmaps], [titles or [""] * len(images)], style=style, colormap=colormap,
        signed=signed, original=original, scale=scale, share=share,
    )  # fmt: skip


def plot_grid(
    images: NDArray[np.uint8],
    heatmaps: Sequence[NDArray[Any]],
    titles: Sequence[Sequence[str]] | None = None,
    *,
    methods: Sequence[str] | None = None,
    style: str = "overlay",
    colormap: str | None = None,
    signed: bool | Sequence[bool] = False,
    original: bool = True,
    scale: str | None = None,
    share: float = 0.2,
    columns: int | None = None,
    regions: Sequence[NDArray[np.bool_] | None] | None = None,
) -> Figure:
    """Several methods' maps of the same images: a row for each image, a column for each method.

    More methods than columns go on below: for one image the panels flow from row to row; for
    several there is a block of rows for each part of the methods.

    Args:
        images: uint8 [N, H, W, 3].
        heatmaps: for each of the M methods [N, H, W].
        titles: for each method the N texts above its maps.
        methods: for each method the text above its column.
        original: a first column with the pictures.
        scale: see `plot`. Methods have units of their own: on a "shared" scale one of them may be
            pale beside another; "method" or "image" gives each its own full colour.
        signed: of all methods, or of each. A colour bar is drawn where all are alike.
        columns: panels side by side; None is up to 6, in rows of nearly equal length.
        regions: for each method None or bool [N, H, W], parts of the images whose outlines are
            drawn over its maps; the picture itself has those of all methods.
        style, colormap, share: see `plot`.

    Returns, raises: as `plot`.
    """
    check_choice("style", style, STYLES)
    original = original or style == "side_by_side"
    style = "overlay" if style == "side_by_side" else style
    if columns is not None and columns < 1 + original:
        raise InputError(f"columns must be at least {1 + original}; got {columns}")
    scale = scale or ("shared" if style in ("heatmap", "signed") else "image")
    check_choice("scale", scale, SCALES)
    if not 0 < share <= 1:
        raise InputError(f"share must be above 0 and at most 1; got {share}")
    images, maps = _checked(images, heatmaps)
    texts = _texts(titles, methods, *maps.shape[:2])
    each = [style == "signed" or one for one in _each_signed(signed, len(maps))]
    colours = [
        colormap or ("RdBu_r" if one else {"heatmap": "inferno"}.get(style, "jet")) for one in each
    ]
    limits = _limits(maps, scale)
    headings = methods or [""] * len(maps)
    rows: list[list[_Panel]] = []
    for n, image in enumerate(images):
        parts = [() if one is None else (one[n],) for one in regions or [None] * len(maps)]
        first = _Panel("picture" if methods else "", "", image, _different(parts))
        row = [first] if original else []
        for m, heat in enumerate(maps[:, n]):
            unit = scaled(heat, limits[m, n], each[m])
            picture = render(image, unit, style, colours[m], signed=each[m], share=share)
            row.append(_Panel(headings[m], texts[m][n], picture, parts[m]))
        rows.append(row)
    figure = _draw(_wrapped(rows, columns, original))
    if style != "masked" and len(set(each)) == 1:
        relative = scale != "shared"
        limit = 1.0 if relative else float(limits[0, 0])
        _colour_bar(figure, colours[0], limit, each[0], relative)
    return figure


class _Panel(NamedTuple):
    heading: str
    title: str
    picture: NDArray[np.uint8]
    regions: Sequence[NDArray[np.bool_]]


def _each_signed(signed: bool | Sequence[bool], methods: int) -> list[bool]:
    each = [signed] * methods if isinstance(signed, bool | np.bool_) else list(signed)
    if len(each) != methods:
        raise InputError(f"signed must be one, or one for each of {methods} methods; got {signed}")
    return each


def _wrapped(rows: list[list[_Panel]], columns: int | None, original: bool) -> list[list[_Panel]]:
    """Rows of at most so many panels, a heading above the first of each column or block."""

    def balanced(panels: int, most: int) -> int:
        """Panels in a row, so that the last row is nearly as long as the others."""
        return -(-panels // -(-panels // most))

    if len(rows) == 1 or len(rows[0]) == 1:
        flat = [panel for row in rows for panel in row]
        # a single column would be a very long strip
        width = columns or balanced(len(flat), 6 if len(rows) == 1 else 4)
        return [flat[i : i + width] for i in range(0, len(flat), width)]
    found, width = [], columns - original if columns else balanced(len(rows[0]) - original, 5)
    for start in range(original, len(rows[0]), width):
        for n, row in enumerate(rows):
            part = [*row[:original], *row[start : start + width]]
            found.append(part if n == 0 else [panel._replace(heading="") for panel in part])
    return found


def _checked(
    images: NDArray[np.uint8], heatmaps: Sequence[NDArray[Any]]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise InputError(
            f"images must be uint8 [N, H, W, 3]; got {images.dtype} {list(images.shape)}"
        )
    for heat in heatmaps:
        if np.shape(heat) != images.shape[:3]:
            raise InputError(
                f"heatmaps must be {list(images.shape[:3])} like the images; got "
                f"{list(np.shape(heat))}; heatmap_of() brings values to that size"
            )
    if not len(images) or not len(heatmaps):
        raise InputError("nothing to draw: there is no image or no map")
    if (count := len(images) * (len(heatmaps) + 1)) > MAX_PANELS + len(images):
        raise InputError(
            f"{count - len(images)} maps do not fit in one figure; draw at most {MAX_PANELS}, "
            "for example explanation[:16]"
        )
    return images, np.asarray(heatmaps, np.float64)


def _texts(
    titles: Sequence[Sequence[str]] | None, methods: Sequence[str] | None, m: int, n: int
) -> Sequence[Sequence[str]]:
    titles = titles if titles is not None else [[""] * n] * m
    if len(titles) != m or any(len(row) != n for row in titles):
        raise InputError(f"titles must be one text for each of {m} x {n} maps")
    if methods is not None and len(methods) != m:
        raise InputError(f"methods must name {m} columns; got {len(methods)}")
    return titles


def _limits(maps: NDArray[np.float64], scale: str) -> NDArray[np.float64]:
    """The limit of each map, [M, N]."""
    if scale == "shared":
        return np.full(maps.shape[:2], limit_of(maps))
    if scale == "method":
        return np.repeat([[limit_of(one)] for one in maps], maps.shape[1], axis=1)
    if scale == "row":
        return np.repeat([[limit_of(one) for one in maps.swapaxes(0, 1)]], len(maps), axis=0)
    return np.array([[limit_of(one) for one in row] for row in maps])


def _draw(panels: list[list[_Panel]]) -> Figure:
    from .canvas import Canvas, write_text

    height, width = panels[0][0].picture.shape[:2]
    cell_w, cell_h = _CELL * width / max(height, width), _CELL * height / max(height, width)
    cell_w = max(cell_w, 1.4)  # room for a title
    rows, columns = len(panels), max(map(len, panels))
    figure: Figure = Canvas(
        figsize=(columns * cell_w + 0.9, rows * (cell_h + 0.45) + 0.3), layout="compressed"
    )
    axes: Any = figure.subplots(rows, columns, squeeze=False)
    letters = int(cell_w * 12)  # at 9 points about twelve letters to the inch
    for r, c in np.ndindex(rows, columns):
        axis = axes[r, c]
        axis.set_axis_off()
        if c >= len(panels[r]):
            continue
        panel = panels[r][c]
        how = "nearest" if max(height, width) < 64 else "antialiased"
        axis.imshow(panel.picture, interpolation=how)
        for region in panel.regions:
            _outline(axis, region)
        write_text(axis.set_title, panel.title, letters, panel.heading, fontsize=9)
    return figure


def _different(parts: Sequence[Sequence[NDArray[np.bool_]]]) -> list[NDArray[np.bool_]]:
    """Each region once."""
    found: list[NDArray[np.bool_]] = []
    for part in chain.from_iterable(parts):
        if not any(np.array_equal(part, one) for one in found):
            found.append(part)
    return found


def _outline(axis: Any, region: NDArray[np.bool_]) -> None:
    """A white line between black ones around a part of a picture, along its pixels' edges."""
    from matplotlib.collections import LineCollection

    inside = np.pad(region, 1).astype(np.int8)
    r, c = np.nonzero(np.diff(inside, axis=0))  # an edge above pixel (r, c - 1)
    above = np.stack([c - 1.5, r - 0.5, c - 0.5, r - 0.5], axis=1)
    r, c = np.nonzero(np.diff(inside, axis=1))  # one at the left of pixel (r - 1, c)
    beside = np.stack([c - 0.5, r - 1.5, c - 0.5, r - 0.5], axis=1)
    edges = list(np.concatenate([above, beside]).reshape(-1, 2, 2))
    for colour, points in (("black", 2.4), ("white", 1.2)):
        lines = LineCollection(edges, colors=colour, linewidths=points, capstyle="round")
        axis.add_collection(lines, autolim=False)


def _colour_bar(figure: Figure, colormap: str, limit: float, signed: bool, relative: bool) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    from .heatmaps import colormap_of

    top = limit or 1.0
    mappable = ScalarMappable(Normalize(-top if signed else 0.0, top), colormap_of(colormap))
    width, height = figure.get_size_inches()
    bar = figure.colorbar(  # about 0.14 inches wide, whatever the figure's size
        mappable, ax=figure.axes, fraction=0.14 / width, pad=0.2 / width, aspect=height / 0.11
    )
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(labelsize=8, width=0.4)
    bar.ax.yaxis.get_offset_text().set_fontsize(8)
    bar.set_label(bar_label(signed, relative), fontsize=8)


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: float = 150) -> None:
    """Write a figure beside its place and rename it, margins trimmed.

    Args:
        figure: any matplotlib Figure.
        path: ends in .png, .jpg, .jpeg, .webp, .tif, .tiff, .pdf or .svg.
        dpi: dots per inch of the pixel formats.

    Raises:
        ResourceError: the folder is missing or read-only, the ending is another, or the disk is
            full.
    """
    from matplotlib import rc_context

    target = check_writable(path, FIGURE_SUFFIXES)
    kind = target.suffix[1:].lower()
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}  # same figure, same bytes
    with atomic_path(target) as temporary, rc_context({"svg.hashsalt": "interpretdl"}):
        figure.savefig(
            temporary, dpi=dpi, bbox_inches="tight", pad_inches=0.08, format=kind,
            metadata=undated.get(kind),
        )  # fmt: skip
