"""The signatures and help of `explain` and `interpret`: common arguments and a method's own."""

from __future__ import annotations

import functools
import inspect
import re
import warnings
from collections.abc import Callable
from typing import Any

from ..errors import InputError
from ..hints import check_value, hints_of
from .glossary import GLOSSARY

__all__ = ["arguments_of", "bind", "documented", "method_like", "signature_of"]

_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_FORMER = {"relevance_of": "gradient_of"}
"""Former names of arguments, which are still accepted."""


def method_like(cls: Any, name: str, common: Callable[..., Any]) -> Callable[..., Any]:
    """The method `name` of an interpreter: `common` with the signature and help of `cls`."""
    signature = signature_of(cls, common)

    @functools.wraps(common)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = bind(signature, f"{cls.__name__}.{name}", (self, *args), kwargs)
        for option, hint in _hints(cls.attribute).items():
            given = bound.get(option, signature.parameters[option].default)
            if given is not signature.parameters[option].default:
                check_value(option, given, hint)
        return common(**bound)

    method.__name__, method.__qualname__ = name, f"{cls.__name__}.{name}"
    method.__signature__ = signature  # type: ignore[attr-defined]  # what inspect and help() read
    method.__doc__ = _help(cls, common, list(signature.parameters)[1:])
    return method


def documented(cls: Any) -> dict[str, str]:
    """What is said of each argument of `explain`, `interpret` and the method's own options.

    Each is documented once: at the `attribute` that has it first, at the base, or in the glossary.
    """
    found: dict[str, str] = {}
    for owner in cls.__mro__:
        for function in ("attribute", "_interpret", "_explain"):
            text = inspect.getdoc(vars(owner)[function]) if function in vars(owner) else None
            found = arguments_of(text or "") | found
    return arguments_of(GLOSSARY) | found


def arguments_of(text: str) -> dict[str, str]:
    """The paragraphs under `Args:` by name."""
    return dict(_arguments_of(text))


@functools.cache  # texts that many methods share are read once
def _arguments_of(text: str) -> dict[str, str]:
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    if section is None:
        return {}
    parts = re.findall(
        r"^    (\w[\w, ]*):(.*?)(?=^    \w|\Z)", section[1], re.MULTILINE | re.DOTALL
    )
    return {
        name.strip(): f"    {name.strip()}:{paragraph}".rstrip()
        for names, paragraph in parts
        for name in names.split(",")
    }


@functools.cache
def _hints(attribute: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(attribute).parameters
    own = {p.name for p in parameters.values() if p.kind is p.KEYWORD_ONLY}
    own.discard("target_layer_name")  # its own check knows more, see cam.py
    return {name: hint for name, hint in hints_of(attribute).items() if name in own}


def _help(cls: Any, common: Callable[..., Any], names: list[str]) -> str:
    known = documented(cls)
    head, _, rest = (inspect.getdoc(common) or "").partition("Args:\n")
    tail = re.sub(r"\A.*?(?=^\S)", "", rest, count=1, flags=re.MULTILINE | re.DOTALL)
    default = f" The default is {cls.gradient_of!r}." if "gradient_of" in names else ""
    lines = [
        known[name] + (default if name == "gradient_of" else "") for name in names if name in known
    ]
    own = inspect.getdoc(cls.attribute) or ""
    gives = re.search(r"^Returns:\n.*", own, re.MULTILINE | re.DOTALL)
    more = f"\n\nOf the method:\n\n{gives[0]}" if gives else ""
    return f"{head}Args:\n" + "\n".join(lines) + f"\n\n{tail}{more}"


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
    shared["gradient_of"] = shared["gradient_of"].replace(default=cls.gradient_of)
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
    """Arguments by name, defaults filled in; `gradient_of` is None where it is not given.

    `label` and `labels` are one, and so are former names and present ones.

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
    for former, name in _FORMER.items():
        if former in kwargs:
            warnings.warn(
                f"{former}= is deprecated; give {name}=", DeprecationWarning, stacklevel=3
            )
            kwargs.setdefault(name, kwargs.pop(former))
    unknown = [name for name in kwargs if name not in signature.parameters]
    if unknown:
        known = [name for name in signature.parameters if name != "self"]
        raise TypeError(f"{where}() has no option {unknown[0]!r}; it has {', '.join(known)}")
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{where}(): {error}") from None
    given = bound.arguments.get("gradient_of")
    bound.apply_defaults()
    return {**bound.arguments, "gradient_of": given}
