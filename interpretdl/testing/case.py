"""What a check is given, and the words it complains in."""

from __future__ import annotations

import contextlib
import io
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from ..explanation import Explanation
from ..interpreter import Interpreter
from ..probe import Probe
from ..registry import MethodInfo

__all__ = ["Array", "Case", "need", "need_error", "need_same", "other_values"]

Array = NDArray[Any]
# Float32 sums in another order; an image whose map is wrong is off by far more.
_TOLERANCE = 1e-4


@dataclass
class Case:
    info: MethodInfo
    model: Any
    x: Array
    options: dict[str, Any]
    setup: dict[str, Any] = field(default_factory=dict)

    def method(self, **settings: Any) -> Interpreter:
        return self.info.cls(self.model, **{**self.setup, **settings})

    def explain(
        self, x: Any = None, label: Any = None, method: Interpreter | None = None, **options: Any
    ) -> Explanation:
        method = self.method() if method is None else method
        found = method.explain(
            self.x if x is None else x, label=label, **{**self.options, **options}
        )
        need(isinstance(found, Explanation), f"explain() gave {type(found).__name__}")
        return found

    def interpret(self, x: Any = None, **options: Any) -> tuple[Any, str]:
        """What interpret() returns, and what it prints."""
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            values = self.method().interpret(
                self.x if x is None else x, visual=False, **{**self.options, **options}
            )
        return values, printed.getvalue()

    @contextlib.contextmanager
    def runs(self, hook: Callable[[int], None] = lambda run: None) -> Iterator[list[int]]:
        """Counts the runs of a layer in the model's middle, and calls `hook` in each."""
        counted: list[int] = []

        def ran(layer: Any, inputs: Any, output: Any) -> None:
            counted.append(len(counted) + 1)
            hook(counted[-1])

        names = list(Probe(self.model).layer_shapes(self.x))
        handle = Probe(self.model).layer(names[len(names) // 2]).register_forward_post_hook(ran)
        try:
            yield counted
        finally:
            handle.remove()


def need(truth: Any, otherwise: str) -> None:
    if not truth:
        raise AssertionError(otherwise)


def need_same(got: Any, expected: Any, what: str, tolerance: float = _TOLERANCE) -> None:
    a, b = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    need(a.shape == b.shape, f"{what}: shapes {a.shape} and {b.shape}")
    apart, size = np.linalg.norm(a - b), np.linalg.norm(b)
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


def other_values(case: Case) -> dict[str, Any]:
    """For options whose type says which values there are, one that is not given otherwise."""
    others: dict[str, Any] = {}
    for name, parameter in case.info.options.items():
        hint = _hint(parameter.annotation, case.info.cls.attribute)
        now = case.options.get(name, parameter.default)
        if name == "target_layer_name":
            shapes = Probe(case.model).layer_shapes(case.x)
            others[name] = next(n for n, s in shapes.items() if len(s) == 4 and min(s[2:]) > 1)
        elif get_origin(hint) is Literal:
            others[name] = next(value for value in get_args(hint) if value != now)
        elif isinstance(now, bool):
            others[name] = not now
        elif isinstance(now, int):
            others[name] = now + 1
        elif isinstance(now, float):
            others[name] = now + 0.1
    return others


def _hint(annotation: Any, owner: Any) -> Any:
    """The annotation as a type, None where its names are known to type checkers only."""
    lone = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return get_type_hints(lone, globalns=owner.__globals__)["it"]
    except NameError:
        return None
