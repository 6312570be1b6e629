"""Layer-wise relevance propagation and its relatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..registry import register
from ..rules import Composite, composite_of
from ..rules.audit import Ledger
from ..rules.through import Channels
from ..targets import ScoreKind, Target, TargetLike, take
from .base import Array, Attribution
from .propagation import (
    Audit,
    Propagation,
    channels_summed,
    is_lost,
    joined,
    warn_of_biases,
)

__all__ = [
    "Audit",
    "DeepTaylorInterpreter",
    "ExcitationBPInterpreter",
    "LRPCVInterpreter",
    "LRPInterpreter",
]


@register(
    "lrp",
    layout="n1hw",
    one_pass=True,
    inputs=("pictures", "arrays", "text"),
    signed=True,
    paper="Bach et al.: On Pixel-Wise Explanations … by Layer-Wise Relevance Propagation, 2015",
    url="https://doi.org/10.1371/journal.pone.0130140",
    aliases=("LRPCVInterpreter",),
)
class LRPInterpreter(Propagation):
    """Layer-wise relevance propagation: the score is divided among the pixels, layer by layer.

        R_j = Σ_k  z_jk / Σ_j z_jk  R_k        (z_jk = x_j w_jk; variants: see the composites)

    Works on any model whose operations the composite's rules reach, and says so where they do not.
    For transformers there is composite="attn_lrp".
    Positive relevance speaks for the class, negative against it.
    """

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        composite: str | Composite = "epsilon_gamma_box",
        through: Channels | None = None,
        strict: bool = False,
    ) -> Attribution:
        """Relevance of the pixels, channels summed; of other inputs, in their shape.

        Args:
            through: only the relevance that flows through these channels of layers counts:
                {"layer4.2.conv3": 17}, or a list of channels; {"attention:3": 0} for heads, of the
                layers of attention in the order in which they run. Of several layers, what flows
                through all of them. Channels are axis 1 of [N, C, h, w] and [N, C], and the last
                axis of tokens [N, T, C] and of what dense layers and layer-norms give.
            strict: refuse the model where relevance is lost although the composite promises that
                it arrives ("z_plus_box", "excitation_backprop"). Without, biases keep what no
                input contributed to, with a warning.

        Returns:
            float [N, 1, H, W]; diagnostics "score", "relevance_arrived" and "stabilizers_kept",
            each [N]; the rest of the score is the biases'. With `through` also "relevance_through",
            what of the score flows through the channels, of which the rest is the biases' then.

        Raises:
            InputError: no composite of that name, or no such channel.
            LayerNotFoundError: no layer of a name in `through`, or it did not run.
            UnsupportedModelError: an operation of the model that no rule reaches, relevance that
                is not finite, or with strict that is lost; a layer in `through` that runs several
                times, or gives no tensor with channels.
        """
        return channels_summed(self.propagate(x, target, composite, strict, through))

    def relevance(
        self,
        inputs: Any,
        label: Any = None,
        *,
        layer: str | Sequence[str],
        composite: str | Composite = "epsilon_gamma_box",
        through: Channels | None = None,
        gradient_of: ScoreKind | None = None,
    ) -> Array | dict[str, Array]:
        """Relevance at the output of a layer, [N, ...] of its shape; of several, {name: …}.

        Args:
            inputs, label: as in `explain`.
            layer: a layer's name, or several.
            composite, gradient_of: as in `explain`.
            through: as in `explain`. At the layers before it and at its own; there is none at those
                behind.

        Raises:
            LayerNotFoundError, and what `explain` raises.
        """
        parts = []
        for one, x, target in self.runs(inputs, label, gradient_of):
            rules = one.rules_of(composite, x, through)
            found = one.probe.gradients(x, target, at=layer, rules=rules, with_input=True)
            parts.append({n: a * found.gradients[n] for n, a in found.activations.items()})
        relevance = {name: joined([part[name] for part in parts]) for name in parts[0]}
        return relevance[layer] if isinstance(layer, str) else relevance

    def heads(
        self,
        inputs: Any,
        label: Any = None,
        *,
        composite: str | Composite = "attn_lrp",
        through: Channels | None = None,
        gradient_of: ScoreKind | None = None,
    ) -> list[NDArray[np.float64]]:
        """Relevance that flows through each head of a transformer.

        A head is met where its attention is multiplied with the values. What goes past a layer of
        attention, in the residual path, flows through none of its heads.

        Args:
            inputs, label, composite, through, gradient_of: as in `explain`.

        Returns:
            For each layer of attention, in the order in which they run, [N, heads].

        Raises:
            UnsupportedModelError: the model does not attend, or not by products of matrices; and
                what `explain` raises.
        """
        parts = []
        for one, x, target in self.runs(inputs, label, gradient_of):
            rules = one.rules_of(composite, x, through)
            found = one.probe.attention(x, target, rules=rules, heads=True)
            pairs = zip(found.maps, found.gradients, strict=True)
            sums = [np.sum(y * g, axis=(2, 3), dtype=np.float64) for y, g in pairs]
            # Windows of an image follow each other.
            parts.append([each.reshape(len(x), -1, each.shape[1]).sum(axis=1) for each in sums])
        return [np.concatenate(layer) for layer in zip(*parts, strict=True)]

    def audit(
        self,
        inputs: Any,
        label: Any = None,
        *,
        composite: str | Composite = "epsilon_gamma_box",
        through: Channels | None = None,
        gradient_of: ScoreKind | None = None,
    ) -> Audit:
        """Relevance at every seam, and what biases, stabilizers and the first layer kept.

        Args:
            inputs, label, composite, through, gradient_of: as in `explain`.

        Returns:
            Audit; `print` it for a table.
        """
        audits = [
            one.ledger(x, target, one.rules_of(composite, x, through))
            for one, x, target in self.runs(inputs, label, gradient_of)
        ]
        return Audit.joined(audits)


LRPCVInterpreter = LRPInterpreter


class _Positive(Target):
    """A target that only counts above zero."""

    def __init__(self, target: TargetLike) -> None:
        self.target = target

    def take(self, indices: Any) -> _Positive:
        return _Positive(take(self.target, indices))

    def __call__(self, output: Any) -> Any:
        return self.target(output).clip(min=0)


@register(
    "deep_taylor",
    class_blind=True,
    layout="n1hw",
    one_pass=True,
    inputs=("pictures", "arrays", "text"),
    signed=False,
    paper="Montavon et al.: Explaining NonLinear Classification Decisions with Deep Taylor "
    "Decomposition, 2017",
    url="https://arxiv.org/abs/1512.02479",
)
class DeepTaylorInterpreter(Propagation):
    """Deep Taylor decomposition: LRP with the z⁺ rule, z-box for pixels, from scores above zero.

        R_j = Σ_k  x_j w⁺_jk / Σ_j x_j w⁺_jk  R_k,      R_output = max(f_c, 0)

    Never negative on a network of ReLUs. An image whose score is not positive has no relevance.
    """

    def attribute(self, x: Array, target: TargetLike) -> Attribution:
        """Relevance of the pixels, channels summed.

        Returns:
            float [N, 1, H, W].

        Raises:
            UnsupportedModelError: an operation of the model that no rule reaches.
        """
        return channels_summed(self.propagate(x, _Positive(target), "deep_taylor"))


@register(
    "excitation_bp",
    class_blind=True,
    layout="n1hw",
    one_pass=True,
    inputs=("pictures", "arrays", "text"),
    signed=False,
    paper="Zhang et al.: Top-down Neural Attention by Excitation Backprop, 2016",
    url="https://arxiv.org/abs/1608.00507",
)
class ExcitationBPInterpreter(Propagation):
    """Excitation backpropagation: the probability that a walk from the class ends at a pixel.

        P_j = Σ_k  x_j w⁺_jk / Σ_j x_j w⁺_jk  P_k,      P_output = 1 for the class

    The map of an image sums to 1. Where biases keep a part of the probability, which is warned of,
    the map is that of the walks that do not end at a bias.
    """

    def attribute(
        self, x: Array, target: TargetLike, *, layer: str | None = None, strict: bool = False
    ) -> Attribution:
        """Probabilities of the pixels, or of the positions of a layer; channels summed.

        Args:
            layer: a layer with output [N, C, h, w], as the paper shows them; None: the input. On
                a side path of the network a layer has its part of the probability only.
            strict: refuse the model where biases keep more than 2 % of the probability.

        Returns:
            float [N, 1, H, W], or [N, 1, h, w].

        Raises:
            LayerNotFoundError: no layer of that name.
            UnsupportedModelError: an operation of the model that no rule reaches, or with strict
                probability that biases keep.
        """
        if layer is None:
            result = self.propagate(x, target, "excitation_backprop", strict)
            whole = result.diagnostics["relevance_arrived"]
        else:
            rules, ledger = composite_of("excitation_backprop"), Ledger()
            at = self.probe.gradients(x, target, at=layer, rules=rules.observed(ledger))
            relevance = at.activations[layer] * at.gradients[layer]
            # What is lost behind the layer; one on a side path has its part of the whole only.
            total = relevance.sum(axis=tuple(range(1, relevance.ndim)), dtype=np.float64)
            audit = Audit(rules.name, at.scores.astype(np.float64), tuple(ledger.seams()), total)
            if is_lost(audit.absorbed, at.scores):
                if strict:
                    self.refuse(audit)
                warn_of_biases(audit.absorbed, at.scores)
            result = Attribution(relevance, outputs=at.outputs)
            whole = audit.start - audit.absorbed
        whole = np.where(whole == 0, 1, whole).reshape(-1, *[1] * (result.values.ndim - 1))
        result.values = (result.values / whole).astype(result.values.dtype)
        return channels_summed(result)
