"""PartitionSHAP against the mean over the orders that its tree allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import interpretdl as it
from interpretdl.interpreter.partition_shap import Part, owen_values, whole_of

Array = NDArray[Any]


class Scores:
    """What the estimator needs of a game, for any function of subsets."""

    def __init__(self, v: Callable[[Array], Array], regions: Array) -> None:
        self.v, self.regions, self.evaluations = v, regions, 2
        self.players = int(regions.max()) + 1
        ends = np.array([[False], [True]]) & np.ones(self.players, bool)
        self.nothing, self.whole = v(ends).tolist()

    def __call__(self, z: Array) -> Array:
        self.evaluations += len(z)
        return self.v(z)


def smooth(regions: Array, seed: int = 0) -> Scores:
    rng = np.random.default_rng(seed)
    w, u = rng.normal(size=(int(regions.max()) + 1, 16)), rng.normal(size=16)
    return Scores(lambda z: np.tanh(z @ w * 0.5) @ u, regions)


def cells(rows: int, columns: int) -> Array:
    """Cells of 2 × 3 pixels."""
    return np.arange(rows * columns).reshape(rows, columns).repeat(2, axis=0).repeat(3, axis=1)


def orders(part: Part) -> Iterator[list[int]]:
    """Orders in which the regions of each part stay together."""
    if len(part.members) == 1:
        yield part.members.tolist()
        return
    first, second = part.halves
    for one in orders(first):
        for other in orders(second):
            yield one + other
            yield other + one


def by_definition(game: Scores, tree: Part) -> Array:
    total, n = np.zeros(game.players), 0
    for n, order in enumerate(orders(tree), 1):  # noqa: B007  # used after the loop
        z = np.zeros((game.players + 1, game.players), bool)
        for step, j in enumerate(order):
            z[step + 1 :, j] = True
        total[order] += np.diff(game.v(z))
    assert n == 2 ** (game.players - 1)
    return total / n


def parts_of(part: Part) -> Iterator[Part]:
    """All parts of a tree."""
    yield part
    if len(part.members) > 1:
        for half in part.halves:
            yield from parts_of(half)


# -- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("regions", "picture"),
    [(np.arange(m), False) for m in (2, 3, 5, 8, 9)]
    + [(cells(2, 2), True), (cells(2, 4), True), (cells(3, 3), True)],
)
def test_the_whole_tree_is_the_mean_over_its_orders(regions: Array, picture: bool) -> None:
    game = smooth(regions)
    tree = whole_of(game, picture)  # type: ignore[arg-type]  # all that it needs is there
    found = owen_values(game, tree, 10_000)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.values, by_definition(game, tree), rtol=0, atol=1e-13)
    np.testing.assert_array_equal(found.maps["part_size"], 1)
    assert found.standard_error is None


def test_two_regions_get_their_shapley_values() -> None:
    game = smooth(np.arange(2))
    found = owen_values(game, Part(np.arange(2)), 4)
    one, other = game.v(np.array([[True, False], [False, True]]))
    half = (one - game.nothing + game.whole - other) / 2
    np.testing.assert_allclose(found.values, [half, game.whole - game.nothing - half], atol=1e-14)


@pytest.mark.parametrize("players", [2, 4, 8, 16, 32])
def test_a_balanced_tree_takes_two_thirds_of_the_square(players: int) -> None:
    game = smooth(np.arange(players))
    owen_values(game, Part(np.arange(players)), 10_000)
    assert game.evaluations == 2 * (players**2 - 1) // 3 + 2


@pytest.mark.parametrize("budget", [4, 5, 6, 7, 20, 33, 100, 499])
def test_the_sum_and_the_budget_are_kept(budget: int) -> None:
    game = smooth(cells(4, 8), seed=1)
    found = owen_values(game, whole_of(game, True), budget)
    assert abs(found.values.sum() - (game.whole - game.nothing)) < 1e-12
    assert budget - 2 < game.evaluations <= budget
    assert 1 < found.maps["part_size"].max() <= 16


def test_what_is_left_is_spread_evenly() -> None:
    parts = np.random.default_rng(3).normal(size=32)
    game = Scores(lambda z: z @ parts, cells(4, 8))
    tree = whole_of(game, True)
    found = owen_values(game, tree, 4)
    for half in tree.halves:
        np.testing.assert_allclose(found.values[half.members], parts[half.members].mean())
    np.testing.assert_array_equal(found.maps["part_size"], 16)
    # Then the half with the larger gain is cut, in both of its contexts.
    large = max(tree.halves, key=lambda half: abs(parts[half.members].sum()))
    finer = owen_values(game, tree, 8).maps["part_size"]
    np.testing.assert_array_equal(finer, np.where(np.isin(np.arange(32), large.members), 8, 16))
    full = owen_values(game, tree, 10_000)
    np.testing.assert_allclose(full.values, parts, atol=1e-12)


def one_by_one(game: Scores, tree: Part, cuts: int) -> Array:
    """The largest gain is cut first, with a list, one at a time; of equal ones the oldest."""
    values, left = np.zeros(game.players), [(tree, np.zeros(game.players, bool), 1.0)]

    def gain(part: Part, context: Array, weight: float) -> float:
        without, both = context.copy(), context.copy()
        both[part.members] = True
        nothing, all_of_it = game.v(np.array([without, both]))
        return float(weight * (all_of_it - nothing))

    for _ in range(cuts):
        large = [n for n, each in enumerate(left) if len(each[0].members) > 1]
        part, context, weight = left.pop(max(large, key=lambda n: abs(gain(*left[n]))))
        first, second = part.halves
        for one, other in ((first, second), (second, first)):
            beside = context.copy()
            beside[other.members] = True
            left += [(one, context, weight / 2), (one, beside, weight / 2)]
    for part, context, weight in left:
        values[part.members] += gain(part, context, weight) / len(part.members)
    return values


@pytest.mark.parametrize("cuts", [1, 2, 5, 9, 20])
def test_the_largest_gains_are_cut_first(cuts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interpretdl.interpreter.partition_shap._AT_ONCE", 1)
    game = smooth(cells(4, 4), seed=2)
    tree = whole_of(game, True)
    found = owen_values(game, tree, 2 + 2 * cuts)
    np.testing.assert_allclose(found.values, one_by_one(game, tree, cuts), atol=1e-13)


def test_rounding_does_not_decide_between_equal_gains() -> None:
    """All regions are alike, so that every order of cutting would do."""
    rng = np.random.default_rng(5)

    def v(z: Array) -> Array:
        return np.asarray(10 + np.sqrt(z.sum(axis=1)) + rng.normal(scale=1e-6, size=len(z)))

    runs = []
    for _ in range(3):
        game = Scores(v, cells(4, 4))
        asked: list[bytes] = []
        ask = game.v
        game.v = lambda z, ask=ask, asked=asked: (asked.append(z.tobytes()), ask(z))[1]
        owen_values(game, whole_of(game, True), 60)
        runs.append(asked)
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_scores_that_say_nothing(value: float) -> None:
    game = Scores(lambda z: np.full(len(z), value), cells(4, 4))
    found = owen_values(game, whole_of(game, True), 40)
    np.testing.assert_array_equal(found.values, value)


# -- trees ---------------------------------------------------------------------------------------


def test_a_picture_is_cut_across_its_longer_side() -> None:
    game = smooth(cells(4, 8))  # 8 × 24 pixels
    top, bottom = whole_of(game, True).halves
    grid = np.arange(32).reshape(4, 8)
    assert sorted(top.members) == sorted(grid[:, :4].ravel())
    assert sorted(bottom.members) == sorted(grid[:, 4:].ravel())
    for part in top.halves:  # 8 × 12
        assert sorted(part.members) in (
            sorted(grid[:, :2].ravel()),
            sorted(grid[:, 2:4].ravel()),
        )


@pytest.mark.parametrize("side", [3, 5, 7])
def test_rows_and_columns_of_a_grid_stay_whole(side: int) -> None:
    regions = it.perturbation.regions_of(np.zeros((1, 3, 61, 64)), side, it.IMAGENET)[0]
    tree = whole_of(smooth(regions), True)
    for part in parts_of(tree):
        rows, columns = np.unique(part.members // side), np.unique(part.members % side)
        assert len(part.members) == len(rows) * len(columns)
        assert np.ptp(rows) == len(rows) - 1
        assert np.ptp(columns) == len(columns) - 1


def test_any_regions_are_halved() -> None:
    """A Voronoi diagram: the number of regions is halved, and every region is a leaf."""
    rng = np.random.default_rng(0)
    points, pixels = rng.uniform(0, 40, (37, 2)), np.indices((40, 40)).reshape(2, -1).T
    nearest = np.linalg.norm(pixels[:, None] - points, axis=2).argmin(axis=1)
    regions = np.unique(nearest, return_inverse=True)[1].reshape(40, 40)
    tree = whole_of(smooth(regions), True)
    parts = list(parts_of(tree))
    singles = [int(part.members[0]) for part in parts if len(part.members) == 1]
    assert sorted(singles) == list(range(regions.max() + 1))
    for part in parts:
        if len(part.members) > 1:
            first, second = part.halves
            assert abs(len(first.members) - len(second.members)) <= 1
            assert part.centres is not None
            axis = int(np.ptp(part.centres, axis=0).argmax())
            assert first.centres is not None
            assert second.centres is not None
            assert first.centres[:, axis].max() <= second.centres[:, axis].min()


def test_regions_with_one_centre_are_cut_nevertheless() -> None:
    y, x = np.indices((9, 9)) - 4
    rings = np.maximum(abs(y), abs(x))
    game = smooth(rings)
    tree = whole_of(game, True)
    assert len(list(parts_of(tree))) == 9
    found = owen_values(game, tree, 1000)
    np.testing.assert_allclose(found.values, by_definition(game, tree), atol=1e-13)


# -- on models -----------------------------------------------------------------------------------


def test_tables() -> None:
    weights = np.array([1.0, -2, 0.5, 3, 1])
    subject = it.Subject.from_function(lambda x: x @ weights + x[:, 0] * x[:, 1])
    x = np.random.default_rng(7).normal(size=(3, 5)).astype(np.float32)
    found = it.PartitionSHAPInterpreter(subject).explain(x, fill=0.0)
    expected = x * weights
    expected[:, :2] += x[:, :1] * x[:, 1:2] / 2  # the two are neighbours, and share their product
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    assert (found.diagnostics["efficiency_error"] < 1e-6).all()
    np.testing.assert_array_equal(found.diagnostics["part_size"], 1)


def test_pictures_have_256_cells_unless_others_are_given(toy: Any) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    found = it.PartitionSHAPInterpreter(toy()).explain(x, label=1, evaluations=120)
    facts = found.diagnostics
    assert facts["regions"].max() == 255
    assert facts["evaluations"].tolist() == [120, 120]
    assert (facts["efficiency_error"] < 1e-7).all()
    assert facts["part_size"].shape == found.values.shape
    assert facts["part_size"].max() > 1
    alone = it.PartitionSHAPInterpreter(toy(), batch_size=3).explain(x[1:], 1, evaluations=120)
    np.testing.assert_allclose(alone.values[0], found.values[1], atol=1e-6)
    few = it.PartitionSHAPInterpreter(toy()).explain(x, label=1, regions="grid", evaluations=8)
    assert few.diagnostics["regions"].max() == 48


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"evaluations": 0}, "evaluations must be"),
        ({"evaluations": 3}, "at least 4"),
        ({"evaluations": 20.5}, "evaluations must be"),
        ({"regions": "none"}, "regions must be"),
        ({"fill": np.zeros(7)}, "does not broadcast"),
    ],
)
def test_options_that_do_not_fit(options: Any, says: str, toy: Any) -> None:
    x = np.zeros((1, 3, 32, 32), np.float32)
    with pytest.raises(it.InputError, match=says):
        it.PartitionSHAPInterpreter(toy()).explain(x, **options)
