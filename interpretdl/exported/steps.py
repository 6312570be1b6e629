"""From a program to steps: which operations are layers, and what they are called."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import paddle

from ..errors import InterpretError, LayerNotFoundError, UnsupportedModelError, did_you_mean
from ..pickles.files import brief
from .graph import Graph, Node
from .layers import layer_of
from .operations import OPERATIONS, SIZES, TAKE_SIZES, Function
from .program import Operation, Program, failures

__all__ = ["Bound", "Plan", "Step", "readable"]

_SUFFIX = re.compile(
    r"([._][wb]_\d+|[._](weights?|bias|scale|offset|mean|variance|moving_(mean|variance)))$"
)
# Where a file does not say which layers its operations ran in: what usually ends a block.
_ENDS = frozenset({"add", "concat"})


@dataclass(frozen=True)
class Bound:
    """An operation's function with all that is known beforehand.

    Attributes:
        known: (position, value) of inputs that are known.
        count: of all inputs.
    """

    name: str
    function: Function
    attributes: dict[str, Any]
    known: tuple[tuple[int, Any], ...]
    count: int

    def __call__(self, *given: Any) -> Any:
        """What the operation gives for its other inputs."""
        known, rest = dict(self.known), iter(given)
        inputs = [known[k] if k in known else next(rest) for k in range(self.count)]
        return self.function.call(self.attributes, *inputs)


@dataclass(frozen=True)
class Step:
    """One step of a run.

    Attributes:
        operation: what it stands for.
        name: the layer's; None where it is a function.
        made: the layer or the function; None for an operation that is not known.
        alone: whether it is a layer's output in the model that was exported.
        reads, gives: numbers of values.
        done: values that nothing reads later.
    """

    operation: Operation
    name: str | None
    made: Any
    alone: bool
    reads: tuple[Any, ...]
    gives: tuple[Any, ...]
    done: tuple[Any, ...] = ()


class Plan:
    """The steps of a program.

    Args:
        until: names of layers whose outputs are wanted in place of the program's.
        taken: names that nothing may have.

    Attributes:
        steps: in their order.
        wanted: numbers of the values that come out.
        held: parameters and constants that steps read, by number: (name, Tensor, whether it is a
            parameter).

    Raises:
        LayerNotFoundError: no layer of a name in `until`.
        UnsupportedModelError: an operation is not known.
    """

    def __init__(
        self, program: Program, until: Sequence[str] = (), taken: Iterable[str] = ()
    ) -> None:
        self._graph = Graph(program, program.outputs)
        self._says_layers = any(op.scope for op in program.operations)
        self._kinds: Counter[str] = Counter()
        self._names = set(taken)
        steps, merged = [], set()
        for op in self._graph.operations:
            if id(op) not in merged and op.outputs[0] not in self._graph.constants:
                step, following = self._made(op)
                steps.append(step)
                merged.add(id(following))
        self.wanted = self._outputs(program, steps, until)
        self.steps = self._needed(steps)
        self.held = self._held(program)

    def _outputs(self, program: Program, steps: list[Step], until: Sequence[str]) -> list[Any]:
        if not until:
            return list(program.outputs)
        named = {step.name: step.gives[0] for step in steps if step.name is not None}
        for name in until:
            if name not in named:
                raise LayerNotFoundError(
                    f"no layer {name!r} in this program{did_you_mean(name, named)}"
                )
        return [named[name] for name in until]

    # -- one step --------------------------------------------------------------------------------

    def _made(self, op: Operation) -> tuple[Step, Operation | None]:
        try:
            return self._step(op)
        except InterpretError:
            raise
        except failures as error:
            raise UnsupportedModelError(
                f"{self._graph.where(op)} is not as this Paddle ({paddle.__version__}) writes it: "
                f"{type(error).__name__}: {brief(str(error))}. Export the model again, with "
                "the Paddle that is installed"
            ) from error

    def _step(self, op: Operation) -> tuple[Step, Operation | None]:
        """The step of an operation, and the addition of a bias that is done with it."""
        graph = self._graph
        fixed = op.outputs[0] in graph.fixed
        made = None if fixed else layer_of(Node(graph, op))
        if made is not None:
            layer, following = made
            gives = op.outputs if following is None else following.outputs
            alone = self._alone(op, gives[0], layer=True)
            name = self._name(op, graph.name(op.inputs[1]) if len(op.inputs) > 1 else None)
            return Step(op, name, layer, alone, op.inputs[:1], gives), following
        alone = not fixed and self._alone(op, op.outputs[0], layer=False)
        function = OPERATIONS.get(op.name)
        if function is None:
            return Step(op, self._name(op), None, alone, _there(op.inputs), op.outputs), None
        if self._is_shape(op):
            return self._shape(op), None
        known = tuple(
            (k, None if number is None else graph.plain(number))
            for k, number in enumerate(op.inputs)
            if number is None or (k in function.plain and number in graph.constants)
        )
        bound = Bound(op.name, function, op.attributes, known, len(op.inputs))
        reads = tuple(n for k, n in enumerate(op.inputs) if k not in dict(known))
        dtype = graph.program.dtypes.get(op.outputs[0])
        is_layer = (
            not fixed
            and len(op.outputs) == 1
            and "FLOAT" in str(dtype).upper()
            and (alone or not function.moves)
        )
        return Step(op, self._name(op) if is_layer else None, bound, alone, reads, op.outputs), None

    def _is_shape(self, op: Operation) -> bool:
        """Whether it puts lengths together, for the shape of something."""
        graph = self._graph
        if op.name != "stack" or graph.makers[op.inputs[0]].name != "builtin.combine":
            return False
        readers = graph.readers[op.outputs[0]]
        return all(reader is not None and reader.name in TAKE_SIZES for reader in readers)

    def _shape(self, op: Operation) -> Step:
        graph = self._graph
        lengths = graph.makers[op.inputs[0]].inputs
        known = tuple((k, graph.plain(n)) for k, n in enumerate(lengths) if n in graph.constants)
        reads = tuple(n for n in lengths if n not in graph.constants)
        return Step(
            op, None, Bound("sizes", SIZES, {}, known, len(lengths)), False, reads, op.outputs
        )

    def _alone(self, op: Operation, result: Any, *, layer: bool) -> bool:
        """Whether a layer of the model that was exported has given this value.

        That is what is read outside of the layer that the operation ran in.
        """
        if not self._says_layers:
            return layer or op.name in _ENDS
        scope = op.scope
        return bool(scope) and any(
            reader is None or reader.scope[: len(scope)] != scope
            for reader in self._graph.readers[result]
        )

    def _name(self, op: Operation, parameter: str | None = None) -> str:
        """A name for the layer of an operation, from its parameter's or its kind."""
        if parameter is None:
            base = op.name.rpartition(".")[2]
            name = f"{base}_{self._kinds[base]}"
            self._kinds[base] += 1
        else:
            base = name = readable(parameter)
        count = 2
        while name in self._names:
            name, count = f"{base}_call_{count}", count + 1
        self._names.add(name)
        return name

    # -- all of them -----------------------------------------------------------------------------

    def _needed(self, steps: list[Step]) -> list[Step]:
        """Steps on which what is wanted depends, with what they let go."""
        needed, kept = set(self.wanted), []
        for step in reversed(steps):
            if needed.isdisjoint(step.gives):
                continue
            done = tuple({n for n in (*step.reads, *step.gives) if n not in needed})
            needed.update(step.reads)
            kept.append(replace(step, done=done))
        kept.reverse()
        unknown = [step for step in kept if step.made is None]
        if unknown:
            raise self._refusal(unknown, kept)
        return kept

    def _refusal(self, unknown: list[Step], steps: list[Step]) -> UnsupportedModelError:
        first = unknown[0]
        others = sorted({step.operation.name for step in unknown[1:]} - {first.operation.name})
        before = self._before(first, steps)
        part = (
            f"load what comes before it, it.load_exported(path, until={before!r}), "
            if before
            else ""
        )
        return UnsupportedModelError(
            f"{self._graph.where(first.operation)} is not known to interpretdl"
            + (f" (nor are {', '.join(others)})" if others else "")
            + f". To explain the model, {part}build the network from its class and load its "
            "weights, or give paddle.jit.load(path) to a method that needs scores or gradients only"
        )

    def _before(self, step: Step, steps: list[Step]) -> str | None:
        """The name of the last layer that a step depends on."""
        needed = set(step.reads)
        for earlier in reversed(steps[: steps.index(step)]):
            if not needed.isdisjoint(earlier.gives):
                if earlier.name is not None and earlier.made is not None:
                    return earlier.name
                needed.update(earlier.reads)
        return None

    def _held(self, program: Program) -> dict[Any, tuple[str, Any, bool]]:
        graph, held = self._graph, {}
        made = {number for step in self.steps for number in step.gives}
        read = [number for step in self.steps for number in step.reads]
        constants = 0
        for number in dict.fromkeys([*read, *self.wanted]):
            if number in made or number in program.inputs.values():
                continue
            if number in program.parameters:
                name = self._name_of_parameter(program.parameters[number][0])
                held[number] = (name, graph.parameter(number), True)
            elif number in graph.constants:
                held[number] = (f"constant_{constants}", graph.tensor(number), False)
                constants += 1
            else:
                raise UnsupportedModelError(
                    f"{graph.where(graph.makers[number])} gives several things, of which this "
                    "program uses one that is not known here; build the network from its class"
                )
        return held

    def _name_of_parameter(self, name: str) -> str:
        base = name = readable(name)
        count = 2
        while name in self._names:
            name, count = f"{base}_parameter_{count}", count + 1
        self._names.add(name)
        return name


def readable(parameter: str) -> str:
    """A layer's name from the name of its parameter: "conv2d_3" from "conv2d_3.w_0"."""
    return _SUFFIX.sub("", parameter).replace(".", "_") or "parameter"


def _there(numbers: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(number for number in numbers if number is not None)
