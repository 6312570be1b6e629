"""Tests against Paddle's suites. Where a suite is not installed its file is not read."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.suites.environments import SUITES

collect_ignore = [f"test_{name}.py" for name, s in SUITES.items() if find_spec(s.module) is None]
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each test here has the marker `suites`, and only interpretdl's warnings are errors."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker("suites")
            item.add_marker(
                pytest.mark.filterwarnings("ignore", "error::interpretdl.errors.InterpretWarning")
            )
