"""LIME and G-LIME against plain formulas, on functions whose weights are known."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import interpretdl as it
from interpretdl.errors import InputError
from interpretdl.interpreter.g_lime import towards_prior
from interpretdl.interpreter.global_weights import GlobalWeights, LayerClusters
from interpretdl.interpreter.lime import least_squares, lime, proximity, subsets
from interpretdl.perturbation import Estimate

Array = NDArray[Any]
RNG = np.random.default_rng(5)


class Plain:
    """A game of a function of z, [n, M] to [n]."""

    item = 0

    def __init__(self, players: int, value: Callable[[Array], Array]) -> None:
        self.players, self.value = players, value
        self.whole = float(value(np.ones((1, players)))[0])
        self.nothing = float(value(np.zeros((1, players)))[0])
        self.evaluations = 1

    def __call__(self, z: Array) -> Array:
        self.evaluations += len(z)
        return self.value(z)


def ran(game: Any, evaluations: int, seed: int = 0, **options: Any) -> Estimate:
    return lime(game, np.random.default_rng(seed), evaluations, **options)


def interacting(players: int, seed: int = 1) -> Callable[[Array], Array]:
    """Linear, pairs, and something that is no polynomial."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=players), rng.normal(size=(players, players))
    return lambda z: z @ a + ((z @ b) * z).sum(axis=1) + np.sin(3 * z @ a)


# -- the samples and their weights -----------------------------------------------------------------


def test_a_samples_weight_is_the_kernel_of_its_cosine_distance() -> None:
    for z in subsets(RNG, 20, 9):
        ones = np.ones(9)
        cosine = z @ ones / (np.linalg.norm(z) * np.linalg.norm(ones)) if z.any() else 0.0
        kernel = np.sqrt(np.exp(-((1 - cosine) ** 2) / 0.25**2))
        assert proximity(z[None], 0.25)[0] == pytest.approx(kernel, rel=1e-12)
    assert proximity(np.ones((1, 5)), 0.25)[0] == 1.0
    assert proximity(np.eye(4)[:2].sum(0)[None], 0.25)[0] == pytest.approx(0.503, abs=1e-3)


def test_samples_keep_a_region_half_of_the_time_and_come_in_one_call_as_in_two() -> None:
    z = subsets(np.random.default_rng(0), 4000, 11)
    assert np.abs(z.mean(axis=0) - 0.5).max() < 4 * 0.5 / np.sqrt(4000)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(np.concatenate([subsets(rng, n, 11) for n in (7, 3993)]), z)


# -- the linear model ------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [0.05, 0.25, 2.0])
def test_an_additive_score_gives_its_summands(width: float) -> None:
    summands = RNG.normal(size=30)
    found = ran(Plain(30, lambda z: 3 + z @ summands), 200, kernel_width=width)
    np.testing.assert_allclose(found.values, summands, atol=1e-12)
    assert found.facts["intercept"] == pytest.approx(3, abs=1e-12)
    assert found.facts["r2"] == pytest.approx(1, abs=1e-12)
    assert np.asarray(found.standard_error).max() < 1e-9  # residuals of rounding


def by_hand(z: Array, y: Array, w: Array) -> tuple[Array, Array, float]:
    """Coefficients with the intercept first, their standard errors and R², by normal equations."""
    x = np.column_stack([np.ones(len(z)), z])
    inverse = np.linalg.inv(sum(wi * np.outer(xi, xi) for xi, wi in zip(x, w, strict=True)))
    found = inverse @ sum(wi * yi * xi for xi, yi, wi in zip(x, y, w, strict=True))
    residual = y - x @ found
    middle = np.zeros_like(inverse)
    for xi, wi, ei in zip(x, w, residual, strict=True):
        leverage = wi * xi @ inverse @ xi
        middle += (wi * ei / (1 - leverage)) ** 2 * np.outer(xi, xi)
    mean = (w * y).sum() / w.sum()
    r2 = 1 - (w * residual**2).sum() / (w * (y - mean) ** 2).sum()
    return found, np.sqrt(np.diag(inverse @ middle @ inverse)), r2


