"""From a method's values to pixels: reduce, enlarge, scale, colour. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, did_you_mean

__all__ = ["STYLES", "colormap_of", "heatmap_of", "limit_of", "relevant", "render", "scaled"]

STYLES = ("overlay", "heatmap", "signed", "masked", "side_by_side")
PERCENTILE = 99.9
BAD = (0.5, 0.5, 0.5)  # where a value is NaN or infinite
_GREY_WEIGHTS = (0.2989, 0.587, 0.114)


def heatmap_of(
    values: NDArray[Any], size: tuple[int, int], signed: bool = False
) -> NDArray[np.float32]:
    """One map per image, at the image's size.

    Channels are reduced first (signed: their sum; else: the sum of absolute values), then the map
    is resized bilinearly with half-pixel centres and clamped edges; when it shrinks, the filter
    widens so that no value is skipped. A map that already has the size is only reduced. NaN and
    infinite values spread to the pixels that they touch.

    Args:
        values: [N, C, h, w], [N, 1, h, w] or [N, h, w].
        size: height and width of the result.
        signed: whether values below zero speak against the class.

    Returns:
        float32 [N, H, W].

    Raises:
        InputError: another number of axes, an empty axis, or a size below 1.
    """
    from PIL import Image

    array = np.asarray(values)
    if array.ndim not in (3, 4) or 0 in array.shape[1:]:
        raise InputError(
            f"values must be [N, C, h, w] or [N, h, w] with no empty axis; got {list(array.shape)}"
        )
    height, width = size
    if height < 1 or width < 1:
        raise InputError(f"size must be (height, width), each at least 1; got {size}")
    array = array if signed else np.abs(array)
    if array.ndim == 4:
        array = array.sum(axis=1, dtype=np.float64)
    array = array.astype(np.float32)
    if array.shape[1:] == (height, width):
        return array
    result = np.empty((len(array), height, width), np.float32)
    for i, one in enumerate(array):
        resized = Image.fromarray(one).resize((width, height), Image.Resampling.BILINEAR)
        result[i] = np.asarray(resized)
    return result


def limit_of(heatmaps: NDArray[Any], percentile: float = PERCENTILE) -> float:
    """The value that is drawn in full colour: a high percentile of |values|, so that single pixels
    do not decide how bright the rest is.

    Args:
        heatmaps: any shape; NaN and infinite values do not count.
        percentile: 0 to 100.

    Returns:
        the limit. When more values than the percentile leaves out are zero, the largest instead;
        0.0 when all values are the same, because such a map says nothing about where.
    """
    finite = heatmaps[np.isfinite(heatmaps)]
    if not finite.size:
        return 0.0
    size = np.abs(finite)
    # bilinear resizing of a constant map leaves differences of a few rounding errors
    if float(finite.max()) - float(finite.min()) <= 1e-6 * float(size.max()):
        return 0.0
    return float(np.percentile(size, percentile)) or float(size.max())


def scaled(heatmap: NDArray[Any], limit: float, signed: bool) -> NDArray[np.float32]:
    """Values divided by the limit and clipped to [0, 1], or [-1, 1] when signed.

    A limit of 0 gives zeros; what is not finite becomes NaN.
    """
    array = np.where(np.isfinite(heatmap), heatmap, np.nan).astype(np.float64)
    array = array / limit if limit > 0 else array * 0.0
    return np.clip(array, -1.0 if signed else 0.0, 1.0).astype(np.float32)


def relevant(heatmap: NDArray[Any], share: float) -> NDArray[np.bool_]:
    """The share of pixels with the largest values, of those above zero.

    Args:
        heatmap: [H, W]; NaN is never relevant.
        share: 0 to 1; 0.2 is the top fifth. Pixels as large as the smallest one taken are taken.

    Returns:
        bool [H, W].
    """
    values = np.nan_to_num(heatmap, nan=-np.inf)
    keep = max(1, round(share * values.size))
    threshold = np.partition(values.ravel(), -keep)[-keep]
    return np.asarray((values >= threshold) & (values > 0))


def colormap_of(name: str) -> Any:
    """Matplotlib's colormap of that name, with grey for what is not a number.

    Raises:
        InputError: there is none of that name.
    """
    import matplotlib

    if name not in matplotlib.colormaps:
        raise InputError(
            f"no colormap {name!r}{did_you_mean(name, matplotlib.colormaps)} "
            "(see matplotlib.colormaps)"
        )
    return matplotlib.colormaps[name].with_extremes(bad=BAD)


def bar_label(signed: bool, relative: bool) -> str:
    """The text beside a colour bar; relative: where not all maps have the same scale."""
    return ("relative " if relative else "") + "relevance" + "  (against – for)" * signed


def grey_of(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Luminance [H, W, 3] in 0..1 of an RGB picture uint8 [H, W, 3]."""
    luminance = image.astype(np.float64) @ np.asarray(_GREY_WEIGHTS) / 255
    return np.repeat(luminance[..., None], 3, axis=-1)


def render(
    image: NDArray[np.uint8],
    heat: NDArray[Any],
    style: str,
    colormap: str,
    *,
    signed: bool,
    share: float = 0.2,
) -> NDArray[np.uint8]:
    """Colour one picture.

    Args:
        image: uint8 [H, W, 3].
        heat: [H, W], from `scaled`: in [0, 1], or [-1, 1] when signed. NaN is drawn grey.
        style: "heatmap" and "signed" show the map alone. "overlay" mixes equal parts of picture
            and map; a signed map is laid over the grey picture, the denser the further from zero.
            "masked" shows the most relevant pixels (`share`) and fades the rest to near white.
        colormap: a name that matplotlib knows.
        signed: whether 0 is the middle of the colormap or its lower end.
        share: see `relevant`.

    Returns:
        uint8 [H, W, 3].
    """
    picture = image / 255.0
    if style == "masked":
        mask = relevant(heat, share)[..., None]
        colours = np.where(mask, picture, 0.9 + 0.1 * grey_of(image))
        colours = np.where(np.isnan(heat)[..., None], BAD, colours)
    else:
        unit = (heat + 1) / 2 if signed else heat
        colours = colormap_of(colormap)(np.ma.masked_invalid(unit))[..., :3]
        if style == "overlay" and signed:
            opacity = np.nan_to_num(np.abs(heat), nan=1.0)[..., None] ** 0.5
            colours = opacity * colours + (1 - opacity) * (0.5 + 0.5 * grey_of(image))
        elif style == "overlay":
            colours = np.where(np.isnan(heat)[..., None], BAD, (colours + picture) / 2)
    return np.asarray(np.rint(np.clip(colours, 0, 1) * 255), np.uint8)


def check_choice(what: str, given: str, known: Sequence[str]) -> None:
    """InputError unless `given` is one of `known`."""
    if given not in known:
        raise InputError(
            f"no {what} {given!r}; choose from {', '.join(known)}{did_you_mean(given, known)}"
        )
