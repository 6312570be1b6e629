"""Gradient ascent on an objective: Paddle's Adam, with a model that only the probe runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

import numpy as np
import paddle
import paddle.nn.functional as F
from numpy.typing import NDArray
from paddle.optimizer import Adam
from paddle.optimizer.lr import CosineAnnealingDecay

from ..data_processor.readers import read_arrays
from ..errors import InputError, ResourceError
from ..preprocessing import Preprocessing
from ..probe import Edits, Probe, Tensor
from ..probe.state import _LOCK
from ..progress import progress_bar
from ..subject import Subject
from ..targets import ChannelScore, ClassScore, Target
from ..tensors import from_numpy
from .objectives import ClassObjective, Objective, class_score, objective_of
from .visualization import FeatureVisualization

__all__ = ["Ascent", "Expert", "Wanted"]

Wanted: TypeAlias = int | str | Objective | ChannelScore
Expert: TypeAlias = Callable[[Tensor], Tensor]
Map: TypeAlias = Callable[[Tensor], Tensor]


class Ascent:
    """One optimization: the model's side, the optimizer's, and what is told about it."""

    def __init__(
        self,
        subject: Subject,
        preprocessing: Preprocessing,
        starts: int,
        steps: int,
        rate: float,
        diversity: float,
        diversity_layer: str | None,
        expert: Expert | None = None,
    ) -> None:
        if min(starts, steps) < 1 or rate <= 0 or diversity < 0:
            raise InputError(
                "starts and steps must be at least 1, rate positive, diversity at least 0; got "
                f"starts={starts}, steps={steps}, rate={rate}, diversity={diversity}"
            )
        self.subject, self.preprocessing = subject, preprocessing
        self.starts, self.steps, self.rate = starts, steps, rate
        self.diversity, self.layer, self.expert = diversity, diversity_layer, expert
        # Pictures that are compared must run together. Elsewhere a fixed size keeps the bits.
        self.probe = subject.with_batch_size(starts if diversity else min(starts, 8)).probe

    def run(
        self,
        objective: Wanted,
        of: ClassObjective,
        begin: NDArray[Any],
        method: str,
        options: dict[str, Any],
        penalty: Callable[[Tensor], Tensor | float],
        form: Map = lambda numbers: numbers,
        draw: Callable[[], Map] | None = None,
        picture: Map = lambda fed: fed,
        decoder: Probe | None = None,
    ) -> FeatureVisualization:
        """Raise the objective less the penalty, by Adam.

        Args:
            objective, of: a class, and what of it; or an Objective.
            begin: the numbers that are optimized, at first.
            penalty: of form(numbers).
            form: from the numbers to what is fed to the decoder, or else to the model.
            draw: gives a view of what is fed, another in each step.
            picture: the part of what is fed that is returned and scored in the end.
            decoder: from what is fed to the model's inputs.
        """
        self.decoder = decoder
        numbers = paddle.to_tensor(begin, dtype="float32", stop_gradient=False)
        # Where each step has another view there is no optimum to settle at.
        schedule = CosineAnnealingDecay(self.rate, self.steps, self.rate if draw else 0.0)
        adam = Adam(schedule, parameters=[numbers])
        inputs = self._inputs(picture(form(numbers)).numpy())
        self.objective = self._objective(objective, of, inputs)
        if self.diversity and self.layer is None:
            self.layer = self.objective.layer or self.probe.last_spatial_layer(inputs)
        history = np.empty((self.starts, self.steps))
        with progress_bar(self.steps, self.objective.name, "step") as bar:
            for step in range(self.steps):
                with _LOCK, paddle.enable_grad():
                    fed = form(numbers)
                    seen = draw()(fed) if draw else fed
                    history[:, step], gradient = self._gradient(seen.numpy())
                    # The probe's gradient goes on through the view and the form.
                    rise = (seen * from_numpy(gradient, seen.place)).sum()
                    (penalty(fed) - rise).backward()
                    adam.step()
                    adam.clear_grad()
                schedule.step()
                bar.update()
        inputs = self._inputs(picture(form(numbers)).numpy())
        own = {
            "steps": self.steps, "rate": self.rate, "starts": self.starts,
            "diversity": self.diversity, "diversity_layer": self.layer,
        }  # fmt: skip
        target, edit = self._target(0.0)
        return FeatureVisualization(
            inputs=inputs,
            images=self.preprocessing.pictures(inputs),
            scores=self.probe.scores(inputs, target, edit=edit).astype(np.float64),
            history=history,
            objective=self.objective.name,
            method=method,
            parameters={**options, **own},
            codes=numbers.numpy() if decoder else None,
        )

    def _objective(self, given: Wanted, of: ClassObjective, inputs: NDArray[Any]) -> Objective:
        if isinstance(given, Objective):
            return given
        if isinstance(given, ChannelScore) and given.channel.size == 1:
            return objective_of(given)
        if not isinstance(given, int | str | np.integer):
            raise InputError(
                "objective must be a class's index or name, class_score(), channel(), unit() or a "
                f"ChannelScore of one channel; got {given!r}"
            )
        target = cast(ClassScore, self.subject.target(given, read_arrays(inputs)))
        return class_score(int(target.labels), of)

    def _inputs(self, fed: NDArray[Any]) -> NDArray[np.float32]:
        return (self.decoder.logits(fed) if self.decoder else fed).astype(np.float32)

    def _gradient(self, fed: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """The objective of each picture less its likeness to others, and its gradient."""
        target, edit = self._target(self.diversity)
        inputs = self._inputs(fed)
        found = self.probe.gradients(inputs, target, edit=edit)
        scores, gradient = found.scores, found.input
        if self.expert is not None:
            likely, more = self._by_expert(self.expert, inputs)
            scores, gradient = scores + likely, gradient + more
        if not np.isfinite(gradient).all():
            raise InputError(
                f"the gradient of {self.objective.name} is NaN or infinite; give a smaller rate"
            )
        if self.decoder:
            gradient = self.decoder.gradients(fed, _Products(gradient)).input
        return scores, gradient.astype(np.float32)

    @staticmethod
    def _by_expert(expert: Expert, inputs: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """What the expert says of each picture, and its gradient."""
        x = paddle.to_tensor(inputs, stop_gradient=False)
        found = expert(x)
        if not isinstance(found, paddle.Tensor) or list(found.shape) != [len(inputs)]:
            got = list(found.shape) if isinstance(found, paddle.Tensor) else type(found).__name__
            raise InputError(
                "expert must return one number for each picture, a Tensor "
                f"[{len(inputs)}]; got {got}"
            )
        return found.numpy(), paddle.grad(found.sum(), x)[0].numpy()

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


class _Products(Target):
    """For each item the sum of its output times given weights, whose gradient is wanted."""

    def __init__(self, weights: NDArray[Any]) -> None:
        self.weights = weights

    def take(self, indices: NDArray[np.int64]) -> _Products:
        return _Products(self.weights[indices])

    def __call__(self, output: Tensor) -> Tensor:
        weights = from_numpy(self.weights, output.place, output.dtype)
        return (output * weights).flatten(1).sum(axis=1)


def _likeness(activation: Tensor) -> Tensor:
    """Mean cosine between a picture's channel correlations and those of each other picture, [n]."""

    n, channels = activation.shape[:2]
    if n < 2:
        return paddle.zeros([n], activation.dtype)
    flat = activation.reshape([n, channels, -1])
    gram = F.normalize(paddle.bmm(flat, flat.transpose([0, 2, 1])).reshape([n, -1]), axis=1)
    cosines = gram @ gram.T
    return (cosines.sum(axis=1) - cosines.diagonal()) / (n - 1)
