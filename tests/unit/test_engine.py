"""Programs that run forward passes: equal to the layers on all families, and left where not."""

from __future__ import annotations

import copy
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

import interpretdl as it
from interpretdl.probe import Probe, engine, program
from interpretdl.testing import differences, state_of
from tests.unit.test_model_families import SMALLER, build

Toy = Callable[..., Any]
X = np.random.default_rng(0).normal(size=(5, 3, 16, 16)).astype(np.float32)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each program that is made."""
    made: list[int] = []
    original = program.Program.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        made.append(1)
        original(self, *args, **kwargs)

    monkeypatch.setattr(program.Program, "__init__", init)
    return made


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing pays from the first pass."""
    monkeypatch.setattr(engine, "_WORTH", 0)


@pytest.fixture(autouse=True)
def no_file_is_left() -> Iterator[None]:
    yield
    assert not list(Path(tempfile.gettempdir()).glob(f"interpretdl-program-{os.getpid()}-*"))


def distance(found: Any, expected: Any) -> float:
    """The largest difference, of the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


# -- equality --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALLER)
def test_every_family(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights make some of these amplify rounding: float64 is the judge, and 1e-5 is what
    the program may be off, or 4 times what the layers are.
    """
    monkeypatch.setitem(engine._WITHIN, "onednn", 10)
    case = build(name)
    model, x, given = case.model, case.x, case.options()
    x = np.concatenate([x, x[::-1], x * 0.5])
    before = state_of(model)
    layers, fast = (Probe(model, engine=kind, **given) for kind in ("dygraph", "onednn"))
    last = layers.last_spatial_layer(x)
    expected = layers.forward(x, it.ClassScore(3), [last])
    found = fast.forward(x, it.ClassScore(3), [last])
    assert (fast.ran_by, layers.ran_by) == ("onednn", "")
    assert not differences(before, state_of(model))
    model.to(dtype="float64")
    truth = Probe(model, engine="dygraph", **given).forward(x, it.ClassScore(3), [last])
    for of in (lambda run: run.outputs, lambda run: run.scores, lambda run: run.activations[last]):
        off, own = distance(of(found), of(truth)), distance(of(expected), of(truth))
        assert off <= max(1e-5, 4 * own)


