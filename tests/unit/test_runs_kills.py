"""Some kills of runs; `python tests/unit/runs_kills.py 20` makes more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.unit.runs_kills import kills

pytest.importorskip("pyarrow")

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    assert kills(tmp_path, 3, seed=2) > 0
