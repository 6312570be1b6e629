"""How tables of numbers, and what they lack, are written as text."""

from __future__ import annotations

import math
from collections.abc import Iterable

__all__ = ["columns", "counted", "ends", "notes", "short"]


def short(value: float, sign: str = "") -> str:
    """A number with two decimals; `sign` is "+" to write that, too. NaN is a dash."""
    return "–" if math.isnan(value) else f"{value:{sign}.2f}"


def ends(low: float, high: float, between: str, sign: str = "") -> str:
    """An interval, or a dash where there is none."""
    return "–" if math.isnan(low) else f"{short(low, sign)} {between} {short(high, sign)}"


def counted(number: int, word: str) -> str:
    """`1 problem`, `2 problems`."""
    return f"{number} {word}{'s' * (number != 1)}"


def columns(rows: list[list[str]]) -> list[str]:
    """Names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def notes(cells: Iterable[tuple[str, str, str]], count: int = 0) -> list[str]:
    """A line for each reason, with all names and problems that share it.

    Args:
        cells: (name, problem, reason).
        count: of all problems, which a reason that holds for each of them need not name.
    """
    where: dict[tuple[str, str], list[str]] = {}
    for name, problem, reason in cells:
        where.setdefault((name, reason), []).append(problem)
    lines: dict[tuple[str, str], list[str]] = {}
    for (name, reason), problems in where.items():
        place = "all problems" if len(problems) == count > 1 else ", ".join(problems)
        lines.setdefault((reason, place), []).append(name)
    return [f"{', '.join(names)}; {place}: {reason}" for (reason, place), names in lines.items()]