@pytest.mark.parametrize("name", ["score_cam", "deletion", "dissect"])
def test_what_announces_its_passes(
    name: str, toy: Toy, monkeypatch: pytest.MonkeyPatch, traced: list[int], tmp_path: Path
) -> None:
    """Each has one program for all of its passes, and the numbers that the layers give."""
    monkeypatch.setattr(engine, "_WORTH", 3e4)  # three passes of the toy are not worth it

    def score_cam(kind: Any) -> Any:
        return it.ScoreCAMInterpreter(toy(), engine=kind).explain(X[:2]).values

    def deletion(kind: Any) -> Any:
        return (
            it.Deletion(toy(), engine=kind)
            .measure(X[:2], X[:2], 0, signed=False)
            .curves["deletion"]
        )

    def dissect(kind: Any) -> Any:
        folder = tmp_path / str(kind)
        data = it.dissection.mini_broden(tmp_path / f"data for {kind}", scenes=12, size=32)
        it.dissection.dissect(toy(), data, "0", folder, engine=kind, input_size=32, batch_size=4)
        return np.load(folder / "0-thresholds.npz")["thresholds"]

    run = {"score_cam": score_cam, "deletion": deletion, "dissect": dissect}[name]
    expected = run("dygraph")
    assert not traced
    found = run(None)
    assert sum(traced) == 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_several_inputs_and_integers(traced: list[int]) -> None:
    class Words(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.last = nn.Embedding(7, 4), nn.Linear(6, 3)

        def forward(self, words: Any, more: Any) -> Any:
            return {"logits": self.last(paddle.concat([self.embed(words).mean(1), more], 1))}

    model, rng = Words(), np.random.default_rng(0)
    words, more = rng.integers(0, 7, (4, 5)), rng.normal(size=(4, 2))
    for x in ((words, more), {"words": words, "more": more}):
        fast, layers = (
            Probe(model, output="logits", engine=kind).forward(x, 1, ["embed", "last:input"])
            for kind in ("onednn", "dygraph")
        )
        assert distance(fast.outputs, layers.outputs) < 1e-5
        for name, values in layers.activations.items():
            assert distance(fast.activations[name], values) < 1e-5
    assert sum(traced) == 2


def test_bfloat16_only_by_name(toy: Toy) -> None:
    layers = Probe(toy(), engine="dygraph").logits(X)
    probe = Probe(toy(), engine="onednn-bf16")
    found = probe.logits(X)
    assert probe.ran_by in ("onednn-bf16", "dygraph") or "bfloat16" in probe.ran_by
    assert distance(found, layers) < 0.1


# -- when ------------------------------------------------------------------------------------------


def test_with_dygraph_nothing_is_traced(toy: Toy, traced: list[int], always: None) -> None:
    probe = Probe(toy(), engine="dygraph")
    with probe.many(10**9):
        probe.logits(X)
    it.ScoreCAMInterpreter(toy(), engine="dygraph").explain(X[:1])
    assert not traced
    assert not probe.ran_by


def test_few_passes_are_not_worth_a_program(toy: Toy, traced: list[int]) -> None:
    probe = Probe(toy())
    with probe.many(10):
        probe.logits(X)
    assert not traced
    with probe.many(10**7):
        probe.logits(X[:1])
        probe.scores(X, 0)
    assert sum(traced) == 1
    assert probe.ran_by == "onednn"
    with probe.many(10**7):  # the program is kept
        probe.logits(X)
    assert sum(traced) == 1
    probe.logits(X)  # five passes of their own
    assert not probe.ran_by


def test_the_same_bits_again(toy: Toy, always: None) -> None:
    probe = Probe(toy())
    assert np.array_equal(probe.logits(X), probe.logits(X))
    assert np.array_equal(probe.logits(X), Probe(toy()).logits(X))


def test_gradients_and_edits_run_by_the_layers(toy: Toy, traced: list[int], always: None) -> None:
    probe = Probe(toy())
    with probe.many(10**9):
        probe.gradients(X, 0)
        probe.logits(X, edit={"0": lambda y: y * 0})
    assert not traced


def test_it_is_said_in_the_diagnostics(toy: Toy, always: None) -> None:
    found = it.ScoreCAMInterpreter(toy()).explain(X[:1])
    assert found.diagnostics["engine"] == "onednn"
    assert (
        "engine" not in it.ScoreCAMInterpreter(toy(), engine="dygraph").explain(X[:1]).diagnostics
    )


# -- where it cannot -------------------------------------------------------------------------------


class Choosy(nn.Layer):
    """Leaves for NumPy, where no program can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3, 4)

    def forward(self, x: Any) -> Any:
        means = paddle.to_tensor(np.asarray(x.mean(axis=[2, 3]).numpy()))
        return self.last(means)


def test_a_model_that_cannot_be_traced(always: None, caplog: Any, traced: list[int]) -> None:
    model = Choosy()
    expected = Probe(model, engine="dygraph").logits(X)
    probe = Probe(model)
    with caplog.at_level(logging.DEBUG, "interpretdl"):
        for _ in range(3):
            assert np.array_equal(probe.logits(X), expected)
    assert len(caplog.records) == sum(traced) == 1
    assert "cannot be traced" in caplog.text
    assert probe.ran_by.startswith("dygraph: it cannot be traced")
    named = Probe(model, engine="onednn")
    with pytest.warns(it.InterpretWarning, match="engine='onednn' cannot run this model"):
        found = named.logits(X)
    assert np.array_equal(found, expected)


class Turning(nn.Layer):
    """What Python decides when it is traced stays as it was decided."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.sign = nn.Linear(3, 4), 1.0

    def forward(self, x: Any) -> Any:
        return self.sign * self.last(x.mean(axis=[2, 3]))


def test_a_model_that_changes(traced: list[int], always: None) -> None:
    model = Turning()
    probe, layers = Probe(model), Probe(model, engine="dygraph")
    for _ in range(2):
        assert distance(probe.logits(X), layers.logits(X)) < 1e-5
    assert sum(traced) == 1
    model.last.weight.set_value(model.last.weight.numpy() * 2)
    assert distance(probe.logits(X), layers.logits(X)) < 1e-5
    assert (sum(traced), probe.ran_by) == (2, "onednn")
    model.sign = -1.0  # no parameter: seen in what comes out
    assert distance(probe.logits(X), layers.logits(X)) < 1e-5
    assert (sum(traced), probe.ran_by) == (3, "onednn")


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), MemoryError(), RuntimeError("broken")]
)
def test_a_full_disk(
    error: Exception, toy: Toy, always: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(*args: Any, **kwargs: Any) -> None:
        Path(args[1] + ".json").write_text("half a program")
        raise error

    monkeypatch.setattr(paddle.jit, "save", save)
    probe = Probe(toy())
    assert np.array_equal(probe.logits(X), Probe(toy(), engine="dygraph").logits(X))
    assert probe.ran_by.startswith("dygraph: ")


def test_a_program_that_is_wrong(
    toy: Toy, always: None, monkeypatch: pytest.MonkeyPatch, traced: list[int]
) -> None:
    original = program.Program.__call__
    monkeypatch.setattr(
        program.Program, "__call__", lambda self, x: [1.0001 * part for part in original(self, x)]
    )
    probe = Probe(toy())
    assert np.array_equal(probe.logits(X), Probe(toy(), engine="dygraph").logits(X))
    assert "the program's values differ by" in probe.ran_by


def test_ctrl_c_while_it_is_traced(toy: Toy, always: None, monkeypatch: pytest.MonkeyPatch) -> None:
    model = toy()
    before = state_of(model)

    def save(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(paddle.jit, "save", save)
        with pytest.raises(KeyboardInterrupt):
            Probe(model).logits(X)
    assert not differences(before, state_of(model))
    assert np.isfinite(Probe(model).logits(X)).all()


def test_what_a_killed_process_left_is_removed(toy: Toy, always: None) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True, check=True, text=True, timeout=60,
    )  # fmt: skip
    left, alive = (
        Path(tempfile.gettempdir(), f"interpretdl-program-{process}-x")
        for process in (int(ended.stdout), os.getppid())
    )
    try:
        for folder in (left, alive):
            folder.mkdir()
            (folder / "model.json").write_text("{}")
        Probe(toy()).logits(X)
        assert not left.exists()
        assert alive.exists()
    finally:
        shutil.rmtree(alive)


@pytest.mark.parametrize("kind", ["oneDNN", "tensorrt", "", 1, True])
def test_another_engine(kind: Any, toy: Toy) -> None:
    with pytest.raises(it.InputError, match="engine must be 'dygraph', 'onednn', 'onednn-bf16'"):
        Probe(toy(), engine=kind)


def test_parameters_in_float64_stay_with_the_layers(toy: Toy, always: None) -> None:
    model = toy()
    model.to(dtype="float64")
    probe = Probe(model)
    probe.logits(X)
    assert probe.ran_by == "dygraph: its parameters are not all float32"


def test_a_copy_of_a_probe_has_programs_of_its_own(toy: Any) -> None:
    probe = it.Probe(toy(), engine="onednn")
    before = probe.logits(X)
    assert probe.ran_by == "onednn"
    other = copy.deepcopy(probe)
    assert other.ran_by == ""
    np.testing.assert_allclose(other.logits(X), before, atol=1e-5)
    assert other.ran_by == "onednn"
