"""Texts as HTML: each word on a background coloured by its relevance, as `plot_texts` draws it.

The browser's fonts are used, and its rules for scripts from right to left. No script, no other
file, and colours of its own, so that it is read on light and on dark pages.
"""

from __future__ import annotations

import html
import os
from collections.abc import Sequence

from .bidi import is_rtl, kind_of
from .files import atomic_path, check_writable, encodable
from .text_words import Palette, Texts, Word, clean, coloured

__all__ = ["save_texts", "text_html", "words_html"]

_PAPER = (
    "background:#ffffff;color:#1f2328;color-scheme:light;font:15px/1.5 system-ui,sans-serif;"
    "text-align:start;padding:8px 14px;border-radius:4px;max-width:52em;"
    # browsers leave backgrounds out when they print
    "-webkit-print-color-adjust:exact;print-color-adjust:exact"
)
_SOFT = "color:#57606a;font-size:13px"
_WORD = (
    "padding:2px 3px;border-radius:3px;"
    # of a long unit that goes over several lines, each line's part is a box
    "-webkit-box-decoration-break:clone;box-decoration-break:clone"
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
</head>
<body>
{body}
</body>
</html>
"""


def text_html(
    texts: Texts,
    titles: Sequence[str],
    *,
    signed: bool,
    colormap: str | None = None,
    scale: str = "shared",
) -> str:
    """A part of a page with the texts, for notebooks.

    Args, raises: as `interpretdl.data_processor.text_plot.plot_texts`.

    Returns:
        HTML, one <div>, in which every text is escaped. A word's value is shown where the mouse
        rests on it.
    """
    rows, palette = coloured(texts, titles, signed=signed, colormap=colormap, scale=scale)
    parts = []
    for title, row in zip(titles, rows, strict=True):
        side = "rtl" if is_rtl([word.text for word in row] or [str(title)]) else "ltr"
        name = html.escape(clean(str(title)))
        words = words_html(row) if row else f'<div style="{_SOFT}">(no words)</div>'
        parts.append(
            f'<div style="margin:0 0 12px"><div dir="{side}" style="{_SOFT}">'
            f"<bdi>{name}</bdi></div>{words}</div>"
        )
    return encodable(
        # a $ in a word starts no formula
        f'<div class="tex2jax_ignore mathjax_ignore" style="{_PAPER}">'
        f"{''.join(parts)}{_legend(palette)}</div>"
    )


def words_html(words: Sequence[Word]) -> str:
    """The words of one text, as a <div> in its direction."""
    rtl = is_rtl([word.text for word in words])
    marks = "".join(" " * word.spaced + _mark(word, rtl) for word in words)
    side = "rtl" if rtl else "ltr"
    return f'<div dir="{side}" style="line-height:1.9;overflow-wrap:anywhere">{marks}</div>'


def _mark(word: Word, rtl: bool) -> str:
    seam = "" if word.spaced else ";margin-inline-start:1px"
    # "embed" keeps signs beside the letters of a word that runs against the text, as in ##ing
    against = {"L": rtl, "R": not rtl}.get(kind_of(word.text), False)
    turned = f";unicode-bidi:embed;direction:{'ltr' if rtl else 'rtl'}" if against else ""
    return (
        f'<span title="{word.value:.4g}" '
        f'style="background:{word.background};color:{word.ink};{_WORD}{seam}{turned}">'
        f"{html.escape(word.text)}</span>"
    )


def _legend(palette: Palette) -> str:
    low, high = (-1.0 if palette.signed else 0.0), 1.0
    stops = ",".join(palette.colour(low + (high - low) * i / 10) for i in range(11))
    ticks = palette.ticks()
    return (
        f'<div dir="ltr" style="{_SOFT}">{ticks[0][1]} <span style="display:inline-block;'
        f"width:150px;height:10px;margin:0 4px;border-radius:2px;"
        f'background:linear-gradient(to right,{stops})"></span> {ticks[-1][1]}'
        f'&emsp;<span style="white-space:nowrap">{html.escape(palette.label)}</span></div>'
    )


def save_texts(
    path: str | os.PathLike[str],
    texts: Texts,
    titles: Sequence[str],
    *,
    signed: bool,
    colormap: str | None = None,
    scale: str = "shared",
) -> None:
    """Write the texts as a page of their own, which needs no other file.

    Args:
        path: the .html file.
        texts, titles, signed, colormap, scale: see `text_html`.

    Raises:
        ResourceError: the file cannot be written.
        InputError: as `text_html`.
    """
    target = check_writable(path, (".html",))
    body = text_html(texts, titles, signed=signed, colormap=colormap, scale=scale)
    name = html.escape(clean(str(titles[0]))) if len(titles) == 1 else f"{len(titles)} texts"
    with atomic_path(target) as file:
        file.write_text(_PAGE.format(title=encodable(name), body=body), encoding="utf-8")
