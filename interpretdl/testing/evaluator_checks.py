"""The checks of evaluators, in the order in which they are run."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin

import numpy as np

from ..errors import InputError, TargetError
from ..evaluator import Evaluation
from ..explanation import Explanation
from ..interpreter.options import arguments_of
from ..record import plain
from ..registry import EVALUATORS
from .case import EvaluatorCase, need, need_error, need_same
from .trace import STOPS, need_no_trace, need_no_trace_after

__all__ = ["EVALUATOR_CHECKS"]

EVALUATOR_CHECKS: dict[str, Callable[[EvaluatorCase], None]] = {}
"""The contract, one function for each name in `check_evaluator(checks=...)`."""


def _check(function: Callable[[EvaluatorCase], None]) -> Callable[[EvaluatorCase], None]:
    EVALUATOR_CHECKS[function.__name__.strip("_")] = function
    return function


@_check
def _facts(case: EvaluatorCase) -> None:
    """The registry's facts are there and agree with the signature and the documentation."""
    info = case.info
    need(EVALUATORS.all().get(info.name) is info, "the registry has another class of this name")
    need(info.paper and info.summary, "a paper, and a first line of documentation, are needed")
    need("seed" in info.options or not info.random, "a random evaluator takes seed=")
    said = arguments_of(inspect.getdoc(info.cls) or "")
    for name, parameter in info.options.items():
        need(parameter.default is not parameter.empty, f"option {name} needs a default")
        need(name in said, f"option {name} is not among the class's Args")
    made = case.evaluator()
    settings = made.settings()
    need(set(info.options) <= set(settings), "options are missing in settings()")
    for name, value in case.options.items():
        need(settings[name] == value, f"settings() says {name}={settings[name]!r}, not {value!r}")
    json.dumps(plain(settings))
    need(repr(made).startswith(info.cls.__name__), f"repr is {made!r}")


@_check
def _shape_and_direction(case: EvaluatorCase) -> None:
    """A number for each image, or a flag; parts and curves for each; the direction as stated."""
    found, n = case.measure(), len(case.x)
    need(found.name == case.info.name, f"name is {found.name!r}")
    need(found.higher_is_better == case.evaluator().higher_is_better, "another direction")
    need(case.info.cls.higher_is_better == case.info.higher_is_better, "the class's direction")
    values = found.values
    need(values.shape == (n,) and values.dtype == np.float64, f"{values.dtype} {values.shape}")
    without = np.flatnonzero(~np.isfinite(values)).tolist()
    need(sorted(found.flags) == without, f"flags {found.flags}, but no value for {without}")
    need(len(without) < n, "no image has a value")
    for name, part in found.parts.items():
        need(part.shape == (n,), f"part {name} is {part.shape}")
    for name, curve in found.curves.items():
        need(curve.shape == (n, len(found.axis)), f"curve {name} is {curve.shape}")
    need(len(found.ticks) in (0, len(found.axis)), "ticks are not as many as the axis's points")


@_check
def _round_trip(case: EvaluatorCase) -> None:
    """as_json() is JSON, and from_json() gives the same again."""
    found = case.measure()
    text = json.dumps(found.as_json(), allow_nan=False)
    back = Evaluation.from_json(json.loads(text))
    for field in fields(found):
        before, after = plain([getattr(each, field.name) for each in (found, back)], None)
        need(before == after, f"{field.name} is {after} after as_json() and from_json()")


@_check
def _batch_equals_single(case: EvaluatorCase) -> None:
    """An image's number does not depend on the images beside it."""
    given = case.given()
    batch = case.measure(given)
    for i in range(3):
        order = np.full(3, (i + 1) % 3)
        order[i] = i
        beside = case.given(case.x[order], labels=order)
        got = case.measure(beside).values[i]
        need_same(got, batch.values[i], f"image {i} with other images beside it")
        if i == 0 or not case.info.random:  # random numbers go by the position in the batch
            alone = {
                name: value if name == "interpreter" else value[i : i + 1]
                for name, value in given.items()
            }
            need_same(case.measure(alone).values[0], batch.values[i], f"image {i} alone")


@_check
def _cut_into_batches(case: EvaluatorCase) -> None:
    """Batches of one, of two, or as planned: the same values, and no more rows in a run."""
    found = []
    for size in (1, 2, None):
        given, evaluator = case.given(batch_size=size), case.evaluator(batch_size=size)
        with case.runs() as rows:
            found.append(case.measure(given, evaluator).values)
        need(size is None or max(rows, default=0) <= size, f"{max(rows, default=0)} rows in a run")
    need_same(found[1], found[0], "batch_size 2 against 1")
    need_same(found[2], found[0], "batch_size None against 1")


