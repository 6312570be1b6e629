"""Reads a pickle of tensors without Python's unpickler: nothing that a file names is imported.

The opcodes come from `pickletools.genops`. A global is only a name here; REDUCE and BUILD look it
up in the tables below, whose functions build arrays and nothing else. What is not in a table, and
every opcode that tensors do not need, is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, NoReturn, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import WeightsError

__all__ = ["Array", "Global", "Storage", "Tensor", "malformed", "read_pickle"]

# DeprecationWarning: of a name with a bad escape, where warnings are errors
_MALFORMED = (
    *(ValueError, TypeError, IndexError, KeyError, OverflowError, AttributeError),
    DeprecationWarning,
)


class Readable(Protocol):
    """A file, a record of a zip file, or a map of a file into memory."""

    def read(self, n: int = ..., /) -> bytes: ...

    def readline(self) -> bytes: ...


@dataclass(frozen=True)
class Global:
    """A name in the file."""

    name: str


@dataclass(eq=False)
class Array:
    """A NumPy array on its way: made empty by one opcode and filled by a later one."""

    value: NDArray[Any] | None = None


@dataclass(eq=False)
class DType:
    """A NumPy dtype on its way: its byte order comes with a later opcode."""

    value: np.dtype[Any]


@dataclass(frozen=True)
class Storage:
    """A torch storage: which one, its element type, and its number of elements."""

    key: str
    kind: str
    numel: int


@dataclass(frozen=True, eq=False)
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


def _name(thing: Any) -> str:
    """For messages: never the content of a container, whose depth the file decides."""
    if isinstance(thing, Global):
        return thing.name.replace(" ", ".")
    return thing[:80] if isinstance(thing, str) else type(thing).__name__


def _refused(name: str) -> NoReturn:
    raise WeightsError(
        f"the file wants {name!r}, which tensors do not need and which could run code; "
        "save a plain dictionary of tensors, or use safetensors"
    )


# ---- what the allowed names build ----


def _dictionary(args: tuple[Any, ...]) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key, value in args[0] if args else ():
        _set_items(result, [key, value])
    return result


def _tensor(args: tuple[Any, ...]) -> Tensor:
    storage, offset, size, stride = args[:4]
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Storage) or any(type(n) is not int or n < 0 for n in numbers):
        raise malformed("a tensor with a storage, offset, size or stride that is none")
    if len(size) != len(stride):
        raise malformed(f"a tensor of size {size} with strides {stride}")
    return Tensor(storage, offset, tuple(size), tuple(stride))


def _parameter(args: tuple[Any, ...]) -> Any:
    return args[0]


def _array(args: tuple[Any, ...]) -> Array:
    if args[0] != Global("numpy ndarray"):
        _refused(_name(args[0]))
    return Array()


_DTYPES = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}


def _dtype(args: tuple[Any, ...]) -> DType:
    if not isinstance(args[0], str) or args[0] not in _DTYPES:
        raise WeightsError(f"holds an array that is not of numbers: {_name(args[0])}")
    return DType(np.dtype(args[0]))


def _scalar(args: tuple[Any, ...]) -> Array:
    return Array(np.frombuffer(_raw(args[1]), args[0].value, 1)[0])


def _encode(args: tuple[Any, ...]) -> bytes:
    return _raw(args[0])


def _no_bytes(args: tuple[Any, ...]) -> bytes:
    if args:
        _refused("a call of bytes")
    return b""  # as protocol 2 writes it


def _raw(data: Any) -> bytes:
    # Python 2's strings, and bytes in protocol 2, are text in which a character is a byte.
    return data.encode("latin-1") if isinstance(data, str) else bytes(memoryview(data))


_REDUCE: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "collections OrderedDict": _dictionary,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
    "torch Size": lambda args: tuple(args[0]),
    "__builtin__ tuple": lambda args: tuple(args[0]),
    "builtins tuple": lambda args: tuple(args[0]),
    "numpy.core.multiarray _reconstruct": _array,
    "numpy._core.multiarray _reconstruct": _array,
    "numpy.core.multiarray scalar": _scalar,
    "numpy._core.multiarray scalar": _scalar,
    "numpy dtype": _dtype,
    "_codecs encode": _encode,
    "__builtin__ bytes": _no_bytes,
    "builtins bytes": _no_bytes,
}
STORAGES = {
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
_ALLOWED = {*_REDUCE, *STORAGES, "numpy ndarray"}


def _global(name: str) -> Global:
    if name not in _ALLOWED:
        _refused(name.replace(" ", "."))
    return Global(name)


def _reduce(function: Any, args: Any) -> Any:
    if not isinstance(function, Global) or function.name not in _REDUCE:
        _refused(f"a call of {_name(function)}")
    if not isinstance(args, tuple):
        raise malformed("a call without arguments")
    return _REDUCE[function.name](args)


def _build(thing: Any, state: Any) -> None:
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
        numbers = np.frombuffer(_raw(data), dtype.value)
        thing.value = numbers.reshape(shape, order="F" if fortran else "C")
        return
    _refused(f"the state of {_name(thing)}")


def _persistent(pid: Any) -> Storage:
    if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
        _refused(
            f"the persistent object {_name(pid[0] if isinstance(pid, tuple) and pid else pid)}"
        )
    _, kind, key, _, numel, *view = pid
    if not isinstance(kind, Global) or kind.name not in STORAGES:
        _refused(f"a storage of {_name(kind)}")
    if any(part is not None for part in view):
        raise malformed("a view of a storage as torch 0.1 wrote it")
    if not isinstance(key, str) or type(numel) is not int or numel < 0:
        raise malformed("a storage without a name or size")
    return Storage(key, STORAGES[kind.name], numel)


# ---- the machine ----

_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_pickle(stream: Readable, storages: dict[str, Storage] | None = None) -> Any:
    """The object in a pickle of protocol 2 to 5, with `Tensor` and `Array` for tensors and arrays.

    Args:
        stream: binary, with `read` and `readline`; is left behind the pickle's end.
        storages: is filled with every torch storage that the pickle names, by its key.

    Raises:
        WeightsError: the pickle names something off the allow-list, uses an opcode that tensors
            do not need, or is damaged.
    """
    try:
        return _run(stream, {} if storages is None else storages)
    except WeightsError:
        raise
    except _MALFORMED as error:
        raise malformed(f"no pickle of tensors ({error})") from error


def _run(stream: Readable, storages: dict[str, Storage]) -> Any:
    stack: list[Any] = []
    marked: list[list[Any]] = []  # the stacks below each MARK
    memo: dict[int, Any] = {}
    argument: Any
    for opcode, argument, _ in pickletools.genops(cast("IO[bytes]", stream)):
        name = opcode.name
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            n = _TUPLES[name]
            if len(stack) < n:
                raise malformed("a tuple of too few items")
            stack[-n:] = [tuple(stack[-n:])]
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "MARK":
            marked.append(stack)
            stack = []
        elif name in ("TUPLE", "APPENDS", "SETITEMS"):
            items, stack = stack, marked.pop()
            if name == "TUPLE":
                stack.append(tuple(items))
            elif name == "APPENDS":
                _container(stack, list).extend(items)
            else:
                _set_items(_container(stack, dict), items)
        elif name == "APPEND":
            item = stack.pop()
            _container(stack, list).append(item)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _set_items(_container(stack, dict), [key, value])
        elif name == "GLOBAL":
            stack.append(_global(argument))
        elif name == "INST":
            _refused(argument.replace(" ", "."))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_global(f"{_name(module)} {_name(attribute)}"))
        elif name == "REDUCE":
            args, function = stack.pop(), stack.pop()
            stack.append(_reduce(function, args))
        elif name == "BUILD":
            state = stack.pop()
            _build(stack[-1], state)
        elif name == "BINPERSID":
            storage = _persistent(stack.pop())
            if storages.setdefault(storage.key, storage) != storage:
                raise malformed(f"two storages named {storage.key!r}")
            stack.append(storage)
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            _refused(f"the pickle instruction {name}")
    raise malformed("a pickle without an end")


def _container(stack: list[Any], kind: type) -> Any:
    if not isinstance(stack[-1], kind):
        raise malformed(f"items for a {kind.__name__} that is none")
    return stack[-1]


def _set_items(target: dict[Any, Any], items: list[Any]) -> None:
    if len(items) % 2 or not all(isinstance(key, str | int) for key in items[::2]):
        raise malformed("a dictionary whose keys are not names")
    target.update(zip(items[::2], items[1::2], strict=True))
