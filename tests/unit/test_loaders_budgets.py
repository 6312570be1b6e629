"""Files of weights that ask for more work or memory than their size justifies: refused early."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from interpretdl.lrp_model import load_state, weights
from interpretdl.pickles.machine import Budget
from tests.hostile_files import HUGE, pickled, refused
from tests.torch_files import (
    again,
    dictionary,
    name,
    number,
    remember,
    tensor,
    text,
    together,
    write,
    write_arrays,
)

pytestmark = pytest.mark.timeout(120)  # seconds; what gives way here hangs

both = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])


# ---- budgets ----


def copies(times: int, length: int) -> dict[str, bytes]:
    """Roots that name one long thing many times, for a call to copy it each time."""
    items = b"N" * length
    calls = b"(" + (again(0) + again(1) + b"R") * times + b"t"

    def called(module: str, attribute: str, argument: bytes) -> bytes:
        return name(module, attribute) + remember(0) + argument + remember(1) + calls

    long = text("a" * 64 * length)
    pairs = b"]" + b"(" + (text("k") + b"N\x86") * length + b"e\x85"
    dtype = name("numpy", "dtype") + text("u1") + b"\x85R"
    empty = name("numpy.core.multiarray", "_reconstruct")
    empty += together(name("numpy", "ndarray"), number(0), b"N") + b"R" + remember(0)
    state = together(number(1), together(number(64 * length)), dtype, b"\x89", long)
    return {
        "tuple of a list": called("builtins", "tuple", b"](" + items + b"e\x85"),
        "Size of a dictionary's names": called(
            "torch",
            "Size",
            b"}(" + b"".join(text(f"{i:x}") + b"N" for i in range(length)) + b"u\x85",
        ),
        "OrderedDict of pairs": called("collections", "OrderedDict", pairs),
        "bytes of a text": called("_codecs", "encode", together(long, text("latin1"))),
        "array of a text": empty
        + state
        + remember(1)
        + b"("
        + (again(0) + again(1) + b"b") * times
        + b"t",
    }


@pytest.mark.parametrize("case", copies(1, 1))
def test_what_is_copied_again_and_again_counts(tmp_path, monkeypatch, case):
    """A thousand copies of a thousand items: a million steps in a file of some kilobytes."""
    path = tmp_path / "w.pdparams"
    monkeypatch.setattr(Budget, "FREE", 100_000)
    message = refused(pickled(path, copies(1000, 1000)[case]))
    assert "asks for far more work and memory" in message
    monkeypatch.setattr(Budget, "FREE", 10_000_000)
    assert "not a dictionary" in refused(path)  # nothing else is wrong with it


def test_instructions_count(tmp_path, monkeypatch):
    monkeypatch.setattr(Budget, "FREE", 1000)
    for instruction in (b"N\x85", b"}", b"(", b"N\x94", b"]q\x00h\x00a"):
        path = pickled(tmp_path / "w.pdparams", b"N" + instruction * 2000)
        assert "asks for far more work and memory" in refused(path)


def test_a_persistent_id_is_not_copied(tmp_path):
    """A storage's id with a long tail, asked for 2,000 times."""
    parts = [text("storage"), name("torch", "FloatStorage"), text("k"), text("cpu"), number(1)]
    pid = together(*parts, b"N" * 200_000) + remember(0)
    path = pickled(tmp_path / "w.pth", pid + (again(0) + b"Q") * 2000)
    assert "torch 0.1" in refused(path)


PROGRAM = """
import resource, sys
import psutil
from interpretdl.errors import WeightsError
from interpretdl.lrp_model import load_state
limit = psutil.Process().memory_info().vms + (768 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sys.argv[1:]:
    try:
        load_state(path)
    except WeightsError:
        print("refused")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_two_megabytes_do_not_take_gigabytes(tmp_path):
    """In a process that may take 768 MB more; without a budget they take tens of gigabytes."""
    length = 1 << 20
    bytes_per_item = {"tuple of a list": 1, "Size of a dictionary's names": 12}
    bytes_per_item |= {"OrderedDict of pairs": 8, "bytes of a text": 64, "array of a text": 64}
    roots = {
        case: copies(length // 5, length // size)[case] for case, size in bytes_per_item.items()
    }
    roots["instructions"] = b"(" + b"}" * (2 * length) + b"t"
    roots["memo"] = b"N" + b"\x94" * (2 * length)
    roots["nesting"] = b"N" + b"\x85" * (2 * length)
    paths = []
    for i, root in enumerate(roots.values()):
        paths.append(str(pickled(tmp_path / f"{i}.pdparams", root)))
        assert os.path.getsize(paths[-1]) < 4 << 20
    root_folder = str(Path(__file__).resolve().parents[2])
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, *paths],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        cwd=root_folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root_folder, *sys.path])},
    )
    assert found.stdout.split() == ["refused"] * len(paths), found.stderr[-2000:]


@both
def test_one_dictionary_under_many_names(tmp_path, legacy):
    """Squared, if each name's dictionary were walked and copied: 9 million items."""
    names = [f"{i}" for i in range(3000)]
    inner = dictionary(dict.fromkeys(names, b"N")) + remember(0)
    root = b"}" + text("x") + inner + b"s("
    root += b"".join(text(key) + again(0) for key in names) + b"u"
    path = write(tmp_path / "w.pth", root, {}, 4, legacy)
    tracemalloc.start()
    try:
        refused(path)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


