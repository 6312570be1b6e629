"""What each operation of a program computes, in one table.

Functions look `paddle.…` up when they run, so that they are met as those of any other model are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import paddle
import paddle.nn.functional as F

__all__ = ["OPERATIONS", "SIZES", "TAKE_SIZES", "Function", "dtype_of"]

Tensor: TypeAlias = "paddle.Tensor"
Attributes: TypeAlias = Mapping[str, Any]
_HALF = {paddle.float16: paddle.float32, paddle.bfloat16: paddle.float32}


@dataclass(frozen=True)
class Function:
    """What an operation computes.

    Attributes:
        call: from the attributes and the inputs, None for those that are not there, to what the
            operation gives; a sequence where it gives several things.
        plain: inputs that are numbers or lists of numbers where they are known beforehand, such as
            a shape; the others are tensors.
        moves: whether it only moves numbers about.
    """

    call: Callable[..., Any]
    plain: tuple[int, ...] = ()
    moves: bool = False


def dtype_of(dtype: Any) -> Any:
    """A type as it is computed with: half precision in float32."""
    return _HALF.get(dtype, dtype)


def _number(value: Any) -> Any:
    """The number in a list of one."""
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


def _axes(value: Any) -> Any:
    """Axes of a reduction; none are all."""
    return None if value is None or (isinstance(value, list) and not value) else value


def _unary(name: str) -> Function:
    return Function(lambda a, x: getattr(paddle, name)(x))


def _binary(name: str) -> Function:
    return Function(lambda a, x, y: getattr(paddle, name)(x, y))


def _reduction(name: str) -> Function:
    def call(a: Attributes, x: Tensor, axis: Any = None) -> Tensor:
        axis = a.get("axis", []) if axis is None else axis
        whole = None if a.get("reduce_all") else _axes(axis)
        return getattr(paddle, name)(x, axis=whole, keepdim=a.get("keepdim", False))

    return Function(call, plain=(1,))


def _interpolation(name: str) -> Function:
    def call(a: Attributes, x: Tensor, *sizes: Any) -> Tensor:
        numbers = [a[key] for key in ("data_format", "out_d", "out_h", "out_w", "scale")]
        how = [a[key] for key in ("interp_method", "align_corners", "align_mode")]
        return getattr(paddle._C_ops, name)(x, *sizes, *numbers, *how)

    return Function(call)


def _slice(a: Attributes, x: Tensor, starts: Any, ends: Any) -> Tensor:
    return paddle._C_ops.slice(
        x, a["axes"], starts, ends, a["infer_flags"], a.get("decrease_axis", [])
    )


def _set_tensor(
    a: Attributes, x: Tensor, value: Tensor, starts: Any, ends: Any, steps: Any
) -> Tensor:
    axes = (a["axes"], a["decrease_axes"], a["none_axes"])
    return paddle._C_ops.set_value_with_tensor(x, value, starts, ends, steps, *axes)


def _set_numbers(a: Attributes, x: Tensor, starts: Any, ends: Any, steps: Any) -> Tensor:
    value = paddle.to_tensor(a["values"], dtype=x.dtype).reshape(a["shape"])
    return _set_tensor(a, x, value, starts, ends, steps)


def _argument(name: str) -> Function:
    def call(a: Attributes, x: Tensor, axis: Any) -> Tensor:
        where = None if a["flatten"] else _number(axis)
        kind = str(a["dtype"]).rpartition(".")[2].lower()  # by name: Paddle 3.0 takes no other
        return getattr(paddle, name)(x, where, keepdim=a["keepdims"], dtype=kind)

    return Function(call, plain=(1,))


def _rnn(a: Attributes, x: Tensor, states: Any, weights: Any, lengths: Any, kept: Any) -> Any:
    sizes = [a[key] for key in ("is_bidirec", "input_size", "hidden_size", "num_layers", "mode")]
    how = [a["dropout_prob"], *sizes, a["seed"], a["is_test"]]
    return paddle._C_ops.rnn(x, states, weights, lengths, kept, *how)


def _squeezed(a: Attributes, x: Tensor, axis: Any) -> Tensor:
    return paddle.squeeze(x, _axes(axis))


def _windows(a: Attributes, x: Tensor) -> Tensor:
    how = (a["kernel_sizes"], a["strides"], a["paddings"], a["dilations"])
    return paddle._C_ops.unfold(x, *how)


def _like_batch(a: Attributes, x: Tensor) -> Tensor:
    shape = list(a["shape"])
    shape[a["output_dim_idx"]] = x.shape[a["input_dim_idx"]]
    return paddle.full(shape, a["value"], dtype_of(a["dtype"]))


def _expanded(a: Attributes, x: Tensor, y: Tensor | None) -> Tensor:
    return paddle.expand(x, a["target_shape"] if y is None else y.shape)


def _values(a: Attributes, *former: Tensor) -> Tensor:
    return paddle.to_tensor(a["values"], dtype=dtype_of(a["dtype"])).reshape(a["shape"])


def _norm(a: Attributes, x: Tensor) -> Tensor:
    return F.normalize(x, axis=a["axis"], epsilon=a["epsilon"])


def _p_norm(a: Attributes, x: Tensor) -> Tensor:
    axis = None if a["asvector"] else a["axis"]
    return paddle.linalg.norm(x, a["porder"], axis, keepdim=a["keepdim"])


_MOVES = {
    "reshape": Function(lambda a, x, shape: paddle.reshape(x, shape), (1,)),
    "transpose": Function(lambda a, x: paddle.transpose(x, a["perm"])),
    "flatten": Function(lambda a, x: paddle.flatten(x, a["start_axis"], a["stop_axis"])),
    "squeeze": Function(_squeezed, (1,)),
    "unsqueeze": Function(lambda a, x, axis: paddle.unsqueeze(x, axis), (1,)),
    "slice": Function(_slice, (1, 2)),
    "strided_slice": Function(
        lambda a, x, start, end, step: paddle.strided_slice(x, a["axes"], start, end, step),
        (1, 2, 3),
    ),
    "split": Function(lambda a, x, parts, axis: paddle.split(x, parts, _number(axis)), (1, 2)),
    "split_with_num": Function(lambda a, x, axis: paddle.split(x, a["num"], _number(axis)), (1,)),
    "unbind": Function(lambda a, x: paddle.unbind(x, a["axis"])),
    "unstack": Function(lambda a, x: paddle.unstack(x, a["axis"])),
    "expand": Function(lambda a, x, shape: paddle.expand(x, shape), (1,)),
    "expand_as": Function(_expanded),
    "tile": Function(lambda a, x, times: paddle.tile(x, times), (1,)),
    "gather": Function(lambda a, x, index, axis: paddle.gather(x, index, _number(axis)), (2,)),
    "gather_nd": Function(lambda a, x, index: paddle.gather_nd(x, index)),
    "index_select": Function(lambda a, x, index: paddle.index_select(x, index, a["axis"])),
    "take_along_axis": Function(
        lambda a, x, index: paddle.take_along_axis(x, index, a["axis"], broadcast=False)
    ),
    "roll": Function(lambda a, x, shifts: paddle.roll(x, shifts, a["axis"]), (1,)),
    "flip": Function(lambda a, x: paddle.flip(x, a["axis"])),
    "cast": Function(lambda a, x: paddle.cast(x, dtype_of(a["dtype"]))),
    "assign": Function(lambda a, x: paddle.assign(x)),
    "share_data": Function(lambda a, x: x),
    "pad": Function(lambda a, x, value: paddle._C_ops.pad(x, a["paddings"], _number(value)), (1,)),
    "pad3d": Function(
        lambda a, x, pad: paddle._C_ops.pad3d(x, pad, a["mode"], a["pad_value"], a["data_format"]),
        (1,),
    ),
    "unfold": Function(_windows),
    "pixel_shuffle": Function(
        lambda a, x: F.pixel_shuffle(x, a["upscale_factor"], a["data_format"])
    ),
    "pixel_unshuffle": Function(
        lambda a, x: F.pixel_unshuffle(x, a["downscale_factor"], a["data_format"])
    ),
    "channel_shuffle": Function(lambda a, x: F.channel_shuffle(x, a["groups"], a["data_format"])),
    "builtin.combine": Function(lambda a, *parts: list(parts)),
    "builtin.split": Function(lambda a, parts: parts[0] if len(parts) == 1 else parts),
    "builtin.slice": Function(lambda a, parts: parts[a["index"]]),
}
# A shape that is put together of lengths, some of which are known beforehand.
SIZES = Function(lambda a, *lengths: list(lengths))
TAKE_SIZES = frozenset({"reshape", "expand", "full_with_tensor", "tile"})
_UNARY = (
    *("sqrt", "rsqrt", "square", "exp", "log", "log2", "log10", "log1p", "expm1", "abs", "floor"),
    *("ceil", "round", "sin", "cos", "tan", "atan", "erf", "reciprocal", "sign", "logical_not"),
    *("isnan", "isinf", "isfinite", "bitwise_not", "numel"),
)
_BINARY = (
    *("add", "subtract", "multiply", "divide", "maximum", "minimum", "fmax", "fmin"),
    *("floor_divide", "remainder", "equal", "not_equal", "less_than", "less_equal", "bmm", "mv"),
    *("greater_than", "greater_equal", "logical_and", "logical_or", "logical_xor", "dot"),
    *("bitwise_and", "bitwise_or", "atan2"),
)
OPERATIONS: dict[str, Function] = {
    **{name: Function(each.call, each.plain, moves=True) for name, each in _MOVES.items()},
    **{name: _unary(name) for name in _UNARY},
    **{name: _binary(name) for name in _BINARY},
    **{name: _reduction(name) for name in ("mean", "sum", "max", "min", "prod", "any", "all")},
    **{name: _reduction(name) for name in ("amax", "amin", "logsumexp")},
    **{
        f"{kind}_interp": _interpolation(f"{kind}_interp")
        for kind in ("bilinear", "nearest", "bicubic", "linear", "trilinear")
    },
    "argmax": _argument("argmax"),
    "argmin": _argument("argmin"),
    "elementwise_pow": _binary("pow"),
    "pow": Function(lambda a, x: paddle.pow(x, a["y"])),
    "hardsigmoid": Function(lambda a, x: F.hardsigmoid(x, a["slope"], a["offset"])),
    "scale": Function(
        lambda a, x, by: paddle.scale(x, _number(by), a["bias"], a["bias_after_scale"]), (1,)
    ),
    "clip": Function(lambda a, x, low, high: paddle.clip(x, _number(low), _number(high)), (1, 2)),
    "matmul": Function(
        lambda a, x, y: paddle.matmul(x, y, a["transpose_x"], a["transpose_y"])
    ),
    "addmm": Function(lambda a, c, x, y: paddle.addmm(c, x, y, a["beta"], a["alpha"])),
    "einsum": Function(lambda a, parts: paddle.einsum(a["equation"], *parts)),
    "concat": Function(lambda a, parts, axis: paddle.concat(parts, _number(axis)), (1,)),
    "stack": Function(lambda a, parts: paddle.stack(parts, a["axis"])),
    "add_n": Function(lambda a, parts: paddle.add_n(parts)),
    "meshgrid": Function(lambda a, parts: paddle.meshgrid(*parts)),
    "where": Function(lambda a, condition, x, y: paddle.where(condition, x, y)),
    "cumsum": Function(lambda a, x, axis: paddle.cumsum(x, _number(axis)), (1,)),
    "topk": Function(
        lambda a, x, k: paddle.topk(x, _number(k), a["axis"], a["largest"], a["sorted"]), (1,)
    ),
    "one_hot": Function(lambda a, x, classes: F.one_hot(x, _number(classes)), (1,)),
    "tril": Function(lambda a, x: paddle.tril(x, a["diagonal"])),
    "triu": Function(lambda a, x: paddle.triu(x, a["diagonal"])),
    "norm": Function(_norm),
    "p_norm": Function(_p_norm),
    "grid_sample": Function(
        lambda a, x, grid: F.grid_sample(
            x, grid, a["mode"], a["padding_mode"], a["align_corners"]
        )
    ),
    "set_value_with_tensor": Function(_set_tensor, (2, 3, 4)),
    "set_value": Function(_set_numbers, (1, 2, 3)),
    "rnn": Function(_rnn),
    # Numbers that depend on the input's shape only, or on nothing.
    "shape": Function(lambda a, x: paddle.shape(x).astype("int32")),
    "shape64": Function(lambda a, x: paddle.shape(x).astype("int64")),
    "full": Function(lambda a: paddle.full(a["shape"], a["value"], dtype_of(a["dtype"]))),
    "full_int_array": Function(lambda a: paddle.to_tensor(a["value"], dtype=a["dtype"])),
    "full_like": Function(
        lambda a, x, value: paddle.full_like(x, _number(value), dtype_of(a["dtype"])), (1,)
    ),
    "full_with_tensor": Function(
        lambda a, value, shape: paddle.full(shape, _number(value), dtype_of(a["dtype"])), (0, 1)
    ),
    "full_batch_size_like": Function(_like_batch),
    "assign_value": Function(_values),
    "arange": Function(
        lambda a, start, end, step: paddle.arange(
            _number(start), _number(end), _number(step), dtype_of(a["dtype"])
        ),
        (0, 1, 2),
    ),
    "linspace": Function(
        lambda a, start, end, count: paddle.linspace(
            _number(start), _number(end), _number(count), dtype_of(a["dtype"])
        ),
        (0, 1, 2),
    ),
}  # fmt: skip
