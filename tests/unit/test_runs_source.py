"""What runs take for pictures, labels and options, and what they refuse."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

import interpretdl as it
from interpretdl.cli import main
from interpretdl.runs.labels import Classes
from interpretdl.runs.plan import Plan, check_plan
from interpretdl.runs.shard import Maker
from interpretdl.runs.source import source_of
from interpretdl.subject import Subject
from interpretdl.testing import small_network
from tests.small_runs import run, write_pictures

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

NAMED = "interpretdl.testing:small_network"
NAMES = ("cat", "dog, hound", "10", "nan", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("source") / "pictures", 3)


def items(*given: Any) -> Any:
    """A data set with these labels."""

    class Items:
        def __len__(self) -> int:
            return len(given)

        def __getitem__(self, i: int) -> Any:
            return np.full((16, 16, 3), i, np.uint8), given[i]

    return Items()


# ---- labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "names", "expected"),
    [
        ("10", NAMES, 2),  # a name first
        ("1", NAMES, 4),
        (" Hound ", NAMES, 1),
        ("nan", NAMES, 3),
        ("2", NAMES, 2),
        ("3.0", NAMES, 3),
        (1, NAMES, 1),
        (np.float32(2), NAMES, 2),
        (np.array([[2]]), None, 2),
        (paddle.to_tensor([2]), None, 2),
        ("2.", None, 2),
        *((nothing, None, None) for nothing in (None, "", " ", "NaN", float("nan"), [None])),
        *((odd, NAMES, "is not in [0, 5)") for odd in (99, -1, "-1", "5.0", 2**70)),
        (2**70, None, "is not in [0, "),
        ("1.5", NAMES, "no class is named '1.5'"),
        ("zebra", NAMES, "no class is named 'zebra'"),
        ("zebra", None, "this model has no class names"),
        *((odd, NAMES, "must be a class index or name") for odd in (1.5, True, np.eye(5)[2], len)),
    ],
)
def test_what_a_label_means(label: Any, names: Any, expected: Any) -> None:
    meant = Classes(names, names and len(names)).meant(label)
    if isinstance(expected, str):
        assert expected in (meant.wrong or "")
        assert meant.index is None
        assert meant.name == (label if isinstance(label, str) and names is None else meant.name)
    else:
        assert (meant.index, meant.wrong) == (expected, None)
        assert meant.name == (None if names is None or expected is None else names[expected])


def test_names_of_a_model_with_imagenets_classes(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f"path,label\n{folder / '00.png'},tiger cat\n")
    model = small_network(classes=1000)
    model.class_names = None
    found = run(tmp_path / "in.csv", tmp_path / "out", ["gradient"], model, explain="label")
    (row,) = found.rows("gradient")
    assert (row["label"], row["label_name"], row["target"]) == (282, "tiger cat", 282)
    assert found.class_names == tuple(Subject.of(model).names(1000) or ())
    assert found.class_names[row["prediction"]] == row["prediction_name"]


@pytest.mark.parametrize("given", ["list", "items"])
def test_labels_that_are_not_understood_are_told(folder: Path, tmp_path: Path, given: str) -> None:
    labels = ["zebra", 99, 1]
    paths = sorted(map(str, folder.iterdir()))
    source, more = (paths, {"labels": labels}) if given == "list" else (items(*labels), {})
    with pytest.warns(
        it.errors.InterpretWarning, match=r"picture 0 is left out \(no class"
    ) as said:
        found = run(source, tmp_path, ["gradient"], **more)
    assert len(said) == 1
    rows = found.rows("gradient")
    assert [row["label"] for row in rows] == [None, None, 1]
    assert [row["label_name"] for row in rows][:2] == ["zebra", None]
    told = [json.loads(row["diagnostics"]).get("label") for row in rows]
    assert ["no class is named" in told[0], "99 is not in" in told[1], told[2]] == [
        True,
        True,
        None,
    ]


def test_pictures_that_cannot_be_read_keep_their_label(folder: Path, tmp_path: Path) -> None:
    paths = [str(folder / "00.png"), str(tmp_path / "missing.png")]
    rows = run(paths, tmp_path, ["gradient"], labels=[1, 2]).rows("gradient")
    assert rows[1]["error"]
    assert [row["label"] for row in rows] == [1, 2]
    assert rows[1]["label_name"] == small_network().class_names[2]


@pytest.mark.parametrize(
    "labels", [5, np.array(5), {"00.png": 0}, {0, 1, 2}, b"abc", "folder", [0, 1, True], [{}, 1, 2]]
)
def test_labels_that_are_none(folder: Path, labels: Any) -> None:
    with pytest.raises(it.InputError, match=r"labels must be a list|a label must be|3 pictures"):
        source_of(folder, labels)


# ---- tables, folders, data sets ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "frame"])
def test_columns_of_tables(tmp_path: Path, kind: str) -> None:
    table = tmp_path / f"table.{kind}"

    def given(names: list[str], *columns: list[Any]) -> Any:
        if kind == "frame":
            pandas = pytest.importorskip("pandas")
            return pandas.concat([pandas.Series(c) for c in columns], axis=1).set_axis(
                names, axis=1
            )
        if kind == "parquet":
            pq.write_table(pa.Table.from_arrays([pa.array(c) for c in columns], names), table)
        else:
            rows = [names, *zip(*columns, strict=True)]
            lines = [("," if kind == "csv" else "\t").join(map(str, row)) for row in rows]
            table.write_text("\n".join(lines))
        return table

    start = Path() if kind == "frame" else tmp_path
    expected = (str(start / "a.png"), str(start / "b.png"))
    found = source_of(given([" Path ", "other", "LABEL"], ["a.png", "b.png"], [0, 1], ["x", "2"]))
    assert (found.paths, found.labels) == (expected, ("x", "2"))
    with pytest.raises(it.InputError, match=r"row 2 of .* has no path"):
        source_of(given(["path", "other"], ["a.png", ""], [0, 1]))
    with pytest.raises(it.InputError, match="several columns 'path'"):
        source_of(given(["path", "Path"], ["a.png"], ["b.png"]))
    with pytest.raises(it.InputError, match="has no column 'path'; it has file"):
        source_of(given(["file"], ["a.png"]))
    with pytest.warns(it.errors.InterpretWarning, match="'labels' is not read"):
        assert source_of(given(["path", "labels"], ["a.png"], [1])).labels is None


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    write_pictures(tmp_path / "elsewhere", 1)
    write_pictures(tmp_path / "data" / "a", 1)
    (tmp_path / "data" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "a" / "loop").symlink_to(tmp_path / "data")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "data" / "a")
    source = source_of(tmp_path / "data", "folders")
    inside = [str(Path(path).relative_to(tmp_path / "data")) for path in source.paths or ()]
    assert inside == ["a/00.png", "b/00.png", "b/loop/00.png"]
    assert source.labels == ("a", "b", "loop")


class Stream(paddle.io.IterableDataset):
    """A data set without a length."""


@pytest.mark.parametrize(
    ("source", "labels", "message"),
    [
        ("imges", None, "there is no 'imges'; the source is a folder, a picture, a table"),
        ("", None, "there is no ''"),
        ("list.txt", None, r"'list.txt' is no table \(.csv, .tsv, .parquet\) and no picture"),
        (Stream(), None, "does not say how many items it has"),
        (items(1), "folders", "labels='folders' is for paths"),
    ],
)
def test_sources_that_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Any, labels: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text("a.png\n")
    with pytest.raises(it.InputError, match=message):
        run(source, tmp_path / "out", labels=labels)
    assert not Path("out").exists()


def test_a_single_picture_is_a_source(folder: Path) -> None:
    assert source_of(folder / "00.png").paths == (os.fspath(folder / "00.png"),)


# ---- methods, metrics, options -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("methods", "metrics", "options", "message"),
    [
        (None, (), None, "methods must be a name, a list of names"),
        (3, (), None, "methods must be a name, a list of names"),
        (["cam"], None, None, "metrics must be a name"),
        (["cam"], (), ["a"], "options must be a mapping"),
        (["cam"], (), {"cam": 3}, "options of cam must be a mapping; got 3"),
        (["cam"], (), {3: {}}, "options are given for 3"),
        (["cam"], (), {"cam": {3: 4}}, "cam has no option 3"),
        (["integrated_gradients"], (), {"integrated_gradients": {"steps": "x"}},
         "steps of integrated_gradients must be a whole number"),
        (["cam"], (), {"cam": {"gradient_of": "x"}}, "gradient_of of cam must be"),
    ],
)  # fmt: skip
def test_plans_that_are_refused(methods: Any, metrics: Any, options: Any, message: str) -> None:
    with pytest.raises(it.InputError, match=message):
        check_plan(methods, metrics, options)


def plan_of(methods: Any, options: Any = None) -> Plan:
    entries = check_plan(methods, (), options)
    return Plan({"name": NAMED}, *entries, "prediction", 56, 4, 1, "", "")


def test_options_for_workers() -> None:
    given: dict[str, Any] = {"steps": np.int64(5)}
    plan = plan_of(["integrated_gradients"], {"integrated_gradients": given})
    sent = json.loads(json.dumps(plan.as_json()))["methods"]["integrated_gradients"]["options"]
    assert sent == {"steps": 5}
    given["baselines"] = np.zeros((1, 3, 16, 16), np.float32)
    plan = plan_of(["integrated_gradients"], {"integrated_gradients": given})
    with pytest.raises(
        it.InputError, match=r"baselines of integrated_gradients is of type ndarray; give"
    ):
        plan.as_json()


def test_methods_that_workers_do_not_know() -> None:
    plan = plan_of(["cam"])
    plan.methods["cam"]["method"] = "mine"
    with pytest.raises(it.InputError, match=r"workers have no method 'mine', .* or give workers=0"):
        Maker(plan, Subject.of(small_network()))


# ---- the command ---------------------------------------------------------------------------------


def test_what_the_command_says(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", str(folder / "00.png"), "--model", NAMED, "--workers", "0", "--out"]
    bad = ["--method", "integrated_gradients", "--option", "integrated_gradients.steps=-4"]
    assert main([*command, str(tmp_path / "bad"), *bad]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("1 picture, 1 with an error")
    assert "the most frequent error, 1 of 1: steps must be" in said.err
    for twice in (["--method", "cam", "--method", "CAM"], ["--metric", "deletion"] * 2):
        assert main([*command, str(tmp_path / "twice"), *twice]) == 2
        assert "is given twice" in capsys.readouterr().err
    assert main(["run", "imges", "--out", str(tmp_path / "typo"), "--model", NAMED]) == 2
    assert "there is no 'imges'" in capsys.readouterr().err
    assert not (tmp_path / "typo").exists()
