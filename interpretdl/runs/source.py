"""What a run explains: a folder, a list, a table of paths and labels, or a data set."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data_processor.readers import picture_endings
from ..errors import InputError, ResourceError, quoted
from ..models_by_name import imported
from ..record import digest, plain
from .missing import needed

__all__ = ["Row", "Source", "source_of"]

Label = int | str | None
Row = tuple[int, str | None, Label]
"""Position in the source, path or None, label or None."""

_TABLES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Source:
    """Pictures in a fixed order.

    Attributes:
        paths: of each picture; None for a data set.
        labels: of each picture, or None where there are none (a data set's come with its items).
        dataset: items by position, `(picture, label)` or a picture; None where there are paths.
        spec: how another process gets the data set, "package.module:function"; or None.
    """

    paths: tuple[str, ...] | None
    labels: tuple[Label, ...] | None = None
    dataset: Any = None
    spec: str | None = None

    def __len__(self) -> int:
        return len(self.dataset if self.paths is None else self.paths)

    def rows(self, start: int, stop: int) -> list[Row]:
        """Those from start to before stop."""
        return [
            (
                i,
                None if self.paths is None else self.paths[i],
                None if self.labels is None else self.labels[i],
            )
            for i in range(start, min(stop, len(self)))
        ]

    def digest(self) -> str:
        """Fingerprint of paths and labels in their order; not of what is in the files."""
        if self.paths is None:
            kind = self.spec or type(self.dataset).__qualname__
            return f"{len(self)} items of {kind} {digest(self.labels)}"
        return f"{len(self)} paths {digest(self.paths, self.labels)}"


def source_of(given: Any, labels: Any = None) -> Source:
    """The pictures that a user gives.

    Args:
        given: as `run` takes it.
        labels: as `run` takes them.

    Raises:
        InputError: there are no pictures, or labels that do not fit.
        ResourceError: a folder or table that cannot be read; pyarrow is missing.
    """
    source = _source(given)
    if not len(source):
        raise InputError("there is nothing to explain: the source is empty")
    if labels is None:
        return source
    if isinstance(labels, str):
        if labels != "folders" or source.paths is None:
            raise InputError(
                f"labels must be one for each picture, or 'folders' (the name of the folder that a "
                f"picture lies in); got {labels!r}"
            )
        return Source(source.paths, tuple(Path(path).parent.name for path in source.paths))
    values = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    if len(values) != len(source):
        raise InputError(f"{len(values)} labels were given for {len(source)} pictures")
    return Source(source.paths, tuple(map(_label, values)), source.dataset, source.spec)


def _source(given: Any) -> Source:
    if isinstance(given, str | os.PathLike):
        text = os.fspath(given)
        if os.path.isdir(text):
            return Source(_in_folder(text))
        if text.lower().endswith(_TABLES):
            return _table(Path(text))
        if ":" in text and not os.path.exists(text):
            function = imported(text, "data set")
            dataset = function() if callable(function) else function
            if _is_dataset(dataset):
                return Source(None, None, dataset, text)
            raise InputError(f"{text} gave no data set, but {type(dataset).__name__}")
        return Source((text,))
    if isinstance(given, list | tuple):
        if all(isinstance(each, str | os.PathLike) for each in given):
            return Source(tuple(os.fspath(each) for each in given))
        wrong = next(each for each in given if not isinstance(each, str | os.PathLike))
        raise InputError(f"a list must hold paths; got {quoted(wrong)}; a data set gives arrays")
    if _is_dataset(given):
        return Source(None, None, given)
    raise InputError(
        "the source must be a folder, a list of paths, a .csv or .parquet with a column 'path', or "
        f"a data set with __len__ and __getitem__; got {quoted(given)}"
    )


def _is_dataset(given: Any) -> bool:
    named = isinstance(given, str | bytes | dict)
    return not named and hasattr(given, "__getitem__") and hasattr(given, "__len__")


def _in_folder(folder: str) -> tuple[str, ...]:
    """The pictures in a folder and those within it, in order; hidden ones are left out."""
    endings = picture_endings()
    found: list[str] = []

    def refuse(error: OSError) -> None:
        raise ResourceError(
            f"cannot read the folder {error.filename}: {error.strerror or error}"
        ) from error

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            os.path.join(place, name)
            for name in sorted(files)
            if os.path.splitext(name)[1].lower() in endings and not name.startswith(".")
        ]
    if not found:
        raise InputError(
            f"no picture in the folder {folder}; endings read: {', '.join(sorted(endings))}"
        )
    return tuple(found)


def _table(path: Path) -> Source:
    """A table with a column "path", from the table's folder on, and maybe one "label"."""
    try:
        columns = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    except OSError as error:
        raise ResourceError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, csv.Error) as error:  # pyarrow's errors are ValueErrors
        raise InputError(f"cannot read {path} as a table: {error}") from error
    if "path" not in columns:
        raise InputError(f"{path} has no column 'path'; it has {', '.join(map(str, columns))}")
    if any(not isinstance(each, str) or not each for each in columns["path"]):
        raise InputError(f"the column 'path' of {path} has a row without a path")
    paths = tuple(str(path.parent / each) for each in columns["path"])
    labels = columns.get("label")
    return Source(paths, None if labels is None else tuple(map(_label, labels)))


def _csv(path: Path) -> dict[str, list[Any]]:
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter=separator, strict=True)
        rows = list(reader)
        names = list(reader.fieldnames or ())
    return {name: [row[name] for row in rows] for name in names}


def _parquet(path: Path) -> dict[str, list[Any]]:
    with needed("pyarrow", "runs"):
        import pyarrow.parquet as pq
    schema = pq.read_schema(path)
    wanted = [name for name in ("path", "label") if name in schema.names]
    found: dict[str, list[Any]] = pq.read_table(path, columns=wanted).to_pydict()
    return found or {name: [] for name in schema.names}


def _label(value: Any) -> Label:
    """A class index, or a name; nothing for an empty field."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    value = plain(value)
    if value is None or value == "":
        return None
    if isinstance(value, float) and value.is_integer():  # pandas' whole numbers beside gaps
        value = int(value)
    if isinstance(value, str):
        text = value.strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise InputError(f"a label must be a class index or name; got {quoted(value)}")
