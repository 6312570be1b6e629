"""An exported program as plain records: operations, parameters, inputs and outputs."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

from ..errors import InterpretError, WeightsError
from ..pickles.files import brief
from ..probe.quiet import quiet_paddle
from .files import ModelFiles, check_program, malformed, read, read_parameters

__all__ = ["ENDS", "Operation", "Program", "as_float", "failures", "paddle_reads"]

ENDS = ("pd_op.fetch", "builtin.shadow_output")
"""Operations at which a value leaves a program."""

failures = (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError,
            AssertionError, NotImplementedError, SystemError, OSError)  # fmt: skip
"""What Paddle raises for what it cannot read or run."""


@dataclass(frozen=True)
class Operation:
    """One operation of a program. Values are known by their numbers.

    Attributes:
        name: Paddle's, such as "conv2d", without the underscore of what works in place.
        inputs: None for one that was not given.
        attributes: as Paddle has them.
        scope: the layers that it ran in, such as ("/Sequential", "/ReLU"); empty where the file
            does not say, or where it ran in the model's own forward.
    """

    name: str
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    attributes: dict[str, Any]
    scope: tuple[str, ...] = ()


@dataclass
class Program:
    """A program and the arrays that it was saved with.

    Attributes:
        path: the file, for messages.
        described: Paddle's program, which owns `values`.
        operations: in their order.
        inputs: numbers of the values that are given, by their names.
        outputs: numbers of the values that come out.
        parameters: (name, array) by number.
        shapes: of each value, -1 where a length is not known; () for lists of tensors.
        dtypes: of each value; None for lists.
        values: Paddle's own value of each number.
    """

    path: Path
    described: Any
    operations: list[Operation] = field(default_factory=list)
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: list[Any] = field(default_factory=list)
    parameters: dict[Any, tuple[str, Any]] = field(default_factory=dict)
    shapes: dict[Any, tuple[int, ...]] = field(default_factory=dict)
    dtypes: dict[Any, Any] = field(default_factory=dict)
    values: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, files: ModelFiles) -> Program:
        """Read it.

        Raises:
            WeightsError: files are missing or damaged, or not of this Paddle.
            ResourceError: it does not fit into memory.
        """
        if not files.old:
            check_program(files.program)
        with paddle_reads(files.program):
            program = cls(files.program, _old(files) if files.old else _new(files))
            kept = {}
            for op in program.described.global_block().ops:
                if op.name() == "builtin.parameter":
                    kept.update(program._parameter(op))
                else:
                    program._add(op)
        arrays = read_parameters(files.parameters, kept)
        for number, (name, _) in program.parameters.items():
            program._fill(number, name, arrays.pop(name, None))
        return program

    def _parameter(self, op: Any) -> dict[str, tuple[int, ...]]:
        """Note a parameter; its name and shape if the file of parameters has it."""
        name, value = op.attrs()["parameter_name"], op.result(0)
        self._note(value)
        self.parameters[value.id] = (name, None)
        return {name: self.shapes[value.id]} if value.persistable else {}

    def _fill(self, number: Any, name: str, array: Any) -> None:
        shape, dtype = self.shapes[number], self.dtypes[number]
        if array is None:  # what an LSTM draws its dropout from
            tensor = paddle.zeros(shape, dtype)
        elif array.dtype == np.uint16:
            tensor = paddle.to_tensor(as_float(array)).astype(paddle.bfloat16)
        else:
            tensor = paddle.to_tensor(array)
        if tensor.dtype != dtype:
            raise malformed(
                self.path,
                f"{brief(name)} is {dtype}, and the file of parameters has {tensor.dtype}",
            )
        self.parameters[number] = (name, tensor)

    def _add(self, op: Any) -> None:
        name, attributes = op.name(), op.attrs()
        if not name:
            raise WeightsError(
                f"{brief(str(self.path), 500)} has an operation that Paddle {paddle.__version__} "
                f"does not know, behind {len(self.operations)} others: it was exported by another "
                "version, or is damaged. Export the model again"
            )
        for value in op.results():
            if value.initialized():
                self._note(value)
        inputs = tuple(v.id if v.initialized() else None for v in op.operands_source())
        outputs = tuple(v.id for v in op.results())
        if name in ("pd_op.data", "pd_op.feed"):
            self.inputs[str(attributes["name"])] = outputs[0]
        elif name in ENDS:
            self.outputs += [number for number in inputs if number is not None]
        else:
            path = str(attributes.pop("struct_name", ""))
            scope = tuple(part for part in path.split("/") if part)
            short = name.removeprefix("pd_op.").rstrip("_")
            self.operations.append(Operation(short, inputs, outputs, attributes, scope))

    def _note(self, value: Any) -> None:
        self.values[value.id] = value
        dense = value.is_dense_tensor_type()
        self.shapes[value.id] = tuple(value.shape) if dense else ()
        self.dtypes[value.id] = value.dtype if dense else None


def as_float(array: NDArray[Any]) -> NDArray[np.float32]:
    """The numbers of bfloat16, which NumPy has as uint16."""
    return (array.astype(np.uint32) << 16).view(np.float32)


@contextlib.contextmanager
def paddle_reads(path: Path) -> Iterator[None]:
    """While Paddle reads or runs a program: quietly, and its errors are typed.

    Raises:
        WeightsError: for any error of Paddle.
    """
    with quiet_paddle(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Paddle's own, about its own programs
        try:
            yield
        except InterpretError:
            raise
        except failures as error:
            why = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
            raise WeightsError(
                f"Paddle {paddle.__version__} cannot read {brief(str(path), 500)}: "
                f"{brief(why)} ({type(error).__name__}). Export the model again"
            ) from error


def _new(files: ModelFiles) -> Any:
    program = paddle.static.Program()
    paddle.base.core.deserialize_pir_program(str(files.program), program)
    return program


def _old(files: ModelFiles) -> Any:
    """A program of Paddle 2 in Paddle 3's form."""
    data = read(files.program)
    if not data:
        raise malformed(files.program, "an empty file")
    program = paddle.base.core.ProgramDesc(data)
    if program.num_blocks() < 1:
        raise malformed(files.program, "a program without operations")
    return paddle.pir.translate_to_pir(program)
