"""Runs that are interrupted, disturbed, or given a folder that is not theirs."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import interpretdl as it
from interpretdl.runs.about import about
from interpretdl.runs.store import complete_shards, write_shard
from interpretdl.testing import small_network
from tests.small_runs import METHODS, contents, run, write_pictures

pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("source") / "pictures")


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> it.Run:
    """A run that nothing disturbed: three shards of 4, 4 and 2 pictures."""
    found: it.Run = run(folder, tmp_path_factory.mktemp("whole") / "run")
    return found


@pytest.fixture
def out(whole: it.Run, tmp_path: Path) -> Path:
    """A copy of the store without its second shard."""
    shutil.copytree(whole.folder, tmp_path / "run")
    (tmp_path / "run" / "shard-00001.parquet").unlink()
    return tmp_path / "run"


def test_what_is_done_is_not_done_again(folder: Path, whole: it.Run, out: Path) -> None:
    assert not it.open_run(out).complete
    assert it.open_run(out).done == (0, 2)
    assert len(it.open_run(out).table()) == 12
    told: list[dict[str, Any]] = []
    again = run(folder, out, on_shard=told.append)
    assert [each["shard"] for each in told] == [1]
    assert told[0]["done"] == told[0]["shards"] == 3
    assert again.complete
    assert contents(out) == contents(whole.folder)
    run(folder, out, on_shard=told.append)
    assert len(told) == 1


def test_an_error_in_between_leaves_whole_shards(
    folder: Path, whole: it.Run, tmp_path: Path
) -> None:
    def stop(shard: dict[str, Any]) -> None:
        raise ZeroDivisionError

    for done in (1, 2, 3):
        with pytest.raises(ZeroDivisionError):
            run(folder, tmp_path, on_shard=stop)
        assert len(it.open_run(tmp_path).done) == done
    assert contents(tmp_path) == contents(whole.folder)


def test_ctrl_c_stops_after_the_shard_in_hand(
    folder: Path, whole: it.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGINT)

    def press(shard: dict[str, Any]) -> None:
        if shard["done"] == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path, on_shard=press)
    assert "after the shards in hand" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) == before
    assert it.open_run(tmp_path).done == (0,)
    run(folder, tmp_path)
    assert contents(tmp_path) == contents(whole.folder)


def test_another_run_is_refused_with_what_differs(folder: Path, out: Path) -> None:
    before = contents(out)
    paths = sorted(map(str, folder.iterdir()))
    other = small_network(seed=1)
    labels = list(range(5)) * 2
    for more, message in (
        ({"map_size": 8}, r"map_size: 56 there, 8 now"),
        ({"batch_size": 3}, r"batch_size: 2 there, 3 now"),
        ({"shard_size": 5}, r"shard_size: 4 there, 5 now"),
        ({"explain": "label", "labels": labels}, r"explain: \"prediction\" there, \"label\" now"),
        ({"options": {"lrp": {"composite": "epsilon"}}}, r"methods.lrp.options.composite: null th"),
        ({"methods": ["grad_cam"]}, r"methods.lrp: .* there, null now"),
        ({"metrics": ["deletion"]}, r"metrics.deletion: null there"),
        ({"model": other}, r"model: \"Sequential .*\" there, \"Sequential .*\" now"),
        ({"source": paths[:-1]}, r"source: \"10 paths .*\" there, \"9 paths .*\" now"),
        ({"source": paths[::-1]}, r"source: \"10 paths .*\" there, \"10 paths .*\" now"),
        ({"labels": labels}, r"source: \"10 paths .*\" there, \"10 paths .*\" now"),
    ):
        given: dict[str, Any] = {"source": folder, "out": out, **more}
        with pytest.raises(it.InputError, match=message):
            run(**given)
    assert contents(out) == before


def test_a_manifest_that_changed_is_refused(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    lines = ["path,label", *(f"{path},1" for path in sorted(folder.iterdir()))]
    table.write_text("\n".join(lines[:-1]))
    run(table, tmp_path / "run", ["gradient"])
    for changed in (lines, [*lines[:-2], lines[-2].replace(",1", ",2")]):
        table.write_text("\n".join(changed))
        with pytest.raises(it.InputError, match="source: "):
            run(table, tmp_path / "run", ["gradient"])


def test_pictures_that_changed_are_noticed(folder: Path, tmp_path: Path) -> None:
    """The first of each file is looked at; one that is gone is no other one."""
    pictures = shutil.copytree(folder, tmp_path / "pictures")
    out = tmp_path / "run"
    run(pictures, out, ["gradient"])
    before = contents(out)
    shutil.copy(pictures / "05.png", pictures / "04.png")
    with pytest.raises(it.InputError, match=r"04.png has changed since .*run was begun"):
        run(pictures, out, ["gradient"])
    assert contents(out) == before
    (pictures / "04.png").unlink()
    paths = sorted(str(pictures / path.name) for path in folder.iterdir())
    run(paths, out, ["gradient"])
    assert contents(out) == before


def test_pictures_looked_for_in_another_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else good files would be followed by ones of nothing but errors."""
    here, there = shutil.copytree(folder, tmp_path / "here" / "pictures").parent, tmp_path / "there"
    paths = [f"pictures/{i:02}.png" for i in range(10)]
    monkeypatch.chdir(here)
    run(paths, Path("run"), ["gradient"])
    before = contents(here / "run")
    (here / "run" / "shard-00001.parquet").unlink()
    there.mkdir()
    monkeypatch.chdir(there)
    with pytest.raises(it.InputError, match=rf"begun in {here}, and paths .* for in {there}"):
        run(paths, here / "run", ["gradient"])
    for name in ("pictures", "run"):
        shutil.move(here / name, there / name)
    for gone in (0, 1, 3, 8, 9):  # one that is left is enough
        (there / paths[gone]).unlink()
    run(paths, there / "run", ["gradient"])
    assert contents(there / "run") == before