def test_least_squares_are_those_of_the_normal_equations() -> None:
    z = subsets(RNG, 60, 7)
    y, w = interacting(7)(z * 1.0), RNG.uniform(0.2, 1, 60)
    found, (coefficients, errors, r2) = least_squares(z, y, w), by_hand(z, y, w)
    np.testing.assert_allclose([found.intercept, *found.weights], coefficients, rtol=1e-10)
    np.testing.assert_allclose(found.standard_error, errors[1:], rtol=1e-10)
    assert found.r2 == pytest.approx(r2, rel=1e-12)
    assert found.determined


def test_the_standard_error_is_near_that_of_leaving_each_sample_out() -> None:
    """HC3 is the jackknife, up to its mean and a factor (n − 1) / n."""
    z = subsets(RNG, 80, 5)
    y, w = interacting(5)(z * 1.0), proximity(z, 0.25)
    each = np.array(
        [least_squares(*(np.delete(a, i, 0) for a in (z, y, w))).weights for i in range(80)]
    )
    whole = least_squares(z, y, w)
    np.testing.assert_allclose(
        whole.standard_error, np.sqrt(((each - whole.weights) ** 2).sum(axis=0)), rtol=1e-9
    )


def test_intervals_cover_what_infinitely_many_samples_would_give() -> None:
    """Of 7 weights in 150 runs 95 % lie within 1.96 standard errors, ± 3 %."""
    every = np.array(list(itertools.product([0.0, 1.0], repeat=7)))
    value = interacting(7)
    limit = least_squares(every, value(every), proximity(every, 0.25)).weights
    inside = []
    for seed in range(150):
        found = ran(Plain(7, value), 250, seed)
        inside.append(np.abs(found.values - limit) <= 1.96 * np.asarray(found.standard_error))
    assert np.mean(inside) == pytest.approx(0.95, abs=0.03)


def test_few_samples_give_the_smallest_solution_and_a_warning() -> None:
    summands = RNG.normal(size=12)
    game = Plain(12, lambda z: 1 + z @ summands)
    with pytest.warns(it.InterpretWarning, match="5 samples do not determine .* 12 regions"):
        found = ran(game, 5)
    z = np.concatenate([np.ones((1, 12)), subsets(np.random.default_rng(0), 4, 12)])
    y, w = game.value(z), proximity(z, 0.25)
    # it goes through every sample, and lies in the span of their differences
    np.testing.assert_allclose(z @ found.values + found.facts["intercept"], y, atol=1e-10)
    _, size, rows = np.linalg.svd(z - w @ z / w.sum())
    outside = rows[(size > 1e-10).sum() :]
    assert len(outside) == 8
    np.testing.assert_allclose(outside @ found.values, 0, atol=1e-10)
    assert np.isinf(np.asarray(found.standard_error)).all()


def test_a_kernel_that_leaves_no_sample_any_weight_is_warned_of() -> None:
    with pytest.warns(it.InterpretWarning, match="100 samples .* a larger width"):
        found = ran(Plain(12, interacting(12)), 100, kernel_width=0.001)
    np.testing.assert_array_equal(found.values, 0)


def test_a_region_that_is_always_there_gets_nothing_and_a_warning() -> None:
    z = subsets(RNG, 40, 4)
    z[:, 2] = True
    found = least_squares(z, z @ np.array([1.0, 2, 3, 4]), np.ones(40))
    np.testing.assert_allclose(found.weights, [1, 2, 0, 4], atol=1e-12)
    assert not found.determined


def test_a_fit_through_all_samples_has_no_standard_error() -> None:
    z = np.concatenate([np.ones((1, 3)), 1 - np.eye(3)])
    found = least_squares(z, np.array([1.0, 5, 2, 7]), np.ones(4))
    np.testing.assert_allclose(found.weights, [-4, -1, -6], atol=1e-12)
    assert found.determined
    assert np.isinf(found.standard_error).all()


def test_a_score_that_does_not_move_gives_zeros() -> None:
    found = ran(Plain(6, lambda z: np.full(len(z), 2.5)), 60)
    np.testing.assert_allclose(found.values, 0, atol=1e-12)
    assert (found.facts["r2"], found.facts["intercept"]) == (1.0, pytest.approx(2.5))


