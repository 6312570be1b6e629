"""Hooks that see, replace and keep what layers give while a model runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
import paddle
from numpy.typing import NDArray

from ..errors import LayerNotFoundError, UnsupportedModelError
from ..tensors import HALF
from .grid import Grid
from .output import TENSORS, outline

__all__ = [
    "Array",
    "Edits",
    "Gradients",
    "Rules",
    "RulesRun",
    "Tensor",
    "concatenated",
    "embeddings",
    "gradients_at",
    "to_numpy",
    "watch",
]

Tensor: TypeAlias = "paddle.Tensor"
Array = NDArray[Any]
Edits = Mapping[str, Callable[[Tensor], Tensor]]
INPUT = ":input"


@dataclass
class Gradients:
    """What one pass through the model gave. All arrays are float, one row per image.

    Attributes:
        scores: [N], the target's score.
        outputs: [N, K], the model's output.
        input: gradient of the score with respect to the input, of its shape; for several inputs
            in their structure, None for those that are not floats; empty when it was not asked for.
        relevance: with rules, the input's relevance under them, of its shape; else empty.
        start: [N], the relevance that has set out: the score, or with a composite's `through` what
            of it flows through those channels; empty without gradients.
        activations, gradients: for each layer of `at`, its output and the score's gradient there.
        grids: with `Spatial`, how the layers' outputs are spread over the picture; those of which
            it is not known are left out.
    """

    scores: Array
    outputs: Array
    input: Any = field(default_factory=lambda: np.empty(0))
    relevance: Array = field(default_factory=lambda: np.empty(0))
    start: Array = field(default_factory=lambda: np.empty(0))
    activations: dict[str, Array] = field(default_factory=dict)
    gradients: dict[str, Array] = field(default_factory=dict)
    grids: dict[str, Grid] = field(default_factory=dict)


class RulesRun(Protocol):
    """A composite's rules, attached to a model for one run."""

    leaves: list[Tensor]
    """After the forward pass: tensors t whose sum of t * gradient is the input's relevance;
    empty when that is the input alone."""

    looks: bool
    """Whether it looks at the graph, in which operations must then be Paddle's own."""

    def begin(self, x: Tensor) -> Tensor:
        """Called with the input; returns what the model is given."""

    def settled(self, output: Tensor) -> bool:
        """Called after the forward pass; False asks for it to be run again.

        Raises:
            UnsupportedModelError: the rules did not reach an operation that they must.
        """

    def start(self, score: Tensor) -> Tensor:
        """What relevance sets out from, [n]: the score, or a part of it."""


class Rules(Protocol):
    """What the probe needs of a composite of rules (see `interpretdl.rules`)."""

    def applied(self, model: Any) -> contextlib.AbstractContextManager[RulesRun]:
        """Attach the rules until the context ends."""


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], dict):
        return {name: _joined([part[name] for part in parts]) for name in parts[0]}
    if isinstance(parts[0], tuple):
        return tuple(_joined(each) for each in zip(*parts, strict=True))
    if parts[0] is None or isinstance(parts[0], Grid):
        return parts[0]
    return np.concatenate(parts)


def concatenated(parts: Sequence[Gradients]) -> Gradients:
    """The results of consecutive batches as one."""
    if len(parts) == 1:
        return parts[0]
    return Gradients(
        **{key: _joined([vars(part)[key] for part in parts]) for key in vars(parts[0])}
    )


def to_numpy(tensor: Tensor) -> Array:
    """A tensor's values; half precision becomes float32, which NumPy computes with."""
    if tensor.dtype in HALF:
        tensor = tensor.astype("float32")
    array: Array = tensor.detach().numpy()
    return array


def gradients_at(tensors: list[Tensor], score: Tensor, *, more: bool = False) -> list[Tensor]:
    """The score's gradient at tensors, zeros where it does not depend on them.

    Args:
        more: whether the graph is needed again.
    """
    found = [None for _ in tensors]
    if not score.stop_gradient:
        found = paddle.grad(score, tensors, retain_graph=more, allow_unused=True)
    pairs = zip(tensors, found, strict=True)
    return [paddle.zeros_like(t) if g is None else g for t, g in pairs]


def watch(
    stack: contextlib.ExitStack,
    layer_of: Callable[[str], Any],
    names: Sequence[str],
    edit: Edits | None,
    *,
    leaves: bool,
) -> Callable[[], dict[str, Tensor]]:
    """Attach hooks until `stack` closes; the function returned gives what they captured.

    Args:
        layer_of: the sublayer of a name.
        names: layers whose output is kept ("name:input": what goes in); the last run counts.
        edit: {layer: function}, applied to the output first.
        leaves: where no gradient is wanted before a layer, its output becomes a leaf, so that the
            backward pass ends there.
    """
    captured: dict[str, Tensor] = {}

    def seen(name: str, y: Any) -> Any:
        if edit is not None and name in edit:
            y = edit[name](y)
        if name not in names:
            return y
        if not isinstance(y, TENSORS):
            raise UnsupportedModelError(
                f"layer {name!r} gives {outline(y)}, not one tensor; name a layer inside it"
            )
        if leaves and y.stop_gradient:
            y = y.detach()
            y.stop_gradient = False
        captured[name] = y
        return y.clone()  # what follows may work in place

    def after(name: str) -> Callable[..., Any]:
        return lambda layer, inputs, output: seen(name, output)

    def before(name: str) -> Callable[..., Any]:
        return lambda layer, inputs: (seen(name, inputs[0]), *inputs[1:])

    for name in dict.fromkeys([*(edit or ()), *names]):
        layer = layer_of(name)
        hook = (
            layer.register_forward_pre_hook(before(name))
            if name.endswith(INPUT)
            else layer.register_forward_post_hook(after(name))
        )
        stack.callback(hook.remove)

    def result() -> dict[str, Tensor]:
        missing = [name for name in names if name not in captured]
        if missing:
            raise LayerNotFoundError(
                f"layer {missing[0]!r} did not run in the forward pass, so it has no activation"
            )
        return {name: captured[name] for name in names}

    return result


def embeddings(stack: contextlib.ExitStack, layers: Mapping[str, Any], ids: Array) -> list[str]:
    """Names of the layers that take just these ids [1, T] and give [1, T, E]; filled by a run.

    Args:
        stack: takes the hooks out.
    """
    found: list[str] = []

    def after(name: str) -> Callable[..., None]:
        def note(layer: Any, inputs: Any, output: Any) -> None:
            given = inputs[0] if inputs else None
            if not isinstance(given, TENSORS) or not isinstance(output, TENSORS):
                return
            if tuple(given.shape) != ids.shape or output.ndim != 3 or name in found:
                return
            if not given.is_floating_point() and np.array_equal(given.numpy(), ids):
                found.append(name)

        return note

    for name, layer in layers.items():
        if not layer._sub_layers:
            stack.callback(layer.register_forward_post_hook(after(name)).remove)
    return found
