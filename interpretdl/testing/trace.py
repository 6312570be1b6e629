"""That a call leaves no trace on the model, the input and the global state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle

from .case import Array, Bench, need, need_same
from .state import differences, in_use, state_of

__all__ = ["need_no_trace", "need_no_trace_after"]


class _Stop(Exception):
    """What the checks raise in a layer."""


STOPS: tuple[type[BaseException], ...] = (_Stop, KeyboardInterrupt)


def need_no_trace(bench: Bench, values: Callable[[], Array]) -> None:
    """Model, input and the global state are what they were; also for a model in use."""
    given = bench.x.copy()
    expected = values()
    with in_use(bench.model):
        before = state_of(bench.model)
        found = values()
        changed = differences(before, state_of(bench.model))
    need(not changed, f"not as before: {changed}")
    need(np.array_equal(given, bench.x), "the input was changed")
    need_same(found, expected, "a model in train mode against eval mode")
    with paddle.no_grad():
        need_same(values(), expected, "inside paddle.no_grad()")


def need_no_trace_after(
    stop: type[BaseException], bench: Bench, make: Callable[[], Callable[[], Array]]
) -> None:
    """The same when a layer raises an error, or on Ctrl-C in the middle of a forward pass.

    Args:
        make: gives the call that is checked, of a fresh object.
    """
    make()()  # a first call may look at the model in runs of its own
    with bench.runs() as rows:
        expected = make()()
    for at in sorted({1, len(rows) // 2 + 1, len(rows)} if rows else ()):

        def hook(run: int, at: int = at) -> None:
            if run == at:
                raise stop(f"in run {at}")

        given, values = bench.x.copy(), make()
        with in_use(bench.model), bench.runs(hook):
            before = state_of(bench.model)
            _need_stop(stop, values, at)
            changed = differences(before, state_of(bench.model))
        need(not changed, f"after {stop.__name__} in run {at}, not as before: {changed}")
        need(np.array_equal(given, bench.x), "the input was changed")
        need_same(values(), expected, f"the call after {stop.__name__}")


def _need_stop(stop: type[BaseException], values: Callable[[], Any], at: int) -> None:
    try:
        values()
    except stop:
        return
    raise AssertionError(f"{stop.__name__} of a layer, run {at}, was swallowed")
