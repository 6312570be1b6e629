"""Class activation maps without a backward pass: CAM and Eigen-CAM."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import paddle

from ..errors import TargetError, UnsupportedModelError
from ..registry import register
from ..targets import ClassScore, TargetLike, TopClass, settled
from .base import Array, Attribution
from .cam import CAMBase, mean_of_maps, spatial

__all__ = ["CAMInterpreter", "EigenCAMInterpreter"]


@register(
    "cam",
    layout="nhw",
    signed=True,
    needs_layer=True,
    one_pass=True,
    paper="Zhou et al.: Learning Deep Features for Discriminative Localization, 2016",
    url="https://arxiv.org/abs/1512.04150",
)
class CAMInterpreter(CAMBase):
    """CAM: the last layer's channels, weighted as the dense layer weights them for the class.

        R = Σ_c W_c A_c

    For networks that end in global average pooling and one dense layer, and only these: there the
    mean of R over the positions is the class's logit without its bias. Signed.
    """

    scores = ("logit",)

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        target_layer_name: str | Sequence[str] | None = None,
    ) -> Array:
        """The class activation map.

        Returns:
            float [N, h, w], signed, at the layer's size.

        Raises:
            UnsupportedModelError: the network does not end in average pooling of the layer and one
                dense layer, found by running it.
            TargetError: the target is not a class's logit.
            LayerNotFoundError: no layer of that name, or it did not run.
        """
        _check_logit(target)
        names = self.layer_names(x, target_layer_name)
        dense = self._dense_layer(x)
        # One run for activations and logits; its backward pass is through the dense layer only.
        ends = [*names, f"{dense}:input", dense]
        run = self.probe.gradients(x, target, at=ends)
        classes = settled(target, run.outputs).labels
        found = run.activations
        # Up to a constant for each image: the logits may be a softmax's logarithm.
        if not _same(_centred(found[dense]), _centred(run.outputs)):
            raise _unsupported(f"what follows its last dense layer {dense!r} changes the logits")
        classes = np.broadcast_to(classes, len(x))
        weights = self.probe.layer(dense).weight.numpy().T[classes]
        maps = []
        for name in names:
            activation = spatial(found[name], name)
            if not _same(activation.mean(axis=(2, 3)), found[f"{dense}:input"]):
                raise _unsupported(
                    f"its last dense layer {dense!r} is not fed the mean of layer {name!r} over "
                    "the positions"
                )
            maps.append(np.einsum("nc,nchw->nhw", weights, activation))
        return Attribution(mean_of_maps(maps), outputs=run.outputs)

    def _dense_layer(self, x: Array) -> str:
        """Name of the last dense layer in a run."""
        for name in reversed(self.probe.layer_shapes(x)):
            if isinstance(self.probe.layer(name), paddle.nn.Linear):
                return name
        raise _unsupported("it has no dense layer (paddle.nn.Linear)")


def _check_logit(target: TargetLike) -> None:
    if not isinstance(target, ClassScore | TopClass) or target.of != "logit":
        raise TargetError(
            f"CAM explains a class's logit; got the target {target!r}. Use grad_cam for it"
        )


def _unsupported(reason: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        "CAM needs a network that ends in global average pooling and one dense layer, but "
        f"{reason}; use grad_cam, which needs neither"
    )


def _centred(logits: Array) -> Array:
    return np.asarray(logits - logits.mean(axis=-1, keepdims=True))


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(
        np.allclose(a, b, rtol=1e-3, atol=1e-4 * float(np.abs(b).max()))
    )


@register(
    "eigen_cam",
    layout="nhw",
    signed=False,
    needs_layer=True,
    paper="Muhammad, Yeasin: Eigen-CAM, Class Activation Map using Principal Components, 2020",
    url="https://arxiv.org/abs/2008.00299",
)
class EigenCAMInterpreter(CAMBase):
    """Eigen-CAM: a layer's strongest pattern, whatever the class.

        A = U S Vᵀ  for A as [h·w, C] of one image,    R = ReLU(± A v₁)

    v₁ is the first right singular vector; A is not centred. It does not look at the class: the map
    is the same for every label. A singular vector's sign is arbitrary; here it is the one with
    Σ A v₁ · Σ_c A_c² > 0, the map and the activation's energy together, so that a layer behind a
    ReLU always gives a map without negative values. The map is not negative.
    """

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        target_layer_name: str | Sequence[str] | None = None,
        reshape_transform: Callable[[Array], Array] | None = None,
    ) -> Array:
        """Eigen-CAM of one layer, or the mean of several layers' maps.

        Returns:
            float [N, h, w], not negative, at the layer's size.

        Raises:
            LayerNotFoundError: no layer of that name, or it did not run.
            UnsupportedModelError: the layer's output is not [N, C, h, w].
        """
        names = self.layer_names(x, target_layer_name)
        found = self.probe.activations(x, names)
        return mean_of_maps(
            [_first_component(spatial(found[name], name, reshape_transform)) for name in names]
        )


def _first_component(activation: Array) -> Array:
    n, channels, h, w = activation.shape
    rows = activation.reshape(n, channels, h * w).transpose(0, 2, 1).astype(np.float64)
    # From the smaller of A Aᵀ and Aᵀ A: many times faster than the singular vectors of A.
    if h * w <= channels:
        values, vectors = np.linalg.eigh(rows @ rows.transpose(0, 2, 1))
        first = vectors[..., -1] * np.sqrt(np.maximum(values[:, -1:], 0))
    else:
        _, vectors = np.linalg.eigh(rows.transpose(0, 2, 1) @ rows)
        first = (rows @ vectors[..., -1:])[..., 0]
    sign = np.where((first * (rows**2).sum(axis=2)).sum(axis=1, keepdims=True) < 0, -1, 1)
    return np.asarray(np.maximum(sign * first, 0).reshape(n, h, w))
