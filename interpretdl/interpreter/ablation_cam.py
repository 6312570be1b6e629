"""Ablation-CAM: class activation maps from what a layer's channels are needed for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import paddle

from ..errors import InputError
from ..probe import Edits
from ..progress import progress_bar
from ..registry import register
from ..targets import TargetLike, take
from .base import Array, Attribution
from .cam import CAMBase, mean_of_maps, spatial

__all__ = ["AblationCAMInterpreter"]

_log = logging.getLogger(__name__)
_Transform = Callable[[Array], Array]


@register(
    "ablation_cam",
    layout="nhw",
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
            channels that were run without.

        Raises:
            LayerNotFoundError: no layer of that name, or it did not run.
            UnsupportedModelError: the layer's output is not [N, C, h, w].
            InputError: no layer in the list, or a reshape_transform that
                computes new values.
        """
        names = self.layer_names(x, target_layer_name)
        found = self.probe.activations(x, names)
        scores = self.probe.scores(x, target)
        ablations = np.zeros(len(x), np.int64)
        maps = []
        for name in names:
            raw = found[name]
            activation = spatial(raw, name, reshape_transform)
            places = _places(raw[:1], name, reshape_transform)
            step = self._step(x, name, raw.shape[1:], places)
            weights = np.zeros(activation.shape[:2])
            alive = np.abs(activation).max(axis=(2, 3)) > 0
            ablations += alive.sum(axis=1)
            with progress_bar(int(alive.sum()), "Ablation-CAM", unit="channel") as bar:
                for i, some in enumerate(alive):
                    channels = np.flatnonzero(some)
                    for start in range(0, len(channels), step):
                        part = channels[start : start + step]
                        rows: TargetLike = take(target, np.full(len(part), i))
                        edit = _without(name, raw.shape[1:], list(places[part]))
                        weights[i, part] = scores[i] - self.probe.scores(
                            x[i : i + 1], rows, edit=edit
                        )
                        bar.update(len(part))
            weights /= np.where(scores == 0, 1, np.abs(scores))[:, None]
            maps.append(np.maximum(np.einsum("nc,nchw->nhw", weights, activation), 0))
        return Attribution(mean_of_maps(maps), {"ablations": ablations})

    def _step(self, x: Array, name: str, shape: tuple[int, ...], places: Array) -> int:
        """How many ablated copies of one image to run at once from the layer on.

        As many as need the memory of a usual batch of images. 1, which is a whole forward pass, in
        a network that cannot go on with more rows than it began with, such as one that behind the
        layer concatenates something from before it: a trial of two copies tells.
        """
        trial = [places[::2].ravel(), places[1::2].ravel()]
        apart = [self.probe.logits(x[:1], edit=_without(name, shape, [one])) for one in trial]
        expected = np.concatenate(apart)
        try:
            together = self.probe.logits(x[:1], edit=_without(name, shape, trial))
        except (ValueError, RuntimeError) as error:  # what Paddle raises for shapes that differ
            _log.info("behind layer %r the network runs one row only: %s", name, error)
            return 1
        atol = 1e-4 * float(np.abs(expected).max())
        if together.shape != expected.shape or not np.allclose(together, expected, 1e-3, atol):
            _log.info("behind layer %r the network mixes rows; they are run one by one", name)
            return 1
        sizes = {key: int(np.prod(s[1:])) for key, s in self.probe.layer_shapes(x).items()}
        after = list(sizes.values())[list(sizes).index(name) if name in sizes else 0 :]
        saving = int(max(*sizes.values(), x[0].size) // max(after))
        return self.probe.batch_plan(x, gradient=False) * max(1, saving)


def _places(raw: Array, name: str, reshape_transform: _Transform | None) -> Array:
    """Where each channel's values stand in the layer's flat output, int64 [C, h·w].

    Found by sending the positions' numbers through reshape_transform.

    Args:
        raw: the layer's output for one image, [1, ...].
    """
    numbers = np.arange(raw.size, dtype=np.float64).reshape(raw.shape)
    moved = spatial(numbers, name, reshape_transform)[0]
    places: Array = np.rint(moved).astype(np.int64).reshape(len(moved), -1)
    if not np.array_equal(places.ravel(), moved.ravel()) or len(np.unique(places)) < places.size:
        raise InputError(
            "Ablation-CAM needs a reshape_transform that only moves or leaves out values; this one "
            "computes new ones, so it is not known what in the layer a channel is"
        )
    return places


def _without(name: str, shape: tuple[int, ...], groups: Sequence[Array]) -> Edits:
    """The edit that makes a copy of a layer's one-row output for each group of positions, where
    those are 0."""
    keep = np.ones((len(groups), int(np.prod(shape))), np.float32)
    for row, group in zip(keep, groups, strict=True):
        row[group] = 0
    keep = keep.reshape(len(groups), *shape)
    return {name: lambda y: y * paddle.to_tensor(keep, place=y.place).astype(y.dtype)}
