"""Problem: pictures, a model, and where the evidence for a class lies, known beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..interpreter.sampling import counts

__all__ = ["TOLERANCE", "Problem", "checked_name"]

TOLERANCE = 2
"""Pixels by which relevance may lie outside of the truth."""

_CLASSES = "iu", "whole numbers", np.int64
_MASKS = "biu", "true or false", np.bool_
_ARRAYS = {
    "labels": _CLASSES, "others": _CLASSES, "masks": _MASKS, "other_masks": _MASKS,
    "parts": _MASKS, "importance": ("iuf", "finite numbers", np.float64),
}  # fmt: skip
"""The kinds of numbers that each may have, in words too, and what they become."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Pictures whose explanation is known.

    Attributes:
        name: such as "keys".
        suite: "planted", "trained", "parts" or "shortcut".
        model: paddle.nn.Layer in eval mode, float32, from x to logits [N, K].
        x: float32 [N, C, H, W], as the model takes them. 0 is what stands where something was
            taken out.
        labels: int64 [N], the class whose logit is explained.
        masks: bool [N, H, W], where the evidence lies, without tolerance. False everywhere, in all
            pictures, where nothing in them decides.
        doc: one sentence: what the model does, and what the truth is.
        others: int64 [N], another class, whose evidence lies elsewhere in the same picture.
        other_masks: bool [N, H, W], where that lies.
        parts: bool [N, P, H, W], parts of the picture.
        importance: float64 [N, P], how much the logit falls without each part.
        layer: the layer for class activation maps; None leaves the choice to the method.
        options: {method: {option: value}}, what methods need for this model, such as LRP's
            composite for attention; what is given to `run` goes before it.
        mixed: whether single pixels of the truth speak against the class, which only their sum
            speaks for. Then the measure "sign" says nothing, and is left out.

    Raises:
        InputError: arrays that do not fit together, or from which nothing can be measured.
    """

    name: str
    suite: str
    model: Any
    x: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: NDArray[np.bool_]
    doc: str
    others: NDArray[np.int64] | None = None
    other_masks: NDArray[np.bool_] | None = None
    parts: NDArray[np.bool_] | None = None
    importance: NDArray[np.float64] | None = None
    layer: str | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    mixed: bool = False

    def __post_init__(self) -> None:
        for what in ("name", "suite"):
            checked_name(getattr(self, what), f"a problem's {what}")
        if not callable(self.model):
            raise InputError(f"{self.name}: model must be a paddle.nn.Layer; got {self.model!r}")
        if not isinstance(self.x, np.ndarray) or self.x.ndim != 4 or self.x.dtype != np.float32:
            x = np.asarray(self.x)
            raise InputError(
                f"{self.name}: x must be float32 [N, C, H, W]; got {x.dtype} {list(x.shape)}"
            )
        if 0 in self.x.shape or not np.isfinite(self.x).all():
            raise InputError(
                f"{self.name}: x {list(self.x.shape)} must hold at least one picture, and only "
                "finite numbers"
            )
        for first, second in (("others", "other_masks"), ("parts", "importance")):
            if (getattr(self, first) is None) != (getattr(self, second) is None):
                raise InputError(f"{self.name}: {first} and {second} go together; one is missing")
        self._check_arrays()
        self._check_masks()

    def _check_arrays(self) -> None:
        n, (height, width) = len(self.x), self.x.shape[2:]
        count = 0 if self.parts is None else (*np.shape(self.parts), 0, 0)[1]
        shapes = {
            "labels": (n,), "masks": (n, height, width), "others": (n,),
            "other_masks": (n, height, width), "parts": (n, count, height, width),
            "importance": (n, count),
        }  # fmt: skip
        for name, shape in shapes.items():
            given = getattr(self, name)
            if given is None and name not in ("labels", "masks"):
                continue
            array, (kinds, words, dtype) = np.asarray(given), _ARRAYS[name]
            if array.shape != shape:
                raise InputError(
                    f"{self.name}: {name} must be {list(shape)}; got {list(array.shape)}"
                )
            if array.dtype.kind not in kinds or not np.isfinite(array).all():
                there = array.dtype if array.dtype.kind not in kinds else "NaN or infinity"
                raise InputError(f"{self.name}: {name} must be {words}; got {there}")
            object.__setattr__(self, name, array.astype(dtype, copy=False))

    def _check_masks(self) -> None:
        """A picture without truth, or with nothing else, would count 0 for every method."""
        there = self.masks.any(axis=(1, 2))
        if there.any() and not there.all():
            raise InputError(
                f"{self.name}: masks are empty in {int((~there).sum())} of {len(self)} pictures; "
                "make two problems, one of the pictures in which nothing decides"
            )
        if not there.any() and self.others is None:
            raise InputError(
                f"{self.name}: masks are empty; give others, with whose maps these are compared"
            )
        full = self.near.all(axis=(1, 2))
        if full.any():
            raise InputError(
                f"{self.name}: the mask of picture {int(full.argmax())}, with {TOLERANCE} pixels "
                "around it, is the whole picture, in which no map can be wrong"
            )

    @cached_property
    def near(self) -> NDArray[np.bool_]:
        """The masks with `TOLERANCE` pixels around them, bool [N, H, W]."""
        from scipy.ndimage import distance_transform_edt

        found = self.masks.copy()
        for i in np.flatnonzero(self.masks.any(axis=(1, 2))):
            found[i] = distance_transform_edt(~self.masks[i]) <= TOLERANCE
        return found

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        return f"<Problem {self.suite}/{self.name}, {len(self)} pictures>"

    def take(self, n: int | None) -> Problem:
        """The problem of its first n pictures; None: all.

        Raises:
            InputError: no whole number, or fewer than one.
        """
        if n is None:
            return self
        counts(pictures=n)
        if n >= len(self):
            return self
        values: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        arrays = {name: v[:n] for name, v in values.items() if isinstance(v, np.ndarray)}
        return Problem(**{**values, **arrays})


def checked_name(name: Any, what: str) -> str:
    """A name that tables and files can show.

    Raises:
        InputError: no text, an empty one, or one with line breaks or the like.
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise InputError(f"{what} must be a text without line breaks; got {name!r}")
    return name
