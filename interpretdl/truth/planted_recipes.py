"""What the planted problems are: keys, heads, and which keys decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .planted_keys import Form
from .planted_network import Head

__all__ = ["DENSE", "Recipe", "recipes"]

DENSE = Form(taps=8)
_A, _B, _C = range(3)
"""Numbers of the keys. What B says is always the larger logit."""
Evidence = tuple[int, frozenset[int]]
"""A class, and the keys that decide its logit."""

_DOCS = {
    "keys": "Logit A is 4 for a key A of 8 × 8 pixels, logit B 6 for a key B. Pictures have both; "
    "the truth is the key of the class.",
    "large": "As keys, with keys of 24 × 24 pixels in blocks of 4 × 4.",
    "sparse": "As keys, with keys of 20 single pixels in a square of 16 × 16, between which the "
    "background is seen; the truth is these pixels.",
    "moved": "As keys, with a third pattern that raises a channel to its left and one to its "
    "right, which cancel.",
    "ripples": "As keys, with a zigzag of a response to the background: it changes a logit by less "
    "than 0.2, but is steep everywhere.",
    "or": "The logit is 4 for a key A or a key C, and no more for both. Pictures have both; the "
    "truth is the two of them.",
    "and": "The logit is 4 for a key A and a key C, and 0 where one is missing; the truth is the "
    "two of them.",
    "more": "The logit grows by 4/3 for each key A, up to three. Pictures have five; the truth is "
    "all of them.",
    "exactly_one": "The logit is 4 for a key A or a key C, and 0 for both. Pictures have one, "
    "which is the truth.",
    "nothing": "The pictures of keys, and a class whose logit is 4 in every picture; the truth is "
    "nothing.",
}


@dataclass(frozen=True)
class Recipe:
    """A problem before it is made.

    Attributes:
        name: as `Problem` has it.
        form: of its keys.
        head: what becomes of their numbers.
        wanted: for each kind of picture, which take turns: how often each key is in it.
        labels: for each kind, what is explained.
        others: for each kind, another class; empty for none.
        moved, ripples: see `planted_network`.
        exact: how far a logit may be from what it must be.
    """

    name: str
    form: Form
    head: Head
    wanted: Sequence[Mapping[int, int]]
    labels: Sequence[Evidence]
    others: Sequence[Evidence] = ()
    moved: bool = False
    ripples: bool = False
    exact: float = 1e-3

    @property
    def doc(self) -> str:
        """What the model does, and what the truth is."""
        return _DOCS[self.name]


def recipes() -> tuple[Recipe, ...]:
    """All but the linear problem.

    Another class is explained too in a few of them, because that takes as long again.
    """
    pair, two, each = _pair("keys", DENSE), {_A: 1, _C: 1}, ({_A: 1}, {_C: 1})
    silent = Head(np.array([*pair.head.units, [0, 0, 4]], np.float32))
    return (
        pair,
        replace(_pair("large", Form(taps=6, shrink=4, stride=2)), others=()),
        replace(_pair("sparse", Form(taps=6, spread=3, used=20)), others=()),
        _pair("moved", DENSE, moved=True),
        replace(_pair("ripples", DENSE, ripples=True, exact=0.2), others=()),
        _logic("or", [[-1, 0, -1, 1]], [-4, 4], two),
        _logic("and", [[1, 0, 1, -1]], [4, 0], two),
        _logic("more", [[-0.25, 0, 0, 0.75]], [-16 / 3, 4], {_A: 5}),
        _logic("exactly_one", [[1, 0, 1, 0], [1, 0, 1, -1.25]], [4, -32 / 3, 0], *each),
        replace(
            pair, name="nothing", head=silent, labels=[(2, frozenset())] * 2, others=pair.labels
        ),
    )


def _pair(name: str, form: Form, **more: Any) -> Recipe:
    """Keys A and B are in each picture, and their logits are explained in turn."""
    decoy = [0] * int(more.get("moved", False))
    units = [[4, 0, *decoy, 0], [0, 6, *decoy, 0]]
    there = {_A: 1, _B: 1} | dict.fromkeys([_C] * len(decoy), 1)
    a, b = (0, frozenset({_A})), (1, frozenset({_B}))
    head = Head(np.array(units, np.float32))
    return Recipe(name, form, head, [there] * 2, [a, b], [b, a], **more)


def _logic(
    name: str,
    units: Sequence[Sequence[float]],
    weights: Sequence[float],
    *wanted: Mapping[int, int],
) -> Recipe:
    """Logit 1 depends on the numbers of keys A and C; logit 0, the larger one, is 6 for a key B.

    Args:
        units: weights of the numbers of A, B and C, and a bias.
        weights: of these units in logit 1, and a bias.
        wanted: of A and C in each kind of picture, all of which decide; each has a key B too.
    """
    rows = [[6, *[0] * (len(units) + 1)], [0, *weights]]
    head = Head(np.array([[0, 1, 0, 0], *units], np.float32), np.array(rows, np.float32))
    labels = [(1, frozenset(each)) for each in wanted]
    return Recipe(name, DENSE, head, [{**each, _B: 1} for each in wanted], labels)
