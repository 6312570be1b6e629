"""Tensors from torch's files, legacy and zip, without torch and without running code."""

from __future__ import annotations

import math
import mmap
import zipfile
from typing import IO, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from ..errors import WeightsError
from .pickle_machine import Storage, Tensor, malformed, read_pickle

__all__ = ["LEGACY_MAGIC", "read_legacy", "read_zip"]

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


def read_legacy(stream: mmap.mmap) -> Any:
    """The object in a torch file from before 1.6, from behind its magic number on.

    The file is five pickles (magic number, version, machine, object, storage names) and then, for
    each name, the number of elements (int64) and the elements.

    Returns:
        What was saved, with an array for each tensor; bfloat16 becomes float32.

    Raises:
        WeightsError: off the allow-list, or damaged.
    """
    version, machine = read_pickle(stream), read_pickle(stream)
    if version != _PROTOCOL or not isinstance(machine, dict) or not machine.get("little_endian"):
        raise malformed("a torch file of an unknown version or a big-endian machine")
    wanted: dict[str, Storage] = {}
    root, keys = read_pickle(stream, wanted), read_pickle(stream)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise malformed("a torch file without a list of storages")
    storages: dict[str, NDArray[Any]] = {}
    for key in keys:
        if key not in wanted:
            raise malformed(f"a storage {key[:80]!r} that no tensor uses")
        size = stream.read(8)
        if int.from_bytes(size, "little") != wanted[key].numel or len(size) < 8:
            raise malformed(f"storage {key!r} has not the announced {wanted[key].numel} elements")
        storages[key] = _decode(stream.read(_nbytes(wanted[key])), wanted[key])
    if len(storages) < len(wanted):
        raise malformed("tensors without their storage")
    return _fill(root, storages)


def read_zip(stream: IO[bytes]) -> Any:
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
            folder = pickles[0].removesuffix("data.pkl")
            if f"{folder}byteorder" in records and archive.read(f"{folder}byteorder") != b"little":
                raise WeightsError("the file was written on a big-endian machine; convert it there")
            with archive.open(pickles[0]) as data:
                root = read_pickle(data)
            storages: dict[str, NDArray[Any]] = {}
            for tensor in _tensors(root):
                storage = tensor.storage
                if storage.key in storages:
                    continue
                record = records.get(f"{folder}data/{storage.key}")
                # looked at before reading: a record may claim any size
                if record is None or record.file_size != _nbytes(storage):
                    raise malformed(f"storage {storage.key!r} is missing or of another size")
                storages[storage.key] = _decode(archive.read(record), storage)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise malformed(f"a broken zip file ({error})") from error
    return _fill(root, storages)


def _nbytes(storage: Storage) -> int:
    return storage.numel * (2 if storage.kind == "bf16" else np.dtype(storage.kind).itemsize)


def _decode(data: bytes, storage: Storage) -> NDArray[Any]:
    if len(data) != _nbytes(storage):
        raise malformed(f"storage {storage.key!r} ends after {len(data)} bytes")
    if storage.kind == "bf16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, np.dtype(storage.kind).newbyteorder("<"))


def _tensors(root: Any) -> list[Tensor]:
    """The tensors in a dictionary and in the dictionaries within it."""
    found: list[Tensor] = []
    if isinstance(root, dict):
        for value in root.values():
            found += value.values() if isinstance(value, dict) else [value]
    return [tensor for tensor in found if isinstance(tensor, Tensor)]


def _fill(root: Any, storages: dict[str, NDArray[Any]]) -> Any:
    if not isinstance(root, dict):
        return root
    return {
        key: {k: _view(v, storages) for k, v in value.items()}
        if isinstance(value, dict)
        else _view(value, storages)
        for key, value in root.items()
    }


def _view(thing: Any, storages: dict[str, NDArray[Any]]) -> Any:
    """A tensor as a view of its storage, which tensors share as they did when saved."""
    if not isinstance(thing, Tensor):
        return thing
    base = storages[thing.storage.key]
    count = math.prod(thing.size)
    reach = sum((n - 1) * step for n, step in zip(thing.size, thing.stride, strict=True))
    if len(thing.size) > 32 or count > base.size or thing.offset > base.size:
        raise malformed(f"a tensor {thing.size} of a storage of {base.size}")
    if count and thing.offset + reach >= base.size:
        raise malformed(f"a tensor {thing.size} that reaches beyond its storage of {base.size}")
    strides = [step * base.itemsize if count else 0 for step in thing.stride]
    return as_strided(base[thing.offset :], thing.size, strides, writeable=False)
