"""Texts as coloured words: what a figure and a page of them have in common."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError, quoted
from .heatmaps import bar_label, check_choice, colormap_of, scaled

__all__ = ["TEXT_SCALES", "Palette", "Texts", "Word", "breaks_anywhere", "clean", "coloured"]
__all__ += ["words_of"]

TEXT_SCALES = ("shared", "text")
Texts = Sequence[Sequence[tuple[str, float]]]

_JOINERS = "\u200c\u200d"
_CLOSING = ".,;:!?%…،؛؟"
_WITHOUT_SPACES = ("THAI", "LAO", "KHMER", "MYANMAR")


@dataclass(frozen=True)
class Word:
    """One word as it is shown.

    Attributes:
        text: without control characters; "␣" for one that would not be seen.
        value: its relevance.
        background, ink: colours of the box and of the letters, "#rrggbb".
        spaced: whether a space stands before it.
    """

    text: str
    value: float
    background: str
    ink: str
    spaced: bool


@dataclass(frozen=True)
class Palette:
    """What the colours say.

    Attributes:
        colormap: its name.
        signed: whether zero is the middle of the colormap or its lower end.
        limit: the value in full colour; 1.0 where each text has its own.
        label: what is measured.
    """

    colormap: str
    signed: bool
    limit: float
    label: str

    def colour(self, unit: float) -> str:
        """ "#rrggbb" of a value in [-1, 1], or [0, 1] when not signed."""
        from matplotlib.colors import to_hex

        return str(to_hex(colormap_of(self.colormap)((unit + 1) / 2 if self.signed else unit)))

    def ticks(self) -> list[tuple[float, str]]:
        """Places on the scale, as `colour` takes them, and the values that they have."""
        ends = [(-1.0, -self.limit)] if self.signed else []
        return [
            (at, f"{value:.3g}".replace("-", "−"))
            for at, value in [*ends, (0.0, 0.0), (1.0, self.limit)]
        ]


def coloured(
    texts: Texts,
    titles: Sequence[str],
    *,
    signed: bool,
    colormap: str | None = None,
    scale: str = "shared",
) -> tuple[list[list[Word]], Palette]:
    """The words of each text with their colours.

    Args, raises: as `interpretdl.data_processor.text_plot.plot_texts`.

    Returns:
        for each text its words, and what the colours say.
    """
    check_choice("scale", scale, TEXT_SCALES)
    pairs = [[_pair(item, i, j) for j, item in enumerate(text)] for i, text in enumerate(texts)]
    if not pairs:
        raise InputError("nothing to draw: there is no text")
    if len(titles) != len(pairs):
        raise InputError(f"titles must be one for each of {len(pairs)} texts; got {len(titles)}")
    limits = [max((abs(value) for _, value in text), default=0.0) for text in pairs]
    if scale == "shared":
        limits = [max(limits)] * len(limits)
    name = colormap or ("RdBu_r" if signed else "Reds")
    top = 1.0 if scale == "text" else limits[0] or 1.0
    palette = Palette(name, signed, top, bar_label(signed, scale == "text"))
    found = []
    for text, limit in zip(pairs, limits, strict=True):
        units = scaled(np.array([value for _, value in text]), limit, signed)
        found.append(words_of(text, [palette.colour(unit) for unit in units.tolist()]))
    return found, palette


def words_of(pairs: Sequence[tuple[str, float]], backgrounds: Sequence[str]) -> list[Word]:
    """Words as they are shown, of words with their values and the colours of their boxes."""
    found: list[Word] = []
    for (text, value), background in zip(pairs, backgrounds, strict=True):
        seen = clean(text) or "␣"
        spaced = not found or stands_apart(found[-1].text, seen)
        found.append(Word(seen, value, background, ink_on(background), spaced))
    return found


def _pair(item: object, i: int, j: int) -> tuple[str, float]:
    if not isinstance(item, tuple | list) or len(item) != 2 or not isinstance(item[0], str):
        raise InputError(
            f"each text must be pairs of a word and its value; item {j} of text {i} is "
            f"{quoted(item)}"
        )
    try:
        value = float(item[1])
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(
            f"the values of words must be finite numbers; word {j} of text {i}, "
            f"{quoted(item[0])}, has {quoted(item[1])}"
        )
    return item[0], value


def clean(text: str) -> str:
    """A text without what would break lines, hide it or turn its neighbours around."""
    kept = []
    for c in text:
        category = unicodedata.category(c)
        if category == "Cf" and c not in _JOINERS:
            continue
        if category == "Cs":  # half of a pair, which no file and no font can hold
            c = "\N{REPLACEMENT CHARACTER}"
        kept.append(" " if category[0] == "Z" or category == "Cc" else c)
    return " ".join("".join(kept).split()).strip(_JOINERS)


def ink_on(background: str) -> str:
    """Black or white, whichever is read better on "#rrggbb": WCAG's contrast is at least 4.5.

    Black on colours written otherwise, which are InterpretDL's and light.
    """
    if not background.startswith("#"):
        return "#000000"
    parts = [int(background[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (light + 0.05) ** 2 >= 0.05 * 1.05 else "#ffffff"


def breaks_anywhere(c: str) -> bool:
    """Whether the character's script has no spaces between words: Chinese, Japanese, Thai, …"""
    name = unicodedata.name(c, "")
    if name.startswith("HANGUL"):
        return False
    return unicodedata.east_asian_width(c) in "WF" or name.startswith(_WITHOUT_SPACES)


def stands_apart(left: str, right: str) -> bool:
    """Whether a space stands between two words that follow each other.

    None stands in scripts without spaces, before a comma and the like, or after an opening bracket.
    """
    if all(unicodedata.category(c) in ("Pe", "Pf") or c in _CLOSING for c in right):
        return False
    if all(unicodedata.category(c) in ("Ps", "Pi") for c in left):
        return False
    a, b = breaks_anywhere(left[-1]), breaks_anywhere(right[0])
    other = right if a else left  # marks such as “ belong to the script beside them
    marks = all(unicodedata.category(c)[0] == "P" for c in other)
    return not (a and b) and not ((a or b) and marks)
