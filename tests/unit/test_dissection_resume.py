"""A dissection that is killed goes on where it was, and never with another's results."""

from __future__ import annotations

import errno
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpretdl.data_processor.files import read_archive
from interpretdl.dissection import Broden, dissect, mini_broden
from interpretdl.errors import InputError, InterpretWarning, ResourceError

# The same network in every process; each batch takes its time and leaves its state.
PROGRAM = """
import os, sys, time
sys.path[:0] = sys.argv[1:2]
from conftest import toy_network
from interpretdl.dissection import dissect
from interpretdl.dissection.broden import Broden
class Slow(Broden):
    def image(self, index, channels=3):
        time.sleep(0.02)
        return super().image(index, channels)
dissect(toy_network(), Slow(sys.argv[2]), ["0", "5"], sys.argv[3], input_size=64, baseline=True,
        batch_size=2, checkpoint_seconds=0)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mini_broden(tmp_path_factory.mktemp("mini") / "data", scenes=24, size=64)


@pytest.fixture(autouse=True)
def one_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says when it was made, and bytes are compared here."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run(toy: Any, data: Path, out: Path, **options: Any) -> Any:
    settings = {"input_size": 64, "baseline": True, "batch_size": 2, **options}
    return dissect(toy(), data, ["0", "5"], out, **settings)


def killed_when(file: Path, data: Path, out: Path, root: Path) -> None:
    """Start a dissection in a process of its own and kill it when `file` has appeared."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(root / "tests"), str(data), str(out)],
        cwd=root,
    )
    try:
        end = time.monotonic() + 60
        while not file.exists():
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < end
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_killed_in_both_phases_and_resumed_gives_the_same_bytes(
    toy: Any, data: Path, tmp_path: Path, root: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(toy, data, whole)
    killed_when(parts / "5-thresholds.partial.npz", data, parts, root)
    assert not (parts / "0-thresholds.npz").exists()
    assert 0 < read_archive(parts / "5-thresholds.partial.npz")[1]["done"] < 24
    killed_when(parts / "5-tally.partial.npz", data, parts, root)
    assert (parts / "0-thresholds.npz").exists()
    assert not (parts / "0-tally.npz").exists()
    done = read_archive(parts / "5-tally.partial.npz")[1]["done"]

    seen = []

    class Counted(Broden):
        def truth(self, index: int) -> Any:
            seen.append(index)
            return super().truth(index)

    dissect(
        toy(), Counted(data), ["0", "5"], parts, input_size=64, baseline=True, batch_size=2
    )  # fmt: skip
    assert seen[0] in (done, done - 2)  # killed between the files of two layers, at most
    # a kill may leave a file that was being written, with a name of its own
    found = {name: text for name, text in contents(parts).items() if name[0] != "."}
    assert found == contents(whole)
    assert not [name for name in found if "partial" in name]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks, which Windows cannot")
def test_killed_at_any_moment_it_ends_in_the_same_bytes(root: Path) -> None:
    """Restarts too. `python tests/unit/dissection_kills.py 20` does as many as wanted."""
    program = Path(__file__).with_name("dissection_kills.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(program), "few"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)}, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("all bytes are equal") == 3


def test_an_error_leaves_what_was_done(toy: Any, data: Path, tmp_path: Path) -> None:
    class Broken(Broden):
        def image(self, index: int, channels: int = 3) -> Any:
            if index == 11:
                raise KeyboardInterrupt
            return super().image(index, channels)

    options: dict[str, Any] = {"input_size": 64, "batch_size": 2}
    with pytest.raises(KeyboardInterrupt):
        dissect(toy(), Broken(data), "0", tmp_path / "a", checkpoint_seconds=0, **options)
    assert list(contents(tmp_path / "a")) == ["0-thresholds.partial.npz"]
    first = dissect(toy(), data, "0", tmp_path / "a", **options)
    second = dissect(toy(), data, "0", tmp_path / "b", **options)
    assert np.array_equal(first["0"].iou, second["0"].iou)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_layer_added_later_takes_up_what_is_there(toy: Any, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options: dict[str, Any] = {"input_size": 64, "batch_size": 2}
    dissect(toy(), data, "0", out, **options)
    before = (out / "0-tally.npz").stat().st_mtime_ns
    both = dissect(toy(), data, ["0", "5"], out, **options)
    assert (out / "0-tally.npz").stat().st_mtime_ns == before
    assert list(both.layers) == ["0", "5"]
    page = (out / "report.html").read_text()
    assert 'data-layer="5"' in page


def test_results_are_not_mixed(toy: Any, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(toy, data, out, baseline=False)
    before = contents(out)
    other = mini_broden(tmp_path / "other", scenes=24, size=64, seed=1)
    for changed, call in {
        "share": lambda: run(toy, data, out, baseline=False, share=0.01),
        "input_size": lambda: run(toy, data, out, baseline=False, input_size=32),
        "data": lambda: run(toy, other, out, baseline=False),
        "model": lambda: run(lambda: toy(seed=1), data, out, baseline=False),
    }.items():
        with pytest.raises(InputError, match=f"another {changed}; results are not mixed"):
            call()
    assert contents(out) == before
    run(toy, data, out, baseline=False, share=0.01, restart=True)
    assert contents(out) != before


def test_a_damaged_file_is_refused(toy: Any, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(toy, data, out, baseline=False)
    path = out / "0-tally.npz"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(InputError, match="not a file written by interpretdl"):
        run(toy, data, out, baseline=False)


def test_layers_of_other_settings_are_not_mixed(toy: Any, data: Path, tmp_path: Path) -> None:
    """Each layer has its files, and all of a folder are of the same settings."""
    options: dict[str, Any] = {"input_size": 64, "batch_size": 2, "report": False}
    dissect(toy(), data, "0", tmp_path, **options)
    before = contents(tmp_path)
    for more in ({}, {"restart": True}):
        with pytest.raises(InputError, match=r"another share; .* name its layer"):
            dissect(toy(), data, "5", tmp_path, share=0.01, **options, **more)
        assert contents(tmp_path) == before
    dissect(toy(), data, ["0", "5"], tmp_path, share=0.01, restart=True, **options)


def test_categories_are_a_setting(toy: Any, data: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"input_size": 64, "batch_size": 2}
    some = ["object", "part", "scene", "texture", "color"]
    found = dissect(toy(), data, "0", tmp_path, categories=some, **options)
    assert "left out: material" in (tmp_path / "report.html").read_text()
    assert not [label for label in found["0"].labels if label.category == "material"]
    dissect(toy(), data, "0", tmp_path, categories=[*some[::-1], "part"], **options)  # the same
    with pytest.raises(InputError, match="another categories, data; results are not mixed"):
        dissect(toy(), data, "0", tmp_path, **options)


def test_a_restart_removes_what_it_replaces_first(toy: Any, data: Path, tmp_path: Path) -> None:
    """Stopped at its first image it can be continued, and nothing old stands beside the new."""

    class Stopped(Broden):
        def image(self, index: int, channels: int = 3) -> Any:
            raise KeyboardInterrupt

    run(toy, data, tmp_path, share=0.1)
    with pytest.raises(KeyboardInterrupt):
        run(toy, Stopped(data), tmp_path, restart=True)
    assert contents(tmp_path) == {}
    run(toy, data, tmp_path)


def test_one_run_at_a_time(toy: Any, data: Path, tmp_path: Path) -> None:
    """A second run is told who is there, in a thread as in a process, and changes nothing."""
    seen: list[str] = []

    class Busy(Broden):
        def image(self, index: int, channels: int = 3) -> Any:
            if not seen:
                seen.append("")
                before = contents(tmp_path)
                for settings in ({}, {"share": 0.1}, {"share": 0.1, "restart": True}):
                    with pytest.raises(ResourceError, match="another dissection is") as caught:
                        run(toy, data, tmp_path, **settings)
                    assert f"process {os.getpid()} on {platform.node()}" in str(caught.value)
                assert contents(tmp_path) == before
            return super().image(index, channels)

    found = run(toy, Busy(data), tmp_path)
    assert seen
    alone = run(toy, data, tmp_path / "alone")
    assert np.array_equal(found["0"].iou, alone["0"].iou)
    assert not (tmp_path / ".dissection.lock").exists()


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"process": 1}', "[" * 9000, "\udcff"])
def test_a_lock_that_nobody_holds_any_more(toy: Any, data: Path, tmp_path: Path, text: str) -> None:
    """What a killed run left, whatever it says."""
    (tmp_path / ".dissection.lock").write_text(text, errors="surrogateescape")
    dissect(toy(), data, "0", tmp_path, input_size=64, report=False)
    assert not (tmp_path / ".dissection.lock").exists()


def test_two_processes_with_other_settings(data: Path, tmp_path: Path, root: Path) -> None:
    """Started together into a new folder: one is refused, and the files are the other's."""
    program = """
import sys
sys.path[:0] = sys.argv[1:2]
from conftest import toy_network
from interpretdl.dissection import dissect
from interpretdl.errors import InterpretError
model = toy_network()
print("ready", flush=True)
sys.stdin.readline()
try:
    dissect(model, sys.argv[2], "0", sys.argv[3], input_size=64, batch_size=1,
            share=float(sys.argv[4]), checkpoint_seconds=0, report=False)
except InterpretError as error:
    print(error)
"""
    shares = (0.005, 0.1)
    command = [sys.executable, "-W", "ignore", "-c", program, str(root / "tests"), str(data)]
    both = [
        subprocess.Popen([*command, str(tmp_path / "out"), str(share)], cwd=root, text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for share in shares
    ]  # fmt: skip
    try:
        for process in both:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in both:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        said = [process.communicate(timeout=100)[0] for process in both]
    finally:
        for process in both:
            process.kill()
            process.wait()
    assert [process.returncode for process in both] == [0, 0]
    refused = [text for text in said if text]
    assert len(refused) == 1
    assert "another dissection is writing" in refused[0] or "another share" in refused[0]
    found = [read_archive(path)[1]["fingerprint"]["share"] for path in (tmp_path / "out").iterdir()
             if path.suffix == ".npz"]  # fmt: skip
    assert found == [shares[said.index("")]] * 2


def test_where_nothing_can_be_locked_saving_sees_the_other(
    toy: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system without locks: a warning, and no file of another is written over."""
    fcntl = pytest.importorskip("fcntl")

    def without(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    class Other(Broden):
        def image(self, index: int, channels: int = 3) -> Any:
            if index == 12:
                (tmp_path / "0-thresholds.partial.npz").write_bytes(b"another's")
            return super().image(index, channels)

    monkeypatch.setattr(fcntl, "flock", without)
    with (
        pytest.warns(InterpretWarning, match="cannot be locked") as caught,
        pytest.raises(ResourceError, match="written by somebody else meanwhile"),
    ):
        dissect(toy(), Other(data), "0", tmp_path, input_size=64, batch_size=2,
                    checkpoint_seconds=0)  # fmt: skip
    assert caught[0].filename == __file__
    assert (tmp_path / "0-thresholds.partial.npz").read_bytes() == b"another's"


def test_a_state_beside_its_result_goes(toy: Any, data: Path, tmp_path: Path) -> None:
    """A kill between the two lines that write the one and remove the other."""
    run(toy, data, tmp_path, report=False)
    before = contents(tmp_path)
    for name in ("0-thresholds", "5-tally"):
        (tmp_path / f"{name}.partial.npz").write_bytes(b"anything")
    run(toy, data, tmp_path, report=False)
    assert contents(tmp_path) == before
