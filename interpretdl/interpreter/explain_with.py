"""Several methods on the same pictures or texts in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..drawing import Explanations
from ..errors import InputError, UnsupportedModelError, warn
from ..explanation import Explanation
from ..progress import progress_bar
from ..registry import METHODS
from ..subject import Subject
from ..targets import ClassScore, TopClass, settled
from .base import Interpreter

__all__ = ["FEW", "explain_with"]

FEW = ("grad_cam", "lrp", "integrated_gradients", "smooth_grad", "guided_bp")
"""Methods of different kinds, for a first comparison."""

Method = str | Interpreter


def explain_with(
    methods: str | Sequence[Method] | Mapping[str, Method],
    model: Any,
    inputs: Any,
    label: Any = None,
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    **settings: Any,
) -> Explanations:
    """Explain the same pictures by several methods, to see them side by side.

        it.explain_with(["grad_cam", "lrp"], model, "cat.png", label="tiger cat")

    Args:
        methods: names as `interpretdl methods` lists them, or Interpreters; a mapping gives them
            titles of your own. "all" takes every method that explains such inputs.
        model: paddle.nn.Layer, or a Subject; the same for every method.
        inputs: pictures or texts, as `Interpreter.explain` takes them; read once.
        label: as `Interpreter.explain` takes it; None is the likeliest class of each picture, the
            same for all methods.
        options: for each method by name, its options: {"lrp": {"composite": "epsilon_plus"}}.
        settings: how the model is run and what its inputs are, such as preprocessing, class_names,
            output, batch_size; see `Interpreter`.

    Returns:
        Explanations, {name or title: Explanation}. A method that cannot explain this model is left
        out, with its reason in `failed` and a warning (but for methods of transformers, where "all"
        were asked for).

    Raises:
        InputError: no such method, options for one that was not asked for, or two of one name.
        UnsupportedModelError: none of the methods can explain the model.
        ImageReadError, TargetError, ResourceError; TypeError for an option that a method does not
            have.
    """
    subject = Subject.of(model, **settings)
    named = _named(methods, subject)
    options = dict(options or {})
    if unknown := [name for name in options if name not in named]:
        raise InputError(f"options are given for {unknown[0]!r}, which is not among {list(named)}")
    batch = subject.read(inputs)
    target = subject.target(label, batch)
    if isinstance(target, TopClass):
        target = settled(target, subject.logits(batch))
    if isinstance(target, ClassScore) and not callable(label):
        # as labels, because each method has a score of its own that it explains
        label = np.zeros(batch.given, np.int64)
        label[list(batch.indices)] = target.labels
    found: dict[str, Explanation] = {}
    failed: dict[str, str] = {}
    with progress_bar(len(named), "explain", "method") as bar:
        for name, interpreter in named.items():
            bar.set_postfix_str(name)
            own = dict(options.get(name, {}))
            try:
                found[name] = interpreter._explained(
                    batch, label, own.pop("gradient_of", None), {}, own
                )
            except UnsupportedModelError as error:
                failed[name] = str(error)
            except InputError as error:  # its own choices do not suit these pictures
                if options.get(name):
                    raise
                failed[name] = str(error)
            bar.update()
    for name, reason in failed.items():
        # Of "all" nobody expects that attention of a convolutional network is explained.
        if methods != "all" or not named[name].info.needs_attention:
            warn(f"{name} is left out: {reason}")
    if not found:
        raise UnsupportedModelError(
            "none of the methods can explain this model: "
            + "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        )
    return Explanations(found, failed)


def _named(
    methods: str | Sequence[Method] | Mapping[str, Method], subject: Subject
) -> dict[str, Interpreter]:
    """The interpreters by title."""
    if isinstance(methods, str):
        known = METHODS.all()
        kind = "pictures" if subject.text is None else "text"
        fitting = [name for name, info in known.items() if kind in info.inputs]
        methods = fitting if methods == "all" else [methods]
    pairs = list(methods.items()) if isinstance(methods, Mapping) else [(None, m) for m in methods]
    if not pairs:
        raise InputError("no method was given; give a name, a list of them, or 'all'")
    named: dict[str, Interpreter] = {}
    for title, one in pairs:
        if isinstance(one, str):
            info = METHODS.find(one)
            interpreter, name = info.cls(subject), info.name
        elif isinstance(one, Interpreter):
            interpreter, name = one, one.info.name
        else:
            raise InputError(f"a method is a name or an Interpreter; got {one!r}")
        name = title or name
        if name in named:
            raise InputError(f"two methods are named {name!r}; give a mapping with other names")
        named[name] = interpreter
    return named
