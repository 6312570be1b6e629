"""What a run explains: a folder, a list, a table of paths and labels, or a data set."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data_processor.readers import picture_endings
from ..errors import InputError, InterpretError, ResourceError, quoted, warn
from ..models_by_name import imported
from ..record import digest
from .labels import Label, given_label
from .missing import needed

__all__ = ["Row", "Source", "source_of"]

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
    try:
        count = len(source)
    except Exception as error:  # whatever a data set raises
        raise InputError(
            f"the data set does not say how many items it has ({error}); a run needs one with "
            "__len__ and __getitem__"
        ) from error
    if not count:
        raise InputError("there is nothing to explain: the source is empty")
    if labels is None:
        return source
    if isinstance(labels, str) and labels == "folders":
        if source.paths is None:
            raise InputError(
                "labels='folders' is for paths; the labels of a data set come with its items, "
                "(picture, label)"
            )
        return Source(source.paths, tuple(Path(path).parent.name for path in source.paths))
    values = labels.tolist() if hasattr(labels, "tolist") else labels
    unordered = isinstance(values, str | bytes | Mapping | AbstractSet)
    if unordered or not isinstance(values, Iterable):
        raise InputError(
            "labels must be a list with one for each picture, in their order, or 'folders' (the "
            f"name of the folder that a picture lies in); got {quoted(labels)}"
        )
    values = list(values)
    if len(values) != count:
        raise InputError(f"{len(values)} labels were given for {count} pictures")
    return Source(source.paths, tuple(map(given_label, values)), source.dataset, source.spec)


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
        return Source((_picture(text),))
    if hasattr(given, "columns") and hasattr(given, "itertuples"):  # a pandas.DataFrame
        return _listed([*given.columns], lambda i: given.iloc[:, i].tolist(), "the table")
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


def _picture(path: str) -> str:
    """The path of a picture that is there."""
    endings = picture_endings()
    if not os.path.isfile(path):
        raise InputError(
            f"there is no {path!r}; the source is a folder, a picture, a table "
            f"({', '.join(_TABLES)}), or package.module:function for a data set"
        )
    if os.path.splitext(path)[1].lower() not in endings:
        raise InputError(
            f"{path!r} is no table ({', '.join(_TABLES)}) and no picture "
            f"({', '.join(sorted(endings))})"
        )
    return path


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

    above = {folder: frozenset([os.path.realpath(folder)])}
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        seen, folders[:] = above.pop(place), sorted(n for n in folders if not n.startswith("."))
        for name in [*folders]:
            inner = os.path.join(place, name)
            real = os.path.realpath(inner)
            if real in seen:  # a link to a folder that this one lies in
                folders.remove(name)
            above[inner] = seen | {real}
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
        return (_parquet if path.suffix.lower() == ".parquet" else _csv)(path)
    except InterpretError:
        raise
    except OSError as error:
        raise ResourceError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, csv.Error) as error:  # pyarrow's errors are ValueErrors
        raise InputError(f"cannot read {path} as a table: {error}") from error


def _csv(path: Path) -> Source:
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator, strict=True)
        names = next(reader, [])
        rows = [row for row in reader if row]

    def column(i: int) -> list[str | None]:
        return [row[i] if i < len(row) else None for row in rows]

    return _listed(names, column, str(path), path.parent)


def _parquet(path: Path) -> Source:
    with needed("pyarrow", "runs"):
        import pyarrow.parquet as pq
    names = pq.read_schema(path).names

    def column(i: int) -> list[Any]:
        return pq.read_table(path, columns=[names[i]]).column(0).to_pylist()  # type: ignore[no-any-return]

    return _listed(names, column, str(path), path.parent)


def _listed(
    names: Sequence[Any],
    column: Callable[[int], list[Any]],
    where: str,
    folder: Path | None = None,
) -> Source:
    """The pictures of a table whose columns have these names; relative paths start at `folder`."""
    known = [str(name).strip().casefold() for name in names]
    for name in ("path", "label"):
        if known.count(name) > 1:
            raise InputError(f"{where} has several columns {name!r}; leave one of them")
    listed = ", ".join(map(str, names))
    if "path" not in known:
        raise InputError(f"{where} has no column 'path'; it has {listed or 'none'}")
    paths = column(known.index("path"))
    for i, each in enumerate(paths):
        if not isinstance(each, str) or not each:
            raise InputError(f"row {i + 1} of {where} has no path; got {quoted(each)}")
    if folder is not None:
        paths = [str(folder / each) for each in paths]
    if "label" in known:
        return Source(tuple(paths), tuple(map(given_label, column(known.index("label")))))
    if near := [str(name) for name, low in zip(names, known, strict=True) if "label" in low]:
        warn(f"{where} has no column 'label', and {near[0]!r} is not read; rename it to 'label'")
    return Source(tuple(paths))
