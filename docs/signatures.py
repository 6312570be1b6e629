"""What mkdocstrings cannot read from the source: signatures that are made when a class is.

Every method has `explain` with its own options, see `interpretdl.interpreter.options`. This puts it
into what griffe has read, in place of the `attribute` that only authors of methods need.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import griffe

_HIDDEN = (
    "attribute",
    "combine",
    "explain",
    "gradient_of",
    "interpret",
    "kind",
    "positional",
    "scores",
    "through",
)
_BASE = "interpreter.base.Interpreter"
QUIET: Any = {"warnings": False}  # type checkers and tests see to docstrings


class Signatures(griffe.Extension):
    """Gives each interpreter its `explain`, and makes sections of docstrings readable."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """When interpretdl has been read."""
        if pkg.name != "interpretdl":
            return
        from interpretdl import Interpreter, NoiseTunnel, SmoothGradInterpreterV2
        from interpretdl.registry import methods

        classes: list[Any] = [info.cls for info in methods().values()]
        for cls in (*classes, NoiseTunnel, SmoothGradInterpreterV2):
            if cls.__module__.startswith("interpretdl."):
                node = pkg[f"{cls.__module__}.{cls.__qualname__}".removeprefix("interpretdl.")]
                for name in _HIDDEN:
                    node.members.pop(name, None)
                put(node, "explain", cls.explain)
        for name in ("explain", "interpret"):
            pkg[_BASE].members.pop(name, None)
            put(pkg[_BASE], name, getattr(Interpreter, f"_{name}"))
        tidy(pkg)
        uncover(pkg)
        packages = [m for m in pkg.members.values() if not m.is_alias and m.is_module]
        # a command is named as what it calls
        for package in [m for m in packages if m.name != "cli"]:
            for name, own in package.members.items():
                if name in pkg.members and not own.is_alias and own.is_function:
                    pkg.members[name] = griffe.Alias(name, own, parent=pkg)


def uncover(module: Any) -> None:
    """Functions with their module's name, as `dissection.dissect`, in place of the module."""
    for name, member in list(module.members.items()):
        if member.is_alias or not member.is_module:
            continue
        uncover(member)
        own = member.members.get(name)
        if own is not None and own.is_function:
            others = {key: other for key, other in member.members.items() if key != name}
            own.members = {**others, **own.members}  # that are still found through this path
            module.members[name] = own


def put(node: Any, name: str, function: Any) -> None:
    """Add a function to a class that griffe has read."""
    signature = inspect.signature(function)
    parameters = [
        griffe.Parameter(
            p.name,
            annotation=None
            if p.annotation is p.empty
            else str(p.annotation).replace("typing.", ""),
            kind=getattr(griffe.ParameterKind, p.kind.name.lower()),
            default=None if p.default is p.empty else repr(p.default),
        )
        for p in signature.parameters.values()
    ]
    returns = (
        None if signature.return_annotation is signature.empty else signature.return_annotation
    )
    found = griffe.Function(
        name,
        lineno=node.lineno,  # so that it comes first
        parameters=griffe.Parameters(*parameters),
        returns=returns,
    )
    text = inspect.getdoc(function) or ""
    found.docstring = griffe.Docstring(text, parent=found, parser="google", parser_options=QUIET)
    node.set_member(name, found)


def tidy(node: Any) -> None:
    """Docstrings of an object and all that is in it, as `readable` makes them."""
    if node.is_alias:
        return
    if node.docstring is not None:
        node.docstring.value = readable(node.docstring.value)
    for member in list(node.members.values()):
        tidy(member)


def readable(text: str) -> str:
    """A docstring whose sections are either what griffe reads as such, or paragraphs.

    "Returns:" is a paragraph here, with colons in it; so is a "Raises:" that is no list of names
    with reasons.
    """

    def paragraph(match: re.Match[str]) -> str:
        name, body = match["name"], match["body"]
        if name == "Raises" and re.match(r"\s+\w[\w., ]*: ", body):
            return match[0]
        return f"**{name}:** {' '.join(body.split())}\n\n"

    sections = r"^(?P<name>Returns|Raises|Warns):\n(?P<body>(?:    .*\n?|\s*\n)+)"
    text = re.sub(sections, paragraph, text.rstrip() + "\n", flags=re.MULTILINE)
    several = r"^    (?P<names>\w+(?:, \w+)+):(?P<body>.*\n(?:     .*\n)*)"
    text = re.sub(several, each, text, flags=re.MULTILINE)
    return text.replace("][", "]\\[")  # [N][k] is no cross-reference


def each(match: re.Match[str]) -> str:
    """An entry for each of several arguments that are explained together."""
    return "".join(f"    {name}:{match['body']}" for name in match["names"].split(", "))
