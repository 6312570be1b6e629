"""Reading logits from what a model returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import paddle

from ..errors import InputError, ModelWarning, UnsupportedModelError, warn
from ..tensors import HALF

__all__ = ["TENSORS", "OutputKind", "OutputReader", "outline"]

TENSORS = (paddle.Tensor, paddle.pir.Value)
"""What a layer gives: where it runs, and where it is traced."""

OutputKind = Literal["logits", "probabilities"]
Selector = int | str | Callable[[Any], paddle.Tensor]


class OutputReader:
    """From a model's return value to one Tensor of logits.

    Args:
        output: an index (tuple, list), a key (dict) or a callable; None where there is one tensor.
        kind: "logits"; "probabilities", whose logarithm is then taken as the logits; None notices a
            softmax, and warns once.

    Raises:
        InputError: unknown kind or selector; on the call, `output` is not in what the model
            returns, or is no tensor there.
        UnsupportedModelError: on the call, when the model returns several things and none is named,
            or no floats.
    """

    def __init__(self, output: Selector | None = None, kind: OutputKind | None = None) -> None:
        if kind not in (None, "logits", "probabilities"):
            raise InputError(f"output_kind must be 'logits', 'probabilities' or None; got {kind!r}")
        if isinstance(output, bool) or not (
            output is None or isinstance(output, int | str) or callable(output)
        ):
            raise InputError(f"output must be an index, a key, a callable or None; got {output!r}")
        self.output = output
        self.kind = kind
        self._warned = False
        self._softmax: bool | None = None

    def __call__(self, raw: Any, look: Callable[[Callable[[Any], bool]], bool]) -> paddle.Tensor:
        """Logits [N, K], from what the model returned; see `logits`."""
        return self.logits(self.pick(raw), look)

    def logits(
        self, output: paddle.Tensor, look: Callable[[Callable[[Any], bool]], bool]
    ) -> paddle.Tensor:
        """Logits [N, K], from the tensor that is explained; half precision becomes float32.

        Args:
            look: calls a function with the output of a run with gradients; used when the output
                looks like probabilities, to see whether a softmax made it.
        """
        if not output.is_floating_point() or output.ndim == 0:
            dtype = str(output.dtype).removeprefix("paddle.")
            raise UnsupportedModelError(
                f"what is explained must be floats, one row for each input; got {dtype} "
                f"{outline(output)}. Give the network without its last steps (such as an argmax or "
                "a mean), or pick another part of what it returns with output="
            )
        within = 1e-3
        if output.dtype in HALF:
            output, within = output.astype("float32"), 1e-2
        kind = self.kind
        if kind is None and _sums_to_one(output, within):
            if self._softmax is None:
                self._softmax = look(_made_by_softmax)
            if self._softmax:
                kind = "probabilities"
                self._warn()
        if kind == "probabilities":
            return paddle.log(output.clip(min=float(np.finfo(np.float32).tiny)))
        return output

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            warn(
                "the model's output is a softmax: its logarithm is taken as the logits. Give "
                "output_kind='probabilities' or 'logits' to say which it is",
                ModelWarning,
            )

    def pick(self, raw: Any) -> paddle.Tensor:
        """The tensor that is explained, as the model gave it."""
        if self.output is not None:
            return self._named(raw)
        if isinstance(raw, tuple | list) and len(raw) == 1:
            raw = raw[0]
        if not isinstance(raw, TENSORS):
            raise UnsupportedModelError(
                f"the model returns {outline(raw)}; say which part is to be explained with output= "
                f"(an index, a key or a callable){_such_as(raw)}"
            )
        return raw

    def _named(self, raw: Any) -> paddle.Tensor:
        function = self.output if callable(self.output) else None
        what = "the callable output=" if function else f"output={self.output!r}"
        if not function and isinstance(raw, TENSORS):
            raise InputError(
                f"{what} is not in {outline(raw)}: the model returns one tensor; leave output=None"
            )
        try:
            part = function(raw) if function else raw[self.output]
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            if function:
                raise InputError(
                    f"{what} failed on {outline(raw)}: {type(error).__name__}"
                ) from error
            raise InputError(f"{what} is not in {outline(raw)}") from None
        if not isinstance(part, TENSORS):
            raise InputError(
                f"{what} must lead to a tensor; got {outline(part)} of {outline(raw)}. A callable "
                "can reach further in: lambda out: out[0]['logits']"
            )
        return part


def _such_as(raw: Any) -> str:
    """One of the parts that there are, as it is written: "logits" where one is called so."""
    named = list(raw.items()) if isinstance(raw, Mapping) else []
    named = named or (list(enumerate(raw)) if isinstance(raw, tuple | list) else [])
    keys = [key for key, part in named if isinstance(part, TENSORS)]
    return f", such as output={('logits' if 'logits' in keys else keys[0])!r}" if keys else ""


def _made_by_softmax(output: paddle.Tensor) -> bool:
    maker = output.grad_fn
    while maker is not None and maker.name() == "CastGradNode":
        (maker,) = maker.next_functions
    return maker is None or "softmax" in maker.name().lower()


def _sums_to_one(output: paddle.Tensor, within: float) -> bool:
    # [N, K], [N, T, K] of sequences, [N, K, H, W] of segmentations
    axis = {2: 1, 3: 2, 4: 1}.get(output.ndim)
    if axis is None or output.shape[axis] < 2:
        return False
    smallest, error = float(output.amin()), float((output.sum(axis=axis) - 1).abs().amax())
    return smallest >= 0 and error < within


def outline(raw: Any) -> str:
    """A model's output in words: keys and shapes."""
    if isinstance(raw, TENSORS):
        return f"Tensor{list(raw.shape)}"
    if isinstance(raw, Mapping):
        return "{" + ", ".join(f"{k!r}: {outline(v)}" for k, v in raw.items()) + "}"
    if isinstance(raw, tuple | list):
        return f"{type(raw).__name__}(" + ", ".join(outline(v) for v in raw) + ")"
    return type(raw).__name__
