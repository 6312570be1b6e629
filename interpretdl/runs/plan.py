"""What a run does, in plain values that every process can be given."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from ..errors import InputError, did_you_mean, quoted
from ..hints import check_value
from ..models_by_name import load_model
from ..preprocessing import whole_number
from ..registry import EVALUATORS, METHODS
from ..subject import Subject

__all__ = ["Explained", "Plan", "check_explained", "check_plan"]

Explained = Literal["prediction", "label"]


@dataclass(frozen=True)
class Plan:
    """What every process of a run knows.

    Attributes:
        model: name, weights, pretrained, and the arguments of Subject.of; empty where the model is
            this process's.
        methods: for each name "method", the registered one, and "options".
        metrics: likewise "metric" and "options".
        explain: which class is explained.
        map_size: the longer side of a map.
        batch_size: pictures explained together; most inputs in one run of the model.
        threads: of a process.
        out: the store.
        root: where relative paths start.
        dataset: "package.module:function" where the source is a data set.
    """

    model: dict[str, Any]
    methods: dict[str, dict[str, Any]]
    metrics: dict[str, dict[str, Any]]
    explain: Explained
    map_size: int
    batch_size: int
    threads: int
    out: str
    root: str
    dataset: str | None = None
    path: list[str] = field(default_factory=list)
    """Where Python looks for modules."""

    def as_json(self) -> dict[str, Any]:
        """Values that JSON knows.

        Raises:
            InputError: an option that JSON cannot hold, such as an array.
        """
        entries = {**self.methods, **self.metrics}
        given = {name: entry["options"] for name, entry in entries.items()}
        for name, options in {**given, "the model": self.model}.items():
            for option, value in options.items():
                try:
                    json.dumps(value)
                except (TypeError, ValueError) as error:
                    raise InputError(
                        f"workers are given numbers and texts, and {option} of {name} is of "
                        f"type {type(value).__name__}; give workers=0"
                    ) from error
        return asdict(self)

    def subject(self) -> Subject:
        """The model, built.

        Raises:
            InputError, WeightsError: see `load_model`.
        """
        options = dict(self.model)
        name, weights = options.pop("name"), options.pop("weights", None)
        model = load_model(name, weights=weights, pretrained=options.pop("pretrained", None))
        return Subject.of(model, batch_size=self.batch_size, **options)


def check_plan(
    methods: Any, metrics: Any, options: Mapping[str, Mapping[str, Any]] | None, **numbers: int
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Methods and metrics with their options, by name.

    Raises:
        InputError: an unknown name or option, or a number below 1.
    """
    for name, value in numbers.items():
        whole_number(value, name)
    if not isinstance(options, Mapping | None):
        raise InputError(
            "options must be a mapping from a method's or metric's name to its options; got "
            f"{quoted(options)}"
        )
    given = dict(options or {})
    found = (
        _entries(methods, METHODS, "method", given), _entries(metrics, EVALUATORS, "metric", given)
    )  # fmt: skip
    if both := set(found[0]) & set(found[1]):
        raise InputError(f"a method and a metric are both named {both.pop()!r}; rename one")
    known = {**found[0], **found[1]}
    for name in given:
        raise InputError(
            f"options are given for {name!r}, which is not in this run"
            f"{did_you_mean(str(name), known)}"
        )
    if not found[0]:
        raise InputError("no method was given; `interpretdl methods` lists them")
    return found


def _entries(
    given: Any, registry: Any, kind: str, options: dict[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    given = [given] if isinstance(given, str) else given
    if not isinstance(given, Iterable):
        raise InputError(
            f"{kind}s must be a name, a list of names, or a mapping from names of your own to "
            f"them; got {quoted(given)}"
        )
    pairs = given.items() if isinstance(given, Mapping) else ((None, each) for each in given)
    entries: dict[str, dict[str, Any]] = {}
    for title, each in pairs:
        if not isinstance(each, str):
            raise InputError(f"a {kind} of a run is given by its name; got {quoted(each)}")
        info = registry.find(each)
        name = title or info.name
        check_value("name", name, str)
        if name in entries:
            raise InputError(f"two {kind}s are named {name!r}; give a mapping with other names")
        entries[name] = {kind: info.name, "options": _options(info, name, options.pop(name, {}))}
        if kind == "metric":
            if info.needs & {"masks", "boxes"}:
                needs = " and ".join(sorted(info.needs & {"masks", "boxes"}))
                raise InputError(f"{info.name} needs {needs}, which a run does not read")
            info.cls(**entries[name]["options"])  # says what is wrong with a value
    return dict(sorted(entries.items()))


def _options(info: Any, name: str, given: Any) -> dict[str, Any]:
    """Options of a method or metric, held against their annotations."""
    if not isinstance(given, Mapping):
        raise InputError(f"options of {name} must be a mapping; got {quoted(given)}")
    known, own = info.options, {option: _plain(value) for option, value in given.items()}
    for option, value in own.items():
        if option not in known:
            raise InputError(
                f"{info.name} has no option {option!r}{did_you_mean(str(option), known)}"
            )
        # Its own check knows more of the layer; None is the method's own score.
        free = option == "target_layer_name" or (option == "gradient_of" and value is None)
        if value is not known[option].default and not free:
            check_value(f"{option} of {name}", value, known[option].annotation)
    return own


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    return value


def check_explained(explain: str) -> None:
    if explain not in get_args(Explained):
        raise InputError(f"explain must be one of {get_args(Explained)}; got {explain!r}")
