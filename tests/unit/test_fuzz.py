"""Ten seconds of the fuzz program with a fixed seed, and all that it has found before."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import strategies as st

from tests.fuzz.__main__ import corpus, replay, search
from tests.fuzz.rooms import ROOMS, Room


@pytest.mark.parametrize("path", corpus(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_was_found_does_not_come_back(path: Path) -> None:
    replay(path)


@pytest.mark.parametrize("name", ROOMS)
def test_hostile_values(name: str) -> None:
    """A second for each; `make fuzz SECONDS=600` takes its time."""
    found = search(ROOMS[name], EXAMPLES.get(name, 100), seed=0)
    assert found is None, found


# What fits into a second.
EXAMPLES = {
    **{"options": 40, "explanations": 60, "command_line": 30, "exported": 30},
    "rows_of_runs": 15,
}


def test_the_program_finds_what_is_planted() -> None:
    def fragile(number: int) -> None:
        if number > 10:
            raise KeyError(number)

    found = search(Room(st.integers(), fragile), 200, seed=0)
    assert found is not None
    value, error = found
    assert value == 11  # the smallest
    assert isinstance(error, KeyError)
    assert search(Room(st.integers(0, 10), fragile), 50, seed=0) is None
