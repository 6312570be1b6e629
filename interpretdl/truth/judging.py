"""judge(): whether evaluators rank methods as the truth does."""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, InterpretWarning
from ..evaluator.base import Evaluator
from ..evaluator.controls import CONTROLS, Control
from ..progress import progress_bar
from ..registry import EVALUATORS
from ..subject import Subject
from ..targets import ClassScore
from .agreement import Agreement
from .grading import (
    Entry,
    Given,
    check_options,
    entries_of,
    is_pair,
    problems_of,
    reason_of,
    values_of,
    with_options,
)
from .kept import CHANGED, Kept
from .measures import measured
from .suite import Problem, checked_name

__all__ = ["METHODS_JUDGED", "PROBLEMS_JUDGED", "evaluators_of", "judge", "judged_problems"]

METHODS_JUDGED = (
    *("gradient", "sensitivity", "simple_taylor", "smooth_grad", "integrated_gradients"),
    *("expected_gradients", "deep_lift", "lrp", "deep_taylor", "excitation_bp", "guided_bp"),
    *("deconvnet", "guided_grad_cam", "grad_cam", "hires_cam", "layer_cam", "eigen_cam"),
    "score_cam",
)
"""Methods of different kinds and qualities that take little time."""

PROBLEMS_JUDGED = (
    *("planted/keys", "planted/large", "planted/ripples", "planted/or", "planted/more"),
    *("trained/convolutional", "parts/hybrids"),
)
"""Problems of different kinds; in some of them the truth is small, in others large."""

Judged = str | type[Evaluator] | tuple[str | type[Evaluator], Mapping[str, Any]]
Values = NDArray[np.float64]


