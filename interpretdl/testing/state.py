"""What a run must leave as it was, and a model that is in use."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import paddle

__all__ = ["differences", "in_use", "state_of"]


def state_of(model: Any) -> dict[str, Any]:
    """Everything that a run must leave alone, to be held against a later one by `differences`.

    The model's parameters and buffers with `stop_gradient` and `.grad`, each sublayer's attributes
    and hooks (`training` among them); the global random states, device, dtype and gradient mode.
    """
    facts: dict[str, Any] = {}
    for name, layer in model.named_sublayers(include_self=True):
        for key, value in vars(layer).items():
            if key != "_built":  # Paddle's own mark on a layer that has run
                facts[f"{name or 'model'}.{key}"] = (
                    dict(value) if isinstance(value, dict) else value
                )
    for kind in ("parameters", "buffers"):
        for name, tensor in getattr(model, f"named_{kind}")():
            grad = None if tensor.grad is None else tensor.grad.numpy().tobytes()
            facts[f"values of {name}"] = tensor.numpy().tobytes()
            facts[f"{name}.stop_gradient"] = tensor.stop_gradient
            facts[f"{name}.grad"] = grad
    paddle_state = paddle.get_rng_state()
    facts["paddle's random numbers"] = paddle.rand([4]).numpy().tobytes()  # as they would come next
    paddle.set_rng_state(paddle_state)
    # The old global generator is the one that must be left alone.
    facts["numpy's random numbers"] = str(np.random.get_state())  # noqa: NPY002
    facts["python's random numbers"] = random.getstate()
    facts["device"] = paddle.get_device()
    facts["default dtype"] = paddle.get_default_dtype()
    facts["gradient mode"] = paddle.is_grad_enabled()
    return facts


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Names of the facts of `state_of` that are not what they were."""
    return [
        name
        for name in {**before, **after}
        if name not in before or name not in after or not _alike(before[name], after[name])
    ]


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(a[key] is b[key] for key in a)
    return a is b or (isinstance(a, str | bytes | bool | tuple) and a == b)


@contextlib.contextmanager
def in_use(model: Any) -> Iterator[None]:
    """The model as someone trains it: half of it in train mode, a gradient, a frozen weight, a
    hook, and random generators that have been drawn from. All put back in the end.
    """
    layers, parameters = model.sublayers(include_self=True), model.parameters()
    modes = [layer.training for layer in layers]
    stopped = [p.stop_gradient for p in parameters]
    grads = [p.grad for p in parameters]
    numbers = paddle.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    hook = layers[-1].register_forward_post_hook(lambda layer, inputs, output: None)
    try:
        # The global generators, where a call that sets a seed would be seen.
        paddle.rand([3]), np.random.random(3), random.random()  # noqa: NPY002, S311
        for i, layer in enumerate(layers):
            layer.training = i % 2 == 0
        trained = [p for p in parameters if not p.stop_gradient]
        for p in trained[:1]:
            p.sum().backward()
        for p in trained[1:2]:
            p.stop_gradient = True
        yield
    finally:
        hook.remove()
        paddle.set_rng_state(numbers[0])
        np.random.set_state(numbers[1])  # noqa: NPY002  # as above
        random.setstate(numbers[2])
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode
        for p, stop, grad in zip(parameters, stopped, grads, strict=True):
            p.stop_gradient = stop
            if grad is None:
                p.clear_gradient(False)  # Paddle 3.0 and 3.1 refuse p.grad = None
            else:
                p.grad = grad
