"""How a layer's output is spread over the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

__all__ = ["Grid", "is_attention"]


@dataclass(frozen=True)
class Grid:
    """How a layer's output is spread over the picture.

    Attributes:
        kind: "first", [N, C, h, w]; "last", [N, h, w, C]; "tokens", [N, T, C], whose last h·w
            tokens are those of the patches.
        height, width: h and w.
    """

    kind: Literal["first", "last", "tokens"]
    height: int
    width: int

    def places(self, values: Any) -> Any:
        """The part of an array or tensor that is spread over the picture."""
        if self.kind != "tokens":
            return values
        return values[:, values.shape[1] - self.height * self.width :]

    def maps(self, values: NDArray[Any]) -> NDArray[Any]:
        """The layer's values as [N, C, h, w]."""
        if self.kind == "first":
            return values
        values = self.places(values)
        if self.kind == "tokens":
            values = values.reshape(len(values), self.height, self.width, -1)
        return values.transpose(0, 3, 1, 2)


def is_attention(values: NDArray[Any]) -> bool:
    """Whether values [N, heads, T, T'] are a softmax over the last axis."""
    if values.ndim != 4 or values.min() < 0:
        return False
    return bool(abs(values.sum(axis=-1) - 1).max() < 1e-2)
