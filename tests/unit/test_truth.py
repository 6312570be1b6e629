"""run() and its table: known maps get known numbers, broken methods come last."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray

import interpretdl as it
from interpretdl.registry import METHODS
from interpretdl.truth import (
    MEASURES,
    QUICK,
    SLOW,
    SUITES,
    Problem,
    TruthTable,
    closed_form,
    planted,
    run,
)

Array = NDArray[Any]
PICTURES = 8


@pytest.fixture(scope="module")
def problems() -> tuple[Problem, ...]:
    return planted.planted(PICTURES)


def named(problems: tuple[Problem, ...], *names: str) -> list[Problem]:
    return [problem for problem in problems if problem.name in names]


def near(mask: Array, pixels: float = 2) -> NDArray[np.bool_]:
    """Where a pixel of the mask is no farther than so many pixels, by looking at all pairs."""
    pixel, marked = np.argwhere(np.ones_like(mask)), np.argwhere(mask)
    squares = ((pixel[:, None] - marked) ** 2).sum(axis=2)
    return np.asarray(squares.min(axis=1) <= pixels**2).reshape(mask.shape)


class Oracle:
    """A method that returns the truth, which it looks up by the pictures."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems

    def __call__(self, model: Any, x: Array, labels: Array) -> Array:
        problem = next(p for p in self.problems if p.model is model)
        if problem.others is not None and (labels == problem.others).all():
            return np.asarray(problem.other_masks, np.float32)
        return problem.masks.astype(np.float32)


def test_the_truth_has_full_marks(problems: tuple[Problem, ...]) -> None:
    chosen = named(problems, "keys", "more", "nothing")
    table = run({"oracle": Oracle(chosen)}, chosen)
    for problem in chosen:
        found = table["oracle", f"planted/{problem.name}"]
        assert not found.empty.any()
        for measure, values in found.numbers.items():
            np.testing.assert_array_equal(values, 1, err_msg=f"{problem.name}, {measure}")
    assert set(table["oracle", "planted/keys"].numbers) == {
        "grade", "mass", "rank accuracy", "AUC", "pointing", "class",
    }  # fmt: skip
    assert set(table["oracle", "planted/nothing"].numbers) == {"grade", "silence"}
    assert table.ranks("planted")["oracle"] == 1
    assert table.leaders("planted") == ("oracle",)


def test_numbers_of_the_linear_problem_are_known(problems: tuple[Problem, ...]) -> None:
    """Mass and the parts' correlation of the closed form, by loops over pixels."""
    from scipy.stats import spearmanr
    from sklearn.metrics import roc_auc_score

    (problem,) = named(problems, "linear")
    table = run(["simple_taylor", "integrated_gradients", "deep_lift"], problem)
    exact = closed_form(problem).sum(axis=1)
    noise = it.evaluator.controls.random_map(problem.x)
    assert problem.importance is not None
    for i in range(3):
        positive, around = np.maximum(exact[i], 0), near(problem.masks[i])
        share = positive[around].sum() / positive.sum()
        area = roc_auc_score(problem.masks[i].ravel(), noise[i].ravel())
        assert table["random", "planted/linear"].numbers["AUC"][i] == pytest.approx(area)
        for method in table.methods[:3]:
            numbers = table[method, "planted/linear"].numbers
            assert numbers["mass"][i] == pytest.approx(share, abs=1e-6)
            assert numbers["parts"][i] == pytest.approx(1, abs=1e-6)
    for i in range(3):
        sums = [noise[i][part].sum() for part in problem.parts[i]]  # type: ignore[index]  # it has parts
        expected = spearmanr(sums, problem.importance[i]).statistic
        assert table["random", "planted/linear"].numbers["parts"][i] == pytest.approx(expected)


