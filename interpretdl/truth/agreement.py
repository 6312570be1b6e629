"""judge(): whether evaluators rank methods as the truth does."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, InterpretError, InterpretWarning, did_you_mean
from ..evaluator.base import Evaluator
from ..evaluator.controls import CONTROLS, Control
from ..evaluator.correlation import spearman
from ..explanation import Explanation
from ..interpreter.base import Interpreter
from ..progress import progress_bar
from ..record import plain
from ..registry import EVALUATORS
from ..subject import Subject
from ..targets import ClassScore
from .grading import Entry, Given, entries_of, is_pair, problems_of, with_options
from .measures import measured
from .suite import Problem
from .table import TruthTable

__all__ = ["METHODS_JUDGED", "PROBLEMS_JUDGED", "Agreement", "judge"]

METHODS_JUDGED = (
    *("gradient", "sensitivity", "simple_taylor", "smooth_grad", "integrated_gradients"),
    *("expected_gradients", "deep_lift", "lrp", "deep_taylor", "excitation_bp", "guided_bp"),
    *(
        "deconvnet",
        "guided_grad_cam",
        "grad_cam",
        "hires_cam",
        "layer_cam",
        "eigen_cam",
        "score_cam",
    ),
)
"""Methods of different kinds and qualities that take little time."""

PROBLEMS_JUDGED = (
    *("planted/keys", "planted/large", "planted/ripples", "planted/or", "planted/more"),
    *("trained/convolutional", "parts/hybrids"),
)
"""Problems of different kinds; in some of them the truth is small, in others large."""

Judged = str | type[Evaluator] | tuple[str | type[Evaluator], Mapping[str, Any]]
_FEWEST = 4  # methods, below which an order says nothing
_DRAWS = 500

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Agreement:
    """How evaluators rank methods, beside how the truth ranks them.

    Attributes:
        evaluators: names, the rows.
        methods: names; controls last.
        problems: "suite/problem" each.
        truth: {(method, problem): float64 [N]}, the relevance mass of each picture.
        values: {(evaluator, method, problem): float64 [N]}, larger is better for all of them.
        reasons: why there is no value, by the same keys.
    """

    evaluators: tuple[str, ...]
    methods: tuple[str, ...]
    problems: tuple[str, ...]
    truth: dict[tuple[str, str], Values]
    values: dict[tuple[str, str, str], Values]
    reasons: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def correlation(self, evaluator: str, problem: str | None = None) -> float:
        """Spearman's rank correlation over methods of the mean value with the mean mass.

        Args:
            evaluator: a row.
            problem: "suite/problem"; None: the mean over all problems in which there is one.

        Returns:
            -1 to 1; NaN where fewer than four methods have a value, or all have the same.

        Raises:
            InputError: a name that is not in the table.
        """
        self._check(evaluator, self.evaluators)
        if problem is not None:
            self._check(problem, self.problems)
        pairs = self._pairs(evaluator, None if problem is None else (problem,))
        return _mean_correlation([(a.mean(axis=1), b.mean(axis=1)) for a, b in pairs])

    def interval(
        self, evaluator: str, level: float = 0.95, draws: int = _DRAWS, seed: int = 0
    ) -> tuple[float, float]:
        """Bootstrap interval of `correlation` over all problems: pictures and methods are drawn.

        Pictures alone would say how certain the order of these methods is. Drawn methods say what
        another choice of methods would have given, which is the larger part.
        """
        self._check(evaluator, self.evaluators)
        pairs, rng = self._pairs(evaluator), np.random.default_rng(seed)
        found = np.full(draws, np.nan)
        for draw in range(draws):
            rows = rng.integers(len(self.methods), size=len(self.methods))
            means = []
            for a, b in pairs:
                pictures = rng.integers(a.shape[1], size=a.shape[1])
                means.append((a[:, pictures].mean(axis=1)[rows], b[:, pictures].mean(axis=1)[rows]))
            found[draw] = _mean_correlation(means)
        found = found[np.isfinite(found)]
        if len(found) < draws / 2:
            return math.nan, math.nan
        low, high = np.quantile(found, ((1 - level) / 2, (1 + level) / 2))
        return float(low), float(high)

    def ranked(self) -> tuple[str, ...]:
        """The evaluators, those that agree most first; those without a number last."""
        known = {name: self.correlation(name) for name in self.evaluators}
        return tuple(sorted(known, key=lambda n: (math.isnan(known[n]), -known[n], n)))

    def _pairs(
        self, evaluator: str, problems: tuple[str, ...] | None = None
    ) -> list[tuple[Values, Values]]:
        """Values and truth [methods, N] of each problem; a picture that one lacks has its mean."""
        found = []
        for problem in problems or self.problems:
            n = len(self.truth[self.methods[0], problem])
            none = np.full(n, np.nan)
            own = [self.values.get((evaluator, name, problem), none) for name in self.methods]
            truth = [self.truth[name, problem] for name in self.methods]
            found.append((np.stack([_filled(one) for one in own]), np.stack(truth)))
        return found

    def _check(self, name: str, known: Sequence[str]) -> None:
        if name not in known:
            raise InputError(f"{name!r} is not in the table{did_you_mean(name, known)}")

    def rows(self) -> list[tuple[str, float, float, float, int]]:
        """(evaluator, correlation, low, high, methods that have a value), best first."""
        return [
            (name, self.correlation(name), *self.interval(name), self._count(name))
            for name in self.ranked()
        ]

    def _count(self, evaluator: str) -> int:
        return sum(
            any(
                np.isfinite(self.values.get((evaluator, method, problem), np.nan)).any()
                for problem in self.problems
            )
            for method in self.methods
        )

    def __str__(self) -> str:
        lines = [["evaluator", "agreement", "95 % interval", "methods"]]
        for name, mean, low, high, count in self.rows():
            cells = [name, _short(mean), f"{_short(low)} to {_short(high)}", str(count)]
            lines.append(cells)
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        heading = (
            f"rank correlation of each evaluator with the truth, mean over {len(self.problems)} "
            "problems"
        )
        return "\n".join([heading, *text])

    def __repr__(self) -> str:
        return f"<Agreement of {len(self.evaluators)} evaluators on {len(self.problems)} problems>"

    def csv(self) -> str:
        """A row for each evaluator, with its correlation on each problem."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["evaluator", "agreement", "low", "high", "methods", *self.problems])
        for name, mean, low, high, count in self.rows():
            each = [self.correlation(name, problem) for problem in self.problems]
            numbers = ["" if math.isnan(v) else f"{v:.4f}" for v in (mean, low, high)]
            cells = ["" if math.isnan(v) else f"{v:.4f}" for v in each]
            writer.writerow([name, *numbers, count, *cells])
        return text.getvalue()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write agreement.csv (`csv`) to a folder, made if its parent is there.

        Raises:
            ResourceError: it cannot be written.
        """
        from ..data_processor.files import atomic_path, check_writable, encodable

        target = check_writable(TruthTable.folder(path) / "agreement.csv", (".csv",))
        with atomic_path(target) as temporary:
            temporary.write_bytes(encodable(self.csv()).encode())
        return target

    def as_json(self) -> dict[str, Any]:
        """The rows, in values that JSON knows."""
        names = ("evaluator", "agreement", "low", "high", "methods")
        return {
            "methods": list(self.methods),
            "problems": list(self.problems),
            "rows": [plain(dict(zip(names, row, strict=True))) for row in self.rows()],
        }


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
        Agreement. Where a method refuses a network, or an evaluator cannot measure a method, the
        reason is kept.

    Raises:
        InputError: a name that is not known; a problem without masks.
    """
    entries = entries_of(list(METHODS_JUDGED) if methods is None else methods, options or {})
    columns = evaluators_of(evaluators)
    chosen = [
        p.take(pictures) for p in problems_of(PROBLEMS_JUDGED if problems is None else problems)
    ]
    chosen = [problem for problem in chosen if problem.masks.any()]
    if not chosen:
        raise InputError("none of the problems has a truth that lies somewhere")
    names = (*entries, *(name for name in CONTROLS if name not in entries))
    truth: dict[tuple[str, str], Values] = {}
    values: dict[tuple[str, str, str], Values] = {}
    reasons: dict[tuple[str, str, str], str] = {}
    with progress_bar(len(chosen) * len(names), "judge", "method") as bar:
        for problem in chosen:
            key, subject = f"{problem.suite}/{problem.name}", Subject.of(problem.model)
            for name in names:
                bar.set_postfix_str(f"{problem.name}, {name}")
                bar.update()
                try:
                    row = _Row(entries.get(name), name, problem, subject)
                except InterpretError as error:  # the method refuses the network
                    truth[name, key] = np.full(len(problem), np.nan)
                    reasons |= {(column, name, key): str(error) for column in columns}
                    continue
                truth[name, key] = row.truth
                for column, (cls, own) in columns.items():
                    try:
                        values[column, name, key] = row.measure(cls(problem.model, **own))
                    except InterpretError as error:
                        reasons[column, name, key] = str(error)
    keys = tuple(f"{problem.suite}/{problem.name}" for problem in chosen)
    return Agreement(tuple(columns), names, keys, truth, values, reasons)


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
        if isinstance(self.explain, Interpreter):
            with _quiet():
                found = self.explain.explain(problem.x, label=problem.labels, **self.options)
            self.values, self.signed = found.values, bool(found.signed)
        else:
            self.values = self.explain(problem.x, self.target)
            self.signed = bool((self.values < 0).any())
        self.truth: Values = measured(problem, self.values, None, self.signed)[0]["mass"]

    def measure(self, evaluator: Evaluator) -> Values:
        """A value for each picture, of which the larger is the better."""
        with _quiet():
            found = evaluator.measure(
                self.problem.x, self.values, self.target,
                interpreter=self.explain, options=self.options, signed=self.signed,
            )  # fmt: skip
        sign = 1.0 if found.higher_is_better else -1.0
        return np.where(np.isfinite(found.values), sign * found.values, np.nan)


