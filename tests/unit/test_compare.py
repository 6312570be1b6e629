"""Comparisons drawn and written; the table of evaluators, and evaluators of one's own."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpretdl import evaluator as ev
from interpretdl.errors import InputError, InterpretWarning, ResourceError
from interpretdl.evaluator.base import Evaluator
from interpretdl.evaluator.case import Case
from interpretdl.interpreter import GradientInterpreter, Interpreter
from interpretdl.registry import EVALUATORS
from interpretdl.testing import check_evaluator

Toy = Callable[..., Any]


@pytest.fixture
def x() -> Any:
    return np.random.default_rng(0).normal(size=(2, 3, 10, 12)).astype(np.float32)


def test_files(toy: Toy, x: Any, tmp_path: Path) -> None:
    named = {"<b>gradient</b>": GradientInterpreter(toy()), "a, b": GradientInterpreter(toy())}
    values = np.zeros_like(x[:1])
    table = ev.compare(named, np.concatenate([x, values]), ["deletion", "sparseness"])
    table.to_csv(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["method", "deletion (lower is better)", "sparseness (higher is better)"]
    assert [row[0] for row in rows[1:]] == list(named)
    assert [[float(cell) for cell in row[1:]] for row in rows[1:]] == table.table().tolist()
    table.to_html(tmp_path / "table.html")
    page = (tmp_path / "table.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;gradient&lt;/b&gt;" in page
    assert "<b>gradient</b>" not in page
    assert page.count("data:image/png;base64,") == 1
    for outside in ("http://", "https://", 'src="/', "<script", "<link"):
        assert outside not in page
    assert "lower is better" in page
    assert "&lt;b&gt;" in table._repr_html_()
    for name in ("table.txt", "missing/table.csv"):
        with pytest.raises(ResourceError):
            table.to_csv(tmp_path / name)
    with pytest.raises(ResourceError):
        table.to_html(tmp_path / "table.csv")


def test_a_map_without_a_value_is_listed(toy: Toy, x: Any, tmp_path: Path) -> None:
    class Empty(GradientInterpreter):
        def attribute(self, x: Any, target: Any) -> Any:
            return np.zeros_like(x)

    with pytest.warns(InterpretWarning, match="zero everywhere"):
        table = ev.compare({"empty": Empty(toy())}, x, ["deletion"])
    assert np.isnan(table.table()).all()
    assert table.best("deletion") == ()
    assert table.flags()[0] == ("empty", "deletion", "input 0", "the map is empty: zero everywhere")
    table.to_csv(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines()[1] == "empty,"
    assert "zero everywhere" in table.html()
    assert "–" in str(table)
    table.plot()


# -- evaluators and evaluations --------------------------------------------------------------------


def test_the_table_of_evaluators() -> None:
    table = ev.evaluators()
    assert list(table) == sorted(table)
    for name, info in table.items():
        assert info.name == name == info.cls.name
        assert info.higher_is_better is info.cls.higher_is_better
        assert info.summary.endswith(".")
        assert len(info.summary) <= 100
        assert info.paper
        assert info.url.startswith("https://")
        if info.random:
            assert "seed" in info.options
        made = info.cls()
        assert set(info.options) <= set(made.settings())
        assert repr(made).startswith(info.cls.__name__ + "(")
    with pytest.raises(InputError, match="registered already"):
        ev.register_evaluator("deletion", higher_is_better=True, paper="")(ev.Sparseness)


def test_results_can_be_drawn_and_written(toy: Toy, x: Any) -> None:
    model = toy()
    method = GradientInterpreter(model)
    maps = method.explain(x)
    for evaluator in (
        ev.DeletionInsertion(model), ev.Sparseness(), ev.ModelRandomization(), ev.Continuity(),
    ):  # fmt: skip
        found = evaluator.measure(x, maps, interpreter=method)
        assert found._repr_png_().startswith(b"\x89PNG")
        assert found.name in repr(found)
        back = ev.Evaluation.from_json(json.loads(json.dumps(found.as_json(), allow_nan=False)))
        assert np.array_equal(back.values, found.values, equal_nan=True)
        assert (back.flags, back.ticks) == (found.flags, found.ticks)
        for name, curve in found.curves.items():
            assert np.array_equal(back.curves[name], curve, equal_nan=True)
            assert curve.shape == (2, len(found.axis))


def test_an_evaluator_of_ones_own(toy: Toy, x: Any) -> None:
    class Largest(Evaluator):
        """The largest value."""

        def evaluate_case(self, case: Case) -> Any:
            return self.result(case.heat.max(axis=(1, 2)))

    ev.register_evaluator("largest", higher_is_better=True, paper="none", needs=())(Largest)
    try:
        method: Interpreter = GradientInterpreter(toy())
        found = ev.compare([method], x, ["largest"])
        heat = method.explain(x).heatmap()
        assert found["gradient", "largest"].values == pytest.approx(heat.max(axis=(1, 2)))
    finally:
        EVALUATORS.remove("largest")


def test_the_page_lists_every_evaluator_and_its_example_runs(root: Path, toy: Toy, x: Any) -> None:
    page = (root / "docs" / "evaluators.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.split("|")] for line in page.splitlines() if "| `" in line
    ]
    listed = {row[1].strip("`"): row for row in rows if row[1].strip("`") in ev.evaluators()}
    assert list(listed) != []
    assert set(listed) == set(ev.evaluators())
    for name, info in ev.evaluators().items():
        better = "higher" if info.higher_is_better else "lower"
        needs = {need for need in info.needs if need in ("interpreter", "boxes", "masks")}
        assert listed[name][2:4] == [info.cls.__name__, better]
        assert set(listed[name][4].split()) == needs
    code = page.split("```python\n")[-1].split("```")[0]
    names: dict[str, Any] = {"__name__": __name__}
    try:
        exec(code, names)  # noqa: S102  # the page's own lines
        found = ev.compare([GradientInterpreter(toy())], x, ["peak_share"])
        assert ((found.table() > 0) & (found.table() < 1)).all()
        check_evaluator("peak_share")
    finally:
        EVALUATORS.remove("peak_share")
