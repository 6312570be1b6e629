"""The rows of a shard: read, explain, measure. The same in every engine."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.files import encodable
from ..data_processor.heatmaps import heatmap_of
from ..data_processor.readers import Batch
from ..errors import InputError, InterpretError, InterpretWarning, ModelWarning, ResourceError, warn
from ..evaluator import Evaluator
from ..evaluator.compare import metric_settings, settings_of
from ..explanation import Explanation
from ..interpreter.base import Interpreter
from ..models_by_name import imported
from ..preprocessing import Preprocessing
from ..probe.state import place_of
from ..record import digest, digest_of_model, plain
from ..registry import EVALUATORS, METHODS
from ..subject import Subject
from .labels import Classes, Meant
from .pictures import channels_last, file_digest, joined
from .plan import Plan
from .source import Row
from .store import write_shard

__all__ = ["Job", "Maker", "Step"]

Step = Callable[[str, Sequence[int]], None]
"""Called before each step with its name and the pictures in hand."""

READING = "reading"
_MOST_NUMBERS = 16


@dataclass
class Job:
    """A shard to be made.

    Attributes:
        shard: its number.
        rows: its pictures.
        fingerprint: of the run.
        batch_size: pictures explained together; smaller than the plan's after memory ran out.
        refused: error by "picture", or by "picture method", of what ended a process before.
    """

    shard: int
    rows: list[Row]
    fingerprint: dict[str, Any]
    batch_size: int
    refused: dict[str, str] = field(default_factory=dict)


@dataclass
class _Picture:
    """One picture of a batch, with its columns so far."""

    columns: dict[str, Any]
    batch: Batch
    label: Meant


def no_step(step: str, pictures: Sequence[int]) -> None:
    """For who need not be told."""


class Maker:
    """Makes the shards of a plan in this process.

    Args:
        plan: what is done.
        subject: the model; None builds the plan's.
        dataset: where the source is one; None builds the plan's.
    """

    def __init__(self, plan: Plan, subject: Subject | None = None, dataset: Any = None) -> None:
        self.plan, self._subject = plan, subject or plan.subject()
        self._dataset = dataset
        if dataset is None and plan.dataset is not None:
            given = imported(plan.dataset, "data set")
            self._dataset = given() if callable(given) else given
        self._use(plan.batch_size)
        self._classes = Classes.of(self._subject)
        self._warned = False

    def _use(self, batch_size: int) -> None:
        """Build methods that run at most so many inputs at once."""
        self._size, subject = batch_size, self._subject
        if subject.probe._plan.fixed != batch_size:  # a new probe traces its programs again
            subject = subject.with_batch_size(batch_size)
        self._methods: dict[str, tuple[Interpreter, dict[str, Any]]] = {
            name: (_registered(METHODS, entry["method"])(subject), dict(entry["options"]))
            for name, entry in self.plan.methods.items()
        }
        self._metrics: dict[str, Evaluator] = {
            name: _registered(EVALUATORS, entry["metric"])(**entry["options"])
            for name, entry in self.plan.metrics.items()
        }

    def describe(self) -> dict[str, Any]:
        """What rows depend on that only the built model tells, in values that JSON knows."""
        model = self._subject.probe.model
        weights, names = digest_of_model(model), self._classes.names
        layers = {type(layer) for layer in model.sublayers(include_self=True)}
        methods = {name: settings_of(*each, weights) for name, each in self._methods.items()}
        metrics = {name: metric_settings(each) for name, each in self._metrics.items()}
        return {
            "fingerprint": {
                "model": weights,
                "code": _code_of([*layers, *(type(each[0]) for each in self._methods.values())]),
                "methods": _checked(methods),
                "metrics": _checked(metrics),
                "preprocessing": _reading(self._subject.preprocessing),
                "class_names": digest(names),
                "place": str(place_of(model)),
            },
            "class_names": None if names is None else list(names),
        }

    def make(self, job: Job, step: Step = no_step) -> dict[str, Any]:
        """Make a shard and write it. Where memory runs out, with half as many pictures at once.

        Returns:
            "shard", "pictures", "errors" (rows without a map), "batch_size".

        Raises:
            ResourceError: the shard cannot be written.
        """
        size = job.batch_size
        while True:
            if size != self._size:
                self._use(size)
            try:
                rows = self._rows(job, step)
                break
            except _MEMORY:
                size //= 2  # of one picture it becomes the row's error
        step("writing", [])
        write_shard(Path(self.plan.out), job.shard, rows, list(self._metrics), job.fingerprint)
        errors = sum(row.get("error") is not None for row in rows)
        return {
            "shard": job.shard, "pictures": len(job.rows), "errors": errors, "batch_size": size
        }  # fmt: skip

    def _rows(self, job: Job, step: Step) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for start in range(0, len(job.rows), self._size):
            group: list[_Picture] = []
            for row in job.rows[start : start + self._size]:
                step(READING, [row[0]])
                picture = self._read(row, job.refused)
                if isinstance(picture, _Picture):
                    group.append(picture)
                else:
                    rows += [{**picture, "method": name} for name in self._methods]
            for together in _of_one_size(group):
                for name in self._methods:
                    rows += self._explained(name, together, job, step)
        return sorted(rows, key=lambda row: (row["picture"], row["method"]))

    # -- reading ----------------------------------------------------------------------------------

    def _read(self, row: Row, refused: dict[str, str]) -> _Picture | dict[str, Any]:
        """A picture; or its columns with the error."""
        number, path, label = row
        columns: dict[str, Any] = {"picture": number, "path": path and encodable(path)}
        error = refused.get(str(number))
        if error is None:
            try:
                item: Any = path and os.path.join(self.plan.root, path)
                if path is None:
                    item = self._dataset[number]
                    if isinstance(item, tuple | list):
                        item, label = item[0], item[1] if len(item) > 1 and label is None else label
                    item = channels_last(item)
                batch = self._subject.read(item)
                if batch.images is None or len(batch) != 1:
                    raise InputError("a run explains pictures; this is something else")
                columns["digest"] = file_digest(item) if path else digest(np.asarray(batch.images))
            except Exception as failed:  # whatever a data set raises; the run goes on
                if isinstance(failed, _MEMORY) and self._size > 1:
                    raise
                error = _told(failed)
        meant = self._classes.meant(label)
        columns |= meant.columns
        if error is not None:
            return {**columns, "error": error}
        if meant.wrong is not None and self.plan.explain != "label" and not self._warned:
            self._warned = True
            warn(
                f"the label of picture {number} is left out ({meant.wrong}); of further ones only "
                "the column 'diagnostics' tells"
            )
        return _Picture(columns, batch, meant)

    # -- explaining -------------------------------------------------------------------------------

    def _explained(
        self, name: str, group: list[_Picture], job: Job, step: Step
    ) -> list[dict[str, Any]]:
        """The rows of one method."""
        method, options = self._methods[name]
        rows: list[dict[str, Any]] = []
        good: list[_Picture] = []
        for picture in group:
            columns = {**picture.columns, "method": name}
            error = job.refused.get(f"{columns['picture']} {name}")
            if self.plan.explain == "label" and picture.label.index is None:
                error = picture.label.wrong or "no label was given for this picture"
            if error is None:
                good.append(picture)
            else:
                rows.append({**columns, "error": error})
        # A method that draws random numbers does so by a picture's place among those given.
        size = 1 if method.info.random else len(good)
        for start in range(0, len(good), size or 1):
            rows += self._together(name, options, good[start : start + size], step)
        return rows

    def _together(
        self, name: str, options: dict[str, Any], group: list[_Picture], step: Step
    ) -> list[dict[str, Any]]:
        method = self._methods[name][0]
        pictures = [picture.columns["picture"] for picture in group]
        batch = joined([picture.batch for picture in group])
        wanted = [picture.label.index for picture in group]
        own = dict(options)
        try:
            step(name, pictures)
            label = np.array(wanted) if self.plan.explain == "label" else None
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always", InterpretWarning)
                found = method._explained(batch, label, own.pop("gradient_of", None), {}, own)
            rows = self._columns(found)
            _note(said, rows)
            for picture, row in zip(group, rows, strict=True):
                if picture.label.wrong is not None:
                    row["diagnostics"]["label"] = picture.label.wrong
            for metric, evaluator in self._metrics.items():
                step(f"{name}\t{metric}", pictures)
                self._measure(metric, evaluator, batch, found, method, options, rows)
        except Exception as error:  # of one picture it is the row's, whatever the model raised
            if isinstance(error, _MEMORY) and self._size > 1:
                raise
            if len(group) > 1:
                return [
                    row for each in group for row in self._together(name, options, [each], step)
                ]
            rows = [{"error": _told(error)}]
        return [
            {**picture.columns, "method": name, **row, "diagnostics": _as_text(row)}
            for picture, row in zip(group, rows, strict=True)
        ]

    def _columns(self, found: Explanation) -> list[dict[str, Any]]:
        rows = []
        for i, one in enumerate(found):
            height, width = one.images.shape[1:3] if one.images is not None else (1, 1)
            scale = min(1.0, self.plan.map_size / max(height, width))
            size = (max(1, round(height * scale)), max(1, round(width * scale)))
            heat = heatmap_of(one.values, size, one.signed)[0]
            largest = np.abs(heat).max()
            row: dict[str, Any] = {
                "target": int(one.labels[0]) if one.labels[0] >= 0 else None,
                "score": float(one.scores[0]),
                "diagnostics": _numbers(one.diagnostics),
                "map": (heat / largest if largest > 0 else heat).astype(np.float16).ravel(),
                "map_scale": float(largest) if largest > 0 else 1.0,
                "map_height": size[0], "map_width": size[1], "signed": bool(one.signed),
            }  # fmt: skip
            if found.probabilities is not None:
                chances = found.probabilities[i]
                best = int(chances.argmax())
                row |= {
                    "prediction": best, "probability": float(chances[best]),
                    "probabilities": chances.astype(np.float32),
                }  # fmt: skip
                if found.class_names is not None:
                    row["prediction_name"] = encodable(found.class_names[best])
            rows.append(row)
        return rows

    def _measure(
        self, name: str, evaluator: Evaluator, batch: Batch, found: Explanation,
        method: Interpreter, options: dict[str, Any], rows: list[dict[str, Any]],
    ) -> None:  # fmt: skip
        """Add a metric's values to the rows; where it has none, why."""
        try:
            measured = evaluator.measure(batch.inputs, found, interpreter=method, options=options)
            values, flags = measured.values, measured.flags
        except _MEMORY:
            raise
        except InterpretError as error:
            if len(rows) > 1:  # each alone says whose fault it is
                raise
            values, flags = np.array([np.nan]), {0: str(error)}
        for i, row in enumerate(rows):
            row[f"metric_{name}"] = float(values[i]) if np.isfinite(values[i]) else None
            if i in flags:
                row["diagnostics"][name] = flags[i]


