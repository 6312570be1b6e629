"""What a model is given: an array of any rank, or a tuple or dict of arrays, one row per item."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from ..errors import InputError, UnsupportedModelError
from ..tensors import HALF, from_numpy
from .hooks import Array, Tensor, to_numpy
from .state import is_program, original_of

__all__ = [
    "Inputs",
    "call",
    "checked",
    "count",
    "each",
    "in_place_of",
    "listed",
    "rows_of",
    "tensors",
]

Inputs: TypeAlias = Array | tuple[Array, ...] | dict[str, Array]
"""One argument of the model, its arguments in order, or its arguments by name."""


def each(x: Any, change: Callable[[Any], Any]) -> Any:
    """`change` of the argument, or of each argument, in the same structure."""
    if isinstance(x, dict):
        return {name: change(part) for name, part in x.items()}
    return tuple(change(part) for part in x) if isinstance(x, tuple) else change(x)


def listed(x: Any) -> list[Any]:
    """The arguments in a list."""
    if isinstance(x, dict):
        return list(x.values())
    return list(x) if isinstance(x, tuple) else [x]


def count(x: Inputs) -> int:
    """N, the number of items."""
    return len(listed(x)[0])


def rows_of(x: Inputs, which: slice) -> Inputs:
    """Some of the items."""
    result: Inputs = each(x, lambda part: part[which])
    return result


def call(model: Any, x: Any) -> Any:
    """What the model makes of its arguments.

    Raises:
        UnsupportedModelError: its parameters are in half precision, and it cannot be run.
    """
    try:
        if isinstance(x, dict):
            return model(**x)
        return model(*x) if isinstance(x, tuple) else model(x)
    except (RuntimeError, ValueError, TypeError) as error:
        half = {p.dtype for p in original_of(model).parameters()} & set(HALF)
        if not half:
            raise
        kind = str(half.pop()).removeprefix("paddle.")
        what, cure = (
            f"its parameters are {kind}, but are computed in float32",
            (f"take the casts to {kind} out of its forward pass"),
        )
        if is_program(model):
            what, cure = f"it is a program in {kind}", "export it in float32, or run it on a GPU"
        first = str(error).strip().splitlines()
        raise UnsupportedModelError(
            f"the model cannot be run: {what}; {cure}. Paddle says: "
            f"{type(error).__name__}: {first[0] if first else ''}"
        ) from error


def tensors(x: Inputs, dtype: Any, place: Any) -> Any:
    """The arrays as tensors at a place; floats as `dtype`, None leaves them."""

    def tensor(part: Array) -> Tensor:
        made = from_numpy(part, place)
        return made if dtype is None or part.dtype.kind != "f" else made.astype(dtype)

    return each(x, tensor)


def in_place_of(x: Any, floats: list[Tensor], gradients: list[Tensor]) -> Any:
    """Arrays of the gradients in x's structure; None where x is no tensor of floats."""
    pairs = list(zip(floats, gradients, strict=False))
    return each(x, lambda part: next((to_numpy(g) for t, g in pairs if t is part), None))


def checked(x: Any) -> Inputs:
    """x as arrays.

    Raises:
        InputError: nothing given, an array of another kind than numbers, an empty axis, or
            arguments with different numbers of items.
    """
    if isinstance(x, list):
        raise InputError("x must be one array, a tuple or a dict of arrays; got a list")
    x = each(x, lambda part: np.asarray(part.numpy() if hasattr(part, "numpy") else part))
    parts = listed(x)
    if not parts:
        raise InputError("x must hold at least one array; got none")
    for part in parts:
        if part.ndim < 1 or 0 in part.shape:
            raise InputError(
                "x must be an array [N, ...], such as pictures [N, C, H, W], with no empty axis; "
                f"got shape {list(part.shape)}"
            )
        if part.dtype.kind not in "iufb":
            raise InputError(f"x must hold numbers; got {part.dtype}")
        if part.dtype == np.uint8:
            raise InputError(
                "x holds uint8, as pictures do; give the network's input, floats [N, C, H, W] as "
                "Preprocessing.normalize makes them, or int64 for indexes"
            )
    if len({len(part) for part in parts}) > 1:
        raise InputError(
            "the arrays of x must have as many rows each; got the shapes "
            f"{[list(part.shape) for part in parts]}"
        )
    result: Inputs = x
    return result
