"""How much a map asks of the person who reads it."""

from __future__ import annotations

import numpy as np

from ..registry import register_evaluator
from .base import Evaluator
from .case import Case
from .evaluation import Evaluation, flagged

__all__ = ["Complexity", "Sparseness"]


@register_evaluator(
    "sparseness",
    higher_is_better=True,
    paper="Chalasani et al.: Concise Explanations of Neural Networks using Adversarial Training, "
    "2020",
    url="https://arxiv.org/abs/1810.06583",
    needs=(),
    inputs=("pictures", "text"),
)
class Sparseness(Evaluator):
    """Gini index of a map's absolute values: 0 when all are equal, near 1 when one has it all.

        G = Σ_k (2k − n − 1) |R|_(k) / (n Σ |R|),  values in rising order, k = 1 … n

    The map is taken at the image's size, channels summed; of a text the words' values. No run of
    the model is needed.
    """

    ranks = False

    def evaluate_case(self, case: Case) -> Evaluation:
        size = np.abs(case.heat.reshape(len(case.x), -1).astype(np.float64))
        size.sort(axis=1)
        n = size.shape[1]
        weights = 2 * np.arange(1, n + 1) - n - 1
        total = n * size.sum(axis=1)
        known = np.where(total > 0, total, np.nan)
        flags = flagged(total == 0, "the channels cancel out")
        return self.result(size @ weights / known, flags=flags)


@register_evaluator(
    "complexity",
    higher_is_better=False,
    paper="Bhatt, Weller, Moura: Evaluating and Aggregating Feature-based Model Explanations, 2020",
    url="https://arxiv.org/abs/2005.00631",
    needs=(),
    inputs=("pictures", "text"),
)
class Complexity(Evaluator):
    """Entropy of a map's absolute values: 0 when one pixel has it all, ln n when all are equal.

        H = −Σ_i p_i ln p_i,  p_i = |R_i| / Σ |R|

    exp(H) is how many pixels of equal relevance would be as complex. The map is taken at the
    image's size, channels summed; of a text the words' values. So maps of one size compare, and an
    enlarged map is as complex as its pixels are many. It says nothing about the model: a single
    pixel anywhere is best. No run of the model is needed.
    """

    ranks = False

    def evaluate_case(self, case: Case) -> Evaluation:
        size = np.abs(case.heat.reshape(len(case.x), -1).astype(np.float64))
        total = size.sum(axis=1, keepdims=True)
        share = size / np.where(total > 0, total, np.nan)
        logs = np.log(share, out=np.zeros_like(share), where=share > 0)
        entropy = np.abs((share * logs).sum(axis=1))  # no -0
        return self.result(entropy, flags=flagged(total[:, 0] == 0, "the channels cancel out"))
