"""What a model and its device are like, and putting a model back as it was."""

from __future__ import annotations

import contextlib
import operator
import threading
import warnings
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from typing import Any

import paddle
from paddle.jit.dy2static.program_translator import StaticFunction
from paddle.jit.pir_translated_layer import PirTranslatedLayer
from paddle.jit.translated_layer import TranslatedLayer

from ..errors import InputError, UnsupportedModelError, warn

__all__ = [
    "as_it_was",
    "check_device",
    "check_differentiable",
    "in_use",
    "is_program",
    "place_of",
    "refuse_program",
]

# Paddle's backward pass is not thread-safe: two threads in paddle.grad end the process.
_LOCK = threading.RLock()
_owner: list[int | None] = [None]  # the thread that runs a model
# Programs with a backward pass, as a model from paddle.jit.load keeps them for itself.
_programs: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()
_CONTAINERS = frozenset({dict, OrderedDict, defaultdict, list, set})


@contextlib.contextmanager
def as_it_was(model: Any) -> Iterator[None]:
    """Eval mode and frozen parameters inside; everything back on exit, whatever happened.

    What a forward pass keeps in the model's layers goes: attributes and buffers that appeared are
    removed, others have the value that they had, and so have lists, dicts and sets among them.
    Numbers that a layer counts for its owner, as in `self.calls += 1`, stay, and so do those that
    it adds to a list.

    Holds the process-wide lock: one model run at a time.
    """
    with _LOCK:
        layers = model.sublayers(include_self=True)
        variables = [*model.parameters(), *model.buffers()]
        stopped = [v.stop_gradient for v in variables]
        modes = [(layer, layer.training) for layer in layers]
        random_state = paddle.get_rng_state()
        written, held, outer = _written_in_eval(layers), _held_by(layers), _owner[0]
        try:
            _owner[0] = threading.get_ident()
            for layer in layers:
                _set_eval(layer)
            for v in variables:
                v.stop_gradient = True
            with _differentiable(layers):
                yield
        finally:
            for layer, mode in modes:  # first: then most layers' attributes are what they were
                vars(layer)["training"] = mode
            _put_back(held)
            for v, stop in zip(variables, stopped, strict=True):
                v.stop_gradient = stop
            for tensor, value in written:
                if tensor.numpy().tobytes() != value.numpy().tobytes():
                    tensor.set_value(value)
            paddle.set_rng_state(random_state)
            _owner[0] = outer


def in_use() -> bool:
    """Whether this code is called by a model that the probe is running."""
    return _owner[0] == threading.get_ident()


def _set_eval(layer: Any) -> None:
    """Eval mode, with gradients: what was made static for eval mode has no backward pass."""
    vars(layer)["training"] = False
    if is_program(layer):
        # Not eval mode's program. Dropout and batch-norm were saved as they are in eval mode.
        layer._is_test = bool(_no_gradient(layer))
        layer._partial_program_layers = _programs.setdefault(layer, {})
    elif isinstance(layer.forward, StaticFunction):
        vars(layer)["forward"] = layer.forward.dygraph_function


def _written_in_eval(layers: list[Any]) -> list[tuple[paddle.Tensor, paddle.Tensor]]:
    """Tensors that a forward pass may write in eval mode too, each with a copy.

    Buffers, and the running statistics (parameters, in Paddle) of a batch-norm that is told to
    use its batch's own. A new LSTM has a buffer without memory, of which there is no copy.
    """
    found = [tensor for layer in layers for tensor in layer._buffers.values()]
    for layer in layers:
        if getattr(layer, "_use_global_stats", None) is False:
            found += [layer._parameters.get(name) for name in ("_mean", "_variance")]
    return [(t, t.detach().clone()) for t in found if t is not None and t._is_initialized()]


def _held_by(layers: list[Any]) -> list[tuple[Any, Any]]:
    """The layers' attributes, and the lists, dicts and sets in them, each with its contents."""
    found: list[tuple[Any, Any]] = []
    waiting: list[Any] = [vars(layer) for layer in layers]
    seen: set[int] = set()
    for container in waiting:
        if not container:  # most: a layer has a dozen empty ones for hooks
            found.append((container, ()))
        elif id(container) not in seen:
            seen.add(id(container))
            contents = (dict if isinstance(container, dict) else list)(container)
            found.append((container, contents))
            values = contents.values() if isinstance(contents, dict) else contents
            waiting += [value for value in values if type(value) in _CONTAINERS]
    return found


