"""Options given as text, `name=value`, converted to the types in the method's signature."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from ..errors import InputError, did_you_mean
from ..hints import alternatives

__all__ = ["describe_option", "options_by_name", "parse_options"]

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parse_options(
    texts: Iterable[str], known: Mapping[str, inspect.Parameter], method: str
) -> dict[str, Any]:
    """Options for a method, typed by their annotations.

    Args:
        texts: "name=value" each. A list is written "a,b" or "(3, 4)", a mapping as in Python,
            nothing as "none".
        known: the method's options, as `MethodInfo.options` has them.
        method: the name that messages use.

    Raises:
        InputError: no "=", a name that is not known, or a value of another type.
    """
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals:
            raise InputError(f"an option is written name=value; got {text!r}")
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise InputError(f"{method} has no option {name!r}{did_you_mean(name, known)}; {has}")
        hint = known[name].annotation
        try:
            options[name] = _typed(value.strip(), hint)
        except ValueError:
            raise InputError(f"{method}: {name} must be {_words(hint)}; got {value!r}") from None
    return options


def options_by_name(texts: list[str], known: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Options by method and metric, from texts such as "deletion.steps=10".

    Raises:
        InputError: no name that is known, or what `parse_options` refuses.
    """
    given: dict[str, list[str]] = {name: [] for name in known}
    for text in texts:
        name, dot, rest = text.partition(".")
        if not dot or name not in known:
            raise InputError(
                f"an option is written NAME.OPTION=VALUE, with one of {', '.join(known)}; got "
                f"{text!r}{did_you_mean(name, known)}"
            )
        given[name].append(rest)
    return {name: parse_options(given[name], info.options, name) for name, info in known.items()}


def describe_option(parameter: inspect.Parameter) -> str:
    """An option's default and type on one line, `steps=50  (int)`."""
    return f"{parameter.name}={parameter.default!r}  ({_words(parameter.annotation)})"


def _typed(text: str, hint: Any) -> Any:
    """The first reading that fits, the narrowest type before the wider one.

    Raises:
        ValueError: none fits.
    """
    kinds = alternatives(hint)
    if type(None) in kinds and text.lower() == "none":
        return None
    for kind in kinds:
        if get_origin(kind) is Literal:
            for choice in get_args(kind):
                if text == str(choice):
                    return choice
    if bool in kinds and text.lower() in _TRUTH:
        return _TRUTH[text.lower()]
    for number in (int, float):
        if number in kinds:
            try:
                return number(text)
            except ValueError:
                pass
    if text.startswith("{") and any(get_origin(kind) is Mapping for kind in kinds):
        found = _plain(text)
        if isinstance(found, dict):
            return found
    lists = [kind for kind in kinds if _is_list(kind)]
    if lists and (str not in kinds or "," in text):
        return _items(text, lists[0])
    if str in kinds:
        return text
    if Any in kinds or inspect.Parameter.empty in kinds:
        return _plain(text)
    raise ValueError(text)


def _is_list(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Sequence) and origin is not str


def _items(text: str, kind: Any) -> Any:
    inner = [item for item in get_args(kind) if item is not Ellipsis]
    parts = [part.strip() for part in text.strip("()[] ").split(",")]
    parts = [part for part in parts if part]
    if not inner:
        return tuple(_plain(part) for part in parts)
    if get_origin(kind) is tuple and Ellipsis not in get_args(kind):
        if len(parts) != len(inner):
            raise ValueError(text)
        return tuple(_typed(part, item) for part, item in zip(parts, inner, strict=True))
    return tuple(_typed(part, inner[0]) for part in parts)


def _plain(text: str) -> Any:
    """A number, tuple, … as Python writes it; any other text is itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _words(hint: Any) -> str:
    """A type as people write it: "int", "'mean' or 'sum'", "str, list of str or none"."""
    words = []
    for kind in alternatives(hint):
        if get_origin(kind) is Literal:
            words += [repr(choice) for choice in get_args(kind)]
        elif kind is type(None):
            words.append("none")
        elif get_origin(kind) is Mapping:
            words.append("{name: value}")
        elif kind is Any or kind is inspect.Parameter.empty:
            words.append("anything")
        elif _is_list(kind):
            inner = [_words(item) for item in get_args(kind) if item is not Ellipsis]
            words.append(f"list of {inner[0]}" if len(set(inner)) == 1 else "list")
        else:
            words.append(getattr(kind, "__name__", str(kind)))
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
