"""The evaluators, and the facts on each that the command line, documentation and tests read."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from ..errors import InputError, did_you_mean

if TYPE_CHECKING:
    from .base import Evaluator

__all__ = ["EvaluatorInfo", "Need", "evaluators", "find_evaluator", "register_evaluator"]

Need = Literal["model", "interpreter", "masks", "boxes", "classes"]
_Class = TypeVar("_Class", bound="type[Evaluator]")
_EVALUATORS: dict[str, EvaluatorInfo] = {}


@dataclass(frozen=True)
class EvaluatorInfo:
    """Facts on an evaluator.

    Attributes:
        name: as the command line knows it, such as "deletion".
        cls: the Evaluator.
        higher_is_better: the direction of its values.
        paper: authors, title, year.
        url: where the paper is.
        needs: "model"; "interpreter" (explains again); "masks"; "boxes"; "classes" (labels are
            class indexes, not a target).
        random: whether it draws random numbers (option seed).
        aliases: further names of the class, as InterpretDL has them.
    """

    name: str
    cls: type[Evaluator]
    higher_is_better: bool
    paper: str
    url: str
    needs: frozenset[Need]
    random: bool
    aliases: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """First sentence of the class's documentation."""
        return (inspect.getdoc(self.cls) or "").partition("\n")[0]

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """The evaluator's own options: keyword arguments of its constructor."""
        parameters = inspect.signature(self.cls.__init__).parameters.values()
        common = self.cls.common_arguments()
        return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in common}


def register_evaluator(
    name: str,
    *,
    higher_is_better: bool,
    paper: str,
    url: str = "",
    needs: Sequence[Need] = ("model",),
    random: bool = False,
    aliases: tuple[str, ...] = (),
) -> Callable[[_Class], _Class]:
    """Class decorator that enters an Evaluator in the table; see EvaluatorInfo for the facts."""

    def enter(cls: _Class) -> _Class:
        if name in _EVALUATORS:
            raise InputError(f"an evaluator named {name!r} is registered already")
        cls.info = _EVALUATORS[name] = EvaluatorInfo(
            name, cls, higher_is_better, paper, url, frozenset(needs), random, aliases
        )
        cls.name, cls.higher_is_better = name, higher_is_better
        return cls

    return enter


def evaluators() -> dict[str, EvaluatorInfo]:
    """All registered evaluators by name, in alphabetical order."""
    return dict(sorted(_EVALUATORS.items()))


def find_evaluator(name: str) -> EvaluatorInfo:
    """The evaluator of that name.

    Raises:
        InputError: there is none; close matches are named.
    """
    try:
        return _EVALUATORS[name]
    except KeyError:
        hint = did_you_mean(name, _EVALUATORS) or f"; there are {', '.join(evaluators())}"
        raise InputError(f"no evaluator {name!r}{hint}") from None
