"""Files of weights that were made to hurt: each is refused at once, with a short error."""

from __future__ import annotations

import os
import pickle
import socket
import struct
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn

from interpretdl.errors import InputError, ResourceError, WeightsError
from interpretdl.lrp_model import load_state, load_weights, weights
from interpretdl.lrp_model.download import check_digest
from tests.hostile_files import HUGE, pickled, refused
from tests.torch_files import (
    dictionary,
    number,
    tensor,
    text,
    together,
    write,
    write_arrays,
)

pytestmark = pytest.mark.timeout(120)  # seconds; what gives way here hangs

both = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])


# ---- numbers ----


@both
@pytest.mark.parametrize(
    ("numel", "offset", "size", "stride"),
    [
        *((4, 0, (n,), (1,)) for n in (2**31, 2**62, 2**63, 2**64, HUGE, -(2**62), True, 1.0)),
        *((4, 0, (2,), (n,)) for n in (2**61, 2**62, 2**63, HUGE, -1, False, 0.0)),
        *((4, n, (1,), (1,)) for n in (4, 2**62, 2**64 + 1, HUGE, -(2**62), True, 1.0)),
        *((n, 0, (1,), (1,)) for n in (2**62, 2**64 + 4, HUGE, -1, True, 4.0)),
        (4, 0, (2**32, 2**32), (0, 0)),  # 0 modulo 2**64
        (4, 0, (2**62, 0), (2**62, 1)),
        (4, 0, (0, 2**32, 2**32), (1, 1, 1)),
        (4, 0, (2**64, 0), (1, 1)),
        (4, 0, (1,), (2**63,)),
        (4, 0, (1, 1), (HUGE,)),
    ],
    ids=lambda value: str(value)[:20] if value not in (HUGE, (HUGE,)) else "huge",
)
def test_numbers_that_no_tensor_has(tmp_path, legacy, numel, offset, size, stride):
    root = dictionary({"a": tensor("FloatStorage", "k", numel, offset, size, stride, legacy)})
    assert "damaged" in refused(write(tmp_path / "w.pth", root, {"k": bytes(16)}, 4, legacy))


@both
def test_the_stride_of_an_axis_of_one_does_not_matter(tmp_path, legacy):
    root = dictionary({"a": tensor("FloatStorage", "k", 4, 2, (1, 2), (2**62, 1), legacy)})
    raw = np.arange(4, dtype="<f4").tobytes()
    state = load_state(write(tmp_path / "w.pth", root, {"k": raw}, 4, legacy))
    np.testing.assert_array_equal(state["a"], [[2, 3]])


@pytest.mark.parametrize("numel", [2**31, 2**62, 2**63 - 1])
def test_a_legacy_storage_of_more_bytes_than_there_are(tmp_path, numel):
    root = dictionary({"a": tensor("FloatStorage", "k", numel, 0, (1,), (1,), legacy=True)})
    path = write(tmp_path / "w.pth", root, {"k": bytes(16)}, 4, legacy=True)
    path.write_bytes(path.read_bytes()[:-24] + struct.pack("<q", numel) + bytes(16))
    assert "ends after 16 bytes" in refused(path)


@pytest.mark.parametrize("shape", [(HUGE,), (2**62, 0), (2**32, 2**32), (-1,), (True,), (3.0,)])
def test_shapes_that_no_array_has(tmp_path, shape):
    values = np.zeros(0 if 0 in shape else 3, "f4")
    data = pickle.dumps({"a": values}, 2)
    assert data.count(b"K" + bytes([values.size]) + b"\x85") == 1 + (values.size == 0)
    before, _, after = data.rpartition(b"K" + bytes([values.size]) + b"\x85")
    path = tmp_path / "w.pdparams"
    path.write_bytes(before + together(*map(number, shape)) + after)
    refused(path)


@pytest.mark.parametrize(
    "opcodes",
    [
        b"I" + b"9" * 5000 + b"\n",
        b"L" + b"9" * 5000 + b"L\n",
        b"F" + b"9" * 5000 + b"\n",
        b"S'\\q'\n",  # pickletools warns of it
        b"g" + b"9" * 5000 + b"\n",
        number(HUGE),
        b"\x8b\xff\xff\xff\x7f",
        b"\x8e" + b"\xff" * 8,
        b"\x95" + b"\xff" * 8 + number(HUGE),
    ],
    ids=["INT", "LONG", "FLOAT", "STRING", "GET", "LONG4", "cut", "BINBYTES8", "FRAME"],
)
def test_integers_that_python_does_not_print(tmp_path, opcodes):
    for root in (b"}" + text("a") + opcodes + b"s", b"}" + opcodes + b"Ns", opcodes + b")R"):
        refused(pickled(tmp_path / "w.pdparams", root))


# ---- what is no file ----


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and sockets with names are Unix's")
@pytest.mark.parametrize("suffix", [".pdparams", ".pth", ".safetensors"])
@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_what_is_no_file(tmp_path, monkeypatch, suffix, link, kind):
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    path = Path(f"w{suffix}")
    with socket.socket(socket.AF_UNIX) as listening:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            listening.bind(str(path))
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            path.mkdir()
        if link:
            Path(f"link{suffix}").symlink_to(path)
            path = Path(f"link{suffix}")
        assert f"this is a {kind}" in refused(path)
        with pytest.raises(WeightsError, match=f"this is a {kind}"):
            check_digest(path, "md5", "0")


