"""A traced forward pass, and the backward pass through it, rewritten for oneDNN.

Paddle's backward operations for oneDNN compute the weights' gradients too, and end the process
where nobody wants those. So the input's gradient is written in forward operations: that of a
convolution is a convolution with the kernel flipped, or a transposed one; that of a dense layer is
a product; batch-norm is part of the convolution before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle.pir.core import create_parameter

__all__ = ["RESHAPES", "Rewriter", "short"]

ops = paddle._C_ops
RESHAPES = ("flatten", "reshape", "squeeze", "unsqueeze")
_DISORDERLY = frozenset(("transpose_grad", "mean_grad"))
"""Whose results may be in another order than a convolution's."""


class Rewriter:
    """Changes a program whose parameters are in a scope; inside `program_guard` of it.

    Args:
        program: loaded, with one output that is fetched.
        scope: its parameters; new ones are added.
    """

    def __init__(self, program: Any, scope: Any) -> None:
        self._program, self._scope, self._names = program, scope, itertools.count()

    def forward(self) -> tuple[Any, Any]:
        """Batch-norm and drop-out away; the input and the output, which depends on it."""
        output = self._simplified()
        x = next(self._values("data"))
        x.stop_gradient = False
        _mark(self._program)
        return x, output

    def backward(self) -> None:
        """The backward operations in others."""
        rewrites = {
            "conv2d_grad": self._conv2d_grad,
            "depthwise_conv2d_grad": self._conv2d_grad,
            "matmul_grad": self._matmul_grad,
            "add_grad": self._add_grad,
            "multiply_grad": self._multiply_grad,
            "pool2d_grad": self._pool2d_grad,
            **{f"{name}_grad": self._reshape_grad for name in RESHAPES},
        }
        for operation in list(self._block.ops):
            if (rewrite := rewrites.get(short(operation))) is not None:
                rewrite(operation)
        for operation in list(self._block.ops):
            self._order(operation)

    @property
    def _block(self) -> Any:
        return self._program.global_block()

    def _operations(self, name: str) -> list[Any]:
        return [operation for operation in self._block.ops if short(operation) == name]

    def _values(self, name: str) -> Iterator[Any]:
        return (operation.results()[0] for operation in self._operations(name))

    def _number(self, value: Any) -> NDArray[np.float32]:
        """A parameter's values."""
        name = value.get_defining_op().attrs()["parameter_name"]
        return np.array(self._scope.find_var(name).get_tensor())

    def _parameter(self, value: NDArray[Any]) -> Any:
        """A new parameter with these values."""
        name = f"interpretdl_{next(self._names)}"
        start = paddle.nn.initializer.Constant(0.0)
        result = create_parameter(
            "float32", list(value.shape), name, initializer=start, trainable=False
        )
        tensor = self._scope.var(name).get_tensor()
        tensor.set(np.ascontiguousarray(value, np.float32), paddle.CPUPlace())
        return result

    def _exchange(self, operation: Any, new: Any) -> None:
        operation.results()[0].replace_all_uses_with(new)
        self._block.remove_op(operation)

    def _simplified(self) -> Any:
        """Batch-norm and drop-out away; the logits."""
        (fetch,) = self._operations("fetch")
        kept = fetch.operand_source(0)
        self._block.remove_op(fetch)
        if kept.get_defining_op().name() == "pd_op.data":
            raise ValueError("the output is an input")
        marker = ops.scale(kept, 1.0, 0.0, True)  # what it reads may be exchanged below
        for operation in self._operations("dropout"):
            x, attributes = operation.operand_source(0), operation.attrs()
            if attributes.get("mode") != "upscale_in_train":
                kept = 1 - operation.operand_source(2).get_defining_op().attrs()["value"]
                paddle.pir.set_insertion_point(operation)
                x = ops.scale(x, kept, 0.0, True)
            self._exchange(operation, x)
        for operation in (*self._operations("batch_norm_"), *self._operations("batch_norm")):
            self._fold(operation)
        paddle.pir.set_insertion_point_to_block_end(self._block)
        logits = marker.get_defining_op().operand_source(0)
        self._block.remove_op(marker.get_defining_op())
        return logits

    def _fold(self, norm: Any) -> None:
        """Batch-norm into the convolution before it, or as a factor and a summand."""
        x, *parameters = [norm.operand_source(i) for i in range(5)]
        mean, variance, weight, bias = map(self._number, parameters)
        scale = weight / np.sqrt(variance + norm.attrs()["epsilon"])
        shift, maker = bias - mean * scale, x.get_defining_op()
        shape = [1, -1] + [1] * (len(x.shape) - 2)
        if norm.attrs()["data_format"] not in ("NCHW", "NCDHW", "NCL", "NC"):
            raise NotImplementedError("batch-norm with the channels last")
        foldable = short(maker) in ("conv2d", "depthwise_conv2d") and x.has_one_use()
        added = self._parameter(shift.reshape(shape))
        if foldable:
            kernel = self._number(maker.operand_source(1))
            folded = self._parameter(kernel * scale[:, None, None, None])
        else:
            factor = self._parameter(scale.reshape(shape))
        if foldable:
            paddle.pir.set_insertion_point(maker)
            result = _convolution(maker, maker.operand_source(0), folded)
            paddle.pir.set_insertion_point(norm)
            self._exchange(norm, ops.add(result, added))
            self._block.remove_op(maker)
        else:
            paddle.pir.set_insertion_point(norm)
            self._exchange(norm, ops.add(ops.multiply(x, factor), added))

    # -- operations of the backward pass, in others ------------------------------------------------

    def _conv2d_grad(self, operation: Any) -> None:
        x, kernel, above = (operation.operand_source(i) for i in range(3))
        attributes = operation.attrs()
        if attributes["data_format"] != "NCHW" or -1 in x.shape[1:]:
            raise NotImplementedError("a convolution with the channels last, or of any size")
        if attributes["strides"] == [1, 1]:
            new = self._flipped(operation, x, kernel, above, attributes)
        else:
            new = self._transposed(operation, x, kernel, above, attributes)
        self._exchange(operation, new)

    def _flipped(self, operation: Any, x: Any, kernel: Any, above: Any, attributes: Any) -> Any:
        """A convolution with the kernel flipped, of what comes from above, padded in full."""
        groups, dilations = attributes["groups"], attributes["dilations"]
        array = self._number(kernel)
        outputs, inputs, *size = array.shape
        array = array.reshape(groups, outputs // groups, inputs, *size)[..., ::-1, ::-1]
        array = array.swapaxes(1, 2).reshape(groups * inputs, outputs // groups, *size)
        full = [d * (k - 1) for d, k in zip(dilations, size, strict=True) for _ in range(2)]
        padding = [f - p for f, p in zip(full, _padding(x, kernel, attributes), strict=True)]
        if min(padding) < 0:
            raise NotImplementedError("a convolution with more padding than kernel")
        flipped = self._parameter(array)
        paddle.pir.set_insertion_point(operation)
        like = {**attributes, "paddings": padding, "padding_algorithm": "EXPLICIT"}
        return _convolution(operation, above, flipped, like)

    def _transposed(self, operation: Any, x: Any, kernel: Any, above: Any, attributes: Any) -> Any:
        padding, strides = _padding(x, kernel, attributes), list(attributes["strides"])
        dilations, groups = list(attributes["dilations"]), attributes["groups"]
        missing = [
            x.shape[2 + i]
            - (above.shape[2 + i] - 1) * strides[i] + padding[2 * i] + padding[2 * i + 1]
            - dilations[i] * (kernel.shape[2 + i] - 1) - 1
            for i in range(2)
        ]  # fmt: skip
        inner = x.get_defining_op().name() != "pd_op.data"
        ones = self._ones(x) if inner else None
        paddle.pir.set_insertion_point(operation)
        new = ops.conv2d_transpose(
            above, kernel, strides, _short_padding(padding), missing if any(missing) else [], [],
            "EXPLICIT", groups, dilations, "NCHW",
        )  # fmt: skip
        return new if ones is None else _in_order(new, ones)

    def _ones(self, like: Any) -> Any:
        return self._parameter(np.ones((like.shape[1], 1, 1, 1)))

    def _reshape_grad(self, operation: Any) -> None:
        x, above = (operation.operand_source(i) for i in (0, 1))
        if list(x.shape).count(-1) > 1:
            raise NotImplementedError("a reshape of something of any size")
        ones = self._ones(x) if len(x.shape) == 4 else None
        paddle.pir.set_insertion_point(operation)
        new = ops.reshape(above, list(x.shape))
        self._exchange(operation, new if ones is None else _in_order(new, ones))

    def _order(self, operation: Any) -> None:
        """Bring what these give in order."""
        name, sources = short(operation), operation.operands_source()
        parts = name == "split" and short(sources[0].get_defining_op()) == "concat_grad"
        if not parts and name not in _DISORDERLY:
            return
        for value in operation.results():
            if len(value.shape) != 4 or value.use_empty():
                continue
            ones = self._ones(value)
            paddle.pir.set_insertion_point_after(operation)
            new = _in_order(value, ones)
            value.replace_all_uses_with(new)
            new.get_defining_op().operand(0).set_source(value)

    def _pool2d_grad(self, operation: Any) -> None:
        """oneDNN's fails where what comes from above is in another order than the input."""
        above = operation.operand_source(2)
        ones = self._ones(above)
        paddle.pir.set_insertion_point(operation)
        operation.operand(2).set_source(_in_order(above, ones))

    def _matmul_grad(self, operation: Any) -> None:
        y, above = (operation.operand_source(i) for i in (1, 2))
        attributes = operation.attrs()
        if not y.stop_gradient or attributes["transpose_x"] or len(y.shape) != 2:
            raise NotImplementedError("a product of two things that depend on the input")
        paddle.pir.set_insertion_point(operation)
        self._exchange(operation, ops.matmul(above, y, False, not attributes["transpose_y"]))

    def _add_grad(self, operation: Any) -> None:
        *sources, above = (operation.operand_source(i) for i in range(3))
        for source, result in zip(sources, operation.results(), strict=True):
            if source.stop_gradient:
                continue
            if list(source.shape) != list(above.shape):
                raise NotImplementedError("a sum of different shapes")
            result.replace_all_uses_with(above)
        self._block.remove_op(operation)

    def _multiply_grad(self, operation: Any) -> None:
        x, y, above = (operation.operand_source(i) for i in range(3))
        if not y.stop_gradient:
            return
        if list(x.shape) != list(above.shape):
            raise NotImplementedError("a product of different shapes")
        paddle.pir.set_insertion_point(operation)
        self._exchange(operation, ops.multiply(above, y))


def _in_order(value: Any, ones: Any) -> Any:
    """The value times 1, in the order in which oneDNN's convolutions give their results.

    A transposed convolution gives another one. Where two orders meet, activations are 100 times
    slower and pooling fails.
    """
    channels = value.shape[1]
    return ops.depthwise_conv2d(value, ones, [1, 1], [0, 0], "EXPLICIT", channels, [1, 1], "NCHW")


def short(operation: Any) -> str:
    """An operation's name without its dialect."""
    return str(operation.name().rpartition(".")[2])


def _mark(program: Any) -> None:
    """Say of every value whether it depends on the input."""
    for operation in program.global_block().ops:
        if operation.name() == "pd_op.data":
            continue
        sources = (value for value in operation.operands_source() if value.initialized())
        depends = any(not value.stop_gradient for value in sources)
        for value in operation.results():
            value.stop_gradient = not depends


def _padding(x: Any, kernel: Any, attributes: Any) -> list[int]:
    """Top, bottom, left, right."""
    given = list(attributes["paddings"])
    if attributes["padding_algorithm"] == "VALID":
        return [0] * 4
    if attributes["padding_algorithm"] == "EXPLICIT":
        return given if len(given) == 4 else [given[0], given[0], given[1], given[1]]
    padding = []
    for i, stride in enumerate(attributes["strides"]):
        size, spread = x.shape[2 + i], attributes["dilations"][i] * (kernel.shape[2 + i] - 1) + 1
        whole = max((-(-size // stride) - 1) * stride + spread - size, 0)
        padding += [whole // 2, whole - whole // 2]
    return padding


def _short_padding(padding: list[int]) -> list[int]:
    top, bottom, left, right = padding
    return [top, left] if top == bottom and left == right else padding


def _convolution(like: Any, x: Any, kernel: Any, attributes: Any = None) -> Any:
    """The operation's convolution of other values, or one with other attributes."""
    at = like.attrs() if attributes is None else attributes
    padding, how = list(at["paddings"]), at["padding_algorithm"]
    padding = _short_padding(padding) if len(padding) == 4 else padding
    strides, dilations = list(at["strides"]), list(at["dilations"])
    if short(like).startswith("depthwise"):
        return ops.depthwise_conv2d(
            x, kernel, strides, padding, how, at["groups"], dilations, "NCHW"
        )
    return ops.conv2d(x, kernel, strides, padding, how, dilations, at["groups"], "NCHW")