@_check
def _no_trace(case: EvaluatorCase) -> None:
    """Model, input and the global state are what they were; also for a model in use."""
    given = case.given()
    need_no_trace(case, lambda: case.measure(given).values)


@_check
def _no_trace_after_error(case: EvaluatorCase) -> None:
    """As `no_trace`, when a layer raises an error, and on Ctrl-C."""
    given = case.given()

    def make() -> Callable[[], Any]:
        evaluator = case.evaluator()
        return lambda: case.measure(given, evaluator).values

    for stop in STOPS:
        need_no_trace_after(stop, case, make)


@_check
def _same_bits(case: EvaluatorCase) -> None:
    """Two calls give the same bits; for random evaluators with the same seed, and only then."""
    given, used = case.given(), case.evaluator()
    first = case.measure(given, used).values
    for what, evaluator in (("two calls", used), ("two fresh objects", case.evaluator())):
        again = case.measure(given, evaluator).values
        need(np.array_equal(again, first, equal_nan=True), f"{what} differ")
    if case.info.random:
        others = [case.measure(given, case.evaluator(seed=seed)).values for seed in range(1, 6)]
        same = all(np.array_equal(other, first, equal_nan=True) for other in others)
        need(not same, "every seed gives what seed=0 gives")


@_check
def _second_call(case: EvaluatorCase) -> None:
    """A call with other images gives what a fresh object gives."""
    used, given, other = case.evaluator(), case.given(), case.given(case.x[::-1].copy())
    first = case.measure(given, used).values
    got, expected = case.measure(other, used).values, case.measure(other).values
    need_same(got, expected, "a used object with other images against a fresh one")
    need_same(case.measure(given, used).values, first, "back to the first call")


@_check
def _target_is_the_explained(case: EvaluatorCase) -> None:
    """What an Explanation says was explained is what labels= would say."""
    given = case.given(gradient_of="contrast")
    found, explanation = case.measure(given), given["explanation"]
    again = case.measure(given, **_bare(explanation))
    need_same(again.values, found.values, "labels=explanation.target")


@_check
def _empty_maps(case: EvaluatorCase) -> None:
    """A map that is zero, or not finite, is NaN and flagged; the others have their values."""
    given = case.given()
    whole, bare = case.measure(given), _bare(given["explanation"])
    for empty in (0.0, np.nan):
        values = bare["explanation"].copy()
        values[1] = empty
        found = case.measure(given, **{**bare, "explanation": values})
        need(np.isnan(found.values[1]) and 1 in found.flags, f"a map of {empty} has a value")
        for name, rows in (*found.parts.items(), *found.curves.items()):
            need(np.isnan(rows[1]).all(), f"{name} of a map of {empty} is there")
        need_same(found.values[[0, 2]], whole.values[[0, 2]], f"images beside a map of {empty}")
    found = case.measure(given, **{**bare, "explanation": np.zeros_like(bare["explanation"])})
    need(np.isnan(found.mean) and len(found.flags) == 3, "maps that are all empty have a value")


def _bare(explanation: Explanation) -> dict[str, Any]:
    """An explanation as an array, and what goes with it."""
    return {
        "explanation": explanation.values,
        "labels": explanation.target,
        "signed": explanation.signed,
    }


@_check
def _what_it_needs(case: EvaluatorCase) -> None:
    """What is missing or does not fit is an InputError, before the model is run."""
    given, needs = case.given(), case.info.needs
    wrong: list[dict[str, Any]] = [{"explanation": given["explanation"][:2]}]
    wrong += [{"labels": labels} for labels in ([0, 1], ["a", "b", "c"], [0.5, 1.5, 2.5])]
    for name in ("interpreter", "masks", "boxes"):
        wrong += [{name: None}] if name in needs else []
    for name in ("masks", "boxes"):
        wrong.append({name: given[name][:2]})
    with case.runs() as rows:
        for changes in wrong:
            need_error(InputError, f"{changes}", case.measure, given, **changes)
        if "model" in needs:
            lone = case.info.cls(**case.options)
            need_error(InputError, "no model", case.measure, given, lone, interpreter=None)
    need(not rows, "the model was run before it was refused")
    if needs & {"model", "interpreter", "classes"}:
        need_error(TargetError, "a class too many", case.measure, given, labels=case.classes())


@_check
def _bad_options(case: EvaluatorCase) -> None:
    """An option that there is not is a TypeError, a text that is no choice an InputError."""
    need_error(TypeError, "no_such_option=1", case.evaluator, no_such_option=1)
    for name, parameter in case.info.options.items():
        hint = parameter.annotation
        if Literal in (get_origin(hint), *map(get_origin, get_args(hint))):
            need_error(InputError, f"{name}='no such'", case.evaluator, **{name: "no such"})
