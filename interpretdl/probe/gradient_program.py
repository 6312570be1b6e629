"""Input gradients of a class's score as a program for oneDNN: for methods that need many."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle.base import libpaddle
from paddle.base.dygraph.base import switch_to_static_graph

from ..processor import this_processor
from .backward import RESHAPES, Rewriter, short
from .hooks import Array, Tensor
from .program import Program, saved
from .quiet import quiet_paddle

__all__ = ["GradientProgram", "no_gradient_program"]

_ACTIVATIONS = ("relu", "relu6", "hardswish", "hardsigmoid", "sigmoid", "swish", "silu", "gelu",
                "leaky_relu", "tanh")  # fmt: skip
_SHAPES = ("transpose", "concat", "pool2d", "mean")
_KNOWN = frozenset((
    *("conv2d", "depthwise_conv2d", "conv2d_transpose", "matmul", "add", "add_n", "multiply"),
    *("subtract", "scale", "sum", "softmax", "split", "split_with_num", "multiply_grad"),
    *("parameter", "data", "fetch", "full", "full_int_array", "combine", "full_like"),
    *_ACTIVATIONS, *(f"{name}_grad" for name in _ACTIVATIONS),
    *RESHAPES, *_SHAPES, *(f"{name}_grad" for name in _SHAPES),
))  # fmt: skip
"""Operations that were tried: one that fails in oneDNN may end the process."""


def no_gradient_program() -> str:
    """Why this machine runs none; empty where it does.

    With other instructions oneDNN keeps activations and their gradients in different orders, and
    what has to bring them together is slower than the layers.
    """
    if "avx512f" in this_processor().features:
        return ""
    return "gradients by programs need a processor with AVX-512"


class GradientProgram(Program):
    """The logits of a classifier, and the gradient of a class's score with respect to the input.

    Args:
        model: a copy of the user's, which tracing changes.
        pick: from what the model returns to the tensor that is explained, [N, K].
        x: (inputs [N, …], classes float32 [N, K], 1 for each item's own).
        names: one name: which score, see `ClassScore`.

    Raises:
        Exception: of any kind, for what cannot be traced or is not known.
    """

    def __init__(
        self,
        model: Any,
        pick: Callable[[Any], Tensor],
        x: tuple[Array, Array],
        names: tuple[str, ...],
        bfloat16: bool = False,
    ) -> None:
        if bfloat16:
            raise NotImplementedError("there are no gradients in bfloat16")
        with saved(model, pick, x[0]) as folder:
            self._scope = paddle.static.Scope()
            self._build(folder, x[1].shape[1], names[0])

    @switch_to_static_graph  # type: ignore[untyped-decorator]  # Paddle's
    def __call__(self, x: tuple[Array, Array]) -> list[Array]:
        """Logits [N, K], and the gradient [N, …]."""
        inputs, classes = x
        feed = {"x0": np.ascontiguousarray(inputs, np.float32), "classes": classes}
        with quiet_paddle():
            return list(
                self._executor.run(self._program, feed, fetch_list=self._results, scope=self._scope)
            )

    @switch_to_static_graph  # type: ignore[untyped-decorator]  # Paddle's
    def _build(self, folder: Path, classes: int, of: str) -> None:
        self._executor = paddle.static.Executor(paddle.CPUPlace())
        _load_dialect(self._executor)
        with paddle.static.scope_guard(self._scope):
            loaded = paddle.static.load_inference_model(str(folder / "model"), self._executor)
        self._program = loaded[0]
        with (
            warnings.catch_warnings(),
            paddle.static.program_guard(self._program, paddle.static.Program()),
        ):
            warnings.simplefilter("ignore")
            rewriter = Rewriter(self._program, self._scope)
            x, logits = rewriter.forward()
            if len(logits.shape) != 2:
                raise ValueError(f"the output is {list(logits.shape)}, not [N, K]")
            one_hot = paddle.static.data("classes", [-1, classes], "float32")
            seed = _seed(logits, one_hot, of, classes)
            (gradient,) = paddle.static.gradients([logits], [x], [seed])
            paddle._C_ops.fetch(logits, "logits", 0)
            paddle._C_ops.fetch(gradient, "gradient", 1)
            rewriter.backward()
        self._check()
        passes = libpaddle.pir.PassManager()
        passes.add_pass("onednn_placement_pass", {})
        passes.run(self._program)
        for operation in self._program.global_block().ops:
            # oneDNN's pooling keeps what its backward pass needs only where this is no test.
            if short(operation) in ("pool2d", "pool2d_grad") and "is_test" in operation.attrs():
                operation.set_bool_attr("is_test", False)
        fetched = (op for op in self._program.global_block().ops if short(op) == "fetch")
        self._results = [operation.operand_source(0) for operation in fetched]

    def _check(self) -> None:
        """Refuse what oneDNN has not been seen to do."""
        for operation in self._program.global_block().ops:
            name = short(operation)
            whole = all(value.initialized() for value in operation.results())
            if name not in _KNOWN or not whole:
                raise NotImplementedError(f"no gradient through the operation {name!r}")


def _seed(logits: Any, one_hot: Any, of: str, classes: int) -> Any:
    """The score's derivative by the logits, [N, K]."""
    if of == "logit" or (of == "contrast" and classes == 1):
        return one_hot
    if of == "contrast":
        return one_hot - (1 - one_hot) / (classes - 1)
    probabilities = paddle.nn.functional.softmax(logits, axis=1)
    if of == "loss":
        return probabilities - one_hot
    own = (probabilities * one_hot).sum(axis=1, keepdim=True)
    return own * (one_hot - probabilities)


def _load_dialect(executor: Any) -> None:
    """Paddle places nothing on oneDNN before some program has run."""
    program = paddle.static.Program()
    with paddle.static.program_guard(program):
        x = paddle.static.data("x", [1], "float32")
        y = x + 1
    executor.run(program, {"x": np.ones(1, np.float32)}, fetch_list=[y])
