"""Evaluating explanations of texts: one text after the other, each with its own words."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..explanation import Explanation
from ..interpreter.text_parts import texts_of
from ..subject import Subject
from ..targets import ChannelScore, TargetLike, TopClass, settled, take
from ..texts import Text
from .case import Case, warn_of_signs
from .evaluation import Evaluation

__all__ = ["cases_of", "joined", "word_relevance"]

Array = NDArray[Any]


def word_relevance(
    texts: Sequence[Text], explanation: Explanation | Array, signed: bool | None
) -> list[NDArray[np.float64]]:
    """The relevance of each text's words, [M] each.

    Args:
        explanation: of these texts; or values [N, T] or [N, T, E], T as the longest text has, whose
            sums over a word's tokens are the word's.
        signed: whether the numbers of a token's vector are summed, or their absolute values.

    Raises:
        InputError: it is of other texts, or its shape does not fit.
    """
    if isinstance(explanation, Explanation) and explanation.texts is not None:
        known = explanation.texts.words
        if len(known) != len(texts):
            raise InputError(f"the explanation is of {len(known)} texts; {len(texts)} were given")
        for i, (text, words) in enumerate(zip(texts, known, strict=True)):
            if text.words != words:
                raise InputError(
                    f"text {i} is not what was explained: its words are "
                    f"{reprlib.repr(list(text.words))}, and those of the explanation "
                    f"{reprlib.repr(list(words))}; give the same texts and TextPreprocessing"
                )
        return [
            np.array([value for _, value in pairs]) for pairs in explanation.word_values(signed)
        ]
    values = np.asarray(explanation, np.float64)
    tokens = texts_of(texts)
    if tokens is None or values.ndim not in (2, 3) or values.shape[:2] != tokens.units.shape:
        length = max((len(text.tokens) for text in texts), default=0)
        raise InputError(
            f"the values of {len(texts)} texts of at most {length} tokens must be "
            f"[{len(texts)}, {length}] or [{len(texts)}, {length}, E]; got {list(values.shape)}"
        )
    if signed is None and (values < 0).any():
        warn_of_signs()
    values = values if signed else np.abs(values)
    return tokens.by_word(values.reshape(*tokens.units.shape, -1).sum(axis=2), mean=False)


def cases_of(
    subject: Subject,
    texts: Sequence[Text],
    relevance: Sequence[Array],
    target: TargetLike | None,
    signed: bool | None,
) -> Iterator[Case]:
    """A case of each text, whose model is a function of that text's words alone.

    Args:
        relevance: of the words of each text, [M].
        target: of the N texts.
        signed: whether values below zero speak against the class; None is not known.
    """
    if isinstance(target, ChannelScore):
        target.check(len(texts))
        subject, target = subject.at_layer(target.layer), target.of_layer
    for i, (text, values) in enumerate(zip(texts, relevance, strict=True)):
        inside = subject.within_text(text)
        part, one = inside.part, None if target is None else take(target, np.array([i]))
        if part is None:
            raise InputError("this subject explains no texts; give it a TextPreprocessing")
        if isinstance(one, TopClass):
            one = settled(one, inside.probe.logits(part.x))
        yield Case(
            x=part.x, values=values[None], rows=np.array([i]), target=one, signed=bool(signed),
            preprocessing=None, probe=inside.probe, part=part,
        )  # fmt: skip


def joined(cases: Iterator[Case], evaluate: Callable[[Case], Evaluation]) -> Evaluation:
    """One evaluation of all texts from those of each; a text that is flagged has NaN."""
    found = [evaluate(case) for case in cases]
    whole = next((one for one in found if not one.flags), found[0])

    def stacked(kind: str) -> dict[str, Array]:
        return {
            name: np.concatenate(
                [getattr(one, kind).get(name, np.full_like(rows, np.nan)) for one in found]
            )
            for name, rows in getattr(whole, kind).items()
        }

    return replace(
        whole,
        values=np.concatenate([one.values for one in found]),
        parts=stacked("parts"),
        curves=stacked("curves"),
        flags={i: one.flags[0] for i, one in enumerate(found) if one.flags},
    )