_MEMORY = (ResourceError, MemoryError)


def _registered(registry: Any, name: str) -> Any:
    """A class by its name, which the process that began the run knows."""
    if name not in registry.all():
        raise InputError(
            f"workers have no {registry.noun} {name!r}, because they do not run the script that "
            "registers it: register it in the module of the model's function, or in a package "
            f"with an entry point {registry.group!r}; or give workers=0"
        )
    return registry.all()[name].cls


def _told(error: BaseException) -> str:
    text = str(error) or "no message"
    own = isinstance(error, InterpretError)
    return encodable(text if own else f"{type(error).__name__}: {text}")[:2000]


def _note(said: list[warnings.WarningMessage], rows: list[dict[str, Any]]) -> None:
    """Warnings of the package go into the rows of those explained together; others go on.

    So do those of the model, which are said once, of whatever happens to come first.
    """
    own = [
        issubclass(each.category, InterpretWarning) and not issubclass(each.category, ModelWarning)
        for each in said
    ]
    mine = [str(each.message) for each, is_own in zip(said, own, strict=True) if is_own]
    for each, is_own in zip(said, own, strict=True):
        if not is_own:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    for row in rows:
        if mine:
            row["diagnostics"]["warnings"] = sorted(set(mine))


def _as_text(row: dict[str, Any]) -> str | None:
    """What a row has to say of itself, as JSON."""
    found = row.get("diagnostics")
    return None if found is None else json.dumps(found, sort_keys=True)


