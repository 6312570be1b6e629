"""InterpretDL's interpreters of texts: its arguments and results on the methods that are there."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from ..errors import InputError
from ..explanation import Explanation
from ..targets import ClassScore, ScoreKind
from ..texts import TextPreprocessing
from .abc_interpreter import IntermediateGradientInterpreter, TransformerInterpreter, named_layers
from .attention import GACVInterpreter
from .attention_path import APMode, BTCVInterpreter
from .base import Array, Interpreter
from .grad_shap import GradShapCVInterpreter
from .integrated_gradients import IntegratedGradientsInterpreter
from .smooth_grad import SmoothGradInterpreter

__all__ = [
    "BTNLPInterpreter",
    "GANLPInterpreter",
    "GradShapNLPInterpreter",
    "IntGradNLPInterpreter",
    "SmoothGradNLPInterpreter",
    "TextInterpreter",
]

TextFunction = Callable[[str], Any]
_USUAL = "word_embeddings"
"""InterpretDL's name of the embedding, which is looked for where no layer has it."""


class TextInterpreter(Interpreter):
    """Base of classes that take a text, and what turns it into token ids, in one call.

    A class of this kind is derived from a method, and is no method of its own.
    """

    def explain(  # type: ignore[override]  # a text and its options
        self,
        raw_text: Any,
        label: Any = None,
        *,
        tokenizer: Any = None,
        text_to_input_fn: TextFunction | None = None,
        max_seq_len: int | None = None,
        embedding_name: str | None = None,
        **options: Any,
    ) -> Explanation:
        """Explain texts; prints, draws and saves nothing.

        Args:
            raw_text: a text, or a list of texts; or token ids int [N, T], or a tuple or dict of the
                model's arguments of which they are the first.
            label: see `Interpreter.explain`.
            tokenizer, text_to_input_fn: one of the two, for texts; see `TextPreprocessing`. What is
                not said here is as `preprocessing=` says, where that was a TextPreprocessing.
            max_seq_len: most tokens; None: 128, or as `preprocessing=` says.
            embedding_name: the layer that gives the tokens' vectors, or the end of its name. None,
                and "word_embeddings" where no layer's name ends so: it is found.
            options: `gradient_of`, and those of the method.

        Returns:
            Explanation of the N texts, with values [N, T], or [N, T, E] of the vectors' numbers.

        Raises:
            InputError: both or neither of tokenizer and text_to_input_fn, or an option that does
                not fit. TargetError, LayerNotFoundError, UnsupportedModelError: as
                `Interpreter.explain`. TypeError: an option that the method does not have.
        """
        part = self._reading(tokenizer, text_to_input_fn, max_seq_len, embedding_name)
        explanation: Explanation = super(TextInterpreter, part).explain(
            raw_text, label=label, **options
        )
        return explanation

    def _reading(
        self,
        tokenizer: Any,
        text_to_input_fn: TextFunction | None,
        max_seq_len: int | None = None,
        embedding_name: str | None = None,
    ) -> TextInterpreter:
        """The same for texts that are read like this."""
        if tokenizer is not None and text_to_input_fn is not None:
            raise InputError("give tokenizer or text_to_input_fn, not both")
        options: dict[str, Any] = {}
        if tokenizer is not None or text_to_input_fn is not None:
            options = {"tokenizer": tokenizer, "text_to_input_fn": text_to_input_fn}
        if max_seq_len is not None:
            options["max_seq_len"] = max_seq_len
        if embedding_name is not None and (embedding_name != _USUAL or self._has_the_usual_one()):
            options["embedding"] = embedding_name
        return self._with_text(**options)

    def _with_text(self, **options: Any) -> TextInterpreter:
        """The same with other options of its TextPreprocessing."""
        text = (self.subject.text or TextPreprocessing()).with_options(**options)
        part = copy.copy(self)
        part._hold(replace(self.subject, text=text, preprocessing=None))
        return part

    def _has_the_usual_one(self) -> bool:
        return any(f".{name}".endswith(f".{_USUAL}") for name in self.probe.layer_names())

    def _told(self, explanation: Explanation, visual: bool) -> Array:
        """Values; keeps, prints and shows what `interpret` does."""
        self._remember(explanation)
        for one in explanation:
            for line in self.report(one):
                print(line)
        if visual:
            explanation.show()
        values: Array = explanation.values
        return values


