"""Methods on models of several inputs: one of them is explained, the others are held fixed."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ..probe.inputs import count, rows_of
from ..subject import Subject
from ..targets import TargetLike, take
from .attribution import Attribution, joined
from .text_parts import Method

__all__ = ["of_inputs", "shape_of"]


def of_inputs(
    method: Method, inputs: Any, target: TargetLike, options: dict[str, Any]
) -> Attribution:
    """A method's result for each item, as one.

    An item is run by itself, because a method may run it many times, each time with its own other
    inputs.

    Args:
        inputs: a tuple or dict of arrays with N rows each.

    Returns:
        values of the shape that the method gives for the input that is explained.

    Raises:
        InputError: which it is cannot be told, see `Subject.explained_of`.
    """
    name: Any = method.subject.explained_of(inputs)
    results = []
    for i in range(count(inputs)):
        item: Any = rows_of(inputs, slice(i, i + 1))
        part = copy.copy(method)
        part._hold(method.subject.among(item, name))
        results.append(part._attributed(item[name], take(target, np.array([i])), options))
    return joined(results)


def shape_of(subject: Subject, inputs: Any) -> tuple[int, ...]:
    """The shape [N, ...] of the array that is explained."""
    name: Any = subject.explained_of(inputs)
    return tuple(np.shape(inputs if name is None else inputs[name]))
