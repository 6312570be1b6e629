"""DeepLIFT."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

from ..errors import InputError
from ..registry import register
from ..rules.composites import COMPOSITES
from ..targets import Target, TargetLike, settled, take
from .base import Array, Attribution, Interpreter
from .baselines import Baselines, baselines_of

__all__ = ["DeepLIFTInterpreter"]


class _Samples(Target):
    """A target for pairs image, reference, …: the image's score, 0 for the reference."""

    def __init__(self, target: TargetLike) -> None:
        self.target = target

    def take(self, indices: NDArray[np.int64]) -> _Samples:
        return _Samples(take(self.target, indices[0::2] // 2))

    def __call__(self, output: Any) -> Any:
        score = self.target(output[0::2])
        return paddle.stack([score, paddle.zeros_like(score)], axis=1).flatten()


@register(
    "deep_lift",
    layout="nchw",
    one_pass=True,
    inputs=("pictures", "arrays", "text"),
    signed=True,
    paper="Shrikumar, Greenside, Kundaje: Learning Important Features Through Propagating "
    "Activation Differences, 2017",
    url="https://arxiv.org/abs/1704.02685",
)
class DeepLIFTInterpreter(Interpreter):
    """DeepLIFT with the rescale rule: a change of score, shared among what changed in the image.

        R = (x - x₀) · m,      m_x = m_y · Δy / Δx at every activation

    Of a product Δ(ab) = Δa (b + b₀)/2 + (a + a₀)/2 Δb, so that attention and gates are shared, too.
    Sums to f(x) - f(x₀). One backward pass does for a whole path of gradients.
    """

    positional = ("label", "baselines")
    scores = ("logit", "contrast")

    def attribute(
        self, x: Array, target: TargetLike, *, baselines: Baselines = None
    ) -> Attribution:
        """Contributions to the difference in the logit between the image and its reference.

        Args:
            baselines: the reference x₀: None or "black", "white", "mean", "blur", or an array
                [C, H, W] or [N, C, H, W].

        Returns:
            float [N, C, H, W]; diagnostics "completeness_error": |ΣR - Δf| / |Δf|, [N].

        Raises:
            InputError: a baseline that does not fit, or several.
            UnsupportedModelError: an operation that the rescale rule does not reach.
        """
        count, make = baselines_of(x, baselines, self.preprocessing, 1, blank=self._blank)
        if count != 1:
            raise InputError(f"DeepLIFT takes one baseline per image; got {count}")
        references = np.concatenate([make(i) for i in range(len(x))]).astype(x.dtype)
        pairs = np.stack([x, references], axis=1).reshape(-1, *x.shape[1:])
        found = self.probe.gradients(
            pairs, _Samples(target), rules=COMPOSITES["deep_lift"], group=2
        )
        values = (x - references) * found.input[0::2]
        outputs = found.outputs[0::2]
        fixed = settled(target, outputs)  # the image's class is the reference's too
        change = found.scores[0::2] - self.probe.scores(references, fixed)
        total = values.sum(axis=tuple(range(1, x.ndim)), dtype=np.float64)
        error = np.abs(total - change) / np.maximum(np.abs(change), np.finfo(np.float32).tiny)
        return Attribution(values, {"completeness_error": error}, outputs=outputs)