def _of_one_size(group: list[_Picture]) -> Iterable[list[_Picture]]:
    """Those that fit in one batch, in order."""
    sizes: dict[tuple[int, ...], list[_Picture]] = {}
    for picture in group:
        sizes.setdefault(np.shape(picture.batch.inputs), []).append(picture)
    return sizes.values()


def _numbers(diagnostics: dict[str, Any]) -> dict[str, Any]:
    """What there is to say in few numbers; arrays of one picture."""
    found = {}
    for name, value in diagnostics.items():
        array: NDArray[Any] = np.asarray(value)
        if array.dtype.kind in "biuf" and array.size <= _MOST_NUMBERS:
            found[name] = plain(array.item() if array.size == 1 else array.tolist())
    return found


def _code_of(classes: Iterable[type]) -> dict[str, str]:
    """The modules of other packages' classes, with fingerprints of their files."""
    names = {each.__module__ for each in classes}
    mine = sorted(name for name in names if name.split(".")[0] not in ("interpretdl", "paddle"))
    files = {name: getattr(sys.modules.get(name), "__file__", None) for name in mine}
    return {name: file_digest(path) for name, path in files.items() if path}


def _reading(preprocessing: Preprocessing | None) -> Any:
    """How pictures are read; a class of a user's own is told by its name."""
    if preprocessing is None or type(preprocessing) is not Preprocessing:
        return repr(preprocessing)
    return plain(asdict(preprocessing))


def _checked(values: Any) -> Any:
    return json.loads(json.dumps(values))
