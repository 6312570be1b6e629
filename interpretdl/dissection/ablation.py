"""What a unit matters: the drop in a class's score when the unit is set to zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UnsupportedModelError
from ..probe import Probe
from ..probe.hooks import Tensor
from ..progress import progress_bar
from ..targets import ClassScore, ScoreKind

__all__ = ["Ablation", "ablate_units"]

_AT_ONCE = 32


@dataclass(frozen=True)
class Ablation:
    """What the units of a layer matter to a class.

    Attributes:
        layer: the layer's name.
        label: the class.
        of: what its score is, see `ClassScore`.
        units: int64 [U], the units that were set to zero, one at a time.
        scores: [N], the score of each image with all units.
        drops: [N, U], by how much it falls without each; negative where it rises.
    """

    layer: str
    label: int
    of: ScoreKind
    units: NDArray[np.int64]
    scores: NDArray[np.float64]
    drops: NDArray[np.float64]

    def mean(self) -> NDArray[np.float64]:
        """Mean drop of each unit over the images, [U]."""
        return np.asarray(self.drops.mean(axis=0))

    def most_important(self, count: int = 10) -> list[tuple[int, float]]:
        """The units whose absence costs the class most: (unit, mean drop), largest first."""
        mean = self.mean()
        order = np.argsort(-mean, kind="stable")[:count]
        return [(int(self.units[i]), float(mean[i])) for i in order]


def ablate_units(
    probe: Probe,
    x: NDArray[Any],
    label: int,
    layer: str,
    units: Sequence[int] | NDArray[np.int64] | None = None,
    *,
    of: ScoreKind = "logit",
) -> Ablation:
    """Set each unit of a layer to zero and see what it costs a class.

    What comes before the layer runs once for many units. Bau et al. 2020,
    https://arxiv.org/abs/2009.05041.

    Args:
        probe: the model.
        x: images of the class as the network takes them, float [N, C, H, W].
        label: the class.
        layer: a layer with outputs [N, U] or [N, U, h, w].
        units: which of its units; None takes all.
        of: the score, see `ClassScore`.

    Raises:
        InputError: a unit that the layer does not have.
        TargetError, LayerNotFoundError, UnsupportedModelError, ResourceError.
    """
    x = np.asarray(x)
    target = ClassScore(int(label), of)
    scores = probe.scores(x, target)
    shape = probe.activations(x[:1], layer)[layer].shape
    if len(shape) not in (2, 4):
        raise UnsupportedModelError(
            f"ablation needs a layer with an output [N, U] or [N, U, h, w]; that of {layer!r} is "
            f"{list(shape)}"
        )
    chosen = np.arange(shape[1]) if units is None else np.asarray(units, np.int64)
    wrong = chosen[(chosen < 0) | (chosen >= shape[1])]
    if len(wrong) or not len(chosen):
        what = f"got {wrong[0]}" if len(wrong) else "none was given"
        raise InputError(f"{layer!r} has units 0 to {shape[1] - 1}; {what}")
    drops = np.empty((len(x), len(chosen)))
    parts = [chosen[i : i + _AT_ONCE] for i in range(0, len(chosen), _AT_ONCE)]
    with progress_bar(len(x) * len(parts), f"ablate {layer}", "run") as bar:
        for n in range(len(x)):
            done = 0
            for part in parts:
                edit = {layer: _without(part)}
                without = probe.scores(x[n : n + 1], target, edit=edit)
                drops[n, done : done + len(part)] = scores[n] - without
                done += len(part)
                bar.update()
    return Ablation(layer, int(label), of, chosen, scores.astype(np.float64), drops)


def _without(units: NDArray[np.int64]) -> Any:
    """An edit from one image's output to one row for each unit, in which that unit is zero."""
    import paddle

    def edit(y: Tensor) -> Tensor:
        kept = np.ones((len(units), y.shape[1]), np.float32)
        kept[np.arange(len(units)), units] = 0
        mask = paddle.to_tensor(kept, place=y.place).astype(y.dtype)
        return y * mask.reshape([len(units), y.shape[1], *[1] * (y.ndim - 2)])

    return edit
