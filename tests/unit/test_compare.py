"""Comparisons drawn and written; the table of evaluators, and evaluators of one's own."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

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
    assert rows[0][:3] == ["method", "deletion (lower is better)", "sparseness (higher is better)"]
    assert [row[0] for row in rows[1:]] == list(named)
    assert [[float(cell) for cell in row[1:3]] for row in rows[1:]] == table.table().tolist()
    table.to_html(tmp_path / "table.html")
    page = (tmp_path / "table.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;gradient&lt;/b&gt;" in page
    assert "<b>gradient</b>" not in page
    assert page.count("data:image/png;base64,") == 1  # sparseness has no curves
    assert all(where.startswith("data:image/") for where in re.findall(r'src="([^"]*)"', page))
    assert not re.search("<link|@import|<script src", page)
    papers = {info.url for name, info in ev.evaluators().items() if name in table.metrics}
    assert set(re.findall(r'href="([^"]*)"', page)) == papers  # links, which only a reader follows
    assert "lower is better" in page
    assert "&lt;b&gt;" in table._repr_html_()
    assert "±" in table._repr_html_()
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
    assert (tmp_path / "t.csv").read_text().splitlines()[1] == "empty,,0,,,,0,2"
    assert "zero everywhere" in table.html()
    assert "–" in str(table)
    table.plot()


# -- the report ------------------------------------------------------------------------------------


def pictures_in(page: str, alt: str) -> list[Any]:
    """The pixels of the pictures with that description."""
    files = re.findall(rf'alt="{alt}"[^>]*src="data:image/jpeg;base64,([^"]*)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(file)))) for file in files]


def test_the_report_shows_the_maps_of_the_first_pictures(toy: Toy) -> None:
    """Over the picture, and where the method says."""

    class Corner(GradientInterpreter):
        def attribute(self, x: Any, target: Any) -> Any:
            values = np.zeros_like(x)
            values[..., : x.shape[2] // 2, : x.shape[3] // 2] = 1
            return values

    pixels = np.full((10, 40, 60, 3), 120, np.uint8)
    pixels[3] = 200
    method = Corner(toy(), class_names=("ant", "bee", "cat", "dog", "elk"))
    table = ev.compare({"corner": method}, pixels, ["sparseness"], label="cat")
    page = table.html()
    assert "The first 8 of 10 pictures" in page
    assert len(table.pictures) == len(table.maps["corner"].maps) == 8
    assert [picture.mean() > 190 for picture in map(np.asarray, map(opened, table.pictures))] == [
        i == 3 for i in range(8)
    ]
    (shown,) = pictures_in(page, "corner of input 5")
    assert shown.shape == (40, 60, 3)
    red_less_blue = shown[..., 0].astype(int) - shown[..., 2]
    assert red_less_blue[4:16, 4:26].min() > 30
    assert red_less_blue[24:].max() < 0
    assert page.count("cat  0.") == 8 * 3  # below a picture, in its caption and in its map's
    assert re.search(r'data-note="cat  0\.\d+ · sparseness 0\.\d+"', page)


def opened(file: bytes) -> Any:
    return Image.open(io.BytesIO(file))


def test_large_pictures_are_kept_small(toy: Toy) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 300, 600, 3)).astype(np.uint8)
    options = {"resize_to": 300, "crop_to": None}
    table = ev.compare([GradientInterpreter(toy())], pixels, ["sparseness"], **options)
    assert (
        opened(table.pictures[0]).size == opened(table.maps["gradient"].maps[0]).size == (256, 128)
    )


def test_the_report_says_what_was_measured_with_what(
    toy: Toy, x: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    model = toy()
    table = ev.compare({"gradient": GradientInterpreter(model)}, x, ["deletion", "sparseness"])
    count = sum(parameter.size for parameter in model.parameters())
    assert table.facts["model"].startswith(f"{type(model).__name__}, {int(count):,} parameters")
    assert table.facts["pictures"] == "2, 10 × 12 pixels as the model takes them"
    assert table.facts["date"] == "1970-01-02 00:00 UTC"
    assert table.facts["NumPy"] == np.__version__
    page = html.unescape(table.html())
    assert not [fact for fact in table.facts.values() if fact not in page]
    for name in table.metrics:
        info = ev.find_evaluator(name)
        assert info.summary in page
        assert info.url in page
    for method, spread, quartiles in zip(
        table.methods, table.spread(), table.quartiles(), strict=True
    ):
        assert method in page
        for value in (*spread, *quartiles.ravel()):
            assert f">{value:.4g}<" in page


def test_one_picture_has_no_spread(toy: Toy, x: Any) -> None:
    table = ev.compare([GradientInterpreter(toy())], x[:1], ["sparseness"])
    assert "±" not in table._repr_html_()
    assert "Means over 1 picture," in table.html()


def test_a_table_made_by_hand_has_a_report() -> None:
    """Without pictures, facts or a registered metric."""
    cell = ev.Evaluation("mine", np.array([1.0, np.nan, 3.0]), True)
    page = ev.Comparison(methods=("a",), metrics=("mine",), cells={("a", "mine"): cell}).html()
    assert "mine: higher is better" in page
    assert "<h2>Maps</h2>" not in page
    assert "href" not in page


def test_many_methods_are_told_apart(toy: Toy, x: Any) -> None:
    cell = ev.Evaluation("deletion", np.ones(2), False, curves={"deletion": np.ones((2, 3))},
                         axis=np.arange(3.0))  # fmt: skip
    names = tuple(f"method {i}" for i in range(15))
    table = ev.Comparison(names, ("deletion",), {(name, "deletion"): cell for name in names})
    assert len(set(table.colours())) == 15
    assert "data:image/png" in table.html()


def test_maps_are_in_the_file_of_finished_cells(toy: Toy, x: Any, tmp_path: Path) -> None:
    file, method = tmp_path / "table.json", {"m": GradientInterpreter(toy())}
    first = ev.compare(method, x, ["sparseness"], file=file)
    again = ev.compare(method, x, ["sparseness"], file=file)
    assert again.maps == first.maps
    assert again.pictures == first.pictures
    content = json.loads(file.read_text())
    maps = content.pop("maps")
    file.write_text(json.dumps(content))  # as files of before are
    before = ev.compare(method, x, ["sparseness"], file=file)
    assert before.maps == {}
    assert "no map" in before.html()
    assert before.table().tolist() == first.table().tolist()
    for wrong in (
        [],
        {"m": {}},
        {"m": {**maps["m"], "maps": ["%"]}},
        {"m": {**maps["m"], "maps": 1}},
    ):
        file.write_text(json.dumps({**content, "maps": wrong}))
        with pytest.raises(InputError, match="not a file written by compare"):
            ev.compare(method, x, ["sparseness"], file=file)


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
