"""Arrays as they are, and the batch that they and pictures make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageReadError, InputError
from ..texts import Text, TextPreprocessing

__all__ = ["Batch", "as_float", "from_tensor", "in_range", "plain", "read_arrays", "read_texts"]


@dataclass(frozen=True)
class Batch:
    """What is explained, as the network and as a person sees it.

    Attributes:
        inputs: what the network is given, N items along the first axis: for pictures float32
            [N, C, H, W], normalised (float64 if a float64 array was given); else an array of any
            rank, or a tuple or dict of arrays. Empty for texts, which have inputs of their own.
        images: uint8 [N, H, W, 3] RGB after resize and crop; grey repeated, RGBA on white. None for
            what is no picture.
        sources: path or name of each, "input 0" for arrays.
        indices: position of each in what was given.
        failures: what could not be read, by position in what was given.
        texts: the texts, where it is texts that are explained.
    """

    inputs: Any
    images: NDArray[np.uint8] | None
    sources: tuple[str, ...]
    indices: tuple[int, ...]
    failures: dict[int, ImageReadError]
    texts: tuple[Text, ...] = ()

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def given(self) -> int:
        """How many items were given, those that could not be read included."""
        return len(self.indices) + len(self.failures)


def read_arrays(inputs: Any) -> Batch:
    """Arrays as they are: the network's input, not pictures.

    Args:
        inputs: an array [N, ...] of floats or integers, a list of arrays [...] of one shape, or a
            tuple or dict of arrays that share N (the model's arguments). Tensors count as arrays.

    Returns:
        Batch; floats are float32, or float64 where they were.

    Raises:
        InputError: something that is no such array, is empty, or holds NaN or infinity.
    """
    if isinstance(inputs, dict):
        parts: Any = {name: _array(each, f"input {name!r}") for name, each in inputs.items()}
        arrays = list(parts.values())
    elif isinstance(inputs, tuple):
        parts = tuple(_array(each, f"input {i}") for i, each in enumerate(inputs))
        arrays = list(parts)
    else:
        each = (
            [_array(one, f"input {i}") for i, one in enumerate(inputs)]
            if isinstance(inputs, list)
            else None
        )
        if each is not None and len({one.shape for one in each}) != 1:
            raise InputError(
                f"a list of arrays must hold some, of one shape; got {[one.shape for one in each]}"
            )
        parts = _array(inputs, "the input") if each is None else np.stack(each)
        arrays = [parts]
    counts = {len(array) if array.ndim else 0 for array in arrays}
    if len(counts) != 1 or 0 in counts:
        raise InputError(
            "arrays must share their first axis, N items and at least one; got the shapes "
            f"{[list(array.shape) for array in arrays]}"
        )
    n = counts.pop()
    return Batch(parts, None, tuple(f"input {i}" for i in range(n)), tuple(range(n)), {})


def read_texts(inputs: Any, preprocessing: TextPreprocessing) -> Batch:
    """Texts, or their token ids, as a batch.

    Args:
        inputs: a text, or a list of texts; or the model's arguments as `read_arrays` takes them,
            whose rows are texts: token ids [N, T] first.

    Raises:
        InputError: something else, or a text that cannot be turned into token ids.
    """
    if isinstance(inputs, str):
        inputs = [inputs]
    if isinstance(inputs, list | tuple) and any(isinstance(each, str) for each in inputs):
        for i, each in enumerate(inputs):
            if not isinstance(each, str):
                raise InputError(f"input {i} must be a text; got {type(each).__name__}")
        texts = [preprocessing.read(each) for each in inputs]
    else:
        arrays = read_arrays(inputs)
        rows = [
            {name: part[i] for name, part in arrays.inputs.items()}
            if isinstance(arrays.inputs, dict)
            else tuple(part[i] for part in arrays.inputs)
            if isinstance(arrays.inputs, tuple)
            else arrays.inputs[i]
            for i in range(len(arrays))
        ]
        texts = [preprocessing.of_arrays(row, f"input {i}") for i, row in enumerate(rows)]
    sources = tuple(text.source for text in texts)
    return Batch((), None, sources, tuple(range(len(texts))), {}, tuple(texts))


def _array(given: Any, name: str) -> NDArray[Any]:
    given = from_tensor(given, name)
    if not isinstance(given, np.ndarray) or given.dtype.kind not in "iuf":
        raise InputError(
            f"{name} must be an array of floats or integers, since there is no preprocessing for "
            f"pictures; got {getattr(given, 'dtype', type(given).__name__)}"
        )
    given = plain(given, name)
    if given.dtype.kind != "f":
        return np.ascontiguousarray(given)
    array = as_float(given)
    finite = np.isfinite(array)
    if not finite.all():
        place = tuple(int(k) for k in np.argwhere(~finite)[0])
        raise InputError(
            f"{name} holds {array[place]} at {place} ({int((~finite).sum())} such values in all); "
            "inputs must be finite"
        )
    return array


def from_tensor(given: Any, name: str) -> Any:
    """What `.numpy()` gives, where there is one."""
    convert = getattr(given, "numpy", None)
    if not callable(convert):
        return given
    try:
        return convert()
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{name} is of type {type(given).__name__}, whose numpy() fails: {error}; give an array"
        ) from error


def as_float(array: NDArray[Any]) -> NDArray[Any]:
    """float64 where it was that or longer, else float32; what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float64 if array.dtype.itemsize >= 8 else np.float32)


def plain(array: NDArray[Any], name: str) -> NDArray[Any]:
    """`array`, unless it has a mask, which would be passed over without a word."""
    if isinstance(array, np.ma.MaskedArray):
        raise InputError(f"{name} is a masked array; give what masked places hold: .filled(value)")
    return np.asarray(array)


def in_range(values: Any, dtype: Any, what: str) -> NDArray[Any]:
    """Numbers as floats of a type.

    Raises:
        InputError: NaN, infinity, or a number that the type does not hold; `what` is named.
    """
    with np.errstate(over="ignore"):
        found = np.asarray(values, dtype)
    if not np.isfinite(found).all():
        raise InputError(f"{what} holds NaN or Inf, or a number too large for {found.dtype}")
    return found
