"""Reads a pickle of tensors without Python's unpickler: nothing that a file names is imported.

Opcodes and their arguments are read as `pickletools` knows them. What globals stand for is in
`values`; every opcode that tensors do not need is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import IO, Any, Protocol, cast

from ..errors import WeightsError
from .files import brief
from .values import (
    Storage,
    build,
    find_global,
    malformed,
    persistent,
    quoted_name,
    reduce,
    refuse,
    set_items,
)

__all__ = ["MALFORMED", "Budget", "read_pickle"]

# what damaged files lead to
MALFORMED = (
    *(ValueError, TypeError, IndexError, KeyError, OverflowError, AttributeError),
    RecursionError,
)


class Readable(Protocol):
    """A file, a file in memory, or a map of a file into memory."""

    def read(self, n: int = ..., /) -> bytes: ...

    def readline(self) -> bytes: ...


class Budget:
    """How many steps the pickles of one file may take: in each, memory of about 100 bytes.

    An instruction is one step, and so is each item, or 64 bytes, of what a call copies: a pickle
    can name one long tuple many times, and have it copied each time. The largest real checkpoints
    have some hundred thousand instructions.

    Args:
        size: bytes of the file.
    """

    FREE = 1_000_000
    BYTES_PER_STEP = 16

    def __init__(self, size: int) -> None:
        self.size = size
        self.left = self.FREE + size // self.BYTES_PER_STEP

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise WeightsError(
                f"a file of {self.size} bytes that asks for far more work and memory than weights "
                "of this size: it is damaged or made up; get it again, or save a plain "
                "dictionary of tensors"
            )


def _work(args: Any) -> int:
    """The steps of a call or a state with these arguments, which may each be copied once."""
    if not isinstance(args, tuple):
        return 0
    return sum(
        len(arg) // 64 if isinstance(arg, str | bytes | bytearray) else len(arg)
        for arg in args[:5]
        if isinstance(arg, str | bytes | bytearray | tuple | list | dict)
    )


_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_KNOWN = {
    *(*_LITERALS, *_CONSTANTS, *_EMPTY, *_TUPLES, "PROTO", "FRAME", "MARK", "STOP"),
    *("BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"),
    *("TUPLE", "APPEND", "APPENDS", "SETITEM", "SETITEMS"),
    *("GLOBAL", "INST", "STACK_GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
}


def read_pickle(
    stream: Readable,
    budget: Budget,
    storages: dict[str, Storage] | None = None,
    *,
    objects: bool = False,
) -> Any:
    """The object in a pickle of protocol 2 to 5, with `Tensor` and `Array` for tensors and arrays.

    Args:
        stream: binary, with `read` and `readline`; is left behind the pickle's end.
        budget: of the file; what the pickle takes is taken from it.
        storages: is filled with every torch storage that the pickle names, by its key.
        objects: whether arrays may hold what else a pickle may hold, beside numbers.

    Raises:
        WeightsError: the pickle names something off the allow-list, uses an opcode that tensors
            do not need, asks for more than its budget, or is damaged.
    """
    try:
        return _run(stream, budget, {} if storages is None else storages, objects)
    except WeightsError:
        raise
    except MALFORMED as error:
        raise malformed(f"no pickle of tensors ({brief(str(error))})") from error


def _next(stream: Readable) -> tuple[str, Any]:
    """The name of an instruction and its argument; an argument of another is not looked at."""
    code = stream.read(1)
    opcode = _OPCODES.get(code.decode("latin-1"))
    if opcode is None:
        raise malformed(f"the byte {code!r} as an instruction" if code else "no end of a pickle")
    if opcode.name not in _KNOWN:
        refuse(f"the pickle instruction {opcode.name}")
    if opcode.name in ("GLOBAL", "INST"):  # two lines; `pickletools` would undo escapes in them
        return opcode.name, f"{_line(stream)} {_line(stream)}"
    return opcode.name, opcode.arg and opcode.arg.reader(cast("IO[bytes]", stream))


def _line(stream: Readable) -> str:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise malformed("a name without an end")
    return line[:-1].decode("ascii", "backslashreplace")


def _run(stream: Readable, budget: Budget, storages: dict[str, Storage], objects: bool) -> Any:
    stack: list[Any] = []
    marked: list[list[Any]] = []  # the stacks below each MARK
    memo: dict[int, Any] = {}
    while True:
        name, argument = _next(stream)
        budget.spend(1)
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
            if argument not in memo:
                raise malformed("a reference to what was not noted")
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
                set_items(_container(stack, dict), items)
        elif name == "APPEND":
            item = stack.pop()
            _container(stack, list).append(item)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            set_items(_container(stack, dict), [key, value])
        elif name == "GLOBAL":
            stack.append(find_global(argument))
        elif name == "INST":
            refuse(argument.replace(" ", "."))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(find_global(f"{quoted_name(module)} {quoted_name(attribute)}"))
        elif name == "REDUCE":
            args, function = stack.pop(), stack.pop()
            budget.spend(_work(args))
            stack.append(reduce(function, args, objects))
        elif name == "BUILD":
            state = stack.pop()
            budget.spend(_work(state))
            build(stack[-1], state)
        elif name == "BINPERSID":
            storage = persistent(stack.pop())
            if storages.setdefault(storage.key, storage) != storage:
                raise malformed(f"two storages named {brief(repr(storage.key), 80)}")
            stack.append(storage)
        elif name == "STOP":
            return stack.pop()


def _container(stack: list[Any], kind: type) -> Any:
    if not isinstance(stack[-1], kind):
        raise malformed(f"items for a {kind.__name__} that is none")
    return stack[-1]
