"""Labels of a run: what is given with a picture, and which of the model's classes it means."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data_processor.files import encodable
from ..errors import InputError, InterpretWarning, TargetError, quoted
from ..subject import Subject
from ..targets import check_labels, target_of

__all__ = ["Classes", "Label", "Meant", "given_label"]

Label = int | str | None
_INDEX = re.compile(r"[+-]?[0-9]{1,18}(\.0*)?")
_SIDE = 224
_MISSING = ("NAType", "NaTType")  # pandas' values for what is not there


def given_label(value: Any) -> Label:
    """A label as plain values: a class index, or a text; None for an empty field.

    Raises:
        InputError: it is something else.
    """
    found = value.numpy() if hasattr(value, "numpy") else value
    if isinstance(found, np.ndarray | np.generic) and found.size == 1:
        found = found.item()
    if isinstance(found, list | tuple) and len(found) == 1:
        found = found[0]
    if found is None or type(found).__name__ in _MISSING:
        return None
    if isinstance(found, float):  # pandas has whole numbers as floats where there are gaps
        if np.isnan(found):
            return None
        if found.is_integer():
            return int(found)
    if isinstance(found, str):
        return found.strip() or None
    if isinstance(found, int) and not isinstance(found, bool):
        return found
    known = isinstance(found, float | int | str | bytes)  # what others show differs from run to run
    shown = quoted(found) if known else f"something of type {type(found).__name__}"
    raise InputError(f"a label must be a class index or name; got {shown}")


@dataclass(frozen=True)
class Meant:
    """What a label means.

    Attributes:
        index: the class; None where there is no label, or none that is understood.
        name: of the class, or the text that was given.
        wrong: why the label is not understood.
    """

    index: int | None = None
    name: str | None = None
    wrong: str | None = None

    @property
    def columns(self) -> dict[str, Any]:
        """Of the store."""
        return {"label": self.index, "label_name": self.name and encodable(self.name)}


class Classes:
    """The classes of a model.

    Args:
        names: of each, or None.
        count: how many there are; None where that is not known.
    """

    def __init__(self, names: tuple[str, ...] | None, count: int | None) -> None:
        self.names, self.count = names, count
        parts = (part for name in names or () for part in (name, *name.split(",")))
        self._known = {part.strip().casefold() for part in parts}
        self._texts: dict[str, Meant] = {}

    @classmethod
    def of(cls, subject: Subject) -> Classes:
        """Those that the subject names; else the model is run once, on a grey picture."""
        names, reading = subject.class_names, subject.preprocessing
        if names is not None:
            return cls(names, len(names))
        if reading is None:
            return cls(None, None)
        side = reading.crop or reading.resize or _SIDE
        grey = np.zeros((1, reading.channels, side, side), np.float32)
        probe = subject.with_batch_size(1).probe  # another one: what it warns of, pictures should
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InterpretWarning)
                outputs = probe.logits(grey)
        except Exception:  # whatever a model raises; of a picture it will be the row's error
            return cls(None, None)
        count = outputs.shape[1] if outputs.ndim == 2 else None
        return cls(subject.names(count) if count else None, count)

    def meant(self, label: Any) -> Meant:
        """The class that a label means: by name, and a text that is no name by its number."""
        try:
            found = given_label(label)
        except InputError as error:
            return Meant(wrong=str(error))
        if isinstance(found, str):
            if found not in self._texts:
                self._texts[found] = self._of_text(found)
            return self._texts[found]
        return Meant() if found is None else self._of_index(found)

    def _of_text(self, text: str) -> Meant:
        if text.casefold() not in self._known:
            if text.casefold() == "nan":
                return Meant()
            if _INDEX.fullmatch(text):
                return self._of_index(int(text.partition(".")[0]))
        try:
            target: Any = target_of(text, "logit", self.names, 1, [0])
        except TargetError as error:
            return Meant(name=text, wrong=str(error))
        return self._of_index(int(np.ravel(target.labels)[0]))

    def _of_index(self, index: int) -> Meant:
        try:
            check_labels(np.array([index], object), 2**63 if self.count is None else self.count)
        except TargetError as error:
            return Meant(wrong=str(error))
        return Meant(index, None if self.names is None else self.names[index])
