"""Agreement: how evaluators rank methods, beside how the truth ranks them."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, did_you_mean
from ..evaluator.correlation import spearman
from ..record import plain
from .table import TruthTable
from .text import columns, counted, ends, notes, short

__all__ = ["Agreement"]

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

    FILE: ClassVar[str] = "agreement.csv"
    """What `save` writes."""

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
        sizes = sorted({len(self.truth[self.methods[0], problem]) for problem in self.problems})
        pictures = counted(sizes[-1], "picture") + " or fewer" * (len(sizes) > 1)
        rows = [["evaluator", "agreement", "95 % interval", "methods"]]
        for name, mean, low, high, count in self.rows():
            rows.append([name, short(mean, "+"), ends(low, high, "to", "+"), str(count)])
        lines = [
            f"rank correlation of each evaluator with the truth over {len(self.methods)} methods, "
            f"mean over {counted(len(self.problems), 'problem')} of {pictures}",
            f"methods: {', '.join(self.methods)}",
            f"problems: {', '.join(self.problems)}",
            *columns(rows),
        ]
        reasons = self._notes()
        return "\n".join(lines + (["", *reasons] if reasons else []))

    def _notes(self) -> list[str]:
        """What has no value: a line for each reason; of no evaluator, the method alone."""
        where: dict[tuple[str, str, str], list[str]] = {}
        for (evaluator, method, problem), reason in self.reasons.items():
            where.setdefault((method, problem, reason), []).append(evaluator)
        cells = [
            (name, problem, reason)
            for (method, problem, reason), found in where.items()
            for name in (
                [method]
                if len(found) == len(self.evaluators)
                else [f"{evaluator} of {method}" for evaluator in found]
            )
        ]
        return notes(cells, len(self.problems))

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
        from ..data_processor.files import atomic_path, encodable

        target = TruthTable.folder(path, (self.FILE,)) / self.FILE
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
