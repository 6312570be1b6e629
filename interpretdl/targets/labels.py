"""From what a user calls a class to a target: indexes, names, arrays, or targets as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TargetError, did_you_mean
from .scores import TargetLike, check_labels

__all__ = ["Labels", "resolve"]

Labels = NDArray[np.int64] | TargetLike


def resolve(
    label: Any,
    logits: NDArray[Any],
    names: Sequence[str] | None,
    given: int,
    indices: Sequence[int],
) -> Labels:
    """Class indexes int64 [N], or the target that was given.

    Args:
        label: None (the top class of each image), an int, a class name, a list, array or Tensor of
            these with one entry per image given, or a target (see `interpretdl.targets`).
        logits: the model's output [N, K].
        names: the K class names, or None.
        given: how many images the user gave; N of them, at `indices`, were readable.

    Raises:
        TargetError: an index outside [0, K), a bool, an unknown or ambiguous name, a wrong count.
    """
    if callable(label):
        return label  # type: ignore[no-any-return]  # a Target, or any callable output -> [N]
    if logits.ndim != 2:
        raise TargetError(
            f"the model's output is {list(logits.shape)}, not [N, K], so there is no class to "
            "take: give label= a target, a callable output -> one score per image"
        )
    n, classes = logits.shape
    if label is None:
        return np.asarray(logits.argmax(axis=1), np.int64)
    if hasattr(label, "numpy"):
        label = label.numpy()
    if isinstance(label, np.ndarray):
        if label.ndim > 1:
            raise TargetError(
                f"labels must be one, or one per image; got shape {list(label.shape)}"
            )
        label = label.tolist()
    if isinstance(label, list | tuple):
        if len(label) != given:
            raise TargetError(f"{len(label)} labels were given for {given} images")
        resolved = [_index(label[i], names) for i in indices]
    else:
        resolved = [_index(label, names)] * n
    check_labels(np.array(resolved, object), classes)  # of any size, before int64
    return np.array(resolved, np.int64)


def _index(label: Any, names: Sequence[str] | None) -> int:
    if isinstance(label, str):
        return _named(label, names)
    if hasattr(label, "numpy"):
        label = label.numpy()
    if isinstance(label, np.ndarray) and label.ndim == 0:
        label = label.item()
    if isinstance(label, bool | np.bool_) or not isinstance(label, int | np.integer):
        raise TargetError(
            f"a label must be a class index, a class name or a target; got {label!r} "
            f"({type(label).__name__})"
        )
    return int(label)


def _named(label: str, names: Sequence[str] | None) -> int:
    if names is None:
        raise TargetError(
            f"label {label!r} is a name, and this model has no class names; give "
            "class_names= to the interpreter, or an index"
        )
    wanted = label.strip().casefold()
    full = [i for i, name in enumerate(names) if name.casefold() == wanted]
    parts = [i for i, name in enumerate(names) if wanted in _synonyms(name)]
    # A class named just so wins over one that has the name among its synonyms.
    first = [i for i in parts if _synonyms(names[i])[0] == wanted]
    found = full or first or parts
    if len(found) == 1:
        return found[0]
    if found:
        raise TargetError(f"label {label!r} names several classes: {found}; give the index")
    known = {part: None for name in names for part in (name.casefold(), *_synonyms(name))}
    raise TargetError(f"no class is named {label!r}{did_you_mean(wanted, known)}")


def _synonyms(name: str) -> list[str]:
    return [part.strip().casefold() for part in name.split(",")]
