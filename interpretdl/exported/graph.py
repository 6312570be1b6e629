"""What of a program is known before it runs, and who reads what."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle
from paddle.base.framework import EagerParamBase

from ..errors import ResourceError, UnsupportedModelError
from ..pickles.files import brief
from .operations import OPERATIONS, Function, dtype_of
from .program import Operation, Program, failures

__all__ = ["Graph", "Node", "Unfit", "as_parameter", "spread"]

_LARGEST = 1 << 26  # numbers in a constant that a program makes


class Unfit(Exception):
    """An operation that cannot be a layer here, because of an input that is not known before."""


class Graph:
    """A program's operations on which its outputs depend.

    Args:
        wanted: numbers of the values that are wanted.

    Attributes:
        operations: those, in their order.
        readers: of each value the operations that read it; None for the model's outputs.
        makers: of each value the operation that makes it.
        constants: values that depend on nothing, as arrays or lists of arrays.
        fixed: values that depend on parameters and constants only.
    """

    def __init__(self, program: Program, wanted: list[Any]) -> None:
        self.program = program
        needed, kept = set(wanted), []
        for op in reversed(program.operations):
            if not needed.isdisjoint(op.outputs):
                kept.append(op)
                needed.update(number for number in op.inputs if number is not None)
        self.operations = kept[::-1]
        self.readers: dict[Any, list[Operation | None]] = defaultdict(list)
        self.makers: dict[Any, Operation] = {}
        for op in self.operations:
            for number in op.inputs:
                if number is not None:
                    self.readers[number].append(op)
            self.makers.update(dict.fromkeys(op.outputs, op))
        for number in wanted:
            self.readers[number].append(None)
        self.constants: dict[Any, Any] = {}
        self.fixed: set[Any] = set(program.parameters)
        self._tensors: dict[Any, Any] = {}
        for op in self.operations:
            self._look(op)

    def _look(self, op: Operation) -> None:
        function, given = OPERATIONS.get(op.name), [n for n in op.inputs if n is not None]
        if function is None or not all(n in self.fixed for n in given):
            return
        self.fixed.update(op.outputs)
        if not all(n in self.constants for n in given):
            return
        shapes = [self.program.shapes.get(number, ()) for number in op.outputs]
        if any(math.prod(shape) > _LARGEST for shape in shapes):
            raise ResourceError(
                f"{self.where(op)} makes a constant of {list(shapes[0])} numbers: too large"
            )
        results = spread(op.outputs, self.run(op, function))
        self.constants.update({number: _arrays(value) for number, value in results.items()})

    def run(self, op: Operation, function: Function) -> Any:
        """What an operation gives, whose inputs are all fixed.

        Raises:
            UnsupportedModelError: Paddle does not compute it.
        """
        inputs = [
            None if n is None else self.plain(n) if k in function.plain else self.tensor(n)
            for k, n in enumerate(op.inputs)
        ]
        try:
            with paddle.no_grad():
                return function.call(op.attributes, *inputs)
        except failures as error:
            raise UnsupportedModelError(
                f"{self.where(op)} failed: {brief(str(error).strip())}"
            ) from error

    def plain(self, number: Any) -> Any:
        """A fixed value as a number or a list of numbers, where it is constant."""
        if number not in self.constants:
            return self.tensor(number)
        value = self.constants[number]
        return [v.tolist() for v in value] if isinstance(value, list) else value.tolist()

    def tensor(self, number: Any) -> Any:
        """A fixed value as a Tensor, or a list of them."""
        if number in self.program.parameters:
            return self.parameter(number)
        if number not in self._tensors:
            if number in self.constants:
                value = self.constants[number]
                new = [*map(_tensor, value)] if isinstance(value, list) else _tensor(value)
                self._tensors[number] = new
            else:
                op = self.makers[number]
                self._tensors.update(spread(op.outputs, self.run(op, OPERATIONS[op.name])))
        return self._tensors[number]

    def parameter(self, number: Any) -> Any:
        """A fixed value as a Parameter; the program's own, where it is one."""
        if number not in self.program.parameters:
            return as_parameter(self.tensor(number))
        name, array = self.program.parameters[number]
        if not array._is_initialized():  # what an LSTM draws its dropout from
            shape, dtype = self.program.shapes[number], self.program.dtypes[number]
            array = paddle.zeros(shape, dtype)
        elif array.is_floating_point():
            array = as_parameter(array)
        self.program.parameters[number] = (name, array)
        return array

    def name(self, number: Any) -> str | None:
        """The name of the parameter that a fixed value was made of."""
        while number is not None and number not in self.program.parameters:
            op = self.makers.get(number)
            number = op.inputs[0] if op is not None and op.inputs else None
        return None if number is None else self.program.parameters[number][0]

    def where(self, op: Operation) -> str:
        """An operation and its place in the program, for messages."""
        scope = f" in /{'/'.join(op.scope)}" if op.scope else ""
        shapes = [list(self.program.shapes[n]) for n in op.inputs if n in self.program.shapes]
        last = self._before(op)
        on = f" on {', '.join(map(str, shapes))}" if shapes else ""
        behind = f"behind the layer of parameter {brief(last)!r}" if last else "at the beginning"
        return f"operation {op.name!r}{on}{scope}, {behind},"

    def _before(self, op: Operation) -> str | None:
        """The last parameter that the operation's inputs depend on."""
        at = self.program.operations.index(op)
        needed, last = {n for n in op.inputs if n is not None}, None
        for earlier in reversed(self.program.operations[:at]):
            if needed.isdisjoint(earlier.outputs):
                continue
            for number in earlier.inputs:
                if number in self.program.parameters:
                    return self.program.parameters[number][0]
                if number is not None:
                    needed.add(number)
        return last


