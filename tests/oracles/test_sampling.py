"""The engine under path and noise methods: moments of chunks, filled batches, its progress bar."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from interpretdl.errors import InputError
from interpretdl.interpreter import sampling
from interpretdl.interpreter.sampling import (
    Moments,
    Samples,
    accumulate,
    at_least,
    counts,
    generator,
)

Array = NDArray[Any]


@pytest.mark.parametrize("sizes", [[1] * 9, [7, 2], [4, 4, 1], [9]])
def test_moments_of_chunks_are_those_of_all(sizes: list[int]) -> None:
    # a mean far from zero, where sums of squares would lose all digits
    values = 1e6 + np.random.default_rng(0).gamma(2, size=(9, 4))
    moments, start = Moments(2, order=4, totals=True), 0
    for size in sizes:
        moments.add(1, values[start : start + size])
        moments.add(0, np.zeros((size, 4)))
        start += size
    away = values - values.mean(axis=0)
    np.testing.assert_allclose(moments.mean, [np.zeros(4), values.mean(axis=0)], rtol=1e-14)
    for order in (2, 3, 4):
        expected = (away**order).mean(axis=0)
        np.testing.assert_allclose(moments.central(order, 1), expected, rtol=1e-6)
        np.testing.assert_allclose(moments.central(order)[1], expected, rtol=1e-6)
    error = values.std(axis=0, ddof=1) / 3
    np.testing.assert_allclose(moments.standard_error()[1], error, rtol=1e-7)
    np.testing.assert_allclose(moments.standard_error(1), error, rtol=1e-7)
    assert moments.totals is not None
    sums = values.sum(axis=1)
    np.testing.assert_allclose(moments.totals.mean[1], sums.mean(), rtol=1e-14)
    np.testing.assert_allclose(moments.totals.standard_error()[1], sums.std(ddof=1) / 3, rtol=1e-7)


def test_weighted_moments_and_one_sample() -> None:
    values, weights = np.random.default_rng(0).normal(size=(6, 3)), np.array([1, 2, 0, 3, 1, 1.0])
    moments = Moments(1)
    moments.add(0, values[:3], weights[:3])
    moments.add(0, values[3:], weights[3:])
    mean = weights @ values / weights.sum()
    np.testing.assert_allclose(moments.mean[0], mean, rtol=1e-12)
    variance = weights @ (values - mean) ** 2 / weights.sum()
    np.testing.assert_allclose(moments.central(2, 0), variance, rtol=1e-12)
    lone = Moments(1)
    lone.add(0, values[:1])
    assert np.isinf(lone.standard_error()).all()


@pytest.mark.parametrize("size", [1, 4, 100])
def test_the_engine_fills_batches_across_images_and_draws_as_it_goes(size: int) -> None:
    asked: list[tuple[int, int]] = []
    waiting, most = 0, 0

    def sampler(image: int, numbers: range) -> Samples:
        nonlocal waiting, most
        asked.extend((image, k) for k in numbers)
        waiting += len(numbers)
        most = max(most, waiting)
        return Samples(np.array([[image, k] for k in numbers], float))

    rows: list[int] = []

    def evaluate(images: Array, points: Array) -> list[Array]:
        nonlocal waiting
        waiting = 0
        rows.append(len(points))
        np.testing.assert_array_equal(points[:, 0], images)
        return [points[:, 1:], -points[:, 1:]]

    totals = [5, 0, 3]
    means = [Moments(3), Moments(3)]
    taken = accumulate(evaluate, sampler, lambda i, _: totals[i], means, lambda: size, "test")
    assert taken.tolist() == totals
    assert asked == [(i, k) for i, n in enumerate(totals) for k in range(n)]
    assert most <= size
    assert rows == {1: [1] * 8, 4: [1, 4, 3], 100: [1, 7]}[size]
    np.testing.assert_allclose(means[0].mean[[0, 2], 0], [2, 1])
    np.testing.assert_allclose(means[1].mean, -means[0].mean)


def test_the_progress_bar_knows_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    class Bar:
        n, total = 0, 0

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *error: object) -> None:
            seen.append((self.n, self.total))

        def refresh(self) -> None:
            seen.append((self.n, self.total))

        def update(self, n: int) -> None:
            self.n += n

    monkeypatch.setattr(sampling, "progress_bar", lambda *args: Bar())
    accumulate(
        lambda images, points: [points],
        lambda image, numbers: Samples(np.zeros((len(numbers), 1))),
        lambda image, taken: 4 if taken == 0 else 10 if image == 1 else taken,
        [Moments(3)],
        lambda: 5,
        "test",
    )
    assert seen == [(0, 12), (12, 18), (18, 18)]  # three images, then more for one of them


@pytest.mark.parametrize("value", [True, False, np.True_, "1", -0.5, float("nan"), [1]])
def test_what_is_no_number_from_0(value: Any) -> None:
    with pytest.raises(InputError, match="noise must be a number, at least 0"):
        at_least(0, noise=value)
    at_least(0, noise=0, more=np.float32(0.5), none=None)


@pytest.mark.parametrize("value", [True, False, np.True_, "1", 0, 1.0, None])
def test_what_is_no_count(value: Any) -> None:
    with pytest.raises(InputError, match="steps must be a whole number, at least 1"):
        counts(steps=value)
    counts(steps=1, more=np.int64(5))


@pytest.mark.parametrize("seed", [True, np.True_, -1, 1.0, "0", None])
def test_what_is_no_seed(seed: Any) -> None:
    with pytest.raises(InputError, match="seed must be a whole number, 0 or more"):
        generator(seed, 0)
    assert generator(np.int64(3), 1).random() == np.random.default_rng([3, 1]).random()
