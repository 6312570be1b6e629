"""ROAD: parts taken out by noisy linear interpolation, most and least relevant first."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..interpreter.sampling import counts
from ..registry import register_evaluator
from ..targets import ScoreKind
from .base import Evaluator
from .case import Case
from .evaluation import Evaluation, flagged
from .removal import Removal

__all__ = ["ROAD"]


@register_evaluator(
    "road",
    higher_is_better=True,
    paper="Rong et al.: A Consistent and Efficient Evaluation Strategy for Attribution Methods, "
    "2022",
    url="https://arxiv.org/abs/2202.00449",
)
class ROAD(Evaluator):
    """Score with the least relevant pixels taken out, minus score without the most relevant ones.

        mean over shares k of p(x without its k least) − p(x without its k most relevant pixels)

    Parts: "MoRF" (mean score with the most relevant pixels taken out, lower is better) and "LeRF"
    (least relevant, higher is better). The paper counts how often the answer is still right; the
    probability says it for a single picture.

    A pixel that is taken out becomes the weighted mean of its neighbours, with a little noise:
    `fill="road"`, which other evaluators have too. Of such a gap a network sees little, so that
    neither its shape nor its edges give the object away, as those of a grey area do. What a smooth
    area shows, such as its colour, stays. Costs two runs and two sparse linear systems for each
    share, these about 0.1 s in all at 64 × 64 pixels and 1 s at 224 × 224.

    Args:
        shares: of the pixels that are taken out, in (0, 1), at least one each; the paper's by
            default.

    Raises:
        InputError: an option is out of range.
    """

    shares: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)
    gradient_of: ScoreKind | None = "probability"
    patch: int = 1
    seed: int = 0

    def check(self) -> None:
        counts(patch=self.patch)
        if not self.shares or not all(0 < share < 1 for share in self.shares):
            raise InputError(f"shares must be in (0, 1), at least one; got {self.shares!r}")

    def evaluate_case(self, case: Case) -> Evaluation:
        regions, shares = case.regions(self.patch), np.sort(self.shares)
        relevance = case.relevance(regions)
        taken = np.maximum(1, np.rint(shares * relevance.shape[1])).astype(np.int64)
        if taken.min() == relevance.shape[1]:
            none = np.full(len(case.x), np.nan)
            return self.result(none, flags=flagged(np.isnan(none), "every share is all patches"))
        imputer = case.imputer("road", regions)
        removal = Removal(imputer, relevance, regions, taken, self.seed)
        target = case.score(self.gradient_of)
        curves = {
            name: removal.curves(case.model, target, least_first=name == "LeRF")
            for name in ("MoRF", "LeRF")
        }
        parts = {name: curve.mean(axis=1) for name, curve in curves.items()}
        return self.result(
            parts["LeRF"] - parts["MoRF"], parts=parts, curves=curves, axis=shares,
            axis_label=f"share of the {case.whole}",
        )  # fmt: skip
