"""Evaluator: the base that checks what is given, flags empty maps, and returns an Evaluation."""

from __future__ import annotations

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, replace
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError
from ..explanation import Explanation
from ..interpreter.base import Interpreter
from ..preprocessing import Preprocessing
from ..probe import EngineKind, OutputKind, Probe
from ..registry import EVALUATORS, EvaluatorInfo
from ..subject import PreprocessingChoice, Subject
from ..targets import ChannelScore, ClassScore, ScoreKind, TargetLike, TopClass, settled
from .case import Case, Explain, checked_boxes, checked_masks, explainer_of
from .evaluation import Array, Evaluation
from .options import Options
from .texts import cases_of, joined, word_relevance

__all__ = ["Evaluator"]


class Evaluator(Options, ABC):
    """Base of all evaluators. One writes `evaluate_case` and registers itself.

    Its options are annotated attributes: `steps: int = 20`. The arguments here are common to all.

    Args:
        model: paddle.nn.Layer, or a Subject; None takes the interpreter's, for those that need a
            model at all.
        device: None (where the model is), "cpu", "gpu:0" …; see Probe.
        use_cuda: InterpretDL's old name for device; deprecated.
        output, output_kind, batch_size, engine: see Probe.
        preprocessing: how pictures become inputs (for fill="black" and `evaluate`); "model" takes
            the model's, or the interpreter's, or ImageNet's.
        paddle_model: InterpretDL's name for model.
        of: the former name of gradient_of; deprecated.

    Raises:
        InputError: an argument that does not fit.
    """

    model: Any = field(default=None, kw_only=False)
    device: str | None = field(default=None, kw_only=False)
    use_cuda: bool | None = None
    output: int | str | Callable[[Any], Any] | None = None
    output_kind: OutputKind | None = None
    batch_size: int | None = None
    preprocessing: PreprocessingChoice = "model"
    engine: EngineKind | None = None
    paddle_model: Any = None
    of: ScoreKind | None = None

    info: ClassVar[EvaluatorInfo]
    name: ClassVar[str]
    higher_is_better: bool = field(init=False)
    """The direction, a fact of the class."""
    ranks: ClassVar[bool] = True
    """Whether only the order of a map's values counts, so that a constant map says nothing."""

    def __post_init__(self) -> None:
        device = self.device
        if self.use_cuda is not None:
            _deprecated("use_cuda= is deprecated; give device='gpu' or device='cpu'")
            device = device or ("gpu" if self.use_cuda else "cpu")
        if self.of is not None:
            if not hasattr(self, "gradient_of"):
                raise TypeError(f"{type(self).__name__} has no option 'of'")
            _deprecated("of= is deprecated; give gradient_of=")
            vars(self)["gradient_of"] = self.of
        model = self.paddle_model if self.model is None else self.model
        self.subject = (
            None
            if model is None
            else Subject.of(
                model, device, output=self.output, output_kind=self.output_kind,
                batch_size=self.batch_size, preprocessing=self.preprocessing, engine=self.engine,
            )
        )  # fmt: skip
        super().__post_init__()

    @property
    def probe(self) -> Probe | None:
        """What runs the evaluator's own model."""
        return None if self.subject is None else self.subject.probe

    @classmethod
    def common_arguments(cls) -> set[str]:
        """Names of the arguments that every evaluator's constructor has."""
        return set(inspect.signature(Evaluator).parameters)

    @abstractmethod
    def evaluate_case(self, case: Case) -> Evaluation:
        """Values of n images whose maps are not empty; see `result`."""

    def settings(self) -> dict[str, Any]:
        """The evaluator's own options and their values."""
        parameters = inspect.signature(type(self)).parameters.values()
        return {
            p.name: getattr(self, p.name)
            for p in parameters
            if p.name not in self.common_arguments() and p.kind is not p.VAR_KEYWORD
        }

    def __repr__(self) -> str:
        own = ", ".join(f"{name}={value!r}" for name, value in self.settings().items())
        return f"{type(self).__name__}({own})"

    def result(self, values: Array, **more: Any) -> Evaluation:
        """An Evaluation by this evaluator."""
        return Evaluation(
            self.info.name, np.asarray(values, np.float64), self.higher_is_better, **more
        )

    def measure(
        self,
        x: Any,
        explanation: Explanation | Array,
        labels: Any = None,
        *,
        interpreter: Interpreter | Explain | None = None,
        options: Mapping[str, Any] | None = None,
        signed: bool | None = None,
        masks: Any = None,
        boxes: Any = None,
    ) -> Evaluation:
        """Evaluate explanations of a batch.

        Args:
            x: float [N, C, H, W], as the model takes it. With a TextPreprocessing a text, a list of
                texts or token ids, as `explain` takes them.
            explanation: of these images; or values [N, C, H, W], [N, 1, h, w] or [N, h, w]. Of
                texts likewise, or values [N, T] or [N, T, E] of their tokens.
            labels: class indexes [N], one for all, or a target; None: what was explained, or for
                bare values the top class of each image.
            interpreter: what made the maps, for evaluators that explain again: an Interpreter, or
                a function (x, target) -> values. Its model is used when the evaluator has none.
            options: the method's options, for explaining again.
            signed: whether negative values speak against the class: then channels are summed, else
                their absolute values. None: as the explanation says, or for an array as the
                interpreter's method is registered, unless options could change that; without
                either False, with a warning where there are negative values.
            masks: [N, H, W], true where the object is, at x's size.
            boxes: for each image x1, y1, x2, y2 in pixels of x (x2 and y2 just outside), or several
                of them.

        Returns:
            Evaluation. An image whose map is empty (zero everywhere, not finite, or constant where
            only the order counts) has the value NaN and is flagged; so has such a text.

        Raises:
            InputError: shapes that do not fit, or something that the evaluator needs is missing.
            TargetError, UnsupportedModelError, ResourceError: from the model's runs.
        """
        method = interpreter if isinstance(interpreter, Interpreter) else None
        subject, options = self._subject(method), options or {}
        if signed is None and not isinstance(explanation, Explanation) and method is not None:
            signed = _registered_sign(method, options)
        if subject is not None and subject.text is not None:
            if masks is not None or boxes is not None:
                raise InputError("masks= and boxes= are for pictures, not for texts")
            cases = self._of_texts(subject, x, explanation, labels, method, options, signed)
            return joined(cases, self._measured)
        if getattr(explanation, "texts", None) is not None:
            raise InputError(
                "the explanation is of texts: give the evaluator the preprocessing= that the "
                "method has, a TextPreprocessing, or measure() interpreter="
            )
        return self._measured(
            self._case(x, explanation, labels, interpreter, options, signed, masks, boxes)
        )

    def _subject(self, method: Interpreter | None) -> Subject | None:
        """Its own, or the method's; one that says nothing of texts reads them as the method."""
        if self.subject is None or method is None:
            return self.subject if method is None else method.subject
        if self.subject.assumed and method.subject.text is not None:
            return replace(self.subject, preprocessing=None, text=method.subject.text)
        return self.subject

    def _of_texts(
        self,
        subject: Subject,
        x: Any,
        explanation: Explanation | Array,
        labels: Any,
        method: Interpreter | None,
        options: Mapping[str, Any],
        signed: bool | None,
    ) -> Iterator[Case]:
        """A case of each text."""
        if "text" not in self.info.inputs:
            able = [name for name, info in EVALUATORS.all().items() if "text" in info.inputs]
            raise InputError(f"{self.info.name} is not for texts; {', '.join(able)} are")
        texts = subject.read(x).texts
        relevance = word_relevance(texts, explanation, signed)
        target = _target(explanation, labels, len(texts), method, options)
        if target is None and "model" in self.info.needs:
            if isinstance(explanation, Explanation):
                raise InputError("the explanation's target is not kept in its file: give labels=")
            target = TopClass(_explained(method, options))
        if isinstance(explanation, Explanation) and signed is None:
            signed = explanation.signed
        return cases_of(subject, texts, relevance, target, signed)

    def _measured(self, case: Case) -> Evaluation:
        flags = self._empty(case)
        keep = np.array([i for i in range(len(case.x)) if i not in flags], np.int64)
        if not len(keep):
            return self.result(np.full(len(case.x), np.nan), flags=flags)
        found = self.evaluate_case(case.take(keep) if flags else case)
        flags |= {int(keep[i]): reason for i, reason in found.flags.items()}

        def spread(rows: Array) -> Array:
            full = np.full((len(case.x), *rows.shape[1:]), np.nan)
            full[keep] = rows
            return full

        return replace(
            found,
            values=spread(found.values),
            parts={name: spread(part) for name, part in found.parts.items()},
            curves={name: spread(curve) for name, curve in found.curves.items()},
            flags=dict(sorted(flags.items())),
            frames=None if found.frames is None else replace(found.frames, rows=keep),
        )

    def _case(
        self,
        x: Array,
        explanation: Explanation | Array,
        labels: Any,
        interpreter: Interpreter | Explain | None,
        options: Mapping[str, Any],
        signed: bool | None,
        masks: Any,
        boxes: Any,
    ) -> Case:
        x = np.asarray(x)
        if x.ndim != 4 or 0 in x.shape or x.dtype.kind != "f":
            raise InputError(f"x must be float [N, C, H, W]; got {x.dtype} {list(x.shape)}")
        values: Any = explanation
        if isinstance(explanation, Explanation):
            values = explanation.values
            signed = explanation.signed if signed is None else signed
        values = np.asarray(values)
        if len(values) != len(x) or values.ndim not in (3, 4) or 0 in values.shape:
            raise InputError(
                f"the values of {len(x)} images must be [N, C, h, w] or [N, h, w]; got "
                f"{list(values.shape)}"
            )
        method = interpreter if isinstance(interpreter, Interpreter) else None
        probe = self.probe or (method.probe if method else None)
        needs = self.info.needs
        for need, there in {
            "model": probe, "interpreter": interpreter, "masks": masks, "boxes": boxes
        }.items():  # fmt: skip
            if need in needs and there is None:
                raise InputError(f"{type(self).__name__} needs {_GIVE[need]}")
        target = _target(explanation, labels, len(x), method, options)
        if target is None and needs & {"model", "interpreter", "classes"} and probe is not None:
            if isinstance(explanation, Explanation):
                raise InputError("the explanation's target is not kept in its file: give labels=")
            target = TopClass(_explained(method, options))
        if isinstance(target, TopClass) and probe is not None:
            target = settled(target, probe.logits(x))
        if isinstance(target, ChannelScore):
            target.check(len(x))
            probe = None if probe is None else probe.at_layer(target.layer)
            if method is not None:
                interpreter = method = method.at_layer(target.layer)
            target = target.of_layer
        if "classes" in needs and not isinstance(target, ClassScore):
            raise InputError(f"{type(self).__name__} needs class indexes as labels, not a target")
        return Case(
            x=x, values=values, rows=np.arange(len(x)), target=target, signed=bool(signed),
            sign_unknown=signed is None,
            preprocessing=self._preprocessing(method), probe=probe, interpreter=method,
            explain_with=(
                explainer_of(interpreter, options)
                if isinstance(interpreter, Interpreter)
                else interpreter
            ),
            options=options, masks=checked_masks(masks, x), boxes=checked_boxes(boxes, len(x)),
        )  # fmt: skip

    def _preprocessing(self, method: Interpreter | None) -> Preprocessing | None:
        """What was given, what a model says of itself, or what the method assumed."""
        if isinstance(self.preprocessing, Preprocessing | None):
            return self.preprocessing
        if self.subject is not None and not self.subject.assumed:
            return self.subject.preprocessing
        return None if method is None else method.preprocessing

    def _empty(self, case: Case) -> dict[int, str]:
        """Which maps say nothing, and why."""
        flags = {}
        for i, heat in enumerate(case.maps):
            values = case.values[i]
            if not np.isfinite(values).all():
                flags[i] = "the map has values that are not finite"
            elif not values.any():
                flags[i] = "the map is empty: zero everywhere"
            # resizing a constant map leaves differences of a few rounding errors
            elif self.ranks and np.ptp(heat) <= 1e-6 * np.abs(heat).max():
                flags[i] = "the map is constant: it orders nothing"
        return flags


