"""Controls in a comparison, and which rows cannot be told from the best."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpretdl import evaluator as ev
from interpretdl.errors import InputError
from interpretdl.evaluator.bootstrap import interval
from interpretdl.evaluator.controls import centre_map, random_map, sobel_map
from interpretdl.interpreter import GradCAMInterpreter, GradientInterpreter

Toy = Callable[..., Any]


@pytest.fixture
def x() -> Any:
    return np.random.default_rng(0).normal(size=(7, 3, 10, 12)).astype(np.float32)


def made(rows: dict[str, Any], higher: bool = True, **more: Any) -> ev.Comparison:
    cells = {(name, "m"): ev.Evaluation("m", np.array(v), higher) for name, v in rows.items()}
    return ev.Comparison(methods=tuple(rows), metrics=("m",), cells=cells, **more)


def test_leaders_are_those_that_a_paired_bootstrap_cannot_tell_apart() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 10, 40)  # how hard a picture is, for every method
    rows = {
        "best": hard,
        "a little worse, always": hard - 0.1 - 0.02 * rng.random(40),
        "another way": hard - 0.1 + rng.normal(0, 2, 40),
        "far": hard - 50,
        "nothing": np.full(40, np.nan),
        "five pictures": np.where(np.arange(40) < 5, hard - 60, np.nan),
    }
    table = made(rows)
    assert table.best("m") == ("best",)
    assert table.leaders("m") == ("best", "another way")
    assert table.untold("m") == ("five pictures",)
    assert "too few pictures to be held against the best: five pictures (m)" in str(table)
    lower = made({name: -values for name, values in rows.items()}, higher=False)
    assert lower.leaders("m") == table.leaders("m")
    np.testing.assert_array_equal(table.counts()[:, 0], [40, 40, 40, 40, 0, 5])
    assert tuple(table.interval()[0, 0]) == interval(hard)
    assert np.isnan(table.interval()[4]).all()


def test_few_pictures_tell_nothing() -> None:
    rows = {"a": np.arange(5.0), "b": np.arange(5.0) - 9}
    table = made(rows)
    assert table.best("m") == ("a",)
    assert table.leaders("m") == ()
    assert "none is marked: it takes 6" in str(table)
    assert "none is marked: it takes 6" in table.html()
    more = made({name: np.append(values, values[-1]) for name, values in rows.items()})
    assert more.leaders("m") == ("a",)
    assert "at 95 %" in str(more)


def test_the_best_has_values_for_enough_pictures() -> None:
    rng = np.random.default_rng(0)
    good, bad = (mean + rng.normal(0, 0.001, 30) for mean in (0.9, 0.1))
    lucky = np.where(np.arange(30) < 1, 0.99, np.nan)
    table = made({"lucky": lucky, "good": good, "bad": bad})
    assert table.best("m") == table.leaders("m") == ("good",)
    assert table.untold("m") == ("lucky",)
    assert made({"lucky": lucky}).leaders("m") == ()
    three = {"all": np.zeros(3), "two": np.array([1, 1, np.nan])}
    assert made(three).best("m") == ("all",)
    # equal means of other pictures
    halves = np.repeat([0.25, 0.75], 15)
    table = made({"a": np.where(halves < 0.5, 0.5, np.nan), "b": halves})
    assert table.best("m") == table.leaders("m") == ("a", "b")


def test_a_control_is_never_the_best_but_may_lead() -> None:
    rows = {"a": np.arange(8.0), "b": np.arange(8.0) - 1, "random": np.arange(8.0) + 1}
    table = made(rows, controls=("random",))
    assert table.best("m") == ("a",)
    assert table.leaders("m") == ("a", "random")
    assert "Controls, maps that know no model: random." in str(table)
    assert "<i>random</i>" in table._repr_html_()
    assert "<i>random</i>" in table.html()
    assert table.colours()[2] == "#555555"


def test_marks_counts_and_flags_are_everywhere(tmp_path: Path) -> None:
    values = np.arange(8.0)
    some = ev.Evaluation("m", np.where(values == 3, np.nan, values), True, flags={3: "why"})
    cells = {("a", "m"): ev.Evaluation("m", values + 9, True), ("b", "m"): some}
    table = ev.Comparison(methods=("a", "b"), metrics=("m",), cells=cells)
    lines = str(table).splitlines()
    assert lines[1].split() == ["a", "12.5*", "±", "2.4"]
    assert lines[2].split() == ["b", "3.571", "±", "2.6", "(n", "=", "7)"]
    assert lines[3:] == [f"n = 8; ± standard deviation; {table.told()}.",
                         "1 value is missing; n is how many are there."]  # fmt: skip
    table.to_csv(tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["m: in the lead"] for row in found] == ["1", "0"]
    assert [row["m: n"] for row in found] == ["8", "7"]
    assert [row["m: flagged"] for row in found] == ["0", "1"]
    for row, spread, (low, high) in zip(
        found, table.spread()[:, 0], table.interval()[:, 0], strict=True
    ):
        assert [float(row[f"m: {name}"]) for name in ("sd", "low", "high")] == [spread, low, high]
    page = table.html()
    assert '<span class="best">12.5</span>' in page
    assert "n = 7" in page
    assert "of 8" in page
    (axes,) = table.plot().axes
    assert "n = 7 to 8" in axes.get_title()
    names = axes.get_yticklabels()
    assert [name.get_text() for name in names] == ["a", "b (n = 7)"]
    assert [name.get_fontweight() for name in names] == ["bold", "normal"]
    shown = table._repr_html_()
    assert "<b>12.5</b>" in shown
    assert "(n = 7)" in shown


def test_the_controls_rows_are_their_maps(toy: Toy, x: Any, tmp_path: Path) -> None:
    """With metrics that know a model, and with those that explain again."""
    model = toy()
    metrics = {
        "deletion": ev.Deletion(steps=4),
        "sensitivity": ev.SensitivityMax(n_samples=2),
        "randomization": ev.ModelRandomization(),
        "logit": ev.RandomLogit(),
    }
    file = tmp_path / "t.json"
    first = ev.compare([GradientInterpreter(model)], x, metrics, file=file)
    assert first.controls == ()
    table = ev.compare([GradientInterpreter(model)], x, metrics, file=file, controls=True)
    assert table.methods == ("gradient", "random", "centre", "sobel")
    assert table.controls == ("random", "centre", "sobel")
    labels = GradientInterpreter(model).explain(x).labels
    for name, draw in (("random", random_map), ("centre", centre_map), ("sobel", sobel_map)):
        alone = ev.Deletion(model, steps=4).measure(x, draw(x), labels)
        np.testing.assert_allclose(table[name, "deletion"].values, alone.values, rtol=1e-6)
        # neither weights nor classes matter to them
        np.testing.assert_allclose(table[name, "randomization"].values, 1)
        np.testing.assert_allclose(table[name, "logit"].values, 1)
    assert not table["centre", "sensitivity"].values.any()
    assert (table["random", "sensitivity"].values > 0.3).all()
    assert set(table.settings["methods"]) == set(table.methods)
    assert "random" in table.html()


def test_controls_are_only_for_pictures_and_need_their_names(toy: Toy, x: Any) -> None:
    with pytest.raises(InputError, match="name of a control"):
        ev.compare({"sobel": GradCAMInterpreter(toy())}, x, ["sparseness"], controls=True)
    method = GradientInterpreter(toy(), preprocessing=None)
    with pytest.raises(InputError, match="for pictures"):
        ev.compare([method], x[:, 0, 0], ["sparseness"], controls=True)
