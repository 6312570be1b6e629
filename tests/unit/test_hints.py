"""Options are held against their annotations, in methods and evaluators alike."""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

import interpretdl as it
from interpretdl.errors import InputError
from interpretdl.hints import check_value
from interpretdl.testing import small_network

Fill = Literal["mean", "blur"] | float | NDArray[Any] | None


class Protocol(typing.Protocol):
    """Cannot be looked at."""

    x: int


@pytest.mark.parametrize(
    ("hint", "good", "bad", "words"),
    [
        (int, [0, -3, np.int64(2), 2**62], [True, 1.0, "1", None, [1]], "a whole number"),
        (float, [0, 0.5, np.float32(1), float("nan")], [True, "1", None, 1j], "a number"),
        (bool, [True, np.True_], [0, 1, "yes", None], "True or False"),
        (str, ["", "a"], [b"a", 1, None], "a string"),
        (int | None, [1, None], [False, "x"], "a whole number or None"),
        (Literal["a", "b"], ["a"], ["c", 1, [], None], "one of 'a' or 'b'"),
        (
            Fill,
            ["mean", 1, np.ones(3), None, [1]],
            ["x", {}, len],
            "one of 'mean', 'blur', a number, an array or None",
        ),
        (Callable[[int], int] | None, [len, None], [1, "len"], "a function or None"),
        (Sequence[str], [["a"], ("a",), []], ["a", [1], None], "a list of a string"),
        (tuple[int, float], [(1, 2.0)], [(1,), [1, 2.0], (1, "a")], "a tuple of a whole number"),
        (Any, [1, None, "a"], [], ""),
        (Protocol, [1], [], ""),
        (it.Preprocessing, [it.IMAGENET], [1, None], "a Preprocessing"),
    ],
)
def test_values_and_annotations(hint: Any, good: list[Any], bad: list[Any], words: str) -> None:
    for value in good:
        check_value("o", value, hint)
    for value in bad:
        with pytest.raises(InputError, match=rf"^o must be {words}; got"):
            check_value("o", value, hint)


def test_what_is_quoted_is_short() -> None:
    with pytest.raises(InputError) as caught:
        check_value("o", "x" * 10**6, int)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("method", "option"),
    [
        (it.GradCAMInterpreter, {"reshape_transform": False}),
        (it.SmoothGradInterpreter, {"n_samples": "5"}),
        (it.IntegratedGradientsInterpreter, {"steps": True}),
        (it.LRPInterpreter, {"composite": 3}),
    ],
)
def test_methods_refuse_values_of_another_type(method: Any, option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(option))} must be"):
        method(small_network()).explain(np.zeros((1, 3, 8, 8), np.float32), label=0, **option)


def test_evaluators_refuse_values_of_another_type() -> None:
    with pytest.raises(InputError, match="steps must be a whole number"):
        it.Deletion(small_network(), steps="many")
    with pytest.raises(InputError, match="batch_size must be a whole number or None"):
        it.Deletion(small_network(), batch_size="2")


def test_integers_that_python_does_not_print() -> None:
    huge = 10**5000
    with pytest.raises(InputError, match=r"steps must be below 2\*\*63; got <int>"):
        it.Deletion(small_network(), steps=huge)
    for label in (huge, -huge, [huge], 2**63):
        with pytest.raises(it.TargetError, match=r"is not in \[0, 5\)"):
            it.GradientInterpreter(small_network()).explain(
                np.zeros((1, 3, 8, 8), np.float32), label=label
            )


def test_long_messages_are_cut() -> None:
    error = it.InputError("a" * 10**6 + "b")
    assert len(str(error)) < 2100
    assert str(error).startswith("aaa")
    assert str(error).endswith("aab")
    with pytest.raises(it.TargetError) as caught:
        it.GradientInterpreter(small_network()).explain(
            np.zeros((1, 3, 8, 8), np.float32), label="x" * 200_000
        )
    assert len(str(caught.value)) < 2100