def _put_back(held: list[tuple[Any, Any]]) -> None:
    for container, contents in held:
        if not (container or contents) or _same(container, contents):
            continue
        if isinstance(container, dict):
            before = contents or {}
            counted = {k: container[k] for k in before if _is_count(before[k], container.get(k))}
            if len(container) != len(before) or not all(map(operator.is_, container, before)):
                container.clear()  # their order counts too
            container.update(before)
            container.update(counted)
        elif isinstance(container, list):
            added = container[len(contents) :]
            if not (added and all(isinstance(each, int | float) for each in added)):
                container[:] = contents
        else:
            container.clear()
            container.update(contents)


def _same(container: Any, contents: Any) -> bool:
    """Whether a container holds what it held, the very same objects. This is nearly always so."""
    if len(container) != len(contents) or not all(map(operator.is_, container, contents)):
        return False
    return not isinstance(container, dict) or all(
        map(operator.is_, container.values(), contents.values())
    )


def _is_count(before: Any, after: Any) -> bool:
    """Whether a whole number has grown: what a layer counts for its owner stays counted."""
    return type(before) is type(after) is int and bool(after > before)


# -- programs --------------------------------------------------------------------------------------


def is_program(model: Any) -> bool:
    """Whether it comes from paddle.jit.load: a program of operations, without layers."""
    return isinstance(model, TranslatedLayer | PirTranslatedLayer)


@contextlib.contextmanager
def _differentiable(layers: list[Any]) -> Iterator[None]:
    """While a program's backward pass is built: it is to have the gradients of all parameters,
    as without its weight's Paddle's backward of layer_norm on the CPU is wrong.
    """
    programs = [layer for layer in layers if isinstance(layer, PirTranslatedLayer)]
    if not programs:
        yield
        return
    holders = [h for layer in programs for h in layer._program_holder_dict.values()]
    values = [value for holder in holders for value in holder.persistable_vars]
    stopped = [value.stop_gradient for value in values]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tensor do not have 'place'", UserWarning)  # Paddle's own
        try:
            for value in values:
                value.stop_gradient = False
            yield
        finally:
            for value, stop in zip(values, stopped, strict=True):
                value.stop_gradient = stop


def check_differentiable(model: Any) -> None:
    """Whether Paddle has the gradient of an exported program.

    Raises:
        UnsupportedModelError: it has not.
    """
    for layer in filter(is_program, model.sublayers(include_self=True)):
        if reason := _no_gradient(layer):
            refuse_program(layer, f"there are no gradients of this program: {reason}")


def _no_gradient(program: Any) -> str:
    """Why Paddle has no gradient of the program in eval mode; empty if it has."""
    if isinstance(program, TranslatedLayer):
        return "the old format (.pdmodel) has none in eval mode"
    if not program._program_holder_dict["forward"].support_train:
        return "it was saved without what a backward pass needs"
    for op in program.program().global_block().ops:
        name = op.name().removeprefix("pd_op.").removesuffix("_")
        if name == "rnn":
            return "its recurrent layer was saved without a backward pass"
        # Where layers run these are cured, see operations.py.
        if name == "group_norm" and not op.operands_source()[1].initialized():
            return "Paddle's backward of a group-norm without a weight is wrong"
        if name == "batch_norm" and op.attrs()["trainable_statistics"]:
            return "Paddle's backward of a batch-norm with its batch's statistics is wrong"
    return ""


def refuse_program(model: Any, what: str) -> None:
    """For what cannot be done without layers.

    Raises:
        UnsupportedModelError: the model is a program.
    """
    if is_program(model):
        raise UnsupportedModelError(
            f"{what}: the model comes from paddle.jit.load, which gives one program without "
            "layers. Build the network from its class and load its weights into it"
        )


# -- devices ---------------------------------------------------------------------------------------


def place_of(model: Any) -> Any:
    """The paddle place of the model's parameters; of new tensors when it has none."""
    parameter = next(iter(model.parameters()), None)
    return paddle.framework._current_expected_place() if parameter is None else parameter.place


def check_device(model: Any, device: str | None) -> None:
    """Hold `device` against where the model is.

    Warns:
        InterpretWarning: a GPU is asked for and this Paddle has none; the CPU is used.

    Raises:
        InputError: not a device's name, or the model's parameters are elsewhere.
    """
    if device is None:
        return
    kind = str(device).partition(":")[0]
    if kind not in ("cpu", "gpu"):
        raise InputError(f"device must be 'cpu', 'gpu', 'gpu:0' … or None; got {device!r}")
    place = place_of(model)
    if kind == "gpu" and not paddle.device.is_compiled_with_cuda():
        warn(f"device={device!r} was asked for, but this Paddle has no GPU: the CPU is used")
    elif (kind == "gpu") != place.is_gpu_place():
        raise InputError(
            f"device={device!r} was asked for, but the model's parameters are on {place}; move it "
            f"with model.to({device!r}), or leave device=None"
        )
