"""The files on the contributors' page work as they stand there."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

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
def test_the_file_works(
    name: str, registries: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module(name.removesuffix(".py"))
    monkeypatch.delitem(sys.modules, module.__name__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    tests = [value for key, value in vars(module).items() if key.startswith("test_")]
    assert tests
    for test in tests:
        test()


def test_there_are_four() -> None:
    assert list(FILES) == ["a_method.py", "a_rule.py", "an_evaluator.py", "a_target.py"]
