"""Maps that know no model, and bootstrap intervals of means."""

from __future__ import annotations

import math

import numpy as np
import pytest

from interpretdl.errors import InputError
from interpretdl.evaluator.bootstrap import (
    FEWEST,
    interval,
    interval_over,
    is_worse,
    is_worse_over,
    paired,
)
from interpretdl.evaluator.controls import CONTROLS, centre_map, random_map, sobel_map


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 3, 9, 12)).astype("float32")


@pytest.mark.parametrize("name", CONTROLS)
def test_a_map_for_each_picture_whatever_its_place(name: str, x: np.ndarray) -> None:
    maps = CONTROLS[name](x)
    assert maps.shape == (3, 9, 12)
    assert maps.dtype == np.float32
    assert (maps >= 0).all()
    for i in range(3):
        np.testing.assert_array_equal(CONTROLS[name](x[i : i + 1])[0], maps[i])
    np.testing.assert_array_equal(CONTROLS[name](x[::-1])[::-1], maps)


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize("wrong", [np.ones((3, 4, 4), "float32"), np.ones((1, 3, 4, 4), int)])
def test_what_is_no_batch_of_pictures(name: str, wrong: np.ndarray) -> None:
    with pytest.raises(InputError, match="float \\[N, C, H, W\\]"):
        CONTROLS[name](wrong)


def test_random_maps_are_uniform_and_differ() -> None:
    x = np.random.default_rng(1).normal(size=(2, 1, 100, 100)).astype("float32")
    one, other = random_map(x)
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.05
    assert abs(one.mean() - 0.5) < 0.02
    assert abs(one.std() - 12**-0.5) < 0.01
    assert not np.array_equal(random_map(x, seed=1), random_map(x))
    np.testing.assert_array_equal(random_map(x, seed=1), random_map(x, seed=1))


def test_the_centre_is_the_middle() -> None:
    (found,) = centre_map(np.zeros((1, 1, 9, 13), "float32"))
    assert np.unravel_index(found.argmax(), found.shape) == (4, 6)
    np.testing.assert_array_equal(found, found[::-1, ::-1])
    for i in range(9):
        for j in range(13):
            far = ((i - 4) / (9 / 4)) ** 2 + ((j - 6) / (13 / 4)) ** 2
            np.testing.assert_allclose(found[i, j], math.exp(-far / 2), rtol=1e-6)


def test_sobel_is_the_plain_sum_over_neighbours(x: np.ndarray) -> None:
    kernel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    grey = x.astype("float64").mean(axis=1)
    for image, found in zip(grey, sobel_map(x), strict=True):
        for i in range(9):
            for j in range(12):
                patch = np.array([
                    [image[min(max(i + a, 0), 8), min(max(j + b, 0), 11)] for b in (-1, 0, 1)]
                    for a in (-1, 0, 1)
                ])  # fmt: skip
                expected = math.hypot((kernel * patch).sum(), (kernel.T * patch).sum())
                np.testing.assert_allclose(found[i, j], expected, rtol=1e-5, atol=1e-6)


def test_a_flat_picture_has_no_edges() -> None:
    assert not sobel_map(np.full((1, 3, 5, 5), 0.7, "float32")).any()


def test_the_interval_is_that_of_a_plain_loop() -> None:
    """All samples of three values, and normal ones against Student's interval."""
    values = np.random.default_rng(0).normal(3, 2, 40)
    low, high = interval(values, draws=20_000)
    half = 2.0227 * values.std(ddof=1) / math.sqrt(40)  # t of 39 degrees of freedom
    np.testing.assert_allclose([low, high], values.mean() + np.array([-half, half]), atol=0.06)


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_the_interval_holds_the_mean_as_often_as_it_says(n: int) -> None:
    rng = np.random.default_rng(0)
    inside = [
        low <= 1.5 <= high for low, high in (interval(rng.normal(1.5, 1, n)) for _ in range(400))
    ]
    assert 0.91 < np.mean(inside) < 0.99  # .95, with a standard error of .011


