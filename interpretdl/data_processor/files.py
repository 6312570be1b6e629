"""Writing without leaving half a file behind, and archives of plain arrays.

A file is written beside its place and renamed when it is complete, so a crash, a full disk or
Ctrl-C leaves what was there before.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import secrets
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, InterpretError, ResourceError, did_you_mean

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = [
    "FIGURE_SUFFIXES",
    "MAX_NAME_BYTES",
    "SAVE_SUFFIXES",
    "atomic_path",
    "check_writable",
    "encodable",
    "read_archive",
    "write_archive",
]

FIGURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".pdf", ".svg")
SAVE_SUFFIXES = (*FIGURE_SUFFIXES, ".npz")
MAX_ARCHIVE_BYTES = 8 * 2**30
MAX_NAME_BYTES = 255
_SLOTS = 1000
_METADATA = "metadata"


def _place(path: str | os.PathLike[str]) -> Path:
    """The file that a path leads to, symbolic links followed, if a file can stand there."""
    if not os.fspath(path):
        raise ResourceError("cannot write to an empty path; give a file name")
    try:
        target = Path(os.path.realpath(path))
        mode = _mode(target)
    except (OSError, ValueError) as error:  # ValueError: a null byte
        reason = getattr(error, "strerror", None) or error
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:
            reason = f"a name in it is over {MAX_NAME_BYTES} bytes, or all of it is too long"
        raise ResourceError(f"cannot write {path}: {reason}; give another name") from error
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ResourceError(
            f"cannot write {target}: it is a pipe, socket or device, which a file would replace; "
            "give the name of a file"
        )
    return target


def _mode(path: Path) -> int:
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return stat.S_IFREG  # which it will be


def encodable(text: str) -> str:
    """The text with what UTF-8 cannot hold escaped: bytes in names of files that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@contextlib.contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """An empty file beside `target`, removed in the end if it is still there.

    Its name follows from the target's, and it is locked while it is used. So what a killed process
    left is known by its name and by not being locked, and the next writer removes it.
    """
    try:
        temporary, lock = _locked_file(target)
    except OSError as error:
        raise ResourceError(
            f"cannot write {target}: {error.strerror or error}; give a folder that exists "
            "and that you may write to"
        ) from error
    try:
        yield temporary
    except BaseException:
        # Only then: once it was renamed, the name may be another process's.
        temporary.unlink(missing_ok=True)
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _locked_file(target: Path) -> tuple[Path, int | None]:
    # short, so that a name of the greatest length allowed still has room; same suffix, because
    # writers choose the format by it; not tempfile: its files are private whatever the umask
    stem = f".interpretdl-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]}"
    for slot in range(_SLOTS):  # one is enough, unless several processes write the same file
        place = slot if fcntl else secrets.token_hex(8)
        temporary = target.with_name(f"{stem}-{place}{target.suffix}")
        _remove_if_abandoned(temporary)
        try:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        if not fcntl:  # Windows, where an open file cannot be renamed
            os.close(descriptor)
            return temporary, None
        if _lock(descriptor, temporary):
            return temporary, descriptor
        os.close(descriptor)
    raise OSError(errno.EBUSY, "other processes are writing it")


def _lock(descriptor: int, path: Path) -> bool:
    """Whether this process now holds the file, and it still has its name."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _remove_if_abandoned(path: Path) -> None:
    if not fcntl:
        return
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # usually: there is none
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
            path.unlink()
    except OSError:  # somebody writes it
        pass
    finally:
        os.close(descriptor)


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
            folder, pipe or device, or the ending is not allowed.
    """
    target = _place(path)
    if target.is_dir():
        raise ResourceError(f"cannot write {target}: it is a folder; give a file name in it")
    suffix = target.suffix.lower()
    if suffixes and suffix not in suffixes:
        raise ResourceError(
            f"cannot write {target.name!r}: the ending must be {'one of ' * (len(suffixes) > 1)}"
            f"{', '.join(suffixes)}{did_you_mean(suffix, suffixes)}"
        )
    if not target.parent.is_dir():
        missing = "is a file" if target.parent.exists() else "does not exist; create it first"
        raise ResourceError(f"cannot write {target}: the folder {target.parent} {missing}")
    if target.exists() and not os.access(target, os.W_OK):
        raise ResourceError(f"cannot write {target}: the file is read-only")
    with _temporary(target) as temporary:
        temporary.unlink()
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
        ResourceError: the folder cannot be written to, the path is a pipe or device, or writing
            failed (disk full).
    """
    target = _place(path)
    with _temporary(target) as temporary:
        try:
            yield temporary
            os.replace(temporary, target)
        except InterpretError:
            raise
        except OSError as error:
            raise ResourceError(f"could not write {target}: {error.strerror or error}") from error


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
