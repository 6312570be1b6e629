"""Matplotlib without pyplot: a figure that notebooks show, and text that is never a formula.

Imported only when something is drawn, because it imports matplotlib.
"""

from __future__ import annotations

import functools
import io
import textwrap
import unicodedata
from typing import Any

from matplotlib import font_manager, rcParams
from matplotlib.figure import Figure

__all__ = ["Canvas", "png_of", "write_text"]

# fonts with signs that matplotlib's own lacks, in the order of preference
_FALLBACK_FONTS = (
    "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP",
    "Source Han Sans SC", "Microsoft YaHei", "PingFang SC", "Hiragino Sans", "Yu Gothic",
    "Malgun Gothic", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "SimHei", "Arial Unicode MS",
    "Droid Sans Fallback", "Unifont",
)  # fmt: skip


class Canvas(Figure):
    """A matplotlib Figure that Jupyter shows although pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        return png_of(self)


def png_of(figure: Figure, dpi: float = 100) -> bytes:
    """The figure as a PNG file, margins trimmed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.08)
    return buffer.getvalue()


@functools.lru_cache(maxsize=4)
def _fonts(family: tuple[str, ...]) -> tuple[tuple[str, frozenset[int]], ...]:
    """Families in the order in which they are tried, each with the code points that it has."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    files = [font_manager.findfont(font_manager.FontProperties(family=list(family)))]
    files += [
        font_manager.findfont(font_manager.FontProperties(family=name))
        for name in _FALLBACK_FONTS
        if name in installed
    ]
    fonts = [font_manager.get_font(file) for file in files]
    return tuple((font.family_name, frozenset(font.get_charmap())) for font in fonts)


def drawable(text: str) -> tuple[str, list[str]]:
    """Text in which every character can be drawn, and the font families that it takes.

    Line breaks and control characters become spaces; a character that no font here has becomes
    the replacement character, which is what a reader expects of a text that cannot be shown.
    """
    text = "".join(c if c.isprintable() else " " for c in text).strip()
    if text.isascii():
        return text, list(rcParams["font.family"])
    fonts = _fonts(tuple(rcParams["font.family"]))
    known = frozenset().union(*(codes for _, codes in fonts))
    unknown = "\N{REPLACEMENT CHARACTER}" if 0xFFFD in known else "?"
    text = "".join(c if ord(c) in known else unknown for c in text)
    return text, [name for name, _ in fonts]


def write_text(setter: Any, text: str, width: int, heading: str = "", **style: Any) -> None:
    """Call a matplotlib text setter (`axes.set_title`, …) with wrapped, literal text.

    Args:
        setter: the bound method.
        text: any text; `$`, `_` and `\\` have no special meaning.
        width: characters in a line; wide East Asian ones count twice. At most three lines.
        heading: a line of its own above the text.
        style: font size and the like.
    """
    lines, families = [], list[str]()
    for part in filter(None, (heading, text)):
        shown, known = drawable(part)
        families = max(families, known, key=len)
        wide = any(unicodedata.east_asian_width(c) in "WF" for c in shown)
        columns = max(width // 2 if wide else width, 8)
        lines.append(textwrap.fill(shown, columns, max_lines=3, placeholder=" …"))
    if lines:
        setter("\n".join(lines), parse_math=False, usetex=False, family=families, **style)