class Counted(Budget):
    """A budget that keeps the largest share that was taken."""

    largest = 0.0

    def spend(self, steps: int) -> None:
        super().spend(steps)
        Counted.largest = max(Counted.largest, 1 - self.left / self.FREE)


@pytest.fixture
def counted(monkeypatch):
    Counted.largest = 0.0
    monkeypatch.setattr(weights, "Budget", Counted)
    return Counted


@both
def test_large_checkpoints_are_far_from_the_budget(tmp_path, legacy, counted):
    """5,000 tensors in one storage, in a state dict beside an optimizer's."""
    one = {f"blocks.{i}.attention.qkv.weight": i for i in range(5000)}
    parts = {
        key: tensor("FloatStorage", "k", 5001, i, (2, 1), (1, 1), legacy) for key, i in one.items()
    }
    root = {"state_dict": dictionary(parts), "optimizer": dictionary({"state": dictionary(parts)})}
    raw = np.arange(5001, dtype="<f4").tobytes()
    path = write(tmp_path / "w.pth", dictionary(root), {"k": raw}, 4, legacy)
    state = load_state(path)
    assert len(state) == 5000
    for key, i in one.items():
        assert state[key].tolist() == [[i], [i + 1]]
    assert counted.largest < 0.5


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_large_arrays_are_far_from_the_budget(tmp_path, protocol, counted):
    """Bytes are text in protocol 2, and are copied once."""
    rng = np.random.default_rng(0)
    arrays = {f"layer{i}.w_0": rng.normal(size=(500, 500)) for i in range(5)}
    small = {f"{i}": np.float32(i) for i in range(5000)}
    path = tmp_path / "w.pdparams"
    path.write_bytes(pickle.dumps({**arrays, **small}, protocol))
    state = load_state(path)
    for key, array in {**arrays, **small}.items():
        np.testing.assert_array_equal(state[key], array)
    assert counted.largest < 0.5


# ---- dictionaries, cycles, depth ----


def test_keys(tmp_path):
    deep = b"N" + b"\x85" * 100_000
    colliding = b"".join(number(i * (2**61 - 1)) + b"N" for i in range(20_000))
    long = text("a" * 100_000)
    for root in (
        b"}(" + colliding + b"u",
        b"}" + deep + b"Ns",
        b"}]Ns",
        b"}}Ns",
        b"}" + number(HUGE) + b"Ns",
        b"}" + long + remember(0) + b"N" + b"s" + (again(0) + b"Ns") * 10,
        name("collections", "OrderedDict") + b"]](]Nee\x85R",
        name("collections", "OrderedDict") + b"]" + text("key") + b"a\x85R",
    ):
        assert "damaged" in refused(pickled(tmp_path / "w.pdparams", root))


def test_two_entries_of_one_name(tmp_path):
    path = tmp_path / "w.pdparams"
    path.write_bytes(pickle.dumps({1: np.zeros(2), "1": np.ones(2)}))
    assert "two entries named '1'" in refused(path)


@pytest.mark.parametrize("form", ["pickle", "zip", "legacy"])
def test_cycles(tmp_path, form):
    for cycle in (
        b"}q\x00" + text("a") + b"h\x00s",
        b"}q\x00" + text("state_dict") + b"h\x00s",
        b"}" + text("a") + b"]q\x00h\x00a" + b"s",
        b"}" + text("a") + b"]q\x00h\x00h\x00\x86a" + b"s",
        name("torch", "Size") + b"]q\x00h\x00a\x85R",
    ):
        path = tmp_path / "w.pth"
        if form == "pickle":
            pickled(path, cycle)
        else:
            write(path, cycle, {}, 4, legacy=form == "legacy")
        refused(path)


