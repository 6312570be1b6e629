"""What names in a pickle of tensors stand for: they build arrays and nothing else.

A global is only a name here. REDUCE and BUILD look it up in the tables below; what is not in a
table is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import WeightsError
from .files import brief

__all__ = [
    *("Array", "Global", "Storage", "Tensor", "build", "find_global", "malformed", "quoted_name"),
    *("persistent", "reduce", "refuse", "set_items"),
]

_LONGEST_NAME = 10_000  # characters; equal names of megabytes would be compared again and again
_MOST_AXES = 32
_LARGEST = 1 << 63


@dataclass(frozen=True, slots=True)
class Global:
    """A name in the file."""

    name: str


@dataclass(eq=False, slots=True)
class Array:
    """A NumPy array on its way: made empty by one opcode and filled by a later one."""

    value: NDArray[Any] | None = None


@dataclass(eq=False, slots=True)
class DType:
    """A NumPy dtype on its way: its byte order comes with a later opcode."""

    value: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Storage:
    """A torch storage: which one, its element type, and its number of elements."""

    key: str
    kind: str
    numel: int


@dataclass(frozen=True, eq=False, slots=True)
class Tensor:
    """A torch tensor: a view of a storage, all in elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def malformed(what: str) -> WeightsError:
    """The error for a file that is damaged or made up."""
    return WeightsError(
        f"{what}: the file is damaged, truncated or not a file of weights; get it again"
    )


def refuse(name: str) -> NoReturn:
    """Raise the error for what tensors do not need."""
    raise WeightsError(
        f"the file wants {brief(repr(name), 80)}, which tensors do not need and which could run "
        "code; save a plain dictionary of tensors, or use safetensors"
    )


def quoted_name(thing: Any) -> str:
    """For messages: never the content of a container, whose depth the file decides."""
    if isinstance(thing, Global):
        return thing.name.replace(" ", ".")
    return thing[:80] if isinstance(thing, str) else type(thing).__name__


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number < _LARGEST


def _are_counts(numbers: Any) -> bool:
    return (
        isinstance(numbers, tuple)
        and len(numbers) <= _MOST_AXES
        and all(_is_count(number) for number in numbers)
    )


# ---- what the allowed names build ----


def set_items(target: dict[Any, Any], items: list[Any]) -> None:
    """Put keys and values, which take turns, into a dictionary. NumPy's integers become keys as
    Python's."""
    keys = [_plain_key(key) for key in items[::2]]
    if len(items) % 2 or not all(map(_is_key, keys)):
        raise malformed("a dictionary whose keys are not names")
    target.update(zip(keys, items[1::2], strict=True))


def _plain_key(key: Any) -> Any:
    integer = isinstance(key, Array) and isinstance(key.value, np.integer)
    return int(key.value) if integer else key


def _is_key(key: Any) -> bool:
    if isinstance(key, str):
        return len(key) <= _LONGEST_NAME
    # among larger integers a file can choose thousands with one hash
    return isinstance(key, int) and key.bit_length() <= 64


def _dictionary(args: tuple[Any, ...]) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key, value in args[0] if args else ():
        set_items(result, [key, value])
    return result


def _tensor(args: tuple[Any, ...]) -> Tensor:
    storage, offset, size, stride = args[:4]
    if not (
        isinstance(storage, Storage)
        and _is_count(offset)
        and _are_counts(size)
        and _are_counts(stride)
    ):
        raise malformed("a tensor with a storage, offset, size or stride that is none")
    if len(size) != len(stride):
        raise malformed(f"a tensor of size {size} with strides {stride}")
    return Tensor(storage, offset, size, stride)


def _parameter(args: tuple[Any, ...]) -> Any:
    return args[0]


def _array(args: tuple[Any, ...]) -> Array:
    if args[0] != Global("numpy ndarray"):
        refuse(quoted_name(args[0]))
    return Array()


_DTYPES = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}


def _dtype(args: tuple[Any, ...]) -> DType:
    if not isinstance(args[0], str) or args[0] not in _DTYPES:
        what = brief(quoted_name(args[0]))
        raise WeightsError(f"holds an array that is not of numbers: {what}")
    return DType(np.dtype(args[0]))


def _scalar(args: tuple[Any, ...]) -> Array:
    return Array(np.frombuffer(_raw(args[1]), args[0].value, 1)[0])


def _from_buffer(args: tuple[Any, ...]) -> Array:
    """An array as protocol 5 writes it."""
    data, dtype, shape, order = args[:4]
    if any(args[4:]):
        raise malformed("an array whose axes are in another order")
    return Array(_shaped(np.frombuffer(_raw(data), dtype.value), shape, order))


