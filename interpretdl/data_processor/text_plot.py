"""Texts as figures: each word on a background coloured by its relevance."""

from __future__ import annotations

import bisect
import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InputError, warn
from .bidi import is_rtl, kind_of, levels_of, order_of, visible
from .text_words import Palette, Texts, Word, breaks_anywhere, clean, coloured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_texts"]

# in points, of which an inch has 72
_WIDTH, _MARGIN = 540.0, 16.0
_SIZE, _TITLE_SIZE = 11.0, 9.0
_PAD, _SPACE, _SEAM = 2.0, 3.0, 0.8  # inside a box; between words; between words without a space
_LEADING, _AFTER_TITLE, _BETWEEN = 4.0, 4.0, 16.0
_BAR = (150.0, 8.0, 44.0)  # width and height of the colour bar, and the room for it
_HIGHEST = 100 * 72.0
_LONGEST = 600  # characters of one line that are ever measured
_GREY = "#57606a"


def plot_texts(
    texts: Texts,
    titles: Sequence[str],
    *,
    signed: bool,
    colormap: str | None = None,
    scale: str = "shared",
) -> Figure:
    """Draw texts one below the other, each word on the colour of its value.

    Lines are as wide as the figure. A word longer than a line, such as a sentence that was one
    unit, is continued on the next one in the same colour. Texts in Arabic, Hebrew and the like
    run from right to left. Between words of scripts without spaces, such as Chinese, none is drawn.

    Args:
        texts: for each text its words with their values, [(word, value), …], in the order in which
            they are read. Words are drawn literally; control characters are left out.
        titles: one text above each.
        signed: whether values below zero speak against the class: the scale is symmetric around
            zero. Otherwise they are drawn as zero.
        colormap: any name that matplotlib knows. Default: "RdBu_r" when signed, else "Reds".
        scale: what full colour means, the largest |value| of
            "shared": all texts, so that colours compare, in the values' own unit;
            "text": the one text.

    Returns:
        a matplotlib Figure that pyplot does not know.

    Raises:
        InputError: no text, something else than pairs of a word and a finite number, another number
            of titles, an unknown colormap or scale, or more lines than a figure can hold.

    Warns:
        InterpretWarning: no installed font has some of the characters.
    """
    from .canvas import unhinted

    rows, palette = coloured(texts, titles, signed=signed, colormap=colormap, scale=scale)
    names = [clean(str(title)) for title in titles]
    with unhinted():
        pen = _Pen("".join(names) + "".join(word.text for row in rows for word in row))
        # all is measured before anything is placed: the highest script makes all lines as high
        blocks = [_Block(name, row, pen) for name, row in zip(names, rows, strict=True)]
    top = _MARGIN
    for block in blocks:
        top = block.place(top, pen) + _BETWEEN
    if top > _HIGHEST:
        raise InputError(
            f"{len(rows)} texts with {sum(map(len, rows))} words do not fit in one figure; "
            "draw fewer, for example explanation[:4]"
        )
    return _draw(blocks, palette, pen, top - _BETWEEN + _BAR[2])


class _Pen:
    """Fonts for all that is written, and what it measures in them, in points."""

    def __init__(self, text: str) -> None:
        from matplotlib import ft2font
        from matplotlib.backends import backend_agg

        from .canvas import INSTALL_FONT, fonts_of

        # joiners are not drawn, and only few fonts have them
        known = "".join(c for c in text if c.isprintable())
        self.families, self._missing = fonts_of(known)
        if self._missing:
            warn(
                f"no font that matplotlib knows has {_named(self._missing)} in this text, so they "
                "are drawn as unknown characters; in a notebook and saved as .html the text is "
                f"shown in the browser's fonts. For pictures {INSTALL_FONT}"
            )
        self._shaped = hasattr(ft2font, "__libraqm_version__")
        agg: Any = backend_agg  # its functions are untyped
        self._renderer = agg.RendererAgg(1, 1, 72 * 4)  # finer than a point
        self._found: dict[tuple[str, float], tuple[float, float, float]] = {}
        _, height, descent = self._measured("lp", _SIZE)
        self._ascent, self._descent = height - descent, descent

    def drawn(self, text: str, level: int) -> str:
        """What matplotlib is given to draw a text."""
        return visible(text.translate(self._missing), level, shaped=self._shaped)

    def width(self, text: str, level: int, size: float) -> float:
        """Of a text as it is drawn."""
        width, height, descent = self._measured(self.drawn(text, level), size)
        if size == _SIZE:  # scripts with higher letters than Latin need higher lines
            self._ascent = min(max(self._ascent, height - descent), 1.6 * size)
            self._descent = min(max(self._descent, descent), 0.8 * size)
        return width

    def box(self) -> tuple[float, float]:
        """Above and below the baseline, what has to be coloured behind every word measured."""
        return self._ascent + _PAD, self._descent + _PAD

    def _measured(self, text: str, size: float) -> tuple[float, float, float]:
        from matplotlib.font_manager import FontProperties

        if (text, size) not in self._found:
            font = FontProperties(family=self.families, size=size)
            found = self._renderer.get_text_width_height_descent(text, font, False)
            self._found[text, size] = tuple(one / 4 for one in found)
        return self._found[text, size]