def test_a_pipe_that_took_a_files_place(tmp_path, monkeypatch):
    """Between the look at the name and its opening."""
    path = tmp_path / "w.pdparams"
    path.write_bytes(pickle.dumps({"a": np.zeros(2)}))
    real = os.open

    def late(name, flags, *mode):
        if str(name) == str(path):
            path.unlink()
            os.mkfifo(path)
        return real(name, flags, *mode)

    monkeypatch.setattr(os, "open", late)
    assert "this is a pipe" in refused(path)


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "a" * 5000, "a/" * 3000, ""])
def test_names_that_no_file_has(path):
    with pytest.raises(WeightsError) as caught:
        load_state(path)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("path", [None, 3, b"w.pdparams", ["w"], True])
def test_what_is_no_path(path):
    with pytest.raises(InputError, match="path of a file of weights is expected"):
        load_state(path)
    with pytest.raises(InputError, match="path of a file of weights is expected"):
        load_weights(nn.Linear(1, 1), path)


def test_memory_that_is_not_there(tmp_path, monkeypatch):
    def full(*_):
        raise MemoryError

    path = tmp_path / "w.pdparams"
    path.write_bytes(pickle.dumps({"a": np.zeros(2)}))
    monkeypatch.setattr(weights, "read_pickle", full)
    with pytest.raises(ResourceError, match="do not fit into memory"):
        load_state(path)


# ---- messages ----


@pytest.mark.parametrize(
    "root",
    [
        "c{0}\nb\n",
        "i{0}\nb\n",
        "c\x1b[31m{0}\nb\n",
    ],
)
def test_long_names_of_code_are_cut(tmp_path, root):
    refused(pickled(tmp_path / "w.pdparams", root.format("a" * 200_000).encode()))


@pytest.mark.parametrize("key", ["a" * 9000, "\x1b[31mred\n" * 100, "\ud800" * 3000, "é" * 9000])
def test_long_and_odd_names_of_entries_are_cut(tmp_path, key):
    path = tmp_path / "w.pdparams"
    path.write_bytes(pickle.dumps({key: "text"}))
    refused(path)
    path.write_bytes(pickle.dumps({key: np.zeros(2), key + "b": np.zeros(2)}))
    with pytest.raises(WeightsError, match="2 missing: weight, bias; 2 unexpected: ") as caught:
        load_weights(nn.Linear(1, 1), path)
    assert len(str(caught.value)) < 1000 + len(str(path))
    assert str(caught.value).isprintable()


@both
def test_long_names_of_storages_are_cut(tmp_path, legacy):
    key = "k" * 9000
    part = tensor("FloatStorage", key, 4, 0, (1,), (1,), legacy)
    other = tensor("FloatStorage", key, 5, 0, (1,), (1,), legacy)
    for root, raw in (
        (dictionary({"a": part}), {}),
        (dictionary({"a": part}), {key: bytes(12)}),
        (dictionary({"a": part, "b": other}), {key: bytes(16)}),
        (dictionary({"a": b"N"}), {key: bytes(16)}),
    ):
        refused(write(tmp_path / "w.pth", root, raw, 4, legacy))


def test_damaged_files_that_are_trusted(tmp_path):
    path = tmp_path / "w.pdparams"
    good = pickle.dumps({"a": np.zeros(2, "f4")}, 2)
    for content in (
        good[:-20],
        b"no pickle",
        b"\x80\x02.",
        b"cno_such_module\nname\n.",
        b"I" + b"9" * 5000 + b"\n.",
        b"S" + b"a" * 200_000 + b"\n.",
    ):
        path.write_bytes(content)
        refused(path, trust=True)


# ---- numbers that a model cannot hold ----


@pytest.mark.parametrize(
    ("dtype", "given"),
    [("float32", np.array([1, 1e300])), ("float32", np.array([-1e300, np.nan]))],
)
def test_numbers_beyond_the_models_dtype(tmp_path, dtype, given):
    model = nn.Linear(1, 2)
    before = {key: value.numpy() for key, value in model.state_dict().items()}
    path = tmp_path / "w.pdparams"
    path.write_bytes(pickle.dumps({"weight": np.ones((1, 2)), "bias": given}))
    with pytest.raises(WeightsError, match="1 out-of-range: bias"):
        load_weights(model, path)
    for key, array in before.items():
        np.testing.assert_array_equal(model.state_dict()[key].numpy(), array)
    path.write_bytes(pickle.dumps({"weight": np.ones((1, 2)), "bias": np.array([np.inf, np.nan])}))
    load_weights(model, path)
    np.testing.assert_array_equal(model.bias.numpy(), [np.inf, np.nan])


def test_integers_beyond_the_models_dtype(tmp_path):
    model = nn.Layer()
    model.register_buffer("count", paddle.zeros([3], "int32"))
    path = tmp_path / "w.pdparams"
    path.write_bytes(pickle.dumps({"count": np.array([2**40, 1, 1])}))
    with pytest.raises(WeightsError, match="1 out-of-range: count"):
        load_weights(model, path)
    assert model.count.tolist() == [0, 0, 0]
    path.write_bytes(pickle.dumps({"count": np.array([2**31 - 1, 1, -5])}))
    load_weights(model, path)
    assert model.count.tolist() == [2**31 - 1, 1, -5]


def test_one_weight_by_two_names(tmp_path):
    model = nn.Sequential(nn.BatchNorm1D(2))
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    path = write_arrays(tmp_path / "w.pth", {**state, "0.running_mean": np.ones(2, "f4")})
    with pytest.raises(WeightsError, match=r"0\._mean twice"):
        load_weights(model, path)
