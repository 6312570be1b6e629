"""Groups among maps: planted ones are found, and none where there are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from interpretdl.errors import InputError
from interpretdl.runs.clusters import clusters_of
from tests.stores import planted_maps


def agreement(one: Any, other: Any) -> float:
    """The adjusted Rand index, from its definition by pairs (Hubert and Arabie 1985)."""
    same_one = one[:, None] == one
    same_other = other[:, None] == other
    above = np.triu(np.ones_like(same_one), 1).astype(bool)
    a, b = same_one[above], same_other[above]
    expected = a.sum() * b.sum() / a.size
    return float(((a & b).sum() - expected) / ((a.sum() + b.sum()) / 2 - expected))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "share"), [(40, 0.5), (120, 0.5), (120, 0.25)])
def test_a_planted_watermark_is_found(n: int, share: float, seed: int) -> None:
    maps, marked = planted_maps(n, share, seed)
    found = clusters_of(maps)
    assert found.count == 2
    assert agreement(found.labels, marked) > 0.9
    assert found.sizes == sorted(found.sizes, reverse=True)
    assert sum(found.sizes) == n
    # one of the mean maps is hottest in the corner of the watermark, the other is not
    hottest = [np.unravel_index(mean.argmax(), mean.shape) for mean in found.means]
    assert sorted(min(place) > 44 for place in hottest) == [False, True]
    again = clusters_of(maps)
    np.testing.assert_array_equal(again.labels, found.labels)


def test_scale_and_order_do_not_matter() -> None:
    maps, _ = planted_maps(60, 0.5, 1)
    rng = np.random.default_rng(0)
    first = clusters_of(maps).labels
    scaled = clusters_of(maps * rng.uniform(1e-4, 1e4, (60, 1, 1))).labels
    np.testing.assert_array_equal(first, scaled)
    order = rng.permutation(60)
    assert agreement(first[order], clusters_of(maps[order]).labels) > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_without_groups_there_is_one(seed: int) -> None:
    maps, _ = planted_maps(80, 0.0, seed)
    found = clusters_of(maps)
    assert found.count == 1
    assert set(found.labels) == {0}


def test_maps_without_a_place_are_left_out() -> None:
    maps, marked = planted_maps(40, 0.5, 0)
    maps[3], maps[4, 0, 0] = 0, np.nan
    found = clusters_of(maps, pictures=np.arange(100, 140))
    assert list(np.flatnonzero(found.labels < 0)) == [3, 4]
    kept = found.labels >= 0
    assert agreement(found.labels[kept], marked[kept]) > 0.9
    assert sorted([*found.members(0), *found.members(1), 103, 104]) == list(range(100, 140))
    assert "2 left out" in repr(found)


def test_the_number_may_be_given() -> None:
    maps, _ = planted_maps(40, 0.5, 0)
    assert clusters_of(maps, clusters=3, seed=2**40).count == 3
    assert clusters_of(maps, clusters=1).count == 1


def test_same_maps_are_one_cluster() -> None:
    found = clusters_of(np.repeat(planted_maps(1, 0.0, 0)[0], 12, axis=0), clusters=1)
    assert found.sizes == [12]


@pytest.mark.parametrize(
    ("maps", "options"),
    [
        (np.ones((7, 4, 4)), {}),
        (np.zeros((20, 4, 4)), {}),
        (np.ones((20, 4)), {}),
        (np.ones((20, 4, 4)), {"clusters": 21}),
        (np.ones((20, 4, 4)), {"clusters": 0}),
        (np.ones((20, 4, 4)), {"neighbours": 0}),
        (np.ones((20, 4, 4)), {"clusters": "2"}),
        (np.ones((20, 4, 4)), {"pictures": [1, 2]}),
        (np.ones((20, 4, 4)), {"pictures": list("abcdefghijklmnopqrst")}),
        (np.ones((20, 4, 4)), {"seed": -1}),
        (np.full((20, 4, 4), "a"), {}),
        ([[[1]], [[1, 2]]], {}),
        (None, {}),
    ],
)
def test_what_does_not_fit_is_refused(maps: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        clusters_of(maps, **options)