def _named(codes: Iterable[int]) -> str:
    """ "the characters of CJK, Thai" by the first words of the letters' names; signs themselves."""
    letters = [chr(code) for code in codes if unicodedata.category(chr(code))[0] == "L"]
    names = dict.fromkeys(unicodedata.name(c, "?").split(" ")[0] for c in letters)
    scripts = [name if name == "CJK" else name.capitalize() for name in names]
    if scripts:
        return f"the characters of {', '.join(scripts[:5])}"
    return " ".join(map(chr, [*codes][:5]))


@dataclass
class _Piece:
    """A word, or the part of a long one that stands on one line."""

    text: str
    level: int
    before: int  # level of the space before it
    spaced: bool
    width: float
    word: Word


class _Block:
    """One text: where its title and its words stand."""

    def __init__(self, title: str, words: list[Word], pen: _Pen) -> None:
        self.rtl = is_rtl([word.text for word in words] or [title])
        self.title = self._title(title, pen)
        self.lines = _lines(words, self.rtl, pen)

    def place(self, top: float, pen: _Pen) -> float:
        """Begin at that height; where it ends."""
        self.title_top = top
        self.top = top + len(self.title) * _TITLE_SIZE * 1.3 + _AFTER_TITLE * bool(self.title)
        self.pitch = sum(pen.box()) + _LEADING
        return self.top + max(len(self.lines), 1) * self.pitch - _LEADING

    @staticmethod
    def _title(title: str, pen: _Pen) -> list[str]:
        """At most three lines."""

        def measure(text: str) -> float:
            return pen.width(text, 0, _TITLE_SIZE)

        room, lines = _WIDTH - 2 * _MARGIN - 12, list[str]()
        while title and len(lines) < 3:
            line, title = _take(title, room, room, measure)
            lines.append(line)
        return [*lines[:-1], lines[-1] + " …"] if title else lines

    def placed(self, line: list[_Piece]) -> list[tuple[float, _Piece]]:
        """The pieces of a line with their left edges, from left to right."""
        items: list[tuple[int, _Piece | None]] = []  # None: a space
        for piece in line:
            items += [(piece.before, None)] if piece.spaced and items else []
            items.append((piece.level, piece))
        found, x, after = list[tuple[float, _Piece]](), 0.0, False  # whether a piece was the last
        for i in order_of([level for level, _ in items]):
            item = items[i][1]
            if item is None:
                x += _SPACE
            else:
                x += _SEAM if after else 0.0
                found.append((x, item))
                x += item.width
            after = item is not None
        start = _WIDTH - _MARGIN - x if self.rtl else _MARGIN
        return [(start + at, piece) for at, piece in found]


def _lines(words: list[Word], rtl: bool, pen: _Pen) -> list[list[_Piece]]:
    """Words flowing into lines."""
    # a space before every word, also where none is drawn, so that levels alternate
    kinds = [kind for word in words for kind in ("ON", kind_of(word.text))]
    levels = levels_of(kinds, rtl)
    room = _WIDTH - 2 * _MARGIN
    lines: list[list[_Piece]] = []
    used = math.inf  # of the last line
    for word, before, level in zip(words, levels[::2], levels[1::2], strict=True):
        rest, spaced = word.text, word.spaced

        def measure(text: str, level: int = level) -> float:
            return pen.width(text, level, _SIZE) + 2 * _PAD

        # a comma does not begin a line: it may stand in the margin
        hang = _MARGIN / 2 if not spaced and unicodedata.category(rest[0])[0] == "P" else 0.0
        while rest:
            gap = _SPACE if spaced else _SEAM
            piece, rest = _take(rest, room - used - gap + hang, room, measure)
            if not piece:
                if len(lines) * _SIZE > _HIGHEST:  # far too long; the caller says so
                    return lines
                lines.append([])
                piece, rest = _take(rest, room, room, measure)
                used, gap = 0.0, 0.0
            width = measure(piece)
            lines[-1].append(_Piece(piece, level, before, spaced, width, word))
            used += gap + width
            if rest:
                used = math.inf
    return lines


