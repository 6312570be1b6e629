"""InterpretDL's evaluators of texts: one text and the values of its tokens a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..explanation import Explanation
from ..perturbation import Imputer
from ..probe import Probe
from ..subject import TextPart
from ..targets import ClassScore
from ..texts import Text, TextPreprocessing
from .base import Evaluator
from .deletion import Perturbation
from .fidelity import Infidelity, mean_square, runs_of, without
from .removal import Removal

__all__ = ["InfidelityNLP", "PerturbationNLP"]

Array = NDArray[Any]
_DRAWS = 40


@dataclass(frozen=True)
class _TextAndValues:
    """One text whose tokens are taken out one by one, and their values.

    Attributes:
        values: float64 [1, W], of the tokens that are not special.
        target: the probability of the text's top class.
    """

    text: Text
    part: TextPart
    values: NDArray[np.float64]
    probe: Probe
    target: ClassScore

    @property
    def imputer(self) -> Imputer:
        return Imputer(self.part.x, self.part.blank, None)


def _read(
    evaluator: Evaluator,
    raw_text: str,
    explanation: Any,
    tokenizer: Callable[..., Any],
    max_seq_len: int,
    batch_size: int | None = None,
) -> _TextAndValues:
    """Read one text, and put values to its tokens.

    Raises:
        InputError: no model, no text, or values that are not of its tokens.
    """
    if evaluator.subject is None:
        raise InputError(f"{type(evaluator).__name__} needs a model: give it to the constructor")
    own = evaluator.subject.text or TextPreprocessing()
    reading = own.with_options(
        tokenizer=tokenizer, text_to_input_fn=None, max_seq_len=max_seq_len, groups="tokens",
        fill="pad",
    )  # fmt: skip
    subject = replace(evaluator.subject, preprocessing=None, text=reading)
    if not isinstance(raw_text, str):
        raise InputError(f"evaluate() takes one text; got {type(raw_text).__name__}")
    (text,) = subject.read(raw_text).texts
    inside = subject.with_batch_size(batch_size).within_text(text)
    part = inside.part
    if part is None:
        raise InputError("this subject explains no texts; give it a TextPreprocessing")
    values = explanation.values if isinstance(explanation, Explanation) else explanation
    values = np.asarray(values, np.float64)
    if values.ndim > 1 and len(values) == 1:
        values = values[0]
    if values.ndim not in (1, 2) or len(values) != len(text.tokens):
        raise InputError(
            f"the text has {len(text.tokens)} tokens, so the explanation must be "
            f"[{len(text.tokens)}] or [1, {len(text.tokens)}]; got {list(values.shape)}"
        )
    values = values.reshape(len(values), -1).sum(axis=1)[part.positions]
    label = int(inside.probe.logits(part.x)[0].argmax())
    return _TextAndValues(text, part, values[None], inside.probe, ClassScore(label, "probability"))


class PerturbationNLP(Perturbation):
    """InterpretDL's perturbation of texts: tokens taken out, most and least relevant first.

    `measure` is `Perturbation`'s, which takes words out and many texts at once.
    """

    def evaluate(  # type: ignore[override]  # InterpretDL's differ in the same way
        self,
        raw_text: str,
        explanation: Any,
        tokenizer: Callable[..., Any],
        compute_MoRF: bool = True,
        compute_LeRF: bool = True,
        batch_size: int | None = None,
        max_seq_len: int = 128,
        percentile: bool = False,
    ) -> dict[str, Any]:
        """InterpretDL's call. Tokens taken out become [PAD]; special tokens stay.

        Args:
            raw_text: a text.
            explanation: values [T], [1, T] or [1, T, E] of its tokens, special ones included.
            tokenizer: see TextPreprocessing; its [PAD] must be known.
            compute_MoRF, compute_LeRF: which of the two.
            batch_size: most texts in one run.
            max_seq_len: most tokens that are read.
            percentile: take tokens out in 100 steps by percentiles of their values, and not one by
                one.

        Returns:
            "MoRF_score" (the mean of), "MoRF_probas" float64 [points] and "MoRF_samples", a tuple
            of token ids int64 [points, T]; the same for "LeRF". The first is the whole text.

        Raises:
            InputError: neither is to be computed, or something does not fit.
        """
        if not (compute_MoRF or compute_LeRF):
            raise InputError("compute_MoRF or compute_LeRF must be true")
        given = _read(self, raw_text, explanation, tokenizer, max_seq_len, batch_size)
        count = given.values.shape[1]
        taken = np.arange(count + 1)
        if percentile:
            taken = np.concatenate([[0], 1 + np.arange(1, 101) * (count - 1) // 100])
        removal = Removal(given.imputer, given.values, given.part.units, taken, self.seed)
        results: dict[str, Any] = {}
        for name, wanted in (("MoRF", compute_MoRF), ("LeRF", compute_LeRF)):
            if wanted:
                probas = removal.curves(given.probe, given.target, **self.ways[name])[0]
                ids = np.repeat(given.text.ids[None], len(taken), axis=0)
                ids[:, given.part.positions] = removal.images(
                    np.arange(len(taken)), **self.ways[name]
                )
                results[f"{name}_score"] = float(probas.mean())
                results[f"{name}_probas"] = probas
                results[f"{name}_samples"] = (ids,)
        return results


class InfidelityNLP(Infidelity):
    """InterpretDL's infidelity of texts: runs of one to five tokens are taken out.

    `measure` is `Infidelity`'s, which takes words out and many texts at once.
    """

    def evaluate(  # type: ignore[override]  # InterpretDL's differ in the same way
        self,
        raw_text: str,
        explanation: Any,
        tokenizer: Callable[..., Any],
        max_seq_len: int = 128,
        is_random_samples: bool = False,
        recompute: bool = False,
    ) -> float:
        """InterpretDL's call: probability, values scaled by the factor that fits best.

        Args:
            raw_text, explanation, tokenizer, max_seq_len: see PerturbationNLP.evaluate.
            is_random_samples: take out 1, 2, 3, 4 and 5 % of the tokens, at least one, 40 random
                sets of each (option seed); for long texts.
            recompute: accepted; nothing is kept between calls, so it changes nothing.

        Returns:
            the infidelity.

        Raises:
            InputError: something does not fit.
        """
        given = _read(self, raw_text, explanation, tokenizer, max_seq_len)
        count = given.values.shape[1]
        out = runs_of(count)
        if is_random_samples:
            rng = np.random.default_rng(self.seed)
            sizes = np.repeat([max(1, count * share // 100) for share in range(1, 6)], _DRAWS)
            out = rng.random((len(sizes), count)).argsort(axis=1) < sizes[:, None]
        whole = given.probe.scores(given.part.x, given.target)
        told, scores = without(
            given.probe, given.imputer, given.target, given.values[0], given.part.units, out
        )
        return mean_square(told, whole - scores, normalize=True)
