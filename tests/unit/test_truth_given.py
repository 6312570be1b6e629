"""What run() is given: methods that change things, problems that do not fit, maps of all kinds."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray

import interpretdl as it
from interpretdl.truth import SUITES, Finding, Problem, TruthTable, planted, run

Array = NDArray[Any]
N = 3


@pytest.fixture(scope="module")
def problems() -> dict[str, Problem]:
    return {problem.name: problem for problem in planted.planted(N)}


@pytest.fixture
def keys(problems: dict[str, Problem]) -> Problem:
    return problems["keys"]


def sizes(model: Any, x: Array, labels: Array) -> Array:
    """A method of another package: |gradient|, [N, H, W]."""
    found = it.Probe(model).gradients(x, it.ClassScore(labels, "logit")).input
    return np.asarray(np.abs(found).sum(axis=1))


def numbers(values: Array, problem: Problem) -> dict[str, Array]:
    """Of a method that returns the values, whatever the class."""
    table = run({"given": lambda model, x, labels: values}, problem)
    found = table["given", f"{problem.suite}/{problem.name}"]
    assert not found.reason
    return found.numbers


# -- methods that change what they are given -------------------------------------------------------


def zeroed(model: Any, x: Array, labels: Array) -> Array:
    found = sizes(model, x, labels)
    for parameter in model.parameters():
        parameter.set_value(0 * parameter.numpy())
    return found


def in_training_mode(model: Any, x: Array, labels: Array) -> Array:
    model.train()
    raise ZeroDivisionError


def test_a_method_that_changes_the_model_has_no_numbers_and_others_have_theirs(
    keys: Problem,
) -> None:
    alone = run([sizes], keys)["sizes", "planted/keys"].numbers
    table = run([zeroed, in_training_mode, sizes], keys)
    for measure, values in table["sizes", "planted/keys"].numbers.items():
        np.testing.assert_array_equal(values, alone[measure])
    assert "zeroed, in_training_mode; keys: the method changed the model" in str(table)
    assert not keys.model.training


def test_layers_that_are_exchanged_end_the_run(keys: Problem) -> None:
    def exchanged(model: Any, x: Array, labels: Array) -> Array:
        model.add_sublayer("more", paddle.nn.ReLU())
        return sizes(model, x, labels)

    try:
        with pytest.raises(it.InputError, match="cannot be undone; let it work on a copy"):
            run([exchanged], keys)
    finally:
        del keys.model.more


def test_a_method_that_changes_its_pictures_has_its_own(
    keys: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, sound = keys.x.copy(), it.GradientInterpreter.attribute

    def attribute(self: Any, x: Array, target: Any, **options: Any) -> Any:
        found = sound(self, x, target, **options)
        x[:] = 0
        return found

    monkeypatch.setattr(it.GradientInterpreter, "attribute", attribute)
    run(["gradient"], keys)
    it.truth.judge("sparseness", "gradient", keys)
    np.testing.assert_array_equal(keys.x, before)


# -- problems of one's own -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (lambda p: {"labels": p.labels.astype(float)}, "labels must be whole numbers; got float64"),
        (lambda p: {"masks": p.masks.astype(float)}, "masks must be true or false; got float64"),
        (
            lambda p: {"parts": p.masks[:, None], "importance": np.full((N, 1), np.nan)},
            "importance must be finite numbers; got NaN",
        ),
        (lambda p: {"x": p.x * np.nan}, "and only finite numbers"),
        (lambda p: {"x": p.x[:0]}, "at least one picture"),
        (lambda p: {"masks": p.masks * np.arange(N)[:, None, None]}, "empty in 1 of 3 pictures"),
        (lambda p: {"masks": ~p.masks | True}, "the mask of picture 0, with 2 pixels around it"),
        (
            lambda p: {"masks": p.masks & False, "others": None, "other_masks": None},
            "masks are empty; give others",
        ),
        (lambda p: {"name": "two\nlines"}, "a problem's name must be a text without line breaks"),
        (lambda p: {"model": None}, "model must be a paddle.nn.Layer; got None"),
    ],
)
def test_a_problem_that_does_not_fit(changes: Any, message: str, keys: Problem) -> None:
    with pytest.raises(it.InputError, match=message):
        replace(keys, **changes(keys))


def test_masks_of_numbers_and_labels_in_a_list(keys: Problem) -> None:
    given = replace(keys, masks=255 * keys.masks.astype(np.uint8), labels=list(keys.labels))
    np.testing.assert_array_equal(given.masks, keys.masks)
    assert given.labels.dtype == np.int64
    assert given.take(np.int64(2)).labels.tolist() == list(keys.labels[:2])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((5,), {}, "a method is a registered name, an Interpreter class or a function"),
        (({1: sizes},), {}, "a method's name must be a text"),
        (({"a\nb": sizes},), {}, "a method's name must be a text without line breaks"),
        ((sizes, 7), {}, "a suite is its name or a Problem; got 7"),
        ((sizes, "planted"), {"pictures": "3"}, "pictures must be a whole number"),
        ((sizes, "planted"), {"pictures": 1.5}, "pictures must be a whole number"),
        ((sizes, "planted"), {"pictures": True}, "pictures must be a whole number"),
        (("lrp",), {"options": {"lrp": None}}, "options must be {method: {option: value}}"),
        (("lrp",), {"options": {"lrp": {"composit": 1}}}, "'composit'; did you mean 'composite'.$"),
    ],
)
def test_arguments_of_other_types(
    arguments: tuple[Any, ...], options: Any, message: str, keys: Problem,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(SUITES, "planted", lambda: (keys,))
    with pytest.raises(it.InputError, match=message):
        run(*arguments, **options)


def test_two_problems_of_one_name(keys: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUITES, "planted", lambda: (keys,))
    assert list(run([sizes], [keys, "planted/keys", keys]).problems) == ["planted/keys"]
    for other in ([keys, keys.take(2)], ["planted", keys.take(2)]):
        with pytest.raises(it.InputError, match="two problems are named 'planted/keys'"):
            run([sizes], other)


# -- measures --------------------------------------------------------------------------------------


def test_sign_is_the_share_that_speaks_for_the_class(problems: dict[str, Problem]) -> None:
    keys = problems["keys"]
    rows = np.zeros((64, 64), bool)
    rows[::2] = True
    for_it = np.where(rows, 3.0, -1.0) * keys.masks - 5.0 * ~keys.near  # 3 to 1 in an even square
    np.testing.assert_allclose(numbers(for_it, keys)["sign"], 0.75)
    np.testing.assert_allclose(numbers(-for_it, keys)["sign"], 0.25)
    np.testing.assert_array_equal(numbers(-1.0 * ~keys.near, keys)["sign"], 0)
    assert "sign" not in numbers(np.abs(for_it), keys)
    for name in ("linear", "nothing"):  # its pixels have both signs; there is no truth
        assert "sign" not in numbers(for_it, problems[name])


def test_pointing_and_auc_of_single_pixels(keys: Problem) -> None:
    """An L has a box whose corner is far from it."""
    mask = np.zeros((N, 64, 64), bool)
    mask[:, 10:40, 10:12] = mask[:, 38:40, 10:40] = True
    problem = replace(keys, masks=mask, others=None, other_masks=None)
    for pixels, expected in (
        ([(20, 30)], 0), ([(20, 13)], 1), ([(20, 14)], 0), ([(20, 11), (5, 60)], 0.5),
    ):  # fmt: skip
        one = np.zeros((N, 64, 64))
        for pixel in pixels:
            one[(slice(None), *pixel)] = 1
        np.testing.assert_allclose(numbers(one, problem)["pointing"], expected)
        found = numbers(one - 2, problem)  # against the class everywhere: as an empty map
        assert set(found["pointing"]) == {0}
        assert set(found["AUC"]) == {0.5}


def test_maps_that_are_not_finite_are_not_called_empty(keys: Problem) -> None:
    values = np.stack([keys.masks[0] * np.nan, keys.masks[1] * 1e300, keys.masks[2] * 0.0])
    table = run({"odd": lambda model, x, labels: values}, keys)
    text = str(table)
    assert "odd; keys (1 of 3): empty maps" in text
    assert "odd; keys (2 of 3): maps that are not finite" in text
    assert "3 pictures of each problem" in text
    one = run([sizes], keys, pictures=1)
    assert "1 picture of each problem" in str(one)
    for row in csv.DictReader(io.StringIO(one.csv())):
        assert (row["low"], row["high"], row["not finite"]) == ("", "", "0")


# -- the table -------------------------------------------------------------------------------------


def test_leaders_are_told_by_the_grade(keys: Problem) -> None:
    """Each problem has the same weight, and differences are paired in each."""
    rng = np.random.default_rng(0)
    means = {"a": (0.9, 0.5), "b": (0.4, 0.9)}
    for counts in ((30, 30), (30, 8)):
        parts = {f"s/{k}": replace(keys, name=str(k), suite="s") for k in range(2)}
        findings = {
            (name, key): Finding(n, {"grade": mean + 0.001 * rng.standard_normal(n)})
            for name, pair in means.items()
            for (key, mean, n) in zip(parts, pair, counts, strict=True)
        }
        table = TruthTable(("a", "b"), (), parts, findings)
        assert table.leaders("s") == ("a",)


@pytest.mark.parametrize("name", ["trained", "parts", "shortcut"])
def test_who_ignores_the_class_is_behind(name: str) -> None:
    def class_ignored(model: Any, x: Array, labels: Array) -> Any:
        named = it.Probe(model).logits(x).argmax(axis=1)
        blank = np.zeros(x.shape[1:], np.float32)
        return it.IntegratedGradientsInterpreter(model).explain(
            x, label=named, gradient_of="logit", steps=10, baselines=blank
        )

    table = run(["integrated_gradients", class_ignored], name, pictures=4)
    right, wrong = (table.mean(method, name) for method in table.methods[:2])
    assert wrong < right - 0.05
    assert table.mean("class_ignored", name, "class") == pytest.approx(0, abs=1e-6)


def test_files_are_checked_before_the_work(keys: Problem, tmp_path: Path) -> None:
    def never(model: Any, x: Array, labels: Array) -> Array:
        raise AssertionError

    (tmp_path / "maps.png").mkdir()
    with pytest.raises(it.ResourceError, match=r"maps\.png: it is a folder"):
        run([never], keys, out=tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(it.ResourceError, match="file is a file; give a folder"):
        run([never], keys, out=tmp_path / "file")


def test_maps_keep_their_size_under_long_names(keys: Problem) -> None:
    names = ["gradient", " ".join(["verylong"] * 12), "x" * 90]
    table = run(dict.fromkeys(names, sizes), keys)
    figure = table.plot_maps(names)
    figure.draw_without_rendering()
    box = figure.axes[0].get_position()
    assert box.height * figure.get_figheight() > 0.8
    assert max(axes.get_title().count("\n") for axes in figure.axes) == 3
    assert len(table.plot_maps("gradient", "planted/keys").axes) == 3
    ticks = [tick.get_text() for tick in table.plot().axes[0].get_yticklabels()]
    assert max(map(len, ticks)) <= 40
    assert not math.isnan(table.mean("x" * 90, "planted"))
