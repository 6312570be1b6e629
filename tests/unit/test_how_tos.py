"""The files on the contributors' page work as they stand there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interpretdl.registry import EVALUATORS, METHODS

PAGE = (Path(__file__).resolve().parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture
def registries() -> Iterator[None]:
    """Afterwards without what a file has registered."""
    before = {registry: set(registry.all()) for registry in (METHODS, EVALUATORS)}
    yield
    for registry, names in before.items():
        for name in set(registry.all()) - names:
            registry.remove(name)


@pytest.mark.parametrize("name", FILES)
def test_the_file_works(name: str, registries: None) -> None:
    space: dict[str, Any] = {"__name__": name.removesuffix(".py")}
    exec(compile(FILES[name], name, "exec"), space)  # noqa: S102  # the page's own code
    tests = [value for key, value in space.items() if key.startswith("test_")]
    assert tests
    for test in tests:
        test()


def test_there_are_four() -> None:
    assert list(FILES) == ["a_method.py", "a_rule.py", "an_evaluator.py", "a_target.py"]
