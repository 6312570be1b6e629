"""`load_exported`: from files to layers, held against Paddle's own execution."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle.base.dygraph.base import switch_to_static_graph

from ..errors import InputError, UnsupportedModelError, WeightsError, warn
from ..pickles.files import brief
from ..preprocessing import IMAGENET, Preprocessing
from .files import model_files
from .model import ExportedModel
from .operations import dtype_of
from .program import ENDS, Program, as_float, failures, paddle_reads

__all__ = ["load_exported"]

_WITHIN, _WITHIN_HALF = 1e-4, 5e-2  # of the largest value
_ROWS = 2
_LARGEST = 1 << 26  # numbers of an input that is made up


def load_exported(
    path: str | os.PathLike[str], *, until: str | Sequence[str] | None = None
) -> ExportedModel:
    """An exported model as a Layer of named layers, which every method can explain.

        model = it.load_exported("inference.json")
        it.GradCAMInterpreter(model).interpret("cat.png", save_path="map.png")

    The files are those of `paddle.jit.save` and of `paddle.static.save_inference_model`, and of
    the suites' export tools. Nothing runs but the program's operations, one by one. Numbers are
    held against Paddle's own execution of the program, on random input, or on the first batch
    where the program does not say its input's size.

    Args:
        path: of `inference.json` (or `.pdmodel`, of Paddle 2), beside which `inference.pdiparams`
            lies; or the path of both without the ending.
        until: name of a layer, or several, whose output is the model's in place of the program's:
            for programs that go on with an argmax or a selection of boxes. `print(model)` lists
            names.

    Returns:
        the model in eval mode. Half precision is computed in float32. A file does not say how
        pictures become inputs, or what classes are called: set `model.preprocessing` and
        `model.class_names`. Otherwise they are ImageNet's, at the size that the program takes.

    Raises:
        WeightsError: files are missing, damaged, or not readable by this Paddle.
        UnsupportedModelError: the program has an operation that is not known, or the layers give
            other numbers than Paddle.
        LayerNotFoundError: no layer of the name in `until`.
        InputError: an argument of another type.
    """
    several = isinstance(until, list | tuple)
    names: list[Any] = [*until] if several else [] if until is None else [until]  # type: ignore[misc]
    if not all(isinstance(name, str) for name in names):
        raise InputError(f"until must be a layer's name, or several; got {until!r}")
    program = Program.of(model_files(path))
    run = _PaddlesRun(program)
    model = ExportedModel(program, names)
    model.preprocessing = _preprocessing(program)
    run.fetched = list(model.wanted)
    check = _Check(program, run)
    examples = list(_examples(program))
    if not any(check.tried(model, given) for given in examples):
        if examples and check.half:
            check.cannot([])
        else:
            model.check = check
    return model


def _preprocessing(program: Program) -> Preprocessing | None:
    """ImageNet's, at the size of square pictures that the program takes; None for the usual one."""
    shapes = [program.shapes[number] for number in program.inputs.values()]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        return None
    _, channels, height, width = shapes[0]
    if channels != 3 or height != width or height in (-1, IMAGENET.crop):
        return None
    return replace(IMAGENET, resize=round(height * 256 / 224), crop=height)


def _examples(program: Program) -> Iterator[list[Any]]:
    """Random inputs; none where their sizes are not known, or they are no floats."""
    for rows in (2, 1):
        given = []
        for number in program.inputs.values():
            shape, dtype = list(program.shapes[number]), dtype_of(program.dtypes[number])
            if shape and shape[0] < 0:
                shape[0] = rows
            known = min(shape, default=1) > 0 and math.prod(shape) <= _LARGEST
            if not known or "FLOAT" not in str(dtype).upper():
                return
            values = np.random.default_rng(0).normal(size=shape)
            given.append(paddle.to_tensor(values, dtype=dtype))
        yield given


