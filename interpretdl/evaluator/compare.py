"""compare(): methods by metrics in one table, taken up again where it was left."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..data_processor.files import atomic_path, check_writable
from ..data_processor.readers import Batch
from ..errors import InputError, ResourceError, UnsupportedModelError, warn
from ..interpreter.base import Interpreter
from ..probe import Probe
from ..progress import progress_bar
from ..record import digest, digest_of_model, plain, public
from ..registry import EVALUATORS
from ..targets import ClassScore, TopClass, settled
from ..texts import TextPreprocessing
from ..version import __version__
from .base import Evaluator
from .controls import CONTROLS, Control
from .evaluation import Evaluation
from .report import facts_of
from .table import Comparison
from .thumbnails import Thumbnails, pictures_of

__all__ = ["compare", "metric_settings", "settings_of"]

_FORMAT = "interpretdl comparison 1"
Method = Interpreter | tuple[Interpreter, Mapping[str, Any]]
Metric = Evaluator | str


@dataclass
class _Row:
    """A method with its options."""

    interpreter: Interpreter
    options: dict[str, Any]


def settings_of(interpreter: Interpreter, options: Mapping[str, Any], model: str) -> dict[str, Any]:
    """What a method's values depend on, the images aside; `model` is the model's fingerprint."""
    text = interpreter.subject.text
    reading = {} if text is None else {"texts": _reading(text)}
    return {
        **reading,
        "class": type(interpreter).__name__,
        "model": model,
        "output": _outputs(interpreter.probe),
        "options": plain(options),
        **public(interpreter, without=("subject", "model", "probe", "class_names", "info")),
    }


def compare(
    interpreters: Mapping[str, Method] | Sequence[Method],
    images: Any,
    evaluators: Mapping[str, Metric] | Sequence[Metric],
    *,
    label: Any = None,
    masks: Any = None,
    boxes: Any = None,
    resize_to: int | None = None,
    crop_to: int | None = None,
    file: str | os.PathLike[str] | None = None,
    controls: bool = False,
) -> Comparison:
    """Evaluate methods by metrics on the same images: one table, and a figure.

    Args:
        interpreters: Interpreters, or pairs of an Interpreter and its options; a mapping gives them
            names, else the registered ones are used.
        images: pictures, texts or inputs, as `Interpreter.explain` takes them.
        evaluators: Evaluators, or their registered names; a mapping gives them names.
        label: as `Interpreter.explain` takes it; None is the top class of each image (by the first
            method's model), the same for all methods.
        masks: for metrics that need them, [N, H, W] at the size of the inputs.
        boxes: for metrics that need them, x1, y1, x2, y2 for each image.
        resize_to, crop_to: in place of the model's own preprocessing.
        file: a .json file that is written after each cell; when it is there, what it has is not
            computed again. Methods and metrics may be added to it, images and settings not changed.
        controls: add rows for maps that know no model: "random", "centre" and "sobel", the edges.
            Where a control is as good as the methods, the metric does not tell them from chance.

    Returns:
        Comparison, with the maps of the first eight pictures for its report. A method that cannot
        be right on its model has NaN there, with the reason among the flags and a warning.

    Raises:
        InputError: two methods or metrics of one name; methods with different preprocessing;
            metrics that do not take texts; a file made from other images, settings or weights.
        ResourceError: the file cannot be written (before the work).
        ImageReadError: no picture can be read; those that cannot are left out with a warning.
    """
    rows = {name: _Row(*one) for name, one in _named_methods(interpreters).items()}
    columns = _named_metrics(evaluators)
    if not rows or not columns:
        raise InputError("nothing to compare: give at least one method and one metric")
    path = None if file is None else check_writable(file, (".json",))
    first = next(iter(rows.values())).interpreter
    read = (first.preprocessing, first.subject.text)
    others = [row.interpreter for row in rows.values()]
    if any((each.preprocessing, each.subject.text) != read for each in others):
        raise InputError("the methods must have one preprocessing; give preprocessing= to each")
    batch = first.subject.read(images, resize_to=resize_to, crop_to=crop_to)
    if controls:
        rows |= _controls(first, batch, rows)
    given, labels = batch.given, _labels(first, label, batch)
    inputs = images if batch.texts else batch.inputs  # each text has inputs of its own
    masks, boxes = (_kept(each, given, batch.indices) for each in (masks, boxes))
    store = _Store(path, _common(batch, labels, masks, boxes))
    digests: dict[int, str] = {}
    for name, row in rows.items():
        model = row.interpreter.model
        digests.setdefault(id(model), digest_of_model(model))
        settings = settings_of(row.interpreter, row.options, digests[id(model)])
        store.expect("methods", name, settings)
    for name, column in columns.items():
        store.expect("metrics", name, metric_settings(column))

    cells: dict[tuple[str, str], Evaluation] = {}
    with progress_bar(len(rows) * len(columns), "compare", "cell") as bar:
        for name, row in rows.items():
            explained = None
            for metric, column in columns.items():
                found = store.get(name, metric)
                if found is None:
                    bar.set_postfix_str(f"{name}, {metric}")
                    try:
                        if explained is None:
                            explained = row.interpreter.explain(inputs, label=labels, **row.options)
                            if batch.images is not None:
                                store.maps[name] = Thumbnails.of(batch.images, explained)
                        found = column.measure(
                            inputs, explained, interpreter=row.interpreter,
                            options=row.options, masks=masks, boxes=boxes,
                        )  # fmt: skip
                        store.put(name, metric, found)
                    except UnsupportedModelError as error:
                        warn(f"{name}, {metric}: {error}")
                        found = _nothing(column, len(batch), str(error))
                cells[name, metric] = found
                bar.update()
    models = {digests[id(row.interpreter.model)]: row.interpreter.model for row in rows.values()}
    return Comparison(
        methods=tuple(rows),
        metrics=tuple(columns),
        cells=cells,
        sources=batch.sources,
        pictures=pictures_of(batch.images),
        maps={name: store.maps[name] for name in rows if name in store.maps},
        facts=facts_of(models, batch),
        settings={
            "version": __version__,
            "methods": {name: store.settings["methods"][name] for name in rows},
            "metrics": {name: store.settings["metrics"][name] for name in columns},
        },
        controls=tuple(CONTROLS) if controls else (),
    )


def _controls(first: Interpreter, batch: Batch, rows: Mapping[str, _Row]) -> dict[str, _Row]:
    """A row for each control, with the first method's model."""
    if batch.texts or not isinstance(batch.inputs, np.ndarray) or batch.inputs.ndim != 4:
        raise InputError("controls=True is for pictures [N, C, H, W]")
    if taken := [name for name in CONTROLS if name in rows]:
        raise InputError(f"{taken[0]!r} is the name of a control; give a mapping with other names")
    return {name: _Row(Control(first.subject, name), {}) for name in CONTROLS}


def _named_methods(
    given: Mapping[str, Method] | Sequence[Method],
) -> dict[str, tuple[Interpreter, dict[str, Any]]]:
    given = [given] if isinstance(given, Interpreter) else given
    pairs = list(given.items()) if isinstance(given, Mapping) else [(None, one) for one in given]
    named: dict[str, tuple[Interpreter, dict[str, Any]]] = {}
    for name, one in pairs:
        interpreter, options = one if isinstance(one, tuple) else (one, {})
        if not isinstance(interpreter, Interpreter):
            raise InputError(
                f"a method is an Interpreter, or one with its options; got {interpreter!r}"
            )
        name = name or interpreter.info.name
        if name in named:
            raise InputError(f"two methods are named {name!r}; give a mapping with other names")
        named[name] = (interpreter, dict(options))
    return named


def _named_metrics(given: Mapping[str, Metric] | Sequence[Metric]) -> dict[str, Evaluator]:
    given = [given] if isinstance(given, str | Evaluator) else given
    pairs = list(given.items()) if isinstance(given, Mapping) else [(None, one) for one in given]
    named: dict[str, Evaluator] = {}
    for name, one in pairs:
        evaluator = EVALUATORS.find(one).cls() if isinstance(one, str) else one
        if not isinstance(evaluator, Evaluator):
            raise InputError(f"a metric is an Evaluator or its name; got {evaluator!r}")
        name = name or evaluator.info.name
        if name in named:
            raise InputError(f"two metrics are named {name!r}; give a mapping with other names")
        named[name] = evaluator
    return named


def _labels(interpreter: Interpreter, label: Any, batch: Batch) -> Any:
    """A target as it is; else the class of each image, so that all methods explain the same."""
    target = interpreter.subject.target(label, batch)
    if isinstance(target, TopClass):
        probe, texts = interpreter.probe, batch.texts
        each = [probe.logits(text.inputs) for text in texts]
        target = settled(target, np.concatenate(each) if texts else probe.logits(batch.inputs))
    if callable(label) or not isinstance(target, ClassScore):
        return target
    return np.broadcast_to(target.labels, len(batch))


def _kept(each: Any, given: int, indices: Sequence[int]) -> Any:
    """Those of the images that could be read."""
    if each is None or len(each) != given or len(indices) == given:
        return each
    return [each[i] for i in indices]


def _nothing(evaluator: Evaluator, n: int, reason: str) -> Evaluation:
    return evaluator.result(np.full(n, np.nan), flags=dict.fromkeys(range(n), reason))


# -- what a file may be mixed with -----------------------------------------------------------------


def _outputs(probe: Probe) -> Any:
    """Which part of the model's output, and what it is taken for."""
    return plain([probe.output, probe.output_kind])


def _reading(text: TextPreprocessing) -> dict[str, Any]:
    """How texts are read, in words that another process has too."""
    of = text.text_to_input_fn if text.tokenizer is None else type(text.tokenizer)
    own = {
        f.name: getattr(text, f.name) for f in fields(text) if not callable(getattr(text, f.name))
    }
    return {
        "by": getattr(of, "__name__", type(of).__name__),
        **{k: plain(v) for k, v in own.items()},
    }


def metric_settings(evaluator: Evaluator) -> dict[str, Any]:
    """What a metric's values depend on, the images and the method aside."""
    model = evaluator.probe.model if evaluator.probe else None
    reading = evaluator.preprocessing
    return {
        "class": type(evaluator).__name__,
        "model": None if model is None else digest_of_model(model),
        "output": None if evaluator.probe is None else _outputs(evaluator.probe),
        "preprocessing": _reading(reading)
        if isinstance(reading, TextPreprocessing)
        else plain(reading),
        **{name: plain(value) for name, value in evaluator.settings().items()},
    }


def _common(batch: Batch, labels: Any, masks: Any, boxes: Any) -> dict[str, Any]:
    texts = [part for text in batch.texts for part in (text.source, text.ids)]
    return {
        "version": __version__,
        "images": digest(*texts) if texts else digest(batch.inputs),
        "labels": plain(labels),
        "masks": None if masks is None else digest(np.asarray(masks)),
        "boxes": None if boxes is None else digest(*(np.asarray(box, float) for box in boxes)),
    }


class _Store:
    """Cells that are done, in a file when there is one."""

    def __init__(self, path: Path | None, common: dict[str, Any]) -> None:
        self.path = path
        self.settings: dict[str, Any] = {"common": common, "methods": {}, "metrics": {}}
        self.cells: dict[str, dict[str, Any]] = {}
        self.maps: dict[str, Thumbnails] = {}
        if path is not None and path.is_file() and path.stat().st_size:
            self._read(path, common)

    def _read(self, path: Path, common: dict[str, Any]) -> None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise ValueError(f"its format is {content['format']!r}")
            settings, cells = content["settings"], content["cells"]
            for row in cells.values():
                for cell in row.values():
                    Evaluation.from_json(cell)
            # files of before have none
            drawn = content.get("maps", {})
            maps = {name: Thumbnails.from_json(each) for name, each in drawn.items()}
            previous = settings["common"]
            previous["images"], settings["methods"], settings["metrics"]
        except OSError as error:
            raise ResourceError(f"cannot read {path}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is not a file written by compare(): {error}") from error
        if previous != common:
            raise InputError(self._mixed("images, labels or version", previous, common))
        self.settings, self.cells, self.maps = settings, cells, maps

    def _mixed(self, what: str, before: Any, now: Any) -> str:
        changed = [
            name for name in now if not isinstance(before, dict) or before.get(name) != now[name]
        ]
        return (
            f"{self.path} was made with other {what} ({', '.join(changed)} differ); give another "
            "file, or remove this one"
        )

    def expect(self, kind: str, name: str, settings: dict[str, Any]) -> None:
        """Note a method's or metric's settings; InputError if the file has others."""
        settings = json.loads(json.dumps(settings))  # as it reads when it comes back
        before = self.settings[kind].setdefault(name, settings)
        if before != settings:
            raise InputError(self._mixed(f"settings of {name}", before, settings))

    def get(self, method: str, metric: str) -> Evaluation | None:
        cell = self.cells.get(method, {}).get(metric)
        return None if cell is None else Evaluation.from_json(cell)

    def put(self, method: str, metric: str, evaluation: Evaluation) -> None:
        self.cells.setdefault(method, {})[metric] = evaluation.as_json()
        if self.path is None:
            return
        maps = {name: each.as_json() for name, each in self.maps.items()}
        content = {
            "format": _FORMAT, "settings": self.settings, "cells": self.cells, "maps": maps
        }  # fmt: skip
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
