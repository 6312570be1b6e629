"""What a method returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Attribution", "joined"]

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


def joined(parts: Sequence[Attribution]) -> Attribution:
    """Results of consecutive items as one."""
    first = parts[0]
    if len(parts) == 1:
        return first
    facts = {
        name: np.concatenate([part.diagnostics[name] for part in parts])
        if isinstance(value, np.ndarray)
        else value
        for name, value in first.diagnostics.items()
    }
    outputs = [part.outputs for part in parts if part.outputs is not None]
    values = np.concatenate([part.values for part in parts])
    return Attribution(values, facts, first.signed, np.concatenate(outputs) if outputs else None)
