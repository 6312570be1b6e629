"""Annotations of options: read once, and held against what a user gives."""

from __future__ import annotations

import contextlib
import numbers
import sys
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import InputError, quoted

__all__ = ["alternatives", "check_value", "hints_of"]


def hints_of(owner: Any) -> dict[str, Any]:
    """Annotations of a function or a class as types, without those that type checkers alone know.

    Each by itself: one that cannot be resolved says nothing about the others.
    """
    parts = reversed(owner.__mro__) if isinstance(owner, type) else [owner]
    hints: dict[str, Any] = {}
    for part in parts:
        names = getattr(part, "__globals__", None) or vars(sys.modules[part.__module__])
        for name, annotation in getattr(part, "__annotations__", {}).items():
            lone = type("lone", (), {"__annotations__": {name: annotation}})
            with contextlib.suppress(NameError):
                hints |= typing.get_type_hints(lone, globalns=names)
    return hints


def check_value(name: str, value: Any, hint: Any) -> None:
    """Hold the value of an option against its annotation.

    NumPy's numbers count as numbers, and tensors and lists as arrays; True and False are no
    numbers. An annotation that says nothing that can be looked at, allows everything.

    Raises:
        InputError: a value of another type, or none of the texts that a Literal lists.
    """
    kinds = alternatives(hint)
    if any(_fits(value, kind) for kind in kinds):
        if isinstance(value, int) and abs(value) >= 2**63:
            raise InputError(f"{name} must be below 2**63; got {quoted(value)}")
        return
    texts = [repr(text) for kind in kinds for text in _literals(kind)]
    words = [*texts, *(_words(kind) for kind in kinds if not _literals(kind))]
    listed = " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
    one = "one of " if len(texts) > 1 else ""
    raise InputError(f"{name} must be {one}{listed}; got {quoted(value)}")


def alternatives(hint: Any) -> list[Any]:
    """The types that an annotation allows: members of unions, also of nested ones."""
    # NumPy 2.5 names the type of arrays in another way: a type statement's alias.
    alias = getattr(typing.get_origin(hint) or hint, "__value__", None)
    if alias is not None:
        return alternatives(alias)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [kind for part in typing.get_args(hint) for kind in alternatives(part)]
    return [hint]


def _literals(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()


def _fits(value: Any, kind: Any) -> bool:
    origin, parts = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is Any:
        return True
    if origin is typing.Literal:
        return isinstance(value, str | int | None) and value in parts
    if origin in (None, types.NoneType):
        return value is None
    if origin is bool:
        return isinstance(value, bool | np.bool_)
    if origin in _NUMBERS:
        return isinstance(value, _NUMBERS[origin]) and not isinstance(value, bool)
    if origin is np.ndarray:
        like = isinstance(value, list | tuple) or hasattr(value, "__array__")
        return like or callable(getattr(value, "numpy", None))
    if origin is Callable:
        return callable(value)
    if origin in (list, tuple, Sequence):
        if isinstance(value, str | bytes) or not isinstance(value, origin):
            return False
        if origin is tuple and Ellipsis not in parts:
            return len(value) == len(parts) and all(map(_any_fits, value, parts))
        return not parts or all(_any_fits(each, parts[0]) for each in value)
    plain = isinstance(origin, type) and not getattr(origin, "_is_protocol", False)
    return isinstance(value, origin) if plain and not typing.is_typeddict(origin) else True


def _any_fits(value: Any, hint: Any) -> bool:
    return any(_fits(value, kind) for kind in alternatives(hint))


_NUMBERS = {int: numbers.Integral, float: numbers.Real}
_WORDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a string",
    types.NoneType: "None",
    np.ndarray: "an array",
    Callable: "a function",
}


def _words(kind: Any) -> str:
    origin, parts = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin in (list, tuple, Sequence) and parts:
        inner = " or ".join(_words(each) for each in alternatives(parts[0]))
        return f"a {'tuple' if origin is tuple else 'list'} of {inner}"
    return _WORDS.get(origin) or f"a {getattr(origin, '__name__', origin)}"
