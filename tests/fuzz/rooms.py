"""What is attacked, with what, and what must hold: an answer, or a typed error of few words."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import resource
import tempfile
import time
import typing
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

import interpretdl as it
from interpretdl import registry
from interpretdl.cli import main
from interpretdl.cli.app import app
from interpretdl.data_processor.readers import (
    load_npy_dict_file,
    load_pickle_file,
    read_images,
)
from interpretdl.errors import InterpretError, InterpretWarning
from interpretdl.lrp_model.weights import load_state
from interpretdl.pickles.plain import read_dictionaries
from interpretdl.testing import small_network

from . import seeds

SECONDS, BYTES, MESSAGE = 10, 2**30, 2100
"""The most that one case may take: processor time, memory, and characters of an error."""

_INTERESTING = (0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
_TEXTS = (
    *("", " ", "0", "1", "-1", "--5", "²", "٣", "1_0", "1e400", "nan", "1,2", "[1", "None", "True"),
    *("x=y", "=", "../x", "/proc/newdir", "/dev/null/x", "~", "-", "--", "%s", "{0}", "\x00", "\n"),
    *("ä", "猫", "\udcff", "a" * 300, "9" * 5000, "class-b", "mean", "conv", "0:input", "a.png"),
)


@dataclass(frozen=True)
class Room:
    """One target.

    Attributes:
        values: what it is given: bytes, or what JSON can hold.
        use: does it; `held` says what may come out.
    """

    values: st.SearchStrategy[Any]
    use: Callable[[Any], Any]

    def check(self, value: Any) -> None:
        """Raises what it must not."""
        with held():
            self.use(value)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Typed errors of a readable length are fine; nothing else, no warning of others and no line
    on standard error; a bound for time and memory.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with warnings.catch_warnings(), silent_stderr():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", InterpretWarning)
        try:
            yield
        except InterpretError as error:
            if len(str(error)) > MESSAGE:
                raise AssertionError(f"a message of {len(str(error))} characters") from error
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024
    if grown > BYTES:
        raise AssertionError(f"took {grown / 2**20:.0f} MB")
    if (took := time.process_time() - start) > SECONDS:
        raise AssertionError(f"took {took:.0f} s")


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Nothing may be written on the process's standard error, by libraries in C either."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            written = file.read()
    if written:
        raise AssertionError(f"wrote on standard error: {written[:300]!r}")


# -- mutated files ---------------------------------------------------------------------------------


def mutated(base: bytes, edits: list[tuple[str, int, int, int]]) -> bytes:
    """The file with bytes changed, numbers put in, parts removed, doubled and moved."""
    data = bytearray(base)
    for kind, where, what, size in edits:
        at = where % (len(data) + 1)
        if kind == "byte":
            data[at : at + 1] = bytes([what % 256])
        elif kind in ("little", "big"):
            number = _INTERESTING[what % len(_INTERESTING)] % 256**size
            data[at : at + size] = number.to_bytes(size, kind)  # type: ignore[arg-type]
        elif kind == "cut":
            del data[at:]
        elif kind == "remove":
            del data[at : at + size]
        elif kind == "double":
            data[at:at] = data[at : at + what % 64] * size
        else:
            data[at:at] = bytes(data[what % (len(data) + 1) :][: size * 8])
    return bytes(data)


_edit = st.tuples(
    st.sampled_from(["byte", "little", "big", "cut", "remove", "double", "move"]),
    st.integers(0, 4000),
    st.integers(0, 4000),
    st.sampled_from([1, 2, 4, 8]),
)


def files(name: str) -> st.SearchStrategy[bytes]:
    good = st.deferred(lambda: st.sampled_from(_seeds(name)))
    return st.builds(mutated, good, st.lists(_edit, min_size=1, max_size=8))


@functools.cache
def _seeds(name: str) -> list[bytes]:
    return list(seeds.files(name))


def _load(data: bytes, suffix: str = ".pdparams") -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{suffix}"
        path.write_bytes(data)
        if suffix == ".npz":
            it.Explanation.load(path)
        else:
            load_state(path)


def _load_plain(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.pkl"
        path.write_bytes(data)
        ways: dict[bytes, Callable[[Any], Any]] = {
            b"\x93N": load_npy_dict_file, b"PK": read_dictionaries
        }  # fmt: skip
        ways.get(data[:2], load_pickle_file)(path)


def _load_torch(pickled: bytes) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data/0", bytes(24))
    _load(file.getvalue())


def _load_exported(data: bytes) -> None:
    program, _, parameters = data.partition(seeds.BETWEEN)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inference.json"
        path.write_bytes(program)
        path.with_suffix(".pdiparams").write_bytes(parameters)
        it.load_exported(path)


def _read_run(data: bytes) -> None:
    text, _, rows = data.partition(seeds.BETWEEN)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "run.json").write_bytes(text)
        (Path(folder) / seeds.RUN_FILE).write_bytes(rows)
        _look_at(it.open_run(folder))


def _look_at(run: it.Run) -> None:
    for use in (run.table, lambda: run.report(run.folder / "report.html")):
        with contextlib.suppress(InterpretError):  # the other may not need what is wrong
            use()
    it.diff_runs(run, run).to_html(run.folder / "diff.html")


def _rows_of_run(rows: list[dict[str, Any]]) -> None:
    """A store that is whole, with rows that no run writes."""
    with tempfile.TemporaryDirectory() as folder:
        seeds.write_run(Path(folder), rows)
        _look_at(it.open_run(folder))


# -- values ----------------------------------------------------------------------------------------

_number = st.integers(-3, 6) | st.sampled_from([2**31, 2**62, -(2**63), 10**400])
_float = st.sampled_from([0.0, -0.5, 0.5, 1.0, 2.0, float("nan"), float("inf"), -1e300, 1e-300])
_text = st.sampled_from(_TEXTS) | st.text(max_size=6)
_leaf = st.none() | st.booleans() | _number | _float | _text
_value = st.recursive(
    _leaf, lambda x: st.lists(x, max_size=3) | st.dictionaries(_text, x, max_size=2), max_leaves=5
)
# What sets an amount of work is not to be large.
_small = st.none() | st.booleans() | st.integers(-3, 6) | _float | _text


@functools.cache
def _method(name: str) -> Any:
    info, model = registry.find(name), small_network()  # a model for each: none is changed
    return info.cls(model, **(info.setup(model, PICTURE) if info.setup else {}))


PICTURE = np.random.default_rng(0).integers(0, 256, (1, 12, 12, 3), np.uint8)


@functools.cache
def _explanation() -> Any:
    return _method("gradient").explain(PICTURE, label=1)


_of_row = {
    **dict.fromkeys(["prediction", "label", "target"], st.integers(-3, 6) | st.just(2**62)),
    **dict.fromkeys(["score", "probability", "map_scale", "metric_deletion"], _float),
    **dict.fromkeys(["digest", "error", "prediction_name", "label_name"], _text),
    "signed": st.booleans(),
}
_row = st.fixed_dictionaries(
    {
        **{"picture": st.integers(0, 3), "method": st.sampled_from(["lrp", "grad_cam"])},
        **{"path": _text, "map_height": st.just(2), "map_width": st.sampled_from([2] * 15 + [1])},
        "map": st.lists(_float, min_size=4, max_size=4),
    },
    optional=_of_row,
)


def _label(value: Any) -> None:
    _method("gradient").explain(PICTURE, label=value)


def _inputs(value: Any) -> None:
    """An array, or a structure of arrays and of what JSON holds."""
    read_images(_made(value))


def _made(value: Any) -> Any:
    if isinstance(value, list):
        return [_made(each) for each in value]
    if not (isinstance(value, dict) and "dtype" in value):
        return value
    array = np.full(value["shape"], 1, value["dtype"])
    if value["as"] == "masked":
        return np.ma.masked_array(array, mask=array == 1)
    if value["as"] == "stream":
        return io.StringIO("picture")
    return array.tolist() if value["as"] == "list" else array


_array = st.fixed_dictionaries(
    {
        "shape": st.lists(st.sampled_from([0, 1, 2, 3, 4, 12]), max_size=5),
        "dtype": st.sampled_from(["uint8", "int64", "f2", "f4", "f8", "bool", "c8", "U3", "O"]),
        "as": st.sampled_from(["array", "array", "masked", "stream", "list"]),
    }
)


def _options(value: tuple[str, dict[str, Any]]) -> None:
    name, options = value
    _method(name).explain(PICTURE, label=1, **options)


def _constructor(value: dict[str, Any]) -> None:
    method = it.GradientInterpreter(small_network(), **value)
    method.explain(PICTURE, label=1)


_constructed = st.dictionaries(
    st.sampled_from(["device", "output", "output_kind", "batch_size", "preprocessing"])
    | st.just("class_names"),
    _value,
    min_size=1,
    max_size=2,
)


def _evaluator(value: tuple[str, dict[str, Any]]) -> None:
    name, options = value
    evaluator = registry.EVALUATORS.find(name).cls(small_network(), **options)
    explanation, boxes = _explanation(), [[2, 2, 9, 9]]
    masks = np.zeros((1, 12, 12), bool)
    masks[:, 2:9, 2:9] = True
    inputs = PICTURE.transpose(0, 3, 1, 2).astype(np.float32) / 255
    interpreter = _method("gradient")
    evaluator.measure(inputs, explanation, interpreter=interpreter, masks=masks, boxes=boxes)


@st.composite
def _of_methods(draw: Any) -> Any:
    info = draw(st.sampled_from(list(registry.methods().values())))
    names = st.sampled_from(sorted(info.options))
    return [info.name, draw(st.dictionaries(names, _small, min_size=1, max_size=2))]


@st.composite
def _of_evaluators(draw: Any) -> Any:
    every = registry.EVALUATORS.all().values()
    info = draw(st.sampled_from([info for info in every if info.options]))
    names = st.sampled_from(sorted(info.options))
    return [info.name, draw(st.dictionaries(names, _small, min_size=1, max_size=2))]


# -- command line ----------------------------------------------------------------------------------


def tiny() -> Any:
    """The model of the commands that are run."""
    return small_network()


@functools.cache
def _commands() -> dict[str, list[str]]:
    import typer

    commands = typing.cast(Any, typer.main.get_command(app)).commands
    return {
        name: sorted(option for p in command.params for option in p.opts if option[:1] == "-")
        for name, command in commands.items()
    }


@st.composite
def _argv(draw: Any) -> Any:
    name = draw(st.sampled_from(sorted(_commands())))
    words = [name]
    if name == "mini-broden":  # 300 scenes, if nothing is said, are 10 s of work
        words += ["--scenes", "2"]
    if name == "truth":  # all methods on all pictures are two minutes
        words += ["--method", "gradient", "--suite", "planted/linear", "--pictures", "1"]
    if name in ("explain", "predict", "evaluate"):
        words += [draw(st.just("a.png") | _text), "--model", "tests.fuzz.rooms:tiny", "--quiet"]
    for _ in range(draw(st.integers(0, 3))):
        option, text = draw(st.sampled_from([*_commands()[name], "--help"])), draw(_text)
        words += draw(st.sampled_from([[option], [option, text], [f"{option}={text}"], [text]]))
    return words


def _command(words: list[str]) -> None:
    from PIL import Image

    here, outside = Path.cwd(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder) / "in" / "side"
        inside.mkdir(parents=True)
        os.chdir(inside)
        try:
            Image.fromarray(PICTURE[0]).save("a.png")
            with contextlib.redirect_stdout(outside), contextlib.redirect_stderr(outside):
                code = main(words)
        finally:
            os.chdir(here)
    if code not in (0, 1, 2, 130) or "Traceback" in outside.getvalue():
        raise AssertionError(f"exit code {code}: {outside.getvalue()[:2000]}")
    if code == 2 and not outside.getvalue().strip():
        raise AssertionError("an error without a word")


ROOMS = {
    "pictures": Room(files("pictures"), lambda data: read_images(data)),
    "weights": Room(files("weights"), _load),
    "torch_pickles": Room(files("torch pickles"), _load_torch),
    "plain_pickles": Room(files("plain pickles"), _load_plain),
    "safetensors": Room(files("safetensors"), lambda data: _load(data, ".safetensors")),
    "explanations": Room(files("explanations"), lambda data: _load(data, ".npz")),
    "exported": Room(files("exported"), _load_exported),
    "runs": Room(files("runs"), _read_run),
    "rows_of_runs": Room(st.lists(_row, max_size=6), _rows_of_run),
    "inputs": Room(_array | st.lists(_array | _leaf, max_size=3) | _leaf, _inputs),
    "labels": Room(_value, _label),
    "options": Room(_of_methods(), _options),
    "constructors": Room(_constructed, _constructor),
    "evaluators": Room(_of_evaluators(), _evaluator),
    "command_line": Room(_argv(), _command),
}
