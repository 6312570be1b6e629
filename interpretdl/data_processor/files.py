"""Writing without leaving half a file behind, and archives of plain arrays.

A file is written beside its place and renamed when it is complete, so a crash, a full disk or
Ctrl-C leaves what was there before.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, InterpretError, ResourceError, did_you_mean

__all__ = [
    "FIGURE_SUFFIXES",
    "SAVE_SUFFIXES",
    "atomic_path",
    "check_writable",
    "read_archive",
    "write_archive",
]

FIGURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".pdf", ".svg")
SAVE_SUFFIXES = (*FIGURE_SUFFIXES, ".npz")
MAX_ARCHIVE_BYTES = 8 * 2**30
_METADATA = "metadata"


def _temporary(path: Path) -> Path:
    # short, so that a name of the greatest length allowed still has room; same suffix, because
    # writers choose the format by it
    temporary = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        temporary.open("xb").close()  # not tempfile: its files are private whatever the umask
    except OSError as error:
        raise ResourceError(
            f"cannot write {path}: {error.strerror or error}; give a folder that exists and that "
            "you may write to"
        ) from error
    return temporary


def check_writable(path: str | os.PathLike[str], suffixes: tuple[str, ...] = SAVE_SUFFIXES) -> Path:
    """Make sure that a file can be written, before the work is done that fills it.

    A file is really created in the folder and removed again: permission bits say nothing to root
    and on network drives.

    Args:
        path: the file to be written; it may exist and is not touched.
        suffixes: the endings allowed, lower case with the dot; empty allows all.

    Returns:
        the path as a Path, symbolic links followed.

    Raises:
        ResourceError: the folder is missing or read-only, the file is read-only, the path is a
            folder, or the ending is not allowed.
    """
    target = Path(os.path.realpath(path))
    if len(os.fsencode(target.name)) > 255:
        raise ResourceError(f"cannot write {target.name[:40]}…: the file name is over 255 bytes")
    if target.is_dir():
        raise ResourceError(f"cannot write {target}: it is a folder; give a file name in it")
    suffix = target.suffix.lower()
    if suffixes and suffix not in suffixes:
        raise ResourceError(
            f"cannot write {target.name!r}: the ending must be one of {', '.join(suffixes)}"
            f"{did_you_mean(suffix, suffixes)}"
        )
    if not target.parent.is_dir():
        raise ResourceError(
            f"cannot write {target}: the folder {target.parent} does not exist; create it first"
        )
    if target.exists() and not os.access(target, os.W_OK):
        raise ResourceError(f"cannot write {target}: the file is read-only")
    _temporary(target).unlink()
    return target


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends without an error.

    Args:
        path: the file to be written or replaced; a symbolic link is followed.

    Yields:
        an empty file in the same folder with the same ending. On any error, Ctrl-C included, it is
        removed and `path` stays as it was.

    Raises:
        ResourceError: the folder cannot be written to, or writing failed (disk full).
    """
    target = Path(os.path.realpath(path))
    temporary = _temporary(target)
    try:
        yield temporary
        os.replace(temporary, target)
    except InterpretError:
        raise
    except OSError as error:
        raise ResourceError(f"could not write {target}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"a {type(value).__name__} is no number, text, list or None")


def write_archive(
    path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]
) -> None:
    """Write arrays and JSON to an .npz file that `numpy.load` also reads, without any pickle.

    Args:
        path: the file; see atomic_path.
        arrays: name to array of numbers, booleans or fixed-length texts.
        metadata: JSON-able; numpy scalars, arrays and paths are turned into plain values and
            tuples into lists. Stored as UTF-8 bytes under "metadata".

    Raises:
        InputError: something that is neither numbers nor JSON.
        ResourceError: the file cannot be written.
    """
    try:
        text = json.dumps(metadata, default=_plain)
    except (TypeError, ValueError) as error:
        raise InputError(f"cannot store the settings in {Path(path).name}: {error}") from error
    if objects := [name for name, array in arrays.items() if array.dtype.hasobject]:
        raise InputError(f"cannot store arrays of Python objects: {', '.join(objects)}")
    content = {**arrays, _METADATA: np.frombuffer(text.encode(), np.uint8)}
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as z:
        for name, array in content.items():
            with z.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    # NumPy reserves what the header claims before it reads, so the claim is checked first
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version != (1, 0):
            raise ValueError(f"{info.filename} has array format {version}")
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize > info.file_size:
        raise ValueError(f"{info.filename} is not a plain array of the size it claims")
    with archive.open(info) as member:
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
    return array


def read_archive(
    path: str | os.PathLike[str], *, max_bytes: int = MAX_ARCHIVE_BYTES
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what write_archive wrote. Nothing in the file is run.

    Args:
        path: an .npz file.
        max_bytes: refuse a file that unpacks to more than this.

    Returns:
        arrays by name, and the metadata.

    Raises:
        InputError: not such a file, damaged, or larger than max_bytes.
        ResourceError: the file is missing or may not be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if (size := sum(info.file_size for info in members)) > max_bytes:
                raise InputError(
                    f"{path} unpacks to {size} bytes; the limit is {max_bytes} (max_bytes=)"
                )
            arrays = {i.filename.removesuffix(".npy"): _read_member(archive, i) for i in members}
        metadata = json.loads(arrays.pop(_METADATA).tobytes())
        if not isinstance(metadata, dict):
            raise ValueError("its metadata is not a JSON object")
    except InputError:
        raise
    except OSError as error:
        raise ResourceError(f"cannot read {path}: {error.strerror or error}") from error
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        KeyError,
        ValueError,
        EOFError,
        NotImplementedError,
        RuntimeError,  # compressions that Python lacks, encrypted members
        zlib.error,
    ) as error:
        raise InputError(
            f"{path} is not a file written by interpretdl ({error}); give an .npz made by save()"
        ) from error
    return arrays, metadata
