"""Tensors from torch's files, legacy and zip, without torch and without running code."""

from __future__ import annotations

import io
import math
import mmap
import struct
import zipfile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import WeightsError
from ..pickles.files import brief
from ..pickles.machine import Budget, read_pickle
from ..pickles.values import Storage, Tensor, malformed

__all__ = ["LEGACY_MAGIC", "read_legacy", "read_zip"]

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
# what `zipfile` raises
_BROKEN = (
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError),
    *(OverflowError, struct.error),
)


def read_legacy(stream: mmap.mmap, budget: Budget) -> Any:
    """The object in a torch file from before 1.6, from behind its magic number on.

    The file is five pickles (magic number, version, machine, object, storage names) and then, for
    each name, the number of elements (int64) and the elements.

    Returns:
        What was saved, with an array for each tensor; bfloat16 becomes float32.

    Raises:
        WeightsError: off the allow-list, or damaged.
    """
    version, machine = read_pickle(stream, budget), read_pickle(stream, budget)
    if version != _PROTOCOL or not isinstance(machine, dict) or not machine.get("little_endian"):
        raise malformed("a torch file of an unknown version or a big-endian machine")
    wanted: dict[str, Storage] = {}
    root, keys = read_pickle(stream, budget, wanted), read_pickle(stream, budget)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise malformed("a torch file without a list of storages")
    storages: dict[str, NDArray[Any]] = {}
    for key in keys:
        if key not in wanted:
            raise malformed(f"a storage {_quoted(key)} that no tensor uses")
        size, nbytes = stream.read(8), _nbytes(wanted[key])
        if int.from_bytes(size, "little") != wanted[key].numel or len(size) < 8:
            announced = f"the announced {wanted[key].numel} elements"
            raise malformed(f"storage {_quoted(key)} has not {announced}")
        left = len(stream) - stream.tell()
        if nbytes > left:
            raise malformed(f"storage {_quoted(key)} ends after {left} bytes")
        storages[key] = _decode(stream.read(nbytes), wanted[key])
    if len(storages) < len(wanted):
        raise malformed("tensors without their storage")
    _fill(root, storages)
    return root


def read_zip(stream: IO[bytes], budget: Budget) -> Any:
    """The object in a torch file since 1.6: a zip of one pickle and one record for each storage.

    Returns:
        What was saved, with an array for each tensor; bfloat16 becomes float32.

    Raises:
        WeightsError: off the allow-list, damaged, or compressed, which torch never does.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            records = {info.filename: info for info in archive.infolist()}
            pickles = [name for name in records if name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise malformed("a zip file without torch's data.pkl")
            if any(info.compress_type != zipfile.ZIP_STORED for info in records.values()):
                raise malformed("a zip file with compressed records, which torch never writes")
            claimed = (max(info.file_size, info.compress_size) for info in archive.infolist())
            if sum(claimed) > budget.size:
                raise malformed("a zip file with records of more bytes than the file has")
            folder = pickles[0].removesuffix("data.pkl")
            if f"{folder}byteorder" in records and archive.read(f"{folder}byteorder") != b"little":
                raise WeightsError("the file was written on a big-endian machine; convert it there")
            root = read_pickle(io.BytesIO(archive.read(pickles[0])), budget)
            wanted = {tensor.storage.key: tensor.storage for tensor in _tensors(root)}
            storages: dict[str, NDArray[Any]] = {}
            for key, storage in wanted.items():
                record = records.get(f"{folder}data/{key}")
                # looked at before reading: a record may claim any size
                if record is None or record.file_size != _nbytes(storage):
                    raise malformed(f"storage {_quoted(key)} is missing or of another size")
                storages[key] = _decode(archive.read(record), storage)
    except _BROKEN as error:
        raise malformed(f"a broken zip file ({brief(str(error))})") from error
    _fill(root, storages)
    return root


def _quoted(key: str) -> str:
    return brief(repr(key), 80)


def _nbytes(storage: Storage) -> int:
    return storage.numel * (2 if storage.kind == "bf16" else np.dtype(storage.kind).itemsize)


def _decode(data: bytes, storage: Storage) -> NDArray[Any]:
    if len(data) != _nbytes(storage):
        raise malformed(f"storage {_quoted(storage.key)} ends after {len(data)} bytes")
    if storage.kind == "bf16":  # the upper half of a float32
        wide = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        wide.flags.writeable = False
        return wide
    return np.frombuffer(data, np.dtype(storage.kind).newbyteorder("<"))


def _dictionaries(root: Any) -> list[dict[Any, Any]]:
    """A dictionary and those within it, each once however often it is named."""
    if not isinstance(root, dict):
        return []
    found = (root, *(value for value in root.values() if isinstance(value, dict)))
    return list({id(one): one for one in found}.values())


def _tensors(root: Any) -> list[Tensor]:
    values = (value for one in _dictionaries(root) for value in one.values())
    return [value for value in values if isinstance(value, Tensor)]


def _fill(root: Any, storages: dict[str, NDArray[Any]]) -> None:
    """Put arrays in the place of tensors."""
    for one in _dictionaries(root):
        for key, value in one.items():
            if isinstance(value, Tensor):
                one[key] = _view(value, storages[value.storage.key])


def _view(tensor: Tensor, base: NDArray[Any]) -> NDArray[Any]:
    """A tensor as a view of its storage, which tensors share as they did when saved."""
    what = f"a tensor {tensor.size}"
    count = math.prod(tensor.size)
    if count > base.size or tensor.offset > base.size:
        raise malformed(f"{what} of a storage of {base.size}")
    if not count:
        try:
            return np.empty(tensor.size, base.dtype)
        except ValueError as error:  # without its zeros it would be larger than any memory
            raise malformed(what) from error
    # the stride of an axis of one is never taken
    strides = [step if n > 1 else 0 for n, step in zip(tensor.size, tensor.stride, strict=True)]
    reach = sum((n - 1) * step for n, step in zip(tensor.size, strides, strict=True))
    if tensor.offset + reach >= base.size:
        raise malformed(f"{what} that reaches beyond its storage of {base.size}")
    offset, steps = tensor.offset * base.itemsize, [step * base.itemsize for step in strides]
    return np.ndarray(tensor.size, base.dtype, base, offset, steps)
