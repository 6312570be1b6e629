"""A part of one item's input, such as a text's words, or one of several inputs, as the whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

from .hooks import Tensor
from .inputs import Inputs, each, listed

__all__ = ["Within"]


@dataclass(frozen=True)
class Within:
    """Where an input [n, t, ...] takes its place in one item; the rest is that item's own.

    Attributes:
        given: the item, arrays with one row each: the model's arguments.
        positions: int64 [t], ascending: which positions of axis 1; None: the whole.
        layer: in this layer's output, [1, T, ...]. None: in an argument, [1, T].
        argument: which one, its position or name; None: the first.
    """

    given: Inputs
    positions: NDArray[np.int64] | None
    layer: str | None = None
    argument: int | str | None = None

    def run(
        self,
        x: Tensor,
        tensors: Callable[[Inputs], Any],
        layer_of: Callable[[str], Any],
        call: Callable[[Any], Any],
    ) -> Any:
        """What the model returns for n such inputs.

        Args:
            tensors: from arrays to tensors where the model is.
            layer_of: the layer of a name.
            call: runs the model.
        """
        n = len(x)
        rows = each(tensors(self.given), lambda t: t.expand([n, *t.shape[1:]]))
        if self.layer is None:
            mine = listed(rows)[0] if self.argument is None else rows[self.argument]
            placed = self._placed(mine, x)
            return call(each(rows, lambda t: placed if t is mine else t))
        layer = layer_of(self.layer)
        hook = layer.register_forward_post_hook(lambda layer, given, y: self._placed(y, x))
        # before the hooks that look at what the layer gives
        layer._forward_post_hooks.move_to_end(hook._hook_id, last=False)
        try:
            return call(rows)
        finally:
            hook.remove()

    def _placed(self, y: Tensor, x: Tensor) -> Tensor:
        """y [n, T, ...] with x at the positions."""
        if self.positions is None:
            return x
        length, t = y.shape[1], len(self.positions)
        begin, end = int(self.positions[0]), int(self.positions[-1]) + 1
        if t == length:
            return x
        if end - begin == t:
            parts = [part for part in (y[:, :begin], x, y[:, end:]) if part.shape[1]]
            return paddle.concat(parts, axis=1)
        order = np.arange(length)
        order[self.positions] = length + np.arange(t)
        index = paddle.to_tensor(order, place=y.place)
        return paddle.index_select(paddle.concat([y, x], axis=1), index, axis=1)
