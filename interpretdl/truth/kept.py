"""Kept: a model's state, to which it is put back after a method that changed it."""

from __future__ import annotations

from typing import Any

import paddle

from ..errors import InputError
from ..record import digest_of_model

__all__ = ["CHANGED", "Kept"]

CHANGED = "the method changed the model, which was put back; let it work on a copy"
"""The reason in the place of such a method's numbers."""


class Kept:
    """Parameters, buffers and modes of a model's layers, as they are now.

    Args:
        model: what is no paddle.nn.Layer has no state.
    """

    def __init__(self, model: Any) -> None:
        self.model = model if isinstance(model, paddle.nn.Layer) else paddle.nn.Layer()
        self.state = {name: value.numpy() for name, value in self.model.state_dict().items()}
        self.modes = self._modes()
        self.digest = digest_of_model(self.model)

    def put_back(self) -> bool:
        """Undo what has changed since.

        Returns:
            whether anything had.

        Raises:
            InputError: it cannot be undone, because a parameter is gone or has another shape.
        """
        if self._is_the_same():
            return False
        there = self.model.state_dict()
        for name, value in self.state.items():
            if name in there and tuple(there[name].shape) == value.shape:
                there[name].set_value(value)
        for layer, (_, training) in zip(self._layers(), self.modes, strict=False):
            layer.training = training
        if not self._is_the_same():
            raise InputError(
                "a method changed the model's layers, which cannot be undone; let it work on a copy"
            )
        return True

    def _is_the_same(self) -> bool:
        return self._modes() == self.modes and digest_of_model(self.model) == self.digest

    def _layers(self) -> list[Any]:
        return list(self.model.sublayers(include_self=True))

    def _modes(self) -> list[tuple[int, bool]]:
        return [(id(layer), layer.training) for layer in self._layers()]
