"""Matplotlib without pyplot: a figure that notebooks show, and text that is never a formula.

Imported only when something is drawn, because it imports matplotlib.
"""

from __future__ import annotations

import functools
import textwrap
import unicodedata
from typing import Any

from matplotlib import font_manager, rc_context, rcParams
from matplotlib.figure import Figure

from ..errors import warn
from .png import png_of

__all__ = ["Canvas", "TextCanvas", "fonts_of", "png_of", "unhinted", "write_text"]

# fonts with signs that matplotlib's own lacks, in the order of preference
_FALLBACK_FONTS = (
    "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP",
    "Source Han Sans SC", "Microsoft YaHei", "PingFang SC", "Hiragino Sans", "Yu Gothic",
    "Malgun Gothic", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "SimHei", "Arial Unicode MS",
    "Droid Sans Fallback", "Unifont",
)  # fmt: skip
INSTALL_FONT = (
    "install one, for Chinese, Japanese and Korean Noto Sans CJK (on Debian and Ubuntu "
    "`apt install fonts-noto-cjk`), and remove matplotlib's font cache (matplotlib.get_cachedir())"
)


class Canvas(Figure):
    """A matplotlib Figure that Jupyter shows although pyplot was never imported."""

    def show(self, warn: bool = True) -> None:
        """Show it in the notebook's cell or a window; matplotlib's own needs pyplot's figures."""
        from .showing import show

        show(self)

    def _repr_png_(self) -> bytes:
        return png_of(self)


def unhinted() -> Any:
    """A context in which letters have the same widths at every resolution."""
    return rc_context({"text.hinting": "no_hinting"})


class TextCanvas(Canvas):
    """A figure whose words stay in the boxes that were measured for them."""

    def draw(self, renderer: Any) -> None:
        """Draw it, see `unhinted`."""
        with unhinted():
            super().draw(renderer)


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


def fonts_of(text: str) -> tuple[list[str], dict[int, str]]:
    """The font families that a text takes, in the order in which matplotlib should try them.

    Args:
        text: without control characters.

    Returns:
        the families; and for `str.translate` what no font here has, with the replacement character,
        which is what a reader expects of a text that cannot be shown.
    """
    if text.isascii():
        return list(rcParams["font.family"]), {}
    fonts = _fonts(tuple(rcParams["font.family"]))
    families = [name for name, _ in fonts]
    known = frozenset().union(*(codes for _, codes in fonts))
    unknown = "\N{REPLACEMENT CHARACTER}" if 0xFFFD in known else "?"
    missing: dict[int, str] = {}
    for c in dict.fromkeys(c for c in text if ord(c) not in known):
        other = _family_with(ord(c))
        families += [other] if other and other not in families else []
        missing |= {} if other else {ord(c): unknown}
    return families, missing


def drawable(text: str) -> tuple[str, list[str]]:
    """Text in which every character can be drawn, and the font families that it takes.

    Line breaks and control characters become spaces; a character that no font here has becomes
    the replacement character.

    Warns:
        InterpretWarning: no installed font has some of the characters; names one to install.
    """
    text = "".join(c if c.isprintable() else " " for c in text).strip()
    families, missing = fonts_of(text)
    if missing:
        warn(
            f"no font that matplotlib knows has {' '.join(map(chr, [*missing][:5]))!r}, so it is "
            f"drawn as an unknown character; {INSTALL_FONT}"
        )
    return text.translate(missing), families


@functools.lru_cache(maxsize=4096)
def _family_with(code: int) -> str | None:
    """Any installed family that has a character.

    Not the one that matplotlib brings from 3.11 on, which has the same frame for all of a script.
    """
    for file, family in {
        font.fname: font.name
        for font in font_manager.fontManager.ttflist
        if not font.name.startswith("Last Resort")
    }.items():
        try:
            if code in font_manager.get_font(file).get_charmap():
                return family
        except (OSError, RuntimeError):  # a font that was removed, or that is damaged
            continue
    return None


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
