"""How an explanation is shown: as a figure, and in a notebook."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .registry import METHODS
from .texts import TextTokens

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Views"]

_HTML_IMAGES = 8


class Views:
    """What an Explanation has of pictures and texts; see there for the attributes."""

    values: NDArray[Any]
    scores: NDArray[Any]
    images: NDArray[np.uint8] | None
    texts: TextTokens | None
    regions: NDArray[np.bool_] | None
    method: str
    parameters: dict[str, Any]
    diagnostics: dict[str, Any]
    signed: bool
    sources: tuple[str, ...]

    if TYPE_CHECKING:

        def __len__(self) -> int: ...
        def __getitem__(self, index: int | slice) -> Any: ...
        def probability(self, i: int) -> float | None: ...
        @property
        def label_names(self) -> tuple[str, ...]: ...
        @property
        def titles(self) -> tuple[str, ...]: ...

    def word_values(self, signed: bool | None = None) -> list[list[tuple[str, float]]]:
        """Of each text its words, or other parts, with their values.

        A word's value is the sum of its tokens'; by methods that take words out as a whole it is
        the word's own. Special tokens have none.

        Args:
            signed: sum the numbers of a token's vector (True) or their absolute values (False);
                None: as it is.

        Raises:
            InputError: what was explained are no texts.
        """
        if self.texts is None:
            raise InputError("this explanation is of no texts, so it has no words")
        signed = self.signed if signed is None else signed
        values = np.asarray(self.values, np.float64)
        values = values if signed else np.abs(values)
        values = values.reshape(*values.shape[:2], -1).sum(axis=2)
        found = self.texts.by_word(values, mean="regions" in self.diagnostics)
        return [
            list(zip(words, row.tolist(), strict=True))
            for words, row in zip(self.texts.words, found, strict=True)
        ]

    def heatmap(self, signed: bool | None = None) -> NDArray[np.float32]:
        """One map per image at the image's size.

        Args:
            signed: sum the channels (True) or their absolute values (False); None: as it is.

        Returns:
            float32 [N, H, W].

        Raises:
            InputError: what was explained are no pictures.
        """
        from .data_processor.heatmaps import heatmap_of

        height, width = self._pictures().shape[1:3]
        return heatmap_of(self.values, (height, width), self.signed if signed is None else signed)

    def _pictures(self) -> NDArray[np.uint8]:
        if self.images is None:
            raise InputError(
                f"this explanation is of inputs {list(self.values.shape[1:])} that are no "
                "pictures, so there is nothing to draw it on; `values` has the input's shape"
            )
        return self.images

    def plot(
        self,
        style: str = "overlay",
        *,
        colormap: str | None = None,
        original: bool = False,
        signed: bool | None = None,
        scale: str | None = None,
        share: float = 0.2,
        uncertainty: bool = False,
    ) -> Figure:
        """Draw it; class and probability stand above each map, or above each text's words.

        Args:
            style: "overlay", "heatmap", "signed", "masked" or "side_by_side"; for texts "overlay"
                or "signed", and of the rest colormap, signed and scale ("shared" or "text").
            colormap, original, scale, share: see `interpretdl.data_processor.visualizer.plot`.
            signed: see `heatmap`; None: as the method is, and True for style "signed".
            uncertainty: beside each map its standard error, on the map's own scale.

        Returns:
            a matplotlib Figure, which pyplot does not know.

        Raises:
            InputError: an unknown style, colormap or scale, nothing to draw, or no standard error.
        """
        from .data_processor.visualizer import plot_grid

        signed = (self.signed or style == "signed") if signed is None else signed
        if self.texts is not None:
            from .data_processor.text_plot import plot_texts

            if style not in ("overlay", "signed") or original or uncertainty:
                raise InputError(
                    "texts are drawn with style='overlay' or 'signed', and without original= and "
                    f"uncertainty=; got style={style!r}"
                )
            return plot_texts(
                self.word_values(signed), list(self.titles),
                signed=signed, colormap=colormap, scale=scale or "shared",
            )  # fmt: skip
        maps, titles = [self.heatmap(signed)], [list(self.titles)]
        if uncertainty:
            maps.append(self._standard_error())
            titles.append(["standard error"] * len(self))
            scale = scale or "row"
        return plot_grid(
            self._pictures(), maps, titles, style=style, colormap=colormap, signed=signed,
            original=original, scale=scale, share=share, regions=[self.regions] * len(maps),
        )  # fmt: skip

    def _save_page(self, path: Any, style: str = "overlay", **options: Any) -> None:
        """Texts as a page; options as `plot` has them."""
        from .data_processor.text_page import save_texts

        signed = options.pop("signed", None)
        signed = (self.signed or style == "signed") if signed is None else signed
        titles = list(self.titles)
        save_texts(path, self.word_values(signed), titles, signed=signed, **options)

    def _standard_error(self) -> NDArray[np.float32]:
        """Of each map, [N, H, W]."""
        from .data_processor.heatmaps import heatmap_of

        error = np.asarray(self.diagnostics.get("standard_error", np.nan))
        if error.shape != self.values.shape:
            raise InputError(
                f"there is no standard error of this map by {self.method}; methods that draw "
                "samples give one, such as kernel_shap, rise or smooth_grad"
            )
        height, width = self._pictures().shape[1:3]
        return heatmap_of(error, (height, width), True)  # at most the sum over channels

    def show(self, style: str = "overlay", **options: Any) -> None:
        """Show the picture, where there is a notebook or a display; options as `plot` has them."""
        from .data_processor.showing import show

        show(self.plot(style, **options))

    def _settings(self) -> dict[str, Any]:
        """The parameters that are not what the method takes by itself."""
        known = METHODS.all().get(self.method)
        usual = {name: p.default for name, p in known.options.items()} if known else {}
        usual |= dict.fromkeys(("label", "resize_to", "crop_to", "frame"))
        facts = ("model", "version", "input_shape")
        return {
            name: value
            for name, value in self.parameters.items()
            if name not in facts and not (name in usual and value == usual[name])
        }

    def _repr_html_(self) -> str:
        from .data_processor.canvas import png_of
        from .data_processor.files import encodable

        part = self[:_HTML_IMAGES]
        picture = ""
        if len(self) and self.texts is not None:
            from .data_processor.text_page import text_html

            picture = text_html(part.word_values(), list(part.titles), signed=self.signed)
        elif len(self) and self.images is not None:
            data = base64.b64encode(png_of(part.plot("side_by_side"), dpi=80)).decode()
            picture = f'<img src="data:image/png;base64,{data}" style="max-width:100%"/>'
        lines = []
        for i, name in enumerate(part.label_names):
            source = part.sources[i] if part.sources else f"image {i}"
            source = source if len(source) <= 80 else source[:79] + "…"
            probability = part.probability(i)
            shown = "" if probability is None else f"{probability:.3f}"
            cells = (source, name, shown, f"{part.scores[i]:.4g}")
            lines.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
        rows = "".join(f"<tr>{line}</tr>" for line in lines)
        what = "image" if self.texts is None else "text"
        more = len(self) - len(part)
        options = ", ".join(f"{name}={value!r}" for name, value in self._settings().items())
        text = f"{self.method}({options})" + (f", and {more} more {what}s" if more else "")
        heads = "".join(f"<th>{h}</th>" for h in (what, "class", "probability", "score"))
        return encodable(
            f'<div class="tex2jax_ignore mathjax_ignore">'  # a $ in a name starts no formula
            f"{picture}<table><tr>{heads}</tr>{rows}</table><p>{html.escape(text)}</p></div>"
        )