class _Check:
    """Holds layers against Paddle's execution of the program, once.

    Copies of the model share it. It lets Paddle's program go when it is done.
    """

    def __init__(self, program: Program, run: _PaddlesRun) -> None:
        self.half = any(dtype_of(each) != each for each in program.dtypes.values() if each)
        self._path = program.path
        self._run: _PaddlesRun | None = run

    def __call__(self, model: Any, given: Sequence[Any]) -> None:
        """On the first call with inputs.

        Raises:
            UnsupportedModelError: Paddle gives other numbers, or cannot run the program.
        """
        if not self.tried(model, given):
            self.cannot([list(each.shape) for each in given])

    def cannot(self, shapes: list[list[int]]) -> None:
        """Paddle cannot run the program.

        Warns:
            InterpretWarning: it is one of half precision, which not every device computes.

        Raises:
            UnsupportedModelError: it is another.
        """
        if not self.half:
            raise UnsupportedModelError(
                f"Paddle itself cannot run {brief(str(self._path), 500)} on an input "
                f"of {shapes}; see what the program was exported for"
            )
        warn(
            f"{brief(str(self._path), 500)} has half precision, which Paddle does not "
            "compute here: its layers, in float32, are not held against Paddle's own execution"
        )
        self._run = None

    def tried(self, model: Any, given: Sequence[Any]) -> bool:
        """Whether Paddle could run the program on these inputs, and the layers gave the same.

        Raises:
            UnsupportedModelError: they did not.
        """
        if self._run is None:
            return True
        given = [each.detach() for each in given]
        with paddle.no_grad():
            expected = self._expected(self._run, given)
            if expected is None:
                return False
            found = self._found(model, given)
        apart = max(map(_apart, found, expected), default=0.0)
        if not apart <= (_WITHIN_HALF if self.half else _WITHIN):
            raise UnsupportedModelError(
                f"the layers made of {brief(str(self._path), 500)} give other numbers "
                f"than Paddle's own execution: they differ by {apart:.1e} of the largest. Build "
                "the network from its class and load its weights, and please report the program"
            )
        self._run = None
        return True

    def _expected(self, run: _PaddlesRun, given: list[Any]) -> list[Any] | None:
        try:
            with paddle_reads(self._path):
                return run(given)
        except WeightsError:
            return None

    def _found(self, model: Any, given: list[Any]) -> list[Any]:
        running = [""]

        def call(layer: Any, values: Sequence[Any]) -> Any:
            running[0] = f" in {layer}"
            return layer.forward(*values)  # past hooks, which may be another's

        try:
            found = model.replay(given, call)
        except failures as error:
            raise UnsupportedModelError(
                f"the layers made of {brief(str(self._path), 500)} fail where Paddle runs "
                f"the program{running[0]}: {brief(str(error))}"
            ) from error
        return list(found) if isinstance(found, tuple) else [found]


class _PaddlesRun:
    """Paddle's own execution of a program.

    Args:
        program: as it was read; parameters that become layers' are changed later.
    """

    def __init__(self, program: Program) -> None:
        self._program, self.fetched = program, list(program.outputs)
        self._scope = paddle.base.core.Scope()
        for name, tensor in program.parameters.values():
            self._scope.var(name).get_tensor()._share_data_with(tensor.get_tensor())
        block = program.described.global_block()
        for op in block.ops:
            if op.name() in ENDS:  # what is fetched here would get the same names
                block.remove_op(op)

    def __call__(self, given: Sequence[Any]) -> list[NDArray[Any]]:
        """The values that are fetched."""
        pairs = zip(self._program.inputs.items(), given, strict=True)
        feed = {
            name: each.astype(self._program.dtypes[number]).numpy()
            for (name, number), each in pairs
        }
        found = self._execute(feed, [self._program.values[number] for number in self.fetched])
        return [
            as_float(array) if self._program.dtypes[number] == paddle.bfloat16 else array
            for number, array in zip(self.fetched, found, strict=True)
        ]

    @switch_to_static_graph  # type: ignore[untyped-decorator]  # Paddle's own
    def _execute(self, feed: dict[str, Any], values: list[Any]) -> Any:
        executor = paddle.static.Executor(paddle.device.get_device())
        return executor.run(
            self._program.described, feed=feed, fetch_list=values, scope=self._scope
        )


def _apart(found: Any, expected: NDArray[Any]) -> float:
    """The largest difference, as a part of the largest number; of integers how many differ."""
    if tuple(found.shape) != expected.shape:
        return math.inf
    a, b = np.asarray(found.astype("float64").numpy()), expected.astype(np.float64)
    if not found.is_floating_point():
        return float(np.mean(a != b)) / 100 if a.size else 0.0  # a tie may end either way
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    largest = max(np.abs(b[np.isfinite(b)]).max(initial=0), 1e-30)
    with np.errstate(invalid="ignore"):
        return float(np.abs(a - b)[~same].max() / largest)
