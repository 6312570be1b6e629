"""The order in which words and letters are seen, in scripts written from right to left.

Words are ordered by Unicode's bidirectional algorithm (UAX #9), with a word in the place of a
character. Within a word matplotlib orders and joins the letters from version 3.11 on; before that
python-bidi and arabic-reshaper do.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from ..errors import warn

__all__ = ["is_rtl", "kind_of", "levels_of", "order_of", "visible"]

_RIGHT_TO_LEFT_MARK = "\u200f"
_JOINERS = "\u200c\u200d"  # zero-width non-joiner and joiner


def kind_of(text: str) -> str:
    """Its direction by its first letter: "L" or "R"; "EN" for a number, "ON" for other signs."""
    found = [unicodedata.bidirectional(c) for c in text]
    for one in found:
        if one in ("L", "R", "AL"):
            return "L" if one == "L" else "R"
    return "EN" if "EN" in found or "AN" in found else "ON"


def is_rtl(words: Sequence[str]) -> bool:
    """Whether more of the words are written from right to left than from left to right.

    HTML's dir="auto" looks at the first letter alone, and would be misled by "[CLS]".
    """
    kinds = [kind_of(word) for word in words]
    return kinds.count("R") > kinds.count("L")


def levels_of(kinds: Sequence[str], rtl: bool) -> list[int]:
    """The embedding level of each word of a paragraph: even is left to right, odd the other way.

    Args:
        kinds: from `kind_of`, of the words and of the spaces between them.
        rtl: the paragraph's direction.
    """
    base = last = "R" if rtl else "L"
    solved = []
    for kind in kinds:
        last = kind if kind in ("L", "R") else last
        solved.append("L" if kind == "EN" and last == "L" else kind)
    side = {"EN": "R"}  # numbers count as right to left for the signs beside them
    after = base
    following = []  # the next word with a direction, or the paragraph's end
    for kind in reversed(solved):
        following.append(after)
        after = after if kind == "ON" else side.get(kind, kind)
    before = base
    for i, after in enumerate(reversed(following)):
        if solved[i] == "ON":
            solved[i] = before if before == after else base
        before = side.get(solved[i], solved[i])
    level = {"L": 2 if rtl else 0, "R": 1, "EN": 2}
    return [level[kind] for kind in solved]


def order_of(levels: Sequence[int]) -> list[int]:
    """Positions of one line's words and spaces, in the order in which they are seen from left to
    right.
    """
    order = list(range(len(levels)))
    for level in range(max(levels, default=0), 0, -1):
        start = 0
        while start < len(order):
            end = start
            while end < len(order) and levels[order[end]] >= level:
                end += 1
            order[start:end] = order[start:end][::-1]
            start = end + 1
    return order


def visible(word: str, level: int, *, shaped: bool) -> str:
    """The string that matplotlib has to be given to draw a word at that level.

    Args:
        word: in the order in which it is read.
        level: from `levels_of`.
        shaped: whether matplotlib orders and joins letters itself.

    Warns:
        InterpretWarning: it does not, and what does so in its place is not installed.
    """
    kind = kind_of(word)
    rtl = kind == "R" or (kind != "L" and level > 0)
    if shaped:
        # a word without letters does not tell its direction
        return _RIGHT_TO_LEFT_MARK + word if rtl and kind != "R" else word
    if not rtl and not any(kind_of(c) == "R" for c in word):
        return word.translate(dict.fromkeys(map(ord, _JOINERS)))
    try:
        import arabic_reshaper
        from bidi.algorithm import get_display
    except ImportError:
        warn(
            "this matplotlib draws the letters of Arabic and Hebrew apart and in the wrong order; "
            "install matplotlib 3.11, or `pip install python-bidi arabic-reshaper`"
        )
        return word
    seen: str = get_display(arabic_reshaper.reshape(word), base_dir="R" if rtl else "L")
    return seen