# -- to a tolerance --------------------------------------------------------------------------------


def test_a_tolerance_stops_early_and_what_was_drawn_is_the_same() -> None:
    value = interacting(6)
    game = Plain(6, value)
    found = ran(game, 5000, tolerance=0.1)
    assert game.evaluations in (128, 256, 512, 1024, 2048)
    error = np.asarray(found.standard_error)
    assert error.max() <= 0.1 * np.abs(found.values).max()
    np.testing.assert_allclose(found.values, ran(Plain(6, value), game.evaluations).values)


# -- G-LIME ----------------------------------------------------------------------------------------


def scaled(z: Array, y: Array, w: Array, prior: Array, beta: float) -> tuple[Array, Array]:
    """InterpretDL's formula by loops: weights, and the columns' lengths with y's last."""
    table = np.column_stack([z, y]).astype(float)
    length = np.zeros(table.shape[1])
    for j in range(table.shape[1]):
        table[:, j] -= (w * table[:, j]).sum() / w.sum()
        length[j] = np.sqrt((table[:, j] ** 2).sum())
        table[:, j] *= np.sqrt(w) / length[j]
    x, t = table[:, :-1], table[:, -1]
    start = prior / np.abs(prior).sum() if prior.any() else prior
    return np.linalg.inv(x.T @ x + beta * np.eye(x.shape[1])) @ (x.T @ t + beta * start), length


@pytest.mark.parametrize("beta", [0.3, 1.0, 20.0])
@pytest.mark.parametrize("prior", [np.zeros(6), np.arange(6.0), np.linspace(-1, 2, 6)])
def test_g_lime_is_its_formula(beta: float, prior: Array) -> None:
    z = subsets(RNG, 50, 6)
    y, w = interacting(6)(z * 1.0), proximity(z, 0.25)
    found = towards_prior(z, y, w, prior=prior, force=beta)
    expected, length = scaled(z, y, w, prior, beta)
    np.testing.assert_allclose(found.weights, expected, atol=1e-12)
    # R² and the intercept are of predictions in the score's own units
    slope = found.weights * length[-1] / length[:-1]
    predicted = found.intercept + z @ slope
    mean = (w * y).sum() / w.sum()
    assert (w * (predicted - y)).sum() == pytest.approx(0, abs=1e-9)
    rest, whole = (w * (y - predicted) ** 2).sum(), (w * (y - mean) ** 2).sum()
    assert found.r2 == pytest.approx(1 - rest / whole, rel=1e-9)


def test_g_limes_limits_are_scaled_least_squares_and_the_prior() -> None:
    z = subsets(RNG, 90, 8)
    y, w = interacting(8)(z * 1.0), proximity(z, 0.25)
    prior = RNG.normal(size=8)
    plain, (_, length) = least_squares(z, y, w), scaled(z, y, w, prior, 1.0)
    for force, precision in ((0.0, 1e-10), (1e-8, 1e-6)):
        weak = towards_prior(z, y, w, prior=prior, force=force)
        np.testing.assert_allclose(
            weak.weights, plain.weights * length[:-1] / length[-1], atol=precision
        )
        assert weak.r2 == pytest.approx(plain.r2, abs=1e-6)
        np.testing.assert_allclose(
            weak.standard_error, plain.standard_error * length[:-1] / length[-1], rtol=1e-4
        )
    strong = towards_prior(z, y, w, prior=prior, force=1e10)
    np.testing.assert_allclose(strong.weights, prior / np.abs(prior).sum(), atol=1e-8)


def test_g_limes_standard_error_is_the_spread_over_seeds() -> None:
    runs = []
    for seed in range(200):
        z = subsets(np.random.default_rng(seed), 400, 4)
        runs.append(towards_prior(z, interacting(4)(z * 1.0), np.ones(400), force=0.5))
    spread = np.std([one.weights for one in runs], axis=0)
    stated = np.mean([one.standard_error for one in runs], axis=0)
    np.testing.assert_allclose(spread, stated, rtol=0.35)


