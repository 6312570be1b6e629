"""Interpreter: the base that joins reading, running, explaining and drawing."""

from __future__ import annotations

import functools
import inspect
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..data_processor.readers import Images, read_images
from ..errors import InputError, InterpretWarning, ResourceError
from ..explanation import Explanation
from ..preprocessing import IMAGENET, Preprocessing
from ..probe import Probe
from ..probe.output import OutputKind
from ..registry import MethodInfo
from ..targets import ClassScore, ScoreKind, TargetLike
from ..targets.labels import Labels, resolve
from .options import bind, signature_of

__all__ = ["Attribution", "Interpreter", "prediction_lines"]

Array = NDArray[Any]


@dataclass
class Attribution:
    """What `attribute` returns when values alone do not say all.

    Attributes:
        values: float [N, C, H, W], [N, 1, H, W] or [N, h, w].
        diagnostics: facts on the run, arrays [N] or single values.
        signed: overrides the registered fact when an option changes it.
    """

    values: Array
    diagnostics: dict[str, Any] = field(default_factory=dict)
    signed: bool | None = None


class Interpreter(ABC):
    """Base of all methods. A method writes `attribute` and registers itself.

    Args:
        model: paddle.nn.Layer in any mode; it is left as it was.
        device: None (where the model is), "cpu", "gpu:0" …; see Probe.
        use_cuda: InterpretDL's old name for device; deprecated.
        output: which part of the model's output is explained, see Probe.
        output_kind: "logits", "probabilities" or None (noticed), see Probe.
        batch_size: most images in one run of the model; None plans it from free memory.
        preprocessing: how pictures become inputs; None takes `model.preprocessing`, or ImageNet's.
        class_names: a name for each class; None takes `model.class_names`, or ImageNet's for a
            model with 1000 classes.

    Raises:
        InputError: an argument that does not fit.
    """

    info: ClassVar[MethodInfo]
    positional: ClassVar[tuple[str, ...]] = ("label",)
    """Arguments that may be given by position after `inputs`, in InterpretDL's order."""

    def __init__(
        self,
        model: Any,
        device: str | None = None,
        use_cuda: bool | None = None,
        *,
        output: int | str | Callable[[Any], Any] | None = None,
        output_kind: OutputKind | None = None,
        batch_size: int | None = None,
        preprocessing: Preprocessing | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        if use_cuda is not None:
            warnings.warn(
                "use_cuda= is deprecated; give device='gpu' or device='cpu'",
                DeprecationWarning,
                stacklevel=2,
            )
            device = device or ("gpu" if use_cuda else "cpu")
        self.probe = Probe(model, device, output, batch_size, output_kind)
        self.model = self.probe.model
        self.preprocessing = preprocessing or getattr(self.model, "preprocessing", None) or IMAGENET
        names = getattr(self.model, "class_names", None) if class_names is None else class_names
        self.class_names = None if names is None else tuple(names)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give `explain` and `interpret` the method's own signature, for help and completion."""
        super().__init_subclass__(**kwargs)
        for name in ("explain", "interpret"):
            common = getattr(Interpreter, f"_{name}")
            setattr(cls, name, _with_signature(cls, name, common))

    @abstractmethod
    def attribute(self, x: Array, labels: Labels) -> Array | Attribution:
        """Values of a batch. A method adds its options as keyword-only arguments.

        Args:
            x: float [N, C, H, W], as the model takes it.
            labels: int64 [N] class indexes, or a target.
        """

    def target(self, labels: Labels, of: ScoreKind = "logit") -> TargetLike:
        """The target to run backward from: `of` the classes in `labels`, or the user's own."""
        return labels if callable(labels) else ClassScore(labels, of)

    def explain(self, *args: Any, **kwargs: Any) -> Explanation:
        """Explain pictures; prints, draws and saves nothing. See the subclass's signature."""
        raise NotImplementedError  # every subclass has its own, from _explain

    def interpret(self, *args: Any, **kwargs: Any) -> Array:
        """Explain, print, draw and save. See the subclass's signature."""
        raise NotImplementedError  # every subclass has its own, from _interpret

    def _explain(
        self,
        inputs: Any,
        label: Any = None,
        resize_to: int | None = None,
        crop_to: int | None = None,
        *,
        frame: int | None = None,
        **options: Any,
    ) -> Explanation:
        """Explain pictures; prints, draws and saves nothing.

        Args:
            inputs: a path, bytes, file object, PIL image or integer array [H, W, C] or
                [N, H, W, C] (a picture, prepared as the model wants it), a list of these, or a
                float array [N, C, H, W] (used as it is).
            label: None (the top class of each image), an index, a class name, a list or array of
                these with one per image, or a target. `labels=` is the same.
            resize_to: pixels of the short edge, in place of the model's own preprocessing.
            crop_to: side of the centre crop, likewise.
            frame: which frame of an animation; None takes the first and warns.

        Returns:
            Explanation of the N images that could be read.

        Raises:
            ImageReadError, InputError, TargetError, LayerNotFoundError, UnsupportedModelError,
            ResourceError; TypeError for an option that the method does not have.
        """
        reading = {"resize_to": resize_to, "crop_to": crop_to, "frame": frame}
        return self._explained(self._read(inputs, **reading), label, reading, options)

    def _read(self, inputs: Any, **reading: Any) -> Images:
        """Pictures as a batch; a warning for each that could not be read."""
        images = read_images(inputs, self.preprocessing, **reading)
        for index, error in images.failures.items():
            warnings.warn(f"input {index} is left out: {error}", InterpretWarning, stacklevel=4)
        return images

    def _explained(
        self, images: Images, label: Any, reading: dict[str, Any], options: dict[str, Any]
    ) -> Explanation:
        logits, labels = self._resolved(images, label)
        result = self.attribute(images.inputs, labels, **options)
        if not isinstance(result, Attribution):
            result = Attribution(result)
        if callable(labels):
            scores = self.probe.scores(images.inputs, labels)
            labels = np.full(len(logits), -1)
        else:
            scores = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
        return Explanation(
            values=np.asarray(result.values, np.float32),
            labels=labels,
            scores=scores,
            images=images.images,
            method=self.info.name,
            probabilities=_softmax(logits) if logits.ndim == 2 else None,
            parameters=self._parameters(images, label, {**reading, **options}),
            diagnostics=result.diagnostics,
            signed=self.info.signed if result.signed is None else result.signed,
            class_names=self._names(logits),
            sources=images.sources,
            failures={index: str(error) for index, error in images.failures.items()},
        )

    def _prepare(
        self,
        inputs: Any,
        label: Any = None,
        resize_to: int | None = None,
        crop_to: int | None = None,
        frame: int | None = None,
    ) -> tuple[Images, Array, Labels]:
        """Pictures read, the model's output for them, and the labels as indexes or a target."""
        images = self._read(inputs, resize_to=resize_to, crop_to=crop_to, frame=frame)
        return (images, *self._resolved(images, label))

    def _resolved(self, images: Images, label: Any) -> tuple[Array, Labels]:
        logits = self.probe.logits(images.inputs)
        given = len(images.inputs) + len(images.failures)
        return logits, resolve(label, logits, self._names(logits), given, images.indices)

    def _interpret(
        self,
        inputs: Any,
        label: Any = None,
        resize_to: int | None = None,
        crop_to: int | None = None,
        visual: bool = True,
        save_path: Any = None,
        *,
        frame: int | None = None,
        style: str = "overlay",
        **options: Any,
    ) -> Array:
        """Explain pictures, print the ten most likely classes of each, draw and save.

        Args:
            inputs: a path, bytes, file object, PIL image or integer array [H, W, C] or
                [N, H, W, C] (a picture, prepared as the model wants it), a list of these, or a
                float array [N, C, H, W] (used as it is).
            label: None (the top class of each image), an index, a class name, a list or array of
                these with one per image, or a target. `labels=` is the same.
            resize_to: pixels of the short edge, in place of the model's own preprocessing.
            crop_to: side of the centre crop, likewise.
            visual: show the picture, where there is a notebook or a display.
            save_path: a path for each image (.png, .jpg, .pdf, .svg, or .npz for the values).
            frame: which frame of an animation; None takes the first and warns.
            style: how to draw, see `Explanation.plot`.

        Returns:
            Values float32: [N, C, H, W], [N, 1, H, W] or [N, h, w], as the method gives them.

        Raises:
            ResourceError: a place to save is missing or read-only (before the work); and what
                `explain` raises.
        """
        paths = _save_paths(save_path)
        reading = {"resize_to": resize_to, "crop_to": crop_to, "frame": frame}
        images = self._read(inputs, **reading)
        given = len(images.inputs) + len(images.failures)
        if paths and len(paths) != given:
            raise InputError(
                f"save_path must give one path per image; got {len(paths)} for {given}"
            )
        explanation = self._explained(images, label, reading, options)
        for one in explanation:
            if one.probabilities is not None:
                print("\n".join(prediction_lines(one.top(10)[0])))
            if one.labels[0] >= 0:
                print(f"Use label: {one.labels[0]}, {one.label_names[0]}")
        read = [i for i in range(given) if i not in explanation.failures]
        for one, i in zip(explanation, read, strict=True):
            if paths and paths[i] is not None:
                _save(one, paths[i], style)
        if visual:
            from ..data_processor.showing import show

            show(explanation.plot(style=style))
        values: Array = explanation.values
        return values

    def _names(self, logits: Array) -> tuple[str, ...] | None:
        if logits.ndim != 2:
            return self.class_names
        classes = logits.shape[1]
        if self.class_names is None and classes == 1000:
            from ..lrp_model import imagenet_class_names

            return imagenet_class_names()
        if self.class_names is not None and len(self.class_names) != classes:
            raise InputError(
                f"{len(self.class_names)} class names were given for a model with {classes} classes"
            )
        return self.class_names

    def _parameters(self, images: Images, label: Any, options: dict[str, Any]) -> dict[str, Any]:
        """What is needed to do it again, in values that JSON knows."""
        from ..version import __version__

        return {
            "model": type(self.model).__name__,
            "label": _plain(label),
            "input_shape": list(images.inputs.shape[1:]),
            "version": __version__,
            **{name: _plain(value) for name, value in options.items()},
        }


def _with_signature(cls: Any, name: str, common: Callable[..., Any]) -> Callable[..., Any]:
    signature = signature_of(cls, common)

    @functools.wraps(common)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return common(**bind(signature, f"{cls.__name__}.{name}", (self, *args), kwargs))

    method.__name__, method.__qualname__ = name, f"{cls.__name__}.{name}"
    method.__signature__ = signature  # type: ignore[attr-defined]  # what inspect and help() read
    own = inspect.getdoc(cls.attribute)
    if own and cls.attribute is not Interpreter.attribute:
        method.__doc__ = f"{inspect.getdoc(common)}\n\nThe method's own options:\n\n{own}"
    return method


def prediction_lines(top: Sequence[tuple[int, str, float]]) -> list[str]:
    """Classes (index, name, probability), a line each, in InterpretDL's format."""
    return [f"{name[:20]:>20} ({index:3d}): {probability:6.3f}" for index, name, probability in top]


def _softmax(logits: Array) -> NDArray[np.float32]:
    z = logits - logits.max(axis=1, keepdims=True)
    e = np.exp(z, dtype=np.float64)
    return np.asarray(e / e.sum(axis=1, keepdims=True), np.float32)


def _save_paths(save_path: Any) -> list[Any]:
    """The paths as a list, each checked to be writable before the work."""
    from ..data_processor.files import check_writable

    if save_path is None:
        return []
    paths = list(save_path) if isinstance(save_path, list | tuple) else [save_path]
    named = [path for path in paths if path is not None]
    for path in named:
        check_writable(path)
    if len({os.path.abspath(path) for path in named}) < len(named):
        raise InputError("save_path names one file for several images; give one path for each")
    return paths


def _save(explanation: Explanation, path: Any, style: str) -> None:
    """Save; finished work is not lost when the disk fails, only this file is."""
    try:
        explanation.save(path, style=style)
    except (ResourceError, OSError) as error:
        warnings.warn(f"{path} was not saved: {error}", InterpretWarning, stacklevel=5)


def _plain(value: Any) -> Any:
    """A value as JSON can hold it; arrays as lists when short, else their shape."""
    if hasattr(value, "numpy"):
        value = value.numpy()
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist() if value.size <= 1000 else f"array {list(value.shape)} {value.dtype}"
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
