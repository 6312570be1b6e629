"""What a model and its device are like, and putting a model back as it was."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import paddle

from ..errors import InputError, InterpretWarning

__all__ = ["as_it_was", "check_device", "in_use", "place_of"]

# Paddle's backward pass is not thread-safe: two threads in paddle.grad end the process.
_LOCK = threading.RLock()
_owner: list[int | None] = [None]  # the thread that runs a model


@contextlib.contextmanager
def as_it_was(model: Any) -> Iterator[None]:
    """Eval mode and frozen parameters inside; everything back on exit, whatever happened.

    Holds the process-wide lock: one model run at a time.
    """
    with _LOCK:
        layers = model.sublayers(include_self=True)
        training = [layer.training for layer in layers]
        variables = [*model.parameters(), *model.buffers()]
        stopped = [v.stop_gradient for v in variables]
        random_state = paddle.get_rng_state()
        outer, _owner[0] = _owner[0], threading.get_ident()
        running = _written_in_eval(layers)
        try:
            for layer in layers:
                layer.training = False
            for v in variables:
                v.stop_gradient = True
            yield
        finally:
            for layer, mode in zip(layers, training, strict=True):
                layer.training = mode
            for v, stop in zip(variables, stopped, strict=True):
                v.stop_gradient = stop
            for held, name, tensor, value in running:
                held[name] = tensor
                if tensor.numpy().tobytes() != value.numpy().tobytes():
                    tensor.set_value(value)
            paddle.set_rng_state(random_state)
            _owner[0] = outer


def in_use() -> bool:
    """Whether this code is called by a model that the probe is running."""
    return _owner[0] == threading.get_ident()


def _written_in_eval(layers: list[Any]) -> list[tuple[Any, str, paddle.Tensor, paddle.Tensor]]:
    """What a forward pass may write in eval mode too: where it is, its name, itself and a copy.

    Buffers, and the running statistics (parameters, in Paddle) of a batch-norm that is told to
    use its batch's own.
    """
    found = [(layer._buffers, name, t) for layer in layers for name, t in layer._buffers.items()]
    for layer in layers:
        if getattr(layer, "_use_global_stats", None) is False:
            held = layer._parameters
            found += [(held, name, held[name]) for name in ("_mean", "_variance") if name in held]
    return [(held, name, t, t.detach().clone()) for held, name, t in found if t is not None]


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
        warnings.warn(
            f"device={device!r} was asked for, but this Paddle has no GPU: the CPU is used",
            InterpretWarning,
            stacklevel=4,
        )
    elif (kind == "gpu") != place.is_gpu_place():
        raise InputError(
            f"device={device!r} was asked for, but the model's parameters are on {place}; move it "
            f"with model.to({device!r}), or leave device=None"
        )
