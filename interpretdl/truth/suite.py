"""Problem: pictures, a model, and where the evidence for a class lies, known beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

__all__ = ["Problem"]


@dataclass(frozen=True, eq=False)
class Problem:
    """Pictures whose explanation is known.

    Attributes:
        name: such as "keys".
        suite: "planted", "trained", "parts" or "shortcut".
        model: paddle.nn.Layer in eval mode, float32, from x to logits [N, K].
        x: float32 [N, C, H, W], as the model takes them. 0 is what stands where something was
            taken out.
        labels: int64 [N], the class whose logit is explained.
        masks: bool [N, H, W], where the evidence lies, without tolerance. False everywhere where
            nothing in the picture decides.
        doc: one sentence: what the model does, and what the truth is.
        others: int64 [N], another class, whose evidence lies elsewhere in the same picture.
        other_masks: bool [N, H, W], where that lies.
        parts: bool [N, P, H, W], parts of the picture.
        importance: float64 [N, P], how much the logit falls without each part.
        layer: the layer for class activation maps; None leaves the choice to the method.
        options: {method: {option: value}}, what methods need for this model, such as LRP's
            composite for attention; what is given to `run` goes before it.

    Raises:
        InputError: arrays that do not fit together.
    """

    name: str
    suite: str
    model: Any
    x: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: NDArray[np.bool_]
    doc: str
    others: NDArray[np.int64] | None = None
    other_masks: NDArray[np.bool_] | None = None
    parts: NDArray[np.bool_] | None = None
    importance: NDArray[np.float64] | None = None
    layer: str | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.x.ndim != 4 or self.x.dtype != np.float32:
            raise InputError(
                f"{self.name}: x must be float32 [N, C, H, W]; got {self.x.dtype} "
                f"{list(self.x.shape)}"
            )
        for first, second in (("others", "other_masks"), ("parts", "importance")):
            if (getattr(self, first) is None) != (getattr(self, second) is None):
                raise InputError(f"{self.name}: {first} and {second} go together; one is missing")
        n, (height, width) = len(self.x), self.x.shape[2:]
        count = 0 if self.parts is None else self.parts.shape[1]
        shapes = {
            "labels": (n,), "masks": (n, height, width), "others": (n,),
            "other_masks": (n, height, width), "parts": (n, count, height, width),
            "importance": (n, count),
        }  # fmt: skip
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise InputError(
                    f"{self.name}: {name} must be {list(shape)}; got {list(array.shape)}"
                )

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        return f"<Problem {self.suite}/{self.name}, {len(self)} pictures>"

    def take(self, n: int | None) -> Problem:
        """The problem of its first n pictures; None: all.

        Raises:
            InputError: fewer than one.
        """
        if n is None or n >= len(self):
            return self
        if n < 1:
            raise InputError(f"pictures must be 1 or more; got {n}")
        arrays = {
            name: value[:n] for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return Problem(**{**vars(self), **arrays})
