"""Attention with its gradient on the way from zeros to the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import UnsupportedModelError
from ..probe import Attention
from ..progress import progress_bar
from ..registry import register
from ..targets import ScoreKind, TargetLike, settled
from .abc_interpreter import named_layers
from .attention import AttentionMethod, from_layer, row_of_class
from .base import Array, Attribution
from .sampling import counts

__all__ = [
    "BTCVInterpreter",
    "TAMInterpreter",
    "head_attention",
    "state_of_class",
    "token_attention",
]

APMode = Literal["head", "token"]


class _PathOfAttention(AttentionMethod):
    """Base of methods that weight a map of tokens by attention's gradient along a path."""

    gradient_of: ScoreKind = "probability"

    def _along(
        self, x: Array, target: TargetLike, steps: int, pattern: str | None
    ) -> tuple[Attention, TargetLike, NDArray[np.float64]]:
        """Attention at x, the target settled there, and the weight of each token [N, T].

        The weight is what the class token's row of (mean over the path of ∇A of the last layer)⁺
        has, averaged over heads. The path is αx, for the midpoints α of `steps` equal parts.
        """
        counts(steps=steps)
        name = self.info.name
        with (
            self.probe.many(len(x) * (steps + 1), gradient=True),
            progress_bar(steps + 1, name, "step") as bar,
        ):
            found = self._attention(x, target, pattern)
            target = settled(target, found.outputs)
            bar.update()
            mean = np.zeros(found.maps[-1].shape)
            for step in range(steps):
                part = (x * ((step + 0.5) / steps)).astype(x.dtype)
                mean += self._attention(part, target, pattern).gradients[-1]
                bar.update()
        weights = row_of_class(np.maximum(mean / steps, 0).mean(axis=1), found)
        return found, target, weights


def state_of_class(found: Attention, start: int = 0) -> NDArray[np.float64]:
    """Attention as a Markov chain, from the class token of the last layer down.

    s is the class token's row in the last layer; in each layer below, s ← s Ā + s, where Ā is the
    mean over heads and the second term is what goes past attention.

    Args:
        found: attention of the layers; the chain begins at the last.
        start: the layer where it ends.

    Returns:
        float64 [N, T].
    """
    means = [attention.astype(np.float64).mean(axis=1) for attention in found.maps[start:]]
    state = row_of_class(means[-1], found)
    for mean in means[-2::-1]:
        state = np.einsum("nt,nts->ns", state, mean) + state
    return state


def head_attention(maps: Sequence[Array], gradients: Sequence[Array]) -> NDArray[np.float64]:
    """R ← R + (Σ_h I_h A_h) R from the identity on, where I_h is the mean of |A_hᵀ ∇A_h|, divided
    by its sum over the heads.

    Args:
        maps, gradients: of each layer [N, heads, T, T].

    Returns:
        float64 [N, T, T].
    """
    n, _, tokens, _ = maps[0].shape
    found = np.broadcast_to(np.eye(tokens), (n, tokens, tokens))
    for attention, gradient in zip(maps, gradients, strict=True):
        a = attention.astype(np.float64)
        weights = np.abs(a.swapaxes(2, 3) @ gradient).mean(axis=(2, 3))
        total = weights.sum(axis=1, keepdims=True)
        weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        found = found + np.einsum("nh,nhts->nts", weights, a) @ found
    return found


def token_attention(maps: Sequence[Array], lengths: Sequence[Array]) -> NDArray[np.float64]:
    """R ← R + Ā diag(λ) R from the identity on, where Ā is the mean over heads.

    Args:
        maps: of each layer [N, heads, T, T].
        lengths: of each layer [N, T], λ.

    Returns:
        float64 [N, T, T].
    """
    n, _, tokens, _ = maps[0].shape
    found = np.broadcast_to(np.eye(tokens), (n, tokens, tokens))
    for attention, length in zip(maps, lengths, strict=True):
        mean = attention.astype(np.float64).mean(axis=1)
        found = found + (mean * length[:, None, :]) @ found
    return found


@register(
    "transition_attention",
    layout="nhw",
    inputs=("pictures", "text"),
    signed=False,
    one_pass=True,
    needs_attention=True,
    paper="Yuan, Li, Xiong, Cao, Dou: Explaining Information Flow Inside Vision Transformers Using "
    "Markov Chain, 2021",
    url="https://openreview.net/forum?id=TT-cf6QSDaQ",
)
class TAMInterpreter(_PathOfAttention):
    """Transition attention maps: attention as a Markov chain, weighted by integrated gradients.

        s ← s Ā + s from the last layer down,    R = s ⊙ (mean over α of ∂f/∂A_L at αx)⁺

    s begins as the class token's row of the last layer's attention A_L, and Ā is a layer's mean
    over heads. The chain follows attention alone, whatever the class; the class comes in by the
    gradient at A_L along the path from zeros (the mean colour, where pictures are normalised) to
    the picture, averaged over heads. Costs a forward and backward pass for each step, and one more.
    """

    positional = ("start_layer", "steps", "label")

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        start_layer: int | None = None,
        steps: int = 20,
        attn_map_name: str | None = None,
    ) -> Attribution:
        """Transition attention maps.

        Args:
            start_layer: the chain goes down to this layer of attention, from 0. None: a third of
                the layers is left out, 4 of 12.
            steps: points on the path, midpoints of equal parts.
            attn_map_name: a regular expression that the names of layers begin with whose outputs
                are the attention. None: attention is met at the softmax.

        Returns:
            float32 [N, h, w], h and w of the grid of patches; not negative.

        Raises:
            UnsupportedModelError, LayerNotFoundError, InputError: as `RolloutInterpreter`.
        """
        found, _, weights = self._along(x, target, steps, attn_map_name)
        start = from_layer(start_layer, len(found.maps), 3)
        state = state_of_class(found, start)
        return Attribution(self._map(found, state * weights), outputs=found.outputs)


