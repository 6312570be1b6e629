"""A run's table as arrays, a row for each picture: what reports and differences are made of."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..data_processor.heatmaps import heatmap_of
from ..data_processor.readers import read_images
from ..errors import InputError, InterpretError, did_you_mean
from ..preprocessing import Preprocessing, whole_number

__all__ = [
    "Columns",
    "MethodColumns",
    "Stored",
    "columns_of",
    "picture_reader",
    "same_class",
    "stacked",
]

_PICTURE = ("picture", "path", "digest", "method", "error", "prediction", "prediction_name",
            "probability", "label", "label_name", "target", "score", "map_height",
            "signed")  # fmt: skip
_MAP = ("picture", "method", "map", "map_scale", "map_height", "map_width")

Map = NDArray[np.float32]


class Stored(Protocol):
    """What is needed of a Run."""

    @property
    def folder(self) -> Path: ...
    @property
    def fingerprint(self) -> dict[str, Any]: ...
    @property
    def settings(self) -> dict[str, Any]: ...
    @property
    def class_names(self) -> tuple[str, ...] | None: ...
    @property
    def pictures(self) -> int: ...
    @property
    def shard_size(self) -> int: ...
    @property
    def complete(self) -> bool: ...
    @property
    def methods(self) -> tuple[str, ...]: ...
    @property
    def metrics(self) -> tuple[str, ...]: ...
    def parts(
        self, columns: Sequence[str] | None = None, shards: Sequence[int] | None = None
    ) -> Iterator[tuple[int, Any]]: ...


@dataclass
class MethodColumns:
    """One method of n pictures.

    Attributes:
        errors: why there is no map, or "".
        target: int64 [n], the class explained; -1 where there is none.
        score: float64 [n]; NaN where there is none.
        there: bool [n], whether there is a map; `Columns.maps` reads it.
        metrics: float64 [n] for each metric.
        signed: whether values below zero speak against the class.
    """

    errors: list[str]
    target: NDArray[np.int64]
    score: NDArray[np.float64]
    there: NDArray[np.bool_]
    metrics: dict[str, NDArray[np.float64]]
    signed: bool


@dataclass
class Columns:
    """The n pictures of a run that are there, in their order.

    Attributes:
        run: the run.
        positions: int64 [n], in the source.
        paths, digests: "" where there is none.
        prediction, label: int64 [n], -1 where there is none.
        probability: float64 [n], of the prediction; NaN where there is none.
        errors: why no method explained the picture, or "".
        classes: the names of classes by number, as far as they are known.
        methods: by name.
    """

    run: Stored
    positions: NDArray[np.int64]
    paths: list[str]
    digests: list[str]
    prediction: NDArray[np.int64]
    label: NDArray[np.int64]
    probability: NDArray[np.float64]
    errors: list[str]
    classes: dict[int, str]
    methods: dict[str, MethodColumns]

    def __len__(self) -> int:
        return len(self.positions)

    def name(self, number: int) -> str:
        """A class in words."""
        return self.classes.get(int(number), str(int(number)))

    def title(self, i: int) -> str:
        """A picture in words."""
        return self.paths[i] or f"picture {self.positions[i]}"

    def maps(self, wanted: Sequence[tuple[str, Sequence[int] | NDArray[Any]]]) -> list[list[Any]]:
        """Read maps, each file of the store once.

        Args:
            wanted: methods, each with the rows whose maps are wanted.

        Returns:
            for each of them the maps in that order, float32 [h, w] or None.

        Raises:
            InputError: a damaged file.
        """
        found: list[list[Any]] = [[None] * len(rows) for _, rows in wanted]
        slots: dict[tuple[int, str], list[tuple[int, int]]] = {}
        for k, (name, rows) in enumerate(wanted):
            for place, row in enumerate(rows):
                slots.setdefault((int(self.positions[row]), name), []).append((k, place))
        shards = sorted({picture // self.run.shard_size for picture, _ in slots})
        for shard, table in self.run.parts(_MAP, shards):
            for key, one in _maps(table, slots.keys(), shard):
                for k, place in slots[key]:
                    found[k][place] = one
        return found


def columns_of(run: Stored) -> Columns:
    """Read a run, without its maps.

    Raises:
        InputError: there is no row yet, or a damaged file.
    """
    names = [*_PICTURE, *(f"metric_{name}" for name in run.metrics)]
    classes = dict(enumerate(run.class_names or ()))
    parts = [_part(run, shard, table.to_pydict(), classes) for shard, table in run.parts(names)]
    if not parts:
        raise InputError(f"{run.folder} has no complete shard yet; run it first")
    found = parts[0]
    if len(parts) > 1:
        _join(found, parts)
        for name, method in found.methods.items():
            others = [each.methods[name] for each in parts]
            _join(method, others)
            method.signed = any(each.signed for each in others)
            method.metrics = {
                metric: np.concatenate([each.metrics[metric] for each in others])
                for metric in run.metrics
            }
    return found


def _join(first: Any, parts: Sequence[Any]) -> None:
    """Put the arrays and lists of all parts, one after the other, into the first."""
    for name, value in vars(first).items():
        values = [getattr(each, name) for each in parts]
        if isinstance(value, np.ndarray):
            setattr(first, name, np.concatenate(values))
        elif isinstance(value, list):
            setattr(first, name, list(chain(*values)))


def _part(
    run: Stored, shard: int, given: Mapping[str, list[Any]], classes: dict[int, str]
) -> Columns:
    """The rows of one file."""
    positions, row_of = np.unique(np.asarray(given["picture"], np.int64), return_inverse=True)
    n, ends = len(positions), (shard * run.shard_size, (shard + 1) * run.shard_size)
    if (n and not ends[0] <= positions[0] <= positions[-1] < ends[1]) or not (
        {*given["method"]} <= {*run.methods}
    ):
        raise InputError(
            f"shard {shard} of {run.folder} has rows of other pictures or methods; the store is "
            "damaged"
        )
    found = Columns(
        run, positions, [""] * n, [""] * n, np.full(n, -1), np.full(n, -1), np.full(n, np.nan),
        [""] * n, classes, {},
    )  # fmt: skip
    for name in run.methods:
        found.methods[name] = MethodColumns(
            ["not in the run"] * n, np.full(n, -1), np.full(n, np.nan), np.zeros(n, bool),
            {metric: np.full(n, np.nan) for metric in run.metrics}, False,
        )  # fmt: skip
    for row, i in enumerate(row_of.tolist()):
        of = {name: values[row] for name, values in given.items()}
        method = found.methods[of["method"]]
        method.errors[i] = of["error"] or ""
        method.there[i] = of["map_height"] is not None
        method.signed |= bool(of["signed"])
        _put(method.target, i, of["target"])
        _put(method.score, i, of["score"])
        for metric in run.metrics:
            _put(method.metrics[metric], i, of[f"metric_{metric}"])
        found.paths[i], found.digests[i] = of["path"] or "", of["digest"] or ""
        for kind, values in (("prediction", found.prediction), ("label", found.label)):
            if of[kind] is not None:
                values[i] = of[kind]
                if of[f"{kind}_name"]:
                    classes.setdefault(of[kind], of[f"{kind}_name"])
        _put(found.probability, i, of["probability"])
    for i in range(n):
        said = [method.errors[i] for method in found.methods.values()]
        if all(said):
            found.errors[i] = said[0]
    return found


def _put(values: NDArray[Any], i: int, value: Any) -> None:
    if value is not None:
        values[i] = value


def _maps(table: Any, wanted: Any, shard: int) -> Iterator[tuple[tuple[int, str], Map]]:
    """The maps of those rows of a file that are wanted, by picture and method."""
    names = ("picture", "method", "map_height", "map_width", "map_scale")
    of = [table[name].to_pylist() for name in names]
    row = 0
    for chunk in table["map"].chunks:
        offsets, values = chunk.offsets.to_numpy(), chunk.values.to_numpy(zero_copy_only=False)
        for k, there in enumerate(chunk.is_valid().to_pylist()):
            picture, method, height, width, scale = (each[row] for each in of)
            row += 1
            if (picture, method) not in wanted or (not there and height is None):
                continue
            part = values[offsets[k] : offsets[k + 1]].astype(np.float32)
            if not height or not width or part.size != height * width:
                raise InputError(
                    f"shard {shard} holds a map of {part.size} values that is said to be "
                    f"{height} x {width}; the store is damaged"
                )
            with np.errstate(invalid="ignore", over="ignore"):  # maps that are not finite
                found = part.reshape(height, width) * np.float32(scale or 1)
            yield (picture, method), found


def stacked(maps: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Maps as [n, h, w]; where their sizes differ, all of the first one's size."""
    size = maps[0].shape
    return np.stack(
        [m if m.shape == size else heatmap_of(m[None], size, signed=True)[0] for m in maps]
    )