def test_what_is_no_number_is_left_out() -> None:
    values = np.array([1.0, np.nan, 2.0, 4.0, np.inf, 3.0])
    assert interval(values) == interval(values[np.isfinite(values)])
    other = np.array([0.0, 5.0, np.nan, 1.0, np.inf, 1.0])
    assert paired(values, other) == interval([1.0, 3.0, 2.0])
    assert all(map(math.isnan, interval([1.0, np.nan])))
    assert all(map(math.isnan, interval([])))


def test_pairs_tell_what_means_cannot() -> None:
    """Pictures differ by 10, methods by .1 on each picture."""
    rng = np.random.default_rng(0)
    a = rng.normal(0, 10, 30)
    b = a + 0.1 + rng.normal(0, 0.05, 30)
    assert interval(a)[1] > interval(b)[0]
    low, high = paired(a, b)
    assert -0.15 < low < high < -0.05
    assert is_worse(a, b, higher_is_better=True)
    assert is_worse(b, a, higher_is_better=False)
    assert not is_worse(a, b, higher_is_better=False)
    assert not is_worse(a, a, higher_is_better=True)
    assert not is_worse(a, a + rng.normal(0, 1, 30), higher_is_better=True)


def test_groups_of_pictures_have_equal_weight() -> None:
    """A is better by .1 on 6 pictures of one group, B by .05 on 60 of another."""
    rng = np.random.default_rng(0)
    few, many = (rng.normal(size=n) for n in (6, 60))
    a = [few + 0.1 + rng.normal(0, 0.01, 6), many]
    b = [few, many + 0.05 + rng.normal(0, 0.01, 60)]
    assert is_worse(np.concatenate(a), np.concatenate(b), higher_is_better=True)  # if pooled
    assert is_worse_over(list(zip(b, a, strict=True)), higher_is_better=True)
    assert not is_worse_over(list(zip(a, b, strict=True)), higher_is_better=True)
    assert is_worse_over(list(zip(a, b, strict=True)), higher_is_better=False)
    nothing = np.full(3, np.nan)
    for more in ([], [(nothing, nothing)]):  # one group is the plain comparison
        assert is_worse_over([(b[0], a[0]), *more], higher_is_better=True)
    assert not is_worse_over([(b[0], a[0]), ([0.0], [1.0])], higher_is_better=True)
    assert not is_worse_over([], higher_is_better=True)
    np.testing.assert_allclose(interval_over([few]), interval(few), rtol=1e-12)
    low, high = interval_over([few, few])  # twice as sure of a mean of two
    np.testing.assert_allclose(high - low, np.ptp(interval(few)) / np.sqrt(2), rtol=1e-12)
    assert all(map(math.isnan, interval_over([])))


def test_rounding_tells_nothing() -> None:
    a = 4 + np.random.default_rng(0).random(30)
    assert not is_worse(a * (1 - 1e-6), a, higher_is_better=True)
    assert is_worse(a * (1 - 1e-4), a, higher_is_better=True)


def test_few_pictures_tell_nothing() -> None:
    a = np.arange(float(FEWEST))
    assert is_worse(a, a + 1, higher_is_better=True)
    assert not is_worse(a[1:], a[1:] + 1, higher_is_better=True)
    assert not is_worse([], [], higher_is_better=True)


def test_order_of_blocks_and_seed() -> None:
    values = np.random.default_rng(2).normal(size=50)
    assert interval(values) == interval(values)
    assert interval(values, seed=1) != interval(values)
    low, high = interval(np.random.default_rng(2).normal(size=2_000_000), draws=4)
    assert low < high


@pytest.mark.parametrize(
    "call",
    [
        lambda: interval([[1.0]]),
        lambda: interval([1.0, 2.0], level=1.0),
        lambda: interval([1.0, 2.0], draws=0),
        lambda: paired([1.0], [1.0, 2.0]),
    ],
)
def test_mistakes(call: object) -> None:
    with pytest.raises(InputError):
        call()  # type: ignore[operator]  # a function
