"""The store of a run: a folder of parquet files, each whole or not there."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.files import atomic_path
from ..errors import InputError, ResourceError, did_you_mean, warn
from ..record import digest
from .about import about
from .clusters import Clusters
from .missing import needed

__all__ = ["FORMAT", "Run", "begin", "complete_shards", "open_run", "shard_path", "write_shard"]

FORMAT = "interpretdl run 1"
_RUN, _README, _KEY = "run.json", "README.md", b"interpretdl"
_SHARD = re.compile(r"shard-(\d{5,})\.parquet")


def shard_path(folder: Path, shard: int) -> Path:
    """The file of a shard."""
    return folder / f"shard-{shard:05d}.parquet"


def schema_of(metrics: Sequence[str]) -> Any:
    """The columns of a store, as pyarrow's schema."""
    with needed("pyarrow", "runs"):
        import pyarrow as pa

    number, text = pa.int64(), pa.string()
    return pa.schema(
        [
            pa.field("picture", number, nullable=False),
            pa.field("path", text),
            pa.field("digest", text),
            pa.field("method", text, nullable=False),
            pa.field("error", text),
            pa.field("prediction", number),
            pa.field("prediction_name", text),
            pa.field("probability", pa.float32()),
            pa.field("probabilities", pa.list_(pa.float32())),
            pa.field("label", number),
            pa.field("label_name", text),
            pa.field("target", number),
            pa.field("score", pa.float32()),
            pa.field("diagnostics", text),
            *(pa.field(f"metric_{name}", pa.float64()) for name in metrics),
            pa.field("map", pa.list_(pa.float16())),
            pa.field("map_scale", pa.float32()),
            pa.field("map_height", pa.int32()),
            pa.field("map_width", pa.int32()),
            pa.field("signed", pa.bool_()),
        ]
    )


