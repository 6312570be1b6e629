"""What a method returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

__all__ = ["Attribution"]

Array = NDArray[Any]


@dataclass
class Attribution:
    """What `attribute` returns when values alone do not say all.

    Attributes:
        values: float [N, C, H, W], [N, 1, H, W] or [N, h, w]; or the input's shape.
        diagnostics: facts on the run, arrays [N] or single values.
        signed: overrides the registered fact when an option changes it.
        outputs: the model's outputs for the inputs themselves, [N, K], where the method has run
            them; `explain` then need not.
    """

    values: Array
    diagnostics: dict[str, Any] = field(default_factory=dict)
    signed: bool | None = None
    outputs: Array | None = None
