"""Relevance mass, rank accuracy and complexity against plain loops and numbers by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from interpretdl import evaluator as ev
from interpretdl.errors import InputError, InterpretWarning

RNG = np.random.default_rng(0)
X = np.zeros((4, 3, 9, 11), np.float32)
MASKS = np.zeros((4, 9, 11), bool)
MASKS[0, 2:5, 3:7] = True
MASKS[1, 0, 0] = True
MASKS[2, :, 5] = True
MASKS[3, 7:, 8:] = True
MASKS[3, 1, 1] = True


def near_by_loop(mask: Any, tolerance: float) -> Any:
    near = np.zeros_like(mask)
    for y, x in np.ndindex(*mask.shape):
        near[y, x] = any(
            math.hypot(y - v, x - u) <= tolerance for v, u in zip(*np.nonzero(mask), strict=True)
        )
    return near


def mass_by_loop(heat: Any, near: Any) -> float:
    inside = whole = 0.0
    for place in np.ndindex(*heat.shape):
        positive = max(0.0, float(heat[place]))
        whole += positive
        inside += positive if near[place] else 0.0
    return inside / whole


def rank_by_loop(heat: Any, near: Any, count: int) -> float:
    order = sorted(np.ndindex(*heat.shape), key=lambda place: -heat[place])
    return sum(bool(near[place]) for place in order[:count]) / count


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 2])
@pytest.mark.parametrize("signed", [True, False])
def test_against_loops(tolerance: float, signed: bool) -> None:
    values = RNG.normal(size=X.shape).astype(np.float32)
    heat = values.sum(axis=1) if signed else np.abs(values).sum(axis=1)
    mass, rank = (
        cls(tolerance=tolerance).measure(X, values, signed=signed, masks=MASKS)
        for cls in (ev.RelevanceMass, ev.RankAccuracy)
    )
    for i, mask in enumerate(MASKS):
        near = near_by_loop(mask, tolerance)
        assert mass.values[i] == pytest.approx(mass_by_loop(heat[i], near), rel=1e-5)
        assert rank.values[i] == pytest.approx(rank_by_loop(heat[i], near, int(mask.sum())))
        assert mass.parts["chance"][i] == rank.parts["chance"][i] == near.mean()
    assert mass.higher_is_better
    assert rank.higher_is_better


def test_by_hand() -> None:
    """Two pixels in the mask; half of the positive relevance on them, one of the two largest."""
    x, mask = np.zeros((1, 1, 2, 3), np.float32), np.array([[[1, 1, 0], [0, 0, 0]]])
    heat = np.array([[[3.0, 1, 2], [-9, 1.5, 0.5]]], np.float32)
    found = ev.RelevanceMass().measure(x, heat, signed=True, masks=mask)
    assert found.values == pytest.approx([4 / 8])
    assert found.parts["chance"] == pytest.approx([1 / 3])
    assert ev.RankAccuracy().measure(x, heat, signed=True, masks=mask).values.tolist() == [0.5]
    # without a sign the -9 is the most relevant, and lies outside
    found = ev.RelevanceMass().measure(x, heat, signed=False, masks=mask)
    assert found.values == pytest.approx([4 / 17])
    found = ev.RankAccuracy().measure(x, heat, signed=False, masks=mask)
    assert found.values.tolist() == [0.5]


def test_perfect_and_opposite_maps() -> None:
    right, wrong = MASKS.astype(np.float32), (~MASKS).astype(np.float32)
    for cls in (ev.RelevanceMass, ev.RankAccuracy):
        for tolerance in (0, 2):
            judge = cls(tolerance=tolerance)
            found = judge.measure(X, right, signed=True, masks=MASKS)
            assert found.values.tolist() == [1, 1, 1, 1]
        assert ev.RelevanceMass().measure(X, wrong, signed=True, masks=MASKS).values.max() == 0


def test_equal_values_count_by_the_mean_over_all_orders() -> None:
    """Of 3 pixels wanted one is above the rest; 2 of the 3 equal ones are chosen."""
    x, mask = np.zeros((1, 1, 2, 3), np.float32), np.array([[[1, 1, 0], [1, 0, 0]]]) > 0
    heat = np.array([[[1.0, 0, 1], [5, 1, -2]]], np.float32)
    equal = [(0, 0), (0, 2), (1, 1)]
    hits = [1 + sum(mask[0][p] for p in pair) for pair in itertools.combinations(equal, 2)]
    found = ev.RankAccuracy().measure(x, heat, signed=True, masks=mask)
    assert found.values == pytest.approx([np.mean(hits) / 3])


def test_chance_is_what_random_maps_have() -> None:
    heat = RNG.random((400, 9, 11)).astype(np.float32)
    masks = np.broadcast_to(MASKS[0], heat.shape)
    x = np.zeros((400, 1, 9, 11), np.float32)
    for cls in (ev.RelevanceMass, ev.RankAccuracy):
        found = cls(tolerance=1).measure(x, heat, signed=False, masks=masks)
        error = found.values.std() / 20
        assert abs(found.mean - found.parts["chance"][0]) < 4 * error


def test_flags() -> None:
    masks = MASKS.copy()
    masks[0], masks[1] = False, True
    heat = np.ones((4, 9, 11), np.float32) + RNG.random((4, 9, 11)).astype(np.float32)
    heat[2] *= -1
    for cls in (ev.RelevanceMass, ev.RankAccuracy):
        found = cls().measure(X, heat, signed=True, masks=masks)
        assert list(found.flags) == [0, 1]
        assert "object" in found.flags[0]
        assert found.values[2] == 0  # negative everywhere
        assert np.isnan(found.parts["chance"]).tolist() == [True, True, False, False]
    heat[3] = 0
    assert "zero" in ev.RelevanceMass().measure(X, heat, signed=True, masks=masks).flags[3]
    all_near = ev.RelevanceMass(tolerance=20).measure(X, heat, signed=True, masks=MASKS)
    assert len(all_near.flags) == 4
    # a constant map has a mass, and no order
    same = np.ones((4, 9, 11), np.float32)
    found = ev.RelevanceMass().measure(X, same, signed=True, masks=MASKS)
    assert found.values == pytest.approx(found.parts["chance"])
    assert len(ev.RankAccuracy().measure(X, same, signed=True, masks=MASKS).flags) == 4


@pytest.mark.parametrize("tolerance", [-1, float("inf"), float("nan")])
def test_tolerances_that_do_not_fit(tolerance: float) -> None:
    with pytest.raises(InputError, match="tolerance"):
        ev.RelevanceMass(tolerance=tolerance)
    with pytest.raises(InputError, match="tolerance"):
        ev.PointGame(tolerance=tolerance)


# -- complexity ------------------------------------------------------------------------------------


def test_complexity_by_hand_and_against_a_loop() -> None:
    heat = np.zeros((3, 9, 11), np.float32)
    heat[0] = -2  # all equal: ln n
    heat[1, 3, 4] = 7  # one has it all: 0
    heat[2, 0, :3] = 1, 2, -1  # 1/4, 1/2, 1/4: 1.5 bits
    found = ev.Complexity().measure(X[:3], heat, signed=True)
    assert found.values == pytest.approx([math.log(99), 0, 1.5 * math.log(2)], abs=1e-12)
    assert not found.higher_is_better
    values = RNG.normal(size=X.shape).astype(np.float32)
    found = ev.Complexity().measure(X, values, signed=True)
    for i, one in enumerate(values.sum(axis=1, dtype=np.float64)):
        whole, entropy = sum(abs(v) for v in one.ravel()), 0.0
        for value in one.ravel():
            entropy -= abs(value) / whole * math.log(abs(value) / whole)
        assert found.values[i] == pytest.approx(entropy, rel=1e-6)
    # a scale does not matter
    again = ev.Complexity().measure(X, -1e-3 * values, signed=True)
    assert again.values == pytest.approx(found.values, rel=1e-6)


def test_complexity_where_channels_cancel_out() -> None:
    values = np.ones((1, 2, 3, 3), np.float32) * np.array([1, -1], np.float32)[:, None, None]
    found = ev.Complexity().measure(np.zeros((1, 2, 3, 3), np.float32), values, signed=True)
    assert found.flags == {0: "the channels cancel out"}
    with pytest.warns(InterpretWarning, match="signed="):
        ev.Complexity().measure(np.zeros((1, 2, 3, 3), np.float32), values)
