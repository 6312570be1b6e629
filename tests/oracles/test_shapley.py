"""Kernel SHAP and Shapley sampling against values by the definition."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import interpretdl as it
from interpretdl.interpreter.kernel_shap import _regression, _whole_sizes, kernel_shap
from interpretdl.interpreter.shapley_sampling import shapley_sampling

Array = NDArray[Any]
ESTIMATORS: list[Any] = [kernel_shap, shapley_sampling]
METHODS: list[Any] = [it.KernelSHAPInterpreter, it.ShapleySamplingInterpreter]


class Scores:
    """What an estimator needs of a game, for any function of subsets."""

    def __init__(self, players: int, v: Callable[[Array], Array]) -> None:
        self.players, self.v, self.evaluations = players, v, 2
        self.nothing, self.whole = v(np.array([[False], [True]]) & np.ones(players, bool)).tolist()
        self.asked: list[Array] = []

    def __call__(self, z: Array) -> Array:
        assert z.dtype == bool
        assert z.shape[1] == self.players
        self.evaluations += len(z)
        self.asked.extend(z)
        return self.v(z)


def subsets(players: int) -> Array:
    return (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(bool)


def exact(game: Scores) -> Array:
    """φ_j = Σ_S |S|! (M − |S| − 1)! / M! · (v(S ∪ j) − v(S)), over all S without j."""
    m, f = game.players, math.factorial
    z = subsets(m)
    scores, sizes = game.v(z), z.sum(axis=1)
    values = []
    for j in range(m):
        without = np.flatnonzero(~z[:, j])
        share = np.array([f(k) * f(m - k - 1) / f(m) for k in range(m)])[sizes[without]]
        values.append(share @ (scores[without + 2**j] - scores[without]))
    return np.array(values)


def smooth(players: int, drawn: int = 0) -> Scores:
    """A small network with a product in it, after so many other random numbers."""
    rng = np.random.default_rng(0)
    rng.normal(size=drawn)
    w, u = rng.normal(size=(players, 16)), rng.normal(size=16)

    def v(z: Array) -> Array:
        product = z[:, 0] * z[:, 1] * (1 - z[:, 2 % players].astype(float))
        return np.asarray(1 / (1 + np.exp(-(np.tanh(z @ w * 0.5) @ u + 0.7 * product))))

    return Scores(players, v)


def table(game: Scores) -> Scores:
    """The same game with all scores known, which is quick."""
    scores, powers = game.v(subsets(game.players)), 2 ** np.arange(game.players)
    return Scores(game.players, lambda z: scores[z @ powers])


def sum_error(estimate: Any, game: Scores) -> float:
    """The error of the sum."""
    return abs(float(estimate.values.sum()) - (game.whole - game.nothing))


# -- exact ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("players", range(2, 11))
def test_all_subsets_give_exact_values(players: int, estimator: Any) -> None:
    game = smooth(players)
    found = estimator(game, 2**players + 5, np.random.default_rng(0))
    np.testing.assert_allclose(found.values, exact(game), rtol=0, atol=1e-12)
    assert not found.standard_error.any()
    assert game.evaluations == 2**players
    assert len({z.tobytes() for z in game.asked}) == 2**players - 2


@pytest.mark.parametrize("players", [4, 7])
def test_the_definition_is_the_mean_over_all_orders(players: int) -> None:
    game = smooth(players)
    total = np.zeros(players)
    for order in itertools.permutations(range(players)):
        z = np.zeros((players + 1, players), bool)
        for step, j in enumerate(order):
            z[step + 1 :, j] = True
        total[list(order)] += np.diff(game.v(z))
    np.testing.assert_allclose(exact(game), total / math.factorial(players), atol=1e-13)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_additive_scores_are_recovered_from_few_evaluations(estimator: Any) -> None:
    parts = np.random.default_rng(1).normal(size=30)
    game = Scores(30, lambda z: 2 + z @ parts)
    found = estimator(game, 120, np.random.default_rng(0))
    np.testing.assert_allclose(found.values, parts, atol=1e-11)
    assert found.standard_error.max() < 1e-11


# -- sampling ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("estimator", "most"), [(kernel_shap, 0.12), (shapley_sampling, 0.15)])
def test_the_error_at_1024_evaluations(estimator: Any, most: float) -> None:
    """Independent draws have .19 on this game, and orders without their reverse .18."""
    game = table(smooth(16, drawn=320))
    true = exact(game)
    runs = [estimator(game, 1024, np.random.default_rng(seed)).values for seed in range(40)]
    errors = np.linalg.norm(np.array(runs) - true, axis=1) / np.linalg.norm(true)
    assert np.sqrt(np.mean(errors**2)) <= most


@pytest.mark.parametrize("evaluations", [64, 100, 255, 300, 1000, 1023, 4000])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_sum_and_the_budget_are_kept(evaluations: int, estimator: Any) -> None:
    for players in (12, 16):
        game = smooth(players)
        found = estimator(game, evaluations, np.random.default_rng(3))
        assert sum_error(found, game) < 1e-12
        unit = 2 if estimator is kernel_shap else 2 * (players - 1)
        assert evaluations - unit < game.evaluations <= evaluations


def test_subsets_come_with_their_complements() -> None:
    game = smooth(16)
    kernel_shap(game, 400, np.random.default_rng(0))
    z = np.array(game.asked)
    np.testing.assert_array_equal(z[: len(z) // 2], ~z[len(z) // 2 :])
    assert {row.tobytes() for row in np.eye(16, dtype=bool)} <= {row.tobytes() for row in z}


@pytest.mark.parametrize(("players", "pairs"), [(9, 254), (12, 500), (16, 511), (49, 2047)])
def test_sizes_run_whole_take_a_third_of_what_is_left_or_their_share(
    players: int, pairs: int
) -> None:
    sizes, left = _whole_sizes(players, pairs), pairs
    every = math.comb(players, players // 2) // (2 if players % 2 == 0 else 1)
    counts = [*(math.comb(players, k) for k in range(1, (players + 1) // 2)), every]
    kinds = [2 if 2 * k != players else 1 for k in range(1, players // 2 + 1)]
    for k, (count, kind) in enumerate(zip(counts, kinds, strict=False), 1):
        share = kind / sum(kinds[k - 1 :])
        assert (k in sizes) == (count <= left * max(1 / 3, share))
        if k not in sizes:
            break
        left -= count


def test_the_jackknife_leaves_out_one_pair_after_the_other() -> None:
    rng = np.random.default_rng(2)
    players, whole, n = 7, 7, 20
    z = np.concatenate([np.eye(players, dtype=bool), rng.random((n, players)) < 0.5])
    halves, weights = rng.normal(size=whole + n), rng.uniform(1, 2, size=whole + n)
    values, error = _regression(z, halves, weights, whole, 1.5)
    without = [
        _regression(np.delete(z, i, 0), np.delete(halves, i), np.delete(weights, i), whole, 1.5)[0]
        for i in range(whole, whole + n)
    ]
    away = np.array(without) - np.mean(without, axis=0)
    np.testing.assert_allclose(error, np.sqrt((n - 1) / n * (away**2).sum(axis=0)), rtol=1e-9)
    assert abs(values.sum() - 1.5) < 1e-12


def test_the_regression_meets_its_condition() -> None:
    """At the solution the residuals are orthogonal to every change that keeps the sum."""
    rng = np.random.default_rng(4)
    z, halves, weights = rng.random((30, 6)) < 0.5, rng.normal(size=30), rng.uniform(1, 2, size=30)
    values, _ = _regression(z, halves, weights, 30, 0.7)
    forces = (weights * (halves - (z - 0.5) @ values)) @ (z - 0.5)
    np.testing.assert_allclose(forces, forces.mean(), atol=1e-12)


def test_orders_are_followed_forwards_and_backwards() -> None:
    game, players, pairs = smooth(12), 12, 5
    found = shapley_sampling(game, 2 + pairs * 2 * 11, np.random.default_rng(5))
    gains = np.zeros((pairs, players))
    for i, order in enumerate(np.random.default_rng(5).random((pairs, players)).argsort(axis=1)):
        for way in (order, order[::-1]):
            z = np.zeros((players + 1, players), bool)
            for step, j in enumerate(way):
                z[step + 1 :, j] = True
            gain = np.diff(game.v(z))
            assert abs(gain.sum() - (game.whole - game.nothing)) < 1e-12
            gains[i, way] += gain / 2
    np.testing.assert_allclose(found.values, gains.mean(axis=0), atol=1e-14)
    expected = gains.std(axis=0, ddof=1) / np.sqrt(pairs)
    np.testing.assert_allclose(found.standard_error, expected, atol=1e-14)
    assert game.evaluations == 2 + pairs * 2 * 11


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_intervals_cover_the_exact_values(estimator: Any) -> None:
    game = table(smooth(12))
    true = exact(game)
    covered = []
    for seed in range(200):
        found = estimator(game, 1024, np.random.default_rng(seed))
        covered.append(np.abs(found.values - true) <= 1.96 * found.standard_error)
    assert 0.92 <= np.mean(covered) <= 0.98


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_draws_depend_on_the_seed_and_not_on_rounds(estimator: Any) -> None:
    game = smooth(14)
    one = estimator(game, 1500, np.random.default_rng(1))
    in_rounds = estimator(game, 1500, np.random.default_rng(1), 0.0)
    other = estimator(game, 1500, np.random.default_rng(2))
    np.testing.assert_allclose(in_rounds.values, one.values, rtol=1e-12)
    np.testing.assert_allclose(in_rounds.standard_error, one.standard_error, rtol=1e-12)
    assert abs(other.values - one.values).max() > 1e-4


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_tolerance_stops_early(estimator: Any) -> None:
    game = smooth(14)
    found = estimator(game, 8000, np.random.default_rng(0), 0.1)
    assert game.evaluations <= 4096
    assert found.standard_error.max() <= 0.1 * abs(found.values).max()
    assert sum_error(found, game) < 1e-12


# -- on models -----------------------------------------------------------------------------------


def rows(n: int, columns: int) -> Array:
    return np.random.default_rng(7).normal(size=(n, columns)).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
def test_tables(method: Any) -> None:
    weights = np.array([[1.0, -2], [0, 3], [2, 1], [-1, 0.5]])
    subject = it.Subject.from_function(lambda x: x @ weights, output_kind="logits")
    x, mean = rows(3, 4), np.array([0.5, 0, -1, 2], np.float32)
    found = method(subject).explain(x, label=1, fill=mean)
    np.testing.assert_allclose(found.values, (x - mean) * weights[:, 1], atol=1e-5)
    assert found.diagnostics["evaluations"].tolist() == [16] * 3
    assert (found.diagnostics["efficiency_error"] < 1e-6).all()
    assert not found.diagnostics["standard_error"].any()
    groups = np.array([0, 0, 1, 1])
    pairs = method(subject).explain(x, label=1, fill=0.0, regions=groups)
    sums = (x * weights[:, 1]).reshape(3, 2, 2).sum(axis=2)
    np.testing.assert_allclose(pairs.values, sums[:, groups], atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_pictures(method: Any, toy: Any) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    found = method(toy()).explain(x, label=[1, 2], regions=4, evaluations=200, seed=3)
    facts = found.diagnostics
    assert found.values.shape == facts["standard_error"].shape == (2, 1, 16, 16)
    assert (facts["evaluations"] > 150).all()
    assert (facts["evaluations"] <= 200).all()
    assert (facts["efficiency_error"] < 1e-7).all()
    assert "converged" not in facts
    for i in range(2):
        assert len(np.unique(found.values[i])) == 16
    again = method(toy()).explain(
        x[[1, 1]], label=[1, 2], regions=4, evaluations=200, seed=3
    )  # another neighbour
    np.testing.assert_array_equal(again.values[1], found.values[1])


@pytest.mark.parametrize("method", METHODS)
def test_what_a_tolerance_does(method: Any) -> None:
    weights = np.random.default_rng(1).normal(size=(14, 8))
    subject = it.Subject.from_function(lambda x: np.tanh(x @ weights).sum(axis=1))
    x = rows(2, 14)
    with pytest.warns(it.InterpretWarning, match="above the tolerance"):
        found = method(subject).explain(x, fill=0.0, evaluations=300, tolerance=1e-3)
    assert not found.diagnostics["converged"].any()
    loose = method(subject).explain(x, fill=0.0, evaluations=8000, tolerance=0.2)
    assert loose.diagnostics["converged"].all()
    assert (loose.diagnostics["evaluations"] < 5000).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"evaluations": 0}, "evaluations must be"),
        ({"evaluations": True}, "evaluations must be"),
        ({"evaluations": 10.5}, "evaluations must be"),
        ({"evaluations": 35}, "at least 36"),
        ({"tolerance": -0.1}, "tolerance must be"),
        ({"regions": 1}, "regions"),
        ({"fill": "nothing"}, "fill must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_options_that_do_not_fit(method: Any, options: Any, says: str, toy: Any) -> None:
    x = np.zeros((1, 3, 12, 12), np.float32)
    with pytest.raises(it.InputError, match=says):
        method(toy()).explain(x, **{"regions": 3, **options})
