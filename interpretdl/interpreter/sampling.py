"""Means over many samples: drawn a few at a time, run in the best batches, kept as running moments.

Memory does not depend on the number of samples: only the mean and central sums of the values are
kept, in float64, and a chunk of samples is drawn when it is run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..progress import progress_bar

__all__ = [
    "Array",
    "Moments",
    "Sampler",
    "Samples",
    "accumulate",
    "at_least",
    "counts",
    "generator",
]

Array = NDArray[Any]


@dataclass
class Samples:
    """A few samples of one image.

    Attributes:
        points: float [m, ...], where the model is asked.
        factors: float [m, ...], multiplied with what it answers; None for 1.
        weights: float [m], of the samples in the mean; None for 1.
    """

    points: Array
    factors: Array | None = None
    weights: Array | None = None


Sampler = Callable[[int, range], Samples]
"""(image, numbers of the samples wanted) -> Samples. An image's numbers come in order, once."""


class Moments:
    """Running mean and central moments of the values of each image, in float64.

    Chunks are merged by the formulas of Chan et al. (1979) and Pébay (2008), which do not lose
    digits where the mean is large beside the deviation.

    Args:
        images: N.
        order: highest moment kept: 1 the mean, 2 the variance, 4 what the variance's error needs.
        totals: keep the moments of each sample's sum too, in `totals`.
    """

    def __init__(self, images: int, order: int = 2, *, totals: bool = False) -> None:
        self.weight = np.zeros(images)
        self.totals = Moments(images, order) if totals else None
        self._order = order
        self._sums: list[NDArray[np.float64]] = []

    @property
    def mean(self) -> NDArray[np.float64]:
        """[N, ...]"""
        return self._sums[0]

    def central(self, order: int, image: int | slice = slice(None)) -> NDArray[np.float64]:
        """Mean of (value - mean)^order, [N, ...] or one image's [...]."""
        sums = self._sums[order - 1][image]
        weight = self.weight[image].reshape(-1, *[1] * (self.mean.ndim - 1))
        return np.asarray(sums / (weight if isinstance(image, slice) else weight[0]))

    def standard_error(self, image: int | slice = slice(None)) -> NDArray[np.float64]:
        """Of the mean, √(variance / n), like `central`; infinite where there is one sample."""
        n = np.asarray(self.weight[image], np.float64)
        spread = np.divide(1, n - 1, out=np.full_like(n, np.inf), where=n > 1)
        variance = self.central(2, image)
        spread = spread.reshape(n.shape + (1,) * (variance.ndim - n.ndim))
        lone = np.isinf(spread)
        return np.where(lone, np.inf, np.sqrt(variance * np.where(lone, 0, spread)))

    def add(self, image: int, values: Array, weights: Array | None = None) -> None:
        """Merge samples of an image, values [m, ...], weights [m] or None for 1 each."""
        if not self._sums:
            shape = (len(self.weight), *values.shape[1:])
            self._sums = [np.zeros(shape) for _ in range(self._order)]
        if self.totals is not None:
            sums = values.reshape(len(values), -1).sum(axis=1, dtype=np.float64)
            self.totals.add(image, sums, weights)
        if weights is None:
            weights = np.ones(len(values))
        old, new = self.weight[image], float(weights.sum())
        both = self.weight[image] = old + new
        if not new:
            return
        w = weights.reshape(-1, *[1] * (values.ndim - 1))
        mean = (w * values).sum(axis=0, dtype=np.float64) / new
        delta = mean - self._sums[0][image]
        if self._order > 1:
            self._merge(image, values - mean, w, delta, old, new)
        self._sums[0][image] += delta * (new / both)

    def _merge(
        self, image: int, away: Array, w: Array, delta: Array, old: float, new: float
    ) -> None:
        """Central sums of the samples so far and of new ones, whose distance from their own mean
        is `away`; the two means are `delta` apart."""
        n, sums = old + new, [s[image : image + 1] for s in self._sums]
        square = w * away**2
        m2, n2 = sums[1], square.sum(axis=0)
        if self._order > 2:
            m3, n3 = sums[2], (square * away).sum(axis=0)
            m4, n4 = sums[3], (square * away**2).sum(axis=0)
            step = delta / n
            cubes = 6 * step**2 * (old**2 * n2 + new**2 * m2) + 4 * step * (old * n3 - new * m3)
            share = old * new * delta * step
            m4 += n4 + share * step**2 * (old**2 - old * new + new**2) + cubes
            m3 += n3 + share * step * (old - new) + 3 * step * (old * n2 - new * m2)
        m2 += n2 + delta**2 * (old * new / n)


