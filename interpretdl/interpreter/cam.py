"""What class activation maps share: a layer's activations and gradients, to one map per image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import InputError, UnsupportedModelError
from ..targets import TargetLike
from .base import Array, Attribution, Interpreter

__all__ = ["CAMBase", "GradientCAM", "mean_of_maps", "ratio", "spatial"]


class CAMBase(Interpreter):
    """Base of class activation maps."""

    positional = ("target_layer_name", "label")

    def layer_names(self, x: Array, given: str | Sequence[str] | None) -> list[str]:
        """The layers to explain through: those given, or the last one with a spatial output."""
        if given is None:
            return [self.probe.last_spatial_layer(x)]
        names = [given] if isinstance(given, str) else list(given)
        if not names:
            raise InputError("target_layer_name is an empty list; name a layer, or give None")
        return names


class GradientCAM(CAMBase):
    """Base of maps computed from a layer's activation and gradient. Subclass and write `combine`.

    Only what follows the layers is run backward.
    """

    @staticmethod
    @abstractmethod
    def combine(activation: Array, gradient: Array) -> Array:
        """The map [N, h, w] of an activation and the score's gradient, both [N, C, h, w]."""

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        target_layer_name: str | Sequence[str] | None = None,
        reshape_transform: Callable[[Array], Array] | None = None,
    ) -> Attribution:
        """The map of one layer, or the mean of several layers' maps.

        Returns:
            float [N, h, w] at the layer's size.

        Raises:
            LayerNotFoundError: no layer of that name, or it did not run.
            UnsupportedModelError: the layer's output is not [N, C, h, w].
            InputError: no layer in the list.
        """
        names = self.layer_names(x, target_layer_name)
        found = self.probe.gradients(x, target, at=names)
        maps = [
            self.combine(
                spatial(found.activations[name], name, reshape_transform),
                spatial(found.gradients[name], name, reshape_transform),
            )
            for name in names
        ]
        return Attribution(mean_of_maps(maps), outputs=found.outputs)


def spatial(
    values: Array, name: str, reshape_transform: Callable[[Array], Array] | None = None
) -> Array:
    """A layer's values as [N, C, h, w].

    Raises:
        UnsupportedModelError: they are not.
    """
    result = values if reshape_transform is None else np.asarray(reshape_transform(values))
    if result.ndim != 4 or len(result) != len(values):
        gives = f"layer {name!r} gives {list(values.shape)}"
        if reshape_transform is not None:
            gives += f", of which reshape_transform makes {list(result.shape)}"
        raise UnsupportedModelError(
            f"{gives}; a class activation map needs [{len(values)}, C, h, w]: name another layer, "
            "or give reshape_transform="
        )
    return result


def mean_of_maps(maps: Sequence[Array]) -> Array:
    """Mean of maps [N, h, w], each brought to the size of the largest."""
    from ..data_processor.heatmaps import heatmap_of

    size = max((m.shape[1:] for m in maps), key=np.prod)
    same = [m if m.shape[1:] == size else heatmap_of(m, size, signed=True) for m in maps]
    mean: Array = np.mean(same, axis=0)
    return mean


def ratio(a: Array, b: Array) -> Array:
    """a / b, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape, a.dtype), where=b != 0)
