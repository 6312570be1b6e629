"""run(): methods explain what is known, and a table says how well."""

from __future__ import annotations

import importlib
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.heatmaps import heatmap_of
from ..errors import InputError, InterpretWarning, did_you_mean
from ..evaluator.controls import CONTROLS
from ..explanation import Explanation
from ..interpreter.base import Interpreter
from ..progress import progress_bar
from ..record import plain
from ..registry import METHODS, MethodInfo
from .kept import CHANGED, Kept
from .measures import measured
from .suite import Problem, checked_name
from .suites import SUITES
from .table import Finding, TruthTable

__all__ = ["QUICK", "SLOW", "run"]

Explains = Callable[[Any, NDArray[np.float32], NDArray[np.int64]], Any]
Method = str | type[Interpreter] | Explains
Given = Method | tuple[Method, Mapping[str, Any]]

QUICK: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 10},
    "expected_gradients": {"nsamples": 20},
    "smooth_grad": {"n_samples": 8},
    "smooth_grad_squared": {"n_samples": 8},
    "var_grad": {"n_samples": 8},
    "rise": {"evaluations": 150},
    "lime": {"evaluations": 100, "regions": "grid"},
    "g_lime": {"evaluations": 100, "regions": "grid"},
    "kernel_shap": {"evaluations": 150, "regions": 6},
    "shapley_sampling": {"evaluations": 200},
    "partition_shap": {"evaluations": 100},
    "hsic": {"evaluations": 100, "n_permutations": 50},
    "sobol": {"evaluations": 132},
    "bidirectional_transformer": {"steps": 8},
    "transition_attention": {"steps": 8},
}
"""Options with which the methods explain the planted suite in two minutes on two cores. They are
fewer samples than the methods' defaults, and for LIME cells of a grid, because superpixels of
pictures so small are too large."""
SLOW = {"extremal_perturbation": "with fewer than some 800 steps its masks are not yet its own"}
"""Methods that run only where they are named, because no options make them quick, and why."""


_BATCH = 64
"""Pictures in one run: so small ones take less time than a run's beginning and end."""


@dataclass(frozen=True)
class Entry:
    """A method with what it is given."""

    name: str
    function: Explains | None = None
    info: MethodInfo | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def explain(self, problem: Problem, labels: NDArray[np.int64]) -> tuple[NDArray[Any], bool]:
        """Values, and whether those below zero speak against the class."""
        x, labels = problem.x.copy(), labels.copy()  # a method may change them in place
        if self.info is not None:
            method = self.info.cls(problem.model, batch_size=_BATCH)
            found = method.explain(x, label=labels, **self.options_for(self.info, problem))
        elif self.function is not None:
            found = self.function(problem.model, x, labels)
        return values_of(found, len(problem))

    def options_for(self, info: MethodInfo, problem: Problem) -> dict[str, Any]:
        """The method's, and what the problem says: its logit, its layer, what nothing is."""
        own: dict[str, Any] = {}
        if "logit" in info.cls.scores:
            own["gradient_of"] = "logit"
        if info.needs_layer and problem.layer is not None:
            own["target_layer_name"] = problem.layer
        if "baselines" in info.options:
            own["baselines"] = np.zeros(problem.x.shape[1:], np.float32)
        return {**own, **problem.options.get(info.name, {}), **self.options}


def values_of(found: Any, n: int) -> tuple[NDArray[Any], bool]:
    """What a method returned for n pictures, and whether values below zero speak against the class.

    Raises:
        InputError: no numbers, or not of n pictures.
    """
    explained = isinstance(found, Explanation)
    values = np.asarray(found.values if explained else found)
    if values.ndim not in (3, 4) or len(values) != n or values.dtype.kind not in "fiu":
        raise InputError(
            f"a method must return numbers [N, C, h, w] or [N, h, w], N = {n}; got "
            f"{values.dtype} {list(values.shape)}"
        )
    return values, bool(found.signed) if explained else bool((values < 0).any())