def test_a_shard_that_cannot_be_opened_is_no_damaged_one(folder: Path, out: Path) -> None:
    (out / "shard-00000.parquet").unlink()
    (out / "shard-00000.parquet").mkdir()
    for use in (lambda: run(folder, out), lambda: it.open_run(out).done):
        with pytest.raises(it.ResourceError, match=r"cannot read .*00000.parquet: Is a directory"):
            use()
    assert (out / "shard-00000.parquet").is_dir()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names are text elsewhere")
def test_a_folder_whose_name_is_no_text(folder: Path, whole: it.Run, tmp_path: Path) -> None:
    out = tmp_path / os.fsdecode(b"caf\xe9")
    for _ in range(2):
        assert run(folder, out).complete
        assert contents(out) == contents(whole.folder)


def test_shards_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for shard in (100_000, 99_999):
        write_shard(tmp_path, shard, [], [], {})
    assert complete_shards(tmp_path, {}, 100_001) == [99_999, 100_000]


def test_threads(folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They change the last digits, so a store says which number goes on with it."""
    for text, here in (("", 1), ("4,2", 1), ("2", 2)):
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        with pytest.raises(it.InputError, match=f"this process has {here}: .*OMP_NUM_THREADS=3"):
            run(folder, out, threads=3)
    with pytest.raises(it.InputError, match=r"threads: 1 there, 2 now. Give threads=1 to go on, "):
        run(folder, out, threads=2)
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert run(folder, out).complete
    assert run(folder, out, threads=1).settings["threads"] == 1


@pytest.mark.parametrize("damage", ["truncated", "empty", "of another run", "a page"])
def test_a_damaged_shard_is_made_again(
    folder: Path, whole: it.Run, out: Path, tmp_path: Path, damage: str
) -> None:
    path, whole_bytes = out / "shard-00000.parquet", contents(out)["shard-00000.parquet"]
    if damage == "of another run":
        other = run(folder, tmp_path / "other", map_size=8)
        shutil.copy(other.folder / "shard-00000.parquet", path)
    elif damage == "a page":  # only reading it shows that
        middle = len(whole_bytes) // 2
        path.write_bytes(whole_bytes[:middle] + b"\xff\x00" + whole_bytes[middle + 2 :])
        with pytest.raises(it.InputError, match=r"damaged.*remove it and run again"):
            it.open_run(out).table()
        path.unlink()
    else:
        path.write_bytes(whole_bytes[: 0 if damage == "empty" else len(whole_bytes) // 2])
    assert it.open_run(out).done == (2,)
    if damage == "a page":
        run(folder, out)
    else:
        with pytest.warns(it.InterpretWarning, match=r"00000.parquet is damaged and will be made"):
            run(folder, out)
    assert contents(out) == contents(whole.folder)


def test_a_full_disk(
    folder: Path, whole: it.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = Path.write_bytes, []

    def full(path: Path, content: Any) -> int:
        calls.append(path)
        if len(calls) == 2:
            write(path, b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(it.ResourceError, match="No space left on device"):
        run(folder, tmp_path)
    assert it.open_run(tmp_path).done == (0,)
    assert sorted(contents(tmp_path)) == ["README.md", "run.json", "shard-00000.parquet"]
    run(folder, tmp_path)
    assert contents(tmp_path) == contents(whole.folder)


def test_one_run_at_a_time(folder: Path, tmp_path: Path) -> None:
    told: list[BaseException] = []

    def second(shard: dict[str, Any]) -> None:
        try:
            run(folder, tmp_path)
        except it.ResourceError as error:
            told.append(error)

    found = run(folder, tmp_path, on_shard=second)
    assert found.complete
    assert len(told) == 3
    assert "another run is writing" in str(told[0])
    assert f"process {os.getpid()}" in str(told[0])


def test_a_folder_with_something_else(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(it.InputError, match=r"'letter.txt' and is not the store of a run"):
        run(folder, tmp_path)
    for name in (str(tmp_path / "letter.txt" / "run"), "a\0b", ""):
        with pytest.raises(it.ResourceError, match="cannot make the folder"):
            it.run(folder, ["gradient"], small_network(), out=name)


def test_what_is_wrong_is_found_before_the_work(folder: Path, tmp_path: Path) -> None:
    for more, message in (
        ({"methods": "grad_camm"}, "did you mean 'grad_cam'"),
        ({"methods": []}, "no method was given"),
        ({"metrics": "point_game"}, "needs (boxes|masks)"),
        ({"options": {"grad_cam": {"layers": 1}}}, "no option 'layers'"),
        ({"options": {"lime": {}}}, "options are given for 'lime'"),
        ({"options": {"deletion": {"steps": 0}}, "metrics": "deletion"}, "steps"),
        ({"map_size": 0}, "map_size must be at least 1"),
        ({"explain": "both"}, "explain must be one of"),
        ({"explain": "label"}, "needs labels"),
        ({"workers": 1}, "workers build the model themselves"),
        ({"seconds": float("inf")}, "seconds must be above 0 and finite"),
        ({"seconds": -1}, "seconds must be above 0"),
        ({"out": None}, "out must be a string"),
        ({"ray": 3}, "ray must be a string or None"),
        ({"weights": 3, "model": "resnet18"}, "weights must be a string"),
        ({"on_shard": 3}, "on_shard must be a function or None"),
        ({"model": lambda: small_network()}, "workers cannot import"),
    ):
        given: dict[str, Any] = {"source": folder, "out": tmp_path / "run", **more}
        with pytest.raises(it.InputError, match=message):
            run(**given)
    with pytest.raises(TypeError, match="no argument 'sharp_size'"):
        run(folder, tmp_path / "run", model="efficientnet_lite0", sharp_size=3)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("count", "heading"), [(1, "1 picture\n"), (2, "2 pictures\n")])
def test_the_readme_counts(count: int, heading: str) -> None:
    text = about({"pictures": count, "settings": {"methods": {}, "metrics": {}}})
    assert text.startswith(f"# Explanations of {heading}")


def test_a_thread_runs_too(folder: Path, whole: it.Run, tmp_path: Path) -> None:
    thread = threading.Thread(target=run, args=(folder, tmp_path))
    thread.start()
    thread.join()
    assert contents(tmp_path) == contents(whole.folder)


def test_the_model_stays_as_it_was(folder: Path, tmp_path: Path) -> None:
    model = small_network()
    model.train()
    run(folder, tmp_path, ["rise"], model, options={"rise": {"evaluations": 10}})
    assert model.training


def test_methods_of_one_kind_by_other_names(folder: Path, whole: it.Run, tmp_path: Path) -> None:
    found = run(
        folder, tmp_path, {"a": "lrp", "b": "lrp"}, options={"b": {"composite": "epsilon_plus"}}
    )
    assert found.methods == ("a", "b")
    assert (found.maps("a") == whole.maps("lrp")).all()
    assert (found.maps("b") != whole.maps("lrp")).any()
    assert list(whole.methods) == METHODS
