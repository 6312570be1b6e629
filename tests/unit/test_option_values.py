"""Options as text: what a signature allows, and nothing else."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytest

import interpretdl as it
from interpretdl.cli.options import describe_option, parse_options
from interpretdl.errors import InputError
from interpretdl.registry import MethodInfo

Kind = Literal["mean", "sum"]


class Method:
    """Options of every type that a method has."""

    gradient_of, scores = "logit", ("logit", "loss")

    def attribute(
        self,
        x: Any,
        target: Any,
        *,
        steps: int = 50,
        rate: float = 0.1,
        on: bool = False,
        kind: Kind = "mean",
        layer: str | Sequence[str] | None = None,
        window: tuple[int, int, int] = (3, 5, 5),
        sizes: Sequence[float] = (),
        baseline: float | Literal["random"] | None = None,
        seed: int | None = None,
        free: Any = None,
        bare=None,  # type: ignore[no-untyped-def]  # an option without a type is what is tested
    ) -> None: ...


class Odd:
    """A type that is imported for type checkers only."""

    gradient_of, scores = "logit", ("logit",)

    def attribute(self, *, unknown: NotImported = None) -> None: ...  # type: ignore  # noqa: F821


def options_of(cls: type[Any]) -> dict[str, inspect.Parameter]:
    facts: Any = {"layout": "nchw", "signed": True, "needs_layer": False, "random": False}
    facts |= {"one_pass": False, "inputs": frozenset(), "paper": "", "url": ""}
    return MethodInfo("m", cls, **facts).options


KNOWN = options_of(Method) | {"unknown": options_of(Odd)["unknown"]}


def parsed(text: str) -> Any:
    (value,) = parse_options([text], KNOWN, "m").values()
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("steps=7", 7),
        ("steps = 7 ", 7),
        ("rate=.5", 0.5),
        ("rate=1", 1.0),
        ("on=yes", True),
        ("on=False", False),
        ("kind=sum", "sum"),
        ("layer=layer4", "layer4"),
        ("layer=layer3,layer4", ("layer3", "layer4")),
        ("layer=none", None),
        ("window=3,15,15", (3, 15, 15)),
        ("window=(3, 15, 15)", (3, 15, 15)),
        ("sizes=1,2.5", (1.0, 2.5)),
        ("baseline=random", "random"),
        ("baseline=0.5", 0.5),
        ("baseline=None", None),
        ("seed=3", 3),
        ("free=[1, 2]", [1, 2]),
        ("free=word", "word"),
        ("bare=3", 3),
        ("unknown=word", "word"),
        ("layer=a=b", "a=b"),
        ("gradient_of=loss", "loss"),
    ],
)
def test_values_are_typed_by_the_signature(text: str, value: Any) -> None:
    got = parsed(text)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("steps=7.5", "steps must be int; got '7.5'"),
        ("steps=none", "steps must be int"),
        ("on=perhaps", "on must be bool"),
        ("gradient_of=contrast", "gradient_of must be 'logit' or 'loss'"),
        ("kind=median", "kind must be 'mean' or 'sum'; got 'median'"),
        ("window=3,5", "window must be list of int"),
        ("window=a,b,c", "window must be list of int"),
        ("sizes=1,x", "sizes must be list of float"),
        ("baseline=mean", "baseline must be float, 'random' or none"),
        ("step=5", "did you mean 'steps'"),
        ("steps", "name=value"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        parsed(text)
    assert says in str(caught.value)


def test_a_method_without_options_says_so() -> None:
    with pytest.raises(InputError, match="it has none"):
        parse_options(["x=1"], {}, "m")


def test_descriptions() -> None:
    assert describe_option(KNOWN["steps"]) == "steps=50  (int)"
    assert describe_option(KNOWN["layer"]) == "layer=None  (str, list of str or none)"


@pytest.mark.parametrize("number", [1e300, -1e300, float("inf"), float("nan")])
def test_numbers_that_the_inputs_type_does_not_hold(number: float, toy: Any) -> None:
    x = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    far = np.full((3, 8, 8), number)
    tried = {
        "the fill": lambda: it.Deletion(toy(), fill=number).measure(x, abs(x), 0),
        "a baseline": lambda: it.IntegratedGradientsInterpreter(toy()).explain(x, baselines=far),
    }
    if np.isfinite(number):  # else it is refused when it is read
        background = it.ExpectedGradientsInterpreter(toy(), far[None])
        tried["the background"] = lambda: background.explain(x)
    for what, run in tried.items():
        with pytest.raises(it.InputError, match=f"{what} holds NaN or Inf, or a number too large"):
            run()
