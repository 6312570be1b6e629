"""The model as a function of its input, or of what an inner layer gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import paddle
from numpy.typing import NDArray

from ..errors import ResourceError, warn
from ..probe import Array, Gradients, Probe, Tensor
from ..probe.hooks import concatenated
from ..targets import TargetLike, take
from ..tensors import from_numpy

__all__ = ["LayerFunction"]


class LayerFunction:
    """The score as a function of the input or of a layer's values: values of N images there, and
    gradients at any others.

    At a layer the rest of the network is seen as a function of the layer's values alone. A layer
    through which everything passes is computed from those values with no run of what comes before.
    Where something passes by it (a branch, a shortcut), that is held at the image's own values, and
    a warning says so.

    Args:
        probe: runs the model.
        x: float [N, ...].
        layer: a layer's name, for its output; "name:input" for what goes in; None for the input.

    Raises:
        LayerNotFoundError: no such layer.
    """

    def __init__(self, probe: Probe, x: Array, layer: str | None = None) -> None:
        self._probe, self._x, self._layer = probe, x, layer
        self.values = self.at(x)
        self.shared = layer is None or self._everything_passes(layer)
        if not self.shared:
            warn(
                f"not everything passes through layer {layer!r}: what passes by it is held at "
                "the image's own values, and the attribution is of the rest"
            )

    def at(self, inputs: Array) -> Array:
        """Values of other inputs here."""
        if self._layer is None:
            return inputs
        return self._probe.activations(inputs, self._layer)[self._layer]

    def batch(self) -> int:
        """Rows to run at once."""
        return self._probe.batch_plan(self._x) if self.shared else 1

    def many(self, samples: int) -> AbstractContextManager[None]:
        """A context in which gradients at about so many points will be asked for."""
        return self._probe.many(samples, gradient=True)

    def gradients(
        self, images: NDArray[np.int64], points: Array, targets: Sequence[TargetLike]
    ) -> list[Array]:
        """For each target the gradient of its score, [m, ...], at points [m, ...].

        Args:
            images: [m], which image each point belongs to (for its label).
        """
        runs = self._runs(images, points, targets)
        if self._layer is None:
            return [found.input for found in runs]
        return [found.gradients[self._layer] for found in runs]

    def slopes(self, image: int, points: Array, target: TargetLike) -> tuple[Array, Array]:
        """The target's scores, float64 [m], and their gradients, at points of one image."""
        size = len(points) if self._layer is None else self.batch()
        parts = [points[start : start + size] for start in range(0, len(points), size)]
        runs = [self._runs(np.full(len(part), image), part, [target])[0] for part in parts]
        at = str(self._layer)
        found = [run.input if self._layer is None else run.gradients[at] for run in runs]
        scores = np.concatenate([run.scores for run in runs]).astype(np.float64)
        return scores, np.concatenate(found)

    def _runs(
        self, images: NDArray[np.int64], points: Array, targets: Sequence[TargetLike]
    ) -> list[Gradients]:
        mine = [take(target, images) for target in targets]
        if self._layer is None:
            return self._probe.gradients_of(points, mine)
        x, edit = self._with(images[0], points)
        try:
            return self._probe.gradients_of(x, mine, at=self._layer, edit=edit)
        except ResourceError:
            # One image became many rows, which the probe cannot cut.
            half = len(points) // 2
            if not half:
                raise
            first = self._runs(images[:half], points[:half], targets)
            second = self._runs(images[half:], points[half:], targets)
            return [concatenated(list(pair)) for pair in zip(first, second, strict=True)]

    def outputs(self, image: int, points: Array) -> Array:
        """The model's output [m, K] at points [m, ...] that belong to one image."""
        if self._layer is None:
            return self._probe.logits(points)
        size = self.batch()
        parts = [points[start : start + size] for start in range(0, len(points), size)]
        return np.concatenate([self._replaced(image, part) for part in parts])

    def scores(self, image: int, outputs: Array, target: TargetLike) -> Array:
        """The target's scores [m], as for that image, of outputs [m, K]."""
        rows = np.full(len(outputs), image)
        score = take(target, rows)(from_numpy(outputs, paddle.CPUPlace()))
        return np.asarray(score.numpy(), np.float64)

    def _with(
        self, image: int, points: Array
    ) -> tuple[Array, dict[str, Callable[[Tensor], Tensor]]]:
        """One input, and an edit that replaces the layer's values by points."""
        where = 0 if self.shared else image
        return self._x[where : where + 1], {
            str(self._layer): lambda y: from_numpy(points, y.place, y.dtype)
        }

    def _replaced(self, image: int, points: Array) -> Array:
        x, edit = self._with(image, points)
        return self._probe.logits(x, edit=edit)

    def _everything_passes(self, layer: str) -> bool:
        """Whether another input's values here give that input's output."""
        self.shared = True
        other = self._x[:1] + np.random.default_rng(0).standard_normal(self._x[:1].shape)
        other = other.astype(self._x.dtype)
        expected = self._probe.logits(other)
        got = self._replaced(0, self.at(other))
        scale = float(np.abs(expected).max())
        return expected.shape == got.shape and np.allclose(got, expected, 1e-3, 1e-4 * scale)
