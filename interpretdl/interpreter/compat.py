"""What InterpretDL's interpreters have besides `interpret`: attributes, and ways to derive some."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

from ..errors import InterpretError
from ..explanation import Explanation
from ..probe import Probe
from ..probe.inputs import Inputs, listed
from ..probe.state import place_of
from ..targets import ClassScore, ScoreKind, TargetLike, TopClass, settled
from .calls import Explains, Interprets

__all__ = [
    "Compatible",
    "class_score",
    "device_of",
    "input_gradients",
    "labels_of",
    "save_bare",
    "softmax",
    "unregistered",
    "writes",
]

Array = NDArray[Any]


class Compatible:
    """The attributes that InterpretDL's users read after `interpret`; no run here depends on them.

    Attributes:
        device: where the model's parameters are, "cpu" or "gpu:0" …
        labels: int64 [N], the classes that `interpret` explained last; -1 for a target that is no
            class. None before.
        predicted_label: int64 [N], the likeliest classes; None for a model without classes.
        predicted_proba: float32 [N, K], their probabilities, likewise.
        predict_fn: `predict_fn(inputs, labels=None)`, see `input_gradients`; what
            `_build_predict_fn` or a subclass has put here stays. None before.
    """

    model: Any
    probe: Probe
    gradient_of: ScoreKind
    device: str = "cpu"
    labels: NDArray[np.int64] | None = None
    predicted_label: NDArray[np.int64] | None = None
    predicted_proba: NDArray[np.float32] | None = None
    predict_fn: Any = None
    _made: Any = None

    def _env_setup(self) -> None:
        """Paddle's device becomes the model's, and the model is put into eval mode.

        For a `predict_fn` of a subclass that calls `self.model`. Nothing else here changes them.
        """
        paddle.set_device(self.device)
        self.model.eval()

    def _build_predict_fn(self, *args: Any, **options: Any) -> None:
        """Fill in `predict_fn`. A subclass writes it, or has it from `abc_interpreter`."""
        raise InterpretError(
            f"{type(self).__name__} does not say what its predict_fn is: write _build_predict_fn, "
            "or derive the class from InputGradientInterpreter or another of "
            "interpretdl.interpreter.abc_interpreter"
        )

    def _make(self, predict_fn: Callable[..., Any], rebuild: bool = False) -> None:
        """Take a `predict_fn`, unless a subclass has put one of its own there."""
        if rebuild or self.predict_fn is None or self.predict_fn is self._made:
            self.predict_fn = self._made = predict_fn

    def _remember(self, explanation: Explanation) -> None:
        self.labels, self.predicted_proba = explanation.labels, explanation.probabilities
        self.predicted_label = None
        if explanation.probabilities is not None:
            self.predicted_label = explanation.probabilities.argmax(axis=1)
        target = explanation.target
        of = target.of if isinstance(target, ClassScore) else self.gradient_of
        self._make(input_gradients(self.probe, of))


def input_gradients(probe: Probe, of: ScoreKind) -> Callable[..., tuple[Array, Array, Array]]:
    """InterpretDL's `predict_fn` of methods that look at the gradient of the input.

    Args:
        probe: runs the model, and leaves it as it was.
        of: which score of the class, see `ClassScore`.

    Returns:
        `predict_fn(inputs, labels=None)`. `inputs`: float [N, …] as the model takes it, or a tuple
        of its arguments. `labels`: a class, or one for each item; None is the likeliest. It gives
        the score's gradient, of the shape of the input (of the first that is floats), the labels
        int64 [N], and the probabilities float32 [N, K].
    """

    def predict_fn(inputs: Inputs, labels: Any = None) -> tuple[Array, Array, Array]:
        run = probe.gradients(inputs, class_score(labels, of))
        gradient = next(part for part in listed(run.input) if part is not None)
        return gradient, labels_of(labels, run.outputs), softmax(run.outputs)

    return predict_fn


def class_score(labels: Any, of: ScoreKind) -> TargetLike:
    """The score of the labels, [N], [N, 1] or one; of the likeliest class for None."""
    if labels is None:
        return TopClass(of)
    labels = np.asarray(labels)
    return ClassScore(labels if labels.ndim == 0 else labels.reshape(-1), of)


def labels_of(labels: Any, outputs: Array) -> NDArray[np.int64]:
    """The labels as int64 [N]; for None the likeliest classes of the outputs [N, K]."""
    target: Any = settled(class_score(labels, "logit"), outputs)
    return np.array(np.broadcast_to(target.labels, len(outputs)))


def softmax(logits: Array) -> NDArray[np.float32]:
    """Probabilities [N, K]."""
    z = logits - logits.max(axis=1, keepdims=True)
    e = np.exp(z, dtype=np.float64)
    return np.asarray(e / e.sum(axis=1, keepdims=True), np.float32)


def device_of(model: Any) -> str:
    """Where the model's parameters are: "cpu" or "gpu:0" …"""
    place = place_of(model)
    return f"gpu:{place.gpu_device_id()}" if place.is_gpu_place() else "cpu"


def writes(cls: Any, name: str, common: Callable[..., Any]) -> bool:
    """Whether a class, or one that it is derived from, has written that method itself."""
    found = inspect.getattr_static(cls, name)
    generated = getattr(found, "__wrapped__", None) is common
    return not (generated or isinstance(found, Explains | Interprets))


def unregistered(self: Any, *_: Any, **__: Any) -> Any:
    """In the place of `attribute` in a class that writes `interpret` alone, as InterpretDL's do."""
    raise InterpretError(
        f"{type(self).__name__} is no registered method, so explain() has nothing to call: write "
        "attribute(self, x, target), and put interpretdl.registry.register above the class"
    )


def save_bare(explanation: Explanation, path: str | os.PathLike[str], style: str) -> None:
    """Save the picture of one image alone, see `bare_picture`.

    Raises:
        ResourceError: it cannot be written. InputError: an unknown style, or there is no picture.
    """
    from ..data_processor.bare import bare_picture
    from ..data_processor.visualizer import save_image

    signed = explanation.signed or style == "signed"
    heat = explanation.heatmap(signed)  # says so where there is no picture
    save_image(path, bare_picture(np.asarray(explanation.images)[0], heat[0], style, signed))
