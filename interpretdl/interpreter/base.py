"""Interpreter: the base that joins reading, running, explaining and drawing."""

from __future__ import annotations

import copy
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from ..data_processor.readers import Batch
from ..errors import InputError, ResourceError, UnsupportedModelError, warn
from ..explanation import Explanation
from ..probe import EngineKind, OutputKind
from ..record import plain
from ..registry import MethodInfo
from ..subject import PreprocessingChoice, Subject
from ..targets import ClassScore, ScoreKind, TargetLike, TopClass, scores_of, settled
from ..targets.channel import ActivationScore, ChannelScore
from ..version import __version__
from .attribution import Attribution
from .calls import Explains, Interprets
from .compat import Compatible, device_of, save_bare, softmax, unregistered, writes
from .options import method_like
from .scrutiny import scrutinize
from .several_inputs import of_inputs, shape_of
from .text_parts import of_texts, texts_of

__all__ = ["Attribution", "Interpreter", "prediction_lines"]

Array = NDArray[Any]


class Interpreter(Compatible, ABC):
    """Base of all methods. A method writes `attribute` and registers itself.

    Args:
        model: paddle.nn.Layer in any mode; it is left as it was. Or a Subject.
        device: None (where the model is), "cpu", "gpu:0" …; see Probe.
        use_cuda: InterpretDL's old name for device; deprecated.
        output: which part of the model's output is explained, see Probe.
        output_kind: "logits", "probabilities" or None (noticed), see Probe.
        batch_size: most images in one run of the model; None plans it from free memory.
        preprocessing: how pictures become inputs; "model" takes `model.preprocessing`, or
            ImageNet's. None: the inputs are arrays as they are, of any rank. A TextPreprocessing:
            they are texts.
        class_names: a name for each class; None takes `model.class_names`, or ImageNet's for a
            model with 1000 classes.
        engine: what runs passes without gradient: "dygraph", "onednn", "onednn-bf16", or None, the
            faster of the first two; see Probe.

    Raises:
        InputError: an argument that does not fit.
    """

    info: ClassVar[MethodInfo]
    positional: ClassVar[tuple[str, ...]] = ("label",)
    """Arguments that may be given by position after `inputs`, in InterpretDL's order."""
    gradient_of: ScoreKind = "logit"
    """Which score of a class is explained when nothing else is said."""
    scores: ClassVar[tuple[ScoreKind, ...]] = get_args(ScoreKind)
    """Which scores the method can explain."""
    reads_ids: ClassVar[bool] = False
    """Whether of a text it is given the words' ids, which it replaces, or the tokens' vectors."""

    def __init__(
        self,
        model: Any,
        device: str | None = None,
        use_cuda: bool | None = None,
        *,
        output: int | str | Callable[[Any], Any] | None = None,
        output_kind: OutputKind | None = None,
        batch_size: int | None = None,
        preprocessing: PreprocessingChoice = "model",
        class_names: Sequence[str] | None = None,
        engine: EngineKind | None = None,
    ) -> None:
        if use_cuda is not None:
            warnings.warn(
                "use_cuda= is deprecated; give device='gpu' or device='cpu'",
                DeprecationWarning,
                stacklevel=2,
            )
            device = device or ("gpu" if use_cuda else "cpu")
        self._hold(
            Subject.of(
                model, device, output=output, output_kind=output_kind, batch_size=batch_size,
                preprocessing=preprocessing, class_names=class_names, engine=engine,
            )
        )  # fmt: skip

    def _hold(self, subject: Subject) -> None:
        self.subject, self.probe, self.model = subject, subject.probe, subject.probe.model
        self.device = device_of(self.model)
        self.preprocessing, self.class_names = subject.preprocessing, subject.class_names

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give `explain` and `interpret` the method's own signature, for help and completion."""
        super().__init_subclass__(**kwargs)
        abstract = getattr(cls.attribute, "__isabstractmethod__", False)
        if abstract and writes(cls, "interpret", Interpreter._interpret):
            cls.attribute = unregistered  # type: ignore[method-assign]  # as InterpretDL's users do
        for name in ("explain", "interpret"):
            common = getattr(Interpreter, f"_{name}")
            if not writes(cls, name, common):
                setattr(cls, name, method_like(cls, name, common))

    @property
    def _blank(self) -> Array | None:
        """The input in which there is nothing, [1, ...], where the subject knows one."""
        return None if self.subject.part is None else self.subject.part.blank

    @abstractmethod
    def attribute(self, x: Array, target: TargetLike) -> Array | Attribution:
        """Values of a batch. A method adds its options as keyword-only arguments.

        Args:
            x: float [N, C, H, W], as the model takes it; of another rank for methods registered
                with inputs=("arrays", …).
            target: the score that is explained, `target(output) -> Tensor [n]`; for the rows of x
                in another order or number, `take(target, rows)`.

        Returns:
            float [N, …] in the registered layout, or an Attribution.
        """

    def remarks(self, explanation: Explanation) -> list[str]:
        """What there is to say of one image's map, lines for `report`."""
        return []

    def report(self, explanation: Explanation, top: int = 10) -> list[str]:
        """What `interpret` prints of one image: its likely classes, the label used, remarks."""
        lines: list[str] = []
        if explanation.probabilities is not None:
            lines += prediction_lines(explanation.top(top)[0])
        if explanation.labels[0] >= 0:
            lines.append(f"Use label: {explanation.labels[0]}, {explanation.label_names[0]}")
        return lines + self.remarks(explanation)

    explain = Explains()
    interpret = Interprets()

    def _explain(
        self,
        inputs: Any,
        label: Any = None,
        resize_to: int | None = None,
        crop_to: int | None = None,
        *,
        gradient_of: ScoreKind | None = None,
        frame: int | None = None,
        **options: Any,
    ) -> Explanation:
        """Explain pictures or texts; prints, draws and saves nothing.

        Args:
            inputs: a path, bytes, file object or PIL image (resized and cropped as the model wants
                it), an integer array [H, W, C] or [N, H, W, C] (pictures that keep their size), a
                list of these, or a float array [N, C, H, W] (used as it is). With
                preprocessing=None an array of any rank. With a TextPreprocessing a text, a list
                of texts, or token ids [N, T], alone or as the first of a tuple or dict of arrays.
            label: None (the top class of each image), an index, a class name, a list or array of
                these with one per image, or a target. `labels=` is the same.
            resize_to: pixels of the short edge, in place of the model's own preprocessing. Arrays
                are never resized nor cropped.
            crop_to: side of the centre crop, likewise.
            gradient_of: which score of the class: its "logit", "probability", "loss" (the cross
                entropy) or "contrast" (its logit less the mean of the others').
            frame: which frame of an animation; None takes the first and warns.

        Returns:
            Explanation of the N images that could be read.

        Raises:
            ImageReadError, InputError, TargetError, LayerNotFoundError, UnsupportedModelError,
            ResourceError; TypeError for an option that the method does not have.
        """
        reading = {"resize_to": resize_to, "crop_to": crop_to, "frame": frame}
        batch = self.subject.read(inputs, **reading)
        return self._explained(batch, label, gradient_of, reading, options)

    def _explained(
        self,
        batch: Batch,
        label: Any,
        gradient_of: ScoreKind | None,
        reading: dict[str, Any],
        options: dict[str, Any],
    ) -> Explanation:
        self._check_kind(batch)
        target = self._target(label, batch, gradient_of)
        if isinstance(target, ChannelScore):
            target.check(len(batch))
            part = self.at_layer(target.layer)
            explained = part._explained(batch, target.of_layer, None, reading, options)
            return replace(explained, target=target)
        if batch.texts:
            result = of_texts(self, batch.texts, target, options)
        elif isinstance(batch.inputs, tuple | dict):
            result = of_inputs(self, batch.inputs, target, options)
        else:
            result = self._attributed(batch.inputs, target, options)
        outputs: Any = result.outputs
        if len(outputs) != len(batch):
            raise UnsupportedModelError(
                f"the model gives {len(outputs)} rows for {len(batch)} items; pick an output with "
                "a row for each with output="
            )
        target = settled(target, outputs)
        of = getattr(target, "of", None)
        classes = outputs.ndim == 2 and not isinstance(target, ActivationScore)
        explanation = Explanation(
            values=np.asarray(result.values, np.float32),
            labels=_labels_of(target, len(batch)),
            scores=scores_of(target, outputs),
            images=batch.images,
            method=self.info.name,
            target=target,
            probabilities=softmax(outputs) if classes else None,
            parameters=self._parameters(batch, label, {**reading, "gradient_of": of, **options}),
            diagnostics=result.diagnostics,
            signed=self.info.signed if result.signed is None else result.signed,
            class_names=self.subject.names(outputs.shape[1]) if classes else self.class_names,
            sources=batch.sources,
            failures={index: str(error) for index, error in batch.failures.items()},
            texts=texts_of(batch.texts),
        )
        if self.probe.ran_by:
            explanation.diagnostics["engine"] = self.probe.ran_by
        scrutinize(explanation, self.info)
        return explanation

    def _attributed(self, x: Array, target: TargetLike, options: dict[str, Any]) -> Attribution:
        """What `attribute` gives, with the model's outputs."""
        outputs = None
        if not self.info.one_pass and isinstance(target, TopClass):
            outputs = self.probe.logits(x)
            target = settled(target, outputs)
        result = self.attribute(x, target, **options)
        if not isinstance(result, Attribution):
            result = Attribution(result)
        if outputs is not None:
            result.outputs = outputs
        elif result.outputs is None:
            result.outputs = self.probe.logits(x)
        return result

    def at_layer(self, name: str) -> Interpreter:
        """The same method for the part of the model that ends with that layer.

        Raises:
            LayerNotFoundError: no such layer.
        """
        part = copy.copy(self)
        part._hold(self.subject.at_layer(name))
        return part

    def _target(self, label: Any, batch: Batch, gradient_of: ScoreKind | None) -> TargetLike:
        if gradient_of is not None and gradient_of not in self.scores:
            raise InputError(
                f"{self.info.name} explains gradient_of={' or '.join(map(repr, self.scores))}; "
                f"got {gradient_of!r}"
            )
        return self.subject.target(label, batch, gradient_of, self.gradient_of)

    def _check_kind(self, batch: Batch) -> None:
        if not hasattr(self, "info"):
            unregistered(self)
        if batch.texts:
            if "text" not in self.info.inputs:
                raise InputError(f"{self.info.name} does not explain texts")
        elif batch.images is None and "arrays" not in self.info.inputs:
            shape = shape_of(self.subject, batch.inputs)
            if len(shape) != 4:
                raise InputError(
                    f"{self.info.name} explains pictures [N, C, H, W]; got {list(shape)}"
                )

    def _prepare(
        self, inputs: Any, label: Any = None, gradient_of: ScoreKind | None = None
    ) -> tuple[Batch, TargetLike]:
        """Pictures read, and the target that a label means."""
        batch = self.subject.read(inputs)
        return batch, self._target(label, batch, gradient_of)

    def _interpret(
        self,
        inputs: Any,
        label: Any = None,
        resize_to: int | None = None,
        crop_to: int | None = None,
        visual: bool = True,
        save_path: Any = None,
        *,
        gradient_of: ScoreKind | None = None,
        frame: int | None = None,
        style: str = "overlay",
        bare: bool = False,
        **options: Any,
    ) -> Array:
        """Explain pictures or texts, print the ten most likely classes of each, draw and save.

        Args:
            visual: show the picture, where there is a notebook or a display.
            save_path: a path for each image (.png, .jpg, .pdf, .svg, or .npz for the values).
            style: how to draw, see `Explanation.plot`.
            bare: save the picture alone, pixel by pixel and as large as the input, without title,
                colour bar and margin; not to .pdf or .svg.

        Returns:
            Values float32: [N, C, H, W], [N, 1, H, W] or [N, h, w], as the method gives them.

        Raises:
            ResourceError: a place to save is missing or read-only (before the work); and what
                `explain` raises.
        """
        paths = _save_paths(save_path, bare)
        reading = {"resize_to": resize_to, "crop_to": crop_to, "frame": frame}
        batch = self.subject.read(inputs, **reading)
        if paths and len(paths) != batch.given:
            raise InputError(
                f"save_path must give one path per image; got {len(paths)} for {batch.given}"
            )
        explanation = self._explained(batch, label, gradient_of, reading, options)
        self._remember(explanation)
        for one in explanation:
            for line in self.report(one):
                print(line)
        for one, i in zip(explanation, batch.indices, strict=True):
            if paths and paths[i] is not None:
                _save(one, paths[i], style, bare)
        if visual and (explanation.images is not None or explanation.texts is not None):
            from ..data_processor.showing import show

            show(explanation.plot(style=style))
        values: Array = explanation.values
        return values

    def _parameters(self, batch: Batch, label: Any, options: dict[str, Any]) -> dict[str, Any]:
        """What is needed to do it again, in values that JSON knows."""
        return {
            "model": type(self.model).__name__,
            "label": plain(label),
            "input_shape": [] if batch.texts else list(shape_of(self.subject, batch.inputs)[1:]),
            "version": __version__,
            **{name: plain(value) for name, value in options.items()},
        }


