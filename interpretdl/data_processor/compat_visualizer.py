"""The drawing helpers of InterpretDL 0.8, under its names, with its arguments and shapes.

What differs: a map without contrast is drawn as zeros instead of NaN; "overlay_threshold" draws a
map where it is above zero; grey pictures are saved grey; nothing needs OpenCV, whose colours are
met within a level of 255; without a display or a notebook showing does nothing.
"""

from __future__ import annotations

import html
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, did_you_mean
from .files import atomic_path, check_writable
from .heatmaps import check_choice, heatmap_of
from .showing import in_notebook, show
from .text_page import words_html
from .text_words import words_of

__all__ = [
    "VisualizationTextRecord",
    "explanation_to_vis",
    "overlay_grayscale",
    "overlay_heatmap",
    "overlay_threshold",
    "save_image",
    "show_vis_explanation",
    "sp_to_array",
    "sp_weights_to_image_explanation",
    "visualize_text",
]

VIS_STYLES = ("grayscale", "heatmap", "overlay_grayscale", "overlay_heatmap", "overlay_threshold")


def explanation_to_vis(
    batched_image: NDArray[np.uint8], explanation: NDArray[Any], style: str = "grayscale"
) -> NDArray[np.uint8]:
    """Colour an explanation.

    Args:
        batched_image: uint8 [1, H, W, 3] or [H, W, 3] with one map; [N, H, W, 3] with N maps.
        explanation: [h, w], or [N, h, w]; of any size, it is resized bilinearly.
        style: "grayscale" (99th percentile is white), "heatmap" (OpenCV's jet, from smallest to
            largest value), "overlay_grayscale" and "overlay_heatmap" (0.4 of it over 0.6 of the
            picture), "overlay_threshold" (values above zero in green).

    Returns:
        uint8 [H, W, 3], with "grayscale" [H, W]; for [N, h, w] the same with N in front.

    Raises:
        InputError: unknown style, or shapes that do not fit.
    """
    check_choice("style", style, VIS_STYLES)
    images, maps = np.asarray(batched_image), np.asarray(explanation)
    single = maps.ndim == 2
    maps = maps[None] if single else maps
    images = images[None] if images.ndim == 3 else images
    if images.ndim != 4 or maps.ndim != 3 or len(images) != len(maps):
        raise InputError(
            f"one [h, w] map is needed for each [H, W, 3] image; got images "
            f"{list(np.shape(batched_image))} and maps {list(np.shape(explanation))}"
        )
    draw: dict[str, Callable[[NDArray[np.uint8], NDArray[Any]], NDArray[np.uint8]]] = {
        "grayscale": lambda image, one: _grayscale(_sized(one, image)),
        "heatmap": lambda image, one: _heatmap(one, (image.shape[1], image.shape[0])),
        "overlay_grayscale": lambda image, one: overlay_grayscale(image, _sized(one, image)),
        "overlay_heatmap": overlay_heatmap,
        "overlay_threshold": lambda image, one: overlay_threshold(image, _sized(one, image) > 0),
    }
    result = np.stack([draw[style](image, one) for image, one in zip(images, maps, strict=True)])
    return result[0] if single else result