# ---- zip files ----


def test_records_that_share_their_bytes(tmp_path):
    """200 entries of a zip file's directory for one record of 100 kB."""
    size, count = 100_000, 200
    path = tmp_path / "w.pth"
    parts = {f"{i}": tensor("ByteStorage", f"{i}", size, 0, (size,), (1,)) for i in range(count)}
    write(
        path,
        dictionary(parts),
        {f"{i:03}": bytes(size if i == 0 else 0) for i in range(count)},
        1,
        False,
    )
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        first = archive.getinfo("archive/data/000")
        start = archive.start_dir
    head, directory = data[:start], data[start:]
    for i in range(count):
        key = f"archive/data/{i:03}".encode()
        at = directory.index(key) - 46
        entry = bytearray(directory[at : at + 46])
        entry[16:28] = struct.pack("<III", first.CRC, size, size)
        entry[42:46] = struct.pack("<I", first.header_offset)
        directory = directory[:at] + bytes(entry) + directory[at + 46 :]
    path.write_bytes(head + directory)
    assert "more bytes than the file has" in refused(path)


@pytest.mark.parametrize("claim", [1 << 20, (1 << 32) - 2])
@pytest.mark.parametrize("sizes", [(0,), (1,), (0, 1)], ids=["stored", "inflated", "both"])
def test_a_record_that_claims_more_than_there_is(tmp_path, claim, sizes):
    path = write_arrays(tmp_path / "w.pth", {"a": np.zeros(4, "f4")})
    with zipfile.ZipFile(path) as archive:
        start, info = archive.start_dir, archive.getinfo("archive/data.pkl")
    data = bytearray(path.read_bytes())
    at = data.index(info.filename.encode(), start) - 46
    for size in sizes:
        data[at + 20 + 4 * size : at + 24 + 4 * size] = struct.pack("<I", claim)
    path.write_bytes(data)
    assert "more bytes than the file has" in refused(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_bombs_are_not_inflated(tmp_path, method):
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", bytes(50 << 20))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        assert "compressed" in refused(path)
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", [".pdparams", ".pth", ".npz", ".npy", ".safetensors"])
def test_numpys_files_are_refused(tmp_path, suffix):
    stream = io.BytesIO()
    (np.save if suffix == ".npy" else np.savez_compressed)(stream, np.zeros(5_000_000))
    path = tmp_path / f"w{suffix}"
    path.write_bytes(stream.getvalue())
    refused(path)


# ---- safetensors ----


def safetensors(path: Path, head: object, data: bytes = b"", length: int | None = None) -> Path:
    written = head if isinstance(head, bytes) else json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(written) if length is None else length) + written + data)
    return path


def entry(dtype: str, shape: list[float], end: int, start: int = 0) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize("length", [0, 1, 10**8, 2**31, 2**60, 2**63, 2**64 - 1])
def test_heads_of_any_length(tmp_path, length):
    refused(safetensors(tmp_path / "w.safetensors", {}, length=length))


@pytest.mark.parametrize(
    "head",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,4]}}',
        b'{"\xff":{}}',
        b'{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        {"a": entry("F32", [2**62], 4)},
        {"a": entry("F32", [0, 2**62], 0)},
        {"a": entry("F32", [0, 2**63], 0)},
        {"a": entry("F32", [2**32, 2**32, 0], 0)},
        {"a": entry("F32", [1] * 70, 4)},
        {"a": entry("F32", [1.5], 4)},
        {"a": entry("F32", [-1], 4)},
        {"a": entry("F32", [1], 4), "b": entry("F32", [1], 4)},
        {"a": entry("F32", [1], 2**63)},
        {"a": entry("F8_E4M3", [4], 4)},
        {"a": entry("F4", [8], 4)},
        {"a": entry("BF16", [2], 4)},
        {"a": entry("C64", [1], 8)},
        {"a": entry("X" * 300_000, [1], 4)},
        {"a" * 300_000: entry("F8_E5M2", [4], 4)},
        {"__metadata__": {"format": 5}},
    ],
    ids=lambda head: str(head)[:40],
)
def test_heads_of_any_content(tmp_path, head):
    end = 8 if "C64" in str(head) else 4
    if "'data_offsets': [0, 0]" in str(head):
        end = 0
    refused(safetensors(tmp_path / "w.safetensors", head, bytes(end)))
