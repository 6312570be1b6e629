"""Class activation maps without a backward pass: CAM and Eigen-CAM."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import paddle

from ..errors import TargetError, UnsupportedModelError
from ..probe import Spatial
from ..registry import register
from ..targets import ClassScore, TargetLike, TopClass, settled
from .base import Array, Attribution
from .cam import CAMBase, mean_of_maps, spatial, transform_of

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
    ) -> Attribution:
        """The class activation map.

        Returns:
            float [N, h, w], signed, at the layer's size; diagnostics "layers", their names.

        Raises:
            UnsupportedModelError: the network does not end in average pooling of the layer and one
                dense layer, found by running it.
            TargetError: the target is not a class's logit.
            LayerNotFoundError: no layer of that name, or it did not run.
            InputError: target_layer_name is no name, or an empty list.
        """
        _check_logit(target)
        given = self.layer_names(x, target_layer_name)
        last, dense = self._ends(x)
        names = given or (last,)
        # One run for activations and logits; its backward pass is through the dense layer only.
        ends = (*names, f"{dense}:input", dense)
        run = self.probe.gradients(x, target, at=Spatial(ends))
        labels = settled(target, run.outputs).labels  # type: ignore[attr-defined]  # a ClassScore
        found = run.activations
        # Up to a constant for each image: the logits may be a softmax's logarithm.
        if not _same(_centred(found[dense]), _centred(run.outputs)):
            raise _unsupported(f"what follows its last dense layer {dense!r} changes the logits")
        classes = np.broadcast_to(labels, len(x))
        weights = self.probe.layer(dense).weight.numpy().T[classes]
        maps = []
        for name in names:
            activation = spatial(found[name], name, transform_of(run, name))
            if not _same(activation.mean(axis=(2, 3)), found[f"{dense}:input"]):
                raise _unsupported(
                    f"its last dense layer {dense!r} is not fed the mean of layer {name!r} over "
                    "the positions"
                )
            maps.append(np.einsum("nc,nchw->nhw", weights, activation))
        return Attribution(mean_of_maps(maps), {"layers": list(names)}, outputs=run.outputs)

    def _ends(self, x: Array) -> tuple[str, str]:
        """Names of the last layer with a height and a width and of the last dense one, in a run."""
        shapes = self.probe.layer_shapes(x)
        maps = [name for name, s in shapes.items() if len(s) == 4 and min(s[2:]) > 1]
        dense = [n for n in shapes if isinstance(self.probe.layer(n), paddle.nn.Linear)]
        if not dense:
            raise _unsupported("it has no dense layer (paddle.nn.Linear)")
        if not maps:
            raise _unsupported("no layer has an output [N, C, h, w] with h and w above 1")
        return maps[-1], dense[-1]


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
    class_blind=True,
    layout="nhw",
    one_pass=True,
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
    ) -> Attribution:
        """Eigen-CAM of one layer, or the mean of several layers' maps.

        Returns:
            float [N, h, w], not negative, at the layer's size; diagnostics "layers", their names.

        Raises:
            LayerNotFoundError: no layer of that name, or it did not run.
            UnsupportedModelError: it is not known how the layer's output is spread.
            InputError: target_layer_name is no name, or an empty list.
        """
        found = self.activations(x, target, target_layer_name)
        maps = [
            _first_component(spatial(values, name, transform_of(found, name, reshape_transform)))
            for name, values in found.activations.items()
        ]
        diagnostics = {"layers": list(found.activations)}
        return Attribution(mean_of_maps(maps), diagnostics, outputs=found.outputs)


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
