"""Layer-wise relevance propagation and its relatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import UnsupportedModelError, warn
from ..explanation import Explanation
from ..registry import register
from ..rules import Composite, ZBox, composite_of
from ..rules.audit import Ledger, Seam, Tally
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
# What stabilizers may keep of the score without a word.
_STABILIZERS = 0.01
_TINY = np.finfo(np.float32).tiny
_KEEPERS = {
    "attn_lrp": "the softmax, positions, biases and stabilizers",
    **dict.fromkeys(("cp_lrp", "attn_lrp_gamma"), "positions, biases and stabilizers"),
}


@dataclass(frozen=True, repr=False)
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
        """What biases, stabilizers, … kept in all, float64 [N]; start - absorbed is input."""
        return np.asarray(np.sum([s.bias + s.stabilizer for s in self.seams], axis=0))

    def __repr__(self) -> str:
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = ", ".join(f"{share:.1%}" for share in (self.input / self.start)[:4])
        more = ", …" if len(self.start) > 4 else ""
        return (
            f"<Audit of {self.composite!r}: {shares}{more} of the score arrived at the input, "
            f"{len(self.seams)} seams; print() shows them>"
        )

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

    def propagate(
        self, x: Array, target: TargetLike, composite: str | Composite, strict: bool = False
    ) -> Attribution:
        """Relevance of the input, of its shape, and which share of the score arrived."""
        rules, tally = self._rules(composite, x), Tally()
        found = self.probe.gradients(x, target, rules=rules.observed(tally))
        axes = tuple(range(1, x.ndim))
        total = found.relevance.sum(axis=axes, dtype=np.float64)
        if not np.isfinite(total).all():
            self._refuse_infinite(self.ledger(x, target, rules))
        rounding = 1e-4 * np.abs(found.relevance).sum(axis=axes)
        kept = np.zeros(len(x)) + tally.kept()
        if not rules.conserves:
            _warn_of_stabilizers(kept, found.scores)
        elif _is_lost(found.scores - total, found.scores, rounding):
            if strict:
                self._refuse(self.ledger(x, target, rules))
            _warn_of_biases(found.scores - total, found.scores)
        diagnostics = {
            "score": found.scores,
            "relevance_arrived": total,
            "stabilizers_kept": kept,
        }
        return Attribution(found.relevance, diagnostics, outputs=found.outputs)

    def ledger(self, x: Array, target: TargetLike, rules: Composite) -> Audit:
        """A run that keeps account of every seam."""
        ledger = Ledger()
        found = self.probe.gradients(x, target, rules=rules.observed(ledger))
        total = found.relevance.sum(axis=tuple(range(1, x.ndim)), dtype=np.float64)
        return Audit(rules.name, found.scores.astype(np.float64), tuple(ledger.seams()), total)

    def remarks(self, explanation: Explanation) -> list[str]:
        """Which share of the score arrived, and what was kept on the way."""
        facts = explanation.diagnostics
        if not {"score", "relevance_arrived"} <= set(facts) or not facts["score"][0]:
            return []
        share = float(facts["relevance_arrived"][0] / facts["score"][0])
        place = "the input" if explanation.images is None else "the pixels"
        if abs(1 - share) < 0.005:
            return [f"All of the score arrived at {place}."]
        did = "kept" if share < 1 else "added"
        composite = explanation.parameters.get("composite")
        keepers = _KEEPERS.get(str(composite), "biases and stabilizers")
        return [
            f"{share:.0%} of the score arrived at {place}; {keepers} {did} {abs(1 - share):.0%}."
        ]

    def _rules(self, composite: str | Composite, x: Array) -> Composite:
        """The composite; a named one without z-box where the range of the input is not known."""
        rules = composite_of(composite, self.preprocessing)
        unknown = self.preprocessing is None or np.ndim(x) != 4
        if isinstance(composite, str) and isinstance(rules.first, ZBox) and unknown:
            return replace(rules, first=None)
        return rules

    def _refuse(self, audit: Audit) -> None:
        """Say which image lost how much of its score, and where."""
        lost = np.abs(audit.absorbed) / np.maximum(np.abs(audit.start), _TINY)
        worst = int(np.argmax(lost))
        kept = [(s.name, float((s.bias + s.stabilizer)[worst])) for s in audit.seams]
        most = sorted(kept, key=lambda each: -abs(each[1]))[:3]
        where = ", ".join(f"{name} ({amount:.3g})" for name, amount in most)
        raise UnsupportedModelError(
            f"composite {audit.composite!r} promises that all relevance arrives, but on this model "
            f"{lost[worst]:.0%} of image {worst}'s score {audit.start[worst]:.3g} does "
            f"not: there are outputs to which no input contributed, only a bias, most at {where}. "
            "Take strict=False, or a composite in which biases keep their share: "
            "'epsilon_gamma_box', 'epsilon_plus'"
        )

    def _refuse_infinite(self, audit: Audit) -> None:
        """Say where the relevance stopped being finite."""
        for seam in audit.seams:
            if not np.isfinite(seam.arrived + seam.passed).all():
                raise UnsupportedModelError(
                    f"under composite {audit.composite!r} the relevance becomes NaN or infinite "
                    f"at {seam.name}: it grows from layer to layer, as it does where positive and "
                    "negative shares nearly cancel. Take 'epsilon_plus' or 'epsilon_gamma_box'"
                )


def _is_lost(missing: Array, scores: Array, rounding: Array | float = 0) -> bool:
    return bool(np.any(np.abs(missing) > _TOLERANCE * np.abs(scores) + rounding))


def _warn_of_biases(missing: Array, scores: Array) -> None:
    shares = missing / np.where(scores == 0, _TINY, scores)
    worst = int(np.argmax(np.abs(shares)))
    warn(
        f"biases keep {shares[worst]:.0%} of image {worst}'s score {scores[worst]:.3g}: there are "
        "outputs to which no input contributed, only a bias. LRPInterpreter.audit names the "
        "layers; strict=True refuses such a model"
    )


def _warn_of_stabilizers(kept: Array, scores: Array) -> None:
    shares = np.abs(kept) / np.maximum(np.abs(scores), _TINY)
    worst = int(np.argmax(shares))
    if shares[worst] > _STABILIZERS:
        warn(
            f"stabilizers keep {shares[worst]:.0%} of image {worst}'s score {scores[worst]:.3g}: "
            "they are not small beside the outputs that they divide. The score is small beside "
            "other classes' (take another class, or gradient_of='contrast'), relevance of both "
            "signs is far larger than the score (take 'epsilon_gamma_box' or 'epsilon_plus'), or "
            "the rule's epsilon is large"
        )


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
        strict: bool = False,
    ) -> Attribution:
        """Relevance of the pixels, channels summed; of other inputs, in their shape.

        Args:
            strict: refuse the model where relevance is lost although the composite promises that
                it arrives ("z_plus_box", "excitation_backprop"). Without, biases keep what no
                input contributed to, with a warning.

        Returns:
            float [N, 1, H, W]; diagnostics "score", "relevance_arrived" and "stabilizers_kept",
            each [N]; the rest of the score is the biases'.

        Raises:
            InputError: no composite of that name.
            UnsupportedModelError: an operation of the model that no rule reaches, relevance that
                is not finite, or with strict that is lost.
        """
        return _channels_summed(self.propagate(x, target, composite, strict))

    def relevance(
        self,
        inputs: Any,
        label: Any = None,
        *,
        layer: str | Sequence[str],
        composite: str | Composite = "epsilon_gamma_box",
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
        batch, target = self._prepare(inputs, label, gradient_of)
        rules = self._rules(composite, batch.inputs)
        found = self.probe.gradients(batch.inputs, target, at=layer, rules=rules)
        relevance = {n: a * found.gradients[n] for n, a in found.activations.items()}
        return relevance[layer] if isinstance(layer, str) else relevance

    def audit(
        self,
        inputs: Any,
        label: Any = None,
        *,
        composite: str | Composite = "epsilon_gamma_box",
        gradient_of: ScoreKind | None = None,
    ) -> Audit:
        """Relevance at every seam, and what biases, stabilizers and the first layer kept.

        Args:
            inputs, label, composite, gradient_of: as in `explain`.

        Returns:
            Audit; `print` it for a table.
        """
        batch, target = self._prepare(inputs, label, gradient_of)
        return self.ledger(batch.inputs, target, self._rules(composite, batch.inputs))


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
        return _channels_summed(self.propagate(x, _Positive(target), "deep_taylor"))


@register(
    "excitation_bp",
    class_blind=True,
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
            if _is_lost(audit.absorbed, at.scores):
                if strict:
                    self._refuse(audit)
                _warn_of_biases(audit.absorbed, at.scores)
            result = Attribution(relevance, outputs=at.outputs)
            whole = audit.start - audit.absorbed
        whole = np.where(whole == 0, 1, whole).reshape(-1, *[1] * (result.values.ndim - 1))
        result.values = (result.values / whole).astype(result.values.dtype)
        return _channels_summed(result)


def _channels_summed(result: Attribution) -> Attribution:
    """[N, 1, H, W] of pictures and layers; other arrays as they are."""
    if result.values.ndim == 4:
        result.values = result.values.sum(axis=1, keepdims=True)
    return result