def prediction_lines(top: Sequence[tuple[int, str, float]]) -> list[str]:
    """Classes (index, name, probability), a line each."""
    return [f"{name[:20]:>20} ({index:3d}): {probability:6.3f}" for index, name, probability in top]


def _labels_of(target: TargetLike, n: int) -> NDArray[np.int64]:
    """The class of each item; -1 where the target is not a class's score."""
    return np.array(np.broadcast_to(target.labels if isinstance(target, ClassScore) else -1, n))


def _save_paths(save_path: Any, bare: bool) -> list[Any]:
    """The paths as a list, each checked to be writable before the work."""
    from ..data_processor.bare import BARE_SUFFIXES
    from ..data_processor.files import SAVE_SUFFIXES, check_writable

    if save_path is None:
        return []
    paths = list(save_path) if isinstance(save_path, list | tuple) else [save_path]
    named = [path for path in paths if path is not None]
    for path in named:
        check_writable(path, (*BARE_SUFFIXES, ".npz") if bare else SAVE_SUFFIXES)
    if len({os.path.abspath(path) for path in named}) < len(named):
        raise InputError("save_path names one file for several images; give one path for each")
    return paths


def _save(explanation: Explanation, path: Any, style: str, bare: bool) -> None:
    """Save; finished work is not lost when the disk fails, only this file is."""
    try:
        if bare and os.path.splitext(path)[1].lower() != ".npz":
            save_bare(explanation, path, style)
        else:
            explanation.save(path, style=style)
    except (ResourceError, OSError) as error:
        warn(f"{path} was not saved: {error}")