def class_number(columns: Columns, label: int | str) -> int:
    """A class by its number or name.

    Raises:
        InputError: the run has no such class.
    """
    if isinstance(label, str):
        numbers = [number for number, name in columns.classes.items() if name == label]
        if not numbers:
            known = columns.classes.values()
            raise InputError(f"the run has no class {label!r}{did_you_mean(label, known)}")
        return numbers[0]
    return whole_number(label, "label", 0)


def same_class(
    a: Columns, b: Columns, before: NDArray[np.int64], after: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Where a class of one run is that of another: by number, or by name where names differ.

    Args:
        before, after: [n], classes of `a` and of `b`; -1 where there is none.
    """
    if all(b.classes.get(number, name) == name for number, name in a.classes.items()):
        return np.asarray(before == after)
    same = [a.name(i) == b.name(j) for i, j in zip(before, after, strict=True)]
    return np.asarray(same, bool)


def picture_reader(run: Stored, root: Path | None = None) -> Any:
    """How the run's pictures looked to the model.

    Args:
        root: the folder where relative paths start; None: where the run was started.

    Returns:
        a function from a path to uint8 [H, W, 3]; it returns None where there is no such picture
        any more.

    Raises:
        InputError: `root` is no folder.
    """
    if root is not None and not os.path.isdir(root):
        raise InputError(f"root must be the folder where the pictures' paths start; got {root}")
    preprocessing = _preprocessing(run.fingerprint.get("preprocessing"))
    place = Path(str(run.settings.get("root") or "")) if root is None else root

    def read(path: str) -> NDArray[np.uint8] | None:
        if preprocessing is None or not path:
            return None
        try:
            file = place / path
            images = read_images(file, preprocessing).images if file.is_file() else None
        except (InterpretError, OSError, ValueError):  # ValueError: no path at all
            return None
        return None if images is None else images[0]

    return read


def _preprocessing(values: Any) -> Preprocessing | None:
    """From its values; None where it is of another kind, and a picture's cut unknown."""
    try:
        return Preprocessing(**values)
    except (InputError, TypeError):
        return None
