"""The tables of methods and evaluators, and the facts on each that the package reads."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from .errors import InputError, did_you_mean, warn
from .hints import hints_of

__all__ = [
    "BLIND",
    "EVALUATORS",
    "METHODS",
    "EvaluatorInfo",
    "Kind",
    "Layout",
    "MethodInfo",
    "Need",
    "Registry",
    "find",
    "methods",
    "register",
    "register_evaluator",
]

BLIND = " Nearly the same map for every class."
"""What is said of a method that is class_blind."""

Layout = Literal["nchw", "n1hw", "nhw"]
Kind = Literal["pictures", "arrays", "text"]
Need = Literal["model", "interpreter", "masks", "boxes", "classes"]
_Class = TypeVar("_Class", bound=type)


class _Info(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str: ...


_InfoType = TypeVar("_InfoType", bound=_Info)


class Registry(Generic[_InfoType]):
    """Things by name, from this package and from others.

    Another package's are found through the entry points of a group: each names a module, or a class
    in it, whose import registers them.

    Args:
        noun: what is in the table, for messages.
        group: the group of entry points.
        own: the module of this package whose import registers this package's.
    """

    def __init__(self, noun: str, group: str, own: str) -> None:
        self.noun, self.group, self.own = noun, group, own
        self._entries: dict[str, _InfoType] = {}
        self._looked = False

    def add(self, info: _InfoType) -> None:
        """Enter something under its name.

        Raises:
            InputError: the name is taken.
        """
        before = self._entries.get(info.name)
        if before is not None and not _again(before, info):
            raise InputError(f"the {self.noun} {info.name!r} is registered already")
        self._entries[info.name] = info

    def remove(self, name: str) -> None:
        """Take out what is registered under a name, if anything is."""
        self._entries.pop(name, None)

    def all(self) -> dict[str, _InfoType]:
        """Everything by name, in alphabetical order."""
        if not self._looked:
            self._looked = True
            importlib.import_module(self.own)
            for point in entry_points(group=self.group):
                try:
                    point.load()
                except ImportError as error:
                    warn(f"the {self.noun}s of {point.value!r} are left out: {error}")
        return dict(sorted(self._entries.items()))

    def summaries(self) -> dict[str, str]:
        """The first sentence on each by name.

        Where they are all of this package they are read from its source, because importing what
        computes takes seconds.
        """
        if self._looked or entry_points(group=self.group):
            return {name: info.summary for name, info in self.all().items()}
        spec = importlib.util.find_spec(self.own)
        found: dict[str, str] = {}
        for folder in (spec and spec.submodule_search_locations) or ():
            for path in Path(folder).glob("*.py"):
                found.update(_registered(ast.parse(path.read_text(encoding="utf-8"))))
        return dict(sorted(found.items()))

    def find(self, name: str) -> _InfoType:
        """What is registered under a name, or is called so: "Grad-CAM", "GradCAMInterpreter".

        Raises:
            InputError: nothing is; close matches are named.
        """
        known = self.all()
        if name not in known:
            same = [info for info in known.values() if _plain_name(name) in _names(info)]
            if len(same) == 1:
                return same[0]
            hint = did_you_mean(str(name), known) or f"; there are {', '.join(known)}"
            raise InputError(f"no {self.noun} {name!r}{hint}")
        return known[name]


def _again(before: Any, now: Any) -> bool:
    """Whether it is the same class of a notebook, whose cell has been run again."""
    one, other = before.cls, now.cls
    return (one.__module__, one.__qualname__) == ("__main__", other.__qualname__) and (
        other.__module__ == "__main__"
    )


def _plain_name(name: object) -> str:
    """Letters and digits of a name, without the words that all classes have."""
    text = str(name).casefold().replace("+", "plus").replace("²", "squared")
    return re.sub("[^a-z0-9]|interpreter|evaluator", "", text)


def _names(info: Any) -> set[str]:
    return {_plain_name(each) for each in (info.name, info.cls.__name__, *info.aliases)}


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
        one_pass: whether it runs the inputs themselves and returns the model's outputs for them
            (`Attribution.outputs`). It may then be given a target that is not settled yet, such as
            the top class, and `explain` runs the model for nothing else.
        inputs: what it explains: "pictures" [N, C, H, W]; "arrays" of any rank; "text".
        paper: authors, title, year.
        url: where the paper is.
        class_blind: whether the map is nearly the same whatever the class.
        needs_attention: whether it explains transformers only.
        aliases: further names of the class, as InterpretDL has them.
        setup: extra constructor arguments for a model and a batch x, for methods that need some.
    """

    name: str
    cls: type[Any]
    layout: Layout
    signed: bool
    needs_layer: bool
    random: bool
    one_pass: bool
    inputs: frozenset[Kind]
    paper: str
    url: str
    class_blind: bool = False
    needs_attention: bool = False
    aliases: tuple[str, ...] = ()
    setup: Callable[[Any, Any], dict[str, Any]] | None = None

    @property
    def summary(self) -> str:
        """First sentence of the class's documentation, and whether the class makes a difference."""
        return _summary(self.cls) + (BLIND if self.class_blind else "")

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """Keyword arguments of the method's `attribute`, typed, and which score is explained."""
        parameters = inspect.signature(self.cls.attribute).parameters.values()
        hints = hints_of(self.cls.attribute)
        own = {
            p.name: p.replace(annotation=hints.get(p.name, Any))
            for p in parameters
            if p.kind is p.KEYWORD_ONLY
        }
        scores = typing.Literal.__getitem__(self.cls.scores)
        return own | {
            "gradient_of": inspect.Parameter(
                "gradient_of",
                inspect.Parameter.KEYWORD_ONLY,
                default=self.cls.gradient_of,
                annotation=scores,
            )
        }


