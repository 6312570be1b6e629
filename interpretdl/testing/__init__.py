"""One contract for all methods: `check_interpreter` holds a class to it, a third party's too.

from interpretdl.testing import check_interpreter

def test_mine():
    check_interpreter(MyInterpreter, options={"n_samples": 4})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import registry
from ..errors import InputError
from ..interpreter import Interpreter
from ..preprocessing import IMAGENET
from ..registry import MethodInfo
from .case import Array, Case
from .checks import CHECKS
from .samples import pictures, small_network
from .state import differences, state_of

__all__ = ["CHECKS", "check_interpreter", "differences", "small_network", "state_of"]


def check_interpreter(
    method: str | type[Interpreter],
    model: Any = None,
    x: Array | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    checks: Sequence[str] | None = None,
) -> None:
    """Hold a registered method to the contract that every method of interpretdl keeps.

    Args:
        method: a name in the registry, or a class with `@register(...)`.
        model: paddle.nn.Layer that classifies, [N, K] with K of 3 or more, each image by itself; it
            is used as it is and left so. None takes `small_network()`.
        x: float32 [3, C, H, W], three different images; None makes some of 16 x 16 pixels (for the
            model's channels, as its `preprocessing` has them).
        options: given in every call, to make slow methods quick: those that the method has count,
            the others are passed over, so one table serves many methods.
        checks: names in CHECKS; None runs all.

    Raises:
        AssertionError: the contract is broken; the message says which check, and how.
        InputError: a method or a check that there is not; x of another shape.
        InterpretError: the method refuses the model or the images; take others.
    """
    info = registry.find(method) if isinstance(method, str) else getattr(method, "info", None)
    if not isinstance(info, MethodInfo):
        raise InputError(f"{method!r} is not registered; decorate it with @register(...)")
    unknown = [name for name in checks or () if name not in CHECKS]
    if unknown:
        raise InputError(f"no check {unknown[0]!r}; there are {', '.join(CHECKS)}")
    model = small_network() if model is None else model
    if x is None:
        x = pictures(getattr(model, "preprocessing", None) or IMAGENET)
    if x.ndim != 4 or len(x) != 3 or x.dtype != np.float32:
        raise InputError(f"x must be float32 [3, C, H, W]; got {x.dtype} {list(x.shape)}")
    small = {name: value for name, value in (options or {}).items() if name in info.options}
    setup = info.setup(model, x) if info.setup else {}
    for name in checks or CHECKS:
        try:
            CHECKS[name](Case(info, model, x.copy(), small, setup))
        except AssertionError as error:
            raise AssertionError(f"{info.name}, {name}: {error}") from error