def _shaped(numbers: NDArray[Any], shape: Any, order: Any) -> NDArray[Any]:
    if not _are_counts(shape) or math.prod(shape) != numbers.size:
        raise malformed(f"an array of {numbers.size} numbers with a shape of others")
    return numbers.reshape(shape, order="F" if order == "F" else "C")


def _encode(args: tuple[Any, ...]) -> bytes:
    return _raw(args[0])


def _no_bytes(args: tuple[Any, ...]) -> bytes:
    if args:
        refuse("a call of bytes")
    return b""  # as protocol 2 writes it


def _raw(data: Any) -> bytes:
    # Python 2's strings, and bytes in protocol 2, are text in which a character is a byte.
    if isinstance(data, str):
        return data.encode("latin-1")
    if not isinstance(data, bytes | bytearray):
        raise malformed(f"a {type(data).__name__} in the place of an array's bytes")
    return bytes(data)


_REDUCE: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "collections OrderedDict": _dictionary,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
    "torch Size": lambda args: tuple(args[0]),
    "__builtin__ tuple": lambda args: tuple(args[0]),
    "builtins tuple": lambda args: tuple(args[0]),
    "numpy.core.multiarray _reconstruct": _array,
    "numpy._core.multiarray _reconstruct": _array,
    "numpy.core.numeric _frombuffer": _from_buffer,
    "numpy._core.numeric _frombuffer": _from_buffer,
    "numpy.core.multiarray scalar": _scalar,
    "numpy._core.multiarray scalar": _scalar,
    "numpy dtype": _dtype,
    "_codecs encode": _encode,
    "__builtin__ bytes": _no_bytes,
    "builtins bytes": _no_bytes,
}
_STORAGES = {
    "torch DoubleStorage": "f8",
    "torch FloatStorage": "f4",
    "torch HalfStorage": "f2",
    "torch BFloat16Storage": "bf16",
    "torch LongStorage": "i8",
    "torch IntStorage": "i4",
    "torch ShortStorage": "i2",
    "torch CharStorage": "i1",
    "torch ByteStorage": "u1",
    "torch BoolStorage": "b1",
}
_ALLOWED = {*_REDUCE, *_STORAGES, "numpy ndarray"}


# ---- what the machine calls ----


def find_global(name: str) -> Global:
    """The name, if it is allowed."""
    if name not in _ALLOWED:
        refuse(name.replace(" ", "."))
    return Global(name)


def reduce(function: Any, args: Any, objects: bool = False) -> Any:
    """What the call of an allowed name gives; `objects`: whether arrays may be of objects."""
    if not isinstance(function, Global) or function.name not in _REDUCE:
        refuse(f"a call of {quoted_name(function)}")
    if not isinstance(args, tuple):
        raise malformed("a call without arguments")
    if objects and function.name == "numpy dtype" and args[:1] == ("O8",):
        return DType(np.dtype(object))
    return _REDUCE[function.name](args)


def build(thing: Any, state: Any) -> None:
    """Fill an array or a dtype with its state."""
    if isinstance(thing, dict):
        return  # torch's `_metadata` of a state dict, which is no weight
    if isinstance(thing, DType):
        order, *structure = state[1:5]
        if order not in ("<", ">", "|", "=") or any(structure):
            raise malformed("an array dtype with an inner structure")
        thing.value = thing.value.newbyteorder(order)
        return
    if isinstance(thing, Array):
        _, shape, dtype, fortran, data = state
        numbers = (
            _objects(data) if dtype.value.kind == "O" else np.frombuffer(_raw(data), dtype.value)
        )
        thing.value = _shaped(numbers, shape, "F" if fortran else "C")
        return
    refuse(f"the state of {quoted_name(thing)}")


def _objects(data: Any) -> NDArray[Any]:
    if not isinstance(data, list):
        raise malformed("an array of objects without a list of them")
    array = np.empty(len(data), object)
    for i, each in enumerate(data):  # at once, lists would become axes
        array[i] = each
    return array


def persistent(pid: Any) -> Storage:
    """The torch storage that a persistent id means."""
    if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
        thing = pid[0] if isinstance(pid, tuple) and pid else pid
        refuse(f"the persistent object {quoted_name(thing)}")
    _, kind, key, _, numel = pid[:5]
    if not isinstance(kind, Global) or kind.name not in _STORAGES:
        refuse(f"a storage of {quoted_name(kind)}")
    if len(pid) > 6 or (len(pid) == 6 and pid[5] is not None):
        raise malformed("a view of a storage as torch 0.1 wrote it")
    if not (isinstance(key, str) and len(key) <= _LONGEST_NAME and _is_count(numel)):
        raise malformed("a storage without a name or size")
    return Storage(key, _STORAGES[kind.name], numel)
