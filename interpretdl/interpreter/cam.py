"""What class activation maps share: a layer's activations and gradients, to one map per image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..errors import InputError, LayerNotFoundError, TargetError, UnsupportedModelError
from ..probe import Gradients, Spatial, is_attention
from ..targets import TargetLike, target_of
from .base import Array, Attribution, Interpreter

__all__ = [
    "CAMBase",
    "GradientCAM",
    "Transform",
    "mean_of_maps",
    "ratio",
    "spatial",
    "transform_of",
]

Transform: TypeAlias = Callable[[Array], Array]


class CAMBase(Interpreter):
    """Base of class activation maps."""

    positional = ("target_layer_name", "label")

    def layer_names(self, x: Array, given: Any) -> tuple[str, ...]:
        """The layers that are given; none for None.

        Raises:
            InputError: not a name or names, such as a class index in the place of a layer.
            LayerNotFoundError: no layer of that name; a class of that name is told from it.
        """
        if given is None:
            return ()
        given = given.tolist() if isinstance(given, np.ndarray | np.generic) else given
        names = tuple(given) if isinstance(given, list | tuple) else (given,)
        if not names:
            raise InputError("target_layer_name is an empty list; name a layer, or give None")
        for name in names:
            if not isinstance(name, str):
                raise InputError(
                    f"target_layer_name must be a layer's name, or several in a list; got {given!r}"
                    f". If this is what is to be explained, write label={given!r}"
                )
            try:
                self.probe.layer(name)
            except LayerNotFoundError:
                if not self._is_class(x, name):
                    raise
                raise LayerNotFoundError(
                    f"target_layer_name={name!r} is a class, not a layer; write label={name!r}"
                ) from None
        return names

    def activations(self, x: Array, target: TargetLike, given: Any) -> Gradients:
        """Activations of the layers that are given, or of the one that is taken for None."""
        names = self.layer_names(x, given)
        if names:
            return self.probe.forward(x, target, Spatial(names))
        return self.probe.gradients(x, target, at=Spatial(any_score=True))

    def _is_class(self, x: Array, name: str) -> bool:
        try:
            names = self.subject.names(self.probe.logits(x[:1]).shape[-1])
            target_of(name, "logit", names, 1, [0])
        except (InputError, TargetError):
            return False
        return True


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
            float [N, h, w] at the layer's size; diagnostics "layers", their names.

        Raises:
            LayerNotFoundError: no layer of that name, or it did not run.
            UnsupportedModelError: it is not known how the layer's output is spread.
            InputError: target_layer_name is no name, or an empty list.
        """
        names = self.layer_names(x, target_layer_name)
        found = self.probe.gradients(x, target, at=Spatial(names))
        maps = []
        for name, activation in found.activations.items():
            transform = transform_of(found, name, reshape_transform)
            maps.append(
                self.combine(
                    spatial(activation, name, transform),
                    spatial(found.gradients[name], name, transform),
                )
            )
        diagnostics = {"layers": list(found.activations)}
        return Attribution(mean_of_maps(maps), diagnostics, outputs=found.outputs)


def transform_of(found: Gradients, name: str, given: Transform | None = None) -> Transform:
    """What makes [N, C, h, w] of a layer's values: the function given, or the layer's grid.

    Raises:
        UnsupportedModelError: none is given, and it is not known how the output is spread.
    """
    values, grid = found.activations[name], found.grids.get(name)
    if given is not None:
        return given
    if grid is not None and not is_attention(values):
        return grid.maps
    if grid is None and name.endswith(":input"):
        return lambda values: values
    what = f"{list(values.shape)}" + (", weights of attention" if is_attention(values) else "")
    raise UnsupportedModelError(
        f"layer {name!r} gives {what}; a class activation map needs [{len(found.outputs)}, C, h, "
        "w], or tokens of a known grid of patches: name another layer, or give reshape_transform="
    )


def spatial(values: Array, name: str, transform: Transform) -> Array:
    """A layer's values as [N, C, h, w].

    Raises:
        UnsupportedModelError: the function makes something else of them.
    """
    result = np.asarray(transform(values))
    if result.ndim != 4 or len(result) != len(values):
        raise UnsupportedModelError(
            f"layer {name!r} gives {list(values.shape)}, of which reshape_transform makes "
            f"{list(result.shape)}; a class activation map needs [{len(values)}, C, h, w]"
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
