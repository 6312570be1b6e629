"""InterpretDL's helpers for Python."""

from __future__ import annotations

import re

__all__ = ["versiontuple2tuple"]


def versiontuple2tuple(v: str) -> tuple[int, ...]:
    """The numbers of a version: (2, 4, 0) for "2.4.0" and for "2.4.0rc1"."""
    return tuple(int(number) for number in re.findall(r"(?:^|\.)(\d+)", v))
