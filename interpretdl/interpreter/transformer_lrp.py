"""Attention of transformers followed back, weighted by relevance in place of attention itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..registry import register
from ..rules.transformer_lrp import TRANSFORMER_LRP
from ..targets import TargetLike, settled
from .attention import AttentionMethod, from_layer, row_of_class
from .base import Array, Attribution

__all__ = ["TransformerLRPInterpreter", "attention_product"]


def attention_product(
    gradients: Sequence[Array], relevance: Sequence[Array]
) -> NDArray[np.float64]:
    """Ā_L … Ā_1, with Ā the identity plus the mean over heads of (∇A ⊙ R_A)⁺.

    Args:
        gradients, relevance: at attention, of each layer [N, heads, T, T].

    Returns:
        float64 [N, T, T].
    """
    n, _, tokens, _ = gradients[0].shape
    found = np.broadcast_to(np.eye(tokens), (n, tokens, tokens))
    for gradient, of_attention in zip(gradients, relevance, strict=True):
        weighted = np.maximum(gradient.astype(np.float64) * of_attention, 0).mean(axis=1)
        found = found + weighted @ found
    return found


@register(
    "transformer_lrp",
    layout="nhw",
    inputs=("pictures", "text"),
    signed=False,
    one_pass=True,
    needs_attention=True,
    paper="Chefer, Gur, Wolf: Transformer Interpretability Beyond Attention Visualization, 2021",
    url="https://arxiv.org/abs/2012.09838",
)
class TransformerLRPInterpreter(AttentionMethod):
    """Transformer LRP: relevance of attention times its gradient, followed from layer to layer.

        R = Ā_L … Ā_1,    Ā = I + mean over heads of (∇A ⊙ R_A)⁺

    ∇A is the score's gradient with respect to a layer's attention, R_A the relevance that arrives
    there by layer-wise relevance propagation: z⁺ in dense layers, half for each factor of a product
    and sums of two activations normalised. The map is the class token's row of R, as that of
    `generic_attention`, which has A in the place of R_A. Relevance knows what dense layers and
    values did behind a layer; the way back to the patches is that of attention alone. What lowers
    the score does not count. Costs two forward and two backward passes.
    """

    scores = ("logit", "contrast")

    def attribute(self, x: Array, target: TargetLike, *, start_layer: int = 0) -> Attribution:
        """Transformer LRP of the layers.

        Args:
            start_layer: the first layer of attention that counts, from 0.

        Returns:
            float32 [N, h, w], h and w of the grid of patches; not negative.

        Raises:
            UnsupportedModelError: an operation of the model that no rule reaches; and as
                `RolloutInterpreter`.
            InputError: no such start_layer.
        """
        found = self._attention(x, target)
        start = from_layer(start_layer, len(found.maps), 1)
        back = self.probe.attention(x, settled(target, found.outputs), rules=TRANSFORMER_LRP)
        # Relevance begins as 1 at the class, so that a negative logit turns no signs.
        scores = np.where(back.scores == 0, 1, back.scores).reshape(-1, 1, 1, 1)
        pairs = zip(back.maps[start:], back.gradients[start:], strict=True)
        relevance = [attention * (gradient / scores) for attention, gradient in pairs]
        matrix = attention_product(found.gradients[start:], relevance)
        return Attribution(self._map(found, row_of_class(matrix, found)), outputs=found.outputs)
