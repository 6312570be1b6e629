"""What class activation maps share: a layer's activations and gradients, to one map per image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import UnsupportedModelError
from ..targets import ScoreKind
from .base import Array, Interpreter
from .labels import Labels

__all__ = ["CAMBase"]


class CAMBase(Interpreter):
    """Base of class activation maps that need a layer's activation and gradient, and no more."""

    positional = ("target_layer_name", "label")

    def layer_maps(
        self,
        x: Array,
        labels: Labels,
        layers: str | Sequence[str] | None,
        gradient_of: ScoreKind,
        combine: Callable[[Array, Array], Array],
    ) -> Array:
        """The mean over layers of `combine(activation, gradient)`, both float [N, C, h, w].

        Args:
            layers: one name or several; None takes the last layer with a spatial output.
            combine: gives [N, h, w].

        Returns:
            float [N, h, w]; with several layers at the largest one's size.
        """
        if layers is None:
            layers = self.probe.last_spatial_layer(x)
        names = [layers] if isinstance(layers, str) else list(layers)
        found = self.probe.gradients(x, self.target(labels, gradient_of), at=names)
        maps = [
            combine(_spatial(found.activations[name], name), found.gradients[name])
            for name in names
        ]
        return mean_of_maps(maps)


def _spatial(activation: Array, name: str) -> Array:
    if activation.ndim != 4:
        raise UnsupportedModelError(
            f"layer {name!r} gives {list(activation.shape)}; a class activation map needs "
            "[N, C, h, w]"
        )
    return activation


def mean_of_maps(maps: Sequence[Array]) -> Array:
    """Mean of maps [N, h, w], each brought to the size of the largest."""
    from ..data_processor.heatmaps import heatmap_of

    size = max((m.shape[1:] for m in maps), key=np.prod)
    same = [m if m.shape[1:] == size else heatmap_of(m, size, signed=True) for m in maps]
    mean: Array = np.mean(same, axis=0)
    return mean
