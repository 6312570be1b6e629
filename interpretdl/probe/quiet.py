"""What Paddle's C++ code prints while a model is traced, kept away.

File descriptors 1 and 2 stay as they are: they belong to all threads, and to programs that they
start. C++'s own stream and the level of its log are set aside; errors are raised as ever. Where
they are not found, as on Windows, the lines are seen.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Callable, Iterator
from typing import Any

import paddle

__all__ = ["quiet_paddle"]

_ERRORS_ONLY = 2  # of glog's levels
_GOOD, _BAD = 0, 1  # states of a stream; a bad one writes nothing
_TO_IOS = 3 * ctypes.sizeof(ctypes.c_void_p)  # where an object's table says how far its base is


@contextlib.contextmanager
def quiet_paddle() -> Iterator[None]:
    """No lines of Paddle's compiler and of oneDNN on standard output and standard error."""
    level, set_cout = _level_of_glog(), _set_cout()
    before = 0 if level is None else level.value
    try:
        set_cout(_BAD)
        if level is not None:
            level.value = max(before, _ERRORS_ONLY)
        yield
    finally:
        if level is not None:
            level.value = before
        set_cout(_GOOD)


@functools.cache
def _level_of_glog() -> Any:
    """The variable that says which of its lines glog writes; None where it is not found."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        library = ctypes.CDLL(paddle.base.libpaddle.__file__)
        return ctypes.c_int.in_dll(library, "_ZN3fLI17FLAGS_minloglevelE")
    return None


@functools.cache
def _set_cout() -> Callable[[int], object]:
    """Sets the state of C++'s standard output; does nothing where that is not found."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        library = ctypes.CDLL("libstdc++.so.6")
        cout = ctypes.addressof(ctypes.c_char.in_dll(library, "_ZSt4cout"))
        table = ctypes.c_void_p.from_address(cout).value or 0
        ios = cout + ctypes.c_ssize_t.from_address(table - _TO_IOS).value
        clear = library["_ZNSt9basic_iosIcSt11char_traitsIcEE5clearESt12_Ios_Iostate"]
        clear.argtypes, clear.restype = [ctypes.c_void_p, ctypes.c_int], None
        return functools.partial(clear, ios)
    return lambda state: None
