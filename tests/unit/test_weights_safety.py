"""Files of weights that mean harm, or are damaged: refused, and no code of theirs is run."""

from __future__ import annotations

import builtins
import collections
import contextlib
import os
import pickle
import random
import shlex
from pathlib import Path

import numpy as np
import pytest
from paddle import nn
from safetensors.numpy import save_file

from interpretdl.errors import WeightsError
from interpretdl.lrp_model import load_state, load_weights
from tests.torch_files import name, number, text, together, write, write_arrays

ARRAYS = {"a": np.arange(6, dtype="float32").reshape(2, 3)}


# ---- files that mean harm ----


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def harmful(marker: Path) -> dict[str, tuple[bytes, str]]:
    """Opcodes that would make the marker's file, and the name that the error must have."""
    command = f"touch {shlex.quote(str(marker))}"
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
    bad = pickle.dumps(Call(os.system, f"touch {shlex.quote(str(marker))}"), 2)
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
    path.write_bytes(pickle.dumps(Call(os.system, f"touch {shlex.quote(str(marker))}")))
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
