"""Pictures of several explanations: methods side by side, and classes side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .explanation import Explanation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Explanations", "grid", "image_plot"]


def grid(
    explanations: Sequence[Explanation],
    *,
    titles: Sequence[str] | None = None,
    style: str = "overlay",
    colormap: str | None = None,
    original: bool = True,
    signed: bool | None = None,
    scale: str | None = None,
    share: float = 0.2,
    columns: int | None = None,
) -> Figure:
    """Several methods side by side: a row for each image, a column for each explanation.

    Texts stand one below the other, each by all methods.

    Args:
        explanations: of the same images, in the same order.
        titles: a text above each explanation, in place of the method's name.
        original: the picture itself first.
        signed: None draws each method as it is: signed maps red and blue, the others by size.
        scale: None gives each method its own full colour, as methods have units of their own;
            "shared" has one scale for the whole figure, "row" one for each image, "image" one for
            each map.
        columns: panels side by side, more go on below; None is up to 6, in rows of equal length.
        style, colormap, share: see `Explanation.plot`.

    Returns:
        a matplotlib Figure.

    Raises:
        InputError: no explanation, their images differ, or not as many titles.
    """
    from .data_processor.visualizer import plot_grid

    explanations = list(explanations)
    if not explanations:
        raise InputError("nothing to draw: give at least one explanation")
    if titles is not None and len(titles) != len(explanations):
        raise InputError(f"{len(titles)} titles were given for {len(explanations)} explanations")
    first = explanations[0]
    if first.texts is not None:
        return _texts(explanations, titles, style, colormap, signed, scale)
    for i, other in enumerate(explanations):
        if not np.array_equal(other._pictures(), first._pictures()):
            raise InputError(f"explanation {i} ({other.method}) is of other images than the first")
    each = [one.signed or style == "signed" if signed is None else signed for one in explanations]
    return plot_grid(
        first._pictures(),
        [one.heatmap(sign) for one, sign in zip(explanations, each, strict=True)],
        [one.titles for one in explanations],
        methods=list(titles) if titles is not None else [one.method for one in explanations],
        style=style, colormap=colormap, signed=each, original=original,
        scale=scale or "method", share=share, columns=columns,
        regions=[one.regions for one in explanations],
    )  # fmt: skip


def _texts(
    explanations: Sequence[Explanation],
    titles: Sequence[str] | None,
    style: str,
    colormap: str | None,
    signed: bool | None,
    scale: str | None,
) -> Figure:
    """Texts by several methods, as `grid` draws them."""
    from .data_processor.text_plot import plot_texts

    rows, heads = [], []
    words = explanations[0].texts.words if explanations[0].texts is not None else ()
    for i, one in enumerate(explanations):
        if one.texts is None or one.texts.words != words:
            raise InputError(f"explanation {i} ({one.method}) is of other texts than the first")
    each = [one.signed or style == "signed" if signed is None else signed for one in explanations]
    names = list(titles) if titles is not None else [one.method for one in explanations]
    values = [one.word_values(sign) for one, sign in zip(explanations, each, strict=True)]
    for text in range(len(words)):
        for one, name, found in zip(explanations, names, values, strict=True):
            rows.append(found[text])
            heads.append(f"{name}: {one.titles[text]}")
    return plot_texts(rows, heads, signed=any(each), colormap=colormap, scale=scale or "text")


def image_plot(
    values: Any,
    pixels: NDArray[Any] | None = None,
    labels: Sequence[Sequence[str]] | NDArray[Any] | None = None,
) -> Figure:
    """Attributions of several classes beside each picture on one scale, as SHAP draws them.

    Args:
        values: k arrays [N, C, h, w], or one array [N, k, C, h, w] or [N, C, h, w], also of a
            layer, whose h and w are enlarged to the picture's; an Explanation or ShapValues; or a
            list of explanations of the same images.
        pixels: the pictures, uint8 in 0..255 or float in 0..1, [N, H, W, 3], [N, H, W, 1],
            [N, H, W] or [N, C, H, W] with C of 1 or 3; None: those of the explanation.
        labels: a text above each map, [N][k], or the k texts of every row; None: the classes of
            an explanation.

    Returns:
        a matplotlib Figure.

    Raises:
        InputError: shapes that do not fit together, or no pictures.
    """
    from .data_processor.visualizer import image_plot as draw

    found = [values] if isinstance(values, Explanation) else values
    if isinstance(found, list | tuple) and found and isinstance(found[0], Explanation):
        pixels = found[0]._pictures() if pixels is None else pixels
        labels = list(zip(*(one.titles for one in found))) if labels is None else labels  # noqa: B905  # as long each
        values = [one.values for one in found]
    elif hasattr(values, "values") and hasattr(values, "images"):
        pixels = values.images if pixels is None else pixels
        if labels is None:
            labels = [[f"class {index}" for index in row] for row in values.indexes]
        values = values.values
    if pixels is None:
        raise InputError("pixels= is needed: these values do not say which pictures they are of")
    return draw(values, pixels, labels)


class Explanations(dict[str, Explanation]):
    """Explanations of the same images by several methods, {name of the method: Explanation}.

    A notebook shows them side by side.

    Attributes:
        failed: methods that could not explain the model, and why.
    """

    def __init__(self, found: dict[str, Explanation], failed: dict[str, str] | None = None) -> None:
        super().__init__(found)
        self.failed = failed or {}

    def plot(self, **options: Any) -> Figure:
        """All maps in one figure, see `grid`; their names are the titles."""
        return grid(list(self.values()), **{"titles": list(self), **options})

    def save(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Write the figure: .png, .jpg, .webp, .tif, .pdf or .svg; options as `plot` takes them.

        Raises:
            ResourceError: the folder is missing or read-only, another ending, or the disk is full.
        """
        from .data_processor.files import FIGURE_SUFFIXES, check_writable
        from .data_processor.visualizer import save_figure

        target = check_writable(path, FIGURE_SUFFIXES)
        save_figure(self.plot(**options), target)

    def show(self, **options: Any) -> None:
        """Show the figure, where there is a notebook or a display."""
        from .data_processor.showing import show

        show(self.plot(**options))

    def _repr_png_(self) -> bytes:
        from .data_processor.canvas import png_of

        return png_of(self.plot(), dpi=80)

    def __repr__(self) -> str:
        failed = f", {len(self.failed)} failed: {', '.join(self.failed)}" if self.failed else ""
        return f"<Explanations by {', '.join(self)}{failed}>"
