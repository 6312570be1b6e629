"""An exported program as a Layer of named layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import paddle
from paddle import nn
from paddle.base.framework import EagerParamBase

from ..errors import InputError
from ..preprocessing import Preprocessing
from .graph import spread
from .program import Program
from .steps import Bound, Plan, Step

__all__ = ["ExportedModel"]


class ExportedModel(nn.Layer):
    """An exported program whose operations are layers with names.

    Convolutions, dense layers, normalizations, embeddings, activations and poolings are layers of
    `paddle.nn`, named after their parameters ("conv2d_3") or their kind ("relu_2"); what else is
    computed from activations is a layer, too ("add_4"). The model is in eval mode, takes the
    program's inputs in their order or by their names, and gives one tensor or a tuple of tensors.

    `load_exported` makes it.

    Attributes:
        input_names: of the program's inputs.
        preprocessing, class_names: how a picture becomes the input, and names of the classes; None
            where they are not known.
    """

    def __init__(self, program: Program, until: Sequence[str] = ()) -> None:
        super().__init__()
        plan = Plan(program, until, dir(self))
        self.input_names = tuple(program.inputs)
        self.preprocessing: Preprocessing | None = None
        self.class_names: Sequence[str] | None = None
        self.check: Callable[[Any, Sequence[Any]], None] | None = None
        for name, tensor, is_parameter in plan.held.values():
            if is_parameter and isinstance(tensor, EagerParamBase):
                self.add_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor, persistable=False)
        for step in plan.steps:
            if step.name is not None:
                layer = OperationLayer(step.made) if isinstance(step.made, Bound) else step.made
                layer.called_as_function = not step.alone
                self.add_sublayer(step.name, layer)
        self.wanted = tuple(plan.wanted)
        self._run = _Run(
            tuple(program.inputs.values()),
            tuple(plan.wanted),
            {number: name for number, (name, *_) in plan.held.items()},
            tuple(plan.steps),
        )
        self.eval()

    @paddle.jit.not_to_static  # type: ignore[untyped-decorator]  # Paddle's own
    def forward(self, *inputs: Any, **named: Any) -> Any:
        """What the program gives for these inputs.

        Raises:
            InputError: other inputs than the program's.
            UnsupportedModelError: on the first call, where the program could not be tried before:
                Paddle's own execution gives other numbers.
        """
        given = self._given(inputs, named)
        if self.check is not None and paddle.in_dynamic_mode():
            self.check(self, given)
        return self.replay(given, lambda layer, values: layer(*values))

    def replay(self, given: Sequence[Any], call: Callable[[Any, Sequence[Any]], Any]) -> Any:
        """Run the steps.

        Args:
            given: the inputs, in their order.
            call: from a layer and its inputs to its output.
        """
        run = self._run
        values = {number: getattr(self, name) for number, name in run.held.items()}
        values.update(zip(run.inputs, given, strict=True))
        for step in run.steps:
            args = [values[number] for number in step.reads]
            layer = None if step.name is None else getattr(self, step.name)
            found = step.made(*args) if layer is None else call(layer, args)
            values.update(spread(step.gives, found))
            for number in step.done:
                values.pop(number, None)
        wanted = [values[number] for number in run.wanted]
        return wanted[0] if len(wanted) == 1 else tuple(wanted)

    def _given(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
        names = self.input_names
        given = {**dict(zip(names, inputs, strict=False)), **named}
        if len(inputs) + len(named) != len(names) or set(given) != set(names):
            got = f"{len(inputs)}" + (f" and {', '.join(named)}" if named else "")
            raise InputError(
                f"this exported model takes {len(names)} input(s), {', '.join(names)}; got {got}"
            )
        return [given[name] for name in names]


@dataclass(frozen=True)
class _Run:
    """What a run needs beside the layers.

    It is no dict or list, so that copies of the model share it.

    Attributes:
        held: names of the parameters and constants that steps read, by number.
    """

    inputs: tuple[Any, ...]
    wanted: tuple[Any, ...]
    held: dict[Any, str]
    steps: tuple[Step, ...]


class OperationLayer(nn.Layer):
    """An operation on activations, as a layer that hooks and edits can reach."""

    def __init__(self, compute: Bound) -> None:
        super().__init__()
        self.compute = compute

    def forward(self, *inputs: Any) -> Any:
        """What the operation gives."""
        return self.compute(*inputs)

    def extra_repr(self) -> str:
        """The operation's name."""
        return self.compute.name