def accumulate(
    evaluate: Callable[[NDArray[np.int64], Array], Sequence[Array]],
    sampler: Sampler,
    wanted: Callable[[int, int], int],
    into: Sequence[Moments],
    batch: Callable[[], int],
    description: str,
) -> NDArray[np.int64]:
    """Draw and run samples until every image has those it wants.

    Args:
        evaluate: (image of each row int64 [m], points [m, ...]) -> values [m, ...] for each of
            `into`, such as the gradients of several targets from one forward pass.
        sampler: gives an image's samples.
        wanted: (image, samples it has) -> samples it shall have; asked first with 0, then whenever
            it has them, until it wants no more. So the images that need more go on alone.
        into: takes up the values.
        batch: how many rows to run at once, asked before each run.
        description: on the progress bar.

    Returns:
        int64 [N], samples of each image.
    """
    images = len(into[0].weight)
    taken = np.zeros(images, np.int64)
    with progress_bar(0, description, "sample") as bar:
        while True:
            goals = [wanted(i, int(taken[i])) for i in range(images)]
            jobs = deque(
                (i, range(int(taken[i]), goal)) for i, goal in enumerate(goals) if goal > taken[i]
            )
            if not jobs:
                return taken
            bar.total += sum(len(numbers) for _, numbers in jobs)
            bar.refresh()
            while jobs:
                # One row first: how many fit is known after that, and the cut, on which the last
                # digits depend, is the same whether it was known before or not.
                chunk = _first(jobs, batch() if taken.any() else 1)
                parts = [sampler(image, numbers) for image, numbers in chunk]
                rows = np.repeat([image for image, _ in chunk], [len(n) for _, n in chunk])
                points = np.concatenate([part.points for part in parts])
                for moments, values in zip(into, evaluate(rows, points), strict=True):
                    start = 0
                    for (image, numbers), part in zip(chunk, parts, strict=True):
                        own = values[start : start + len(numbers)]
                        own = own if part.factors is None else own * part.factors
                        moments.add(image, own, part.weights)
                        start += len(numbers)
                for image, numbers in chunk:
                    taken[image] += len(numbers)
                bar.update(len(rows))


def _first(jobs: deque[tuple[int, range]], size: int) -> list[tuple[int, range]]:
    """Take the first `size` samples, of one image or of several, from what is to be done."""
    chunk: list[tuple[int, range]] = []
    while jobs and size:
        image, numbers = jobs.popleft()
        chunk.append((image, numbers[:size]))
        if numbers[size:]:
            jobs.appendleft((image, numbers[size:]))
        size -= len(chunk[-1][1])
    return chunk


def generator(seed: int, image: int) -> np.random.Generator:
    """The random numbers of an image: they depend on the seed and its position, nothing else.

    Raises:
        InputError: seed is not a whole number from 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed must be a whole number, 0 or more; got {seed!r}")
    return np.random.default_rng([int(seed), image])


def at_least(least: float, **values: float | None) -> None:
    """Check that options are numbers from `least`; None passes.

    Raises:
        InputError: one is not; it is named.
    """
    for name, value in values.items():
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if value is not None and not (number and value >= least):
            raise InputError(f"{name} must be a number, at least {least}; got {value!r}")


def counts(**values: int) -> None:
    """Check that options are whole numbers from 1.

    Raises:
        InputError: one is not; it is named.
    """
    for name, value in values.items():
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not (whole and value >= 1):
            raise InputError(f"{name} must be a whole number, at least 1; got {value!r}")
