"""The store of a run: a folder of parquet files, each whole or not there."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data_processor.files import atomic_path
from ..errors import InputError, ResourceError, warn
from ..preprocessing import whole_number
from ..record import digest
from .about import about
from .missing import needed
from .pictures import file_digest

__all__ = [
    "FORMAT",
    "begin",
    "changed_picture",
    "complete_shards",
    "read_run",
    "read_shard",
    "schema_of",
    "shard_path",
    "write_shard",
]

FORMAT = "interpretdl run 1"
_RUN, _README, _KEY = "run.json", "README.md", b"interpretdl"
_LOOKED_AT = 100
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
        ResourceError: the disk is full, or the folder cannot be written to. There is no new file
            then.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    mark = {"format": FORMAT, "fingerprint": _digest(fingerprint), "shard": shard}
    schema = schema_of(metrics).with_metadata({_KEY: json.dumps(mark, sort_keys=True)})
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    table = pa.table(columns, schema=schema)
    content = pa.BufferOutputStream()  # pyarrow opens only names in UTF-8
    pq.write_table(table, content, compression="zstd", write_page_checksum=True)
    path = shard_path(folder, shard)
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(content.getvalue())
            _to_disk(temporary)
    except ResourceError as error:
        raise ResourceError(
            f"{error}; what is complete stays: make room, and run again to go on"
        ) from error
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
        before = read_run(folder)["fingerprint"]
        if different := _differences(before, content["fingerprint"]):
            alone = len(different) == 1 and different[0].startswith("threads: ")
            more = f"threads={before['threads']} to go on, " if alone else ""
            raise InputError(
                f"{folder} holds another run; what differs: {'; '.join(different)}. Give {more}"
                "another folder, or remove this one"
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
    return _short_text(json.dumps(value))


def _short_text(text: object) -> str:
    words = str(text)
    return words if len(words) <= 80 else f"{words[:77]}…"


def read_run(folder: Path) -> dict[str, Any]:
    """What `run.json` says.

    Raises:
        InputError: there is none, or it is not that of a run.
        ResourceError: it cannot be read.
    """
    path = folder / _RUN
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        _check_content(content)
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no run: there is no {_RUN} in it") from error
    except OSError as error:
        raise ResourceError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError, InputError) as error:
        raise InputError(f"{path} is not the file of a run: {_short_text(error)}") from error
    found: dict[str, Any] = content
    return found


def _check_content(content: Any) -> None:
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {_short_text(repr(content['format']))}")
    for key in ("fingerprint", "settings"):
        if not isinstance(content[key], dict):
            raise ValueError(f"{key} is no object")
    for key in ("methods", "metrics"):
        entries = content["settings"][key]
        if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
            raise ValueError(f"{key} are no objects by name")
    if not content["settings"]["methods"]:
        raise ValueError("there is no method in it")
    pictures, shards, size = (
        whole_number(content[key], key, 1) for key in ("pictures", "shards", "shard_size")
    )
    if shards != -(-pictures // size):
        raise ValueError(f"{pictures} pictures are not in {shards} files of {size}")
    names = content.get("class_names")
    if names is not None and not (
        isinstance(names, list) and all(isinstance(name, str) for name in names)
    ):
        raise ValueError("class_names are no texts")


def complete_shards(
    folder: Path, fingerprint: Mapping[str, Any], shards: int, *, remove: bool = False
) -> list[int]:
    """The shards that are there in full, in order.

    Args:
        remove: remove what is damaged or of another run, with a warning.

    Raises:
        ResourceError: a file cannot be opened or read, which says nothing of what is in it.
    """
    expected, found = _digest(fingerprint), []
    names = filter(None, map(_SHARD.fullmatch, os.listdir(folder)))
    for shard in sorted({int(name[1]) for name in names}):
        if shard >= shards:
            break
        path = shard_path(folder, shard)
        try:
            with _opened(path) as file:
                mark = json.loads((file.schema_arrow.metadata or {})[_KEY])
                if (mark["fingerprint"], mark["shard"]) != (expected, shard):
                    raise ValueError("it is of another run")
        except FileNotFoundError:
            continue
        except _DAMAGE as error:
            if remove:
                warn(f"{path} is damaged and will be made again: {error}")
                path.unlink(missing_ok=True)
            continue
        found.append(shard)
    return found


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A shard, as a pyarrow.parquet.ParquetFile; in the block, _DAMAGE is what is wrong with it.

    Errors of opening have a number. Those of pyarrow about what it reads have none, also where they
    are OSErrors. pyarrow opens only names in UTF-8; others are read here, and never by pyarrow
    through a file of Python's, because its threads then need Python when Python may be ending,
    which aborts the process.
    """
    with needed("pyarrow", "runs"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    try:
        with path.open("rb") as raw:
            given = str(path) if _is_utf8(str(path)) else pa.BufferReader(raw.read())
        with pq.ParquetFile(given, page_checksum_verification=True) as file:
            yield file
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno is None:
            raise ValueError(str(error).strip()) from error
        raise ResourceError(f"cannot read {path}: {error.strerror or error}") from error


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_DAMAGE = (ValueError, KeyError, TypeError, NotImplementedError)


def changed_picture(
    folder: Path, shards: Sequence[int], metrics: Sequence[str], paths: Sequence[str], root: str
) -> str | None:
    """A picture that is another one than when it was explained, of the first in some files.

    Args:
        shards: the files that are there; at most 100 of them are looked at, evenly spread.
        metrics: of the run.
        paths: of all pictures.
        root: where relative paths start.

    Raises:
        InputError: a file is damaged, or none of the pictures in these files is there any more.
        ResourceError: a file cannot be read.
    """
    gone, some_there = "", False
    for shard in shards[:: -(-len(shards) // _LOOKED_AT) or 1]:
        rows = read_shard(folder, shard, metrics, ["picture", "digest"]).to_pylist()
        for i, row in enumerate(rows):
            if i and some_there:
                break
            path = paths[int(row["picture"])]
            file = os.path.join(root, path)
            if row["digest"] is None:  # it was not there before, or could not be read
                continue
            if not os.path.isfile(file):
                gone = gone or path
                continue
            some_there = True
            if not i and file_digest(file) != row["digest"]:
                return path
    if gone and not some_there:
        raise InputError(
            f"none of the pictures that were explained is there any more, such as {gone}: {folder} "
            f"was begun in {read_run(folder)['settings'].get('root')}, and paths are now looked "
            f"for in {root}; start the run there, or give another folder"
        )
    return None


def read_shard(
    folder: Path, shard: int, metrics: Sequence[str], columns: Sequence[str] | None = None
) -> Any:
    """The rows of one shard, as a pyarrow.Table.

    Raises:
        InputError: it is damaged, or gone.
        ResourceError: it cannot be read.
    """
    path = shard_path(folder, shard)
    try:
        with _opened(path) as file:
            if not file.schema_arrow.equals(schema_of(metrics)):
                raise ValueError("its columns are not those of the run")
            return file.read(columns=columns).replace_schema_metadata(None)
    except (FileNotFoundError, *_DAMAGE) as error:
        raise InputError(
            f"{path} is damaged ({error}); remove it and run again, which makes it again"
        ) from error