def test_random_numbers_are_at_chance() -> None:
    for problem in planted.planted(30)[:2]:
        name = problem.name
        table = run([lambda model, x, labels: np.ones((len(x), 64, 64))], problem)
        low, high = table.interval("random", f"planted/{name}", level=0.999)
        chance = np.mean([near(mask).mean() for mask in problem.masks])
        assert low <= chance <= high
        assert table.mean("<lambda>", f"planted/{name}") == pytest.approx(chance)
        low, high = table.interval("random", f"planted/{name}", "AUC", level=0.999)
        assert low <= 0.5 <= high
        assert table.mean("<lambda>", f"planted/{name}", "AUC") == pytest.approx(0.5)
        for control in table.controls:
            if problem.others is not None:
                assert table.mean(control, f"planted/{name}", "class") == 0


# -- broken methods --------------------------------------------------------------------------------


def integrated(model: Any, x: Array, labels: Array | None) -> it.Explanation:
    return it.IntegratedGradientsInterpreter(model).explain(
        x, label=labels, gradient_of="logit", steps=8, baselines=np.zeros((3, 64, 64), np.float32)
    )


def flipped(model: Any, x: Array, labels: Array) -> Array:
    return np.maximum(integrated(model, x, labels).values.sum(axis=1), 0)[..., ::-1]


def class_ignored(model: Any, x: Array, labels: Array) -> it.Explanation:
    return integrated(model, x, None)


def of_another_network(model: Any, x: Array, labels: Array) -> it.Explanation:
    other = copy.deepcopy(model)
    rng = np.random.default_rng(0)
    with paddle.no_grad():
        for parameter in other.parameters():
            parameter.set_value(rng.normal(0, 0.1, parameter.shape).astype(np.float32))
    return it.GradientInterpreter(other).explain(x, label=labels)


SOUND = {
    "integrated gradients": integrated,
    "deep_lift": "deep_lift",
    "gradient": "gradient",
    "grad_cam": "grad_cam",
}
BROKEN = {
    "flipped": flipped,
    "class ignored": class_ignored,
    "another network's": of_another_network,
}


def test_broken_methods_are_ranked_last(problems: tuple[Problem, ...]) -> None:
    chosen = [problem.take(3) for problem in problems]
    table = run({**SOUND, **BROKEN}, chosen)
    order = [name for name in table.ranks("planted") if name not in table.controls]
    assert set(order[-3:]) == set(BROKEN)
    assert not set(table.leaders("planted")) & set(BROKEN)
    for name in BROKEN:  # and not only in the mean of the suite
        assert table.mean(name, "planted", "class") < table.mean("gradient", "planted", "class")
    assert table.mean("flipped", "planted/keys") < 0.05
    assert table.mean("class ignored", "planted/keys", "class") == pytest.approx(0, abs=1e-6)


def test_empty_maps_count_as_the_worst(problems: tuple[Problem, ...]) -> None:
    """Where one key is enough the gradient is zero; it is no map, and it is counted."""
    table = run(["gradient"], named(problems, "or", "keys"))
    found = table["gradient", "planted/or"]
    assert found.empty.all()
    assert table.mean("gradient", "planted/or") == 0
    assert table.mean("gradient", "planted/or", "AUC") == 0.5
    assert table.mean("gradient", "planted") == pytest.approx(0.5)
    assert f"gradient; or ({PICTURES} of {PICTURES}): empty maps" in str(table)


def test_a_method_that_says_nothing_of_anything_is_not_silent_on_purpose(
    problems: tuple[Problem, ...],
) -> None:
    nothing = {"blank": lambda model, x, labels: np.zeros((len(x), 64, 64))}
    table = run(nothing, named(problems, "nothing", "keys"))
    assert table.mean("blank", "planted") == 0


# -- methods of others, and mistakes ---------------------------------------------------------------


