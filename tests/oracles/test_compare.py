"""compare() is what its evaluators give alone; a file mixes nothing; what evaluators refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpretdl import evaluator as ev
from interpretdl.errors import InputError, InterpretWarning, ResourceError, UnsupportedModelError
from interpretdl.evaluator.case import Case
from interpretdl.interpreter import GradCAMInterpreter, GradientInterpreter

Toy = Callable[..., Any]


@pytest.fixture
def x() -> Any:
    return np.random.default_rng(0).normal(size=(2, 3, 10, 12)).astype(np.float32)


class Counting(GradientInterpreter):
    """The gradient, and how often it was asked for."""

    calls = 0

    def attribute(self, x: Any, target: Any, *, times_input: bool = False) -> Any:
        Counting.calls += 1
        return super().attribute(x, target, times_input=times_input)


def test_the_table_holds_what_each_evaluator_gives_alone(toy: Toy, x: Any) -> None:
    model = toy()
    methods = {
        "gradient": GradientInterpreter(model),
        "times input": (GradientInterpreter(model), {"times_input": True}),
    }
    table = ev.compare(methods, x, ["deletion", ev.Sparseness()])
    assert table.methods == ("gradient", "times input")
    assert table.metrics == ("deletion", "sparseness")
    alone = GradientInterpreter(model).explain(x, times_input=True)
    expected = ev.Deletion(model).measure(x, alone)
    assert table["times input", "deletion"].values == pytest.approx(expected.values)
    assert table.table()[1, 0] == pytest.approx(expected.mean)
    assert not table.higher_is_better("deletion")
    assert table.higher_is_better("sparseness")
    lowest = int(table.table()[:, 0].argmin())
    assert table.best("deletion") == (table.methods[lowest],)
    assert table.sources == ("input 0", "input 1")
    assert "deletion (lower is better)" in str(table).splitlines()[0]
    assert len(str(table).splitlines()) == 4  # with a line of what the marks mean
    assert repr(table) == "<Comparison of 2 methods by deletion, sparseness>"


def test_the_best_are_the_highest_or_the_lowest() -> None:
    """Of several with one mean all; none where no method has a value."""
    nan = float("nan")
    means = {"up": (1.0, 3.0, nan, 3.0), "down": (1.0, 3.0, nan, 1.0), "none": (nan,) * 4}
    cells = {
        (method, metric): ev.Evaluation(metric, np.array([value, value]), metric == "up")
        for metric, values in means.items()
        for method, value in zip("abcd", values, strict=True)
    }
    table = ev.Comparison(methods=tuple("abcd"), metrics=tuple(means), cells=cells)
    assert [table.best(metric) for metric in means] == [("b", "d"), ("a", "d"), ()]
    np.testing.assert_array_equal(table.table(), np.array(list(means.values())).T)


def test_the_mean_is_of_those_that_have_a_value() -> None:
    some = ev.Evaluation("some", np.array([1.0, np.nan, 4.0, np.inf]), True)
    assert some.mean == 2.5
    assert np.isnan(ev.Evaluation("none", np.array([np.nan]), True).mean)


def test_the_spread_is_of_those_that_have_a_value() -> None:
    some = ev.Evaluation("some", np.array([1.0, np.nan, 4.0, np.inf, 4.0, 7.0, 9.0]), True)
    one, none = (ev.Evaluation("x", np.array([value, np.nan]), True) for value in (2.0, np.nan))
    cells = {("a", name): cell for name, cell in (("some", some), ("one", one), ("none", none))}
    table = ev.Comparison(methods=("a",), metrics=("some", "one", "none"), cells=cells)
    deviations = np.array([-4.0, -1, -1, 2, 4])  # from the mean, 5
    np.testing.assert_allclose(
        table.spread(), [[(np.sum(deviations**2) / 4) ** 0.5, *[np.nan] * 2]]
    )
    nan = [np.nan] * 3
    np.testing.assert_array_equal(table.quartiles(), [[[4, 4, 7], [2, 2, 2], nan]])


def test_metrics_with_masks_and_targets(toy: Toy, x: Any) -> None:
    masks = np.zeros((2, 10, 12))
    masks[:, 2:4, 3:8] = 1
    table = ev.compare(
        [GradCAMInterpreter(toy())], x, ["point_game", "point_game_segmentation", "insertion"],
        masks=masks, boxes=[(3, 2, 8, 4)] * 2, label=lambda output: output[:, 1],
    )  # fmt: skip
    assert np.isfinite(table.table()).all()
    with pytest.raises(InputError, match="masks="):
        ev.compare([GradCAMInterpreter(toy())], x, ["point_game_segmentation"])
    with pytest.raises(InputError, match="not a target"):
        ev.compare([GradCAMInterpreter(toy())], x, ["random_logit"], label=lambda out: out[:, 1])


def test_pictures(toy: Toy, picture: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    masks = np.zeros((2, 32, 32))
    masks[:, 4:9, 4:9] = 1
    with pytest.warns(InterpretWarning, match="input 0 is left out"):
        table = ev.compare(
            [GradientInterpreter(toy())], [broken, picture], ["point_game_segmentation"],
            resize_to=32, crop_to=32, masks=masks,
        )  # fmt: skip
    assert len(table.sources) == 1
    assert len(table["gradient", "point_game_segmentation"]) == 1
    # each picture keeps its own mask and boxes
    masks[0] = 1 - masks[0]
    masks[1, :16] = 1
    options: dict[str, Any] = {"resize_to": 32, "crop_to": 32}
    metrics = ["point_game_segmentation", ev.PointGame(tolerance=0)]
    with pytest.warns(InterpretWarning, match="input 0 is left out"):
        both = ev.compare(
            [GradientInterpreter(toy())], [broken, picture], metrics, masks=masks,
            boxes=[(0, 0, 32, 32), (0, 0, 1, 1)], **options,
        )  # fmt: skip
    alone = ev.compare(
        [GradientInterpreter(toy())], [picture], metrics, masks=masks[1:], boxes=[(0, 0, 1, 1)],
        **options,
    )  # fmt: skip
    assert both.table().tolist() == alone.table().tolist()


# -- taking up again -------------------------------------------------------------------------------


def test_what_is_done_is_not_done_again(toy: Toy, x: Any, tmp_path: Path) -> None:
    file, model = tmp_path / "table.json", toy()
    first = ev.compare({"m": Counting(model)}, x, ["deletion"], file=file)
    Counting.calls = 0
    again = ev.compare({"m": Counting(model)}, x, ["deletion"], file=file)
    assert Counting.calls == 0
    assert again["m", "deletion"].values.tolist() == first["m", "deletion"].values.tolist()
    assert again["m", "deletion"].curves["deletion"].shape == (2, 21)
    more = ev.compare(
        {"m": Counting(model), "n": (Counting(model), {"times_input": True})}, x,
        ["deletion", "sparseness"], file=file,
    )  # fmt: skip
    assert Counting.calls == 2  # once for the new metric, once for the new method
    assert more["m", "deletion"].values.tolist() == first["m", "deletion"].values.tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"]


def test_an_interrupted_comparison_keeps_what_is_finished(toy: Toy, x: Any, tmp_path: Path) -> None:
    class Interrupted(ev.Sparseness):
        def evaluate_case(self, case: Case) -> Any:
            raise KeyboardInterrupt

    file, model = tmp_path / "table.json", toy()
    with pytest.raises(KeyboardInterrupt):
        ev.compare([Counting(model)], x, {"a": ev.Deletion(), "b": Interrupted()}, file=file)
    content = json.loads(file.read_text())
    assert list(content["cells"]["gradient"]) == ["a"]
    Counting.calls = 0
    ev.compare([Counting(model)], x, {"a": ev.Deletion()}, file=file)
    assert Counting.calls == 0


def test_other_settings_are_not_mixed(toy: Toy, x: Any, tmp_path: Path) -> None:
    file, model = tmp_path / "table.json", toy()

    def run(images: Any = x, network: Any = model, metric: Any = None, **more: Any) -> Any:
        options = more.pop("options", {})
        method = GradientInterpreter(network, output=more.pop("output", None))
        return ev.compare(
            {"m": (method, options)}, images,
            {"d": metric or ev.Deletion(steps=5)}, file=file, **more,
        )  # fmt: skip

    run()
    before = file.read_bytes()
    for changed in (
        {"images": x + 1}, {"network": toy(seed=1)}, {"metric": ev.Deletion(steps=6)},
        {"metric": ev.Insertion(steps=5)},
        {"metric": ev.Deletion(steps=5, fill=np.ones((3, 1, 1)))},
        {"output": lambda raw: raw}, {"label": 1}, {"boxes": [(0, 0, 1, 1)] * 2},
        {"options": {"times_input": True}},
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"table\.json was made with other"):
            run(**changed)
        assert file.read_bytes() == before
    run()
    for text in ("{", "[]", '{"format": "other"}', '{"format": "interpretdl comparison 1"}'):
        file.write_text(text)
        with pytest.raises(InputError, match="not a file written by compare"):
            run()


def test_other_masks_boxes_and_models_of_metrics_are_not_mixed(
    toy: Toy, x: Any, tmp_path: Path
) -> None:
    file, model = tmp_path / "table.json", toy()
    masks = np.zeros((2, 10, 12))
    masks[:, 2:4] = 1
    boxes = [(0, 0, 3, 3), (1, 1, 5, 5)]

    def run(**changed: Any) -> Any:
        settings: dict[str, Any] = {"model": toy(seed=3), "masks": masks, "boxes": boxes, **changed}
        metric = ev.Completeness(
            settings.pop("model"),
            output=settings.pop("output", None),
            preprocessing=settings.pop("preprocessing", "model"),
        )
        metrics = {"c": metric, "p": "point_game", "s": "point_game_segmentation"}
        return ev.compare({"m": GradientInterpreter(model)}, x, metrics, file=file, **settings)

    first = run()
    again = run()
    for cell, found in first.cells.items():
        np.testing.assert_array_equal(again.cells[cell].values, found.values)
        assert again.cells[cell].as_json() == found.as_json()
    assert again.settings == first.settings
    for changed, what in (
        ({"masks": 1 - masks}, "masks"), ({"masks": None}, "masks"),
        ({"boxes": [(0, 0, 3, 3), (1, 1, 5, 4)]}, "boxes"), ({"boxes": None}, "boxes"),
        ({"model": toy(seed=4)}, "model"), ({"model": None}, "model, output"),
        ({"output": lambda raw: raw}, "output"), ({"preprocessing": None}, "preprocessing"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=rf"was made with other .*\({what} differ\)"):
            run(**changed)
    content = json.loads(file.read_text())
    for key in ("format", "settings", "cells"):
        for other in ({**content, key: "other"}, {k: v for k, v in content.items() if k != key}):
            file.write_text(json.dumps(other))
            with pytest.raises(InputError, match="not a file written by compare"):
                run()
    file.write_text(json.dumps(content))
    run()
    file.write_text("")  # as `touch` makes it
    np.testing.assert_array_equal(run().table(), first.table())


def test_a_method_that_cannot_be_right_is_nan_and_said(toy: Toy, x: Any, tmp_path: Path) -> None:
    class Refusing(GradientInterpreter):
        def attribute(self, x: Any, target: Any) -> Any:
            raise UnsupportedModelError("not this model")

    file = tmp_path / "table.json"
    with pytest.warns(InterpretWarning, match="refusing, sparseness: not this model"):
        table = ev.compare(
            {"refusing": Refusing(toy()), "gradient": GradientInterpreter(toy())}, x,
            ["sparseness"], file=file,
        )  # fmt: skip
    assert np.isnan(table.table()).tolist() == [[True], [False]]
    assert table.flags()[0][3] == "not this model"
    assert list(json.loads(file.read_text())["cells"]) == ["gradient"]  # tried again next time


def test_what_cannot_be_compared(toy: Toy, x: Any, tmp_path: Path) -> None:
    model = toy()
    gradient = GradientInterpreter(model)
    with pytest.raises(InputError, match="two methods are named 'gradient'"):
        ev.compare([gradient, gradient], x, ["deletion"])
    with pytest.raises(InputError, match="two metrics are named 'deletion'"):
        ev.compare([gradient], x, ["deletion", ev.Deletion()])
    with pytest.raises(InputError, match="did you mean 'deletion'"):
        ev.compare([gradient], x, ["delection"])
    with pytest.raises(InputError, match="nothing to compare"):
        ev.compare([], x, ["deletion"])
    with pytest.raises(InputError, match="a method is an Interpreter"):
        ev.compare([model], x, ["deletion"])
    with pytest.raises(InputError, match="a metric is an Evaluator"):
        ev.compare([gradient], x, [3])  # type: ignore[list-item]  # what a user may give
    with pytest.raises(ResourceError):
        ev.compare([gradient], x, ["deletion"], file=tmp_path / "missing" / "t.json")
    other = model.__class__(*model.children())
    from interpretdl import Preprocessing

    other.preprocessing = Preprocessing(crop=8)
    with pytest.raises(InputError, match="one preprocessing"):
        ev.compare({"a": gradient, "b": GradientInterpreter(other)}, x, ["deletion"])


def test_what_evaluators_refuse(toy: Toy, x: Any) -> None:
    model = toy()
    maps = np.random.default_rng(1).random((2, 10, 12))
    measure = ev.Deletion(model).measure
    with pytest.raises(InputError, match="needs a model"):
        ev.Deletion().measure(x, maps)
    with pytest.raises(InputError, match="interpreter="):
        ev.Continuity(model).measure(x, maps)
    with pytest.raises(InputError, match="boxes="):
        ev.PointGame().measure(x, maps)
    with pytest.raises(InputError, match="x must be float"):
        measure((x * 9).astype(np.uint8), maps)
    with pytest.raises(InputError, match="values of 2 images"):
        measure(x, maps[:1])
    with pytest.raises(InputError, match="labels must be"):
        measure(x, maps, labels=[1, 2, 3])
    with pytest.raises(InputError, match="labels must be"):
        measure(x, maps, labels=["cat", "dog"])
    with pytest.raises(InputError, match=r"masks must be \[2, 10, 12\]"):
        ev.PointGameSegmentation().measure(x, maps, masks=maps[:, :3])
    for boxes in ([(0, 0, 1, 1)], [(0, 0, 1, 1), (3, 3, 3, 5)], [(0, 0, 1, 1), (1, 2, 3)]):
        with pytest.raises(InputError, match="box"):
            ev.PointGame().measure(x, maps, boxes=boxes)
    for options in ({"steps": 0}, {"patch": 0}, {"fill": "pink"}):
        with pytest.raises(InputError):
            ev.Deletion(model, **options)
    with pytest.raises(InputError, match="does not broadcast"):
        ev.Deletion(model, fill=np.zeros(5)).measure(x, maps)
    with pytest.raises(InputError, match="fill='black' needs preprocessing="):
        ev.Deletion(model, fill="black").measure(x, maps)
    for cls, options in (
        (ev.Infidelity, {"n_samples": 0}), (ev.Infidelity, {"unit": "pixel"}),
        (ev.Infidelity, {"n_samples": None, "perturbation": "noise"}),
        (ev.LocalFidelity, {"share": 1}), (ev.SensitivityMax, {"radius": 0}),
        (ev.Continuity, {"step": 0}), (ev.Continuity, {"direction": "up"}),
        (ev.Selectivity, {"steps": 0}), (ev.PointGame, {"tolerance": -1}),
        (ev.RandomLogit, {"n_classes": 0}), (ev.ModelRandomization, {"mode": "some"}),
        (ev.ModelRandomization, {"n_draws": 0}),
    ):  # fmt: skip
        with pytest.raises(InputError):
            cls(model, **options)
    method = GradientInterpreter(model)
    with pytest.raises(InputError, match="there are 4 others"):
        ev.RandomLogit(n_classes=5).measure(x, maps, interpreter=method)
    with pytest.raises(InputError, match="too small"):
        ev.Continuity(step=15).measure(x, maps, interpreter=method)
