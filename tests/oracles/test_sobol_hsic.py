"""HSIC against its double loop, Sobol indices against those of functions where they are known."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import interpretdl as it
from interpretdl.interpreter.hsic import balanced_columns, hsic, orthogonal_columns
from interpretdl.interpreter.sobol import jansen, latin_hypercube, total_indices

Array = Any


class FunctionGame:
    """Scores of subsets by a function of z, which remembers the subsets."""

    def __init__(self, function: Any, players: int) -> None:
        self.function, self.players = function, players
        self.z: list[Array] = []

    def __call__(self, z: Array) -> Array:
        self.z.append(z)
        return np.asarray(self.function(z.astype(np.float64)), np.float64)


def rng(seed: int = 0) -> Any:
    return np.random.default_rng(seed)


def planted(z: Array) -> Array:
    """Depends on the first, the second and the third, the third by its product with the first."""
    return 2 * z[:, 0] - z[:, 1] + 1.5 * z[:, 0] * z[:, 2]


# -- HSIC ------------------------------------------------------------------------------------------


def by_double_loops(z: Array, y: Array) -> tuple[Array, Array]:
    """The criterion of one column from its definition, and the part of each row."""
    n = len(y)
    apart = [abs(a - b) for a, b in itertools.combinations(y, 2)]
    sigma = np.median(apart)
    k, like = np.empty((n, n)), np.empty((n, n))
    for a, b in itertools.product(range(n), repeat=2):
        k[a, b] = 0.5 - (float(z[a]) - float(z[b])) ** 2
        like[a, b] = np.exp(-((y[a] - y[b]) ** 2) / (2 * sigma**2))
    h = np.eye(n) - np.ones((n, n)) / n
    rows = ((h @ k @ h) * (h @ like @ h)).sum(axis=1) / n
    return np.trace(k @ h @ like @ h) / n**2, rows


@pytest.mark.parametrize(("n", "players"), [(32, 5), (45, 5), (20, 30)])
def test_one_product_is_the_double_loop(n: int, players: int) -> None:
    game = FunctionGame(lambda z: planted(z) + 0.1 * z[:, 3:].sum(axis=1), players)
    found = hsic(game, n, rng())
    z = np.concatenate(game.z)
    assert z.shape == (n, players)
    for j in range(players):
        value, rows = by_double_loops(z[:, j], game.function(z.astype(float)))
        assert abs(found.values[j] - value) < 1e-12
        assert abs(rows.mean() - value) < 1e-12
        error = 2 * rows.std(ddof=1) / np.sqrt(n)
        assert abs(found.standard_error[j] - error) < 1e-12


def test_a_planted_dependence_is_found_and_others_are_not() -> None:
    p = np.stack([hsic(FunctionGame(planted, 16), 200, rng(s)).maps["p_value"] for s in range(30)])
    assert p[:, :3].max() < 0.01
    # Unused regions: below .05 in at most .05 of the cases, and four standard deviations.
    assert np.mean(p[:, 3:] <= 0.05) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / p[:, 3:].size)
    values = hsic(FunctionGame(planted, 16), 256, rng()).values
    assert (values >= 0).all()
    assert values[3:].max() < values[:3].min() / 10


def test_p_values_of_independent_columns_are_uniform() -> None:
    """With a score that is noise, and more regions than a digital net has columns."""
    p = []
    for seed in range(40):
        noise = rng([seed, 1])
        game = FunctionGame(lambda z, noise=noise: noise.normal(size=len(z)), 40)
        p.append(hsic(game, 40, rng(seed), n_permutations=199).maps["p_value"])
    flat = np.sort(np.ravel(p))
    # Kolmogorov's distance; regions of one game share the score, so the bound is that of 40 games.
    assert np.abs(flat - (np.arange(flat.size) + 0.5) / flat.size).max() < 1.95 / np.sqrt(40)
    assert abs(np.mean(flat <= 0.05) - 0.05) < 0.03


def test_a_dependence_that_leaves_the_mean_is_found() -> None:
    """The first region turns on what another does, the score's mean stays."""
    found = hsic(FunctionGame(lambda z: z[:, 0] * (2 * z[:, 1] - 1), 8), 256, rng())
    assert found.maps["p_value"][0] < 0.01
    assert found.values[0] > 10 * found.values[2:].max()


