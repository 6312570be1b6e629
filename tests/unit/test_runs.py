"""Runs over data sets in this process: the store, taking up again, and what is refused."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

import interpretdl as it
from interpretdl.runs.source import source_of
from interpretdl.testing import small_network
from tests.small_runs import METHODS, contents, run, write_pictures

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("source") / "pictures")


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> it.Run:
    """A run that nothing disturbed: three shards of 4, 4 and 2 pictures."""
    return run(folder, tmp_path_factory.mktemp("whole") / "run", metrics=["deletion"])


# ---- the store -----------------------------------------------------------------------------------


def test_rows_say_what_explain_says(folder: Path, whole: it.Run) -> None:
    paths = sorted(map(str, folder.iterdir()))
    assert whole.complete
    table = whole.table()
    assert table["picture"].to_pylist() == [i for i in range(10) for _ in METHODS]
    assert table["method"].to_pylist() == METHODS * 10
    for name in METHODS:
        rows = whole.rows(name)
        assert [row["path"] for row in rows] == paths
        methods: dict[str, Any] = {"grad_cam": it.GradCAMInterpreter, "lrp": it.LRPInterpreter}
        interpreter = methods[name](small_network(), batch_size=2)
        # the cut into batches is rounding
        found = interpreter.explain(paths)
        assert [row["target"] for row in rows] == found.labels.tolist()
        assert [row["prediction"] for row in rows] == found.labels.tolist()
        assert [row["prediction_name"] for row in rows] == list(found.label_names)
        np.testing.assert_allclose([row["score"] for row in rows], found.scores, rtol=1e-5)
        chances = np.array([row["probabilities"] for row in rows])
        np.testing.assert_allclose(chances, found.probabilities, rtol=1e-5)
        maps, expected = whole.maps(name), found.heatmap()
        assert maps.shape == expected.shape == (10, 16, 16)  # not enlarged to 56
        # half floats keep 11 bits of the largest value
        scale = np.abs(expected).max(axis=(1, 2), keepdims=True)
        np.testing.assert_allclose(maps / scale, expected / scale, atol=2**-11)
        measured = it.Deletion().measure(
            interpreter.subject.read(paths).inputs, found, interpreter=interpreter
        )
        np.testing.assert_allclose(
            [row["metric_deletion"] for row in rows], measured.values, rtol=1e-4
        )
        assert all(row["signed"] == found.signed for row in rows)


def test_maps_are_made_smaller(folder: Path, tmp_path: Path) -> None:
    found = run(folder, tmp_path, ["grad_cam"], map_size=8)
    assert found.maps("grad_cam").shape == (10, 8, 8)


def test_tiny_values_survive_as_half_floats(folder: Path, tmp_path: Path) -> None:
    model = small_network()
    with paddle.no_grad():
        for parameter in model[-1].parameters():
            parameter.set_value(parameter * 1e-12)
    found = run(folder, tmp_path, ["lrp"], model)
    maps = found.maps("lrp")
    assert np.isfinite(maps).all()
    assert ((maps != 0).mean(axis=(1, 2)) > 0.5).all()


def test_maps_that_are_not_finite_are_errors(folder: Path, tmp_path: Path) -> None:
    model = small_network()
    with paddle.no_grad():
        for parameter in model.parameters():
            parameter.set_value(parameter * 1e30)
    found = run(folder, tmp_path / "run", ["gradient"], model)
    assert all("NaN or infinite" in row["error"] for row in found.rows("gradient"))
    assert found.maps("gradient").shape == (0, 0, 0)
    found.report(tmp_path / "report.html")


def test_others_read_it(whole: it.Run) -> None:
    pandas = pytest.importorskip("pandas")
    one = pandas.read_parquet(whole.folder / "shard-00000.parquet")
    assert list(one.columns) == list(whole.table().column_names)
    assert len(one) == 8
    assert len(whole.to_pandas(["picture"])) == 20
    duckdb = pytest.importorskip("duckdb")
    query = f"SELECT method, count(*) FROM '{whole.folder}/shard-*.parquet' GROUP BY 1 ORDER BY 1"  # noqa: S608
    assert duckdb.sql(query).fetchall() == [("grad_cam", 10), ("lrp", 10)]
    text = (whole.folder / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in whole.table().column_names)


def test_it_opens_again(whole: it.Run, tmp_path: Path) -> None:
    again = it.open_run(whole.folder)
    assert again.table().equals(whole.table())
    assert again.methods == tuple(METHODS)
    assert again.metrics == ("deletion",)
    assert again.class_names == tuple(small_network().class_names)
    reading = json.loads(json.dumps(asdict(small_network().preprocessing)))
    assert again.fingerprint["preprocessing"] == reading
    parts = list(again.parts(["picture"], [0, 2]))
    assert [(k, len(part)) for k, part in parts] == [(0, 8), (2, 4)]
    assert pa.concat_tables([part for _, part in again.parts()]).equals(whole.table())
    assert "3 of 3 shards, 10 pictures" in repr(again)
    with pytest.raises(it.InputError, match="no method 'lpr'; did you mean 'lrp'"):
        again.rows("lpr")
    with pytest.raises(it.InputError, match="no column 'targets'; did you mean 'target'"):
        again.table(["targets"])
    with pytest.raises(it.InputError, match=r"there is no run.json"):
        it.open_run(tmp_path)
    (tmp_path / "run.json").write_text('{"format": "other"}')
    with pytest.raises(it.InputError, match="its format is 'other'"):
        it.open_run(tmp_path)


# ---- pictures and methods that fail --------------------------------------------------------------


def test_unreadable_pictures_are_rows(folder: Path, whole: it.Run, tmp_path: Path) -> None:
    broken = tmp_path / "no picture.png"
    broken.write_bytes(b"nothing")
    paths = sorted(map(str, folder.iterdir()))
    paths[3:3] = [str(broken), str(tmp_path / "missing.png")]
    found = run(paths, tmp_path / "run")
    for name in METHODS:
        rows = found.rows(name)
        assert [i for i, row in enumerate(rows) if row["error"]] == [3, 4]
        assert "no picture.png" in rows[3]["error"]
        assert rows[3]["map"] is rows[3]["prediction"] is None
        np.testing.assert_allclose(found.maps(name), whole.maps(name), atol=1e-3)


def test_a_method_that_cannot_is_a_row(folder: Path, tmp_path: Path) -> None:
    found = run(folder, tmp_path, ["cam", "rollout"])
    with pytest.raises(it.UnsupportedModelError) as refused:
        it.RolloutInterpreter(small_network()).explain(str(folder / "00.png"))
    assert {row["error"] for row in found.rows("rollout")} == {str(refused.value)}
    assert not any(row["error"] for row in found.rows("cam"))


def test_a_model_that_fails_on_one_picture(folder: Path, tmp_path: Path) -> None:
    model = small_network()
    bad = it.GradientInterpreter(model).subject.read(str(folder / "05.png")).inputs[0]

    class Fussy(paddle.nn.Layer):  # type: ignore[misc]
        preprocessing = model.preprocessing

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Any) -> Any:
            if (np.abs(x.numpy() - bad).max(axis=(1, 2, 3)) == 0).any():
                raise ZeroDivisionError("not this one")
            return self.model(x)

    found = run(folder, tmp_path, ["gradient"], Fussy())
    errors = {row["picture"]: row["error"] for row in found.rows("gradient") if row["error"]}
    assert errors == {5: "ZeroDivisionError: not this one"}


def test_where_memory_runs_out_fewer_are_explained_at_once(
    folder: Path, whole: it.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    explained = it.GradCAMInterpreter._explained

    def short_of_memory(self: Any, batch: Any, *rest: Any) -> Any:
        sizes.append(len(batch))
        if len(batch) > 1 and len(sizes) < 4:
            raise it.ResourceError("not enough memory")
        return explained(self, batch, *rest)

    monkeypatch.setattr(it.GradCAMInterpreter, "_explained", short_of_memory)
    told: list[dict[str, Any]] = []
    found = run(folder, tmp_path, ["grad_cam"], batch_size=4, on_shard=told.append)
    assert sizes[:4] == [4, 2, 1, 1]
    assert [each["batch_size"] for each in told] == [1, 4, 4]
    assert not any(row["error"] for row in found.rows("grad_cam"))
    np.testing.assert_allclose(found.maps("grad_cam"), whole.maps("grad_cam"), atol=1e-3)

    def never(self: Any, *_: Any) -> Any:
        raise it.ResourceError("not enough memory")

    monkeypatch.setattr(it.GradCAMInterpreter, "_explained", never)
    found = run(folder, tmp_path / "never", ["grad_cam"])
    assert {row["error"] for row in found.rows("grad_cam")} == {"not enough memory"}


def test_a_metric_without_a_value_says_why(folder: Path, tmp_path: Path) -> None:
    model = small_network()
    with paddle.no_grad():
        for parameter in model[-1].parameters():
            parameter.set_value(parameter * 0)
    row = run(folder, tmp_path, ["lrp"], model, metrics=["deletion"]).rows("lrp")[0]
    assert row["error"] is row["metric_deletion"] is None
    said = json.loads(row["diagnostics"])
    assert "empty" in said["deletion"]
    assert said["warnings"]


# ---- sources -------------------------------------------------------------------------------------


def test_folders_within_folders_name_classes(tmp_path: Path) -> None:
    write_pictures(tmp_path / "data" / "b", 2)
    write_pictures(tmp_path / "data" / "a", 1)
    (tmp_path / "data" / ".hidden").mkdir()
    (tmp_path / "data" / "notes.txt").write_text("")
    source = source_of(tmp_path / "data", "folders")
    assert source.labels == ("a", "b", "b")
    assert [Path(path).name for path in source.paths or ()] == ["00.png", "00.png", "01.png"]


@pytest.mark.parametrize("kind", ["csv", "parquet", "list"])
def test_tables_with_labels(folder: Path, tmp_path: Path, kind: str) -> None:
    names = small_network().class_names
    paths = [str(folder / "01.png"), str(folder / "00.png"), str(folder / "02.png")]
    labels = ["3", names[1], ""]
    if kind == "list":
        found = run(paths, tmp_path / "run", ["gradient"], labels=[3, names[1], None])
    else:
        table = tmp_path / f"table.{kind}"
        if kind == "csv":
            lines = [f"{path},{label}" for path, label in zip(paths, labels, strict=True)]
            table.write_text("\n".join(["path,label", *lines]))
        else:
            pq.write_table(pa.table({"path": paths, "label": labels}), table)
        found = run(table, tmp_path / "run", ["gradient"], explain="label")
    rows = found.rows("gradient")
    assert [row["path"] for row in rows] == paths
    assert [row["label"] for row in rows] == [3, 1, None]
    assert [row["label_name"] for row in rows] == [names[3], names[1], None]
    if kind != "list":
        assert [row["target"] for row in rows] == [3, 1, None]
        assert rows[2]["error"] == "no label was given for this picture"


def test_a_data_set(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 16, 16), np.uint8)

    class Pictures(paddle.io.Dataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return 5

        def __getitem__(self, i: int) -> Any:
            if i == 2:
                raise RuntimeError("the file server is gone")
            return pixels[i], np.array([i % 3])

    found = run(Pictures(), tmp_path / "run", ["gradient"])
    rows = found.rows("gradient")
    assert [row["label"] for row in rows] == [0, 1, None, 0, 1]
    assert rows[2]["error"] == "RuntimeError: the file server is gone"
    direct = it.GradientInterpreter(small_network()).explain(pixels[3].transpose(1, 2, 0))
    np.testing.assert_allclose(found.maps("gradient")[2], direct.heatmap()[0], atol=1e-3)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "the source is empty"),
        ([1], "a list must hold paths; got 1"),
        (3, "the source must be a folder"),
        ("no_module_of_this_name:data", "no module 'no_module_of_this_name' for the data set"),
    ],
)
def test_what_is_no_source(tmp_path: Path, source: Any, message: str) -> None:
    with pytest.raises(it.InputError, match=message):
        run(source, tmp_path)


def test_paths_start_at_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "table.csv").write_text("path\na/b.png\n/c.png")
    monkeypatch.chdir(tmp_path)
    assert source_of("table.csv").paths == ("a/b.png", "/c.png")
    there = source_of(tmp_path / "table.csv").paths
    assert there == (str(tmp_path / "a/b.png"), "/c.png")


def test_tables_that_are_none(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    for text, message in {
        "file,label\na.png,1": "has no column 'path'",
        'path\n"a': "cannot read",
        "path,label\na.png,1\n,1": "row 2 of .* has no path",
    }.items():
        table.write_text(text)
        with pytest.raises(it.InputError, match=message):
            source_of(table)
    table.with_suffix(".parquet").write_bytes(b"PAR1")
    with pytest.raises(it.InputError, match="as a table"):
        source_of(table.with_suffix(".parquet"))
    with pytest.raises(it.ResourceError, match="cannot read"):
        source_of(tmp_path / "missing.csv")
    with pytest.raises(it.InputError, match="no picture in the folder"):
        source_of(tmp_path)
    table.write_text("path\na.png\nb.png")
    with pytest.raises(it.InputError, match="1 labels were given for 2 pictures"):
        source_of(table, [1])
    with pytest.raises(it.InputError, match="'folders'"):
        source_of(table, "folder")


def test_what_is_said_once_of_a_model_is_in_no_row(tmp_path: Path) -> None:
    """Else the rows that come first have it, which others are after a resumption."""
    import paddle

    network = small_network()
    model = paddle.nn.Sequential(network, paddle.nn.Softmax()).eval()
    model.preprocessing = network.preprocessing
    folder = write_pictures(tmp_path / "pictures", 8)
    with pytest.warns(it.InterpretWarning, match="the model's output is a softmax"):
        found = run(folder, tmp_path / "run", ["grad_cam"], model, workers=0)
    before = contents(found.folder)
    (found.folder / "shard-00001.parquet").unlink()
    with pytest.warns(it.InterpretWarning, match="the model's output is a softmax"):
        run(folder, tmp_path / "run", ["grad_cam"], model, workers=0)
    assert contents(found.folder) == before
