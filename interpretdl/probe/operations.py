"""Operations of a model, met where they are called: layers, functions and fused ones alike.

Paddle's functions look an operation up in `paddle._C_ops` when they run, but some modules keep the
bare operation under a name of their own (`paddle.tensor.linalg.matmul`, which attention uses), and
the operators `@`, `*`, `/` and `+` of a tensor go past both. All of these places are changed
together.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import paddle

from .depthwise import depthwise_conv2d

__all__ = ["Wrap", "cured", "intercepted"]

Operation: TypeAlias = Callable[..., Any]
Wrap: TypeAlias = Callable[[Operation], Operation]
"""From an operation to what is called in its place, with the same arguments."""

_OPERATORS = {
    "add": ("__add__", "__radd__"),
    "matmul": ("__matmul__",),
    "multiply": ("__mul__", "__rmul__"),
    "divide": ("__truediv__",),
}
# Activations that are fused into a layer (BatchNorm(act="relu")) come from the second.
_TABLES = (paddle._C_ops, paddle._legacy_C_ops)
_places: dict[str, dict[tuple[int, str], tuple[Any, str]]] = {}
_seen = {"modules": 0}  # loaded when operations were last looked for


@contextlib.contextmanager
def intercepted(wraps: Mapping[str, Wrap]) -> Iterator[None]:
    """Run operations through wrappers while the context lasts, for this thread only.

    Args:
        wraps: name of an operation in `paddle._C_ops`, such as "relu" or "matmul" -> what makes
            its replacement from it. Operators of tensors count: `x * y` is met as "multiply", and
            so is `x * 2`, whose second argument is no tensor. Contexts may be nested; the inner
            one's wrapper is called first.
    """
    thread, active = threading.get_ident(), [True]
    undo: list[Callable[[], None]] = []

    def here(original: Operation, replacement: Operation) -> Operation:
        @functools.wraps(original)
        def run(*args: Any, **kwargs: Any) -> Any:
            mine = active[0] and threading.get_ident() == thread and paddle.in_dynamic_mode()
            return (replacement if mine else original)(*args, **kwargs)

        return run

    try:
        for name, wrap in wraps.items():
            made: dict[Operation, Operation] = {}
            for holder, attribute in _places_of(name):
                original = getattr(holder, attribute)
                if original not in made:
                    made[original] = here(original, wrap(original))
                undo.append(functools.partial(setattr, holder, attribute, original))
                setattr(holder, attribute, made[original])
        yield
    finally:
        active[0] = False  # a module that was loaded meanwhile may hold a replacement
        for restore in reversed(undo):
            restore()


def _places_of(name: str) -> list[tuple[Any, str]]:
    """Where the operation is held: modules of Paddle and the tensor's operators."""
    if (loaded := len(sys.modules)) != _seen["modules"]:
        _look()
        _seen["modules"] = loaded
    return list(_places.get(name, {}).values())


def _look() -> None:
    """Note where every operation is held, all at once: one after the other takes a second."""
    names = {id(op): name for t in _TABLES for name, op in list(vars(t).items()) if callable(op)}
    modules = [m for key, m in list(sys.modules.items()) if key.partition(".")[0] == "paddle"]
    for module in (*_TABLES, *filter(None, modules)):
        for attribute, value in list(vars(module).items()):
            if (name := names.get(id(value))) is not None:
                _places.setdefault(name, {})[id(module), attribute] = (module, attribute)
    for name, operators in _OPERATORS.items():
        for operator in operators:
            _places.setdefault(name, {})[id(paddle.Tensor), operator] = (paddle.Tensor, operator)


def cured(*names: str) -> contextlib.AbstractContextManager[None]:
    """Compute rightly, in runs with gradients, what Paddle's backward pass computes wrongly.

    Args:
        names: the operations to cure; none are all.
    """
    return intercepted({name: _CURES[name] for name in names or _CURES})


def quickened() -> contextlib.AbstractContextManager[None]:
    """Compute quickly, in runs with gradients, what Paddle's backward pass computes slowly.

    What runs then is other operations, which who looks at the graph would not know.
    """
    return intercepted(_QUICK)


def _layer_norm(original: Operation) -> Operation:
    """Paddle's backward on the CPU forgets the weight when the weight's own gradient is not asked
    for: scale and shift are done outside of it.
    """

    def run(x: Any, weight: Any, bias: Any, epsilon: float, axis: int, *rest: Any) -> Any:
        if weight is None or not x.place.is_cpu_place():
            return original(x, weight, bias, epsilon, axis, *rest)
        shape = x.shape[axis:]
        y = original(x, None, None, epsilon, axis, *rest) * weight.reshape(shape).astype(x.dtype)
        return y if bias is None else y + bias.reshape(shape).astype(x.dtype)

    return run


def _group_norm(original: Operation) -> Operation:
    """Paddle's backward on the CPU is wrong without a weight: ones are given for it."""

    def run(
        x: Any, weight: Any, bias: Any, epsilon: float, groups: int, layout: str, *rest: Any
    ) -> Any:
        if weight is None and x.place.is_cpu_place():
            weight = paddle.ones([x.shape[1 if layout == "NCHW" else -1]], x.dtype)
        return original(x, weight, bias, epsilon, groups, layout, *rest)

    return run


def _batch_norm(original: Operation) -> Operation:
    """In eval mode Paddle's backward takes the batch's own statistics, which a batch-norm with
    `use_global_stats=False` uses there too, for constants: it is run as in train mode.
    """

    def run(*args: Any) -> Any:
        (*before, is_test), (*between, own) = args[:6], args[6:11]
        return original(*before, is_test and not own, *between, own, *args[11:])

    return run


def _rnn(original: Operation) -> Operation:
    """Paddle's backward of LSTM, GRU and simple RNN fails in eval mode, and where the weights' own
    gradients are not asked for: it is run as in train mode without dropout, with weights that
    depend on the input, if only by 0 times it.
    """

    def run(x: Any, states: Any, weights: Any, lengths: Any, kept: Any, *rest: Any) -> Any:
        source = next((t for t in (x, *states) if not t.stop_gradient), None)
        if source is None or not paddle.is_grad_enabled():
            return original(x, states, weights, lengths, kept, *rest)
        nothing = source.flatten()[:1] * 0
        weights = [weight + nothing for weight in weights]
        dropout, *shape, is_test = rest
        return original(
            x, states, weights, lengths, kept, 0.0 if is_test else dropout, *shape, False
        )

    return run


_swish = paddle._C_ops.swish  # as it is, and not what rules have put in its place


def _silu(original: Operation) -> Operation:
    """Paddle's backward on the CPU gives NaN where x is below -88, in float32; that of swish, which
    is the same function, does not.
    """

    def run(x: Any, *rest: Any, **named: Any) -> Any:
        return _swish(x) if x.place.is_cpu_place() else original(x, *rest, **named)

    return run


def _grid_sample(original: Operation) -> Operation:
    """Paddle's backward on the CPU ends the process where the gradient of the places is asked for
    and not that of the values: these depend on the places, if only by 0 times them.
    """

    def run(x: Any, grid: Any, *rest: Any, **named: Any) -> Any:
        if not grid.stop_gradient and paddle.is_grad_enabled() and x.place.is_cpu_place():
            x = x + grid.flatten()[:1] * 0
        return original(x, grid, *rest, **named)

    return run


_QUICK: dict[str, Wrap] = {"depthwise_conv2d": depthwise_conv2d}
_CURES: dict[str, Wrap] = {
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "batch_norm": _batch_norm,
    "rnn": _rnn,
    "silu": _silu,
    "grid_sample": _grid_sample,
}
