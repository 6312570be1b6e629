"""The trained suite: networks that have learned to find keys among decoys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backgrounds import backgrounds
from .interventions import Measured, falls
from .networks import LAST, convolutional, inputs, logits, transformer, with_weights
from .shapes import DECOYS, KEYS, Shape, draw, scatter, silhouette
from .suite import Problem

__all__ = ["PICTURES", "keys_pictures", "measured_keys", "trained"]

PICTURES = 24
_SEED = 1000  # no picture of the training has it
_OTHERS = 4  # backgrounds that stand in for one


def _some(names: Sequence[str], rng: np.random.Generator) -> tuple[list[str], NDArray[np.bool_]]:
    """Each name with probability ½."""
    there = rng.random(len(names)) < 0.5
    return [name for name, wanted in zip(names, there, strict=True) if wanted], there


def keys_pictures(
    count: int, seed: int, coloured: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pictures for training: up to three keys and up to three decoys in each.

    Returns:
        Pictures float32 [count, 3, 64, 64] in [0, 1], and float32 [count, 3], which of KEYS are
        there.
    """
    rng = np.random.default_rng(seed)
    pictures = backgrounds(count, seed=seed)
    answers = np.empty((count, len(KEYS)), np.float32)
    for i in range(count):
        keys, answers[i] = _some(KEYS, rng)
        decoys, _ = _some(DECOYS, rng)
        kinds = rng.permutation([*keys, *decoys]).tolist()
        pictures[i] = draw(pictures[i], scatter(kinds, rng, coloured))
    return pictures, answers


def measured_keys(
    model: Any, coloured: bool, count: int = PICTURES
) -> tuple[Measured, NDArray[np.int64]]:
    """Pictures of two keys and two decoys in which a network names both keys and no other.

    Which of these it uses is measured: each shape is left out, and the background exchanged for
    four others.

    Returns:
        Parts are the first key, the second, two decoys and the background; and which of KEYS the
        two are, int64 [N, 2].
    """
    rng = np.random.default_rng(_SEED)
    tried = 2 * count
    scenery = backgrounds(tried, seed=_SEED)
    shapes: list[list[Shape]] = []
    pictures = np.empty_like(scenery)
    keys = np.empty((tried, 2), np.int64)
    there = np.zeros((tried, len(KEYS)), bool)
    for i in range(tried):
        keys[i] = rng.permutation(len(KEYS))[:2]
        there[i, keys[i]] = True
        kinds = [KEYS[k] for k in keys[i]] + rng.permutation(DECOYS)[:2].tolist()
        shapes.append(scatter(kinds, rng, coloured))
        pictures[i] = draw(scenery[i], shapes[i])
    right = ((logits(model, pictures) > 0) == there).all(axis=1)
    rows = np.flatnonzero(right)[:count]
    changed = [
        np.stack([_without(scenery[i], shapes[i], out)[None] for i in rows]) for out in range(4)
    ]
    changed.append(
        np.stack([[draw(other, shapes[i]) for other in _following(scenery, i)] for i in rows])
    )
    parts = np.stack([_masks(shapes[i]) for i in rows])
    return Measured(pictures[rows], parts, falls(model, pictures[rows], changed)), keys[rows]


def _problem(name: str, model: Any, doc: str, coloured: bool, **given: Any) -> Problem:
    found, keys = measured_keys(model, coloured)
    labels, others = keys.T
    shapes = found.parts.shape[1] - 1
    return Problem(
        name=name, suite="trained", model=model, x=inputs(found.pictures), labels=labels,
        masks=found.evidence(found.importance(labels), shapes), doc=doc, others=others,
        other_masks=found.evidence(found.importance(others), shapes), **given,
    )  # fmt: skip


def _masks(shapes: Sequence[Shape]) -> NDArray[np.bool_]:
    """Where each shape is, and in the last place where none is, bool [P, 64, 64].

    A ring's mask has its hole, which makes it a ring.
    """
    whole = [replace(s, kind="disc") if s.kind == "ring" else s for s in shapes]
    masks = np.stack([silhouette(shape) > 0.5 for shape in whole])
    return np.concatenate([masks, ~masks.any(axis=0, keepdims=True)])


def _without(
    background: NDArray[np.float32], shapes: Sequence[Shape], out: int
) -> NDArray[np.float32]:
    return draw(background, [shape for i, shape in enumerate(shapes) if i != out])


def _following(scenery: NDArray[np.float32], i: int) -> NDArray[np.float32]:
    """Backgrounds that follow in the list, float32 [4, 3, 64, 64]."""
    return scenery[(i + 1 + np.arange(_OTHERS)) % len(scenery)]


def trained() -> tuple[Problem, ...]:
    """A convolutional network and a vision transformer, trained to find keys among decoys."""
    return (
        _problem(
            "convolutional", with_weights(convolutional(len(KEYS)), "keys_convolutional"),
            "A convolutional network names the keys by their shape; the truth are those of the "
            "shapes without which the key's logit falls.",
            coloured=False, layer=LAST,
        ),
        _problem(
            "transformer", with_weights(transformer(len(KEYS)), "keys_transformer"),
            "A vision transformer names the keys, which have shapes and colours of their own; the "
            "truth are those of the shapes without which the key's logit falls.",
            coloured=True, options={"lrp": {"composite": "attn_lrp"}},
        ),
    )  # fmt: skip
