"""SUITES: the suites by name, each a function that builds its problems."""

from __future__ import annotations

from collections.abc import Callable

from .parts import parts
from .planted import planted
from .shortcut import shortcut
from .suite import Problem
from .trained import trained

__all__ = ["SUITES"]

SUITES: dict[str, Callable[[], tuple[Problem, ...]]] = {
    "planted": planted,
    "trained": trained,
    "parts": parts,
    "shortcut": shortcut,
}
