"""Whether what a file of a dissection holds can have been written by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

__all__ = ["Held", "check_arrays", "check_settings", "damaged"]

_OF_A_LAYER = ("layer", "rotated")


@dataclass(frozen=True)
class Held:
    """An array that a file has to hold.

    Attributes:
        dtype: its name.
        shape: numbers, or names: equal names are equal numbers, from 1.
        least, most: between which all values are; None: no limit.
        finite: whether NaN and infinity are refused.
    """

    dtype: str
    shape: tuple[int | str, ...]
    least: int | None = None
    most: int | None = None
    finite: bool = True


def damaged(path: Path, why: str) -> InputError:
    """The error for a file that no dissection wrote."""
    return InputError(
        f"{path} was not written by a dissection, or was changed: {why}; give another folder, or "
        "restart=True (--restart) to replace it"
    )


def check_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], held: Mapping[str, Held]) -> None:
    """Refuse a file whose arrays are not exactly those that it should hold.

    Raises:
        InputError: one is missing or one too many, of another type or shape, or has values that
            cannot be.
    """
    if missing := sorted(held.keys() - arrays.keys()):
        raise damaged(path, f"it lacks {', '.join(missing)}")
    if more := sorted(arrays.keys() - held.keys()):
        raise damaged(path, f"it has {', '.join(more):.60} as well")
    sizes: dict[str, int] = {}
    for name, one in held.items():
        array = arrays[name]
        if array.dtype != np.dtype(one.dtype):
            raise damaged(path, f"{name} is {array.dtype!s:.40} and should be {one.dtype}")
        if array.ndim == len(one.shape):
            pairs = zip(array.shape, one.shape, strict=True)
            wanted: tuple[int | str, ...] = tuple(
                sizes.setdefault(w, n) if isinstance(w, str) else w for n, w in pairs
            )
        else:
            wanted = one.shape
        if array.shape != wanted:
            words = ", ".join(map(str, wanted))
            raise damaged(path, f"{name} is {list(array.shape)} and should be [{words}]")
        low, high = (array.min(), array.max()) if array.size else (0, 0)
        if one.finite and not np.isfinite([low, high]).all():
            raise damaged(path, f"{name} has values that are NaN or infinite")
        if (one.least is not None and low < one.least) or (
            one.most is not None and high > one.most
        ):
            raise damaged(path, f"{name} has values from {low} to {high}, which cannot be")


def check_settings(path: Path, wanted: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Refuse a file that was made with other settings.

    Args:
        path: the file.
        wanted: what the run depends on. Of a layer that it is not about, without the layer.
        metadata: the file's.

    Raises:
        InputError: it was made with another model, data or settings; they are named.
    """
    found = metadata.get("fingerprint")
    if not isinstance(found, dict):
        raise damaged(path, "it does not say what it was made with")
    what = "restart=True (--restart) to replace them"
    if "layer" not in wanted:
        what = "name its layer as well, with restart=True (--restart), to replace them"
        found = {key: value for key, value in found.items() if key not in _OF_A_LAYER}
    different = [key for key in sorted({*wanted, *found}) if wanted.get(key) != found.get(key)]
    if different:
        raise InputError(
            f"{path} was made with another {', '.join(different):.200}; results are not mixed: "
            f"give another folder, or {what}"
        )
