"""Score-CAM: class activation maps from what the network says to masked images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..progress import progress_bar
from ..registry import register
from ..targets import TargetLike, settled, take
from .base import Array, Attribution
from .cam import CAMBase, mean_of_maps, spatial, transform_of

__all__ = ["ScoreCAMInterpreter"]


@register(
    "score_cam",
    layout="nhw",
    one_pass=True,
    signed=False,
    needs_layer=True,
    paper="Wang et al.: Score-CAM, Score-Weighted Visual Explanations for Convolutional Neural "
    "Networks, 2020",
    url="https://arxiv.org/abs/1910.01279",
)
class ScoreCAMInterpreter(CAMBase):
    """Score-CAM: each channel weighted by the score of the image seen through it, no gradient.

        R = ReLU(Σ_c w_c A_c),    w = softmax over c of f(x · M_c) − f(0)

    A_c is enlarged bilinearly to the image, M_c is A_c scaled to [0, 1]. A channel that is the same
    everywhere hides all of the image: its M is 0. f(0), the score of a blank input, is the same
    for all channels, so the softmax does not change with it; it is computed once, and only where
    there are such channels. Costs a forward pass for every other channel. The map is not negative.
    """

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        target_layer_name: str | Sequence[str] | None = None,
        reshape_transform: Callable[[Array], Array] | None = None,
    ) -> Attribution:
        """Score-CAM of one layer, or the mean of several layers' maps.

        Returns:
            float [N, H, W], not negative, at the input's size; diagnostics "forwards" [N], the
            masked images run, and "layers", the layers' names.

        Raises:
            LayerNotFoundError: no layer of that name, or it did not run.
            UnsupportedModelError: it is not known how the layer's output is spread.
            InputError: target_layer_name is no name, or an empty list.
        """
        found = self.activations(x, target, target_layer_name)
        target = settled(target, found.outputs)
        channels = [
            spatial(values, name, transform_of(found, name, reshape_transform))
            for name, values in found.activations.items()
        ]
        total = len(x) * sum(a.shape[1] for a in channels)
        forwards = np.zeros(len(x), np.int64)
        maps = np.zeros((len(channels), len(x), *x.shape[2:]), np.float32)
        with self.probe.many(total), progress_bar(total, "Score-CAM", unit="mask") as bar:
            for k, activation in enumerate(channels):
                for i, one in enumerate(activation):
                    maps[k, i], runs = self._map(x[i], one, i, target, bar)
                    forwards[i] += runs
        diagnostics = {"forwards": forwards, "layers": list(found.activations)}
        return Attribution(mean_of_maps(list(maps)), diagnostics, outputs=found.outputs)

    def _map(
        self, x: Array, activation: Array, i: int, target: TargetLike, bar: Any
    ) -> tuple[Array, int]:
        """The map [H, W] of image i, x [C, H, W], by channels [c, h, w]; how many forwards."""
        from ..data_processor.heatmaps import heatmap_of

        low, high = activation.min(axis=(1, 2)), activation.max(axis=(1, 2))
        varied = np.flatnonzero(high > low)
        bar.update(len(activation) - len(varied))
        size = (x.shape[1], x.shape[2])

        def score(masks: Array) -> Array:
            rows = np.full(len(masks), i)
            return self.probe.scores((x * masks[:, None]).astype(x.dtype), take(target, rows))

        scores = np.zeros(len(activation))
        if len(varied) < len(activation):
            scores[:] = score(np.zeros((1, *size), np.float32))
        for rows in self.probe.cuts(x[None], len(varied)):
            part = varied[rows]
            scores[part] = score(_unit(heatmap_of(activation[part], size, signed=True)))
            bar.update(len(part))
        weights = np.exp(scores - scores.max())
        weights /= weights.sum()
        mixed = np.einsum("c,chw->hw", weights, activation)[None]
        runs = len(varied) + (len(varied) < len(activation))
        return np.maximum(heatmap_of(mixed, size, signed=True)[0], 0), runs


def _unit(masks: Array) -> Array:
    """Each mask [n, H, W] scaled to [0, 1]; one that enlarging has made constant becomes 0."""
    low = masks.min(axis=(1, 2), keepdims=True)
    span = masks.max(axis=(1, 2), keepdims=True) - low
    return np.asarray((masks - low) / np.where(span > 0, span, 1))
