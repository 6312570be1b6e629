"""How important units are: the drop in a class's score when a unit is set to zero."""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, TargetError, UnsupportedModelError
from ..interpreter.layer_ablation import LayerAblation
from ..probe import Probe
from ..probe.inputs import rows_of
from ..progress import progress_bar
from ..subject import Subject
from ..targets import ClassScore, ScoreKind

__all__ = ["Ablation", "ablate_units"]


@dataclass(frozen=True)
class Ablation:
    """How important the units of a layer are for a class.

    Attributes:
        layer: the layer's name.
        label: the class.
        gradient_of: which score of the class, see `ClassScore`.
        units: int64 [U], the units that were set to zero, one at a time.
        scores: [N], the score of each image with all units.
        drops: [N, U], by how much it falls without each unit; negative where it rises.
    """

    layer: str
    label: int
    gradient_of: ScoreKind
    units: NDArray[np.int64]
    scores: NDArray[np.float64]
    drops: NDArray[np.float64]

    @property
    def of(self) -> ScoreKind:
        """Old name of gradient_of."""
        return self.gradient_of

    def mean(self) -> NDArray[np.float64]:
        """Mean drop of each unit over the images, [U]."""
        return np.asarray(self.drops.mean(axis=0))

    def most_important(self, count: int = 10) -> list[tuple[int, float]]:
        """The units without which the score falls most: (unit, mean drop), largest first."""
        mean = self.mean()
        order = np.argsort(-mean, kind="stable")[:count]
        return [(int(self.units[i]), float(mean[i])) for i in order]


def ablate_units(
    probe: Any,
    x: Any,
    label: int | str,
    layer: str,
    units: Sequence[int] | NDArray[np.int64] | None = None,
    *,
    gradient_of: ScoreKind | None = None,
    of: ScoreKind | None = None,
) -> Ablation:
    """Set each unit of a layer to zero, and measure by how much the score of a class falls.

    Where the network allows it, only what follows the layer runs again for each unit. Bau et al.
    2020, https://arxiv.org/abs/2009.05041.

    Args:
        probe: the model: a Probe, a paddle.nn.Layer or a Subject.
        x: pictures or arrays, as `Interpreter.explain` takes them.
        label: the class, by index or name.
        layer: a layer with outputs [N, U] or [N, U, h, w].
        units: which of its units, whole numbers from 0, each once; None takes all.
        gradient_of: which score of the class, see `ClassScore`; None is "logit".
        of: old name of gradient_of; deprecated.

    Raises:
        InputError: a unit that the layer does not have, or what is no list of units.
        UnsupportedModelError: the layer has outputs of another rank, or runs several times with
            outputs of different shapes.
        ImageReadError, TargetError, LayerNotFoundError, ResourceError.
    """
    if of is not None:
        warnings.warn("of= is deprecated; give gradient_of=", DeprecationWarning, stacklevel=2)
        gradient_of = gradient_of or of
    if isinstance(probe, Probe):
        subject = replace(Subject.of(probe.model), probe=probe)
    else:
        subject = Subject.of(probe)
    batch = subject.read(x)
    target = subject.target(label, batch, gradient_of)
    if not isinstance(target, ClassScore) or target.labels.ndim:
        raise TargetError(f"label must be one class, by index or name; got {label!r}")
    run = subject.probe
    scores = run.scores(batch.inputs, target).astype(np.float64)
    shape = run.activations(rows_of(batch.inputs, slice(1)), layer)[layer].shape[1:]
    if len(shape) not in (1, 3):
        raise UnsupportedModelError(
            f"ablation needs a layer with an output [N, U] or [N, U, h, w]; that of {layer!r} is "
            f"[{', '.join(map(str, ('N', *shape)))}]"
        )
    chosen = np.arange(shape[0]) if units is None else _chosen(units, shape[0], layer)
    places = np.arange(np.prod(shape)).reshape(shape[0], -1)
    ablation = LayerAblation(run, batch.inputs, layer, shape, places)
    with progress_bar(len(batch) * len(chosen), f"ablate {layer}", "unit") as bar:
        without = [ablation.scores(n, chosen, target, bar.update) for n in range(len(batch))]
    drops = scores[:, None] - np.stack(without)
    return Ablation(layer, int(target.labels), target.of, chosen, scores, drops)


def _chosen(units: Any, count: int, layer: str) -> NDArray[np.int64]:
    """Units that were named, int64 [U]. NumPy alone would take 1.5 and True for unit 1."""
    given = units.numpy() if hasattr(units, "numpy") else units
    listed = isinstance(given, Sequence | np.ndarray) and not isinstance(given, str | bytes)
    if not listed or getattr(given, "ndim", 1) != 1:
        raise InputError(
            f"units must be a list of whole numbers, or None for all; got {reprlib.repr(units)}"
        )
    seen: set[int] = set()
    for unit in given:
        if isinstance(unit, bool | np.bool_) or not isinstance(unit, int | np.integer):
            what = f"got {reprlib.repr(unit)}, which is no whole number"
        elif not 0 <= unit < count:
            what = f"got {reprlib.repr(unit)}"
        elif unit in seen:
            what = f"{unit} was given twice"
        else:
            seen.add(int(unit))
            continue
        raise InputError(f"{layer!r} has units 0 to {count - 1}; {what}")
    if not seen:
        raise InputError(f"{layer!r} has units 0 to {count - 1}; none was given")
    return np.array([int(unit) for unit in given], np.int64)