def _sized(explanation: NDArray[Any], image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return heatmap_of(explanation[None], (image.shape[0], image.shape[1]), signed=True)[0, :, :]


def _unit(values: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    if not high > low:
        return np.zeros(np.shape(values))
    return np.clip((np.asarray(values, np.float64) - low) / (high - low), 0, 1)


def _grayscale(explanation: NDArray[Any], percentile: float = 99) -> NDArray[np.uint8]:
    high = float(np.percentile(explanation, percentile))
    return (_unit(explanation, float(np.min(explanation)), high) * 255).astype(np.uint8)


def _heatmap(
    explanation: NDArray[Any], resize_shape: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """uint8 [h, w, 3], of the (width, height) given, in OpenCV's jet colours."""
    unit = _unit(explanation, float(np.min(explanation)), float(np.max(explanation)))
    if resize_shape is not None:
        unit = heatmap_of(unit[None], (resize_shape[1], resize_shape[0]), signed=True)[0]
    level = np.floor(255 * unit)[..., None]
    colours = 382.5 - np.abs(4 * level - 255 * np.array([3, 2, 1]))  # peaks of red, green, blue
    return np.asarray(np.rint(colours.clip(0, 255)), np.uint8)


def _mix(top: NDArray[Any], image: NDArray[np.uint8], weight: float) -> NDArray[np.uint8]:
    return np.asarray(weight * top + (1 - weight) * image, np.uint8)


def _green(image: NDArray[np.uint8], values: NDArray[Any]) -> NDArray[np.uint8]:
    green = np.zeros_like(image)
    green[..., 1] = values
    return green


def overlay_grayscale(
    image: NDArray[np.uint8], explanation: NDArray[Any], percentile: float = 99
) -> NDArray[np.uint8]:
    """uint8 [H, W, 3]: the map [H, W] in green over the picture; the percentile is full green."""
    return _mix(_green(image, _grayscale(explanation, percentile)), image, 0.4)


def overlay_heatmap(image: NDArray[np.uint8], explanation: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 [H, W, 3]: the map, [h, w] of any size, in jet colours over the picture."""
    return _mix(_heatmap(explanation, (image.shape[1], image.shape[0])), image, 0.4)


def overlay_threshold(
    image: NDArray[np.uint8], explanation_mask: NDArray[Any]
) -> NDArray[np.uint8]:
    """uint8 [H, W, 3]: the mask [H, W], 0 to 1, in green over the picture."""
    mask = (255 * np.clip(np.asarray(explanation_mask, np.float64), 0, 1)).astype(np.uint8)
    return _mix(_green(image, mask), image, 0.6)


def sp_to_array(
    segments: NDArray[np.integer[Any]], sp_weights_list: Sequence[tuple[int, float]]
) -> NDArray[np.float32]:
    """Superpixels' weights as a map.

    Args:
        segments: [H, W], each pixel's superpixel.
        sp_weights_list: pairs of superpixel and weight; the others are 0.

    Returns:
        float32 [H, W].
    """
    segments = np.asarray(segments)
    found = np.zeros(segments.shape, np.float32)
    for superpixel, weight in sp_weights_list:
        found[segments == superpixel] = weight
    return found


def sp_weights_to_image_explanation(
    image: NDArray[np.uint8],
    sp_weights: Mapping[Any, Sequence[tuple[int, float]]],
    label: Any = None,
    segments: NDArray[np.integer[Any]] | None = None,
    ratio_superpixels: float = 0.2,
) -> NDArray[np.integer[Any]]:
    """The superpixels that speak most for a class, as a mask.

    Args:
        image: uint8 [H, W, 3].
        sp_weights: {class: [(superpixel, weight), …]}, the most important first, as LIME gives it.
        label: a key of it; None is the first.
        segments: [H, W], each pixel's superpixel; None: scikit-image's quickshift with sigma=1.
        ratio_superpixels: the share of the class's superpixels to take, of those with a positive
            weight.

    Returns:
        [H, W] of 0 and 1, in the dtype of the segments.

    Raises:
        InputError: the label is not among the classes.
    """
    if label is None and sp_weights:
        label = next(iter(sp_weights))
    if label not in sp_weights:
        known = [str(key) for key in sp_weights]
        raise InputError(
            f"no weights for label {label!r}; there are {', '.join(known)}"
            f"{did_you_mean(str(label), known)}"
        )
    if segments is None:
        from skimage import segmentation

        library: Any = segmentation  # its functions are untyped
        segments = np.asarray(library.quickshift(image, sigma=1))
    weights = sp_weights[label]
    taken = [one for one, weight in weights if weight > 0][: int(ratio_superpixels * len(weights))]
    return np.isin(segments, taken).astype(segments.dtype)


def show_vis_explanation(explanation_image: NDArray[Any], cmap: str | None = None) -> None:
    """Show a picture [H, W] or [H, W, 3] in the notebook or a window, where there is one."""
    from .canvas import Canvas

    figure = Canvas(layout="compressed")
    axis = figure.subplots()
    axis.imshow(explanation_image, cmap=cmap)
    axis.set_axis_off()
    show(figure)


def save_image(file_path: str | os.PathLike[str], image: NDArray[Any]) -> None:
    """Save a picture, pixel by pixel.

    Args:
        file_path: the ending tells the format.
        image: uint8, or float in 0..1; [H, W] (grey), [H, W, 3] or [H, W, 4].

    Raises:
        ResourceError: the file cannot be written.
        InputError: another shape or range.
    """
    from PIL import Image

    array = np.asarray(image)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (3, 4)):
        raise InputError(f"image must be [H, W], [H, W, 3] or [H, W, 4]; got {list(array.shape)}")
    if array.dtype != np.uint8:
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise InputError(f"image must be uint8 or in 0..1; got {array.dtype}")
        array = np.rint(array * 255).astype(np.uint8)
    target = check_writable(file_path, tuple(Image.registered_extensions()))
    with atomic_path(target) as temporary:
        Image.fromarray(array).save(temporary)


@dataclass
class VisualizationTextRecord:
    """One row of `visualize_text`: words with their importances in [-1, 1], and the classes."""

    words: Sequence[str]
    word_importances: Sequence[float]
    true_label: Any
    pred_class: Any
    pred_prob: float
    interp_class: Any

    def record_html(self) -> str:
        """The row as HTML; every text is escaped."""
        classes = [self.true_label, f"{self.pred_class} ({self.pred_prob:.2f})", self.interp_class]
        cells = "".join(f"<td><b>{html.escape(str(one))}</b></td>" for one in classes)
        pairs = [
            (str(word), float(importance))
            for word, importance in zip(self.words, self.word_importances, strict=False)
        ]
        words = words_of(pairs, [_background(importance) for _, importance in pairs])
        return f"<tr>{cells}<td>{words_html(words)}</td></tr>"


def _background(importance: float) -> str:
    """Green for, red against, white for nothing."""
    if not math.isfinite(importance):
        raise InputError(f"word_importances must be finite numbers; got {importance}")
    size = min(abs(importance), 1.0)
    hue, depth = (120, 50) if importance > 0 else (0, 40)
    return f"hsl({hue}, 75%, {100 - int(depth * size)}%)"


def text_html(text_records: Sequence[VisualizationTextRecord]) -> str:
    """The table that `visualize_text` shows, as HTML."""
    names = ("True Label", "Predicted Label (Prob)", "Target Label", "Word Importance")
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = "".join(record.record_html() for record in text_records)
    return f'<table width="100%"><tr>{head}</tr>{rows}</table>'


def visualize_text(text_records: Sequence[VisualizationTextRecord]) -> None:
    """Show words coloured by their importance, in a notebook; elsewhere nothing happens."""
    if in_notebook():
        from IPython import display

        library: Any = display  # its functions are untyped
        library.display(library.HTML(text_html(text_records)))
