"""The score of an item as a function of which of its regions are kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..probe import Probe
from ..targets import TargetLike, take
from .fills import Imputer

__all__ = ["Estimate", "Game"]

Array = NDArray[Any]


class Game:
    """v(z), the score of one item of which the regions with z = 1 are kept and the others filled.

    The name is that of game theory, where the regions are players.

    Args:
        probe: runs the model.
        imputer: fills what is taken out.
        target: the score of each of the imputer's items.
        item: which of them.
        regions: int64 [H, W], or an array that broadcasts to an item; numbered from 0.
        whole: v(1), which is known.
        bar: a progress bar, updated by the number of evaluations.

    Attributes:
        item: which of the imputer's items it is.
        players: M, how many regions there are.
        evaluations: how often the model was run for this item, v(1) included.
    """

    def __init__(
        self,
        probe: Probe,
        imputer: Imputer,
        target: TargetLike,
        item: int,
        regions: NDArray[np.int64],
        whole: float,
        bar: Any = None,
    ) -> None:
        self._probe, self._imputer, self._target, self.item = probe, imputer, target, item
        self._bar = bar
        self._nothing: float | None = None
        self.regions, self.whole = regions, whole
        self.players = int(regions.max()) + 1
        self.evaluations = 1

    @property
    def nothing(self) -> float:
        """v(0), the score with every region filled; computed when it is first asked for."""
        if self._nothing is None:
            self._nothing = float(self(np.zeros((1, self.players), bool))[0])
        return self._nothing

    def __call__(self, z: Array) -> NDArray[np.float64]:
        """v(z) for each row.

        Args:
            z: bool [m, M]; or floats in [0, 1], for regions that are kept in part.

        Returns:
            float64 [m].
        """
        return self.of_masks(len(z), lambda rows: z[rows][:, self.regions])

    def of_masks(self, n: int, masks: Any) -> NDArray[np.float64]:
        """Scores under masks of pixels, which are made when they are needed.

        Args:
            n: how many.
            masks: from positions in [0, n) to what is kept, [m, H, W], see `Imputer.images`.

        Returns:
            float64 [n].
        """
        scores = np.empty(n)
        x = self._imputer.x[self.item : self.item + 1]
        start = 0
        while start < n:
            size = self._probe.batch_plan(x, gradient=False)
            rows = np.arange(start, min(n, start + size))
            owner = np.full(len(rows), self.item)
            images = self._imputer.images(owner, masks(rows))
            scores[rows] = self._probe.scores(images, take(self._target, owner))
            start += len(rows)
            self.evaluations += len(rows)
            if self._bar is not None:
                self._bar.update(len(rows))
        return scores


@dataclass
class Estimate:
    """What a method has found of one item.

    Attributes:
        values: float [M], of each region; or [H, W], of each pixel.
        standard_error: of the values, likewise; None where the method gives none.
        facts: numbers on the item, such as {"r2": .9}.
        maps: further numbers of each region, [M], such as {"p_value": ...}.
        sums: whether the values of the regions are to add up to v(1) − v(0).
    """

    values: Array
    standard_error: Array | None = None
    facts: dict[str, float] = field(default_factory=dict)
    maps: dict[str, Array] = field(default_factory=dict)
    sums: bool = True
