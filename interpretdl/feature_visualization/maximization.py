"""Activation maximization: the picture that a class, a channel or a unit responds to most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..probe import OutputKind, Probe, Tensor
from ..subject import PreprocessingChoice, Subject
from ..tensors import from_numpy
from .ascent import Ascent, Expert, Wanted
from .images import Fourier, Views, total_variation
from .visualization import FeatureVisualization, each_objective

__all__ = ["ActivationMaximization"]


class ActivationMaximization:
    """Pictures that make a class, a channel or a unit answer most, by gradient ascent.

    Args:
        model: paddle.nn.Layer; it is left as it was. Or a Subject, which says all of this.
        device, output, output_kind: see Probe.
        preprocessing: how pixels become inputs; "model" takes `model.preprocessing`, or ImageNet's.
        class_names: a name for each class; see Subject.

    Simonyan et al. 2014, https://arxiv.org/abs/1312.6034; Montavon et al. 2018,
    https://arxiv.org/abs/1706.07979, section 3; Olah et al. 2017,
    https://distill.pub/2017/feature-visualization.
    """

    def __init__(
        self,
        model: Any,
        device: str | None = None,
        *,
        preprocessing: PreprocessingChoice = "model",
        output: int | str | Callable[[Any], Any] | None = None,
        output_kind: OutputKind | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self._device = device
        self.subject = Subject.of(
            model, device, output=output, output_kind=output_kind, preprocessing=preprocessing,
            class_names=class_names,
        )  # fmt: skip
        if self.subject.preprocessing is None:
            raise InputError(
                "pictures are made here, so preprocessing=None, arrays as they are, does not fit; "
                "give a Preprocessing"
            )
        self.preprocessing = self.subject.preprocessing

    @each_objective
    def plain(
        self,
        objective: Wanted,
        shape: tuple[int, int, int] | None = None,
        *,
        center: NDArray[Any] | None = None,
        weight: float = 0.1,
        noise: float = 0.1,
        steps: int = 512,
        rate: float = 0.05,
        starts: int = 1,
        diversity: float = 0.0,
        diversity_layer: str | None = None,
        expert: Expert | None = None,
        seed: int = 0,
    ) -> FeatureVisualization:
        """Maximize objective(x) - weight |x - center|^2 over the input itself, by Adam.

        Args:
            objective: a class, by index or name (its log probability), or see `class_score`,
                `channel`, `unit`. A list: pictures for each of them, in one result.
            shape: (C, H, W) of the input; None takes `center`'s, or the preprocessing's.
            center: x0 [C, H, W], as the network takes it; None is 0.
            weight: how strongly x is held at x0.
            noise: standard deviation around x0 of where each start begins.
            steps: of Adam.
            rate: of the first step; it falls to 0 along a cosine.
            starts: how many pictures, from different beginnings.
            diversity: weight of a term that keeps the pictures of several starts apart: the mean
                cosine of the channels' correlations with those of the other pictures.
            diversity_layer: the layer whose channels are compared; None takes the objective's, or
                the last with a height and a width.
            expert: adds to the objective what it says of the inputs, Tensor [n, C, H, W] -> Tensor
                [n]: such as log p(x) of a model of what pictures look like.
            seed: of the beginnings.

        Raises:
            InputError, TargetError, LayerNotFoundError, UnsupportedModelError, ResourceError.
        """
        if center is None:
            center = np.zeros(shape or (self.preprocessing.channels, *self._size(None)))
        x0 = np.asarray(center, np.float64)[None]
        if x0.ndim != 4 or (shape and tuple(shape) != x0.shape[1:]):
            raise InputError(f"center must be [C, H, W]; got {list(x0.shape[1:])}, shape={shape}")
        options = {"weight": weight, "noise": noise, "seed": seed}
        ascent = Ascent(
            self.subject, self.preprocessing, starts, steps, rate, diversity, diversity_layer,
            expert,
        )  # fmt: skip
        begin = x0 + noise * np.random.default_rng(seed).normal(size=(starts, *x0.shape[1:]))
        away = _distance(weight, x0)
        return ascent.run(objective, "log_probability", begin, "plain", options, away)

    @each_objective
    def regularized(
        self,
        objective: Wanted,
        size: int | tuple[int, int] | None = None,
        *,
        jitter: int = 8,
        scales: tuple[float, float] = (0.9, 1.1),
        angle: float = 10,
        padding: int | None = None,
        variation: float = 0.0,
        steps: int = 512,
        rate: float = 0.05,
        starts: int = 1,
        diversity: float = 0.0,
        diversity_layer: str | None = None,
        expert: Expert | None = None,
        seed: int = 0,
    ) -> FeatureVisualization:
        """Maximize the objective over random views of a picture written as a spectrum.

        For networks of photographs, where the plain picture is noise to the eye.

        Args:
            objective: a class, by index or name (its logit), or see `class_score`, `channel`,
                `unit`. A list: pictures for each of them, in one result.
            size: of the picture; None takes the preprocessing's crop.
            jitter, scales, angle, padding: of the views, see `Views`; pixels and degrees. The
                picture is the middle of a canvas, `padding` wider on each side; None takes as much
                as the views need.
            variation: weight of the picture's total variation, which prefers flat areas.
            steps, rate: of Adam, whose rate stays.
            starts, diversity, diversity_layer, expert, seed: see `plain`.

        Raises:
            InputError, TargetError, LayerNotFoundError, UnsupportedModelError, ResourceError.
        """
        height, width = self._size(size)
        if min(jitter, padding or 0, angle) < 0 or not 0 < scales[0] <= scales[1]:
            raise InputError(
                "jitter, padding and angle must be at least 0, scales be positive and in order; "
                f"got jitter={jitter}, padding={padding}, angle={angle}, scales={scales}"
            )
        grey = (0.5 - np.array(self.preprocessing.mean)) / np.array(self.preprocessing.std)
        views = Views(
            (height, width), grey, padding=padding, jitter=jitter, scales=scales, angle=angle
        )
        options = {
            "jitter": jitter, "scales": list(scales), "angle": angle, "padding": views.padding,
            "variation": variation, "seed": seed,
        }  # fmt: skip
        ascent = Ascent(
            self.subject, self.preprocessing, starts, steps, rate, diversity, diversity_layer,
            expert,
        )  # fmt: skip
        form = Fourier(views.canvas, self.preprocessing)
        rng = np.random.default_rng(seed)
        begin = form.start(starts, rng)

        def uneven(x: Tensor) -> Tensor | float:
            return variation * total_variation(x).sum() if variation else 0.0

        return ascent.run(
            objective, "logit", begin, "regularized", options, uneven, form,
            lambda: views.draw(rng), views.middle,
        )  # fmt: skip

    @each_objective
    def in_code_space(
        self,
        objective: Wanted,
        decoder: Any,
        code: int | NDArray[Any],
        *,
        weight: float = 0.1,
        noise: float = 1.0,
        steps: int = 512,
        rate: float = 0.05,
        starts: int = 1,
        diversity: float = 0.0,
        diversity_layer: str | None = None,
        expert: Expert | None = None,
        seed: int = 0,
    ) -> FeatureVisualization:
        """Maximize objective(g(z)) - weight |z - z0|^2 over the code z of a decoder g.

        The decoder has learned what pictures look like, so that the result is one. Codes are taken
        to be distributed as N(0, 1).

        Args:
            objective: a class, by index or name (its log probability), or see `class_score`,
                `channel`, `unit`. A list: pictures for each of them, in one result.
            decoder: paddle.nn.Layer from codes [n, d] to the network's inputs [n, C, H, W].
            code: d, or z0 [d]; for d it is 0.
            weight: how strongly z is held at z0.
            noise: standard deviation around z0 of where each start begins.
            steps, rate, starts, diversity, diversity_layer, expert, seed: see `plain`.

        Raises:
            InputError, TargetError, LayerNotFoundError, UnsupportedModelError, ResourceError.
        """
        z0 = np.zeros(code) if isinstance(code, int) else np.asarray(code, np.float64)
        if z0.ndim != 1 or not len(z0):
            raise InputError(f"code must be its length or an array [d]; got {list(z0.shape)}")
        probe = Probe(decoder, self._device, output_kind="logits")
        ascent = Ascent(
            self.subject, self.preprocessing, starts, steps, rate, diversity, diversity_layer,
            expert,
        )  # fmt: skip
        begin = z0 + noise * np.random.default_rng(seed).normal(size=(starts, len(z0)))
        options = {"weight": weight, "noise": noise, "code": len(z0), "seed": seed}
        away = _distance(weight, z0)
        return ascent.run(objective, "log_probability", begin, "code", options, away, decoder=probe)

    def _size(self, size: int | tuple[int, int] | None) -> tuple[int, int]:
        size = self.preprocessing.crop if size is None else size
        if size is None:
            raise InputError("this model does not say the size of its pictures; give shape or size")
        height, width = (size, size) if isinstance(size, int) else size
        if min(height, width) < 1:
            raise InputError(f"size must be at least 1; got {size}")
        return height, width


def _distance(weight: float, center: NDArray[Any]) -> Callable[[Tensor], Tensor]:
    """weight |x - center|^2, of all pictures together."""
    return lambda x: weight * (x - from_numpy(center, x.place, x.dtype)).square().sum()
