"""A map over its picture and nothing else, pixel by pixel, as InterpretDL saves it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .heatmaps import STYLES, check_choice, limit_of, render, scaled

__all__ = ["BARE_SUFFIXES", "bare_picture"]

BARE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


def bare_picture(
    image: NDArray[np.uint8], heatmap: NDArray[Any], style: str = "overlay", signed: bool = False
) -> NDArray[np.uint8]:
    """What `plot` draws for one picture, without title, colour bar and margin.

    Args:
        image: uint8 [H, W, 3].
        heatmap: [H, W], see `heatmap_of`.
        style: see `interpretdl.data_processor.visualizer.plot`.
        signed: draw the scale symmetric around zero; style "signed" implies it.

    Returns:
        uint8 [H, W, 3]; for "side_by_side" [H, 2 W, 3], the picture and the overlay.

    Raises:
        InputError: an unknown style.
    """
    check_choice("style", style, STYLES)
    signed = signed or style == "signed"
    colormap = "RdBu_r" if signed else {"heatmap": "inferno"}.get(style, "jet")
    unit = scaled(heatmap, limit_of(heatmap), signed)
    kind = "overlay" if style == "side_by_side" else style
    drawn = render(image, unit, kind, colormap, signed=signed)
    return np.concatenate([image, drawn], axis=1) if style == "side_by_side" else drawn