_GIVE = {
    "model": "a model: give it to the constructor, or interpreter= to measure()",
    "interpreter": "interpreter=, because it explains again",
    "masks": "masks=, [N, H, W], true where the object is",
    "boxes": "boxes=, x1, y1, x2, y2 for each image",
}


def _registered_sign(method: Interpreter, options: Mapping[str, Any]) -> bool | None:
    """Whether the method's values are signed; None where an option may have made them so."""
    signed = method.info.signed if hasattr(method, "info") else None
    return None if signed is False and options else signed


def _class_indexes(labels: Any, n: int) -> Array:
    array = np.asarray(labels)
    if array.dtype.kind not in "iu" or array.shape not in ((), (n,)):
        raise InputError(f"labels must be a class index, {n} of them, or a target; got {labels!r}")
    return np.array(np.broadcast_to(array, n), np.int64)


def _target(
    explanation: Explanation | Array,
    labels: Any,
    n: int,
    method: Interpreter | None,
    options: Mapping[str, Any],
) -> TargetLike | None:
    """The labels that are given, or what the explanation says was explained."""
    explained: TargetLike | None = None
    if isinstance(explanation, Explanation):
        explained = explanation.target
        if explained is None and explanation.labels.min(initial=0) >= 0:  # of an older file
            explained = ClassScore(explanation.labels, _named(explanation.parameters) or "logit")
    if labels is None:
        return explained
    if callable(labels):
        return labels  # type: ignore[no-any-return]  # a target
    of = getattr(explained, "of", None) or _explained(method, options)
    return ClassScore(_class_indexes(labels, n), of)


def _explained(method: Interpreter | None, options: Mapping[str, Any]) -> ScoreKind:
    """The score of a class that a method explains with these options."""
    return _named(options) or ("logit" if method is None else method.gradient_of)


def _named(options: Mapping[str, Any]) -> ScoreKind | None:
    return options.get("gradient_of") or options.get("relevance_of")


def _deprecated(message: str) -> None:
    warnings.warn(message, DeprecationWarning, stacklevel=4)  # past __post_init__ and __init__
