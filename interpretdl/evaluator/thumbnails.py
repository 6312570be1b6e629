"""The first pictures of a comparison and the methods' maps of them, small, for its report."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.heatmaps import heatmap_of, limit_of, render, scaled
from ..data_processor.page import jpeg_of
from ..explanation import Explanation

__all__ = ["MOST", "Thumbnails", "pictures_of"]

MOST = 8
_SIDE = 256  # pixels of the longer side, at most
_QUALITY = 85


@dataclass(frozen=True)
class Thumbnails:
    """A method's maps of the first pictures.

    Attributes:
        titles: what was explained of each, such as "tiger cat  0.385".
        maps: JPEG files: each map over its picture, on its own scale.
        signed: whether they are red for what speaks for the class and blue for what speaks
            against it, over the grey picture; else the colours go from blue (little) to red (much).
    """

    titles: tuple[str, ...]
    maps: tuple[bytes, ...]
    signed: bool

    @classmethod
    def of(cls, images: NDArray[np.uint8], explanation: Explanation) -> Thumbnails:
        """Of an explanation's maps.

        Args:
            images: the pictures explained, uint8 [N, H, W, 3].
            explanation: of these.
        """
        signed = explanation.signed
        colours = "RdBu_r" if signed else "jet"  # as `Explanation.plot`
        part = explanation[:MOST]
        drawn = []
        for image, values in zip(images[:MOST], part.values, strict=True):
            picture = _small(image)
            heat = heatmap_of(values[None], picture.shape[:2], signed)[0]
            unit = scaled(heat, limit_of(heat), signed)
            drawn.append(
                jpeg_of(render(picture, unit, "overlay", colours, signed=signed), _QUALITY)
            )
        return cls(part.titles, tuple(drawn), signed)

    def as_json(self) -> dict[str, Any]:
        """Everything in values that JSON knows."""
        texts = [base64.b64encode(one).decode() for one in self.maps]
        return {"titles": list(self.titles), "maps": texts, "signed": self.signed}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Thumbnails:
        """What `as_json` gave, back.

        Raises:
            KeyError, TypeError, ValueError: something is missing or of another kind.
        """
        maps = tuple(base64.b64decode(text, validate=True) for text in content["maps"])
        return cls(tuple(map(str, content["titles"])), maps, bool(content["signed"]))


def pictures_of(images: NDArray[np.uint8] | None) -> tuple[bytes, ...]:
    """The first pictures as JPEG files; none where inputs are no pictures."""
    return () if images is None else tuple(jpeg_of(_small(i), _QUALITY) for i in images[:MOST])


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image

    height, width = image.shape[:2]
    shrink = _SIDE / max(height, width)
    if shrink >= 1:
        return image
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
