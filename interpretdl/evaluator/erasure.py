"""Comprehensiveness and sufficiency: what the most relevant parts are worth to the model."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..errors import InputError
from ..interpreter.sampling import counts
from ..perturbation import Fill
from ..registry import register_evaluator
from ..targets import ScoreKind
from .base import Evaluator
from .case import Case
from .evaluation import Evaluation
from .removal import Removal

__all__ = ["Comprehensiveness", "Sufficiency"]

_ERASER = "DeYoung et al.: ERASER, A Benchmark to Evaluate Rationalized NLP Models, 2020"
_URL = "https://arxiv.org/abs/1911.03429"


class _Erasure(Evaluator):
    """Base of the two.

    Args:
        bins: shares of the parts that count as the most relevant, in (0, 1]; of each, rounded, at
            least one part.
        patch: side in pixels of the squares that are the parts of a picture; of a text the words
            are.

    Raises:
        InputError: an option is out of range.
    """

    alone: ClassVar[bool]
    """Whether the most relevant parts are all that is left, or what is taken out."""

    bins: tuple[float, ...] = (0.01, 0.05, 0.1, 0.2, 0.5)
    fill: Fill = "mean"
    gradient_of: ScoreKind | None = "probability"
    patch: int = 9
    seed: int = 0

    def check(self) -> None:
        counts(patch=self.patch)
        if not self.bins or not all(0 < share <= 1 for share in self.bins):
            raise InputError(f"bins must be shares in (0, 1], at least one; got {self.bins!r}")

    def evaluate_case(self, case: Case) -> Evaluation:
        regions, shares = case.regions(self.patch), np.sort(self.bins)
        relevance = case.relevance(regions)
        taken = np.maximum(1, np.rint(shares * relevance.shape[1])).astype(np.int64)
        imputer = case.imputer(self.fill, regions)
        removal = Removal(imputer, relevance, regions, taken, self.seed)
        target = case.score(self.gradient_of)
        left = removal.curves(case.model, target, insert=self.alone)
        lost = case.model.scores(case.x, target).astype(np.float64)[:, None] - left
        return self.result(
            lost.mean(axis=1), curves={"score lost": lost}, axis=shares,
            axis_label=f"share of the {case.whole}",
        )  # fmt: skip


@register_evaluator(
    "comprehensiveness",
    higher_is_better=True,
    paper=_ERASER,
    url=_URL,
    inputs=("pictures", "text"),
)
class Comprehensiveness(_Erasure):
    """Mean fall of the score when the most relevant parts are taken out.

        mean over bins k of p(x) − p(x without its k most relevant parts)

    Large where the explanation has all that the model needs; a model that finds the same evidence
    elsewhere in a text lowers it, although the explanation may be right. Costs a run for each bin.
    """

    alone: ClassVar[bool] = False


@register_evaluator(
    "sufficiency", higher_is_better=False, paper=_ERASER, url=_URL, inputs=("pictures", "text")
)
class Sufficiency(_Erasure):
    """Mean fall of the score when the most relevant parts are all that is left.

        mean over bins k of p(x) − p(the k most relevant parts of x alone)

    Small, or below zero, where what the explanation points at is enough for the model. Few words
    alone are a text that the model was never trained on. Costs a run for each bin.
    """

    alone: ClassVar[bool] = True
