"""Weights: Paddle's and safetensors read right, and models changed wholly or not at all."""

from __future__ import annotations

import collections
import pickle

import numpy as np
import paddle
import pytest
from paddle import nn
from safetensors.numpy import save_file

from interpretdl.errors import WeightsError
from interpretdl.lrp_model import load_state, load_weights, models
from tests.torch_files import name, number, together, write_arrays

# ---- Paddle's files and safetensors ----

ARRAYS = {
    "a": np.arange(6, dtype="float32").reshape(2, 3),
    "b": np.arange(6, dtype=">f8").reshape(2, 3).T,
    "c": np.array(7, "int64"),
    "d": np.zeros((0, 2), "float16"),
}


def check_arrays(state):
    assert list(state) == list(ARRAYS)
    for key, array in ARRAYS.items():
        assert state[key].dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(state[key], array)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_paddle_saves_what_we_load(tmp_path, protocol):
    model = nn.Sequential(nn.Conv2D(1, 2, 3), nn.BatchNorm2D(2), nn.Linear(2, 3))
    path = tmp_path / "w.pdparams"
    paddle.save(model.state_dict(), str(path), protocol=protocol)
    state = load_state(path)
    assert list(state) == list(model.state_dict())
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(state[key], value.numpy())


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickled_arrays_of_all_kinds(tmp_path, protocol):
    path = tmp_path / "w.pdparams"
    table = {"StructuredToParameterName@@": {"a": "linear_0.w_0"}}
    path.write_bytes(pickle.dumps({**ARRAYS, **table}, protocol))
    check_arrays(load_state(path))
    named = collections.OrderedDict((key, (f"{key}_0", array)) for key, array in ARRAYS.items())
    path.write_bytes(pickle.dumps(named, protocol))
    check_arrays(load_state(path))
    scalar = {"c": np.float32(2.5)}
    path.write_bytes(pickle.dumps(scalar, protocol))
    assert load_state(path)["c"] == 2.5


def test_pickle_of_python_2(tmp_path):
    # what Python 2 wrote: names and data as byte strings (opcode U)
    def old(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    data = np.array([1.5, -2], "<f4").tobytes()
    dtype = name("numpy", "dtype") + together(old(b"f4"), number(0), number(1)) + b"R"
    dtype += together(number(3), old(b"<"), b"N", b"N", b"N", number(-1), number(-1), number(0))
    empty = name("numpy.core.multiarray", "_reconstruct")
    empty += together(name("numpy", "ndarray"), together(number(0)), old(b"b")) + b"R"
    state = together(number(1), together(number(2)), dtype + b"b", b"\x89", old(data))
    path = tmp_path / "w.pdparams"
    path.write_bytes(b"\x80\x02}" + old(b"weight") + empty + state + b"b" + b"s.")
    assert load_state(path)["weight"].tolist() == [1.5, -2]


def test_safetensors(tmp_path):
    path = tmp_path / "w.safetensors"
    arrays = {"a": ARRAYS["a"], "c": np.array([7], "int64")}
    save_file(arrays, path)
    state = load_state(path)
    assert set(state) == {"a", "c"}
    np.testing.assert_array_equal(state["a"], ARRAYS["a"])


@pytest.mark.parametrize("suffix", [".pdparams", ".pth", ".safetensors"])
def test_missing_empty_and_foreign_files(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    with pytest.raises(WeightsError, match=r"cannot read|No such file"):
        load_state(path)
    for content in (b"", b"no weights at all", b"\x89PNG\r\n\x1a\n" + bytes(50), b"PK\x03\x04rest"):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=path.name):
            load_state(path)
    if suffix != ".safetensors":
        path.write_bytes(pickle.dumps([1, 2, 3]))
        with pytest.raises(WeightsError, match="not a dictionary"):
            load_state(path)
        path.write_bytes(pickle.dumps({"a": ARRAYS["a"], "epoch": "three"}))
        with pytest.raises(WeightsError, match="'epoch' is a str"):
            load_state(path)
    with pytest.raises(WeightsError):
        load_state(tmp_path)


# ---- into models ----


def network(seed: int) -> nn.Layer:
    model = nn.Sequential(
        nn.Conv2D(2, 4, 3),
        nn.BatchNorm2D(4),
        nn.Flatten(),
        nn.Linear(4, 5),
        nn.Linear(5, 5),
    )
    rng = np.random.default_rng(seed)
    for value in model.state_dict().values():
        value.set_value(rng.uniform(0.5, 1.5, value.shape).astype("float32"))
    model.eval()
    return model


def arrays_of(model: nn.Layer) -> dict[str, np.ndarray]:
    return {key: value.numpy() for key, value in model.state_dict().items()}


def as_torch(model: nn.Layer) -> dict[str, np.ndarray]:
    """The weights as torch names and lays them out."""
    result = {}
    linear = [key for key, layer in model.named_sublayers() if isinstance(layer, nn.Linear)]
    for key, array in arrays_of(model).items():
        theirs = key.replace("._mean", ".running_mean").replace("._variance", ".running_var")
        result[theirs] = array.T.copy() if key.removesuffix(".weight") in linear else array
        if theirs != key and theirs.endswith("_var"):
            result[key.replace("._variance", ".num_batches_tracked")] = np.array(5, "float32")
    return result


@pytest.mark.parametrize("form", ["pdparams", "safetensors", "pt.safetensors", "zip", "legacy"])
def test_the_same_weights_from_every_format(tmp_path, form):
    source, target = network(0), network(1)
    path = tmp_path / f"w.{form}"
    if form == "pdparams":
        paddle.save(source.state_dict(), str(path))
    elif form == "safetensors":
        save_file(arrays_of(source), path)
    elif form == "pt.safetensors":
        save_file(as_torch(source), path, metadata={"format": "pt"})
    else:
        write_arrays(path, as_torch(source), legacy=form == "legacy")
    load_weights(target, path)
    for key, array in arrays_of(source).items():
        np.testing.assert_array_equal(target.state_dict()[key].numpy(), array)


@pytest.mark.parametrize("square", [False, True])
def test_layout_of_a_file_that_does_not_say_whose_it_is(tmp_path, square):
    """Without torch's names, a linear layer that is not square tells; one that is, is Paddle's."""
    source = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3 if square else 4))
    target = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3 if square else 4))
    path = tmp_path / "w.safetensors"
    save_file(arrays_of(source) if square else as_torch(source), path)
    load_weights(target, path)
    for key, array in arrays_of(source).items():
        np.testing.assert_array_equal(target.state_dict()[key].numpy(), array)