class _OfVectors(TextInterpreter):
    """Base of those that look at the gradient at the tokens' vectors.

    `predict_fn` is `IntermediateGradientInterpreter`'s.
    """

    def _remember(self, explanation: Explanation) -> None:
        super()._remember(explanation)
        target = explanation.target
        of = target.of if isinstance(target, ClassScore) else self.gradient_of
        self._build_predict_fn(layer_name=explanation.diagnostics["embedding"], gradient_of=of)


class IntGradNLPInterpreter(
    _OfVectors, IntegratedGradientsInterpreter, IntermediateGradientInterpreter
):
    """Integrated gradients of a text, with InterpretDL's arguments.

    The path goes from the text with [PAD] in the place of its words to the text, in the words'
    vectors; special tokens, positions and types stay. InterpretDL's begins at zeros:
    `preprocessing=it.TextPreprocessing(baseline="zero")`.
    """

    gradient_of: ScoreKind = "logit"

    def interpret(  # type: ignore[override]  # InterpretDL's arguments
        self,
        raw_text: Any,
        tokenizer: Any = None,
        text_to_input_fn: TextFunction | None = None,
        label: Any = None,
        steps: int = 50,
        gradient_of: ScoreKind | None = None,
        embedding_name: str = _USUAL,
        max_seq_len: int | None = None,
        visual: bool = False,
        *,
        labels: Any = None,
    ) -> Array:
        """Explain texts, and print the likeliest classes of each.

        Args:
            raw_text, tokenizer, text_to_input_fn, embedding_name, max_seq_len: see `explain`.
            label: None (the likeliest class of each text), an index, a name, or one for each text;
                `labels=` is the same.
            steps: gradients on the path, midpoints of equal parts.
            gradient_of: which score of the class; None is the "logit".
            visual: show the words in colour, where there is a notebook or a display.

        Returns:
            float32 [N, T, E], of all tokens; 0 at special tokens and padding.

        Raises:
            as `explain`.
        """
        found = self.explain(
            raw_text, label, tokenizer=tokenizer, text_to_input_fn=text_to_input_fn,
            max_seq_len=max_seq_len, embedding_name=embedding_name, labels=labels,
            gradient_of=gradient_of, steps=steps,
        )  # fmt: skip
        return self._told(found, visual)


class SmoothGradNLPInterpreter(_OfVectors, SmoothGradInterpreter, IntermediateGradientInterpreter):
    """SmoothGrad of a text, with InterpretDL's arguments.

    The noise is added to the tokens' vectors. Its size is a part of their range in this text, as
    for pictures; InterpretDL's is a part of their mean, which is about 0.
    """

    def interpret(  # type: ignore[override]  # InterpretDL's arguments
        self,
        raw_text: Any,
        tokenizer: Any = None,
        text_to_input_fn: TextFunction | None = None,
        label: Any = None,
        noise_amount: float = 0.1,
        n_samples: int = 50,
        gradient_of: ScoreKind | None = None,
        embedding_name: str = _USUAL,
        max_seq_len: int | None = None,
        visual: bool = False,
        *,
        labels: Any = None,
    ) -> Array:
        """Explain texts, and print the likeliest classes of each.

        Args:
            raw_text, tokenizer, text_to_input_fn, embedding_name, max_seq_len: see `explain`.
            label, visual: see `IntGradNLPInterpreter.interpret`; `labels=` is `label=`.
            noise_amount: standard deviation of the noise, as a part of the vectors' range.
            n_samples: noisy copies of each text.
            gradient_of: which score of the class; None is the "probability".

        Returns:
            float32 [N, T, E], of all tokens; 0 at padding.

        Raises:
            as `explain`.
        """
        found = self.explain(
            raw_text, label, tokenizer=tokenizer, text_to_input_fn=text_to_input_fn,
            max_seq_len=max_seq_len, embedding_name=embedding_name, labels=labels,
            gradient_of=gradient_of, noise_amount=noise_amount, n_samples=n_samples,
        )  # fmt: skip
        return self._told(found, visual)