def test_intervals_of_hsic_cover_the_value_over_all_subsets() -> None:
    every = np.array(list(itertools.product((0, 1), repeat=4)), float)

    def score(z: Array) -> Array:
        return planted(z) + 0.3 * z[:, 3]

    # The median over independent subsets, those that are alike among them.
    apart = np.abs(score(every)[:, None] - score(every))
    like = np.exp(-0.5 * (apart / np.median(apart)) ** 2)
    like = like - like.mean(axis=0) - like.mean(axis=1)[:, None] + like.mean()
    signs = 2 * every - 1
    truth = (signs * (like @ signs)).sum(axis=0) / (2 * len(every) ** 2)
    covered, values = [], []
    for seed in range(100):
        found = hsic(FunctionGame(score, 4), 256, rng(seed), n_permutations=0)
        covered.append(np.abs(found.values[:3] - truth[:3]) < 2 * found.standard_error[:3])
        values.append(found.values)
    assert np.mean(covered) > 0.95  # masks of a digital net are better than independent ones
    np.testing.assert_allclose(np.mean(values, axis=0)[:3], truth[:3], rtol=0.05)


@pytest.mark.parametrize("score", [lambda z: np.full(len(z), 0.1), lambda z: (z[:, 0] > 2) * 1.0])
def test_a_constant_score_depends_on_nothing(score: Any) -> None:
    found = hsic(FunctionGame(score, 6), 30, rng())
    assert np.abs(found.values).max() < 1e-30
    assert found.maps["p_value"].min() > 0.9


def test_scores_of_which_most_are_the_same() -> None:
    found = hsic(FunctionGame(lambda z: z[:, 0] * z[:, 1] * z[:, 2], 6), 128, rng())
    assert np.isfinite(found.values).all()
    assert found.values[:3].min() > 5 * found.values[3:].max()