class Node:
    """One operation, with what is known of its inputs, for who makes a layer of it."""

    def __init__(self, graph: Graph, op: Operation) -> None:
        self.graph, self.op, self.attributes = graph, op, op.attributes

    def given(self, k: int) -> bool:
        """Whether there is a k-th input."""
        return k < len(self.op.inputs) and self.op.inputs[k] is not None

    def parameter(self, k: int) -> Any:
        """The k-th input as a Parameter; None where it is not there.

        Raises:
            Unfit: it depends on the model's input.
        """
        if not self.given(k):
            return None
        if self.op.inputs[k] not in self.graph.fixed:
            raise Unfit
        return self.graph.parameter(self.op.inputs[k])

    def numbers(self, k: int) -> Any:
        """The k-th input as a number or a list of numbers.

        Raises:
            Unfit: it is not a constant.
        """
        number = self.op.inputs[k]
        if number is None or number not in self.graph.constants:
            raise Unfit
        return self.graph.plain(number)

    def shape(self, k: int = 0) -> tuple[int, ...]:
        """The shape of the k-th input, -1 where it is not known."""
        number = self.op.inputs[k]
        return () if number is None else self.graph.program.shapes[number]

    def bias(self, count: int, axis: int) -> tuple[Any, Operation] | None:
        """The bias [count] that is added next, and only there; and the operation that adds it.

        Args:
            axis: of the result, along which it is added.
        """
        readers = self.graph.readers[self.op.outputs[0]]
        if len(readers) != 1 or readers[0] is None or readers[0].name != "add":
            return None
        following = readers[0]
        x, other = following.inputs
        shape = self.graph.program.shapes.get(other, ()) if other is not None else ()
        rank = len(self.graph.program.shapes[self.op.outputs[0]])
        fits = [1] * rank
        fits[axis] = count
        padded = [1] * (rank - len(shape)) + list(shape)
        if x != self.op.outputs[0] or other not in self.graph.fixed or padded != fits:
            return None
        if shape == (count,):
            return self.graph.parameter(other), following
        source = self.graph.makers.get(other)
        if source is not None and source.name == "reshape" and source.inputs[0] is not None:
            before = source.inputs[0]
            if self.graph.program.shapes[before] == (count,):  # the layer's own
                return self.graph.parameter(before), following
        return as_parameter(self.graph.tensor(other).reshape([count])), following


def spread(numbers: Sequence[Any], found: Any) -> dict[Any, Any]:
    """What an operation gave, by the numbers of its values; what is missing nothing reads."""
    if len(numbers) == 1:
        return {numbers[0]: found}
    found = found if isinstance(found, list | tuple) else (found,)
    return dict(zip(numbers, found, strict=False))


def as_parameter(tensor: Any) -> Any:
    """A tensor as a Parameter, itself if it is one; half precision becomes float32."""
    dtype = dtype_of(tensor.dtype)
    if isinstance(tensor, EagerParamBase) and dtype == tensor.dtype:
        return tensor
    return EagerParamBase.from_tensor(tensor.detach().astype(dtype), trainable=False)


def _arrays(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_arrays(each) for each in value]
    return np.asarray(value.numpy())


def _tensor(array: Any) -> Any:
    return paddle.to_tensor(array)
