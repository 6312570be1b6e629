"""Layer-wise relevance propagation and its relatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UnsupportedModelError
from ..registry import register
from ..rules.audit import Ledger, Seam
from ..rules.base import Composite
from ..rules.composites import composite_of
from ..targets import ScoreKind, Target, TargetLike, take
from .base import Array, Attribution, Interpreter

__all__ = [
    "Audit",
    "DeepTaylorInterpreter",
    "ExcitationBPInterpreter",
    "LRPCVInterpreter",
    "LRPInterpreter",
]

# A composite that promises to conserve may lose this share of the score to rounding.
_TOLERANCE = 0.02


@dataclass(frozen=True)
class Audit:
    """Where relevance went, from the score to the input; all numbers float64 [N].

    Attributes:
        composite: the composite's name.
        start: the scores, which is the relevance that set out.
        seams: relevance at every layer and operation with a rule, from the output to the input.
        input: what arrived at the input.
    """

    composite: str
    start: Array
    seams: tuple[Seam, ...]
    input: Array

    @property
    def absorbed(self) -> Array:
        """What biases and stabilizers kept in all, float64 [N]; start - absorbed is input."""
        return np.asarray(np.sum([s.bias + s.stabilizer for s in self.seams], axis=0))

    def __str__(self) -> str:
        """A table of the first image's seams."""
        rows = [f"{'':32} {'arrived':>10} {'passed':>10} {'bias':>10} {'stabilizer':>10}"]
        rows += [f"{'score':32} {self.start[0]:10.4f}"]
        rows += [
            f"{s.name[:32]:32} {s.arrived[0]:10.4f} {s.passed[0]:10.4f} {s.bias[0]:10.4f} "
            f"{s.stabilizer[0]:10.4f}"
            for s in self.seams
        ]
        return "\n".join([*rows, f"{'input':32} {self.input[0]:10.4f}"])


class _Propagation(Interpreter):
    """What the methods that propagate relevance share."""

    scores = ("logit", "contrast")

    def propagate(self, x: Array, target: TargetLike, composite: str | Composite) -> Attribution:
        """Relevance of the input, [N, 1, H, W], and which share of the score arrived."""
        chosen = composite_of(composite, self.preprocessing)
        found = self.probe.gradients(x, target, rules=chosen)
        total = found.relevance.sum(axis=tuple(range(1, x.ndim)), dtype=np.float64)
        rounding = 1e-4 * np.abs(found.relevance).sum(axis=tuple(range(1, x.ndim)))
        if chosen.conserves and _is_lost(total - found.scores, found.scores, rounding):
            self._refuse(self.ledger(x, target, chosen))
        diagnostics = {"score": found.scores, "relevance_arrived": total}
        values = found.relevance.sum(axis=1, keepdims=True) if x.ndim == 4 else found.relevance
        return Attribution(values, diagnostics, outputs=found.outputs)

    def ledger(self, x: Array, target: TargetLike, composite: Composite) -> Audit:
        """A run that keeps account of every seam."""
        ledger = Ledger()
        found = self.probe.gradients(x, target, rules=composite.observed(ledger))
        total = found.relevance.sum(axis=tuple(range(1, x.ndim)), dtype=np.float64)
        return Audit(composite.name, found.scores.astype(np.float64), tuple(ledger.seams()), total)

    def _refuse(self, audit: Audit) -> None:
        """Say which image lost how much of its score, and where."""
        lost = np.abs(audit.absorbed) / np.maximum(np.abs(audit.start), np.finfo(np.float32).tiny)
        worst = int(np.argmax(lost))
        score = audit.start[worst]
        leaks = sorted(audit.seams, key=lambda s: -float(np.abs(s.stabilizer[worst])))[:3]
        where = ", ".join(f"{s.name} ({s.stabilizer[worst]:.3g})" for s in leaks)
        raise UnsupportedModelError(
            f"composite {audit.composite!r} promises that all relevance arrives, but on this model "
            f"{lost[worst]:.0%} of image {worst}'s score {score:.3g} does "
            f"not: it meets outputs to which no input contributed, only a bias, most at {where}. "
            "Take a composite in which biases keep their share: 'epsilon_gamma_box', 'epsilon_plus'"
        )


def _is_lost(missing: Array, scores: Array, rounding: Array | float = 0) -> bool:
    return bool(np.any(np.abs(missing) > _TOLERANCE * np.abs(scores) + rounding))


