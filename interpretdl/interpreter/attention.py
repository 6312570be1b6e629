"""Attention of transformers followed from the output back to the patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UnsupportedModelError
from ..probe import Attention
from ..registry import register
from ..targets import ScoreKind, TargetLike, take
from .abc_interpreter import named_layers
from .attribution import joined
from .base import Array, Attribution, Interpreter

__all__ = [
    "AttentionGradientInterpreter",
    "AttentionMethod",
    "GACVInterpreter",
    "RolloutInterpreter",
    "generic_attention",
    "patches",
    "rollout",
    "row_of_class",
]


class AttentionMethod(Interpreter):
    """Base of methods that look at attention, which is met at the softmax as the model runs."""

    def _attributed(self, x: Array, target: TargetLike, options: dict[str, Any]) -> Attribution:
        """As many items at a time as are run at once: attention is large, their maps are not."""
        results: list[Attribution] = []
        done = 0
        with self.probe.many(len(x), gradient=True):
            while done < len(x):
                planned = self.probe.batch_plan(x) if results else 1
                rows = np.arange(done, min(len(x), done + planned))
                part = take(target, rows)
                results.append(super()._attributed(x[rows], part, options))
                done += len(rows)
        return joined(results)

    def _attention(self, x: Array, target: TargetLike, pattern: str | None = None) -> Attention:
        """Attention of every layer; with a pattern, what the layers of such names give.

        Raises:
            UnsupportedModelError: there is none, or it is not from all tokens to all.
            LayerNotFoundError: no layer's name begins with the pattern.
        """
        names = named_layers(self, pattern)
        found = self.probe.attention(x, target, names)
        for layer, attention in enumerate(found.maps):
            if attention.ndim != 4 or attention.shape[2] != attention.shape[3]:
                raise UnsupportedModelError(
                    f"the attention of layer {layer} is {list(attention.shape)}, not [N, heads, T, "
                    "T]: this method follows tokens from layer to layer; take a class activation "
                    "map or a gradient method"
                )
        counts = {attention.shape[2] for attention in found.maps}
        if len(counts) > 1:
            raise UnsupportedModelError(
                f"layers of this model attend over {sorted(counts)} tokens, and this method needs "
                "the same tokens in all; take a class activation map or a gradient method"
            )
        return found

    def _map(self, found: Attention, relevance: Array) -> NDArray[np.float32]:
        """Relevance of the tokens [N, T] as maps of the patches [N, h, w]; of a text [N, t]."""
        if found.positions is not None:
            return np.asarray(relevance, np.float32)
        return patches(relevance, found.size)


def patches(relevance: Array, size: tuple[int, int] | None) -> NDArray[np.float32]:
    """The part of the tokens [N, T] that belongs to the grid of patches, [N, h, w].

    Raises:
        UnsupportedModelError: the grid is not known.
    """
    height, width = _grid(relevance.shape[1], size)
    return np.asarray(relevance[:, -height * width :].reshape(-1, height, width), np.float32)


def _grid(tokens: int, size: tuple[int, int] | None) -> tuple[int, int]:
    """The grid that was seen; else a square one, after a class token or without."""
    if size is not None:
        return size
    for count in (tokens - 1, tokens):
        side = round(count**0.5)
        if side > 1 and side * side == count:
            return side, side
    raise UnsupportedModelError(
        f"it is not known how {tokens} tokens are spread over the picture: no convolution gave "
        "such a grid, and it is no square with or without a class token"
    )


def row_of_class(matrix: Array, found: Attention) -> Array:
    """What the output takes from each token, of matrices [N, T, T]: [N, T].

    That is the class token's row. It is the mean row of the patches where there is no class token,
    or the score does not depend on what the class token takes up in the last layer. Of a text it is
    the mean row of the tokens that the score is read from.
    """
    if found.positions is not None:
        read = found.gradients[-1][0].any(axis=(0, 2)) if found.gradients else np.zeros(0, bool)
        of_text: Array = (matrix[:, read] if read.any() else matrix).mean(axis=1)
        return of_text
    height, width = _grid(matrix.shape[-1], found.size)
    before = matrix.shape[-1] - height * width
    if before and (not found.gradients or found.gradients[-1][:, :, 0].any()):
        first: Array = matrix[:, 0]
        return first
    mean: Array = matrix[:, before:].mean(axis=1)
    return mean


def from_layer(start: int | None, layers: int, part: int) -> int:
    """The layer to start at; None leaves a part-th of them out, and never the last.

    Raises:
        InputError: there is no such layer.
    """
    if start is None:
        return min(layers // part, layers - 1)
    if isinstance(start, bool) or not 0 <= start < layers:
        raise InputError(
            f"start_layer must be from 0 to {layers - 1}, the layers of attention of this model; "
            f"got {start!r}"
        )
    return start


def rollout(maps: Sequence[Array]) -> NDArray[np.float64]:
    """Â_L … Â_1, with Â the mean over heads plus the identity, rows scaled to sum to 1.

    Args:
        maps: of each layer [N, heads, T, T].

    Returns:
        float64 [N, T, T]; rows sum to 1.
    """
    n, _, tokens, _ = maps[0].shape
    found = np.broadcast_to(np.eye(tokens), (n, tokens, tokens))
    for attention in maps:
        mixed = attention.astype(np.float64).mean(axis=1) + np.eye(tokens)
        found = mixed / mixed.sum(axis=-1, keepdims=True) @ found
    return found


def generic_attention(maps: Sequence[Array], gradients: Sequence[Array]) -> NDArray[np.float64]:
    """R ← R + mean over heads of (∇A ⊙ A)⁺ · R, from the identity on.

    Args:
        maps, gradients: of each layer [N, heads, T, T].

    Returns:
        float64 [N, T, T].
    """
    n, _, tokens, _ = maps[0].shape
    found = np.broadcast_to(np.eye(tokens), (n, tokens, tokens))
    for attention, gradient in zip(maps, gradients, strict=True):
        weighted = np.maximum(attention.astype(np.float64) * gradient, 0).mean(axis=1)
        found = found + weighted @ found
    return found


@register(
    "rollout",
    layout="nhw",
    inputs=("pictures", "text"),
    signed=False,
    one_pass=True,
    needs_attention=True,
    class_blind=True,
    paper="Abnar, Zuidema: Quantifying Attention Flow in Transformers, 2020",
    url="https://arxiv.org/abs/2005.00928",
)
class RolloutInterpreter(AttentionMethod):
    """Attention rollout: how much of each patch has reached the class token, by attention alone.

        R = Â_L … Â_1,    Â = (mean over heads of A + I), each row divided by its sum

    A is a layer's attention, I what goes past it. The map is the class token's row of R; where the
    score is not read from a class token, the mean row of the patches. It knows neither what the
    tokens hold nor the class, so it is the same for every class.
    """

    positional = ("start_layer", "attention_layer_pattern", "label")

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        start_layer: int = 0,
        attention_layer_pattern: str | None = None,
    ) -> Attribution:
        """Rollout of the layers' attention.

        Args:
            start_layer: the first layer of attention that counts, from 0.
            attention_layer_pattern: a regular expression that the names of layers begin with whose
                outputs are the attention, such as "^blocks.*.attn.attn_drop$". None: attention is
                met at the softmax.

        Returns:
            float32 [N, h, w], h and w of the grid of patches; not negative.

        Raises:
            UnsupportedModelError: the model does not attend, not over all tokens, or the grid of
                patches is not known.
            LayerNotFoundError: no layer's name begins with the pattern.
            InputError: no such start_layer.
        """
        # The gradient tells whether the score is read from the class token.
        found = self._attention(x, target, attention_layer_pattern)
        start = from_layer(start_layer, len(found.maps), 1)
        matrix = rollout(found.maps[start:])
        return Attribution(self._map(found, row_of_class(matrix, found)), outputs=found.outputs)


@register(
    "generic_attention",
    layout="nhw",
    inputs=("pictures", "text"),
    signed=False,
    one_pass=True,
    needs_attention=True,
    paper="Chefer, Gur, Wolf: Generic Attention-model Explainability for Interpreting Bi-Modal and "
    "Encoder-Decoder Transformers, 2021",
    url="https://arxiv.org/abs/2103.15679",
)
class GACVInterpreter(AttentionMethod):
    """Generic attention: attention that raises the score, followed from layer to layer.

        R ← R + mean over heads of (∇A ⊙ A)⁺ · R,    from R = I on

    A is a layer's attention, ∇A the score's gradient with respect to it. The map is the class
    token's row of R, as rollout's, but each entry counts as much as the score would change without
    it. What lowers the score does not count.
    """

    gradient_of: ScoreKind = "probability"
    left_out: ClassVar[int] = 4  # this part of the layers, where start_layer is None
    positional = ("start_layer", "attn_map_name", "label", "gradient_of")

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        start_layer: int | None = None,
        attn_map_name: str | None = None,
    ) -> Attribution:
        """Generic attention of the layers.

        Args:
            start_layer: the first layer of attention that counts, from 0. None: a quarter of the
                layers is left out, 3 of 12.
            attn_map_name: a regular expression that the names of layers begin with whose outputs
                are the attention, such as "^blocks.*.attn.attn_drop$". None: attention is met at
                the softmax.

        Returns:
            float32 [N, h, w], h and w of the grid of patches; not negative.

        Raises:
            UnsupportedModelError, LayerNotFoundError, InputError: as `RolloutInterpreter`.
        """
        found = self._attention(x, target, attn_map_name)
        start = from_layer(start_layer, len(found.maps), self.left_out)
        matrix = generic_attention(found.maps[start:], found.gradients[start:])
        return Attribution(self._map(found, row_of_class(matrix, found)), outputs=found.outputs)


@register(
    "attention_gradient",
    layout="nhw",
    inputs=("pictures", "text"),
    signed=False,
    one_pass=True,
    needs_attention=True,
    paper="Barkan et al.: Grad-SAM, Explaining Transformers via Gradient Self-Attention Maps, 2021",
    url="https://arxiv.org/abs/2204.11073",
)
class AttentionGradientInterpreter(AttentionMethod):
    """Attention times gradient: what the class token attends to in one layer, where it helps.

        R = mean over heads of (A ⊙ ∇A)⁺, the class token's row

    A is the attention of the last layer, or another. In the last layer a token may hold what others
    have told it, so the map says where information is, and not where in the picture it comes from.
    """

    def attribute(self, x: Array, target: TargetLike, *, layer_index: int = -1) -> Attribution:
        """Attention times gradient of one layer.

        Args:
            layer_index: which layer of attention, from 0, or from the end: -1 is the last.

        Returns:
            float32 [N, h, w], h and w of the grid of patches; not negative.

        Raises:
            UnsupportedModelError, InputError: as `RolloutInterpreter`.
        """
        found = self._attention(x, target)
        layers = len(found.maps)
        if isinstance(layer_index, bool) or not -layers <= layer_index < layers:
            raise InputError(
                f"layer_index must be from {-layers} to {layers - 1}, the layers of attention of "
                f"this model; got {layer_index!r}"
            )
        product: Any = found.maps[layer_index] * found.gradients[layer_index]
        matrix = np.maximum(product, 0).mean(axis=1)
        return Attribution(self._map(found, row_of_class(matrix, found)), outputs=found.outputs)
