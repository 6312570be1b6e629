"""Processes that tests start end: in time, and before the test does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
FILES = sorted({*TESTS.rglob("test_*.py"), *TESTS.rglob("conftest.py")})


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    """Calls of functions or methods with these names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = (
                node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
            )
            if name in names:
                yield node


def endless(source: str) -> list[int]:
    """Lines that start a process which may outlive the test."""
    tree = ast.parse(source)
    found = [
        call.lineno
        for call in calls(tree, "run", "call", "check_call", "check_output")
        if ast.unparse(call.func).startswith("subprocess.")
        and "timeout" not in {keyword.arg for keyword in call.keywords}
    ]
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            ends = [
                node
                for tried in ast.walk(function)
                if isinstance(tried, ast.Try)
                for last in tried.finalbody
                for node in calls(last, "wait", "communicate")
            ]
            found += [call.lineno for call in calls(function, "Popen") if not ends]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_each_process_has_a_timeout_or_is_reaped(path: Path) -> None:
    assert endless(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("subprocess.run(a)", [1]),
        ("subprocess.run(a, timeout=3)", []),
        ("def f():\n    p = subprocess.Popen(a)\n    p.wait()", [2]),
        ("def f():\n    p = Popen(a)\n    try: pass\n    finally: p.kill()", [2]),
        ("def f():\n    p = Popen(a)\n    try: pass\n    finally:\n        p.wait()", []),
    ],
)
def test_what_is_found(source: str, lines: list[int]) -> None:
    assert endless(source) == lines
