"""Every registered evaluator is held to the contract, and the contract notices every breach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import paddle
import pytest

import interpretdl as it
from interpretdl.registry import EVALUATORS, register_evaluator
from interpretdl.testing import EVALUATOR_CHECKS, check_evaluator, small_network

# Given to the evaluators that have the option.
SMALL = {"steps": 5, "n_samples": 8, "max_shift": 4, "patch": 4}


@pytest.mark.parametrize("check", EVALUATOR_CHECKS)
@pytest.mark.parametrize("name", EVALUATORS.all())
def test_contract(name: str, check: str) -> None:
    check_evaluator(name, options=SMALL, checks=[check])


@pytest.mark.parametrize("name", EVALUATORS.all())
def test_on_other_pictures(name: str) -> None:
    """Of one channel, and not square."""
    x = np.random.default_rng(0).normal(size=(3, 1, 8, 13)).astype(np.float32)
    checks = ["shape_and_direction", "batch_equals_single"]
    check_evaluator(name, small_network(channels=1), x, options=SMALL, checks=checks)


# -- the contract itself ---------------------------------------------------------------------------


class Honest(it.Evaluator):
    """The score times the map's largest value, to be broken in one place at a time."""

    factor: float = 1.0
    seed: int = 0

    def evaluate_case(self, case: Any) -> it.Evaluation:
        return self.result(self.values(case))

    def values(self, case: Any) -> Any:
        drawn = [np.random.default_rng([self.seed, row]).random() for row in case.rows]
        scores = case.model.scores(case.x, case.score())
        return self.factor * scores * abs(case.heat).max(axis=(1, 2)) * drawn


@pytest.fixture
def registered() -> Iterator[Callable[..., Any]]:
    """Registers a class as "trial" until the test ends."""

    def enter(cls: Any, **facts: Any) -> Any:
        facts = {"higher_is_better": True, "paper": "none", "random": True, **facts}
        return register_evaluator("trial", **facts)(cls)

    yield enter
    EVALUATORS.remove("trial")


class Documented(Honest):
    """The score times the map's largest value.

    Args:
        factor: of the value.
    """


def test_an_honest_class_passes(registered: Any) -> None:
    check_evaluator(registered(Documented))


def draws(self: Any, case: Any) -> Any:
    return Honest.values(self, case) + 1e-9 * np.random.random()  # noqa: NPY002  # to be noticed


def writes(self: Any, case: Any) -> Any:
    values = Honest.values(self, case)
    case.x[:] = 0
    return values


def trains(self: Any, case: Any) -> Any:
    values = Honest.values(self, case)
    case.model.model.train()
    return values


def swallows(self: Any, case: Any) -> Any:
    try:
        return Honest.values(self, case)
    except BaseException:
        return np.ones(len(case.x))


def remembers(self: Any, case: Any) -> Any:
    kept = vars(self).setdefault("kept", Honest.values(self, case))
    return kept[: len(case.x)]


def whole_batch(self: Any, case: Any) -> Any:
    return Honest.values(self, case) / abs(case.heat).max()


def at_once(self: Any, case: Any) -> Any:
    case.model.model(paddle.to_tensor(case.x))
    return Honest.values(self, case)


def deaf(self: Any, x: Any, explanation: Any, labels: Any = None, **more: Any) -> Any:
    return it.Evaluator.measure(self, x, explanation, **more)


def easy(self: Any, x: Any, explanation: Any, labels: Any = None, **more: Any) -> Any:
    return self.result(np.ones(len(x)))


def by_number(self: Any, case: Any) -> Any:
    return Honest.values(self, case) * (1 + case.rows)


BREACHES: list[tuple[str, Any, str, dict[str, Any]]] = [
    ("facts", None, "a paper", {"paper": ""}),
    ("facts", None, "factor is not among", {}),
    ("shape_and_direction", lambda s, c: np.full(len(c.x), np.nan), "flags", {}),
    ("shape_and_direction", lambda s, c: np.ones((len(c.x), 2)), "", {}),
    ("batch_equals_single", whole_batch, "image", {}),
    ("batch_equals_single", by_number, "image 1 alone", {"random": False}),
    ("cut_into_batches", at_once, "3 rows in a run", {}),
    ("no_trace", draws, "numpy's random numbers", {}),
    ("no_trace", writes, "input", {}),
    ("no_trace", trains, "training", {}),
    ("no_trace_after_error", swallows, "swallowed", {}),
    ("same_bits", draws, "differ", {}),
    ("same_bits", lambda s, c: np.ones(len(c.x)), "every seed", {}),
    ("second_call", remembers, "other images", {}),
    ("target_is_the_explained", deaf, "labels=", {}),
    ("empty_maps", easy, "a map of 0.0 has a value", {}),
    ("what_it_needs", easy, "raised nothing", {}),
]


@pytest.mark.parametrize(
    ("check", "change", "says", "facts"),
    BREACHES,
    ids=[f"{c}-{getattr(f, '__name__', f)}-{s}" for c, f, s, _ in BREACHES],
)
def test_a_breach_is_noticed(
    check: str, change: Any, says: str, facts: dict[str, Any], registered: Any
) -> None:
    body: dict[str, Any] = {"__doc__": "Broken."}
    if change is not None:
        body["measure" if change in (deaf, easy) else "values"] = change
    registered(type("Broken", (Honest,), body), **facts)
    with pytest.raises((AssertionError, it.InterpretError, IndexError)) as raised:
        check_evaluator("trial", checks=[check])
    if isinstance(raised.value, AssertionError):
        assert f"trial, {check}: " in str(raised.value)
    assert says in str(raised.value)


def test_what_is_not_there_is_named(registered: Any) -> None:
    with pytest.raises(it.InputError, match="deletion"):
        check_evaluator("deletoin")
    with pytest.raises(it.InputError, match="@register_evaluator"):
        check_evaluator(type("Own", (it.Evaluator,), {}))
    with pytest.raises(it.InputError, match="same_bits"):
        check_evaluator("sparseness", checks=["nothing"])
