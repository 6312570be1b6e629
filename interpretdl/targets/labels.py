"""From what a user calls a class to a target: indexes, names, arrays, or targets as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import TargetError, did_you_mean, quoted
from .scores import ClassScore, ScoreKind, TargetLike, TopClass

__all__ = ["target_of"]


def target_of(
    label: Any,
    of: ScoreKind,
    names: Sequence[str] | None,
    given: int,
    indices: Sequence[int],
) -> TargetLike:
    """The target that a user's label means.

    Args:
        label: None (the top class of each image), an int, a class name, a list, array or Tensor of
            these with one entry per image given, [N] or [N, 1], or a target (see
            `interpretdl.targets`).
        of: which score of the class.
        names: the K class names, or None.
        given: how many images the user gave; those at `indices` were readable.

    Returns:
        TopClass, a ClassScore with one label or one for each readable image, or the target given.

    Raises:
        TargetError: a bool, an unknown or ambiguous name, a wrong count. An index outside [0, K) is
            found when the target is called.
    """
    if label is None:
        return TopClass(of)
    if callable(label):
        return label  # type: ignore[no-any-return]  # a Target, or any callable output -> [N]
    if hasattr(label, "numpy"):
        label = label.numpy()
    if isinstance(label, np.ndarray):
        if label.shape[1:] not in ((), (1,)):
            raise TargetError(
                f"labels must be one, or one per image; got shape {list(label.shape)}"
            )
        label = label.tolist()
    if isinstance(label, list) and all(isinstance(e, list) and len(e) == 1 for e in label):
        label = [each[0] for each in label]
    if not isinstance(label, list | tuple):
        return ClassScore(_index(label, names), of)
    if len(label) != given:
        raise TargetError(f"{len(label)} labels were given for {given} images")
    return ClassScore([_index(label[i], names) for i in indices], of)


def _index(label: Any, names: Sequence[str] | None) -> int:
    if isinstance(label, str):
        return _named(label, names)
    if hasattr(label, "numpy"):
        label = label.numpy()
    if isinstance(label, np.ndarray) and label.ndim == 0:
        label = label.item()
    if isinstance(label, bool | np.bool_) or not isinstance(label, int | np.integer):
        raise TargetError(
            f"a label must be a class index, a class name or a target; got {quoted(label)} "
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
    known = list(dict.fromkeys(part for name in names for part in _synonyms(name)))
    # a name with the word in it is nearer than one with similar letters
    near = [part for part in known if wanted and wanted in part.replace("-", " ").split()]
    hint = f"; did you mean {', '.join(map(repr, near[:5]))}?" if near else ""
    raise TargetError(f"no class is named {label!r}{hint or did_you_mean(wanted, known)}")


def _synonyms(name: str) -> list[str]:
    return [part.strip().casefold() for part in name.split(",")]
