"""A score without parts of what a layer gives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import ResourceError, UnsupportedModelError
from ..probe import Array, Edits, Inputs, Probe, Tensor
from ..probe.inputs import listed, rows_of
from ..targets import TargetLike, take
from ..tensors import from_numpy

__all__ = ["LayerAblation"]

_log = logging.getLogger(__name__)


class LayerAblation:
    """The scores of an item when parts of a layer's output are set to zero, one part at a time.

    Only what follows the layer is run for every part, where the network allows it. Behind the layer
    some networks cannot go on with more rows than they began with, for example where they
    concatenate something from before it. A trial with two rows finds that out; each part is then a
    whole forward pass.

    Args:
        probe: runs the model.
        x: N items, as the model takes them.
        layer: the layer's name.
        shape: shape of the layer's output for one item.
        parts: int64 [U, P], where each of the U parts is in that output when it is flat.

    Raises:
        UnsupportedModelError: the layer runs several times, with outputs of different shapes.
    """

    def __init__(
        self, probe: Probe, x: Inputs, layer: str, shape: Sequence[int], parts: Array
    ) -> None:
        self._probe, self._x, self._layer = probe, x, layer
        self._shape, self._parts = tuple(shape), parts
        self._at_once = self._rows_at_once()

    def scores(
        self, item: int, parts: Array, target: TargetLike, done: Callable[[int], object]
    ) -> Array:
        """Scores [m] of an item without each of the parts, int64 [m].

        Args:
            done: is told how many more parts are done.

        Raises:
            ResourceError: out of memory with one row.
        """
        one, scores, start = self._item(item), np.empty(len(parts)), 0
        while start < len(parts):
            some = parts[start : start + self._at_once]
            rows = take(target, np.full(len(some), item))
            try:
                found = self._probe.scores(one, rows, edit=self._without(list(self._parts[some])))
            except ResourceError:  # one item became many rows, which the probe cannot cut
                if len(some) == 1:
                    raise
                self._at_once = len(some) // 2
                continue
            scores[start : start + len(some)] = found
            start += len(some)
            done(len(some))
        return scores

    def _item(self, item: int) -> Inputs:
        return rows_of(self._x, slice(item, item + 1))

    def _rows_at_once(self) -> int:
        """As many as need the memory of a usual batch of items; 1 where rows cannot be added."""
        one, name = self._item(0), self._layer
        halves = [self._parts[::2].ravel(), self._parts[1::2].ravel()]
        apart = [self._probe.logits(one, edit=self._without([half])) for half in halves]
        expected = np.concatenate(apart)
        try:
            together = self._probe.logits(one, edit=self._without(halves))
        except (ValueError, RuntimeError) as error:  # what Paddle raises for shapes that differ
            _log.debug("behind layer %r the network runs one row only: %s", name, error)
            return 1
        atol = 1e-4 * float(np.abs(expected).max())
        if together.shape != expected.shape or not np.allclose(together, expected, 1e-3, atol):
            _log.debug("behind layer %r the network mixes rows; they are run one by one", name)
            return 1
        sizes = {key: int(np.prod(s[1:])) for key, s in self._probe.layer_shapes(one).items()}
        after = list(sizes.values())[list(sizes).index(name) if name in sizes else 0 :]
        largest: int = max(*sizes.values(), *(part[0].size for part in listed(one)))
        saving = max(1, largest // max(*after, 1))
        return saving * self._probe.batch_plan(self._x, gradient=False)

    def _without(self, groups: Sequence[Array]) -> Edits:
        """The edit that gives for each group of positions a row in which they are 0."""
        keep = np.ones((len(groups), int(np.prod(self._shape))), np.float32)
        for row, group in zip(keep, groups, strict=True):
            row[group] = 0
        keep = keep.reshape(len(groups), *self._shape)

        def edit(y: Tensor) -> Tensor:
            if tuple(y.shape[1:]) != self._shape:
                raise UnsupportedModelError(
                    f"layer {self._layer!r} runs several times, with outputs of different shapes "
                    f"({list(y.shape[1:])} and {list(self._shape)}), so it is not known what a "
                    "unit of it is; name a layer that runs once"
                )
            return y * from_numpy(keep, y.place, y.dtype)

        return {self._layer: edit}
