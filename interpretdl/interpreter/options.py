"""The signatures of `explain` and `interpret`: common arguments and a method's own, in one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..errors import InputError

__all__ = ["bind", "signature_of"]

_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def signature_of(cls: Any, common: Callable[..., Any]) -> inspect.Signature:
    """`common`'s signature with the options of `cls.attribute`.

    After `inputs` come those that `cls.positional` names, in that order (InterpretDL's), then
    `common`'s other arguments, then the method's other options by keyword.
    """
    shared = {
        p.name: p
        for p in inspect.signature(common).parameters.values()
        if p.kind is not p.VAR_KEYWORD
    }
    own = {
        p.name: p
        for p in inspect.signature(cls.attribute).parameters.values()
        if p.kind is p.KEYWORD_ONLY
    }
    every = {**shared, **own}
    leading = ["self", "inputs", *(name for name in cls.positional if name in every)]
    rest = [name for name, p in shared.items() if name not in leading and p.kind is _POSITIONAL]
    named = [name for name in every if name not in leading and name not in rest]
    parameters = [every[name].replace(kind=_POSITIONAL) for name in leading + rest]
    return inspect.Signature(
        parameters + [every[name].replace(kind=_KEYWORD) for name in named],
        return_annotation=inspect.signature(common).return_annotation,
    )


def bind(
    signature: inspect.Signature, where: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Arguments by name, defaults filled in. `label` and `labels` are one.

    Raises:
        TypeError: an option that the method does not have (those it has are listed), one given
            twice, or one missing.
        InputError: both `label` and `labels`.
    """
    if "labels" in kwargs:
        if kwargs.get("label") is not None and kwargs["labels"] is not None:
            raise InputError("label and labels are the same argument; give one of them")
        labels = kwargs.pop("labels")
        if kwargs.get("label") is None:
            kwargs["label"] = labels
    unknown = [name for name in kwargs if name not in signature.parameters]
    if unknown:
        known = [name for name in signature.parameters if name != "self"]
        raise TypeError(f"{where}() has no option {unknown[0]!r}; it has {', '.join(known)}")
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{where}(): {error}") from None
    bound.apply_defaults()
    return dict(bound.arguments)
