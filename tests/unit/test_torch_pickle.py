"""Torch's files without torch: every element type and layout read right, the impossible refused."""

from __future__ import annotations

import struct
import zipfile

import numpy as np
import pytest

from interpretdl.errors import WeightsError
from interpretdl.lrp_model import load_state
from tests.torch_files import KINDS, dictionary, number, tensor, write

both = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])


@both
@pytest.mark.parametrize("code", KINDS)
def test_torch_element_types(tmp_path, legacy, code):
    values = (np.arange(6) % 2 if code == "b1" else np.arange(6) * 3).astype(code)
    root = dictionary({"a": tensor(KINDS[code], "k", 6, 0, (2, 3), (3, 1), legacy)})
    path = write(tmp_path / "w.pth", root, {"k": values.tobytes()}, values.itemsize, legacy)
    state = load_state(path)
    assert state["a"].dtype == np.dtype(code)
    np.testing.assert_array_equal(state["a"], values.reshape(2, 3))


@both
def test_torch_bfloat16_is_the_upper_half_of_float32(tmp_path, legacy):
    root = dictionary({"a": tensor("BFloat16Storage", "k", 3, 0, (3,), (1,), legacy)})
    raw = struct.pack("<3H", 0x3F80, 0xC040, 0x7F80)  # 1, -3, infinity
    array = load_state(write(tmp_path / "w.pth", root, {"k": raw}, 2, legacy))["a"]
    assert array.dtype == np.float32
    assert array.tolist() == [1.0, -3.0, float("inf")]


@both
def test_torch_strides_offsets_shared_storages_and_empty_tensors(tmp_path, legacy):
    values = np.arange(12, dtype="<f4")
    pieces = {
        "transposed": tensor("FloatStorage", "k", 12, 0, (4, 3), (1, 4), legacy),
        "part": tensor("FloatStorage", "k", 12, 5, (2, 2), (4, 1), legacy),
        "scalar": tensor("FloatStorage", "k", 12, 11, (), (), legacy),
        "empty": tensor("FloatStorage", "k", 12, 12, (0, 3), (3, 1), legacy),
    }
    path = write(tmp_path / "w.pth", dictionary(pieces), {"k": values.tobytes()}, 4, legacy)
    state = load_state(path)
    np.testing.assert_array_equal(state["transposed"], values.reshape(3, 4).T)
    assert state["part"].tolist() == [[5, 6], [9, 10]]
    assert state["scalar"] == 11
    assert state["empty"].shape == (0, 3)


@both
def test_torch_checkpoint_with_a_state_dict_inside(tmp_path, legacy):
    one = tensor("FloatStorage", "k", 2, 0, (2,), (1,), legacy)
    deep = dictionary({"state": dictionary({"x": one})})
    root = dictionary({"epoch": number(3), "optimizer": deep, "state_dict": dictionary({"a": one})})
    raw = np.array([1, 2], "<f4").tobytes()
    state = load_state(write(tmp_path / "w.pt", root, {"k": raw}, 4, legacy))
    assert {key: value.tolist() for key, value in state.items()} == {"a": [1, 2]}


@both
@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (3, (2,), (1,)),
        (0, (5,), (1,)),
        (0, (2, 2), (3, 1)),
        (5, (0,), (1,)),
        (0, (1 << 30,), (0,)),
        (-1, (1,), (1,)),
        (0, (2,), (-1,)),
        (0, (-2,), (1,)),
        (0, (2, 2), (1,)),
        (0, (1,) * 40, (1,) * 40),
    ],
)
def test_torch_tensors_beyond_their_storage_are_refused(tmp_path, legacy, offset, size, stride):
    root = dictionary({"a": tensor("FloatStorage", "k", 4, offset, size, stride, legacy)})
    path = write(tmp_path / "w.pth", root, {"k": bytes(16)}, 4, legacy)
    with pytest.raises(WeightsError, match="damaged"):
        load_state(path)


@both
@pytest.mark.parametrize("storages", [{}, {"other": bytes(16)}, {"k": bytes(12)}, {"k": bytes(20)}])
def test_torch_storages_of_another_name_or_size_are_refused(tmp_path, legacy, storages):
    root = dictionary({"a": tensor("FloatStorage", "k", 4, 0, (4,), (1,), legacy)})
    with pytest.raises(WeightsError, match="damaged"):
        load_state(write(tmp_path / "w.pth", root, storages, 4, legacy))


def test_torch_zip_is_not_inflated(tmp_path):
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 20))
    with pytest.raises(WeightsError, match="compressed"):
        load_state(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no weights")
    with pytest.raises(WeightsError, match=r"data\.pkl"):
        load_state(path)
