"""NoiseTunnel: SmoothGrad's noise around any method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..targets import TargetLike, take
from .base import Array, Attribution, Interpreter
from .smooth_grad import NoiseKind, NoisyMean

__all__ = ["NoiseTunnel"]


class NoiseTunnel(Interpreter):
    """Any method's map, averaged over noisy copies of the image.

        R = E[M(x + ε)],    ε ~ N(0, σ²),  σ = noise_amount · (max x - min x)

    Around the gradient it is SmoothGrad.

        tunnel = NoiseTunnel(GradCAMInterpreter(model))
        tunnel.explain("cat.png", n_samples=20, options={"target_layer_name": "layer4"})

    Args:
        interpreter: the method, with its model.

    Raises:
        InputError: not an interpreter.
    """

    positional = ("label", "noise_amount", "n_samples")

    def __init__(self, interpreter: Interpreter) -> None:
        if not isinstance(interpreter, Interpreter):
            raise InputError(
                "NoiseTunnel goes around an interpreter, such as GradCAMInterpreter(model); got "
                f"{type(interpreter).__name__}"
            )
        self.interpreter = interpreter
        # The model is the wrapped method's, and so is all that was set for it.
        self._hold(interpreter.subject)
        self.gradient_of = interpreter.gradient_of
        info = interpreter.info
        name = f"noise_tunnel({info.name})"
        facts: dict[str, Any] = {
            "name": name, "cls": NoiseTunnel, "random": True, "one_pass": False,
            "scores": interpreter.scores,
        }  # fmt: skip
        vars(self)["scores"] = facts.pop("scores")
        vars(self)["info"] = replace(info, **facts)

    def at_layer(self, name: str) -> NoiseTunnel:
        return NoiseTunnel(self.interpreter.at_layer(name))

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        noise_amount: float = 0.1,
        n_samples: int = 50,
        kind: NoiseKind = "mean",
        tolerance: float | None = None,
        max_samples: int = 1000,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> Attribution:
        """The wrapped method's maps of noisy copies, as one.

        Args:
            kind: "mean" (default), "squared" (mean of the squares) or "variance" of the maps.
            tolerance: add samples to each image until the norm of the map's standard error is
                this part of the map's norm, or less.
            options: the wrapped method's options.

        Returns:
            float64, the wrapped method's shape. Diagnostics as SmoothGradInterpreter's.

        Raises:
            InputError: an option that does not fit.
            TypeError: an option that the wrapped method does not have.
        """
        given, info = dict(options or {}), self.interpreter.info
        known = {name: p for name, p in info.options.items() if name != "gradient_of"}
        for name in given:
            if name not in known:
                raise TypeError(
                    f"{info.name} has no option {name!r}; it has {', '.join(known) or 'none'}"
                )
        mean = NoisyMean(kind, noise_amount, n_samples, tolerance, max_samples, seed)
        draws_itself = "seed" in known
        start = int(given.pop("seed", seed))
        signed: list[bool | None] = []
        counts = np.zeros(len(x), np.int64)

        def one(images: NDArray[np.int64], points: Array, **more: Any) -> Array:
            mine = take(target, images)
            result = self.interpreter.attribute(points, mine, **given, **more)
            if not isinstance(result, Attribution):
                return result
            signed.append(result.signed)
            return result.values

        def evaluate(images: NDArray[np.int64], points: Array) -> list[Array]:
            if not draws_itself:
                return [one(images, points)]
            # One by one, since a random method's numbers depend on the place in its batch.
            parts = []
            for k, image in enumerate(images):
                counts[image] += 1
                own = np.random.default_rng([start, int(image), int(counts[image])])
                parts.append(
                    one(images[k : k + 1], points[k : k + 1], seed=int(own.integers(2**31)))
                )
            return [np.concatenate(parts)]

        found = mean(
            x, evaluate, lambda: self.probe.batch_plan(x), self.info.name.replace("_", " ")
        )
        found.signed = False if kind != "mean" else (signed or [None])[0]
        return found
