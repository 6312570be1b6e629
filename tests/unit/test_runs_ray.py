"""A run on a Ray cluster of this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import interpretdl as it
from tests.small_runs import contents, run, write_pictures
from tests.unit.runs_kills import kills

pytest.importorskip("pyarrow")
pytest.importorskip("ray")

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


def test_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 1)
    with pytest.raises(it.ResourceError, match="cannot reach Ray at"):
        run(folder, tmp_path / "run", model=NAMED, workers=1, ray="127.0.0.1:1")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_kills_of_runs_and_of_actors(tmp_path: Path) -> None:
    """`python tests/unit/runs_kills.py 20 --ray` makes more."""
    assert kills(tmp_path, 4, seed=1, ray=True) > 1
