"""Which way forward passes are run where many are to come: by the layers, or by a traced program.

oneDNN runs a program 1.5 to 4 times as fast as Paddle runs layers. Tracing takes seconds, and some
models cannot be traced: so it is done where it pays, and what the program gives is held against
what the layers give before it is used.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args

import numpy as np

from ..errors import InputError, ModelWarning, quoted, warn
from ..record import digest_of_model
from .gradient_program import GradientProgram, no_gradient_program
from .hooks import Array, Tensor, to_numpy
from .inputs import Inputs, listed, rows_of
from .program import Program, unavailable
from .state import original_of

__all__ = ["Engine", "EngineKind", "GradientEngine"]

EngineKind = Literal["dygraph", "onednn", "onednn-bf16"]
Run = Callable[[Inputs], "Sequence[Tensor | Array]"]

_log = logging.getLogger(__name__)
# Values that all layers give in all passes, from which on tracing pays: some 30 passes of ResNet-50
# at 224 x 224. Not a time, so that the same call always runs, and rounds, the same way.
_WORTH = 1e9
# The same for gradients, of which fewer are needed: some 40 passes of EfficientNet-Lite0, and never
# fewer than these, as large networks take longer to trace.
_WORTH_GRADIENTS, _GRADIENTS = 3e8, 20
# How far the program's values may be from the layers', of the largest.
_WITHIN = {"onednn": 1e-5, "onednn-bf16": 0.1}
# How much further gradients may be, in the Euclidean norm: rounding puts some activations on the
# other side of a ReLU's kink, in float32 by the layers as well.
_KINKS = 2000


class Engine:
    """The decision between layers and a program, for one model.

    Args:
        kind: "dygraph", the layers; "onednn", a program; "onednn-bf16", a program in bfloat16,
            which changes maps by some percent; None: a program where so many passes are announced
            that tracing pays.
        pick: from what the model returns to the tensor that is explained.

    Attributes:
        note: what runs the passes that were announced last, and why; empty where nothing was
            decided.
        begun: whether some of the passes that were announced have been run.

    Raises:
        InputError: another kind.
    """

    def __init__(self, kind: EngineKind | None, pick: Callable[[Any], Tensor]) -> None:
        if kind is not None and kind not in get_args(EngineKind):
            known = ", ".join(map(repr, get_args(EngineKind)))
            raise InputError(f"engine must be {known} or None; got {quoted(kind)}")
        self.kind, self._pick = kind, pick
        self.note = ""
        self._passes, self.begun = 0, False
        self._refused: dict[Any, str] = {}
        self._program: tuple[Any, Program] | None = None
        self._decided: tuple[Any, Program | None] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Engine:
        """For a copy of the model; a program of Paddle's cannot be copied, and is the other's."""
        return type(self)(self.kind, copy.deepcopy(self._pick, memo))

    @contextlib.contextmanager
    def announced(self, passes: int) -> Iterator[None]:
        """About so many items will be run without gradient until the context ends.

        Inside another announcement that one counts.
        """
        if self._passes:
            yield
            return
        self._passes, self._decided, self.begun, self.note = passes, None, False, ""
        try:
            yield
        finally:
            self._passes = 0

    @property
    def open(self) -> bool:
        """Whether passes are announced that a program may run."""
        return self._passes > 0 and self.kind != "dygraph"

    def run(
        self, model: Any, x: Inputs, names: Sequence[str], layers: Run, values: int | None
    ) -> list[Array] | None:
        """The output and the outputs of layers for x; None where the layers are to be run.

        Args:
            model: the copy of the model that is run.
            names: the layers whose outputs are wanted.
            layers: runs the copy: the output and those layers' outputs.
            values: how many values all layers give for an item, None before the first run.
        """
        if not self.open:
            return None
        key = (_signature(x), tuple(names))
        if self._decided is None or self._decided[0] != key:
            # The layers run the first batch, which tells how much there is to do; each time, so
            # that a call that is repeated gives the same bits.
            if self.kind is None and (not self.begun or values is None):
                return None
            self._decided = key, self._choose(key, model, x, layers, values or 0)
        program = self._decided[1]
        if program is None:
            return None
        try:
            return program(x)
        except (RuntimeError, ValueError) as error:  # such as a number of rows it was not made for
            self._decided = key, self._refused_because(key, _told(error))
            return None

    def _choose(self, key: Any, model: Any, x: Inputs, layers: Run, values: int) -> Program | None:
        """The program to use, held against the layers; None for the layers."""
        if key in self._refused:
            return self._refused_because(key, self._refused[key])
        if self.kind is None and values * self._passes < self._worth():
            return None
        if reason := self._unavailable(model):
            return self._refused_because(key, reason)
        kind = self.kind or "onednn"
        x = self._example(x)
        given = layers(x)
        expected = [v if isinstance(v, np.ndarray) else to_numpy(v) for v in given]
        made_for = (*key, digest_of_model(original_of(model)))
        reason = ""
        for fresh in (False, True):  # a model may change in what no parameter shows
            try:
                if fresh:
                    self._program = None
                    bfloat16 = kind == "onednn-bf16"
                    self._program = made_for, self._made(model, self._pick, x, key[1], bfloat16)
                if self._program is None or self._program[0] != made_for:
                    continue
                off = self._difference(self._program[1](x), expected)
            except MemoryError:
                reason = "there is no memory for its weights"
            except Exception as error:  # Paddle's compiler raises what its own mistakes raise
                reason = f"it cannot be traced: {_told(error)}"
            else:
                if off <= _WITHIN[kind]:
                    self.note = kind
                    return self._program[1]
                reason = f"the program's values differ by {off:.1e} of the largest"
        self._program = None
        return self._refused_because(key, reason)

    # -- what is other for gradients ---------------------------------------------------------------

    _made: Callable[..., Program] = Program

    def _worth(self) -> float:
        return _WORTH

    def _unavailable(self, model: Any) -> str:
        return unavailable(model)

    def _example(self, x: Inputs) -> Inputs:
        """What the program is made and tried with, one or two rows."""
        return rows_of(x, slice(2))

    def _difference(self, found: Sequence[Array], expected: Sequence[Array]) -> float:
        return _difference(found, expected)

    def _refused_because(self, key: Any, reason: str) -> Program | None:
        """None: go on with the layers; and say why."""
        if key not in self._refused:
            _log.debug("no oneDNN program: %s", reason)
            if self.kind is not None:
                warn(
                    f"engine={self.kind!r} cannot run this model, its layers run: {reason}",
                    ModelWarning,
                )
        self._refused[key] = reason
        self.note = f"dygraph: {reason}"
        return None


class GradientEngine(Engine):
    """The same decision for gradients of a class's score with respect to the input.

    `run` is asked with inputs and classes, and with the score's name; see GradientProgram.
    """

    _made = GradientProgram

    def _worth(self) -> float:
        return _WORTH_GRADIENTS if self._passes >= _GRADIENTS else float("inf")

    def _unavailable(self, model: Any) -> str:
        return unavailable(model) or no_gradient_program()

    def _example(self, x: Any) -> Inputs:
        """With noise: on a plain picture whole layers are at a kink."""
        inputs, classes = (part[:1] for part in x)
        noise = np.random.default_rng(0).standard_normal(inputs.shape)
        size = float(np.abs(inputs).max()) or 1.0
        return (inputs + 0.1 * size * noise).astype(inputs.dtype), classes

    def _difference(self, found: Sequence[Array], expected: Sequence[Array]) -> float:
        """Of the logits as for any program, and of the gradients by `_KINKS` less."""
        away = np.linalg.norm(found[1].astype(np.float64) - expected[1])
        size = float(np.linalg.norm(expected[1]))
        gradient = float(away) / size if size else float(away)
        return max(_difference(found[:1], expected[:1]), gradient / _KINKS)


def _signature(x: Inputs) -> Any:
    """What a program is made for: names, types and shapes of the inputs."""
    names = tuple(x) if isinstance(x, dict) else len(x) if isinstance(x, tuple) else None
    return names, tuple((str(part.dtype), part.shape[1:]) for part in listed(x))


def _difference(found: Sequence[Array], expected: Sequence[Array]) -> float:
    """The largest difference, of the largest value, of several arrays; NaN where shapes differ."""
    errors = [0.0]
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape:
            return float("nan")
        size = float(np.abs(other, dtype=np.float64).max())
        error = float(np.abs(one.astype(np.float64) - other).max())
        errors.append(error / size if size else error)
    return max(errors) if np.isfinite(errors).all() else float("nan")


def _told(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]