def write_shard(
    folder: Path,
    shard: int,
    rows: Sequence[Mapping[str, Any]],
    metrics: Sequence[str],
    fingerprint: Mapping[str, Any],
) -> Path:
    """Write a shard beside its place, bring it to the disk, and rename it.

    The same rows give the same bytes.

    Raises:
        ResourceError: the disk is full, or the folder cannot be written to.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    mark = {"format": FORMAT, "fingerprint": _digest(fingerprint), "shard": shard}
    schema = schema_of(metrics).with_metadata({_KEY: json.dumps(mark, sort_keys=True)})
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    table = pa.table(columns, schema=schema)
    path = shard_path(folder, shard)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
        _to_disk(temporary)
    with contextlib.suppress(OSError):  # not all systems open folders
        _to_disk(folder)
    return path


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(fingerprint: Mapping[str, Any]) -> str:
    return digest(json.dumps(fingerprint, sort_keys=True))


def begin(folder: Path, content: Mapping[str, Any]) -> None:
    """Note what the run is, or find that the folder has just this run.

    Args:
        folder: it exists.
        content: "fingerprint", "settings", "class_names", "pictures", "shards", "shard_size".

    Raises:
        InputError: the folder has another run, or something else.
        ResourceError: it cannot be written to.
    """
    content = json.loads(json.dumps({"format": FORMAT, **content}))
    path = folder / _RUN
    if path.exists():
        before = _read(folder)["fingerprint"]
        if different := _differences(before, content["fingerprint"]):
            raise InputError(
                f"{folder} holds another run; what differs: {'; '.join(different)}. Give another "
                "folder, or remove this one"
            )
        return
    strangers = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    if [name for name in strangers if name != _README]:
        raise InputError(
            f"{folder} holds {strangers[0]!r} and is not the store of a run; give an empty folder"
        )
    with atomic_path(folder / _README) as temporary:
        temporary.write_text(about(content), encoding="utf-8")
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
        _to_disk(temporary)


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            line
            for key in sorted({*before, *now})
            for line in _differences(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
        ]
    if before == now:
        return []
    return [f"{name}: {_short(before)} there, {_short(now)} now"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _read(folder: Path) -> dict[str, Any]:
    path = folder / _RUN
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}")
        for key, kind in {
            "fingerprint": dict, "settings": dict, "pictures": int, "shards": int, "shard_size": int
        }.items():  # fmt: skip
            if not isinstance(content[key], kind):
                raise ValueError(f"{key} is no {kind.__name__}")
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no run: there is no {_RUN} in it") from error
    except OSError as error:
        raise ResourceError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is not the file of a run: {error}") from error
    found: dict[str, Any] = content
    return found


def complete_shards(
    folder: Path, fingerprint: Mapping[str, Any], shards: int, *, remove: bool = False
) -> list[int]:
    """The shards that are there in full.

    Args:
        remove: remove what is damaged or of another run, with a warning.
    """
    with needed("pyarrow", "runs"):
        import pyarrow.parquet as pq

    expected, found = _digest(fingerprint), []
    for name in sorted(os.listdir(folder)):
        match = _SHARD.fullmatch(name)
        if match is None or int(match[1]) >= shards:
            continue
        shard = int(match[1])
        try:
            metadata = pq.read_schema(folder / name).metadata or {}
            mark = json.loads(metadata[_KEY])
            if (mark["fingerprint"], mark["shard"]) != (expected, shard):
                raise ValueError("it is of another run")
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            if remove:
                warn(f"{folder / name} is damaged and will be made again: {error}")
                (folder / name).unlink(missing_ok=True)
            continue
        found.append(shard)
    return found


@dataclass(frozen=True, eq=False)
class Run:
    """A run over a data set: its settings, and a table with a row for each picture and method.

    Attributes:
        folder: where it is stored.
        fingerprint: what the rows depend on: the model's weights, methods, metrics, options, the
            source, and versions.
        settings: what was asked for.
        class_names: of the model's classes, or None.
        pictures: how many there are in the source.
        shards: how many files there are when it is complete.
        shard_size: pictures in one file.
    """

    folder: Path
    fingerprint: dict[str, Any]
    settings: dict[str, Any]
    class_names: tuple[str, ...] | None
    pictures: int
    shards: int
    shard_size: int

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods' names, in the table's order."""
        return tuple(sorted(self.settings["methods"]))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics' names; the columns are `metric_<name>`."""
        return tuple(sorted(self.settings["metrics"]))

    @property
    def done(self) -> tuple[int, ...]:
        """The shards that are there."""
        return tuple(complete_shards(self.folder, self.fingerprint, self.shards))

    @property
    def complete(self) -> bool:
        """Whether all shards are there."""
        return len(self.done) == self.shards

    def table(self, columns: Sequence[str] | None = None) -> Any:
        """The rows that are there, sorted by picture and method.

        Args:
            columns: those to read; None reads all.

        Returns:
            pyarrow.Table.

        Raises:
            InputError: no such column, or a damaged file.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = schema_of(self.metrics)
        for name in columns or ():
            if name not in schema.names:
                raise InputError(f"no column {name!r}{did_you_mean(name, schema.names)}")
        empty = schema.empty_table()
        parts = [empty if columns is None else empty.select(list(columns))]
        for shard in self.done:
            path = shard_path(self.folder, shard)
            try:
                with pq.ParquetFile(path, page_checksum_verification=True) as file:
                    parts.append(file.read(columns=columns).replace_schema_metadata(None))
            except (OSError, ValueError) as error:
                raise InputError(
                    f"{path} is damaged ({error}); remove it and run again, which makes it again"
                ) from error
        return pa.concat_tables(parts)

    def to_pandas(self, columns: Sequence[str] | None = None) -> Any:
        """`table`, as a pandas.DataFrame."""
        with needed("pandas", "runs"):
            import pandas  # noqa: F401

        return self.table(columns).to_pandas()

    def rows(self, method: str, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The rows of one method, in the order of pictures.

        Raises:
            InputError: no such method or column.
        """
        return self._of(method, columns).to_pylist()  # type: ignore[no-any-return]

    def maps(self, method: str) -> NDArray[np.float32]:
        """The maps of one method, of those pictures that have one.

        Returns:
            float32 [n, h, w], as the method gave them; 11 bits of each map's largest value are
            kept. `rows(method, ["picture", "error"])` says which pictures have none.

        Raises:
            InputError: no such method, or maps of several sizes.
        """
        columns = ["error", "map", "map_scale", "map_height", "map_width"]
        table = self._of(method, columns)
        table = table.filter(table["error"].is_null()).combine_chunks()
        if not len(table):
            return np.zeros((0, 0, 0), np.float32)
        sizes = {*zip(table["map_height"].to_pylist(), table["map_width"].to_pylist(), strict=True)}
        if len(sizes) > 1:
            raise InputError(f"the maps have several sizes, {sorted(sizes)}; read them by rows()")
        parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in table["map"].chunks]
        values = np.concatenate(parts).astype(np.float32)
        scales = np.asarray(table["map_scale"].to_numpy(), np.float32)
        maps: NDArray[np.float32] = values.reshape(-1, *sizes.pop()) * scales[:, None, None]
        return maps

    def report(
        self, path: str | os.PathLike[str], *, pictures: int = 1000, root: str | None = None
    ) -> None:
        """Write a page to look through the run: one file that needs no other and no network.

        Args:
            path: the .html file.
            pictures: the most that are shown one by one; tables count all.
            root: the folder where relative paths of pictures start; None: the current one.

        Raises:
            InputError: there is no row yet, or a damaged file.
            ResourceError: the file cannot be written, or does not end in .html.
        """
        from .report import write_report

        write_report(self, path, pictures=pictures, root=root)

    def clusters(self, label: int | str, method: str | None = None, **options: Any) -> Clusters:
        """Groups among one method's maps of a class, by number or name; see `clusters_of`.

        Raises:
            InputError: no such class or method, several methods and none given, or fewer than 8
                maps.
        """
        from .report import clusters_in_run

        return clusters_in_run(self, label, method, **options)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.methods)

    def _of(self, method: str, columns: Sequence[str] | None) -> Any:
        import pyarrow.compute as pc

        if method not in self._known:
            raise InputError(
                f"the run has no method {method!r}{did_you_mean(method, self._known)}; it has "
                f"{', '.join(self.methods)}"
            )
        wanted = None if columns is None else [*dict.fromkeys([*columns, "method"])]
        table = self.table(wanted)
        found = table.filter(pc.equal(table["method"], method))
        return found if columns is None else found.select(list(columns))

    def __repr__(self) -> str:
        return (
            f"<Run {self.folder}: {len(self.done)} of {self.shards} shards, {self.pictures} "
            f"pictures, {', '.join(self.methods)}>"
        )


def open_run(folder: str | os.PathLike[str]) -> Run:
    """The run stored in a folder, be it complete or not.

    Args:
        folder: the `out` of `run`.

    Raises:
        InputError: it holds no run.
        ResourceError: it cannot be read, or pyarrow is missing.
    """
    with needed("pyarrow", "runs"):
        import pyarrow  # noqa: F401

    place = Path(folder)
    content = _read(place)
    names = content.get("class_names")
    keys = ("fingerprint", "settings", "pictures", "shards", "shard_size")
    return Run(place, class_names=names and tuple(names), **{key: content[key] for key in keys})
