"""The words, or other parts, that the tokens of a text belong to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

__all__ = ["Groups", "TextTokens", "units_of"]

Array = NDArray[Any]
Groups = Literal["tokens", "words", "sentences"]

_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af]")
_MARKS = ("##", "\u2581", "\u0120")  # of WordPiece, of SentencePiece, of byte pairs
_END = frozenset(".!?…。！？")


@dataclass(frozen=True, eq=False)
class TextTokens:
    """The tokens of N texts, and the words, or other parts, that they belong to.

    Attributes:
        tokens: of each text its tokens, padding included.
        words: of each text its words.
        units: int64 [N, T], which word of its text each token belongs to; -1 for special tokens,
            padding, and past the end of a text.
    """

    tokens: tuple[tuple[str, ...], ...]
    words: tuple[tuple[str, ...], ...]
    units: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in ("tokens", "words"):
            object.__setattr__(self, name, tuple(map(tuple, getattr(self, name))))
        object.__setattr__(self, "units", np.asarray(self.units, np.int64))
        n, longest = len(self.tokens), max(map(len, self.tokens), default=0)
        if len(self.words) != n or self.units.shape != (n, longest):
            raise InputError(
                f"{n} texts of at most {longest} tokens need words for {n} texts and units "
                f"{[n, longest]}; got {len(self.words)} and {list(self.units.shape)}"
            )
        for words, units in zip(self.words, self.units, strict=True):
            if units.max(initial=-1) >= len(words) or units.min(initial=0) < -1:
                raise InputError(f"units must be below {len(words)}, the words, or -1")

    def __getitem__(self, rows: slice) -> TextTokens:
        """Some of the texts."""
        tokens = self.tokens[rows]
        longest = max(map(len, tokens), default=0)
        return TextTokens(tokens, self.words[rows], self.units[rows, :longest])

    def by_word(self, values: Array, *, mean: bool) -> list[NDArray[np.float64]]:
        """Values of the words of each text, [words].

        Args:
            values: float [N, T], of the tokens.
            mean: whether a word's value is the mean of its tokens', or their sum.
        """
        found = []
        for words, units, row in zip(self.words, self.units, values, strict=True):
            inside = units >= 0
            sums = np.bincount(units[inside], row[inside], minlength=len(words))
            counts = np.bincount(units[inside], minlength=len(words))
            found.append(np.asarray(sums / np.maximum(counts, 1) if mean else sums, np.float64))
        return found


def units_of(
    tokens: Sequence[str], special: NDArray[np.bool_], groups: Groups
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Which unit each token belongs to, -1 for special ones, and the units' texts."""
    units = np.full(len(tokens), -1, np.int64)
    words: list[str] = []
    ended, before = True, ""
    for i, token in enumerate(tokens):
        if special[i]:
            ended, before = True, ""
            continue
        shown = _shown(token)
        begins = groups == "tokens" or not before or _begins(token, before, tokens)
        if groups == "sentences":
            if ended:
                words.append(shown)
            else:
                spaced = begins and not (_CJK.search(shown) and _CJK.search(words[-1][-1:]))
                words[-1] += (" " if spaced and shown not in _END else "") + shown
            ended = shown in _END
        elif begins:
            words.append(token if groups == "tokens" else shown)
        else:
            words[-1] += shown
        units[i] = len(words) - 1
        before = token
    return units, tuple(words)


def _shown(token: str) -> str:
    """A token without the marks of how it joins others."""
    for mark in _MARKS:
        if token.startswith(mark) and len(token) > len(mark):
            return token[len(mark) :]
    return token.removesuffix("</w>") or token


def _begins(token: str, before: str, tokens: Sequence[str]) -> bool:
    """Whether a token begins a word, after another one."""
    if token.startswith("##"):
        return False
    if before.endswith("</w>") or _CJK.search(token) or not any(c.isalnum() for c in token):
        return True
    for mark in _MARKS[1:]:
        if any(each.startswith(mark) for each in tokens):
            return token.startswith(mark)
    return not any(each.endswith("</w>") for each in tokens)