def _take(text: str, left: float, room: float, measure: Callable[[str], float]) -> tuple[str, str]:
    """What of a text fits on a line, and the rest.

    Args:
        left: what is free of the line.
        room: a whole line.
        measure: the width of a text.

    Returns:
        the beginning, empty when a new line has to be begun; at least one character where the
        whole line is free.
    """
    if left <= 0:
        return "", text
    part = text[:_LONGEST]
    if len(part) == len(text) and measure(text) <= left:
        return text, ""
    ends = [i for i in range(1, len(part)) if _may_break(part, i)]
    count = bisect.bisect_right(ends, left, key=lambda end: measure(part[:end].rstrip()))
    if count == 0 and (left >= room or len(text) > _LONGEST or measure(text) > room):
        # longer than any line: anywhere but before a mark that belongs to its letter
        ends = [i for i in range(1, len(part) + 1) if not _belongs(part, i)]
        count = bisect.bisect_right(ends, left, key=lambda end: measure(part[:end]))
        if left < room / 3:
            return "", text
        count = max(count, int(left >= room))
    if count == 0:
        return "", text
    end = ends[count - 1]
    return text[:end].rstrip(), text[end:].lstrip()


def _may_break(text: str, i: int) -> bool:
    """Whether a line may end before character i: after a space, and in scripts without spaces."""
    if text[i - 1] == " ":
        return True
    before, after = text[i - 1], text[i]
    return (
        breaks_anywhere(before)
        and breaks_anywhere(after)
        and unicodedata.category(after)[0] not in "PM"
    )


def _belongs(text: str, i: int) -> bool:
    """Whether character i is drawn on or joined to the one before it."""
    return i < len(text) and (
        unicodedata.category(text[i])[0] == "M" or "\u200d" in text[i - 1 : i + 1]
    )


def _draw(blocks: list[_Block], palette: Palette, pen: _Pen, height: float) -> Figure:
    from matplotlib.patches import FancyBboxPatch

    from .canvas import TextCanvas

    figure: Figure = TextCanvas(figsize=(_WIDTH / 72, height / 72))
    axis: Any = figure.add_axes((0, 0, 1, 1), xlim=(0, _WIDTH), ylim=(height, 0))  # in points
    axis.set_axis_off()

    def write(x: float, y: float, text: str, **style: Any) -> None:
        axis.text(
            x, y, text, family=pen.families, parse_math=False, usetex=False, va="baseline", **style
        )

    above, below = pen.box()
    for block in blocks:
        side = {"ha": "right"} if block.rtl else {"ha": "left"}
        x = _WIDTH - _MARGIN - _PAD if block.rtl else _MARGIN + _PAD
        for i, line in enumerate(block.title):
            y = block.title_top + (i + 0.9) * _TITLE_SIZE * 1.3
            write(x, y, pen.drawn(line, 0), color=_GREY, size=_TITLE_SIZE, **side)
        if not block.lines:
            write(x, block.top + above, "(no words)", color=_GREY, size=_TITLE_SIZE, **side)
        for i, row in enumerate(block.lines):
            y = block.top + i * block.pitch
            for x, piece in block.placed(row):
                axis.add_patch(
                    FancyBboxPatch(
                        (x, y), piece.width, above + below,
                        boxstyle="round,pad=0,rounding_size=2",
                        facecolor=piece.word.background, linewidth=0, clip_on=False,
                    )
                )  # fmt: skip
                write(
                    x + _PAD, y + above, pen.drawn(piece.text, piece.level),
                    color=piece.word.ink, size=_SIZE,
                )  # fmt: skip
    _colour_bar(figure, palette, height)
    return figure


def _colour_bar(figure: Figure, palette: Palette, height: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    from .heatmaps import colormap_of

    width, thick, room = _BAR
    place = (_MARGIN + _PAD) / _WIDTH, (room - 18) / height, width / _WIDTH, thick / height
    low = -1.0 if palette.signed else 0.0
    bar: Any = figure.colorbar(
        ScalarMappable(Normalize(low, 1.0), colormap_of(palette.colormap)),
        cax=figure.add_axes(place), orientation="horizontal",
    )  # fmt: skip
    places, texts = zip(*palette.ticks(), strict=True)
    bar.set_ticks(places, labels=texts)
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(labelsize=8, width=0.4)
    bar.ax.text(
        1 + 8 / width, 0.5, palette.label, transform=bar.ax.transAxes, va="center", fontsize=8
    )