def test_data_parallel_prefix_float64_and_half(tmp_path):
    source, target = network(0), network(1)
    path = tmp_path / "w.pth"
    write_arrays(path, {f"module.{key}": value for key, value in as_torch(source).items()})
    load_weights(target, path)
    np.testing.assert_array_equal(arrays_of(target)["3.weight"], arrays_of(source)["3.weight"])
    for dtype in ("float64", "float16"):
        path.write_bytes(pickle.dumps({k: v.astype(dtype) for k, v in arrays_of(source).items()}))
        load_weights(target, path)
        expected = arrays_of(source)["0.weight"].astype(dtype).astype("float32")
        np.testing.assert_array_equal(arrays_of(target)["0.weight"], expected)


def test_resnet_takes_torch_names(tmp_path):
    source = models()["resnet18"](num_classes=7)
    path = write_arrays(tmp_path / "w.pth", as_torch(source))
    assert "layer2.0.downsample.1.running_mean" in load_state(path)
    target = models()["resnet18"](pretrained=path, num_classes=7)
    for key, array in arrays_of(source).items():
        np.testing.assert_array_equal(target.state_dict()[key].numpy(), array)
    assert target.class_names is None


def test_wrong_architecture_is_told_and_the_model_stays(tmp_path):
    model = network(0)
    before = arrays_of(model)
    state = arrays_of(network(1))
    state["0.weight"] = np.zeros((4, 2, 5, 5), "float32")
    state["4.bias"] = np.zeros(5, "int64")
    del state["1._mean"]
    state |= {f"extra{i}": np.zeros(1, "float32") for i in range(5)}
    path = tmp_path / "w.pdparams"
    path.write_bytes(pickle.dumps(state))
    with pytest.raises(WeightsError) as caught:
        load_weights(model, path)
    message = str(caught.value)
    assert "1 missing: 1._mean" in message
    assert "5 unexpected: extra0, extra1, extra2, …" in message
    assert "2 mis-shaped: " in message
    assert "0.weight is float32[4, 2, 5, 5], expected float32[4, 2, 3, 3]" in message
    assert "4.bias is int64[5], expected float32[5]" in message
    assert str(path) in message
    for key, array in before.items():
        np.testing.assert_array_equal(model.state_dict()[key].numpy(), array)
