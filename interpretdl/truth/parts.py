"""The parts suite: creatures that a network tells apart by their parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backgrounds import backgrounds
from .creatures import PARTS, SPECIES, Creature, any_creature, any_tint, draw_creature, owners
from .interventions import Measured, falls
from .networks import LAST, convolutional, difference_of_logits, inputs, logits, with_weights
from .suite import Problem

__all__ = ["measured_creatures", "parts", "species_pictures"]

PICTURES = 24
_SEED = 3000
_LEFT_OUT = 0.25  # how often each part is missing in training
_WAYS = 4  # other tints, and other backgrounds


def species_pictures(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Pictures for training: creatures of all species, each part missing in a quarter of them.

    Returns:
        Pictures float32 [count, 3, 64, 64] in [0, 1], and species int64 [count].
    """
    rng = np.random.default_rng(seed)
    pictures = backgrounds(count, seed=seed)
    species = rng.integers(len(SPECIES), size=count)
    for i, number in enumerate(species):
        missing = np.flatnonzero(rng.random(len(PARTS)) < _LEFT_OUT)
        creature = any_creature(SPECIES[number], rng).without(*missing.tolist())
        pictures[i] = draw_creature(pictures[i], creature)
    return pictures, species


def parts() -> tuple[Problem, ...]:
    """Whole creatures; creatures of two species in one; and those for the two logits' difference.

    A part's importance is what the logit, or the difference of two, falls by without it. Body and
    head, which all species have, are a part too: the fall is that with another tint, the mean of
    four. Without them large parts would be the important ones, and a random map would be right.
    """
    model = with_weights(convolutional(len(SPECIES)), "parts")
    classes, rng = len(SPECIES), np.random.default_rng(_SEED)
    first = np.arange(2 * PICTURES) % classes
    creatures = [any_creature(SPECIES[a], rng) for a in first]
    species, a = measured_creatures(model, creatures, first[:, None])
    problems = [
        _problem(
            "species", model, species, a[:, 0],
            doc="A network tells species by tail, feet, wing, beak and eyes; the truth are the "
            "parts without which the logit falls.",
        )
    ]  # fmt: skip

    first = rng.integers(classes, size=4 * PICTURES)
    second = (first + rng.integers(1, classes, size=4 * PICTURES)) % classes
    both = np.stack([first, second], axis=1)
    creatures = [_hybrid(a, b, rng) for a, b in both]
    hybrids, both = measured_creatures(model, creatures, both)
    a, b = both.T
    problems.append(
        _problem(
            "hybrids", model, hybrids, a, b,
            doc="Creatures of two species in one; the truth are the parts without which the "
            "logit of one species falls.",
        )
    )  # fmt: skip
    differences = hybrids.falls[..., :, None] - hybrids.falls[..., None, :]
    pairs = replace(hybrids, falls=differences.reshape(*hybrids.falls.shape[:2], classes**2))
    problems.append(
        _problem(
            "pairs", difference_of_logits(model), pairs, a * classes + b, b * classes + a,
            doc="Creatures of two species in one, and the difference of the two logits; the truth "
            "are the parts without which the difference falls.",
        )
    )  # fmt: skip
    return tuple(problems)


def _problem(
    name: str,
    model: Any,
    found: Measured,
    labels: NDArray[np.int64],
    others: NDArray[np.int64] | None = None,
    *,
    doc: str,
) -> Problem:
    """Evidence is among PARTS; the background is no part, because mass tells of it."""
    importance, count = found.importance(labels), len(PARTS)
    return Problem(
        name=name, suite="parts", model=model, x=inputs(found.pictures), labels=labels,
        masks=found.evidence(importance, count), doc=doc, others=others,
        other_masks=None if others is None else found.evidence(found.importance(others), count),
        parts=found.parts[:, :-1], importance=importance[:, :-1], layer=LAST,
    )  # fmt: skip


def _hybrid(a: int, b: int, rng: np.random.Generator) -> Creature:
    """A creature with two or three parts of species b, the others of species a."""
    kinds = list(SPECIES[a])
    for part in rng.permutation(len(PARTS))[: rng.integers(2, 4)]:
        kinds[part] = SPECIES[b][part]
    return any_creature(kinds, rng)


def measured_creatures(
    model: Any, creatures: Sequence[Creature], classes: NDArray[np.int64], count: int = PICTURES
) -> tuple[Measured, NDArray[np.int64]]:
    """The first creatures whose classes [n, C] are the network's C largest logits.

    Returns:
        Parts are PARTS, body and head, background; what is not left out, but exchanged four
        times, are the tint and the background. And the creatures' classes, int64 [N, C].
    """
    rng = np.random.default_rng(_SEED + 1)
    scenery = backgrounds(len(creatures), seed=_SEED)
    pictures = np.stack([draw_creature(*both) for both in zip(scenery, creatures, strict=True)])
    largest = logits(model, pictures).argsort(axis=1)[:, -classes.shape[1] :]
    known = (np.sort(largest, axis=1) == np.sort(classes, axis=1)).all(axis=1)
    rows = np.flatnonzero(known)[:count]

    owner = np.stack([owners(creatures[i]) for i in rows])
    places = np.stack([owner == part for part in (*range(len(PARTS) + 1), -1)], axis=1)
    ways: list[list[list[NDArray[np.float32]]]] = [[] for _ in range(len(PARTS) + 2)]
    for i in rows:
        creature = creatures[i]
        for part in range(len(PARTS)):
            ways[part].append([draw_creature(scenery[i], creature.without(part))])
        tints = [replace(creature, tint=any_tint(rng)) for _ in range(_WAYS)]
        ways[-2].append([draw_creature(scenery[i], tinted) for tinted in tints])
        others = scenery[(i + 1 + np.arange(_WAYS)) % len(scenery)]
        ways[-1].append([draw_creature(other, creature) for other in others])
    fall = falls(model, pictures[rows], [np.array(changed) for changed in ways])
    return Measured(pictures[rows], places, fall), classes[rows]
