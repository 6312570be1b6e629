"""One contract for all methods and one for all evaluators, a third party's too.

from interpretdl.testing import check_interpreter

def test_mine():
    check_interpreter(MyInterpreter, options={"n_samples": 4})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from ..errors import InputError
from ..evaluator import Evaluator
from ..interpreter import Interpreter
from ..preprocessing import IMAGENET
from ..registry import EVALUATORS, METHODS, EvaluatorInfo, MethodInfo
from .case import Array, Bench, EvaluatorCase, MethodCase
from .checks import CHECKS
from .evaluator_checks import EVALUATOR_CHECKS
from .samples import pictures, small_network, small_transformer
from .state import differences, state_of
from .texts import WordTokenizer, small_text_transformer

__all__ = [
    "CHECKS",
    "EVALUATOR_CHECKS",
    "WordTokenizer",
    "check_evaluator",
    "check_interpreter",
    "differences",
    "small_network",
    "small_text_transformer",
    "small_transformer",
    "state_of",
]

_Case = TypeVar("_Case", bound=Bench)


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
            is used as it is and left so. None takes `small_network()`, or
            `small_transformer()` for methods that need attention.
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
    info = METHODS.find(method) if isinstance(method, str) else getattr(method, "info", None)
    if not isinstance(info, MethodInfo):
        raise InputError(f"{method!r} is not registered; decorate it with @register(...)")
    model, x, small = _bench(info, model, x, options)
    setup = info.setup(model, x) if info.setup else {}
    _run(info.name, CHECKS, checks, lambda: MethodCase(model, x.copy(), small, setup, info=info))


def check_evaluator(
    evaluator: str | type[Evaluator],
    model: Any = None,
    x: Array | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    checks: Sequence[str] | None = None,
) -> None:
    """Hold a registered evaluator to the contract that every evaluator of interpretdl keeps.

    It is given the gradients of three images, with masks and boxes.

    Args:
        evaluator: a name in the registry, or a class with `@register_evaluator(...)`.
        model, x: see `check_interpreter`.
        options: given to every object's constructor, likewise.
        checks: names in EVALUATOR_CHECKS; None runs all.

    Raises:
        AssertionError: the contract is broken; the message says which check, and how.
        InputError: an evaluator or a check that there is not; x of another shape.
        InterpretError: the evaluator refuses the model or the images; take others.
    """
    info = (
        EVALUATORS.find(evaluator)
        if isinstance(evaluator, str)
        else getattr(evaluator, "info", None)
    )
    if not isinstance(info, EvaluatorInfo):
        raise InputError(
            f"{evaluator!r} is not registered; decorate it with @register_evaluator(...)"
        )
    model, x, small = _bench(info, model, x, options)
    _run(
        info.name, EVALUATOR_CHECKS, checks,
        lambda: EvaluatorCase(model, x.copy(), small, info=info),
    )  # fmt: skip


def _bench(
    info: MethodInfo | EvaluatorInfo, model: Any, x: Array | None, options: Any
) -> tuple[Any, Array, dict[str, Any]]:
    """The model, the images, and the options that there are."""
    if model is None:
        attends = getattr(info, "needs_attention", False)
        model = small_transformer() if attends else small_network()
    if x is None:
        x = pictures(getattr(model, "preprocessing", None) or IMAGENET)
    if x.ndim != 4 or len(x) != 3 or x.dtype != np.float32:
        raise InputError(f"x must be float32 [3, C, H, W]; got {x.dtype} {list(x.shape)}")
    return model, x, {k: v for k, v in (options or {}).items() if k in info.options}


def _run(
    name: str,
    table: Mapping[str, Callable[[_Case], None]],
    wanted: Sequence[str] | None,
    case: Callable[[], _Case],
) -> None:
    unknown = [check for check in wanted or () if check not in table]
    if unknown:
        raise InputError(f"no check {unknown[0]!r}; there are {', '.join(table)}")
    for check in wanted or table:
        try:
            table[check](case())
        except AssertionError as error:
            raise AssertionError(f"{name}, {check}: {error}") from error
