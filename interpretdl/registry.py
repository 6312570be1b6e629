"""The methods, and the facts on each that the command line, documentation and tests read."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .errors import InputError, did_you_mean

if TYPE_CHECKING:
    from .interpreter.base import Interpreter

__all__ = ["Layout", "MethodInfo", "find", "methods", "register"]

Layout = Literal["nchw", "n1hw", "nhw"]
_Class = TypeVar("_Class", bound="type[Interpreter]")
_METHODS: dict[str, MethodInfo] = {}


@dataclass(frozen=True)
class MethodInfo:
    """Facts on a method.

    Attributes:
        name: as the command line knows it, such as "grad_cam".
        cls: the Interpreter.
        layout: axes of the values: "nchw" (the input's shape), "n1hw", or "nhw" (h and w may be a
            layer's).
        signed: whether values below zero speak against the class.
        needs_layer: whether it explains through a layer (option target_layer_name).
        random: whether it draws random numbers (option seed).
        paper: authors, title, year.
        url: where the paper is.
        aliases: further names of the class, as InterpretDL has them.
        setup: extra constructor arguments for a model and a batch x, for methods that need some.
    """

    name: str
    cls: type[Interpreter]
    layout: Layout
    signed: bool
    needs_layer: bool
    random: bool
    paper: str
    url: str
    aliases: tuple[str, ...] = ()
    setup: Callable[[Any, Any], dict[str, Any]] | None = None

    @property
    def summary(self) -> str:
        """First sentence of the class's documentation."""
        return (inspect.getdoc(self.cls) or "").partition("\n")[0]

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """The method's own options: the keyword arguments of its `attribute`."""
        parameters = inspect.signature(self.cls.attribute).parameters.values()
        return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}


def register(
    name: str,
    *,
    layout: Layout,
    signed: bool,
    paper: str,
    url: str = "",
    needs_layer: bool = False,
    random: bool = False,
    aliases: tuple[str, ...] = (),
    setup: Callable[[Any, Any], dict[str, Any]] | None = None,
) -> Callable[[_Class], _Class]:
    """Class decorator that enters an Interpreter in the table; see MethodInfo for the facts."""

    def enter(cls: _Class) -> _Class:
        if name in _METHODS:
            raise InputError(f"a method named {name!r} is registered already")
        cls.info = _METHODS[name] = MethodInfo(
            name, cls, layout, signed, needs_layer, random, paper, url, aliases, setup
        )
        return cls

    return enter


def methods() -> dict[str, MethodInfo]:
    """All registered methods by name, in alphabetical order."""
    return dict(sorted(_METHODS.items()))


def find(name: str) -> MethodInfo:
    """The method of that name.

    Raises:
        InputError: there is none; close matches are named.
    """
    try:
        return _METHODS[name]
    except KeyError:
        hint = did_you_mean(name, _METHODS) or f"; there are {', '.join(methods())}"
        raise InputError(f"no method {name!r}{hint}") from None