def judge(
    evaluators: Mapping[str, Judged] | Sequence[Judged] | Judged | None = None,
    methods: Mapping[str, Given] | Sequence[Given] | Given | None = None,
    problems: str | Problem | Sequence[str | Problem] | None = None,
    *,
    pictures: int = 8,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Agreement:
    """Whether evaluators rank methods as the truth does.

        print(it.truth.judge(["deletion", "insertion", "monotonicity"]))

    Each method explains the pictures of each problem; its relevance mass is the truth, and each
    evaluator measures the same maps. A good evaluator puts methods into the order of their mass.

    Args:
        evaluators: registered names or Evaluator classes, each alone or with its options, as
            (name, options); in a list, or in a mapping that names them. None: all that need no
            masks or boxes, which would be the truth itself.
        methods: as `run` takes them; None: those in `METHODS_JUDGED`. Controls are added.
        problems: as `run` takes suites; None: those in `PROBLEMS_JUDGED`. A problem whose truth is
            nothing ranks no methods and is left out.
        pictures: how many of each problem.
        options: of methods, as `run` takes them.

    Returns:
        Agreement. Where a method refuses a network, fails or changes it, or an evaluator cannot
        measure a method, the reason is kept.

    Raises:
        InputError: a name that is not known; in none of the problems there is something to find.
    """
    entries = entries_of(list(METHODS_JUDGED) if methods is None else methods, options)
    columns = evaluators_of(evaluators)
    chosen = judged_problems(problems, pictures)
    names = (*entries, *(name for name in CONTROLS if name not in entries))
    truth: dict[tuple[str, str], Values] = {}
    values: dict[tuple[str, str, str], Values] = {}
    reasons: dict[tuple[str, str, str], str] = {}
    with progress_bar(len(chosen) * len(names), "judge", "method") as bar:
        for problem in chosen:
            key, kept = f"{problem.suite}/{problem.name}", Kept(problem.model)
            subject, nothing = Subject.of(problem.model), np.full(len(problem), np.nan)
            for name in names:
                bar.set_postfix_str(f"{problem.name}, {name}")
                bar.update()
                own: dict[str, Values] = {}
                try:
                    row = _Row(entries.get(name), name, problem, subject)
                    truth[name, key] = row.truth
                    own, why = row.measured(columns)
                except Exception as error:  # the method refuses the network, or fails
                    truth[name, key], why = nothing, dict.fromkeys(columns, reason_of(error))
                if kept.put_back():
                    truth[name, key], own, why = nothing, {}, dict.fromkeys(columns, CHANGED)
                values |= {(column, name, key): found for column, found in own.items()}
                reasons |= {(column, name, key): reason for column, reason in why.items()}
    keys = tuple(f"{problem.suite}/{problem.name}" for problem in chosen)
    return Agreement(tuple(columns), names, keys, truth, values, reasons)


def judged_problems(
    problems: str | Problem | Sequence[str | Problem] | None, pictures: int | None
) -> list[Problem]:
    """The problems that `judge` takes, of so many pictures.

    Raises:
        InputError: there is nothing to find in any of them.
    """
    every = problems_of(PROBLEMS_JUDGED if problems is None else problems)
    chosen = [problem.take(pictures) for problem in every if problem.masks.any()]
    if not chosen:
        raise InputError(
            "in these problems there is nothing to find, and so no method is better than another; "
            f"take others, such as {PROBLEMS_JUDGED[0]}"
        )
    return chosen


class _Row:
    """One method on one problem: its maps, and the share of them that lies on the truth."""

    def __init__(self, entry: Entry | None, name: str, problem: Problem, subject: Subject) -> None:
        self.problem, self.target = problem, ClassScore(problem.labels, "logit")
        self.options: dict[str, Any] = {}
        self.explain: Any = Control(subject, name)
        if entry is not None and entry.info is not None:
            self.explain = entry.info.cls(subject)
            self.options = entry.options_for(entry.info, problem)
        elif entry is not None:
            self.explain = _of_function(entry.function, problem)
        with _quiet():
            if entry is not None and entry.function is not None:
                self.values, self.signed = entry.explain(problem, problem.labels)
            else:
                x, labels = problem.x.copy(), problem.labels.copy()
                found = self.explain.explain(x, label=labels, **self.options)
                self.values, self.signed = found.values, bool(found.signed)
            self.truth: Values = measured(problem, self.values, None, self.signed)[0]["mass"]

    def measured(
        self, columns: Mapping[str, tuple[type[Evaluator], dict[str, Any]]]
    ) -> tuple[dict[str, Values], dict[str, str]]:
        """What each evaluator says, or why it says nothing."""
        values, reasons = {}, {}
        for column, (cls, options) in columns.items():
            try:
                values[column] = self.measure(cls(self.problem.model, **options))
            except Exception as error:  # of one cell, and not the end of the others
                reasons[column] = reason_of(error)
        return values, reasons

    def measure(self, evaluator: Evaluator) -> Values:
        """A value for each picture, of which the larger is the better."""
        with _quiet():
            found = evaluator.measure(
                self.problem.x.copy(), self.values, self.target,
                interpreter=self.explain, options=self.options, signed=self.signed,
            )  # fmt: skip
        sign = 1.0 if found.higher_is_better else -1.0
        return np.where(np.isfinite(found.values), sign * found.values, np.nan)


def _of_function(function: Any, problem: Problem) -> Any:
    """A function (model, x, labels) as evaluators call a method."""

    def explain(x: NDArray[Any], target: Any) -> NDArray[Any]:
        labels = np.array(np.broadcast_to(target.labels, len(x)), np.int64)
        return values_of(function(problem.model, np.array(x), labels), len(x))[0]

    return explain


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Empty maps and the like are seen in the numbers."""
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.simplefilter("ignore", InterpretWarning)
        yield


def evaluators_of(given: Any) -> dict[str, tuple[type[Evaluator], dict[str, Any]]]:
    """Evaluators and their options by name, from what `judge` takes.

    Raises:
        InputError: a name that is not known, two of one name, or one that is given the truth.
    """
    if given is None:
        given = [n for n, info in EVALUATORS.all().items() if not info.needs & {"masks", "boxes"}]
    elif isinstance(given, str) or is_pair(given) or not isinstance(given, Sequence | Mapping):
        given = [given]
    pairs = given.items() if isinstance(given, Mapping) else [(None, one) for one in given]
    found: dict[str, tuple[type[Evaluator], dict[str, Any]]] = {}
    for name, one in pairs:
        cls, options = with_options(one)
        cls = EVALUATORS.find(cls).cls if isinstance(cls, str) else cls
        if not (isinstance(cls, type) and issubclass(cls, Evaluator)):
            raise InputError(f"an evaluator is a registered name or its class; got {one!r}")
        if not hasattr(cls, "info"):
            raise InputError(
                f"{cls.__name__} is not registered; decorate it with @register_evaluator"
            )
        if cls.info.needs & {"masks", "boxes"}:
            raise InputError(f"{cls.info.name} is given the truth, and is not judged by it")
        key = cls.info.name if name is None else checked_name(name, "an evaluator's name")
        if key in found:
            raise InputError(f"two evaluators are named {key!r}; give a mapping with other names")
        known = set(inspect.signature(cls).parameters) - {"model", "paddle_model"}
        check_options(key, options, sorted(known))
        cls(**options)  # says what is wrong with an option before the work
        found[key] = cls, dict(options)
    if not found:
        raise InputError("give at least one evaluator")
    return found
