"""Everything that interpretdl raises on purpose.

    InterpretError
    ├── ImageReadError          (OSError)     a picture that cannot or must not be read
    ├── InputError              (ValueError)  an array, option value or argument that does not fit
    ├── TargetError             (ValueError)  a label or score that the model does not have
    ├── LayerNotFoundError      (ValueError)  a layer name that the model does not have
    ├── UnsupportedModelError   (TypeError)   a method that cannot be right on this model
    ├── WeightsError            (OSError)     weights that cannot be downloaded, read or fitted
    └── ResourceError           (OSError)     memory, disk or a place to write is missing

Every message says what was given, what was expected and what to do.
"""

from __future__ import annotations

import difflib
import reprlib
import sys
import warnings
from collections.abc import Iterable

__all__ = [
    "ImageReadError",
    "InputError",
    "InterpretError",
    "InterpretWarning",
    "LayerNotFoundError",
    "ResourceError",
    "TargetError",
    "UnsupportedModelError",
    "WeightsError",
]


_LONGEST = 2000


class InterpretError(Exception):
    """Root of all errors that interpretdl raises on purpose.

    Long messages, which quote something long, are cut in the middle.
    """

    def __init__(self, message: str = "") -> None:
        if len(message) > _LONGEST:
            message = f"{message[: _LONGEST * 2 // 3]} […] {message[-_LONGEST // 4 :]}"
        super().__init__(message)


class ImageReadError(InterpretError, OSError):
    """A picture that cannot be read, or that is refused before decoding."""


class InputError(InterpretError, ValueError):
    """An array or an argument whose value, shape or type does not fit."""


class TargetError(InterpretError, ValueError):
    """A label, class name or score that the model does not have."""


class LayerNotFoundError(InterpretError, ValueError):
    """A layer name that the model does not have, or that did not run."""


class UnsupportedModelError(InterpretError, TypeError):
    """A model on which the method cannot give a right answer."""


class WeightsError(InterpretError, OSError):
    """Weights that cannot be downloaded, read safely, or fitted to the architecture."""


class ResourceError(InterpretError, OSError):
    """Memory, disk space, or a place to write that is not there."""


class InterpretWarning(UserWarning):
    """What went on all the same, and that the user should know."""


class ModelWarning(InterpretWarning):
    """Of a model, whatever it is given, and therefore said once."""


def quoted(value: object) -> str:
    """A value as code, shortened. Integers of thousands of digits, which Python does not print,
    have their type's name.
    """
    try:
        return reprlib.repr(value)
    except ValueError:
        return f"<{type(value).__name__}>"


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`; did you mean 'layer4', 'layer3'?` for the names closest to `given`, or an empty string."""
    close = difflib.get_close_matches(given, list(known), n=3, cutoff=0.5)
    return f"; did you mean {', '.join(map(repr, close))}?" if close else ""


def warn(message: str, category: type[InterpretWarning] = InterpretWarning) -> None:
    """A warning at the line outside of this package that led here."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "interpretdl":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
