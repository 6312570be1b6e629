"""Ablation-CAM: class activation maps from what a layer's channels are needed for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import InputError
from ..progress import progress_bar
from ..registry import register
from ..targets import TargetLike, settled
from .base import Array, Attribution
from .cam import CAMBase, Transform, mean_of_maps, spatial, transform_of
from .layer_ablation import LayerAblation

__all__ = ["AblationCAMInterpreter"]


@register(
    "ablation_cam",
    layout="nhw",
    one_pass=True,
    signed=False,
    needs_layer=True,
    paper="Desai, Ramaswamy: Ablation-CAM, Visual Explanations for Deep Convolutional Network via "
    "Gradient-free Localization, 2020",
    url="https://openaccess.thecvf.com/content_WACV_2020/html/"
    "Desai_Ablation-CAM_Visual_Explanations_for_Deep_Convolutional_Network_via_Gradient-free_"
    "WACV_2020_paper.html",
)
class AblationCAMInterpreter(CAMBase):
    """Ablation-CAM: each channel weighted by how much the score drops without it, no gradient.

        R = ReLU(Σ_c w_c A_c),    w_c = (f − f with A_c set to 0) / |f|

    The paper divides by f; its size keeps the sign right where the score is negative, and by 1
    where it is 0. Only what follows the layer is run for every channel, where the network allows
    it; channels that are 0 need no run. The map is not negative.
    """

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        target_layer_name: str | Sequence[str] | None = None,
        reshape_transform: Callable[[Array], Array] | None = None,
    ) -> Attribution:
        """Ablation-CAM of one layer, or the mean of several layers' maps.

        Returns:
            float [N, h, w], not negative, at the layer's size; diagnostics "ablations" [N], the
            channels that were run without, and "layers", the layers' names.

        Raises:
            LayerNotFoundError: no layer of that name, or it did not run.
            UnsupportedModelError: it is not known how the layer's output is spread.
            InputError: target_layer_name is no name, or an empty list, or a reshape_transform that
                computes new values.
        """
        found = self.activations(x, target, target_layer_name)
        target, scores = settled(target, found.outputs), found.scores
        ablations = np.zeros(len(x), np.int64)
        maps = []
        for name, raw in found.activations.items():
            transform = transform_of(found, name, reshape_transform)
            activation = spatial(raw, name, transform)
            places = _places(raw[:1], name, transform)
            ablation = LayerAblation(self.probe, x, name, raw.shape[1:], places)
            weights = np.zeros(activation.shape[:2])
            alive = np.abs(activation).max(axis=(2, 3)) > 0
            ablations += alive.sum(axis=1)
            with progress_bar(int(alive.sum()), "Ablation-CAM", unit="channel") as bar:
                for i, some in enumerate(alive):
                    channels = np.flatnonzero(some)
                    without = ablation.scores(i, channels, target, bar.update)
                    weights[i, channels] = scores[i] - without
            weights /= np.where(scores == 0, 1, np.abs(scores))[:, None]
            maps.append(np.maximum(np.einsum("nc,nchw->nhw", weights, activation), 0))
        diagnostics = {"ablations": ablations, "layers": list(found.activations)}
        return Attribution(mean_of_maps(maps), diagnostics, outputs=found.outputs)


def _places(raw: Array, name: str, transform: Transform) -> Array:
    """Where each channel's values stand in the layer's flat output, int64 [C, h·w].

    Found by sending the positions' numbers through the transform.

    Args:
        raw: the layer's output for one image, [1, ...].
    """
    numbers = np.arange(raw.size, dtype=np.float64).reshape(raw.shape)
    moved = spatial(numbers, name, transform)[0]
    places: Array = np.rint(moved).astype(np.int64).reshape(len(moved), -1)
    if not np.array_equal(places.ravel(), moved.ravel()) or len(np.unique(places)) < places.size:
        raise InputError(
            "Ablation-CAM needs a reshape_transform that only moves or leaves out values; this one "
            "computes new ones, so it is not known what in the layer a channel is"
        )
    return places
