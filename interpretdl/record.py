"""What a result was made with, in words that a file can hold and that can be compared later."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

__all__ = ["digest", "digest_of_model", "plain", "public"]


def digest(*parts: Any) -> str:
    """Fingerprint of arrays and plain values, 16 hexadecimal digits."""
    return _digest(parts)


def digest_of_model(model: Any) -> str:
    """Fingerprint of a model's class, parameters and buffers."""
    state = sorted(model.state_dict().items())
    values = (part for name, t in state for part in (name, str(t.dtype), t.numpy()))
    return f"{type(model).__name__} {_digest(values)}"


def _digest(parts: Iterable[Any]) -> str:
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype} {part.shape}".encode())
            total.update(np.ascontiguousarray(part).tobytes())
        else:
            total.update(repr(part).encode())
        total.update(b"\0")
    return total.hexdigest()[:16]


def plain(value: Any, longest: int | None = 1000) -> Any:
    """A value in words that JSON knows, the same in every process.

    Args:
        value: numbers and texts stay; NaN and infinity become None, which JSON lacks; tensors and
            arrays become lists; functions their name; other things what their class writes as
            `repr`, or else their class and public attributes.
        longest: arrays of more numbers become their shape and fingerprint; None: none do.
    """
    if hasattr(value, "numpy"):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        if longest is not None and value.size > longest:
            return f"array {list(value.shape)} {value.dtype} {digest(value)}"
        value = value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(each, longest) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each, longest) for each in value]
    if hasattr(value, "__qualname__"):
        return value.__qualname__
    # An object's own repr has its address in memory, which differs from run to run.
    if repr(value) != object.__repr__(value):
        return repr(value)
    return {"class": type(value).__qualname__, **public(value)}


def public(thing: Any, *, without: Iterable[str] = ()) -> dict[str, Any]:
    """The public attributes that an object holds, as `plain` gives them."""
    skipped = set(without)
    return {
        name: plain(value)
        for name, value in getattr(thing, "__dict__", {}).items()
        if not name.startswith("_") and name not in skipped
    }
