"""A run's table as arrays, a row for each picture: what reports and differences are made of."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..data_processor.heatmaps import heatmap_of
from ..data_processor.readers import read_images
from ..errors import InputError, InterpretError, did_you_mean
from ..preprocessing import Preprocessing

__all__ = ["Columns", "MethodColumns", "Stored", "columns_of", "picture_reader", "stacked"]

_PICTURE = ("picture", "path", "digest", "method", "error", "prediction", "prediction_name",
            "probability", "label", "label_name", "target", "score")  # fmt: skip
_MAP = ("map", "map_scale", "map_height", "map_width", "signed")


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
    def complete(self) -> bool: ...
    @property
    def methods(self) -> tuple[str, ...]: ...
    @property
    def metrics(self) -> tuple[str, ...]: ...
    def table(self, columns: Sequence[str] | None = None) -> Any: ...


@dataclass
class MethodColumns:
    """One method of n pictures.

    Attributes:
        errors: why there is no map, or "".
        target: int64 [n], the class explained; -1 where there is none.
        score: float64 [n]; NaN where there is none.
        metrics: float64 [n] for each metric.
        maps: [h, w] float32 or None, for each picture.
        signed: whether values below zero speak against the class.
    """

    errors: list[str]
    target: NDArray[np.int64]
    score: NDArray[np.float64]
    metrics: dict[str, NDArray[np.float64]]
    maps: list[NDArray[np.float32] | None]
    signed: bool


@dataclass
class Columns:
    """The n pictures of a run that are there, in their order.

    Attributes:
        positions: int64 [n], in the source.
        paths, digests: "" where there is none.
        prediction, label: int64 [n], -1 where there is none.
        probability: float64 [n], of the prediction; NaN where there is none.
        errors: why no method explained the picture, or "".
        classes: the names of classes by number, as far as they are known.
        methods: by name.
    """

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


def columns_of(run: Stored, *, maps: bool = True) -> Columns:
    """Read a run.

    Args:
        maps: whether the maps are wanted; they are most of what there is.

    Raises:
        InputError: there is no row yet, or a damaged file.
    """
    metrics = [f"metric_{name}" for name in run.metrics]
    table = run.table([*_PICTURE, *metrics, *(_MAP if maps else ("signed",))])
    if not len(table):
        raise InputError(f"{run.folder} has no complete shard yet; run it first")
    given = {name: table[name].to_pylist() for name in (*_PICTURE, *metrics, "signed")}
    pictures = np.asarray(given["picture"], np.int64)
    positions, row_of = np.unique(pictures, return_inverse=True)
    n = len(positions)
    found = Columns(
        positions, [""] * n, [""] * n, np.full(n, -1), np.full(n, -1), np.full(n, np.nan),
        [""] * n, dict(enumerate(run.class_names or ())), {},
    )  # fmt: skip
    for name in run.methods:
        found.methods[name] = MethodColumns(
            ["not in the run"] * n, np.full(n, -1), np.full(n, np.nan),
            {metric: np.full(n, np.nan) for metric in run.metrics}, [None] * n, False,
        )  # fmt: skip
    arrays = _maps(table) if maps else [None] * len(table)
    for row, i in enumerate(row_of.tolist()):
        of = {name: values[row] for name, values in given.items()}
        method = found.methods[of["method"]]
        method.errors[i] = of["error"] or ""
        method.maps[i] = arrays[row]
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
                    found.classes.setdefault(of[kind], of[f"{kind}_name"])
        _put(found.probability, i, of["probability"])
    for i in range(n):
        said = [method.errors[i] for method in found.methods.values()]
        if all(said):
            found.errors[i] = said[0]
    return found


def _put(values: NDArray[Any], i: int, value: Any) -> None:
    if value is not None:
        values[i] = value


def _maps(table: Any) -> list[NDArray[np.float32] | None]:
    """The maps of all rows, None where there is none."""
    sizes = [table[name].to_pylist() for name in ("map_height", "map_width", "map_scale")]
    maps: list[NDArray[np.float32] | None] = []
    for chunk in table["map"].chunks:
        offsets, values = chunk.offsets.to_numpy(), chunk.values.to_numpy(zero_copy_only=False)
        for k, there in enumerate(chunk.is_valid().to_pylist()):
            height, width, scale = (each[len(maps)] for each in sizes)
            if not there:
                maps.append(None)
                continue
            part = values[offsets[k] : offsets[k + 1]].astype(np.float32)
            if not height or not width or part.size != height * width:
                raise InputError(
                    f"row {len(maps)} holds a map of {part.size} values that is said to be "
                    f"{height} x {width}; the store is damaged"
                )
            maps.append(part.reshape(height, width) * np.float32(scale or 1))
    return maps


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
    return int(label)


def picture_reader(run: Stored, root: Path | None = None) -> Any:
    """How the run's pictures looked to the model.

    Args:
        root: the folder where relative paths start; None: where this process is.

    Returns:
        a function from a path to uint8 [H, W, 3]; it returns None where there is no such picture
        any more.
    """
    preprocessing = _preprocessing(str(run.fingerprint.get("preprocessing", "")))

    def read(path: str) -> NDArray[np.uint8] | None:
        file = (root or Path()) / path
        if preprocessing is None or not path or not file.is_file():
            return None
        try:
            images = read_images(file, preprocessing).images
        except InterpretError:
            return None
        return None if images is None else images[0]

    return read


def _preprocessing(text: str) -> Preprocessing | None:
    """From what its `repr` says; None where it is no Preprocessing, and a picture's cut unknown."""
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or ast.unparse(call.func) != "Preprocessing":
            return None
        given = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
        return Preprocessing(**given)
    except (SyntaxError, ValueError, TypeError):
        return None
