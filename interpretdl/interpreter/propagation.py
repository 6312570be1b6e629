"""What the methods that propagate relevance share, and the account of where relevance went."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError, UnsupportedModelError, warn
from ..explanation import Explanation
from ..rules import Composite, ZBox, composite_of
from ..rules.audit import Ledger, Seam, Tally
from ..rules.through import Channels, channels_of
from ..targets import ScoreKind, TargetLike, take
from .base import Array, Attribution, Interpreter

__all__ = ["Audit", "Propagation", "channels_summed", "is_lost", "joined", "warn_of_biases"]

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
        start: the relevance that set out: the scores, or what of them flows through the channels
            that were chosen.
        seams: relevance at every layer and operation with a rule, from the output to the input;
            with chosen channels, from these on.
        input: what arrived at the input.
        through: the layers with chosen channels.
    """

    composite: str
    start: Array
    seams: tuple[Seam, ...]
    input: Array
    through: tuple[str, ...] = ()

    @staticmethod
    def joined(parts: Sequence[Audit]) -> Audit:
        """The accounts of consecutive items as one."""
        seams = [
            Seam(
                each[0].name,
                np.concatenate([seam.arrived for seam in each]),
                np.concatenate([seam.passed for seam in each]),
                np.concatenate([seam.bias for seam in each]),
            )
            for each in zip(*(part.seams for part in parts), strict=True)
        ]
        return replace(
            parts[0],
            start=np.concatenate([part.start for part in parts]),
            seams=tuple(seams),
            input=np.concatenate([part.input for part in parts]),
        )

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
        rows += [f"{'through' if self.through else 'score':32} {self.start[0]:10.4f}"]
        rows += [
            f"{s.name[:32]:32} {s.arrived[0]:10.4f} {s.passed[0]:10.4f} {s.bias[0]:10.4f} "
            f"{s.stabilizer[0]:10.4f}"
            for s in self.seams
        ]
        return "\n".join([*rows, f"{'input':32} {self.input[0]:10.4f}"])


class Propagation(Interpreter):
    """What the methods that propagate relevance share."""

    scores = ("logit", "contrast")

    def propagate(
        self,
        x: Array,
        target: TargetLike,
        composite: str | Composite,
        strict: bool = False,
        through: Channels | None = None,
    ) -> Attribution:
        """Relevance of the input, of its shape, and which share of the score arrived."""
        rules, tally = self.rules_of(composite, x, through), Tally()
        found = self.probe.gradients(x, target, rules=rules.observed(tally))
        axes = tuple(range(1, x.ndim))
        total = found.relevance.sum(axis=axes, dtype=np.float64)
        if not np.isfinite(total).all():
            self._refuse_infinite(self.ledger(x, target, rules))
        rounding = 1e-4 * np.abs(found.relevance).sum(axis=axes)
        kept = np.zeros(len(x)) + tally.kept()
        if not rules.conserves:
            _warn_of_stabilizers(kept, found.scores)
        elif is_lost(found.start - total, found.scores, rounding):
            if strict:
                self.refuse(self.ledger(x, target, rules))
            warn_of_biases(found.start - total, found.scores)
        diagnostics = {
            "score": found.scores,
            "relevance_arrived": total,
            "stabilizers_kept": kept,
        }
        if rules.through:
            diagnostics["relevance_through"] = found.start
        return Attribution(found.relevance, diagnostics, outputs=found.outputs)

    def ledger(self, x: Array, target: TargetLike, rules: Composite) -> Audit:
        """A run that keeps account of every seam."""
        ledger = Ledger()
        found = self.probe.gradients(x, target, rules=rules.observed(ledger))
        total = found.relevance.sum(axis=tuple(range(1, x.ndim)), dtype=np.float64)
        start, seams = found.start.astype(np.float64), tuple(ledger.seams())
        return Audit(rules.name, start, seams, total, tuple(rules.through))

    def runs(
        self, inputs: Any, label: Any, gradient_of: ScoreKind | None
    ) -> Iterator[tuple[Propagation, Array, TargetLike]]:
        """What is to be run: the method, its inputs and the target; of texts one by one."""
        batch, target = self._prepare(inputs, label, gradient_of)
        if not batch.texts:
            yield self, batch.inputs, target
        for i, text in enumerate(batch.texts):
            one = copy.copy(self)
            one._hold(self.subject.within_text(text, self.subject.embedding(batch.texts[0])))
            part: Any = one.subject.part
            yield one, part.x, take(target, np.array([i]))

    def remarks(self, explanation: Explanation) -> list[str]:
        """Which share of the score arrived, and what was kept on the way."""
        facts = explanation.diagnostics
        if not {"score", "relevance_arrived"} <= set(facts) or not facts["score"][0]:
            return []
        share = float(facts["relevance_arrived"][0] / facts["score"][0])
        place = "the input" if explanation.images is None else "the pixels"
        if "relevance_through" in facts:
            passed = float(facts["relevance_through"][0] / facts["score"][0])
            arrived = f"{share:.1%} arrived at {place}"
            return [f"{passed:.1%} of the score flows through these channels; {arrived}."]
        if abs(1 - share) < 0.005:
            return [f"All of the score arrived at {place}."]
        did = "kept" if share < 1 else "added"
        composite = explanation.parameters.get("composite")
        keepers = _KEEPERS.get(str(composite), "biases and stabilizers")
        return [
            f"{share:.0%} of the score arrived at {place}; {keepers} {did} {abs(1 - share):.0%}."
        ]

    def rules_of(
        self, composite: str | Composite, x: Array, through: Channels | None = None
    ) -> Composite:
        """The composite; a named one without z-box where the range of the input is not known."""
        rules = composite_of(composite, self.preprocessing)
        if through is not None:
            rules = replace(rules, through=channels_of(through))
        unknown = self.preprocessing is None or np.ndim(x) != 4
        if isinstance(composite, str) and isinstance(rules.first, ZBox) and unknown:
            return replace(rules, first=None)
        return rules

    def refuse(self, audit: Audit) -> None:
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


def is_lost(missing: Array, scores: Array, rounding: Array | float = 0) -> bool:
    return bool(np.any(np.abs(missing) > _TOLERANCE * np.abs(scores) + rounding))


def warn_of_biases(missing: Array, scores: Array) -> None:
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


def channels_summed(result: Attribution) -> Attribution:
    """[N, 1, H, W] of pictures and layers; other arrays as they are."""
    if result.values.ndim == 4:
        result.values = result.values.sum(axis=1, keepdims=True)
    return result


def joined(parts: Sequence[Array]) -> Array:
    """The arrays of all items as one.

    Raises:
        InputError: those of texts of different lengths.
    """
    shapes = sorted({part.shape[1:] for part in parts})
    if len(shapes) > 1:
        raise InputError(
            f"relevance at a layer has the shapes {' and '.join(map(str, shapes))} for these "
            "texts, which cannot be one array; give them one at a time"
        )
    return np.concatenate(parts)
