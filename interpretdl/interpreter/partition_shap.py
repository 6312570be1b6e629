"""PartitionSHAP: Owen values of the regions, on a binary tree of them."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..perturbation import Estimate, Fill, Game, Regions
from ..registry import register
from ..targets import TargetLike
from .base import Array, Attribution
from .region_method import RegionMethod
from .sampling import at_least, counts

__all__ = ["Part", "PartitionSHAPInterpreter", "owen_values", "whole_of"]

_CELLS = 16
_AT_ONCE = 8
"""Parts that are cut at once; each takes two evaluations."""
_SAME = 1e-5
"""Gains are compared to this share of the score, so that rounding does not decide what is next."""


@register(
    "partition_shap",
    layout="n1hw",
    signed=True,
    one_pass=True,
    inputs=("pictures", "arrays", "text"),
    paper="Lundberg, Lee: A Unified Approach to Interpreting Model Predictions, 2017",
    url="https://arxiv.org/abs/1705.07874",
)
class PartitionSHAPInterpreter(RegionMethod):
    """PartitionSHAP: Owen values, Shapley values over the orders that keep neighbours together.

    The regions are halved, each half again, and so on: a binary tree. A part with halves a and b
    and a weight w (1 for the whole picture) that is put in after the regions S gives

        a: w/2 [v(S ∪ a) − v(S)] + w/2 [v(S ∪ a ∪ b) − v(S ∪ b)],    b likewise

    and each of these gains is passed on to the half's own halves. v(S) is the score with the
    regions outside S filled. The values sum to v(1) − v(0); another tree gives other values (Owen:
    Values of games with a priori unions, 1977).

    The parts with the largest gains are cut first. Those that the budget leaves spread their gain
    evenly over their regions, so the map is fine where the score changes and coarse elsewhere.
    Nothing is random. Costs `evaluations` forward passes; the whole tree of M regions would take
    about 2 (M² − 1) / 3 + 2.
    """

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        regions: Regions | None = None,
        fill: Fill = "mean",
        evaluations: int = 500,
    ) -> Attribution:
        """Owen values of the regions.

        The tree halves the regions of a picture at the longer side of the box around their centres;
        those of other inputs in their order.

        Args:
            evaluations: how often the model may be run for each image, at least 4.

        Returns:
            float [N, 1, H, W], each pixel with its region's value; for inputs that are no pictures
            of their shape. Diagnostics "part_size" like the values, how many regions shared a gain
            on average: 1 where the tree was followed to its end; "evaluations" and
            "efficiency_error" [N], "regions" [N, H, W].

        Raises:
            InputError: regions or a fill that do not fit, or fewer than 4 evaluations.
        """
        counts(evaluations=evaluations)
        at_least(4, evaluations=evaluations)
        pictures = x.ndim == 4 and self.preprocessing is not None
        if regions is None and pictures:
            regions = _CELLS

        def estimate(game: Game, rng: np.random.Generator) -> Estimate:
            return owen_values(game, whole_of(game, pictures), evaluations)

        return self._estimated(
            x, target, estimate, lambda players: min(evaluations, players**2),
            regions=regions, fill=fill,
        )  # fmt: skip


@dataclass
class Part:
    """Regions that belong together, and can be cut in two.

    Attributes:
        members: int64 [m], the regions.
        centres: float [m, 2], where they are; None: they are cut in their order.
    """

    members: NDArray[np.int64]
    centres: Array | None = None

    @cached_property
    def halves(self) -> tuple[Part, Part]:
        """The two halves of a part of at least two regions."""
        if self.centres is None:
            middle = len(self.members) // 2
            return Part(self.members[:middle]), Part(self.members[middle:])
        axis = int(np.ptp(self.centres, axis=0).argmax())
        order = np.lexsort([self.centres[:, 1 - axis], self.centres[:, axis]])
        along = self.centres[order, axis]
        # Rows and columns of a grid stay whole.
        places = np.flatnonzero(np.diff(along)) + 1
        if not len(places):
            places = np.arange(1, len(order))
        middle = places[np.abs(2 * places - len(order)).argmin()]
        first, second = (Part(self.members[o], self.centres[o]) for o in np.split(order, [middle]))
        return first, second


def whole_of(game: Game, picture: bool) -> Part:
    """All regions; those of a picture with their centres."""
    every = np.arange(game.players)
    if not picture:
        return Part(every)
    flat = game.regions.ravel()
    places = np.indices(game.regions.shape).reshape(2, -1)
    sums = np.column_stack([np.bincount(flat, place) for place in places])
    return Part(every, sums / np.bincount(flat)[:, None])


@dataclass(order=True)
class _Gain:
    """What a part gains where the regions `context` are there already."""

    rank: float
    number: int
    part: Part = field(compare=False)
    context: NDArray[np.bool_] = field(compare=False)
    ends: tuple[float, float] = field(compare=False)
    weight: float = field(compare=False)


def owen_values(game: Game, whole: Part, evaluations: int) -> Estimate:
    """Owen values on the tree of a part's halves.

    Args:
        game: scores of subsets.
        whole: all regions.
        evaluations: how many at most, v(0) and v(1) included; 4 or more.
    """
    values, sizes = np.zeros(game.players), np.zeros(game.players)
    same = _SAME * max(abs(game.whole), abs(game.nothing)) or 1.0
    numbers = itertools.count()  # the older comes first where gains are the same
    left: list[_Gain] = []
    final: list[_Gain] = []

    def add(part: Part, context: NDArray[np.bool_], ends: tuple[float, float], w: float) -> None:
        gain = w * (ends[1] - ends[0])
        found = _Gain(-float(np.rint(abs(gain) / same)), next(numbers), part, context, ends, w)
        if len(part.members) > 1:
            heapq.heappush(left, found)
        else:
            final.append(found)

    add(whole, np.zeros(game.players, bool), (game.nothing, game.whole), 1.0)
    cuts = (evaluations - 2) // 2
    while left and cuts:
        best = [heapq.heappop(left) for _ in range(min(len(left), cuts, _AT_ONCE))]
        cuts -= len(best)
        z = np.repeat([each.context for each in best], 2, axis=0)
        for row, part in zip(z, (half for each in best for half in each.part.halves), strict=True):
            row[part.members] = True
        scores = game(z).reshape(-1, 2).tolist()
        for i, (each, (with_a, with_b)) in enumerate(zip(best, scores, strict=True)):
            (a, b), (nothing, both), w = each.part.halves, each.ends, each.weight / 2
            add(a, each.context, (nothing, with_a), w)
            add(a, z[2 * i + 1], (with_b, both), w)
            add(b, each.context, (nothing, with_b), w)
            add(b, z[2 * i], (with_a, both), w)
    for each in [*final, *left]:
        members, (nothing, both) = each.part.members, each.ends
        values[members] += each.weight * (both - nothing) / len(members)
        sizes[members] += each.weight * len(members)
    return Estimate(values, maps={"part_size": sizes})
