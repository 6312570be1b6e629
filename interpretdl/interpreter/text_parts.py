"""Methods on texts: one text after the other, each with its own tokens as the input."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import UnsupportedModelError
from ..subject import Subject, TextPart
from ..targets import TargetLike, take
from ..texts import Text, TextTokens
from .attribution import Attribution

__all__ = ["Method", "of_texts", "texts_of"]

Array = NDArray[Any]


class Method(Protocol):
    """What is needed of an Interpreter."""

    subject: Subject
    reads_ids: ClassVar[bool]

    def _hold(self, subject: Subject) -> None: ...

    def _attributed(self, x: Array, target: TargetLike, options: dict[str, Any]) -> Attribution: ...


def of_texts(
    method: Method, texts: Sequence[Text], target: TargetLike, options: dict[str, Any]
) -> Attribution:
    """A method's result for each text, as one.

    A text is an input of its own, without the padding: so neither the other texts nor how they are
    put together matter.

    Returns:
        values [N, T], or [N, T, E] where the vectors' numbers have values of their own, T of the
        longest text; 0 where a text has no such token.
    """
    layer = None if method.reads_ids else method.subject.embedding(texts[0])
    results, parts = [], []
    for i, text in enumerate(texts):
        part = copy.copy(method)
        part._hold(method.subject.within_text(text, layer))
        inside: Any = part.subject.part
        results.append(part._attributed(inside.x, take(target, np.array([i])), options))
        parts.append(inside)
    length = max(len(text.tokens) for text in texts)
    facts = _facts(results, parts, length)
    if layer is not None:
        facts["embedding"] = layer
    return Attribution(
        np.concatenate(
            [_placed(one.values, p, length) for one, p in zip(results, parts, strict=True)]
        ),
        facts,
        results[0].signed,
        np.concatenate([np.asarray(one.outputs) for one in results]),
    )


def _placed(values: Array, part: TextPart, length: int) -> Array:
    """Values [1, t, ...] of a text's tokens at their positions, [1, T, ...]."""
    if values.ndim < 2 or values.shape[1] != len(part.positions):
        raise UnsupportedModelError(
            f"the method gives {list(values.shape[1:])} for {len(part.positions)} tokens of a text;"
            " there must be values for each token"
        )
    found = np.zeros((1, length, *values.shape[2:]), values.dtype)
    found[:, part.positions] = values
    return found


def _facts(
    results: Sequence[Attribution], parts: Sequence[TextPart], length: int
) -> dict[str, Any]:
    """Diagnostics of all texts; what is of each token is put where the token is."""
    found: dict[str, Any] = {}
    for name, first in results[0].diagnostics.items():
        each = [one.diagnostics[name] for one in results]
        if not (isinstance(first, np.ndarray) and first.shape[:1] == (1,)):
            found[name] = first if all(np.array_equal(first, one) for one in each) else each
            continue
        if first.ndim > 1 and first.shape[1] == len(parts[0].positions):
            each = [_placed(one, p, length) for one, p in zip(each, parts, strict=True)]
        found[name] = np.concatenate(each)
    return found


def texts_of(texts: Sequence[Text]) -> TextTokens | None:
    """What an Explanation keeps of texts; None where there are none."""
    if not texts:
        return None
    length = max(len(text.tokens) for text in texts)
    units = np.full((len(texts), length), -1, np.int64)
    for row, text in zip(units, texts, strict=True):
        row[: len(text.units)] = text.units
    return TextTokens(
        tuple(text.tokens for text in texts), tuple(text.words for text in texts), units
    )