@dataclass(frozen=True)
class EvaluatorInfo:
    """Facts on an evaluator.

    Attributes:
        name: as the command line knows it, such as "deletion".
        cls: the Evaluator.
        higher_is_better: the direction of its values.
        paper: authors, title, year.
        url: where the paper is.
        needs: "model"; "interpreter" (explains again); "masks"; "boxes"; "classes" (the target is
            a class).
        random: whether it draws random numbers (option seed).
        aliases: further names of the class, as InterpretDL has them.
        inputs: whose explanations it evaluates: of "pictures", of "text".
    """

    name: str
    cls: type[Any]
    higher_is_better: bool
    paper: str
    url: str
    needs: frozenset[Need]
    random: bool
    aliases: tuple[str, ...] = ()
    inputs: frozenset[Kind] = frozenset({"pictures"})

    @property
    def summary(self) -> str:
        """First sentence of the class's documentation."""
        return _summary(self.cls)

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """The evaluator's own options: keyword arguments of its constructor."""
        hints = hints_of(self.cls.__init__) | hints_of(self.cls)
        parameters = inspect.signature(self.cls.__init__).parameters.values()
        common = self.cls.common_arguments()
        return {
            p.name: p.replace(annotation=hints.get(p.name, Any))
            for p in parameters
            if p.kind is p.KEYWORD_ONLY and p.name not in common
        }


METHODS: Registry[MethodInfo] = Registry("method", "interpretdl.methods", "interpretdl.interpreter")
EVALUATORS: Registry[EvaluatorInfo] = Registry(
    "evaluator", "interpretdl.evaluators", "interpretdl.evaluator"
)


def register(
    name: str,
    *,
    layout: Layout,
    signed: bool,
    paper: str,
    url: str = "",
    needs_layer: bool = False,
    random: bool = False,
    one_pass: bool = False,
    inputs: Sequence[Kind] = ("pictures",),
    class_blind: bool = False,
    needs_attention: bool = False,
    aliases: tuple[str, ...] = (),
    setup: Callable[[Any, Any], dict[str, Any]] | None = None,
) -> Callable[[_Class], _Class]:
    """Class decorator that enters an Interpreter in the table; see MethodInfo for the facts."""

    def enter(cls: _Class) -> _Class:
        info = MethodInfo(
            name, cls, layout, signed, needs_layer, random, one_pass, frozenset(inputs),
            paper, url, class_blind, needs_attention, aliases, setup,
        )  # fmt: skip
        METHODS.add(info)
        cls.info = info  # type: ignore[attr-defined]  # every Interpreter declares it
        return cls

    return enter


def register_evaluator(
    name: str,
    *,
    higher_is_better: bool,
    paper: str,
    url: str = "",
    needs: Sequence[Need] = ("model",),
    random: bool = False,
    aliases: tuple[str, ...] = (),
    inputs: Sequence[Kind] = ("pictures",),
) -> Callable[[_Class], _Class]:
    """Class decorator that enters an Evaluator in the table; see EvaluatorInfo for the facts."""

    def enter(cls: _Class) -> _Class:
        info = EvaluatorInfo(
            name, cls, higher_is_better, paper, url, frozenset(needs), random, aliases,
            frozenset(inputs),
        )  # fmt: skip
        EVALUATORS.add(info)
        vars_of: Any = cls  # every Evaluator declares these
        vars_of.info, vars_of.name, vars_of.higher_is_better = info, name, higher_is_better
        return cls

    return enter


def methods() -> dict[str, MethodInfo]:
    """All registered methods by name, in alphabetical order."""
    return METHODS.all()


def find(name: str) -> MethodInfo:
    """The method of that name.

    Raises:
        InputError: there is none; close matches are named.
    """
    return METHODS.find(name)


def _registered(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Name and first sentence of the classes in a source that a decorator registers."""
    for node in tree.body:
        for decorator in getattr(node, "decorator_list", ()):
            match decorator:
                case ast.Call(
                    func=ast.Name(id="register" | "register_evaluator"),
                    args=[ast.Constant(value=str(name)), *_],
                    keywords=facts,
                ):
                    text = ast.get_docstring(node)  # type: ignore[arg-type]  # it is a class
                    blind = any(each.arg == "class_blind" for each in facts)
                    yield name, (text or "").partition("\n")[0] + (BLIND if blind else "")


def _summary(cls: type[Any]) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]
