"""What a network uses, measured by taking things out of its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .networks import logits

__all__ = ["Measured", "falls"]

_SHARE = 0.1
"""Of the largest fall, from which on a part counts as evidence."""


def falls(
    model: Any, pictures: NDArray[np.float32], changed: Sequence[NDArray[np.float32]]
) -> NDArray[np.float64]:
    """How much each logit falls when parts of the pictures are changed.

    Args:
        model: the network.
        pictures: float32 [N, 3, 64, 64] in [0, 1].
        changed: for each of P parts float32 [N, D, 3, 64, 64], the pictures in which that part is
            changed in D ways.

    Returns:
        float64 [N, P, K], the mean over the ways.
    """
    after = np.stack([logits(model, ways).mean(axis=1) for ways in changed], axis=1)
    fallen: NDArray[np.float64] = logits(model, pictures)[:, None] - after
    return fallen


@dataclass(frozen=True)
class Measured:
    """Pictures, their parts, and how much each logit falls without each.

    Attributes:
        pictures: float32 [N, 3, 64, 64] in [0, 1].
        parts: bool [N, P, 64, 64]; the last is the background.
        falls: float64 [N, P, K].
    """

    pictures: NDArray[np.float32]
    parts: NDArray[np.bool_]
    falls: NDArray[np.float64]

    def importance(self, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """The falls of one logit of each picture, float64 [N, P]."""
        return np.take_along_axis(self.falls, labels[:, None, None], axis=2)[..., 0]

    def evidence(self, importance: NDArray[np.float64], among: int) -> NDArray[np.bool_]:
        """What decides: the parts with at least a tenth of the largest fall, bool [N, 64, 64].

        Args:
            importance: [N, P].
            among: how many parts, from the first, can be evidence.
        """
        fall = importance[:, :among]
        chosen = (fall > 0) & (fall >= _SHARE * fall.max(axis=1, keepdims=True))
        return np.asarray((self.parts[:, :among] & chosen[:, :, None, None]).any(axis=1))