@register(
    "lrp",
    layout="n1hw",
    one_pass=True,
    inputs=("pictures", "arrays"),
    signed=True,
    paper="Bach et al.: On Pixel-Wise Explanations … by Layer-Wise Relevance Propagation, 2015",
    url="https://doi.org/10.1371/journal.pone.0130140",
    aliases=("LRPCVInterpreter",),
)
class LRPInterpreter(_Propagation):
    """Layer-wise relevance propagation: the score is handed back, layer by layer, to the pixels.

        R_j = Σ_k  z_jk / Σ_j z_jk  R_k        (z_jk = x_j w_jk; variants: see the composites)

    Works on any model whose operations the composite's rules reach, and says so where they do not.
    Positive relevance speaks for the class, negative against it.
    """

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        composite: str | Composite = "z_plus_box",
    ) -> Attribution:
        """Relevance of the pixels, channels summed.

        Returns:
            float [N, 1, H, W]; diagnostics "score" and "relevance_arrived", each [N].

        Raises:
            InputError: no composite of that name.
            UnsupportedModelError: an operation of the model that no rule reaches, or relevance
                that is lost although the composite promises that it arrives.
        """
        return self.propagate(x, target, composite)

    def relevance(
        self,
        inputs: Any,
        label: Any = None,
        *,
        layer: str | Sequence[str],
        composite: str | Composite = "z_plus_box",
        gradient_of: ScoreKind | None = None,
    ) -> Array | dict[str, Array]:
        """Relevance at the output of a layer, [N, ...] of its shape; of several, {name: …}.

        Args:
            inputs, label: as in `explain`.
            layer: a layer's name, or several.
            composite, gradient_of: as in `explain`.

        Raises:
            LayerNotFoundError, and what `explain` raises.
        """
        images, target = self._prepare(inputs, label, gradient_of)
        found = self.probe.gradients(
            images.inputs,
            target,
            at=layer,
            rules=composite_of(composite, self.preprocessing),
        )
        relevance = {n: a * found.gradients[n] for n, a in found.activations.items()}
        return relevance[layer] if isinstance(layer, str) else relevance

    def audit(
        self,
        inputs: Any,
        label: Any = None,
        *,
        composite: str | Composite = "z_plus_box",
        gradient_of: ScoreKind | None = None,
    ) -> Audit:
        """Relevance at every seam, and what biases, stabilizers and the first layer kept.

        Args:
            inputs, label, composite, gradient_of: as in `explain`.

        Returns:
            Audit; `print` it for a table.
        """
        images, target = self._prepare(inputs, label, gradient_of)
        chosen = composite_of(composite, self.preprocessing)
        return self.ledger(images.inputs, target, chosen)


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
    layout="n1hw",
    one_pass=True,
    inputs=("pictures", "arrays"),
    signed=False,
    paper="Montavon et al.: Explaining NonLinear Classification Decisions with Deep Taylor "
    "Decomposition, 2017",
    url="https://arxiv.org/abs/1512.02479",
)
class DeepTaylorInterpreter(_Propagation):
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
        return self.propagate(x, _Positive(target), "deep_taylor")


@register(
    "excitation_bp",
    layout="n1hw",
    one_pass=True,
    inputs=("pictures", "arrays"),
    signed=False,
    paper="Zhang et al.: Top-down Neural Attention by Excitation Backprop, 2016",
    url="https://arxiv.org/abs/1608.00507",
)
class ExcitationBPInterpreter(_Propagation):
    """Excitation backpropagation: the probability that a walk from the class ends at a pixel.

        P_j = Σ_k  x_j w⁺_jk / Σ_j x_j w⁺_jk  P_k,      P_output = 1 for the class

    The map of an image sums to 1.
    """

    def attribute(self, x: Array, target: TargetLike, *, layer: str | None = None) -> Attribution:
        """Probabilities of the pixels, or of the positions of a layer; channels summed.

        Args:
            layer: a layer with output [N, C, h, w], as the paper shows them; None: the input. On
                a side path of the network a layer has its part of the probability only.

        Returns:
            float [N, 1, H, W], or [N, 1, h, w].

        Raises:
            LayerNotFoundError: no layer of that name.
            UnsupportedModelError: an operation of the model that no rule reaches, or relevance
                that has nowhere to go.
        """
        if layer is None:
            found = self.propagate(x, target, "excitation_backprop")
            score = found.diagnostics["score"].reshape(-1, *[1] * (x.ndim - 1))
            return Attribution(found.values / score, outputs=found.outputs)
        rules, ledger = composite_of("excitation_backprop"), Ledger()
        at = self.probe.gradients(x, target, at=layer, rules=rules.observed(ledger))
        relevance = at.activations[layer] * at.gradients[layer]
        # What is lost behind the layer; a layer on a side path has its part of the whole only.
        total = relevance.sum(axis=tuple(range(1, relevance.ndim)), dtype=np.float64)
        audit = Audit(rules.name, at.scores.astype(np.float64), tuple(ledger.seams()), total)
        if _is_lost(audit.absorbed, at.scores):
            self._refuse(audit)
        values = relevance.sum(axis=1, keepdims=True)
        values = values / at.scores.reshape(-1, *[1] * (values.ndim - 1))
        return Attribution(values, outputs=at.outputs)
