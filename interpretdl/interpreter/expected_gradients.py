"""Expected gradients: SHAP's GradientExplainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ..data_processor.arrays import in_range
from ..errors import InputError, TargetError
from ..registry import register
from ..targets import ClassScore, ScoreKind, TargetLike
from .base import Array, Attribution, Interpreter
from .baselines import bounds
from .layer_function import LayerFunction
from .sampling import Moments, Sampler, Samples, accumulate, at_least, counts, generator

__all__ = ["ExpectedGradientsInterpreter", "RankOrder", "ShapValues"]

RankOrder = Literal["max", "min", "max_abs"]


class ShapValues(NamedTuple):
    """Expected gradients of k classes of each image.

    Attributes:
        values: float32 [N, k, C, H, W], or with a layer's axes in place of the last three.
        indexes: int64 [N, k], the class of each.
        standard_errors: float32, of each value; as `values`.
        images: uint8 [N, H, W, 3], the pictures, as `image_plot` takes them; None for arrays.
    """

    values: NDArray[np.float32]
    indexes: NDArray[np.int64]
    standard_errors: NDArray[np.float32]
    images: NDArray[np.uint8] | None


def lines(
    values: Array,
    background: Callable[[int], Array],
    sigma: NDArray[np.float64],
    seed: int,
    times: NDArray[np.float64] | None = None,
) -> Sampler:
    """Samples on lines from a background to noisy images: ends, and a place between them.

    Args:
        values: [N, ...], the images' values.
        background: image -> [B, ...], of which one is drawn for each sample.
        sigma: [N], standard deviation of the noise on the image's end.
        seed: with the image's position, of all that is drawn.
        times: the places in [0, 1], one for each sample; None draws them uniformly.
    """
    generators: dict[int, np.random.Generator] = {}
    kind = np.float64 if values.dtype == np.float64 else np.float32

    def draw(image: int, numbers: range) -> Samples:
        if image not in generators:
            generators[image] = generator(seed, image)
        rng, begins = generators[image], background(image)
        ways, points = [], []
        for number in numbers:
            begin = begins[rng.integers(len(begins))]
            t = float(rng.random() if times is None else times[number])
            end = values[image]
            if sigma[image]:
                noise = np.asarray(rng.standard_normal(end.shape, dtype=kind))
                end = end + (sigma[image].astype(kind) * noise).astype(end.dtype, copy=False)
            ways.append(end - begin)
            points.append(begin + values.dtype.type(t) * ways[-1])
        return Samples(np.stack(points), np.stack(ways))

    return draw


def expectation(
    space: LayerFunction,
    targets: Sequence[TargetLike],
    sampler: Sampler,
    count: int,
    description: str,
) -> list[Moments]:
    """For each target the moments of `count` samples of an image; all share draws and forwards."""
    moments = [Moments(len(space.values), totals=True) for _ in targets]
    with space.many(len(space.values) * count):
        accumulate(
            lambda images, points: space.gradients(images, points, targets),
            sampler, lambda image, taken: count, moments, space.batch, description,
        )  # fmt: skip
    return moments


def attribution(moments: Moments) -> Attribution:
    """The mean, with how sure it and its sum are."""
    facts: dict[str, Any] = {
        "standard_error": moments.standard_error().astype(np.float32),
        "samples": moments.weight.astype(np.int64),
    }
    if moments.totals is not None:
        facts["sum"] = moments.totals.mean
        facts["sum_standard_error"] = moments.totals.standard_error()
    return Attribution(moments.mean, facts)


@register(
    "expected_gradients",
    layout="nchw",
    inputs=("pictures", "arrays", "text"),
    signed=True,
    random=True,
    paper="Erion et al.: Improving performance of deep learning models with axiomatic attribution "
    "priors and expected gradients, 2021",
    url="https://arxiv.org/abs/1906.10670",
)
class ExpectedGradientsInterpreter(Interpreter):
    """Expected gradients: Shapley values of the inputs against a background of other pictures.

        R = E[∂f/∂x (b + t (x̃ - b)) · (x̃ - b)],    Σ R = f(x) - E f(b)  in expectation

    b is drawn from the background, t from (0, 1), and x̃ = x + N(0, local_smoothing²). It is SHAP's
    GradientExplainer: integrated gradients from many baselines, none of which is chosen.

    Args:
        model: paddle.nn.Layer in any mode; it is left as it was.
        background: pictures of the kind that the model sees, in any form that `explain` takes; some
            tens of them. None takes five plain pictures, from black to white.
        settings: device, output, batch_size (None is planned), preprocessing, class_names …, as
            every interpreter has them.

    Raises:
        ImageReadError, InputError: the background cannot be read, or has no picture.
    """

    def __init__(
        self, model: Any, background: Any = None, device: str | None = None, **settings: Any
    ) -> None:
        super().__init__(model, device, **settings)
        self.background: Array | None = None
        if background is not None:
            batch = self.subject.read(background)
            if batch.texts:
                raise InputError("texts have no background; leave it out")
            self.background = batch.inputs

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        nsamples: int = 200,
        local_smoothing: float = 0.0,
        layer: str | None = None,
        seed: int = 0,
    ) -> Attribution:
        """Expected gradients of one class of each image.

        Args:
            nsamples: draws for each image.
            local_smoothing: standard deviation of the noise on the image, in units of what is
                explained.
            layer: explain what goes into this layer instead of the input, as SHAP's (model, layer)
                does. The lines are then between values there, so that the sum is kept.

        Returns:
            float64 [N, C, H, W], or the shape of what goes into the layer. Diagnostics:
            "standard_error" of every value; "sum" of the values, which estimates f(x) - E f(b),
            "sum_standard_error" and "samples", each [N].

        Raises:
            InputError: an option that does not fit, or a background of another shape than x.
            LayerNotFoundError: no layer of that name.
        """
        return attribution(self._run(x, [target], nsamples, local_smoothing, layer, seed)[0])

    def shap_values(
        self,
        inputs: Any,
        nsamples: int = 200,
        ranked_outputs: int | None = None,
        output_rank_order: RankOrder = "max",
        *,
        local_smoothing: float = 0.0,
        layer: str | None = None,
        gradient_of: ScoreKind = "logit",
        seed: int = 0,
    ) -> ShapValues:
        """Expected gradients of several classes of each image, which share draws and forwards.

        Args:
            inputs: pictures or arrays, as `explain` takes them.
            nsamples: draws for each image.
            ranked_outputs: how many classes; None takes all, in their order.
            output_rank_order: which first: "max", those with the largest output; "min", the
                smallest; "max_abs", the largest in size.
            local_smoothing, layer, gradient_of, seed: see `explain`.

        Returns:
            ShapValues.

        Raises:
            InputError: an option that does not fit.
            TargetError: the model's output is not [N, K].
        """
        images = self.subject.read(inputs)
        x = images.inputs
        indexes = _ranked(self.probe.logits(x), ranked_outputs, output_rank_order)
        targets = [ClassScore(indexes[:, k], gradient_of) for k in range(indexes.shape[1])]
        moments = self._run(x, targets, nsamples, local_smoothing, layer, seed)
        return ShapValues(
            np.stack([m.mean.astype(np.float32) for m in moments], axis=1),
            indexes,
            np.stack([m.standard_error().astype(np.float32) for m in moments], axis=1),
            images.images,
        )

    def _run(
        self,
        x: Array,
        targets: Sequence[TargetLike],
        nsamples: int,
        local_smoothing: float,
        layer: str | None,
        seed: int,
    ) -> list[Moments]:
        counts(nsamples=nsamples)
        at_least(0, local_smoothing=local_smoothing)
        space = LayerFunction(self.probe, x, None if layer is None else _going_in(layer))
        begins = space.at(self._background(x))
        sigma = np.full(len(x), float(local_smoothing))
        sampler = lines(space.values, lambda image: begins, sigma, seed)
        return expectation(space, targets, sampler, nsamples, "expected gradients")

    def _background(self, x: Array) -> Array:
        if self.background is None and self._blank is not None:
            return self._blank
        if self.background is None:
            low, high = bounds(x.shape[1:], self.preprocessing, "background=None")
            grey = np.linspace(0, 1, 5).reshape(-1, 1, 1, 1)
            return np.broadcast_to(low + (high - low) * grey, (5, *x.shape[1:])).astype(x.dtype)
        if self.background.shape[1:] != x.shape[1:]:
            raise InputError(
                f"the background's inputs are {list(self.background.shape[1:])}, the images' "
                f"{list(x.shape[1:])}; they must agree"
            )
        return in_range(self.background, x.dtype, "the background")


def _going_in(layer: str) -> str:
    return layer if layer.endswith(":input") else f"{layer}:input"


def _ranked(logits: Array, count: int | None, order: RankOrder) -> NDArray[np.int64]:
    """Class indexes [N, k]."""
    if order not in get_args(RankOrder):
        raise InputError(f"output_rank_order must be one of {get_args(RankOrder)}; got {order!r}")
    if logits.ndim != 2:
        raise TargetError(
            f"the model's output is {list(logits.shape)}, not [N, K], so its classes cannot be "
            "ranked; use explain() with a target"
        )
    n, classes = logits.shape
    if count is None:
        return np.tile(np.arange(classes), (n, 1))
    if not 1 <= count <= classes:
        raise InputError(f"ranked_outputs must be from 1 to {classes}, the classes; got {count}")
    keys = {"max": -logits, "min": logits, "max_abs": -np.abs(logits)}[order]
    return np.asarray(np.argsort(keys, axis=1, kind="stable")[:, :count], np.int64)
