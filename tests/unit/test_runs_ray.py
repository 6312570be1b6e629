"""A run on a Ray cluster of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import interpretdl as it
from interpretdl.runs import on_ray
from tests.small_runs import contents, run, write_pictures
from tests.unit import runs_kills

pytest.importorskip("pyarrow")
ray = pytest.importorskip("ray")

pytestmark = pytest.mark.long

NAMED = "interpretdl.testing:small_network"


def test_the_same_store_on_ray(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 11)
    (folder / "05.png").write_bytes(b"nothing")
    here = run(folder, tmp_path / "here", model=NAMED, workers=0)
    told: list[dict[str, Any]] = []
    found = run(folder, tmp_path / "ray", model=NAMED, workers=2, ray="local", on_shard=told.append)
    assert sorted(each["shard"] for each in told) == [0, 1, 2]
    assert contents(found.folder) == contents(here.folder)


def test_a_cluster_with_fewer_cpus_than_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_pictures(tmp_path / "pictures", 5)
    monkeypatch.setattr(on_ray, "_PATIENCE_SECONDS", 0.0)
    ray.init(
        address="local", num_cpus=1,
        include_dashboard=False, log_to_driver=False, logging_level="ERROR",
    )  # fmt: skip
    try:
        with pytest.raises(it.InputError, match=r"is connected to Ray at .*, not at '9.9.9.9:1'"):
            run(folder, tmp_path / "run", model=NAMED, workers=1, ray="9.9.9.9:1")
        with pytest.warns(it.InterpretWarning, match=r" of 2 workers have not begun: .* are 1, "):
            found = run(folder, tmp_path / "run", model=NAMED, workers=2, ray="auto")
        assert found.complete
        press = threading.Timer(4.0, os.kill, (os.getpid(), signal.SIGINT))
        press.start()
        with (
            pytest.warns(it.InterpretWarning, match="1 of 1 workers have not begun: each takes 2"),
            pytest.raises(KeyboardInterrupt),
        ):
            run(folder, tmp_path / "other", model=NAMED, workers=1, ray="auto", threads=2)
        press.join()
    finally:
        ray.shutdown()


def test_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 1)
    with pytest.raises(it.ResourceError, match="cannot reach Ray at"):
        run(folder, tmp_path / "run", model=NAMED, workers=1, ray="127.0.0.1:1")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_kills_of_runs_and_of_actors() -> None:
    """In a process of its own: Ray hangs in a fork of one that it has run in."""
    command = [sys.executable, runs_kills.__file__, "4", "--seed", "1", "--ray"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=280)
    assert int(done.stdout.splitlines()[-1].split()[0]) > 1