def test_three_columns_have_all_combinations_equally_often() -> None:
    for n, columns in ((16, 8), (64, 32), (512, 64)):
        z = orthogonal_columns(n, columns, rng(n)).astype(int)
        triples = list(itertools.combinations(range(columns), 3))
        for triple in (triples[k] for k in rng().choice(len(triples), 50)):
            counts = np.bincount(z[:, triple] @ [1, 2, 4], minlength=8)
            assert (counts == n // 8).all()
    # The first rows of the next power of two, in random order.
    z = 2.0 * orthogonal_columns(500, 64, rng()) - 1
    assert np.abs(z.T @ z / 500 - np.eye(64)).max() <= 12 / 500 + 1e-12


def test_more_columns_than_a_net_has_are_balanced_and_independent() -> None:
    z = orthogonal_columns(64, 400, rng())
    assert (z.sum(axis=0) == 32).all()
    assert len(np.unique(z.T, axis=0)) == 400
    assert balanced_columns(5, 3, rng()).shape == (5, 3)
    assert balanced_columns(64, 0, rng()).shape == (64, 0)


# -- Sobol indices ---------------------------------------------------------------------------------


def g_function(a: Array) -> tuple[Any, Array]:
    """Sobol's g-function of x in [0, 1], and its total indices."""
    each = 1 / (3 * (1 + a) ** 2)
    whole = np.prod(1 + each)
    totals = each * whole / (1 + each) / (whole - 1)
    return lambda x: np.prod((np.abs(4 * x - 2) + a) / (1 + a), axis=1), totals


def ishigami(x: Array) -> Array:
    t = np.pi * (2 * x - 1)
    return np.sin(t[:, 0]) + 7 * np.sin(t[:, 1]) ** 2 + 0.1 * t[:, 2] ** 4 * np.sin(t[:, 0])


def ishigami_totals() -> Array:
    a, b, pi = 7.0, 0.1, np.pi
    first = 0.5 * (1 + b * pi**4 / 5) ** 2
    second, both = a**2 / 8, b**2 * pi**8 * (1 / 18 - 1 / 50)
    return np.array([first + both, second, both]) / (first + second + both)


def test_jansens_estimator_is_the_formula() -> None:
    game = FunctionGame(g_function(np.arange(4.0))[0], 4)
    found = total_indices(game, 6 * 40 + 5, rng())
    z = np.concatenate(game.z).reshape(40, 6, 4)
    f = game.function
    for i, j in itertools.product(range(40), range(4)):
        expected = z[i, 0].copy()
        expected[j] = z[i, 1, j]
        np.testing.assert_array_equal(z[i, 2 + j], expected)
    a, b = z[:, 0].astype(float), z[:, 1].astype(float)
    variance = np.var(np.concatenate([f(a), f(b)]), ddof=1)
    for j in range(4):
        c = z[:, 2 + j].astype(float)
        total = sum((f(a) - f(c)) ** 2) / (2 * 40 * variance)
        assert abs(found.values[j] - total) < 1e-12


@pytest.mark.parametrize("name", ["g", "ishigami"])
def test_known_total_indices_are_met(name: str) -> None:
    function, truth = (
        g_function(np.array([0, 1, 4.5, 9, 99])) if name == "g" else (ishigami, ishigami_totals())
    )
    players = len(truth)
    found = total_indices(FunctionGame(function, players), 3000 * (players + 2), rng())
    assert (np.abs(found.values - truth) < 4 * found.standard_error).all()
    assert found.standard_error.max() < 0.05
    covered = []
    for seed in range(60):
        game = FunctionGame(function, players)
        found = total_indices(game, 200 * (players + 2), rng(seed))
        covered.append(np.abs(found.values - truth) < 1.96 * found.standard_error)
    assert np.mean(covered) > 0.92


def test_indices_of_an_additive_score_sum_to_one() -> None:
    c = np.array([3.0, -2.0, 1.0, 0.0, 0.5])
    truth = c**2 / (c**2).sum()
    sums = []
    for seed in range(20):
        game = FunctionGame(lambda z: 4 + z @ c, 5)
        found = total_indices(game, 300 * 7, rng(seed))
        assert found.values[3] == 0
        assert (np.abs(found.values - truth) <= 4.5 * found.standard_error).all()
        sums.append(found.values.sum())
    assert abs(np.mean(sums) - 1) < 4 * np.std(sums) / np.sqrt(20) + 0.01
    assert not found.sums


def test_a_constant_score_has_no_indices() -> None:
    found = total_indices(FunctionGame(lambda z: np.full(len(z), 0.1), 5), 100, rng())
    assert (found.values == 0).all()
    assert (found.standard_error == 0).all()
    # The variance may be zero by chance where the score is not constant.
    values, error = jansen(np.array([[1.0, 1.0, 2.0], [1.0, 1.0, 1.0]]))
    assert (values == 0).all()
    assert (error == 0).all()


def test_a_latin_hypercube_is_even_in_each_column() -> None:
    points = latin_hypercube(50, 7, rng())
    assert points.dtype == np.float32
    parts = np.sort((points * 50).astype(int), axis=0)
    np.testing.assert_array_equal(parts, np.tile(np.arange(50)[:, None], 7))
    correlation = np.corrcoef(latin_hypercube(2000, 5, rng()).T) - np.eye(5)
    assert np.abs(correlation).max() < 5 / np.sqrt(2000)


# -- the methods -----------------------------------------------------------------------------------

CLASSES: dict[str, Any] = {"hsic": it.HSICInterpreter, "sobol": it.SobolInterpreter}
both = pytest.mark.parametrize("name", CLASSES)


def of_function(name: str, function: Any, pictures: bool = True, **more: Any) -> Any:
    preprocessing = it.IMAGENET if pictures else None
    return CLASSES[name](it.Subject.from_function(function, preprocessing=preprocessing, **more))


def corners(x: Array) -> Array:
    """Two scores; the first rises with the upper left corner and falls with the lower right."""
    score = x[:, :, :4, :4].mean(axis=(1, 2, 3)) - x[:, :, 12:, 12:].mean(axis=(1, 2, 3))
    return np.stack([score, 0 * score], axis=1)


def pictures(n: int = 2) -> Array:
    return rng().normal(size=(n, 3, 16, 16)).astype(np.float32)


@both
def test_the_map_is_where_the_score_looks(name: str) -> None:
    x = pictures() + np.linspace(-1, 1, 16, dtype=np.float32)  # so that corners are not the mean
    signed = of_function(name, corners).explain(x, label=0, evaluations=660)
    assert signed.values.shape == (2, 1, 16, 16)
    assert signed.signed
    found = of_function(name, corners).explain(x, label=0, evaluations=660, direction=False)
    assert not found.signed
    np.testing.assert_allclose(abs(signed.values), found.values, rtol=1e-6)
    # Where the fill is darker than the corner, keeping the corner raises the score, and so on.
    base = x.mean(axis=(2, 3), keepdims=True)
    for rows, sign in ((slice(0, 4), 1), (slice(12, 16), -1)):
        effect = sign * (x - base)[:, :, rows, rows].mean(axis=(1, 2, 3))
        clear = signed.values[:, 0, rows, rows].mean(axis=(1, 2))
        assert (np.sign(clear) == np.sign(effect)).all()
    used = np.zeros((16, 16), bool)
    used[:4, :4] = used[12:, 12:] = True
    assert (
        found.values[:, 0, used].mean(axis=1) > 10 * found.values[:, 0, ~used].mean(axis=1)
    ).all()
    facts = found.diagnostics
    assert int(facts["regions"].max()) == 63
    assert "efficiency_error" not in facts
    assert facts["standard_error"].shape == found.values.shape
    assert facts["evaluations"].tolist() == [661, 661]
    if name == "hsic":
        assert (facts["p_value"][:, 0, used].mean(axis=1) < 0.2).all()
        assert (facts["p_value"][:, 0, ~used].mean(axis=1) > 0.3).all()
        less = of_function(name, corners).explain(x, label=0, evaluations=8, n_permutations=0)
        assert "p_value" not in less.diagnostics


@both
def test_a_table(name: str) -> None:
    x = rng(1).normal(size=(3, 6)).astype(np.float32) + 3
    method = of_function(name, lambda x: np.stack([x[:, 1] * 2 + x[:, 4], x[:, 0]], 1), False)
    found = method.explain(x, label=0, fill=0.0, evaluations=256)
    assert found.values.shape == x.shape
    assert (found.values[:, 1] > found.values[:, 4]).all()
    rest = found.values[:, [0, 2, 3, 5]].max(axis=1)
    assert (found.values[:, 4] > 5 * rest).all()
    with pytest.raises(it.InputError, match="fill='mean' is for pictures"):
        method.explain(x, label=0)


@both
def test_draws_depend_on_the_seed_and_the_position_alone(name: str) -> None:
    x = np.repeat(pictures(1), 2, axis=0)
    options = {"label": 0, "regions": 3, "evaluations": 60}
    found = of_function(name, corners).explain(x, **options).values
    assert not np.array_equal(found[0], found[1])
    for more in ({}, {"batch_size": 1}, {"batch_size": 7}):
        alone = of_function(name, corners, **more).explain(x[:1], **options).values
        np.testing.assert_allclose(alone[0], found[0], rtol=1e-5)
    other = of_function(name, corners).explain(x, seed=1, **options).values
    assert not np.array_equal(other, found)


@both
def test_a_tolerance_stops_early_or_says_that_it_was_not_reached(name: str) -> None:
    function: Any = {"hsic": hsic, "sobol": total_indices}[name]
    game = FunctionGame(lambda z: z @ np.arange(6.0), 6)
    found = function(game, 4096, rng(), tolerance=0.2)
    used = sum(map(len, game.z))
    assert used < 1100
    assert found.standard_error.max() <= 0.2 * found.values.max()
    # One that is never reached changes nothing.
    every, never = (function(game, 700, rng(), tolerance=t).values for t in (None, 1e-9))
    np.testing.assert_array_equal(every, never)
    method = of_function(name, corners)
    with pytest.warns(it.InterpretWarning, match="above the tolerance of 1.0%"):
        facts = method.explain(pictures(1), label=0, regions=2, evaluations=60,
                               tolerance=0.01).diagnostics  # fmt: skip
    assert facts["converged"].tolist() == [False]


@both
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"evaluations": 0}, "evaluations must be"),
        ({"evaluations": 2.5}, "evaluations must be"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"seed": -1}, "seed"),
        ({"fill": "nothing"}, "fill must be one of"),
        ({"regions": 1}, "regions must be at least 2"),
    ],
)
def test_bad_options(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(it.InputError, match=words):
        of_function(name, corners).explain(pictures(), label=0, **{"evaluations": 200, **options})


def test_bad_options_of_one() -> None:
    with pytest.raises(it.InputError, match="too few for 64 regions: give at least 132"):
        of_function("sobol", corners).explain(pictures(), label=0, evaluations=131)
    with pytest.raises(it.InputError, match="takes out all of a region or nothing"):
        of_function("sobol", corners).explain(pictures(), fill="inpaint")
    with pytest.raises(it.InputError, match="n_permutations must be at least 0"):
        of_function("hsic", corners).explain(pictures(), n_permutations=-1)
