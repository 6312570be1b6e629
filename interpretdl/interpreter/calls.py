"""How `explain` and `interpret` are called, for type checkers.

Both have the base's arguments and the keyword arguments of the method's own `attribute`. A type
checker reads these from `attribute` through a ParamSpec, so that a method says them once; when the
program runs, `options.method_like` does the same with signatures.
"""

from __future__ import annotations

from typing import Any, ParamSpec, Protocol, overload

from ..explanation import Explanation
from ..probe import Array
from ..targets import ScoreKind

__all__ = ["Explains", "Interprets"]

P = ParamSpec("P")


class _Attributes(Protocol[P]):
    def attribute(self, x: Any, target: Any, /, *args: P.args, **options: P.kwargs) -> Any: ...


class _Explain(Protocol[P]):
    @overload
    def __call__(
        self,
        inputs: Any,
        label: Any = None,
        resize_to: int | None = None,
        crop_to: int | None = None,
        gradient_of: ScoreKind | None = None,
        frame: int | None = None,
        labels: Any = None,
        *args: P.args,
        **options: P.kwargs,
    ) -> Explanation: ...
    @overload
    def __call__(  # InterpretDL's order, which differs from method to method
        self, inputs: Any, first: Any, second: Any, /, *more: Any, **options: Any
    ) -> Explanation: ...
    @overload
    def __call__(
        self, inputs: Any, layer: Any, /, *, label: Any, **options: Any
    ) -> Explanation: ...


class _Interpret(Protocol[P]):
    @overload
    def __call__(
        self,
        inputs: Any,
        label: Any = None,
        resize_to: int | None = None,
        crop_to: int | None = None,
        visual: bool = True,
        save_path: Any = None,
        gradient_of: ScoreKind | None = None,
        frame: int | None = None,
        style: str = "overlay",
        bare: bool = False,
        labels: Any = None,
        *args: P.args,
        **options: P.kwargs,
    ) -> Array: ...
    @overload
    def __call__(  # InterpretDL's order, which differs from method to method
        self, inputs: Any, first: Any, second: Any, /, *more: Any, **options: Any
    ) -> Array: ...
    @overload
    def __call__(self, inputs: Any, layer: Any, /, *, label: Any, **options: Any) -> Array: ...


class Explains:
    """`explain` of an interpreter, whose options are those of its `attribute`."""

    def __get__(self, method: _Attributes[P], owner: Any = None) -> _Explain[P]:
        raise NotImplementedError  # every subclass has its own


class Interprets:
    """`interpret` of an interpreter, whose options are those of its `attribute`."""

    def __get__(self, method: _Attributes[P], owner: Any = None) -> _Interpret[P]:
        raise NotImplementedError  # every subclass has its own
