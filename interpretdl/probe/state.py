"""What a model and its device are like, and running a model that is left as it was."""

from __future__ import annotations

import contextlib
import functools
import re
import threading
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import paddle
from paddle.jit.dy2static.program_translator import StaticFunction
from paddle.jit.pir_translated_layer import PirTranslatedLayer
from paddle.jit.translated_layer import TranslatedLayer

from ..errors import InputError, ModelWarning, UnsupportedModelError, warn
from ..tensors import HALF
from .copies import Copies, is_program
from .function import FunctionModel

__all__ = [
    "as_it_was",
    "check_device",
    "check_differentiable",
    "check_precision",
    "copy_of",
    "is_program",
    "original_of",
    "place_of",
    "refuse_program",
]

# Paddle's backward pass is not thread-safe: two threads in paddle.grad end the process.
_LOCK = threading.RLock()
_owner: list[int | None] = [None]  # the thread that runs a model
# Programs with a backward pass, as a model from paddle.jit.load keeps them for itself.
_programs: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()
_running: list[Copies] = []
_told: weakref.WeakSet[Any] = weakref.WeakSet()  # models in half precision


@contextlib.contextmanager
def as_it_was(model: Any) -> Iterator[None]:
    """Let this thread run a copy of the model, in eval mode, with its parameters frozen.

    Inside, `copy_of(model)` is the copy, and a layer of the model that is called all the same, say
    from an object that holds it, is the copy's. The model itself is not touched, so that other
    threads may run it meanwhile. On exit the copy is gone, with all that a forward pass kept in its
    layers, and the global random state is what it was.

    Inside another such context of the same model its copy runs on, because making one takes as long
    as running a small network. Half precision and automatic mixed precision become float32.

    Holds the process-wide lock: one explanation at a time.
    """
    with _LOCK:
        random_state = paddle.get_rng_state()
        if copy_of(model) is not model and _running[-1].original is model:
            try:
                yield
            finally:
                paddle.set_rng_state(random_state)
            return
        copies, outer, call = Copies(model), _owner[0], paddle.nn.Layer.__call__
        for original, layer in copies.layers:
            _set_eval(original, layer)
        try:
            _running.append(copies)
            _owner[0] = threading.get_ident()
            if outer is None:
                paddle.nn.Layer.__call__ = _on_the_copy(call)
            with (
                _without_auto_cast(),
                _differentiable([layer for _, layer in copies.layers]),
            ):
                yield
        finally:
            paddle.nn.Layer.__call__ = call
            _owner[0] = outer
            _running.pop()
            paddle.set_rng_state(random_state)


@contextlib.contextmanager
def _without_auto_cast() -> Iterator[None]:
    """Without the caller's automatic mixed precision. (`amp.auto_cast` leaves its type behind.)"""
    tracer = paddle.base.framework._dygraph_tracer()
    level, tracer._amp_level = tracer._amp_level, paddle.base.core.AmpLevel.O0
    try:
        yield
    finally:
        tracer._amp_level = level


def _on_the_copy(call: Any) -> Any:
    @functools.wraps(call)
    def run(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return call(copy_of(layer), *args, **kwargs)

    return run


def copy_of(layer: Any) -> Any:
    """The copy of a layer in the run that this code is called from; itself outside of one."""
    if _owner[0] == threading.get_ident():
        for copies in reversed(_running):
            if (copy := copies.of(layer)) is not layer:
                return copy
    return layer


def original_of(model: Any) -> Any:
    """The model that is run on this copy; itself if it is none."""
    return next((c.original for c in reversed(_running) if c.model is model), model)


def _set_eval(original: Any, layer: Any) -> None:
    """Eval mode, with gradients: what was made static for eval mode has no backward pass."""
    vars(layer)["training"] = False
    if is_program(layer):
        # Not eval mode's program. Dropout and batch-norm were saved as they are in eval mode.
        layer._is_test = bool(_no_gradient(layer))
        layer._partial_program_layers = _programs.setdefault(original, {})
    elif isinstance(layer.forward, StaticFunction):
        vars(layer)["forward"] = layer.forward.dygraph_function


# -- programs --------------------------------------------------------------------------------------


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
        warnings.filterwarnings(
            "ignore", "(Tensor|Value) do not have 'place'", UserWarning
        )  # Paddle's own
        try:
            for value in values:
                value.stop_gradient = False
            yield
        finally:
            for value, stop in zip(values, stopped, strict=True):
                value.stop_gradient = stop


def check_differentiable(model: Any) -> None:
    """Whether Paddle has the gradient of a model that is an exported program or a function.

    Raises:
        UnsupportedModelError: it has not.
    """
    if isinstance(model, FunctionModel):
        raise UnsupportedModelError(
            "a function has no gradients; take a method that needs none, such as occlusion, lime, "
            "rise or kernel_shap"
        )
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
            "layers. it.load_exported(path), with the path that paddle.jit.load was given, makes a "
            "network with layers of it"
        )


# -- devices ---------------------------------------------------------------------------------------


def place_of(model: Any) -> Any:
    """The paddle place of the model's parameters; of new tensors when it has none."""
    parameter = next(iter(model.parameters()), None)
    return (paddle.empty([0]) if parameter is None else parameter).place


def check_precision(model: Any) -> None:
    """Say once of a model in half precision that it is explained in float32.

    Warns:
        InterpretWarning: some of its parameters are float16 or bfloat16.
    """
    half = {p.dtype for p in model.parameters()} & set(HALF)
    if half and model not in _told and not is_program(model):
        _told.add(model)
        kind = str(half.pop()).removeprefix("paddle.")
        warn(
            f"the model's parameters are {kind}: it is explained in float32, in a copy, so scores "
            f"differ from those in {kind} in the last digits",
            ModelWarning,
        )


def check_device(model: Any, device: str | None) -> None:
    """Hold `device` against where the model is.

    Warns:
        InterpretWarning: a GPU is asked for and this Paddle has none; the CPU is used.

    Raises:
        InputError: not a device's name, or the model's parameters are elsewhere.
    """
    if device is None:
        return
    named = re.fullmatch("cpu|gpu(:[0-9]{1,3})?", str(device))
    if not named:
        raise InputError(f"device must be 'cpu', 'gpu', 'gpu:0' … or None; got {device!r}")
    place, gpu, number = place_of(model), str(device) != "cpu", named[1]
    if gpu and not paddle.device.is_compiled_with_cuda():
        warn(f"device={device!r} was asked for, but this Paddle has no GPU: the CPU is used")
    elif gpu != place.is_gpu_place() or (number and int(number[1:]) != place.gpu_device_id()):
        raise InputError(
            f"device={device!r} was asked for, but the model's parameters are on {place}; move it "
            f"with model.to({device!r}), or leave device=None"
        )