def test_g_lime_without_a_prior_needs_samples_and_with_one_does_not() -> None:
    z, w = subsets(RNG, 4, 9), np.ones(4)
    y = z @ np.arange(9.0)
    assert towards_prior(z, y, w, force=1.0).determined
    bare = towards_prior(z, y, w, force=0.0)
    assert not bare.determined
    assert np.isinf(bare.standard_error).all()
    assert np.isfinite(bare.weights).all()


# -- on models -------------------------------------------------------------------------------------

TABLE = RNG.normal(size=(3, 6)).astype(np.float32)
SUMMANDS = np.array([[2, 0, -1, 0.5, 0, 3], [0, 1, 0, 0, -2, 0]]).T


def table_method(method: type[it.Interpreter]) -> Any:
    subject = it.Subject.from_function(lambda x: np.float64(x) @ SUMMANDS, output_kind="logits")
    return method(subject)


def test_tables_of_a_linear_function_give_its_terms() -> None:
    mean = np.full(6, 0.25, np.float32)
    found = table_method(it.LIMEInterpreter).explain(TABLE, 0, fill=mean, evaluations=60)
    np.testing.assert_allclose(found.values, (TABLE - mean) * SUMMANDS[:, 0], atol=1e-5)
    assert found.diagnostics["evaluations"].tolist() == [60] * 3
    np.testing.assert_allclose(found.diagnostics["r2"], 1, atol=1e-6)
    np.testing.assert_allclose(found.diagnostics["intercept"], mean @ SUMMANDS[:, 0], atol=1e-5)
    grouped = table_method(it.LIMEInterpreter).explain(
        TABLE, 0, fill=0, evaluations=40, regions=np.array([0, 0, 0, 1, 1, 1])
    )
    halves = (TABLE * SUMMANDS[:, 0]).reshape(3, 2, 3).sum(axis=2).repeat(3, axis=1)
    np.testing.assert_allclose(grouped.values, halves, atol=1e-5)


def test_draws_depend_on_the_seed_and_the_position_alone(toy: Any) -> None:
    x = RNG.normal(size=(2, 3, 16, 16)).astype(np.float32)
    options: dict[str, Any] = {"label": 1, "regions": 4, "evaluations": 40}
    both = it.LIMEInterpreter(toy()).explain(x, **options)
    other = it.LIMEInterpreter(toy(), batch_size=3).explain(np.stack([x[1], x[1]]), **options)
    np.testing.assert_allclose(other.values[1], both.values[1], rtol=1e-3, atol=1e-6)
    assert not np.allclose(other.values[0], other.values[1], rtol=1e-3)
    assert not np.allclose(
        it.LIMEInterpreter(toy()).explain(x, **options, seed=1).values, both.values, rtol=1e-3
    )


def test_pictures_are_cut_by_quickshift_where_nothing_is_said(toy: Any) -> None:
    blocks = RNG.integers(0, 200, (1, 2, 2, 3), np.uint8).repeat(12, 1).repeat(12, 2)
    x = it.IMAGENET.normalize(blocks + RNG.integers(0, 40, (1, 24, 24, 3), np.uint8))
    method = it.LIMEInterpreter(toy())
    usual = method.explain(x, evaluations=90)
    named = method.explain(x, evaluations=90, regions="quickshift", fill="region_mean")
    np.testing.assert_array_equal(usual.values, named.values)
    assert usual.values.shape == usual.diagnostics["standard_error"].shape == (1, 1, 24, 24)


def test_a_tolerance_that_is_not_reached_is_flagged(toy: Any) -> None:
    x = RNG.normal(size=(1, 3, 16, 16)).astype(np.float32)
    method = it.LIMEInterpreter(toy())
    with pytest.warns(it.InterpretWarning, match="above the tolerance"):
        found = method.explain(x, regions=3, evaluations=30, tolerance=1e-6)
    assert found.diagnostics["converged"].tolist() == [False]
    found = method.explain(x, regions=3, evaluations=2000, tolerance=0.5)
    assert found.diagnostics["converged"].tolist() == [True]
    assert found.diagnostics["evaluations"][0] < 2000


