"""Creatures, what their parts are, and the network that tells them apart."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from interpretdl.truth.backgrounds import backgrounds
from interpretdl.truth.creatures import (
    PARTS,
    SPECIES,
    TYPES,
    Creature,
    any_creature,
    draw_creature,
    owners,
)
from interpretdl.truth.networks import inputs, logits
from interpretdl.truth.parts import parts, species_pictures
from interpretdl.truth.suite import Problem

BODY = len(PARTS)


@pytest.fixture(scope="module")
def problems() -> dict[str, Problem]:
    return {problem.name: problem for problem in parts()}


def creatures(count: int) -> list[Creature]:
    rng = np.random.default_rng(1)
    return [any_creature(SPECIES[i % len(SPECIES)], rng) for i in range(count)]


def test_species_are_told_apart_by_several_parts() -> None:
    for a, b in itertools.combinations(SPECIES, 2):
        assert sum(x == y for x, y in zip(a, b, strict=True)) <= 2
    for part, kinds in zip(PARTS, zip(*SPECIES, strict=True), strict=True):
        assert set(kinds) == set(range(len(TYPES[part])))  # each type is used


@pytest.mark.parametrize("part", range(BODY))
def test_a_part_left_out_shows_what_is_behind(part: int) -> None:
    """Only its pixels change, and a margin of one where it is antialiased."""
    background = backgrounds(1, seed=0)[0]
    for creature in creatures(8):
        less = creature.without(part)
        changed = np.abs(draw_creature(background, creature) - draw_creature(background, less)).max(
            axis=0
        )
        place = owners(creature) == part
        assert place.sum() >= 8
        near = np.zeros((66, 66), bool)
        for down, right in itertools.product(range(3), repeat=2):
            near[down : down + 64, right : right + 64] |= place
        assert not changed[~near[1:-1, 1:-1]].any()
        assert (changed[place] > 1e-3).mean() > 0.9
        assert not (owners(less) == part).any()


def test_a_part_is_exchanged_in_its_place() -> None:
    background = backgrounds(1, seed=0)[0]
    creature = creatures(1)[0]
    other = replace(creature, kinds=(1, *creature.kinds[1:]))
    changed = np.abs(draw_creature(background, creature) - draw_creature(background, other))
    elsewhere = (owners(creature) > 0) & (owners(other) > 0)  # neither's tail nor background
    rows, columns = np.nonzero(elsewhere)
    assert changed[:, rows, columns].max(axis=0).mean() < 0.02
    assert changed.max() > 0.3


def test_creatures_stay_in_the_picture_and_leave_the_background() -> None:
    background = backgrounds(1, seed=0)[0]
    for creature in creatures(40):
        owner = owners(creature)
        assert set(np.unique(owner)) == {-1, *range(BODY + 1)}
        assert 0.08 < (owner >= 0).mean() < 0.5
        picture = draw_creature(background, creature)
        assert picture.dtype == np.float32
        assert picture.min() >= 0
        assert picture.max() <= 1
        same = (picture == background).all(axis=0)
        assert same[owner == -1].mean() > 0.85
        assert not same[owner >= 0].any()


def test_a_mirrored_creature_is_the_mirror_image() -> None:
    creature = replace(creatures(1)[0], x=32.0, angle=0.0)
    there, back = (owners(replace(creature, mirrored=side)) for side in (False, True))
    assert (there == back[:, ::-1]).mean() > 0.97


def test_the_network_knows_species_it_has_not_seen(problems: dict[str, Problem]) -> None:
    """Each part is missing in a quarter of these pictures, so not all can be known."""
    pictures, species = species_pictures(150, seed=77)
    found = logits(problems["species"].model, pictures).argmax(axis=1)
    assert (found == species).mean() > 0.9


@pytest.mark.parametrize("name", ["species", "hybrids", "pairs"])
def test_parts_and_importance(problems: dict[str, Problem], name: str) -> None:
    problem = problems[name]
    assert problem.parts is not None
    assert problem.importance is not None
    assert len(problem) == 24
    assert problem.parts.shape[1] == BODY + 1
    assert (problem.parts.sum(axis=1) <= 1).all()
    assert (problem.importance[:, :BODY].max(axis=1) > 0).all()
    assert problem.masks.any(axis=(1, 2)).all()
    assert (problem.masks <= problem.parts[:, :BODY].any(axis=1)).all()
    sizes = np.abs(problem.importance).mean(axis=0)
    assert sizes[BODY] < 0.3 * sizes[:BODY].mean()  # body and head say nothing of the species


def test_importance_is_the_fall_of_the_logit(problems: dict[str, Problem]) -> None:
    """Drawn again here, one picture and part at a time, from the problem's own pictures."""
    problem = problems["species"]
    assert problem.parts is not None
    assert problem.importance is not None
    rng = np.random.default_rng(3000)
    first = np.arange(48) % len(SPECIES)
    plans = [any_creature(SPECIES[a], rng) for a in first]
    scenery = backgrounds(48, seed=3000)
    row = 0
    for i, plan in enumerate(plans[:10]):
        picture = draw_creature(scenery[i], plan)
        if not np.array_equal(inputs(picture), problem.x[row]):
            continue  # one that the network does not know
        label = problem.labels[row]
        score = logits(problem.model, picture[None])[0, label]
        for part in range(BODY):
            less = logits(problem.model, draw_creature(scenery[i], plan.without(part))[None])
            assert problem.importance[row, part] == pytest.approx(score - less[0, label], abs=1e-3)
        row += 1
    assert row >= 5


def test_pairs_are_differences_of_logits(problems: dict[str, Problem]) -> None:
    hybrids, pairs = problems["hybrids"], problems["pairs"]
    pictures = hybrids.x * 0.25 + 0.5
    one, two = logits(hybrids.model, pictures), logits(pairs.model, pictures)
    np.testing.assert_allclose(
        two.reshape(len(one), 8, 8), one[:, :, None] - one[:, None], rtol=1e-3, atol=1e-3
    )
    a, b = np.divmod(pairs.labels, 8)
    np.testing.assert_array_equal(a, hybrids.labels)
    np.testing.assert_array_equal(b, hybrids.others)


def test_hybrids_are_seen_as_both_of_their_species(problems: dict[str, Problem]) -> None:
    """Parts that only one species has speak for it, and against the other."""
    problem = problems["pairs"]
    assert problem.importance is not None
    assert problem.others is not None
    assert problem.other_masks is not None
    assert not (problem.masks & problem.other_masks).any()
    both = (problem.importance.max(axis=1) > 0.5) & (problem.importance.min(axis=1) < -0.5)
    assert both.mean() > 0.8
