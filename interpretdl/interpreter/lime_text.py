"""LIME of texts as InterpretDL has it: several classes from the same samples, weights by token."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.arrays import Batch
from ..errors import InputError
from ..explanation import Explanation
from ..subject import Subject
from ..targets import ClassScore
from ..texts import Text
from .base import Array, prediction_lines
from .compat import softmax
from .lime import least_squares
from .lime_compat import ClassesLIME, Results
from .sampling import counts, generator
from .text_compat import TextFunction, TextInterpreter
from .text_parts import texts_of

__all__ = ["LIMENLPInterpreter"]


class LIMENLPInterpreter(TextInterpreter, ClassesLIME):
    """LIME of a text's probabilities, for one class or several, with InterpretDL's arguments.

    `interpret` takes out single tokens, fits all classes to the same samples, and gives weights by
    position. Special tokens stay, and have the weight 0. `explain` is `LIMEInterpreter`'s, which
    takes out words.

    Args:
        model, device: see `Interpreter`.
        random_seed: of the samples of `interpret`; None is 0. The same call gives the same weights.
        options: by name, `Interpreter`'s other arguments.

    Attributes:
        lime_results: of the last `interpret`, {"probability": {class: p}, "r2_scores": {class: r²},
            "lime_weights": {class: [(position, weight)]}, "tokens": T texts, "ids": int64 [T],
            "blank": int64 [T], the ids with all words taken out}; a list of these where several
            texts were given.
    """

    def interpret(  # type: ignore[override]  # InterpretDL's arguments
        self,
        raw_text: Any,
        tokenizer: Any = None,
        text_to_input_fn: TextFunction | None = None,
        preprocess_fn: TextFunction | None = None,
        unk_id: int = 0,
        pad_id: int | None = 0,
        classes_to_interpret: Any = None,
        num_samples: int = 1000,
        batch_size: int = 50,
        max_seq_len: int | None = None,
        visual: bool = False,
    ) -> Any:
        """Weights of a text's tokens; prints the likeliest classes.

        Args:
            raw_text, tokenizer, text_to_input_fn, max_seq_len: see `explain`.
            preprocess_fn: the former name of text_to_input_fn; deprecated.
            unk_id: the token that stands where one is taken out, unless a tokenizer, or
                `preprocessing=`, knows it.
            pad_id: the token that is padding, likewise; None: there is none.
            classes_to_interpret: a class's index or name, or a list of them; None: the likeliest.
            num_samples: samples, the text itself included.
            batch_size: at most so many texts in one run of the model.
            visual: show the words in colour, for the first class, where there is a notebook or a
                display.

        Returns:
            {class: [(position, weight)]}, of all tokens but padding in their order, for the
            likeliest class first or in the order given. For several texts a list of these.

        Raises:
            InputError, TargetError, UnsupportedModelError.
        """
        counts(num_samples=num_samples, batch_size=batch_size)
        text_to_input_fn = renamed(text_to_input_fn, preprocess_fn)
        subject = self._subject(tokenizer, text_to_input_fn, max_seq_len, unk_id, pad_id)
        batch = subject.read(raw_text)
        found, outputs = self._results(
            subject, batch.texts, classes_to_interpret, num_samples, batch_size
        )
        several = isinstance(raw_text, list) or len(found) > 1
        self.lime_results = found if several else found[0]
        explanation = _first_class(found, outputs, batch, self)
        self._remember(explanation)
        self._build_predict_fn(output="probability")
        for one, results in zip(explanation, found, strict=True):
            for line in prediction_lines(one.top(10)[0]):
                print(line)
            for label in results["lime_weights"]:
                print(f"Use label: {label}, {one._name(label)}")
        if visual:
            explanation.show()
        weights = [results["lime_weights"] for results in found]
        return weights if several else weights[0]

    def _subject(
        self,
        tokenizer: Any,
        text_to_input_fn: TextFunction | None,
        max_seq_len: int | None,
        unk_id: int,
        pad_id: int | None,
    ) -> Subject:
        """The subject that reads texts like this, and knows what stands for a missing token."""
        part = self._reading(tokenizer, text_to_input_fn, max_seq_len)
        if part.subject.text is not None:
            for name, token in (("unk", unk_id), ("pad", pad_id)):
                if part.subject.text.id_of(name) is None:
                    part = part._with_text(**{f"{name}_id": token})
        return part.subject

    def _results(
        self, subject: Subject, texts: Sequence[Text], given: Any, samples: int, most: int
    ) -> tuple[list[Results], Array]:
        """`lime_results` of each text, and the model's outputs for them."""
        found: list[Results] = []
        outputs: list[Array] = []
        chosen: list[int] | None = None
        for i, text in enumerate(texts):
            inside = subject.within_text(text)
            part: Any = inside.part
            outputs.append(inside.probe.logits(part.x))
            if chosen is None:
                chosen = self._chosen(given, outputs[0])
            likely = softmax(outputs[i])[0].astype(np.float64)
            labels = chosen or [int(likely.argmax())]

            def make(z: NDArray[np.bool_], part: Any = part) -> Array:
                return np.asarray(np.where(z, part.x, part.blank))

            with inside.probe.many(samples):
                results, weights = self._fitted(
                    inside.probe, make, part.x.shape[1], generator(self.random_seed, i), likely,
                    dict.fromkeys(labels, least_squares), samples, most,
                )  # fmt: skip
            results["lime_weights"] = {}
            for label, each in weights.items():
                values = np.zeros(len(text.tokens))
                values[part.positions] = each
                shown = np.flatnonzero(~text.padding).tolist()
                results["lime_weights"][label] = [(j, float(values[j])) for j in shown]
            blank = text.ids.copy()
            blank[part.positions] = part.blank[0]
            results |= {"tokens": text.tokens, "ids": text.ids, "blank": blank}
            found.append(results)
        return found, np.concatenate(outputs)


def renamed(
    text_to_input_fn: TextFunction | None, preprocess_fn: TextFunction | None
) -> TextFunction | None:
    """text_to_input_fn, by this name or the former one."""
    if preprocess_fn is None:
        return text_to_input_fn
    if text_to_input_fn is not None:
        raise InputError("preprocess_fn is the former name of text_to_input_fn; give one of them")
    warnings.warn(
        "preprocess_fn= is deprecated; give text_to_input_fn=", DeprecationWarning, stacklevel=3
    )
    return preprocess_fn


def _first_class(
    found: Sequence[Results], outputs: Array, batch: Batch, method: LIMENLPInterpreter
) -> Explanation:
    """The results for each text's first class as an Explanation."""
    texts = texts_of(batch.texts)
    labels = [next(iter(results["lime_weights"])) for results in found]
    values = np.zeros((len(found), max(len(text.tokens) for text in batch.texts)))
    for row, results, label in zip(values, found, labels, strict=True):
        positions, weights = zip(*results["lime_weights"][label], strict=True)
        row[list(positions)] = weights
    return Explanation(
        values=values,
        labels=np.array(labels),
        scores=np.array(
            [results["probability"][k] for results, k in zip(found, labels, strict=True)]
        ),
        images=None,
        method=method.info.name,
        target=ClassScore(labels, "probability"),
        probabilities=softmax(outputs),
        signed=True,
        class_names=method.subject.names(outputs.shape[1]),
        sources=batch.sources,
        texts=texts,
    )