class GradShapNLPInterpreter(_OfVectors, GradShapCVInterpreter, IntermediateGradientInterpreter):
    """GradShap of texts, with InterpretDL's arguments.

    Baseline and noise are those of `IntGradNLPInterpreter` and `SmoothGradNLPInterpreter`.
    """

    def interpret(  # type: ignore[override]  # InterpretDL's arguments
        self,
        data: Any,
        labels: Any = None,
        n_samples: int = 5,
        noise_amount: float = 0.1,
        embedding_name: str = _USUAL,
        return_pred: bool = True,
        *,
        label: Any = None,
        tokenizer: Any = None,
        text_to_input_fn: TextFunction | None = None,
        gradient_of: ScoreKind | None = None,
        max_seq_len: int | None = None,
        visual: bool = False,
    ) -> Any:
        """Explain texts, and print the likeliest classes of each.

        Args:
            data: token ids int [N, T], or a tuple or dict of the model's arguments. Which token is
                padding is known from a tokenizer or `preprocessing=it.TextPreprocessing(pad_id=…)`.
                Texts, with a tokenizer or text_to_input_fn.
            labels, visual: see `IntGradNLPInterpreter.interpret`; `label=` is `labels=`.
            n_samples: places on the way to noisy copies of each text.
            noise_amount: standard deviation of the noise, as a part of the vectors' range.
            embedding_name, tokenizer, text_to_input_fn, max_seq_len: see `explain`.
            return_pred: whether labels and probabilities are given, too.
            gradient_of: which score of the class; None is the "probability".

        Returns:
            (labels int64 [N], probabilities float32 [N, K], values float32 [N, T]), or the values
            alone. They are sums over the vectors' numbers; 0 at padding.

        Raises:
            as `explain`.
        """
        found = self.explain(
            data, label, tokenizer=tokenizer, text_to_input_fn=text_to_input_fn,
            max_seq_len=max_seq_len, embedding_name=embedding_name, labels=labels,
            gradient_of=gradient_of, n_samples=n_samples, noise_amount=noise_amount,
        )  # fmt: skip
        values = self._told(found, visual).sum(axis=2)
        return (found.labels, found.probabilities, values) if return_pred else values


class GANLPInterpreter(TextInterpreter, GACVInterpreter, TransformerInterpreter):
    """Generic attention of a text, with InterpretDL's arguments.

    Heads are averaged after the product of attention and gradient is cut at zero, as in the paper.
    """

    gradient_of: ScoreKind = "logit"
    left_out: ClassVar[int] = 1

    def interpret(  # type: ignore[override]  # InterpretDL's arguments
        self,
        raw_text: Any,
        tokenizer: Any = None,
        text_to_input_fn: TextFunction | None = None,
        label: Any = None,
        start_layer: int | None = None,
        attn_map_name: str | None = None,
        gradient_of: ScoreKind | None = None,
        max_seq_len: int | None = None,
        visual: bool = False,
        *,
        labels: Any = None,
    ) -> Array:
        """Explain texts, and print the likeliest classes of each.

        Args:
            raw_text, tokenizer, text_to_input_fn, max_seq_len: see `explain`.
            label, visual: see `IntGradNLPInterpreter.interpret`; `labels=` is `label=`.
            start_layer: the first layer of attention that counts, from 0. None: the last, 11 of 12.
            attn_map_name: a regular expression of the names of layers whose outputs are the
                attention. None: attention is met at the softmax.
            gradient_of: which score of the class; None is the "logit".

        Returns:
            float32 [N, T], of all tokens; not negative; 0 at padding.

        Raises:
            as `explain`.
        """
        found = self.explain(
            raw_text, label, tokenizer=tokenizer, text_to_input_fn=text_to_input_fn,
            max_seq_len=max_seq_len, labels=labels, gradient_of=gradient_of,
            start_layer=start_layer, attn_map_name=attn_map_name,
        )  # fmt: skip
        return self._told(found, visual)


