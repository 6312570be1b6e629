"""The leaderboard: its pages are those of its numbers, some of which come out again."""

from __future__ import annotations

import importlib.util
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import interpretdl as it
from interpretdl.registry import EVALUATORS, METHODS


@pytest.fixture(scope="module")
def script(root: Path) -> Any:
    spec = importlib.util.spec_from_file_location("leaderboard", root / "docs" / "leaderboard.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def numbers(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "docs/leaderboard.json").read_text("utf-8"))
    return found


def test_the_pages_are_made_from_the_numbers(script: Any, numbers: Any, root: Path) -> None:
    old = "run python docs/leaderboard.py --from-json"
    assert (root / "docs/leaderboard.md").read_text("utf-8") == script.page(numbers), old
    page = (root / "docs/evaluators.md").read_text("utf-8")
    assert script.with_agreement(page, numbers) == page, old


def test_the_chart_has_a_panel_for_each_suite(script: Any, numbers: Any, root: Path) -> None:
    with Image.open(io.BytesIO(script.chart(numbers))) as image:
        assert image.width > 900
    assert (root / "docs/images/leaderboard.png").stat().st_size > 20_000


def test_every_method_and_evaluator_is_in_it(numbers: Any) -> None:
    methods = {name for name, info in METHODS.all().items() if "pictures" in info.inputs}
    assert methods | set(numbers["controls"]) == set(numbers["seconds"])
    judged = {n for n, info in EVALUATORS.all().items() if not info.needs & {"masks", "boxes"}}
    assert judged == {row["evaluator"] for row in numbers["agreement"]["rows"]}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("integrated_gradients", "planted/keys"),
        ("grad_cam", "planted/moved"),
        ("gradient", "planted/ripples"),
        ("lrp", "parts/hybrids"),
        ("random", "shortcut/watermark"),
    ],
)
def test_a_part_of_it_comes_out_again(name: str, problem: str, numbers: Any) -> None:
    """With fewer pictures, whose own interval then meets the one that is kept."""
    methods = [] if name in numbers["controls"] else [name]
    table = it.truth.run(methods or ["gradient"], problem, pictures=8)
    low, high = table.interval(name, problem)
    kept = numbers["problems"][problem][name]
    slack = 0.02
    assert low - slack <= kept[2]
    assert high + slack >= kept[1]


def test_random_numbers_are_below_most_methods(numbers: Any) -> None:
    for suite in ("planted", "trained", "parts", "shortcut"):
        grades = {
            name: row[0] for name, row in numbers["suites"][suite].items() if row[0] is not None
        }
        assert grades["random"] < np.median([*grades.values()])
        assert all(math.isfinite(grade) for grade in grades.values())
