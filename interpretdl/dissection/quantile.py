"""Streaming quantiles of the upper tail, in memory that does not grow with the data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

__all__ = ["TailQuantile"]

Floats = NDArray[np.float32]


class TailQuantile:
    """For each unit the value that a small share of its values exceeds.

    Only the largest values are kept. If they are too many, positions are drawn at random, the same
    for all units, so that `capacity` is enough. The result is exact while share * total < capacity.
    Beyond that, the tail's share has a relative standard error of 1 / sqrt(0.9 capacity), 1.2 % at
    8192, for any distribution and any dependence between neighbouring positions.

    Args:
        units: number of units U.
        total: how many values each unit will have.
        share: of the values above the quantile, in (0, 1).
        capacity: values kept for each unit; memory is at most 8 * units * capacity bytes.
        seed: for drawing the positions, together with the image's index.

    Raises:
        InputError: share is not in (0, 1), or a number is below 1.
    """

    def __init__(
        self, units: int, total: int, share: float = 0.005, capacity: int = 8192, seed: int = 0
    ) -> None:
        if not 0 < share < 1 or min(units, total, capacity) < 1:
            raise InputError(
                f"share must be in (0, 1), units, total and capacity at least 1; got share={share},"
                f" units={units}, total={total}, capacity={capacity}"
            )
        self.share, self.seed = share, seed
        tail = share * total
        self.rate = 1.0 if tail + 1 <= capacity else min(1.0, 0.9 * capacity / tail)
        self._kept = min(capacity, int(tail) + 1)
        # Room beyond what is kept: the tail is sorted out once in many images.
        self._values = np.empty((units, self._kept + max(self._kept, 1024)), np.float32)
        self._filled = 0
        self.seen = 0
        """Values per unit seen so far."""

    def update(self, index: int, values: Floats) -> None:
        """Add the values of one image.

        Args:
            index: the image's, which the draw of positions depends on.
            values: [units, positions].

        Raises:
            InputError: a value is NaN or infinite.
        """
        if not np.isfinite(values).all():
            raise InputError(f"image {index} gives activations that are NaN or infinite")
        if self.rate < 1:
            rng = np.random.default_rng([self.seed, index])
            values = values[:, rng.random(values.shape[1]) < self.rate]
        self.seen += values.shape[1]
        room = self._values.shape[1]
        while values.shape[1]:
            part = values[:, : room - self._filled]
            values = values[:, part.shape[1] :]
            self._values[:, self._filled : self._filled + part.shape[1]] = part
            self._filled += part.shape[1]
            if self._filled == room:
                self._compact()

    def thresholds(self) -> Floats:
        """T float32 [units] with at most a share of `share` of the values seen above T.

        Raises:
            InputError: nothing was seen.
        """
        if not self.seen:
            raise InputError("no values were given, so there is no quantile")
        self._compact()
        largest = np.sort(self._values[:, : self._filled], axis=1)
        above = min(int(self.share * self.seen), self._filled - 1)
        return np.ascontiguousarray(largest[:, -1 - above])

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
        """What `restore` needs to continue."""
        self._compact()
        return {"values": self._values[:, : self._filled]}, {"seen": self.seen}

    def fits(self, values: Floats, seen: Any, positions: int) -> bool:
        """Whether a state of so many values can be that after so many positions."""
        if isinstance(seen, bool) or not isinstance(seen, int) or not 0 <= seen <= positions:
            return False
        return values.shape[1] == min(self._kept, seen) and (self.rate < 1 or seen == positions)

    def restore(self, arrays: dict[str, NDArray[Any]], numbers: dict[str, int]) -> None:
        """Continue from a state, in an object made with the same arguments."""
        values = arrays["values"]
        self._filled, self.seen = values.shape[1], numbers["seen"]
        self._values[:, : self._filled] = values

    def _compact(self) -> None:
        if self._filled <= self._kept:
            return
        values = self._values[:, : self._filled]
        values.partition(self._filled - self._kept, axis=1)
        self._values[:, : self._kept] = values[:, self._filled - self._kept :].copy()
        self._filled = self._kept