class BTNLPInterpreter(TextInterpreter, BTCVInterpreter, TransformerInterpreter):
    """Bidirectional transformer interpretation of a text, with InterpretDL's arguments.

    Attributes:
        ap, rf: float32 [N, T] of the last `interpret`, the two factors of the values: attentional
            perception and reasoning feedback. None before.
    """

    gradient_of: ScoreKind = "logit"
    left_out: ClassVar[int] = 1
    ap: Array | None = None
    rf: Array | None = None

    def interpret(  # type: ignore[override]  # InterpretDL's arguments
        self,
        raw_text: Any,
        tokenizer: Any = None,
        text_to_input_fn: TextFunction | None = None,
        label: Any = None,
        ap_mode: APMode = "head",
        start_layer: int | None = None,
        steps: int = 20,
        embedding_name: str | None = None,
        input_name: str = ".*self_attn.v_proj$",
        attn_map_name: str | None = None,
        attn_v_name: str = ".*self_attn.v_proj$",
        attn_proj_name: str = ".*self_attn.out_proj$",
        gradient_of: ScoreKind | None = None,
        max_seq_len: int | None = None,
        visual: bool = False,
        *,
        labels: Any = None,
    ) -> Array:
        """Explain texts, and print the likeliest classes of each.

        Args:
            raw_text, tokenizer, text_to_input_fn, max_seq_len: see `explain`.
            label, visual: see `IntGradNLPInterpreter.interpret`; `labels=` is `label=`.
            ap_mode: "head" or "token", see `BTCVInterpreter`.
            start_layer: the first layer of attention that counts, from 0. None: the last, 11 of 12.
            steps: points on the path, midpoints of equal parts.
            embedding_name: a regular expression of the name of the layer whose output is scaled on
                the path. None: the embedding of the words, which is found.
            input_name: for "token", a regular expression of the names of layers whose inputs are z.
                InterpretDL's are `norm1`, whose input in BERT and ERNIE has attention in it.
            attn_map_name: of layers whose outputs are the attention. None: attention is met at the
                softmax.
            attn_v_name, attn_proj_name: for "token", of layers that give the values, and of those
                behind attention.
            gradient_of: which score of the class; None is the "logit".

        Returns:
            float32 [N, T], of all tokens; not negative; 0 at padding.

        Raises:
            as `explain`.
        """
        if embedding_name is not None:
            names = named_layers(self, embedding_name)
            if len(names) != 1:
                raise InputError(
                    f"embedding_name={embedding_name!r} must begin one layer's name; it begins "
                    f"those of {', '.join(names[:8])}"
                )
            embedding_name = names[0]
        found = self.explain(
            raw_text, label, tokenizer=tokenizer, text_to_input_fn=text_to_input_fn,
            max_seq_len=max_seq_len, embedding_name=embedding_name, labels=labels,
            gradient_of=gradient_of, ap_mode=ap_mode, start_layer=start_layer, steps=steps,
            input_name=input_name, attn_map_name=attn_map_name, attn_v_name=attn_v_name,
            attn_proj_name=attn_proj_name,
        )  # fmt: skip
        self.ap, self.rf = found.diagnostics["perception"], found.diagnostics["feedback"]
        return self._told(found, visual)
