"""Files of weights: every format read right, code never run, no model half changed."""

from __future__ import annotations

import builtins
import collections
import contextlib
import os
import pickle
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn
from safetensors.numpy import save_file

from interpretdl.errors import WeightsError
from interpretdl.lrp_model import load_state, load_weights, models

# ---- torch's files, opcode by opcode (checked once against torch itself) ----

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
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


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


# ---- files that mean harm ----


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def harmful(marker: Path) -> dict[str, tuple[bytes, str]]:
    """Opcodes that would make the marker's file, and the name that the error must have."""
    command = f"touch {marker}"
    python = f"open({str(marker)!r}, 'w')"
    system = name(os.system.__module__, "system")

    def plain(thing, protocol=2):
        return pickle.dumps(thing, protocol)[2:-1]

    ordered = name("collections", "OrderedDict")
    return {
        "reduce": (plain(Call(os.system, command)), r"posix\.system"),
        "eval": (plain(Call(builtins.eval, python)), r"(__builtin__|builtins)\.eval"),
        "nested": (plain([{"x": (1, [Call(builtins.exec, python)])}]), r"\.exec"),
        "protocol 4": (pickle.dumps(Call(os.system, command), 4)[2:-1], r"posix\.system"),
        "key": (plain({Call(builtins.eval, python): 1}), r"\.eval"),
        "inst": (b"(" + text(command) + f"i{os.system.__module__}\nsystem\n".encode(), "system"),
        "obj": (b"(" + system + text(command) + b"o", "system"),
        "newobj": (ordered + b")\x81", "NEWOBJ"),
        "extension": (b"\x82\x01", "EXT1"),
        "attribute of a name": (
            text("collections") + text("OrderedDict.__reduce__") + b"\x93",
            r"collections\.OrderedDict\.__reduce__",
        ),
        "import through getattr": (
            name("builtins", "getattr") + together(ordered, text("__init__")) + b"R",
            r"builtins\.getattr",
        ),
        "state of a function": (
            name("torch._utils", "_rebuild_tensor_v2") + b"}" + text("__code__") + b"Nsb",
            r"state of torch\._utils\._rebuild_tensor_v2",
        ),
        "state of a class": (ordered + b"}" + text("__setstate__") + system + b"sb", "system"),
        "call of a class not to be called": (
            name("numpy", "ndarray") + together(together(number(1 << 30))) + b"R",
            r"call of numpy\.ndarray",
        ),
        "call of a text": (text("os.system") + together(text(command)) + b"R", r"call of os\.sy"),
        "ndarray of another class": (
            name("numpy.core.multiarray", "_reconstruct")
            + together(name("torch", "FloatStorage"), together(number(0)), text("b"))
            + b"R",
            r"torch\.FloatStorage",
        ),
        "array of objects": (plain(np.array([Call(os.system, command)])), "not of numbers|system"),
        "structured array": (plain(np.zeros(2, "f4,O")), "not of numbers"),
        "persistent object": (together(text("module"), system, text("a")) + b"Q", "system"),
        "persistent module": (together(text("module"), b"N") + b"Q", "persistent object module"),
        "text id": (b"Pmodule\n", "PERSID"),
    }


@pytest.mark.parametrize("form", ["pickle", "zip", "legacy"])
@pytest.mark.parametrize("case", harmful(Path("unused")))
def test_code_in_a_file_is_refused_by_name_and_not_run(tmp_path, case, form):
    marker = tmp_path / "was-run"
    opcodes, named = harmful(marker)[case]
    root = b"}" + text("a") + opcodes + b"s"
    path = tmp_path / "w.pdparams"
    if form == "pickle":
        path.write_bytes(b"\x80\x02" + root + b".")
    else:
        write(path, root, {}, 4, legacy=form == "legacy")
    with pytest.raises(WeightsError, match=named):
        load_state(path)
    with pytest.raises(WeightsError, match=named):
        load_weights(nn.Linear(1, 1), path)
    assert not marker.exists()


def test_the_harmful_pickle_is_harmful(tmp_path):
    """The tests above prove nothing unless Python's own unpickler falls for them."""
    marker = tmp_path / "was-run"
    opcodes, _ = harmful(marker)["reduce"]
    pickle.loads(b"\x80\x02" + opcodes + b".")  # noqa: S301 - the point of the test
    assert marker.exists()


def test_code_in_other_parts_of_a_torch_file_is_refused(tmp_path):
    marker = tmp_path / "was-run"
    bad = pickle.dumps(Call(os.system, f"touch {marker}"), 2)
    good = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {}, {}, [])]
    path = tmp_path / "w.pth"
    for position in range(1, 5):
        path.write_bytes(b"".join([*good[:position], bad, *good[position + 1 :]]))
        with pytest.raises(WeightsError):
            load_state(path)
    assert not marker.exists()


def test_code_in_a_file_called_safetensors(tmp_path):
    marker = tmp_path / "was-run"
    path = tmp_path / "w.safetensors"
    path.write_bytes(pickle.dumps(Call(os.system, f"touch {marker}")))
    with pytest.raises(WeightsError):
        load_state(path)
    assert not marker.exists()


def test_deep_nesting_does_not_end_the_process(tmp_path):
    path = tmp_path / "w.pdparams"
    deep = b"N" + b"\x85" * 300_000  # a tuple in a tuple in a tuple …
    ordered = name("collections", "OrderedDict")
    for root in (
        b"}" + deep + b"Ns",
        ordered + together(together(together(deep, b"N"))) + b"R",
        name("numpy", "dtype") + together(deep, b"N", b"N") + b"R",
        deep + b"Q",
        deep + text("x") + b"\x93",
        deep + b")R",
        deep,
    ):
        path.write_bytes(b"\x80\x02" + root + b".")
        with pytest.raises(WeightsError):
            load_state(path)


def test_full_pickle_only_when_trusted(tmp_path):
    path = tmp_path / "w.pdparams"
    path.write_bytes(pickle.dumps(collections.Counter({"a": 1}), 4))
    with pytest.raises(WeightsError, match=r"collections\.Counter"):
        load_state(path)
    path.write_bytes(pickle.dumps({"a": ARRAYS["a"], "b": Call(np.float32, 2)}, 4))
    with pytest.raises(WeightsError, match=r"numpy\.float32"):
        load_state(path)
    assert load_state(path, trust=True)["b"] == 2


# ---- damaged files ----


def samples(folder: Path) -> dict[str, bytes]:
    small = {"a": ARRAYS["a"], "b": np.ones(3, "float32")}
    save_file(small, folder / "w.safetensors")
    return {
        "w.pdparams": pickle.dumps(small, 4),
        "w2.pdparams": pickle.dumps(small, 2),
        "zip.pth": write_arrays(folder / "zip.pth", small).read_bytes(),
        "legacy.pth": write_arrays(folder / "legacy.pth", small, legacy=True).read_bytes(),
        "w.safetensors": (folder / "w.safetensors").read_bytes(),
    }


def test_cut_files_are_refused(tmp_path):
    for file, content in samples(tmp_path).items():
        path = tmp_path / file
        for end in range(len(content)):
            path.write_bytes(content[:end])
            with pytest.raises(WeightsError):
                load_state(path)


def test_flipped_bytes_are_read_or_refused(tmp_path):
    chance = random.Random(0)
    for file, content in samples(tmp_path).items():
        path = tmp_path / file
        for _ in range(400):
            changed = bytearray(content)
            for _ in range(chance.randint(1, 3)):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            path.write_bytes(changed)
            with contextlib.suppress(WeightsError):
                load_state(path)


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
