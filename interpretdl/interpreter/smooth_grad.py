"""SmoothGrad and its relatives: what remains of the gradient under noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, warn
from ..registry import register
from ..targets import ScoreKind, TargetLike
from .base import Array, Attribution, Interpreter
from .layer_function import LayerFunction
from .sampling import Moments, Sampler, Samples, accumulate, at_least, counts, generator

__all__ = [
    "NoiseKind",
    "NoisyMean",
    "SmoothGradCVInterpreter",
    "SmoothGradInterpreter",
    "SmoothGradInterpreterV2",
    "SmoothGradSquaredInterpreter",
    "VarGradInterpreter",
]

NoiseKind = Literal["mean", "squared", "variance"]


def noise(x: Array, amount: float, seed: int) -> Sampler:
    """Samples x + N(0, σ²), σ = amount · (max - min) of each image."""
    flat = x.reshape(len(x), -1)
    sigma = amount * (flat.max(axis=1) - flat.min(axis=1))
    kind = np.float64 if x.dtype == np.float64 else np.float32
    generators: dict[int, np.random.Generator] = {}

    def draw(image: int, numbers: range) -> Samples:
        if image not in generators:
            generators[image] = generator(seed, image)
        shape = (len(numbers), *x.shape[1:])
        drawn: Array = generators[image].standard_normal(shape, dtype=kind)
        return Samples(x[image] + sigma[image].astype(x.dtype) * drawn.astype(x.dtype, copy=False))

    return draw


@dataclass(frozen=True)
class NoisyMean:
    """The mean of anything over noisy copies of images, and how sure it is.

    Args:
        kind: "mean"; "squared", the mean of the squares; "variance", with the divisor n.
        noise_amount: σ as a part of each image's max - min; 0 asks once, at the image.
        n_samples: noisy copies of each image; with a tolerance, to begin with.
        tolerance: go on until ‖standard error‖ ≤ tolerance · ‖map‖, for each image.
        max_samples: no more than these.
        seed: of the noise, with the image's position.
    """

    kind: NoiseKind = "mean"
    noise_amount: float = 0.1
    n_samples: int = 50
    tolerance: float | None = None
    max_samples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(NoiseKind):
            raise InputError(f"kind must be one of {get_args(NoiseKind)}; got {self.kind!r}")
        at_least(0, noise_amount=self.noise_amount, tolerance=self.tolerance)
        counts(n_samples=self.n_samples)
        if self.tolerance is not None:
            at_least(self.n_samples, max_samples=self.max_samples)
        generator(self.seed, 0)

    def __call__(
        self,
        x: Array,
        evaluate: Callable[[NDArray[np.int64], Array], Sequence[Array]],
        batch: Callable[[], int],
        description: str,
    ) -> Attribution:
        """The statistic of `evaluate(image of each row, noisy images)[0]`.

        Returns:
            float64 [N, ...]. Diagnostics: "standard_error" of every value [N, ...],
            "relative_error" ‖standard error‖ / ‖map‖ [N], "samples" [N], and with a tolerance
            "converged" [N].
        """
        if not self.noise_amount:
            return self._without_noise(evaluate(np.arange(len(x)), x)[0])
        moments = Moments(len(x), 4 if self.kind == "variance" else 2)

        def wanted(image: int, taken: int) -> int:
            if taken == 0:
                return self.n_samples
            if self.tolerance is None:
                return taken
            error = self._relative(*self._statistic(moments, image))
            if error <= self.tolerance:
                return taken
            # The error falls as 1/√n. An estimate from few samples may be far off: at most 4 times.
            far = error > 2 * self.tolerance
            need = 4 * taken if far else taken * (error / self.tolerance) ** 2
            return int(min(max(need, taken + 1), self.max_samples))

        def powers(images: NDArray[np.int64], points: Array) -> list[Array]:
            found = evaluate(images, points)[0]
            return [np.square(found, dtype=np.float64) if self.kind == "squared" else found]

        samples = accumulate(
            powers, noise(x, self.noise_amount, self.seed), wanted, [moments], batch, description
        )
        pairs = [self._statistic(moments, image) for image in range(len(x))]
        values, errors = (np.stack(part) for part in zip(*pairs, strict=True))
        return self._attribution(values, errors, samples)

    def _without_noise(self, values: Array) -> Attribution:
        """All samples are one."""
        statistic = {"mean": values, "squared": np.square(values), "variance": 0 * values}
        ones = np.ones(len(values), np.int64)
        return self._attribution(statistic[self.kind], 0 * values, ones)

    def _attribution(self, values: Array, errors: Array, samples: NDArray[np.int64]) -> Attribution:
        relative = np.array([self._relative(*pair) for pair in zip(values, errors, strict=True)])
        facts: dict[str, Any] = {
            "standard_error": errors.astype(np.float32),
            "relative_error": relative,
            "samples": samples,
        }
        if self.tolerance is not None:
            facts["converged"] = relative <= self.tolerance
            if missed := int((relative > self.tolerance).sum()):
                warn(
                    f"{missed} of {len(values)} images did not meet tolerance={self.tolerance} "
                    f"within max_samples={self.max_samples} (the worst error is "
                    f"{relative.max():.2g}); see diagnostics['converged']"
                )
        return Attribution(values, facts)

    def _statistic(self, moments: Moments, image: int) -> tuple[Array, Array]:
        """The map of an image and its standard error."""
        if self.kind != "variance":
            return moments.mean[image], moments.standard_error(image)
        n, variance = moments.weight[image], moments.central(2, image)
        if n < 2:
            return variance, np.full_like(variance, np.inf)
        # Var(s²) = (μ₄ - σ⁴ (n-3)/(n-1)) / n, and the divisor is n here
        share = (n / (n - 1)) ** 2 * (n - 3) / (n - 1)
        spread = np.maximum(moments.central(4, image) - share * variance**2, 0) / n
        return variance, np.sqrt(spread) * (n - 1) / n

    @staticmethod
    def _relative(value: Array, error: Array) -> float:
        size, doubt = float(np.linalg.norm(value)), float(np.linalg.norm(error))
        return 0.0 if doubt == 0 else doubt / size if size else np.inf


class _NoisyGradient(Interpreter):
    """What SmoothGrad, SmoothGrad² and VarGrad share."""

    kind: ClassVar[NoiseKind] = "mean"
    gradient_of: ScoreKind = "probability"
    positional: ClassVar[tuple[str, ...]] = ("label", "noise_amount", "n_samples", "gradient_of")

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        noise_amount: float = 0.1,
        n_samples: int = 50,
        tolerance: float | None = None,
        max_samples: int = 1000,
        seed: int = 0,
    ) -> Attribution:
        """Gradients at noisy copies of the image, as one map.

        Args:
            tolerance: add samples to each image until the norm of the map's standard error is
                this part of the map's norm, or less.

        Returns:
            float64 [N, C, H, W]. Diagnostics: "standard_error" of every value [N, C, H, W];
            "relative_error", "samples" and, with a tolerance, "converged", each [N].

        Raises:
            InputError: an option that does not fit.
        """
        mean = NoisyMean(self.kind, noise_amount, n_samples, tolerance, max_samples, seed)
        space = LayerFunction(self.probe, x)
        with space.many(len(x) * n_samples):
            return mean(
                x,
                lambda images, points: space.gradients(images, points, [target]),
                space.batch,
                self.info.name.replace("_", " "),
            )


@register(
    "smooth_grad",
    layout="nchw",
    inputs=("pictures", "arrays", "text"),
    signed=False,
    random=True,
    paper="Smilkov et al.: SmoothGrad, removing noise by adding noise, 2017",
    url="https://arxiv.org/abs/1706.03825",
    aliases=("SmoothGradCVInterpreter",),
)
class SmoothGradInterpreter(_NoisyGradient):
    """SmoothGrad: the mean gradient over noisy copies of the image.

        R = E[∂f/∂x (x + ε)],    ε ~ N(0, σ²),  σ = noise_amount · (max x - min x)

    The gradient of a network changes from pixel to pixel and from image to image; the mean keeps
    what does not. Its error falls as 1/√n, and is kept for every value.
    """

    attribute = _NoisyGradient.attribute


SmoothGradCVInterpreter = SmoothGradInterpreter


class SmoothGradInterpreterV2(SmoothGradInterpreter):
    """SmoothGrad in parts: InterpretDL's second version, which takes at most n_samples / split
    samples into memory at once.

    The map is SmoothGrad's. Memory is planned without `split` as well.
    """

    positional = ("label", "noise_amount", "n_samples", "split", "gradient_of")

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        noise_amount: float = 0.1,
        n_samples: int = 50,
        split: int = 2,
        tolerance: float | None = None,
        max_samples: int = 1000,
        seed: int = 0,
    ) -> Attribution:
        """SmoothGrad, with at most ⌈n_samples / split⌉ samples in one run.

        Args:
            split: parts that the samples are cut into, 1 or more. The others are SmoothGrad's.

        Returns:
            as SmoothGradInterpreter.

        Raises:
            InputError: an option that does not fit.
        """
        counts(split=split)
        mean = NoisyMean(self.kind, noise_amount, n_samples, tolerance, max_samples, seed)
        space = LayerFunction(self.probe, x)
        most = -(-n_samples // split)
        return mean(
            x,
            lambda images, points: space.gradients(images, points, [target]),
            lambda: min(space.batch(), most),
            "smooth grad",
        )


@register(
    "smooth_grad_squared",
    layout="nchw",
    inputs=("pictures", "arrays", "text"),
    signed=False,
    random=True,
    paper="Hooker et al.: A Benchmark for Interpretability Methods in Deep Networks, 2019",
    url="https://arxiv.org/abs/1806.10758",
)
class SmoothGradSquaredInterpreter(_NoisyGradient):
    """SmoothGrad²: the mean squared gradient over noisy copies of the image.

    R = E[(∂f/∂x (x + ε))²]

    Strong gradients of either sign stay; they do not cancel.
    """

    kind = "squared"
    attribute = _NoisyGradient.attribute


@register(
    "var_grad",
    layout="nchw",
    inputs=("pictures", "arrays", "text"),
    signed=False,
    random=True,
    paper="Adebayo et al.: Local Explanation Methods for Deep Neural Networks Lack Sensitivity "
    "to Parameter Values, 2018",
    url="https://arxiv.org/abs/1810.03307",
)
class VarGradInterpreter(_NoisyGradient):
    """VarGrad: the variance of the gradient over noisy copies of the image.

    R = Var[∂f/∂x (x + ε)]        (divisor n)

    Where the network is not linear. It is 0 for a linear model.
    """

    kind = "variance"
    attribute = _NoisyGradient.attribute
