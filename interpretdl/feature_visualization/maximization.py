"""Activation maximization: the picture that a class, a channel or a unit wants to see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ResourceError
from ..preprocessing import IMAGENET, Preprocessing
from ..probe import Edits, Probe, Tensor
from ..probe.output import OutputKind
from ..progress import progress_bar
from .images import Code, Fourier, Parametrization, Pixels, View, Views, total_variation
from .objectives import ClassObjective, Objective, class_score
from .visualization import FeatureVisualization

__all__ = ["ActivationMaximization"]

Floats = NDArray[np.float64]
Wanted = int | Objective


class ActivationMaximization:
    """Pictures that make a class, a channel or a unit answer most, by gradient ascent.

    Args:
        model: paddle.nn.Layer; it is left as it was.
        device: see Probe.
        preprocessing: how pixels become inputs; None takes `model.preprocessing`, or ImageNet's.
        output, output_kind: see Probe.

    Simonyan et al. 2014, https://arxiv.org/abs/1312.6034; Montavon et al. 2018,
    https://arxiv.org/abs/1706.07979, section 3; Olah et al. 2017,
    https://distill.pub/2017/feature-visualization.
    """

    def __init__(
        self,
        model: Any,
        device: str | None = None,
        *,
        preprocessing: Preprocessing | None = None,
        output: int | str | Callable[[Any], Any] | None = None,
        output_kind: OutputKind | None = None,
    ) -> None:
        self._model, self._device = model, device
        self._output, self._output_kind = output, output_kind
        network = self._probe(None).model
        self.preprocessing = preprocessing or getattr(network, "preprocessing", None) or IMAGENET

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
        seed: int = 0,
    ) -> FeatureVisualization:
        """Maximize objective(x) - weight |x - center|^2 over the input itself, by Adam.

        Args:
            objective: a class (its log probability), or see `class_score`, `channel`, `unit`.
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
            seed: of the beginnings.

        Raises:
            InputError, TargetError, LayerNotFoundError, UnsupportedModelError, ResourceError.
        """
        wanted = _objective(objective, "log_probability")
        if center is None:
            center = np.zeros(shape or (self.preprocessing.channels, *self._size(None)))
        x0 = np.asarray(center, np.float64)[None]
        if x0.ndim != 4 or (shape and tuple(shape) != x0.shape[1:]):
            raise InputError(f"center must be [C, H, W]; got {list(x0.shape[1:])}, shape={shape}")
        options = {"weight": weight, "noise": noise, "seed": seed}
        ascent = _Ascent(self, wanted, starts, steps, rate, True, diversity, diversity_layer)
        rng = np.random.default_rng(seed)
        begin = x0 + noise * rng.normal(size=(starts, *x0.shape[1:]))
        return ascent.run(Pixels(), begin, "plain", options, hold=(weight, x0))

    def regularized(
        self,
        objective: Wanted,
        size: int | tuple[int, int] | None = None,
        *,
        jitter: int = 8,
        scales: tuple[float, float] = (0.9, 1.1),
        angle: float = 10,
        padding: int = 12,
        variation: float = 0.0,
        steps: int = 512,
        rate: float = 0.05,
        starts: int = 1,
        diversity: float = 0.0,
        diversity_layer: str | None = None,
        seed: int = 0,
    ) -> FeatureVisualization:
        """Maximize the objective over random views of a picture written as a spectrum.

        For networks of photographs, where the plain picture is noise to the eye.

        Args:
            objective: a class (its logit), or see `class_score`, `channel`, `unit`.
            size: of the picture; None takes the preprocessing's crop.
            jitter, scales, angle, padding: of the views, see `Views`; pixels and degrees.
            variation: weight of the picture's total variation, which prefers flat areas.
            steps, rate: of Adam, whose rate stays.
            starts, diversity, diversity_layer, seed: see `plain`.

        Raises:
            InputError, TargetError, LayerNotFoundError, UnsupportedModelError, ResourceError.
        """
        wanted = _objective(objective, "logit")
        height, width = self._size(size)
        if min(jitter, padding, angle) < 0 or not 0 < scales[0] <= scales[1]:
            raise InputError(
                "jitter, padding and angle must be at least 0, scales be positive and in order; "
                f"got jitter={jitter}, padding={padding}, angle={angle}, scales={scales}"
            )
        grey = (0.5 - np.array(self.preprocessing.mean)) / np.array(self.preprocessing.std)
        views = Views(
            (height, width), grey, padding=padding, jitter=jitter, scales=scales, angle=angle
        )
        options = {
            "jitter": jitter, "scales": list(scales), "angle": angle, "padding": padding,
            "variation": variation, "seed": seed,
        }  # fmt: skip
        ascent = _Ascent(self, wanted, starts, steps, rate, False, diversity, diversity_layer)
        form = Fourier((height, width), self.preprocessing)
        rng = np.random.default_rng(seed)
        begin = form.start(starts, rng)
        return ascent.run(
            form, begin, "regularized", options, views=views, rng=rng, variation=variation
        )

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
        seed: int = 0,
    ) -> FeatureVisualization:
        """Maximize objective(g(z)) - weight |z - z0|^2 over the code z of a decoder g.

        The decoder has learned what pictures look like, so that the result is one. Codes are taken
        to be distributed as N(0, 1).

        Args:
            objective: a class (its log probability), or see `class_score`, `channel`, `unit`.
            decoder: paddle.nn.Layer from codes [n, d] to the network's inputs [n, C, H, W].
            code: d, or z0 [d]; for d it is 0.
            weight: how strongly z is held at z0.
            noise: standard deviation around z0 of where each start begins.
            steps, rate, starts, diversity, diversity_layer, seed: see `plain`.

        Raises:
            InputError, TargetError, LayerNotFoundError, UnsupportedModelError, ResourceError.
        """
        wanted = _objective(objective, "log_probability")
        z0 = np.zeros(code) if isinstance(code, int) else np.asarray(code, np.float64)
        if z0.ndim != 1 or not len(z0):
            raise InputError(f"code must be its length or an array [d]; got {list(z0.shape)}")
        ascent = _Ascent(self, wanted, starts, steps, rate, True, diversity, diversity_layer)
        begin = z0 + noise * np.random.default_rng(seed).normal(size=(starts, len(z0)))
        form = Code(Probe(decoder, self._device, output_kind="logits"))
        options = {"weight": weight, "noise": noise, "code": len(z0), "seed": seed}
        return ascent.run(form, begin, "code", options, hold=(weight, z0[None]))

    def _probe(self, batch_size: int | None) -> Probe:
        return Probe(self._model, self._device, self._output, batch_size, self._output_kind)

    def _size(self, size: int | tuple[int, int] | None) -> tuple[int, int]:
        size = self.preprocessing.crop if size is None else size
        if size is None:
            raise InputError("this model does not say the size of its pictures; give shape or size")
        height, width = (size, size) if isinstance(size, int) else size
        if min(height, width) < 1:
            raise InputError(f"size must be at least 1; got {size}")
        return height, width


def _objective(given: Wanted, of: ClassObjective) -> Objective:
    if isinstance(given, Objective):
        return given
    if isinstance(given, bool) or not isinstance(given, int | np.integer):
        raise InputError(f"objective must be a class's index, or class_score(), channel() or "
                         f"unit(); got {given!r}")  # fmt: skip
    return class_score(int(given), of)


class _Ascent:
    """One optimization: the model's side, Adam, and what is told about it."""

    def __init__(
        self,
        owner: ActivationMaximization,
        objective: Objective,
        starts: int,
        steps: int,
        rate: float,
        decays: bool,
        diversity: float,
        diversity_layer: str | None,
    ) -> None:
        if min(starts, steps) < 1 or rate <= 0 or diversity < 0:
            raise InputError(
                "starts and steps must be at least 1, rate positive, diversity at least 0; got "
                f"starts={starts}, steps={steps}, rate={rate}, diversity={diversity}"
            )
        self.objective, self.steps, self.rate, self.decays = objective, steps, rate, decays
        self.starts, self.diversity, self.layer = starts, diversity, diversity_layer
        self.preprocessing = owner.preprocessing
        # Pictures that are compared must run together. Elsewhere a fixed size keeps the bits.
        self.probe = owner._probe(starts if diversity else min(starts, 8))

    def run(
        self,
        form: Parametrization,
        numbers: Floats,
        method: str,
        options: dict[str, Any],
        *,
        hold: tuple[float, Floats] | None = None,
        views: Views | None = None,
        rng: np.random.Generator | None = None,
        variation: float = 0.0,
    ) -> FeatureVisualization:
        """Adam from `numbers` on; `hold` is (weight, where), `rng` draws the views."""
        if self.diversity and self.layer is None:
            self.layer = self.objective.layer or self.probe.last_spatial_layer(form.inputs(numbers))
        adam = _Adam(numbers.shape)
        history = np.empty((self.starts, self.steps))
        with progress_bar(self.steps, self.objective.name, "step") as bar:
            for step in range(self.steps):
                view = views.draw(rng) if views and rng else None
                x = form.inputs(numbers)
                history[:, step], gradient = self._gradient(x, view)
                if variation:
                    gradient = gradient - variation * total_variation(x)[1]
                change = form.adjoint(numbers, gradient)
                if hold:
                    change -= 2 * hold[0] * (numbers - hold[1])
                share = 0.5 * (1 + np.cos(np.pi * step / self.steps)) if self.decays else 1.0
                numbers = numbers + adam.step(change, self.rate * share)
                bar.update()
        inputs = form.inputs(numbers)
        images = self.preprocessing.restore(inputs)
        if images.shape[-1] == 1:
            images = np.repeat(images, 3, axis=-1)
        own = {
            "steps": self.steps, "rate": self.rate, "starts": self.starts,
            "diversity": self.diversity, "diversity_layer": self.layer,
        }  # fmt: skip
        return FeatureVisualization(
            inputs=inputs,
            images=np.ascontiguousarray(images[..., :3]),
            scores=self._scores(inputs),
            history=history,
            objective=self.objective.name,
            method=method,
            parameters={**options, **own},
            codes=numbers.astype(np.float32) if isinstance(form, Code) else None,
        )

    def _scores(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        target, edit = self._target(0.0)
        return self.probe.scores(x, target, edit=edit).astype(np.float64)

    def _gradient(self, x: NDArray[np.float32], view: View | None) -> tuple[Floats, NDArray[Any]]:
        """The objective of each picture less its likeness to others, and its gradient."""
        target, edit = self._target(self.diversity)
        seen_x = view(x) if view else x
        found = self.probe.gradients(seen_x, target, edit=edit)
        if not np.isfinite(found.input).all():
            raise InputError(
                f"the gradient of {self.objective.name} is NaN or infinite; give a smaller rate"
            )
        gradient = view.adjoint(found.input) if view else found.input
        return found.scores.astype(np.float64), gradient

    def _target(self, diversity: float) -> tuple[Callable[[Tensor], Tensor], Edits]:
        """A target for the probe, and the edit that lets it see layers."""
        captured: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[[Tensor], Tensor]:
            def edit(y: Tensor) -> Tensor:
                captured[name] = y
                return y.clone()  # what follows may work in place

            return edit

        def target(output: Tensor) -> Tensor:
            layer = self.objective.layer
            score = self.objective.score(output, captured[layer] if layer else None)
            if diversity and self.layer is not None:
                if len(score) < self.starts:
                    raise ResourceError(
                        f"{self.starts} pictures that are compared do not fit into memory together;"
                        " give fewer starts or diversity=0"
                    )
                score = score - diversity * _likeness(captured[self.layer])
            return score

        names = {self.objective.layer, self.layer if diversity else None} - {None}
        return target, {name: keep(name) for name in names if name}


def _likeness(activation: Tensor) -> Tensor:
    """Mean cosine between a picture's channel correlations and those of each other picture, [n]."""
    import paddle
    import paddle.nn.functional as F

    n, channels = activation.shape[:2]
    if n < 2:
        return paddle.zeros([n], activation.dtype)
    flat = activation.reshape([n, channels, -1])
    gram = F.normalize(paddle.bmm(flat, flat.transpose([0, 2, 1])).reshape([n, -1]), axis=1)
    cosines = gram @ gram.T
    return (cosines.sum(axis=1) - cosines.diagonal()) / (n - 1)


class _Adam:
    """Kingma & Ba 2015, https://arxiv.org/abs/1412.6980, upwards."""

    def __init__(self, shape: Sequence[int]) -> None:
        self._first, self._second = np.zeros(shape), np.zeros(shape)
        self._steps = 0

    def step(self, gradient: Floats, rate: float) -> Floats:
        self._steps += 1
        self._first = 0.9 * self._first + 0.1 * gradient
        self._second = 0.999 * self._second + 0.001 * gradient**2
        first = self._first / (1 - 0.9**self._steps)
        second = self._second / (1 - 0.999**self._steps)
        return np.asarray(rate * first / (np.sqrt(second) + 1e-8))
