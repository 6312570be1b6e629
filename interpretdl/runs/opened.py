"""A run that is stored: opened, and read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, did_you_mean
from .clusters import Clusters
from .missing import needed
from .store import complete_shards, read_run, read_shard, schema_of

__all__ = ["Run", "open_run"]


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

        empty = schema_of(self.metrics).empty_table()
        parts = [each for _, each in self.parts(columns)]
        return pa.concat_tables([empty if columns is None else empty.select([*columns]), *parts])

    def parts(
        self, columns: Sequence[str] | None = None, shards: Sequence[int] | None = None
    ) -> Iterator[tuple[int, Any]]:
        """The rows file by file, for what should not be in memory all at once.

        Args:
            columns: those to read; None reads all.
            shards: the files to read; None reads those that are there.

        Yields:
            the file's number and its rows, see `table`.

        Raises:
            InputError: no such column, or a damaged file.
        """
        known = schema_of(self.metrics).names
        for name in columns or ():
            if name not in known:
                raise InputError(f"no column {name!r}{did_you_mean(name, known)}")
        for shard in self.done if shards is None else shards:
            yield shard, read_shard(self.folder, shard, self.metrics, columns)

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
        with np.errstate(invalid="ignore", over="ignore"):  # maps that are not finite
            maps: NDArray[np.float32] = values.reshape(-1, *sizes.pop()) * scales[:, None, None]
        return maps

    def report(
        self, path: str | os.PathLike[str], *, pictures: int = 1000, root: str | None = None
    ) -> None:
        """Write a page to look through the run: one file that needs no other and no network.

        Args:
            path: the .html file.
            pictures: the most that are shown one by one; tables count all.
            root: the folder where relative paths of pictures start; None: where the run was
                started.

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
    content = read_run(place)
    names = content.get("class_names")
    keys = ("fingerprint", "settings", "pictures", "shards", "shard_size")
    return Run(place, class_names=names and tuple(names), **{key: content[key] for key in keys})