@register(
    "bidirectional_transformer",
    layout="nhw",
    inputs=("pictures", "text"),
    signed=False,
    one_pass=True,
    needs_attention=True,
    paper="Chen, Li, Yu, Dou, Xiong: Beyond Intuition: Rethinking Token Attributions inside "
    "Transformers, 2023",
    url="https://openreview.net/forum?id=rm0zIzlhcX",
)
class BTCVInterpreter(_PathOfAttention):
    """Beyond intuition: how tokens are mixed, layer by layer, weighted by integrated gradients.

        head:   R ← R + (Σ_h I_h A_h) R,    I_h = mean |A_hᵀ ∇A_h|, divided by its sum over heads
        token:  R ← R + Ā diag(‖v W‖ / ‖z‖) R

    from the identity on. A_h is the attention of a head, Ā the mean over heads, z a layer's input
    at each token, v its values and W the projection behind attention. The class token's row of R is
    multiplied by the gradient at the last layer's attention, as in `transition_attention`. Heads
    are weighted by the class explained; the lengths of tokens know no class. Costs a forward and
    backward pass for each step, and one or two more.
    """

    left_out: ClassVar[int] = 4  # this part of the layers, where start_layer is None
    positional = (
        *("ap_mode", "start_layer", "steps", "input_name", "attn_map_name", "attn_v_name"),
        *("attn_proj_name", "gradient_of", "label"),
    )

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        ap_mode: APMode = "head",
        start_layer: int | None = None,
        steps: int = 20,
        input_name: str = ".*norm1$",
        attn_map_name: str | None = None,
        attn_v_name: str = ".*attn.qkv$",
        attn_proj_name: str = ".*attn.proj$",
    ) -> Attribution:
        """The method's maps.

        Args:
            ap_mode: how a layer mixes tokens, see above.
            start_layer: the first layer of attention that counts, from 0. None: a quarter of the
                layers is left out, 3 of 12.
            steps: points on the path, midpoints of equal parts.
            input_name: for "token", a regular expression that the names of layers begin with whose
                inputs are z, one for each layer of attention.
            attn_map_name: of layers whose outputs are the attention. None: attention is met at the
                softmax.
            attn_v_name: for "token", of layers that give the values, alone or behind queries and
                keys.
            attn_proj_name: for "token", of the dense layers whose weight is W.

        Returns:
            float32 [N, h, w], h and w of the grid of patches; not negative. Diagnostics, likewise:
            "perception", the class token's row of R, and "feedback", what it is multiplied with.

        Raises:
            UnsupportedModelError, LayerNotFoundError, InputError: as `RolloutInterpreter`.
        """
        found, target, weights = self._along(x, target, steps, attn_map_name)
        start = from_layer(start_layer, len(found.maps), self.left_out)
        if ap_mode == "head":
            matrix = head_attention(found.maps[start:], found.gradients[start:])
        else:
            lengths = self._lengths(x, len(found.maps), input_name, attn_v_name, attn_proj_name)
            if found.positions is not None:
                lengths = [length[:, found.positions] for length in lengths]
            matrix = token_attention(found.maps[start:], lengths[start:])
        perception = row_of_class(matrix, found)
        facts = {
            "perception": self._map(found, perception),
            "feedback": self._map(found, weights),
        }
        return Attribution(self._map(found, perception * weights), facts, outputs=found.outputs)

    def _lengths(
        self, x: Array, layers: int, inputs: str, values: str, projections: str
    ) -> list[NDArray[np.float64]]:
        """‖v W‖ / ‖z‖ of each layer's tokens, [N, T]."""
        patterns = (inputs, values, projections)
        before, value, behind = (named_layers(self, pattern) for pattern in patterns)
        for pattern, names in zip(patterns, (before, value, behind), strict=True):
            if len(names) != layers:
                raise UnsupportedModelError(
                    f"{len(names)} layers' names begin with {pattern!r}, and there are {layers} "
                    "layers of attention; give a pattern that names one for each"
                )
        known = dict(self.model.named_sublayers())
        run = self.probe.forward(x, layers=[*(f"{name}:input" for name in before), *value])
        lengths = []
        for name, given, projection in zip(before, value, behind, strict=True):
            z = run.activations[f"{name}:input"].astype(np.float64)
            weight = known[projection].weight.numpy().astype(np.float64)
            v = run.activations[given].astype(np.float64)[..., -weight.shape[0] :]
            size = np.linalg.norm(z, axis=-1)
            mixed = np.linalg.norm(v @ weight, axis=-1)
            lengths.append(np.divide(mixed, size, out=np.zeros_like(size), where=size > 0))
        return lengths