@pytest.mark.parametrize(
    "options",
    [
        {"evaluations": 0},
        {"tolerance": -1},
        {"kernel_width": 0},
        {"seed": -1},
        {"regions": "hexagons"},
        {"fill": "sugar"},
    ],
)
@pytest.mark.parametrize("method", [it.LIMEInterpreter, it.GLIMEInterpreter])
def test_bad_options(options: dict[str, Any], method: Any, toy: Any) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        method(toy()).explain(np.zeros((1, 3, 16, 16), np.float32), **{"regions": 2, **options})


def test_g_lime_draws_each_picture_towards_its_own_class(toy: Any) -> None:
    """Two halves, each a kind of its own: with a strong prior the map is the prior."""
    x = RNG.normal(size=(2, 3, 16, 16)).astype(np.float32)
    halves = np.repeat([0, 1], 8)[None, :].repeat(16, axis=0)
    kinds = lambda picture, regions: np.arange(2)  # noqa: E731
    weights = GlobalWeights({0: {0: 3.0, 1: -1.0}, 2: {1: 5.0}}, kinds)
    options: dict[str, Any] = {
        "label": [0, 2], "regions": halves, "evaluations": 30, "prior_method": "ridge",
        "prior_reg_force": 1e9,
    }  # fmt: skip
    method = it.GLIMEInterpreter(toy())
    found = method.explain(x, global_weights=weights, **options).values
    np.testing.assert_allclose(found[0, 0, 0, [0, 15]], [0.75, -0.25], atol=1e-6)
    np.testing.assert_allclose(found[1, 0, 0, [0, 15]], [0, 1], atol=1e-6)
    method.set_global_weights({0: {0: 3.0, 1: -1.0}, 2: {1: 5.0}}, clusters=kinds)
    np.testing.assert_array_equal(method.explain(x, **options).values, found)
    with pytest.warns(it.InterpretWarning, match="no global weights of class 3"):
        method.explain(x, **{**options, "label": 3})


def test_g_lime_says_what_it_lacks(toy: Any) -> None:
    x, method = np.zeros((1, 3, 16, 16), np.float32), it.GLIMEInterpreter(toy())
    ridge: dict[str, Any] = {"prior_method": "ridge", "regions": 2, "evaluations": 20}
    with pytest.raises(InputError, match="set_global_weights"):
        method.explain(x, **ridge)
    with pytest.raises(InputError, match="do not say what their clusters are"):
        method.explain(x, 1, global_weights={1: {0: 0.5}}, **ridge)
    with pytest.raises(InputError, match="is none; take"):
        method.explain(x, lambda output: output[:, 0], global_weights={1: {0: 0.5}}, **ridge)
    far = LayerClusters("0", np.zeros((2, 7), np.float32))
    with pytest.raises(InputError, match="7 channels, and layer '0' of this model has 4"):
        method.explain(x, 1, global_weights=GlobalWeights({}, far), **ridge)
    with pytest.raises(InputError, match="prior_reg_force"):
        method.explain(x, prior_reg_force=-1, regions=2)
    with pytest.raises(InputError, match="must be finite"):
        method.explain(x, prior_reg_force=np.inf, regions=2)
    with pytest.raises(InputError, match="prior_method"):
        method.explain(x, prior_method="lasso", regions=2)
    with pytest.raises(InputError, match="is for pictures"):
        table_method(it.GLIMEInterpreter).explain(
            TABLE, 0, fill=0, prior_method="ridge", global_weights={}
        )


def test_g_lime_of_tables(toy: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = table_method(it.GLIMEInterpreter).explain(
            TABLE, 0, fill=0, evaluations=80, prior_reg_force=0
        )
    plain = table_method(it.LIMEInterpreter).explain(TABLE, 0, fill=0, evaluations=80)
    ratio = found.values / np.where(SUMMANDS[:, 0] == 0, 1, plain.values)
    used = SUMMANDS[:, 0] != 0
    # the same samples, so the same fit but for the lengths of columns, which are about √n / 2
    assert np.ptp(ratio[:, used], axis=1).max() < 0.2 * ratio[:, used].min()
    np.testing.assert_allclose(found.diagnostics["r2"], 1, atol=1e-6)
