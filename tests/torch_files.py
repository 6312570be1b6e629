"""torch's files of both formats, written opcode by opcode (checked once against torch)."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np

KINDS = {
    "f8": "DoubleStorage",
    "f4": "FloatStorage",
    "f2": "HalfStorage",
    "i8": "LongStorage",
    "i4": "IntStorage",
    "i2": "ShortStorage",
    "i1": "CharStorage",
    "u1": "ByteStorage",
    "b1": "BoolStorage",
}


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: float) -> bytes:
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<i", len(data)) + data


def remember(slot: int) -> bytes:
    return b"q" + bytes([slot])


def again(slot: int) -> bytes:
    return b"h" + bytes([slot])


def together(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def dictionary(entries: dict[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def tensor(kind, key, numel, offset, size, stride, legacy=False) -> bytes:
    pid = [text("storage"), name("torch", kind), text(key), text("cpu"), number(numel)]
    storage = together(*pid, *([b"N"] if legacy else [])) + b"Q"
    shape, steps = together(*map(number, size)), together(*map(number, stride))
    hooks = name("collections", "OrderedDict") + b")R"
    arguments = together(storage, number(offset), shape, steps, b"\x89", hooks)
    return name("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def write(path: Path, root: bytes, storages: dict[str, bytes], itemsize: int, legacy: bool) -> Path:
    """`root` in opcodes and the storages' bytes as a torch file."""
    root = b"\x80\x02" + root + b"."
    if legacy:
        system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
        heads = (0x1950A86A20F9469CFC6C, 1001, system)
        data = b"".join(pickle.dumps(head, 2) for head in heads)
        data += root + pickle.dumps(list(storages), 2)
        for raw in storages.values():
            data += struct.pack("<q", len(raw) // itemsize) + raw
        path.write_bytes(data)
        return path
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", root)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
        for key, raw in storages.items():
            archive.writestr(f"archive/data/{key}", raw)
    return path


def write_arrays(path: Path, arrays: dict[str, np.ndarray], legacy: bool = False) -> Path:
    """float32 arrays as a torch state dict."""
    root, storages = {}, {}
    for i, (key, array) in enumerate(arrays.items()):
        strides = [step // 4 for step in np.ascontiguousarray(array).strides[: array.ndim]]
        root[key] = tensor(
            "FloatStorage", str(i), array.size, 0, array.shape, strides, legacy=legacy
        )
        storages[str(i)] = array.astype("<f4").tobytes()
    return write(path, dictionary(root), storages, 4, legacy)