def _of_function(function: Any, problem: Problem) -> Any:
    """A function (model, x, labels) as evaluators call a method."""

    def explain(x: NDArray[Any], target: Any) -> NDArray[Any]:
        labels = np.array(np.broadcast_to(target.labels, len(x)), np.int64)
        found = function(problem.model, np.array(x), labels)
        return np.asarray(found.values if isinstance(found, Explanation) else found)

    return explain


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Empty maps and the like are seen in the numbers."""
    with warnings.catch_warnings():
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
        if cls.info.needs & {"masks", "boxes"}:
            raise InputError(f"{cls.info.name} is given the truth, and is not judged by it")
        key = name or cls.info.name
        if key in found:
            raise InputError(f"two evaluators are named {key!r}; give a mapping with other names")
        cls(**options)  # says what is wrong with an option before the work
        found[key] = cls, dict(options)
    if not found:
        raise InputError("give at least one evaluator")
    return found


def _filled(rows: Values) -> Values:
    """Pictures without a value have the mean of the others; NaN where none has one."""
    known = np.isfinite(rows)
    return np.where(known, rows, rows[known].mean() if known.any() else np.nan)


def _mean_correlation(pairs: Sequence[tuple[Values, Values]]) -> float:
    """Mean over problems of the rank correlation over methods that have both numbers."""
    found = []
    for values, truth in pairs:
        known = np.isfinite(values) & np.isfinite(truth)
        if known.sum() >= _FEWEST and np.ptp(values[known]) > 0 and np.ptp(truth[known]) > 0:
            found.append(spearman(values[known], truth[known]))
    return float(np.mean(found)) if found else math.nan


def _short(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.2f}"
