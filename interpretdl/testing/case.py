"""What a check is given, and the words it complains in."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

import numpy as np
from numpy.typing import NDArray

from ..errors import InterpretWarning
from ..evaluator import Evaluation, Evaluator
from ..explanation import Explanation
from ..interpreter import GradientInterpreter, Interpreter
from ..probe import Probe
from ..registry import EvaluatorInfo, MethodInfo
from ..targets import ScoreKind

__all__ = [
    "Array",
    "Bench",
    "EvaluatorCase",
    "MethodCase",
    "need",
    "need_error",
    "need_same",
    "other_values",
]

Array = NDArray[Any]
# Float32 sums in another order; an image whose map is wrong is off by far more.
_TOLERANCE = 1e-4


@dataclass
class Bench:
    """A model and three images on which something is checked.

    Attributes:
        options: given in every call.
        setup: further arguments of the constructor.
    """

    model: Any
    x: Array
    options: dict[str, Any]
    setup: dict[str, Any] = field(default_factory=dict)

    @contextlib.contextmanager
    def runs(self, hook: Callable[[int], None] = lambda run: None) -> Iterator[list[int]]:
        """The rows in each run of a layer in the model's middle; `hook` is called in each."""
        rows: list[int] = []

        def ran(layer: Any, inputs: Any, output: Any) -> None:
            rows.append(len(output))
            hook(len(rows))

        names = list(Probe(self.model).layer_shapes(self.x))
        handle = Probe(self.model).layer(names[len(names) // 2]).register_forward_post_hook(ran)
        try:
            yield rows
        finally:
            handle.remove()

    def classes(self) -> int:
        return int(Probe(self.model).logits(self.x[:1]).shape[1])


@dataclass
class MethodCase(Bench):
    info: MethodInfo = field(kw_only=True)

    def method(self, **settings: Any) -> Interpreter:
        made: Interpreter = self.info.cls(self.model, **{**self.setup, **settings})
        return made

    def explain(
        self, x: Any = None, label: Any = None, method: Interpreter | None = None, **options: Any
    ) -> Explanation:
        method = self.method() if method is None else method
        with _without_remarks():
            found = method.explain(
                self.x if x is None else x, label=label, **{**self.options, **options}
            )
        need(isinstance(found, Explanation), f"explain() gave {type(found).__name__}")
        return found

    def interpret(self, x: Any = None, **options: Any) -> tuple[Any, str]:
        """What interpret() returns, and what it prints."""
        with contextlib.redirect_stdout(io.StringIO()) as printed, _without_remarks():
            values = self.method().interpret(
                self.x if x is None else x, visual=False, **{**self.options, **options}
            )
        return values, printed.getvalue()


@dataclass
class EvaluatorCase(Bench):
    info: EvaluatorInfo = field(kw_only=True)

    def evaluator(self, **settings: Any) -> Evaluator:
        made: Evaluator = self.info.cls(self.model, **{**self.setup, **self.options, **settings})
        return made

    def given(
        self,
        x: Array | None = None,
        batch_size: int | None = None,
        gradient_of: ScoreKind = "logit",
        labels: Sequence[int] | Array = (0, 1, 2),
    ) -> dict[str, Any]:
        """Arguments of `measure` that satisfy every evaluator: gradients, masks and boxes."""
        x = self.x if x is None else x
        n, (height, width) = len(x), x.shape[2:]
        masks = np.zeros((n, height, width), bool)
        masks[:, height // 4 : height // 2, width // 4 : width // 2] = True
        method = GradientInterpreter(self.model, batch_size=batch_size)
        return {
            "x": x,
            "explanation": method.explain(x, list(labels), gradient_of=gradient_of),
            "interpreter": method,
            "masks": masks,
            "boxes": [(width // 4, height // 4, width // 2, height // 2)] * n,
        }

    def measure(
        self,
        given: Mapping[str, Any] | None = None,
        evaluator: Evaluator | None = None,
        **changes: Any,
    ) -> Evaluation:
        evaluator = self.evaluator() if evaluator is None else evaluator
        found = evaluator.measure(**{**(self.given() if given is None else given), **changes})
        need(isinstance(found, Evaluation), f"measure() gave {type(found).__name__}")
        return found


@contextlib.contextmanager
def _without_remarks() -> Iterator[None]:
    """Without warnings of maps that are right and say nothing: a check sees the values itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InterpretWarning)
        yield


def need(truth: Any, otherwise: str) -> None:
    if not truth:
        raise AssertionError(otherwise)


def need_same(got: Any, expected: Any, what: str, tolerance: float = _TOLERANCE) -> None:
    a, b = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    need(a.shape == b.shape, f"{what}: shapes {a.shape} and {b.shape}")
    known = np.isfinite(b)
    need(np.array_equal(np.isfinite(a), known), f"{what}: not finite in other places")
    apart, size = np.linalg.norm(a[known] - b[known]), np.linalg.norm(b[known])
    need(apart <= tolerance * size, f"{what}: ‖a - b‖ = {apart:.3g} at ‖b‖ = {size:.3g}")


def need_error(
    error: type[Exception], what: str, call: Callable[..., Any], *args: Any, **kwargs: Any
) -> Exception:
    """The error that the call must raise."""
    try:
        call(*args, **kwargs)
    except error as raised:
        return raised
    except Exception as raised:
        raise AssertionError(f"{what} raised {raised!r}, not {error.__name__}") from raised
    raise AssertionError(f"{what} raised nothing; {error.__name__} is wanted")


def other_values(case: MethodCase) -> dict[str, Any]:
    """For options whose type says which values there are, one that is not given otherwise."""
    others: dict[str, Any] = {}
    for name, parameter in case.info.options.items():
        now = case.options.get(name, parameter.default)
        if name == "target_layer_name":
            shapes = Probe(case.model).layer_shapes(case.x)
            others[name] = next(n for n, s in shapes.items() if len(s) == 4 and min(s[2:]) > 1)
        elif get_origin(parameter.annotation) is Literal:
            values = [value for value in get_args(parameter.annotation) if value != now]
            if values:
                others[name] = values[0]
        elif isinstance(now, bool):
            others[name] = not now
        elif isinstance(now, int):
            others[name] = now + 1
        elif isinstance(now, float):
            others[name] = now + 0.1
    return others