def run(
    methods: Mapping[str, Given] | Sequence[Given] | Given | None = None,
    suites: str | Problem | Sequence[str | Problem] | None = None,
    *,
    pictures: int | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    out: str | os.PathLike[str] | None = None,
) -> TruthTable:
    """Hold methods against problems whose explanation is known.

    The logit of a class is explained. Beside the methods there are always three controls that know
    no model: random numbers, a blob in the centre, and the picture's edges.

    Args:
        methods: registered names, Interpreter classes, or functions (model, x, labels) -> values
            [N, C, h, w] or [N, h, w], or an Explanation; each alone or with its options, as
            (method, options). In a list, or in a mapping that names them. None: all registered
            methods that explain pictures, but those in `SLOW`. Of a function's arrays with negative
            values the positive ones count, as evidence for the class.
        suites: names in `SUITES`, "suite/problem" for one problem of it, or Problems of your own.
            None: "planted".
        pictures: how many of each problem; None: all, 30 in the planted suite.
        options: {method: {option: value}}, over those in `QUICK`, which are few samples.
        out: a folder for the results, see `TruthTable.save`; made if its parent is there.

    Returns:
        TruthTable. Where a method refuses a model, fails, or changes the model, the reason stands
        in the place of its numbers.

    Raises:
        InputError: a name that is not known, an option that a method does not have; a method
            changed a model in a way that cannot be undone.
        ResourceError: `out` cannot be written (before the work).
    """
    entries = entries_of(methods, options)
    place = None if out is None else TruthTable.folder(out)
    problems = [problem.take(pictures) for problem in problems_of(suites)]
    controls = [Entry(name, _control(name)) for name in CONTROLS if name not in entries]
    findings: dict[tuple[str, str], Finding] = {}
    rows = [*entries.values(), *controls]
    with _one_thread(), progress_bar(len(problems) * len(rows), "truth", "map") as bar:
        for problem in problems:
            kept = Kept(problem.model)
            for entry in rows:
                bar.set_postfix_str(f"{problem.name}, {entry.name}")
                found = _found(entry, problem)
                if kept.put_back():
                    found = Finding(len(problem), reason=CHANGED)
                findings[entry.name, _key(problem)] = found
                bar.update()
    table = TruthTable(
        methods=tuple(entry.name for entry in rows),
        controls=tuple(entry.name for entry in controls),
        problems={_key(problem): problem for problem in problems},
        findings=findings,
        options={entry.name: plain(entry.options) for entry in rows if entry.options},
    )
    if place is not None:
        table.save(place)
    return table


def _one_thread() -> Any:
    """NumPy's linear algebra on one thread: on matrices as small as LIME's several take longer."""
    # of a package that scikit-learn brings with it
    return importlib.import_module("threadpoolctl").threadpool_limits(1, "blas")


def _key(problem: Problem) -> str:
    return f"{problem.suite}/{problem.name}"


def _found(entry: Entry, problem: Problem) -> Finding:
    """One method on one problem; what it raises is what was found."""
    n, others = len(problem), None
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            # that maps are empty, or cannot be right, is what the table says
            warnings.simplefilter("ignore", InterpretWarning)
            values, signed = entry.explain(problem, problem.labels)
            seconds = time.perf_counter() - start
            if problem.others is not None:
                others, other_signed = entry.explain(problem, problem.others)
                signed = signed or other_signed
        with np.errstate(over="ignore"):  # beyond float32 a map is not finite, as the table says
            numbers, empty, unknown = measured(problem, values, others, signed)
            first, scale = _one(values), 0.0
            if others is not None:
                scale = float(np.abs(heatmap_of(_one(others), _size(problem), signed)).max())
    except Exception as error:  # the end of one cell, with its reason, and not of the run
        return Finding(n, reason=reason_of(error))
    return Finding(n, numbers, empty, unknown, seconds / n, signed, first, scale)


def reason_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _one(values: NDArray[Any]) -> NDArray[np.float32]:
    """The first map, [1, C, h, w]."""
    return np.asarray(values[:1] if values.ndim == 4 else values[:1, None], np.float32)


def _size(problem: Problem) -> tuple[int, int]:
    height, width = problem.x.shape[2:]
    return height, width


