"""TruthTable: how well methods explain what is known, as text, CSV, JSON and figures."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ResourceError, did_you_mean
from ..evaluator.bootstrap import interval_over, is_worse_over
from ..record import plain
from ..version import __version__
from .measures import MEASURES, TOLERANCE
from .suite import Problem
from .text import columns, counted, ends, notes, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Finding", "TruthTable"]

_FORMAT = "interpretdl truth 1"
_FIRST_COLUMNS = ("rank", "grade", "95 % interval")


@dataclass(frozen=True, eq=False)
class Finding:
    """One method on the N pictures of one problem.

    Attributes:
        n: N.
        numbers: {measure: float64 [N]}; empty where the method gave nothing.
        empty: bool [N], maps without a value above 0, where there is something to be found.
        not_finite: bool [N], maps with NaN or infinity, or with values beyond float32.
        seconds: for one picture.
        signed: whether values below zero speak against the class.
        first: float32 [1, C, h, w], the values of the first picture.
        scale: the largest size in its map for the other class, where the problem has one.
        reason: the error, where the method gave nothing.
    """

    n: int
    numbers: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    empty: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    not_finite: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    seconds: float = math.nan
    signed: bool = False
    first: NDArray[np.float32] | None = None
    scale: float = 0.0
    reason: str = ""


@dataclass(frozen=True, eq=False)
class TruthTable:
    """Methods by problems.

    The grade of a method on a problem is the mean relevance mass over its pictures, with a
    tolerance of two pixels; in a suite it is the mean over the problems that the method explains.

    Attributes:
        methods: names, the rows; controls last.
        controls: those of them that know no model.
        problems: {"suite/problem": Problem}.
        findings: {(method, "suite/problem"): Finding}.
        options: of each method, where it was given some.
    """

    FILES: ClassVar[tuple[str, ...]] = ("truth.csv", "truth.json", "truth.png", "maps.png")
    """What `save` writes."""

    methods: tuple[str, ...]
    controls: tuple[str, ...]
    problems: dict[str, Problem]
    findings: dict[tuple[str, str], Finding]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def suites(self) -> tuple[str, ...]:
        """Names of the suites."""
        return tuple(dict.fromkeys(problem.suite for problem in self.problems.values()))

    def __getitem__(self, cell: tuple[str, str]) -> Finding:
        return self.findings[cell]

    def mean(self, method: str, problem: str, measure: str = "grade") -> float:
        """Over the pictures of a problem, or over the problems of a suite; NaN where there is none.

        Args:
            method: a row.
            problem: "suite/problem", or a suite's name.
            measure: a name in `MEASURES`.

        Raises:
            InputError: a name that is not in the table.
        """
        values = self._values(method, problem, measure)
        return float(np.mean([one.mean() for one in values])) if values else math.nan

    def interval(
        self, method: str, problem: str, measure: str = "grade", level: float = 0.95
    ) -> tuple[float, float]:
        """Bootstrap interval of `mean` over pictures; of a suite, whose problems stay the same."""
        return interval_over(self._values(method, problem, measure), level)

    def ranks(self, suite: str, measure: str = "grade") -> dict[str, int]:
        """Place of each method in a suite, from 1; equal ones share the better place.

        Methods that explain no problem of the suite have none.
        """
        means = {name: round(self.mean(name, suite, measure), 6) for name in self.methods}
        known = {name: mean for name, mean in means.items() if not math.isnan(mean)}
        order = sorted(known, key=lambda name: -known[name])
        return {name: 1 + sum(m > known[name] for m in known.values()) for name in order}

    def leaders(self, suite: str) -> tuple[str, ...]:
        """The methods that cannot be told from the best one, by a paired bootstrap over pictures.

        A method is held against the best one on the problems that both explain, each of which has
        the same weight, as in the grade.
        """
        ranks = self.ranks(suite)
        best = next(iter(ranks), None)
        if best is None:
            return ()

        def worse(name: str) -> bool:
            both = [
                (self._of(name, key, "grade"), self._of(best, key, "grade"))
                for key in self._keys(suite)
            ]
            pairs = [(a, b) for a, b in both if a is not None and b is not None]
            return not pairs or is_worse_over(pairs, higher_is_better=True)

        return tuple(name for name in ranks if name == best or not worse(name))

    def _keys(self, name: str) -> list[str]:
        if name in self.problems:
            return [name]
        keys = [key for key, problem in self.problems.items() if problem.suite == name]
        if not keys:
            known = [*self.suites, *self.problems]
            raise InputError(
                f"no suite or problem {name!r} in the table"
                f"{did_you_mean(name, known) or '; there are ' + ', '.join(known)}"
            )
        return keys

    def _of(self, method: str, key: str, measure: str) -> NDArray[np.float64] | None:
        if method not in self.methods:
            raise InputError(
                f"no method {method!r} in the table{did_you_mean(method, self.methods)}"
            )
        if measure not in MEASURES:
            raise InputError(f"no measure {measure!r}; there are {', '.join(MEASURES)}")
        return self.findings[method, key].numbers.get(measure)

    def _values(self, method: str, name: str, measure: str) -> list[NDArray[np.float64]]:
        found = [self._of(method, key, measure) for key in self._keys(name)]
        return [one for one in found if one is not None]

    # -- as text -----------------------------------------------------------------------------------

    def __str__(self) -> str:
        return "\n\n".join(self._suite_text(suite) for suite in self.suites)

    def __repr__(self) -> str:
        return f"<TruthTable of {len(self.methods)} methods on {', '.join(self.suites)}>"

    def _suite_text(self, suite: str) -> str:
        keys, ranks, leaders = self._keys(suite), self.ranks(suite), self.leaders(suite)
        names = [self.problems[key].name for key in keys]
        counts = [len(self.problems[key]) for key in keys]
        least = f"{min(counts)}–" if min(counts) < max(counts) else ""
        lines = [
            f"{suite}: share of the relevance on the truth, with {TOLERANCE} pixels of tolerance; "
            f"{least}{counted(max(counts), 'picture')} of each problem",
        ]
        rows = [["method", *_FIRST_COLUMNS, *names]]
        for name, rank in ranks.items():
            rows.append([
                name + "*" * (name in leaders), str(rank), short(self.mean(name, suite)),
                ends(*self.interval(name, suite), "–"),
                *(short(self.mean(name, key)) for key in keys),
            ])  # fmt: skip
        lines += columns(rows)
        there = [m for m in MEASURES if any(self._values(name, suite, m) for name in self.methods)]
        rows = [["method", *there, "ms a picture"]]
        for name in ranks:
            seconds = np.mean([
                found.seconds for key in keys if not (found := self.findings[name, key]).reason
            ])  # fmt: skip
            cells = [short(self.mean(name, suite, measure)) for measure in there]
            rows.append([name, *cells, f"{1000 * seconds:.3g}"])
        lines += ["", "Means over the problems that have the measure:", *columns(rows)]
        if len(leaders) > 1:
            lines += ["", "* cannot be told from the best by these pictures"]
        notes = self._notes(suite)
        return "\n".join(lines + (["", *notes] if notes else []))

    def _notes(self, suite: str) -> list[str]:
        """What has no number, or maps that say nothing: a line for each reason."""
        keys = self._keys(suite)
        refused, silent = [], []
        for name in self.methods:
            for key in keys:
                found, problem = self.findings[name, key], self.problems[key].name
                if found.reason:
                    refused.append((name, problem, found.reason))
                    continue
                for rows, what in (
                    (found.empty, "empty maps"), (found.not_finite, "maps that are not finite")
                ):  # fmt: skip
                    if rows.any():
                        silent.append((name, f"{problem} ({int(rows.sum())} of {found.n})", what))
        return notes(refused, len(keys)) + notes(silent)

    # -- as files ----------------------------------------------------------------------------------

    @classmethod
    def folder(cls, path: str | os.PathLike[str], files: Sequence[str] | None = None) -> Path:
        """A folder for results, made if its parent is there.

        Args:
            path: the folder.
            files: what is to be written to it; None: `FILES`.

        Raises:
            ResourceError: it cannot be made, or one of the files cannot be written.
        """
        from ..data_processor.files import check_writable

        folder = Path(path)
        try:
            folder.mkdir(exist_ok=True)
        except FileExistsError as error:
            raise ResourceError(
                f"{folder} is a file; give a folder, or a name that is not taken"
            ) from error
        except OSError as error:
            raise ResourceError(
                f"cannot make the folder {folder}: {error.strerror or error}; give one that "
                "exists, or a place that you may write to"
            ) from error
        for name in cls.FILES if files is None else files:
            check_writable(folder / name, (Path(name).suffix,))
        return folder

    def save(self, path: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Write truth.csv, truth.json, truth.png (`plot`) and maps.png (`plot_maps`) to a folder.

        Returns:
            the files.

        Raises:
            ResourceError: they cannot be written.
        """
        from ..data_processor.canvas import png_of
        from ..data_processor.files import atomic_path, encodable

        folder = self.folder(path)
        contents = (
            encodable(self.csv()).encode(),
            encodable(json.dumps(self.as_json(), allow_nan=False)).encode(),
            png_of(self.plot(), dpi=120),
            png_of(self.plot_maps(), dpi=120),
        )
        targets = [folder / name for name in self.FILES]
        for target, content in zip(targets, contents, strict=True):
            with atomic_path(target) as temporary:
                temporary.write_bytes(content)
        return tuple(targets)

    def csv(self) -> str:
        """A row for each method, problem and measure: mean, interval, pictures, what was empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([
            "suite", "problem", "method", "measure", "mean", "low", "high", "pictures",
            "empty maps", "not finite", "seconds a picture", "reason",
        ])  # fmt: skip
        for (method, key), found in self.findings.items():
            problem = self.problems[key]
            about = [problem.suite, problem.name, method]
            if found.reason:
                writer.writerow([*about, "grade", *[""] * 3, found.n, *[""] * 3, found.reason])
            for measure in found.numbers:
                numbers = (self.mean(method, key, measure), *self.interval(method, key, measure))
                cells = ["" if math.isnan(v) else repr(v) for v in numbers]
                counts = found.n, int(found.empty.sum()), int(found.not_finite.sum())
                writer.writerow([*about, measure, *cells, *counts, f"{found.seconds:.6f}", ""])
        return text.getvalue()

    def as_json(self) -> dict[str, Any]:
        """Everything but the maps, in values that JSON knows; a number for each picture."""
        return {
            "format": _FORMAT,
            "version": __version__,
            "tolerance": TOLERANCE,
            "methods": list(self.methods),
            "controls": list(self.controls),
            "options": self.options,
            "problems": {
                key: {"doc": problem.doc, "pictures": len(problem)}
                for key, problem in self.problems.items()
            },
            "suites": {
                suite: {
                    "ranks": self.ranks(suite),
                    "leaders": list(self.leaders(suite)),
                    "grades": {
                        name: plain([self.mean(name, suite), *self.interval(name, suite)])
                        for name in self.methods
                    },
                }
                for suite in self.suites
            },
            "findings": [
                {
                    "method": method, "problem": key, "reason": found.reason,
                    "seconds": plain(found.seconds), "signed": found.signed,
                    "empty": int(found.empty.sum()), "not finite": int(found.not_finite.sum()),
                    "numbers": plain(found.numbers, longest=None),
                }
                for (method, key), found in self.findings.items()
            ],
        }  # fmt: skip

    def plot(self) -> Figure:
        """Grades with intervals and the grade on each problem, a line of panels for each suite.

        Returns:
            a matplotlib Figure, which pyplot does not know.
        """
        from .figures import grades_figure

        return grades_figure(self)

    def plot_maps(self, methods: Any = None, problems: Any = None) -> Figure:
        """The first picture of each problem, its truth, and the maps of it.

        Args:
            methods: names, the columns; None: the best ten of the first suite, and the controls.
            problems: "suite/problem" each, the lines; None: all.

        Returns:
            a matplotlib Figure, which pyplot does not know.

        Raises:
            InputError: a name that is not in the table.
        """
        from .figures import maps_figure

        return maps_figure(self, methods, problems)

    def _repr_png_(self) -> bytes:
        from ..data_processor.canvas import png_of

        return png_of(self.plot(), dpi=80)