def test_functions_of_other_packages(problems: tuple[Problem, ...]) -> None:
    seen: list[tuple[Any, ...]] = []

    def coarse(model: Any, x: Array, labels: Array) -> Array:
        """Signed, at the size of a layer."""
        seen.append((x.dtype, x.shape, labels.dtype))
        x += 1  # of its own
        values = np.full((len(x), 8, 8), -1.0)
        values[:, 0, 0] = 1
        return values

    (problem,) = named(problems, "keys")
    before = problem.x.copy()
    table = run([coarse], problem)
    assert seen == [(np.float32, (PICTURES, 3, 64, 64), np.int64)] * 2  # and of the other class
    np.testing.assert_array_equal(problem.x, before)
    corner = np.zeros((64, 64), bool)
    corner[:12, :12] = True
    free = [not (near(mask) & corner).any() for mask in problem.masks]
    assert any(free)
    assert not table["coarse", "planted/keys"].numbers["mass"][free].any()


def test_what_fails_is_a_row_with_its_reason(problems: tuple[Problem, ...]) -> None:
    def fails(model: Any, x: Array, labels: Array) -> Array:
        raise ZeroDivisionError("by zero")

    def wrong_shape(model: Any, x: Array, labels: Array) -> Array:
        return np.zeros((2, 2))

    table = run([fails, wrong_shape, "cam", "rollout"], named(problems, "keys", "or"))
    text = str(table)
    assert "fails; all problems: ZeroDivisionError: by zero" in text
    assert "wrong_shape; all problems: InputError: a method must return numbers" in text
    assert "cam; or: UnsupportedModelError: CAM needs" in text
    assert "rollout; all problems: UnsupportedModelError" in text
    assert set(table.ranks("planted")) == {"cam", *table.controls}
    assert np.isnan(table.mean("fails", "planted"))
    assert table.mean("cam", "planted") == table.mean("cam", "planted/keys")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["grad_camm"],), "no method 'grad_camm'; did you mean 'grad_cam'"),
        ((["gradient"], "plantd"), "no suite 'plantd'; did you mean 'planted'"),
        ((["gradient"], "planted/kes"), "no problem 'kes' in the suite 'planted'; did you mean"),
        ((["gradient"], []), "no suite is given"),
        ((["gradient"], [3]), "a suite is its name or a Problem; got 3"),
        (([("gradient", {"step": 3})],), "gradient has no option 'step'"),
        ((["gradient", "gradient"],), "two methods are named 'gradient'"),
        (({"random": "gradient"},), "'random' is the name of a control"),
        (([3],), "a method is a registered name, an Interpreter class or a function"),
    ],
)
def test_mistakes_are_found_before_the_work(
    arguments: tuple[Any, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = tuple(planted.planted(1)[:1]) if "kes" in str(arguments) else ()
    monkeypatch.setitem(SUITES, "planted", lambda: few)
    with pytest.raises(it.InputError, match=message.replace("(", r"\(")):
        run(*arguments)


def test_an_object_has_a_model_of_its_own(toy: Any) -> None:
    with pytest.raises(it.InputError, match="give the class GradientInterpreter"):
        run([it.GradientInterpreter(toy())])
    with pytest.raises(it.InputError, match="options are given for 'grad_cam', which is not"):
        run(["gradient"], options={"grad_cam": {}})


def test_all_methods_run_with_their_quick_options(problems: tuple[Problem, ...]) -> None:
    """Or refuse the network; no option is wrong, or too few."""
    (problem,) = named(problems, "keys")
    table = run(None, problem, pictures=1)
    there = {n for n, i in METHODS.all().items() if "pictures" in i.inputs}
    assert set(table.methods) - set(table.controls) == there - set(SLOW)
    assert set(SLOW) <= there
    assert set(QUICK) <= there
    for method in table.methods:
        found = table[method, "planted/keys"]
        assert found.numbers or found.reason.startswith("UnsupportedModelError")
        attends = method in METHODS.all() and METHODS.find(method).needs_attention
        assert attends == bool(found.reason)


# -- the table -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(problems: tuple[Problem, ...]) -> TruthTable:
    return run(["gradient", "cam", "grad_cam"], named(problems, "keys", "or", "linear"))


def test_a_suite_is_the_mean_of_its_problems(table: TruthTable) -> None:
    each = [table.mean("grad_cam", key) for key in table.problems]
    assert table.mean("grad_cam", "planted") == pytest.approx(np.mean(each))
    low, high = table.interval("grad_cam", "planted")
    ends = np.array([table.interval("grad_cam", key) for key in table.problems])
    below, above = np.sqrt(((ends - np.array(each)[:, None]) ** 2).sum(axis=0)) / len(each)
    assert (low, high) == pytest.approx((np.mean(each) - below, np.mean(each) + above))
    means = {name: table.mean(name, "planted") for name in table.methods}
    ranks = table.ranks("planted")
    assert all(ranks[a] < ranks[b] for a in means for b in means if means[a] > means[b] + 1e-5)
    with pytest.raises(it.InputError, match="no suite or problem 'trained' in the table"):
        table.mean("grad_cam", "trained")
    with pytest.raises(it.InputError, match="no method 'lime' in the table"):
        table.mean("lime", "planted")
    with pytest.raises(it.InputError, match="no measure 'accuracy'"):
        table.mean("grad_cam", "planted", "accuracy")


def test_text_csv_json_and_figures(table: TruthTable, tmp_path: Path) -> None:
    lines = str(table).splitlines()
    heads = ["method", "rank", "grade", "95", "%", "interval", "keys", "or", "linear"]
    assert lines[1].split() == heads
    first = next(iter(table.ranks("planted")))
    assert lines[2].startswith(f"{first}*") or lines[2].startswith(first)
    assert table.save(tmp_path / "made") == tuple(tmp_path / "made" / name for name in table.FILES)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "made/truth.csv").read_text())))
    for row in rows:
        key = f"{row['suite']}/{row['problem']}"
        if row["reason"]:
            assert row["method"] == "cam"
            continue
        mean = table.mean(row["method"], key, row["measure"])
        assert float(row["mean"]) == mean
        assert float(row["low"]) <= mean + 1e-9
        assert mean <= float(row["high"]) + 1e-9
    assert {row["measure"] for row in rows} <= set(MEASURES)
    content = json.loads((tmp_path / "made/truth.json").read_text())
    assert content["methods"] == list(table.methods)
    assert content["suites"]["planted"]["ranks"] == table.ranks("planted")
    for name in ("truth.png", "maps.png"):
        assert (tmp_path / "made" / name).stat().st_size > 5000
    figure = table.plot_maps(["grad_cam"], ["planted/keys"])
    assert len(figure.axes) == 3
    with pytest.raises(it.InputError, match="no 'grad_cm' in the table; did you mean 'grad_cam'"):
        table.plot_maps(["grad_cm"])
    assert repr(table) == "<TruthTable of 6 methods on planted>"


def test_a_run_is_the_same_every_time(problems: tuple[Problem, ...]) -> None:
    chosen = named(problems, "keys")[0].take(2)
    few = {"rise": {"evaluations": 20}}
    one, two = (run(["rise", "smooth_grad"], chosen, options=few) for _ in range(2))
    for cell, found in one.findings.items():
        for measure, values in found.numbers.items():
            np.testing.assert_array_equal(values, two[cell].numbers[measure])


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(it.ResourceError, match="cannot make the folder"):
        run(["gradient"], out=tmp_path / "there" / "is" / "none")


def test_the_page_runs(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (root / "docs" / "truth.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(block, {})  # noqa: S102  # the page's own lines
    shown = capsys.readouterr().out
    assert "of_another_package" in shown
    assert "rank correlation of each evaluator with the truth" in shown
    assert (tmp_path / "maps.png").exists()
    for problem in planted.planted(1):
        assert f"| `{problem.name}` |" in page