def _control(name: str) -> Explains:
    def explain(model: Any, x: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[Any]:
        return CONTROLS[name](x)

    return explain


def problems_of(suites: str | Problem | Sequence[str | Problem] | None) -> list[Problem]:
    wanted: list[Any] = ["planted"]
    if isinstance(suites, str | Problem) or not isinstance(suites, Iterable | None):
        wanted = [suites]
    elif suites is not None:
        wanted = list(suites)
    if not wanted:
        raise InputError(f"no suite is given; there are {', '.join(SUITES)}")
    for one in wanted:  # before any of them is built
        name = one.partition("/")[0] if isinstance(one, str) else None
        if name is not None and name not in SUITES:
            there = did_you_mean(name, SUITES) or f"; there are {', '.join(SUITES)}"
            raise InputError(f"no suite {name!r}{there}")
        if name is None and not isinstance(one, Problem):
            raise InputError(f"a suite is its name or a Problem; got {one!r}")
    found: dict[str, Problem] = {}
    built: dict[str, dict[str, Problem]] = {}
    for one in wanted:
        for problem in [one] if isinstance(one, Problem) else _named(one, built):
            if found.setdefault(_key(problem), problem) is not problem:
                raise InputError(f"two problems are named {_key(problem)!r}; rename one of them")
    return list(found.values())


def _named(name: str, built: dict[str, dict[str, Problem]]) -> list[Problem]:
    """The problems of "suite", or the one of "suite/problem"; each suite is built once."""
    suite, slash, short = name.partition("/")
    if suite not in built:
        built[suite] = {problem.name: problem for problem in SUITES[suite]()}
    problems = built[suite]
    if not slash:
        return list(problems.values())
    if short not in problems:
        there = did_you_mean(short, problems) or f"; there are {', '.join(problems)}"
        raise InputError(f"no problem {short!r} in the suite {suite!r}{there}")
    return [problems[short]]


def is_pair(given: Any) -> bool:
    """Whether something is one thing with its options, and not a tuple of several."""
    return isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], Mapping)


def with_options(given: Any) -> tuple[Any, Mapping[str, Any]]:
    """A thing and its options."""
    return given if is_pair(given) else (given, {})


def entries_of(
    methods: Any,
    options: Mapping[str, Mapping[str, Any]] | None,
) -> dict[str, Entry]:
    options = {} if options is None else options
    if not isinstance(options, Mapping) or not all(
        isinstance(own, Mapping) for own in options.values()
    ):
        raise InputError(f"options must be {{method: {{option: value}}}}; got {options!r}")
    if methods is None:
        every = METHODS.all().items()
        methods = [n for n, info in every if "pictures" in info.inputs and n not in SLOW]
    elif (
        isinstance(methods, str)
        or is_pair(methods)
        or callable(methods)
        or not isinstance(methods, Iterable)
    ):
        methods = [methods]
    named = methods.items() if isinstance(methods, Mapping) else [(None, one) for one in methods]
    entries: dict[str, Entry] = {}
    for name, given in named:
        method, own = with_options(given)
        entry = _entry(None if name is None else checked_name(name, "a method's name"), method)
        checked_name(entry.name, "a method's name")
        if entry.name in entries:
            raise InputError(
                f"two methods are named {entry.name!r}; give a mapping with other names"
            )
        if entry.name in CONTROLS:
            raise InputError(f"{entry.name!r} is the name of a control; give another")
        more = QUICK.get(entry.info.name, {}) if entry.info is not None else {}
        entries[entry.name] = _with(entry, {**more, **own, **options.get(entry.name, {})})
    for name in options:
        if name not in entries:
            raise InputError(
                f"options are given for {name!r}, which is not among the methods"
                f"{did_you_mean(name, entries)}"
            )
    return entries


def _entry(name: str | None, method: Method) -> Entry:
    if isinstance(method, str):
        info = METHODS.find(method)
        return Entry(name or info.name, info=info)
    if isinstance(method, type) and issubclass(method, Interpreter):
        registered = getattr(method, "info", None)
        if registered is None:
            raise InputError(f"{method.__name__} is not registered; decorate it with @register")
        return Entry(name or registered.name, info=registered)
    if isinstance(method, Interpreter):
        raise InputError(
            f"give the class {type(method).__name__}, not an object: each problem has a model of "
            "its own"
        )
    if not callable(method):
        raise InputError(
            "a method is a registered name, an Interpreter class or a function (model, x, labels) "
            f"-> values; got {method!r}"
        )
    return Entry(name or str(getattr(method, "__name__", type(method).__name__)), function=method)


def _with(entry: Entry, options: dict[str, Any]) -> Entry:
    """The entry with options, which its method has."""
    known = {} if entry.info is None else entry.info.options
    check_options(entry.name, options, known)
    return Entry(entry.name, entry.function, entry.info, options)


def check_options(name: str, options: Iterable[str], known: Iterable[str]) -> None:
    """Hold the names of options against those that there are.

    Raises:
        InputError: one is not known.
    """
    known = list(known)
    for option in options:
        if option not in known:
            has = f"; it has {', '.join(known)}" if known else "; a function has none"
            near = did_you_mean(str(option), known)
            raise InputError(f"{name} has no option {option!r}{near or has}")
