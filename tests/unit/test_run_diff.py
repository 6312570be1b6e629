"""Differences of two runs: measures against slow ones, planted changes, limits and files."""

from __future__ import annotations

import csv
import math
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from interpretdl.cli import main
from interpretdl.errors import InputError, ResourceError
from interpretdl.runs import diff_runs, open_run
from interpretdl.runs.measures import centre_of, masks_of, moved, rank_correlation, share_in
from interpretdl.testing import small_network
from tests.small_runs import run, write_pictures
from tests.stores import NAMES, planted_store

N, FLIP, SHIFT = 24, 3, 0.2


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs; in the second three predictions flipped, and maps moved to the right."""
    folder = tmp_path_factory.mktemp("runs")
    a = planted_store(folder / "a", N)
    return a, planted_store(folder / "b", N, seed=1, flip=FLIP, shift=SHIFT)


def slow_ranks(values: Any) -> list[float]:
    """Ranks from 1, equal values sharing their mean: how many are below, and half of the equal."""
    return [
        sum(b < a for b in values) + (sum(b == a for b in values) + 1) / 2 for a in values
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_rank_correlation_is_pearsons_of_ranks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, 6, (2, 5, 7)).astype(np.float32)
    x, y = (np.asarray(slow_ranks(each.ravel().tolist())) for each in (one, other))
    n = x.size
    mean_x, mean_y = sum(x) / n, sum(y) / n
    top = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    below = math.sqrt(sum((a - mean_x) ** 2 for a in x) * sum((b - mean_y) ** 2 for b in y))
    assert rank_correlation(one, other) == pytest.approx(top / below, abs=1e-12)
    assert rank_correlation(one, np.exp(one)) == pytest.approx(1)
    assert rank_correlation(one, -one) == pytest.approx(-1)


def test_maps_that_say_nothing() -> None:
    one = np.arange(6.0).reshape(2, 3)
    flat, broken = np.ones((2, 3)), np.where(one == 2, np.nan, one)
    assert rank_correlation(one, flat) == 0
    assert rank_correlation(one, broken) == 0
    assert rank_correlation(flat, flat) == 1
    assert rank_correlation(broken, broken) == 1
    assert np.isnan(centre_of(-one)).all()
    assert math.isnan(share_in(-one, one > 2))


def test_centre_and_share_by_hand() -> None:
    heat = np.zeros((4, 8))
    heat[0, 0], heat[3, 7], heat[2, 2] = 1, 3, -5  # what is below zero does not count
    np.testing.assert_allclose(centre_of(heat), [(0.125 + 3 * 0.875) / 4, (1 + 3 * 15) / 16 / 4])
    assert share_in(heat, np.arange(32).reshape(4, 8) == 31) == 0.75
    # a mask of twice the size: half of the last pixel is inside
    mask = np.zeros((8, 16), bool)
    mask[6:, 15] = True
    assert share_in(heat, mask) == pytest.approx(0.375)
    assert share_in(heat, np.zeros((4, 8), bool)) == 0
    corners = np.zeros((2, 4, 8))
    corners[0, 0, 0] = corners[1, 3, 7] = 1
    assert moved(*corners) == pytest.approx(math.hypot(3, 7) / math.hypot(4, 8))


def test_a_run_does_not_differ_from_itself(stores: tuple[Path, Path], tmp_path: Path) -> None:
    found = diff_runs(stores[0], open_run(stores[0]))
    assert len(found) == N
    assert found.flips == 0
    assert found.changes == {"<i>lrp</i>": 0, "grad_cam": 0}
    for each in found.methods.values():
        assert np.nanmax(np.abs(each.moved)) == 0
        assert np.isnan(each.change[-1])  # that picture could be read in neither
    assert found.beyond(0, 0) == []
    found.to_html(tmp_path / "diff.html")  # of no picture
    assert "0 predictions flipped" in (tmp_path / "diff.html").read_text(encoding="utf-8")


def test_planted_changes_are_found(stores: tuple[Path, Path]) -> None:
    found = diff_runs(*stores)
    assert np.flatnonzero(found.flipped).tolist() == list(range(FLIP))
    assert found.flips == FLIP / (N - 1)  # the last one could not be read
    a, b = (open_run(each).maps("grad_cam") for each in stores)
    each = found.methods["grad_cam"]
    for k in range(N - 1):
        assert each.correlation[k] == pytest.approx(rank_correlation(a[k], b[k]))
        far = math.dist(centre_of(a[k]), centre_of(b[k])) / math.sqrt(2)
        assert each.moved[k] == pytest.approx(far)
    assert 0 < np.nanmean(each.moved) < SHIFT / math.sqrt(2)
    assert each.same_target.all()
    lines = str(found).splitlines()
    assert lines[:2] == [f"{N} pictures in both runs", "3 predictions flipped (13.0%)"]
    assert repr(found) == f"<RunDiff of {N} pictures, <i>lrp</i>, grad_cam>"


def test_limits(stores: tuple[Path, Path]) -> None:
    found = diff_runs(*stores)
    low, high = sorted(found.changes.values())
    assert found.beyond(high, FLIP / (N - 1)) == []
    assert len(found.beyond((low + high) / 2)) == 1
    assert len(found.beyond(low * 0.999)) == 2
    assert "predictions flipped" in found.beyond(None, FLIP / N - 0.01)[0]
    for limits in ((-0.1,), (2.1,), ("0.1",), (None, 1.5), (True,)):
        with pytest.raises(InputError, match="must be"):
            found.beyond(*limits)


def test_the_share_in_a_mask(stores: tuple[Path, Path]) -> None:
    right = np.zeros((4, 4))
    right[:, 2:] = 1
    for mask in (right, {f"<em>{i:04d}": right for i in range(N)}):
        each = diff_runs(*stores, mask=mask).methods["grad_cam"]
        gained = (each.share_b - each.share_a)[:-1]
        assert (gained[1::2] > 0.05).all()  # those that do not look at the corner
    some = diff_runs(*stores, mask={"<em>0001.png": right}).methods["grad_cam"]
    assert np.flatnonzero(np.isfinite(some.share_a)).tolist() == [1]
    for wrong in (np.zeros((4, 4)), np.ones(4), np.ones((2, 2, 3)), "white", [[1], [2, 3]]):
        with pytest.raises(InputError, match="mask"):
            diff_runs(*stores, mask=wrong)


def test_pictures_are_matched_by_what_is_in_them(tmp_path: Path) -> None:
    a = planted_store(tmp_path / "a", 12)
    (tmp_path / "moved").mkdir()
    for file in (tmp_path / "pictures").iterdir():
        shutil.copy(file, tmp_path / "moved")
    changed = next((tmp_path / "moved").glob("*0004.png"))
    Image.new("RGB", (64, 64)).save(changed)
    b = planted_store(tmp_path / "b", 14, pictures=tmp_path / "moved", broken=0)
    found = diff_runs(a, b)
    # 4 is another picture now; 11 could not be read in a, and has another path
    assert found.pairs.tolist() == [[i, i] for i in range(11) if i != 4]
    assert [Path(title).name[-8:] for title in found.only_a] == ["0004.png", "0011.png"]
    assert len(found.only_b) == 4
    assert "2 only in A, 4 only in B" in str(found)


def test_a_map_that_only_one_run_has_is_a_change(tmp_path: Path) -> None:
    a = planted_store(tmp_path / "a", 12, broken=1)
    b = planted_store(tmp_path / "b", 12, broken=6)
    found = diff_runs(a, b)
    assert len(found) == 12
    change = found.methods["grad_cam"].change
    np.testing.assert_array_equal(change[:6], 0)
    np.testing.assert_array_equal(change[6:11], 1)
    assert np.isnan(change[11])
    assert found.beyond(0.4)
    assert np.flatnonzero(found.lost).tolist() == [6, 7, 8, 9, 10]
    assert "0 predictions flipped (0.0%), 5 lost: run B has none" in str(found)
    assert found.beyond(None, 0.45) == [
        "0.455 of the predictions flipped or are lost, more than 0.45"
    ]
    assert found.beyond(None, 0.46) == []
    none = planted_store(tmp_path / "none", 12, broken=12)
    assert diff_runs(a, none).beyond(None, 0.9)
    assert diff_runs(none, a).beyond(None, 0.9) == ["run A has no prediction that could flip"]


def test_classes_are_compared_by_name(tmp_path: Path) -> None:
    """In the second model the last layer's columns and the names are in another order."""
    pictures, order = write_pictures(tmp_path / "pictures", 6), np.array([4, 2, 0, 1, 3])
    nets, names = [small_network() for _ in range(2)], np.array(list("abcde"))
    for parameter in list(nets[1].parameters())[-2:]:  # weight and bias
        parameter.set_value(parameter.numpy()[..., order])
    given = [names.tolist(), names[order].tolist()]
    for k, net in enumerate(nets):
        run(pictures, tmp_path / str(k), "grad_cam", net, class_names=given[k])
    found = diff_runs(tmp_path / "0", tmp_path / "1")
    assert (found.a.prediction != found.b.prediction).any()
    assert found.flips == 0
    each = found.methods["grad_cam"]
    assert each.same_target.all()
    assert found.changes["grad_cam"] < 1e-3


def test_what_a_run_lacks(tmp_path: Path) -> None:
    a, b = planted_store(tmp_path / "a", 20), planted_store(tmp_path / "b", 20, methods=1)
    (b / "shard-00001.parquet").unlink()
    found = diff_runs(a, b)
    gaps = ["run B is not finished: 16 of 20 pictures", "only run A has <i>lrp</i>"]
    assert found.beyond() == []
    assert found.beyond(2) == found.beyond(None, 1) == gaps
    assert str(found).splitlines()[2:4] == gaps
    other = diff_runs(b, a)
    assert "only run B has <i>lrp</i>" in str(other)
    assert other.beyond(2) == ["run A is not finished: 16 of 20 pictures"]  # more is no change
    found.to_html(tmp_path / "diff.html")
    text = (tmp_path / "diff.html").read_text(encoding="utf-8")
    assert "Only run A has &lt;i&gt;lrp&lt;/i&gt;." in text
    assert "Run B is not finished: 16 of 20 pictures." in text


@pytest.mark.parametrize(
    ("masks", "paths", "expected"),
    [
        # the longest end of the path, with its ending before any other one
        (["a/1.png", "1.png"], ["x/a/1.png", "x/b/1.png"], ["a/1.png", "1.png"]),
        (["1.bmp", "1.jpg"], ["x/1.jpg", ""], ["1.jpg", None]),
        (["a/1.bmp", "1.png"], ["a/1.png"], ["a/1.bmp"]),
        (["v1", "v1.5"], ["v1.5.png", "/v1.png", "2.png"], ["v1.5", "v1", None]),
        (["/x/1.png"], ["/x/1.png", "/x/1.png"], ["/x/1.png", "/x/1.png"]),
        (["1.png"], ["a/1.png", "b/1.png"], r"1\.png fits both a/1\.png and b/1\.png"),
        (["1.bmp", "1.png"], ["1.jpg"], r"1\.bmp and 1\.png are both masks of 1\.jpg"),
        (["1.png"], ["2.png"], r"masks: 1\.png; pictures: 2\.png"),
        ([], ["2.png"], "masks: none"),
    ],
)
def test_which_mask_is_whose(masks: list[str], paths: list[str], expected: Any) -> None:
    given = {key: np.full((2, 2), k) for k, key in enumerate(masks)}  # the first is empty
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            masks_of(given, paths)
        return
    for found, key in zip(masks_of(given, paths), expected, strict=True):
        if key is None:
            assert found is None
        else:
            np.testing.assert_array_equal(found, given[key] > 0)


def test_runs_without_anything_in_common(stores: tuple[Path, Path], tmp_path: Path) -> None:
    other = planted_store(tmp_path / "other", 8, seed=5)
    with pytest.raises(InputError, match="no picture in common"):
        diff_runs(stores[0], other)
    with pytest.raises(InputError, match="holds no run"):
        diff_runs(stores[0], tmp_path)


def test_files(stores: tuple[Path, Path], tmp_path: Path) -> None:
    found = diff_runs(*stores)
    found.to_csv(tmp_path / "diff.csv")
    with (tmp_path / "diff.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * N
    assert [row["flipped"] for row in rows[: FLIP + 1]] == ["True"] * FLIP + ["False"]
    assert rows[0]["prediction_b"] in NAMES
    found.to_html(tmp_path / "diff.html")
    text = (tmp_path / "diff.html").read_text(encoding="utf-8")
    assert "<b>dog" not in text
    assert "<em>" not in text
    assert "3 predictions flipped (13.0%)" in text
    with pytest.raises(ResourceError, match=r"must be \.html"):
        found.to_html(tmp_path / "diff.txt")


def test_mlflow(stores: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    found = diff_runs(*stores)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ResourceError, match="pip install mlflow"):
        found.to_mlflow()
    logged: dict[str, Any] = {}
    fake = types.ModuleType("mlflow")
    vars(fake).update(
        log_text=lambda text, file: logged.update({file: text}), log_metrics=logged.update
    )
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    found.to_mlflow("page.html")
    assert logged["page.html"].startswith("<!DOCTYPE html>")
    assert logged["flips"] == FLIP / (N - 1)
    assert logged["lost"] == 0
    assert logged["change_grad_cam"] == found.changes["grad_cam"]
    with pytest.raises(InputError, match="root must be"):
        found.to_mlflow(root="nowhere")
    assert main(["diff", *map(str, stores), "--mlflow", "--root", "nowhere"]) == 2


def test_the_command(stores: tuple[Path, Path], tmp_path: Path, capsys: Any) -> None:
    a, b = map(str, stores)
    files = [str(tmp_path / "diff.html"), str(tmp_path / "diff.csv")]
    assert main(["diff", a, b, "--out", files[0], "--csv", files[1]]) == 0
    assert all(Path(file).is_file() for file in files)
    assert "3 predictions flipped" in capsys.readouterr().out
    assert main(["diff", a, b, "--max-change", "0.01", "-q"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("more than 0.01") == 2
    assert main(["diff", a, b, "--max-change", "1", "--max-flips", "0.2"]) == 0
    assert main(["diff", a, b, "--max-flips", "0.1"]) == 1
    assert main(["diff", a, a, "--max-change", "0", "--max-flips", "0"]) == 0
    assert main(["diff", a, b, "--max-change", "3"]) == 2
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    capsys.readouterr()
    assert main(["diff", a, b, "--mask", str(tmp_path / "mask.png")]) == 0
    assert "in mask A" in capsys.readouterr().out
    (tmp_path / "masks").mkdir()
    for i, values in enumerate((mask, 0 * mask)):
        Image.fromarray(values).save(tmp_path / "masks" / f"<em>{i:04d}.bmp")
    table = tmp_path / "masked.csv"
    command = ["diff", a, b, "-q", "--mask", str(tmp_path / "masks"), "--csv", str(table)]
    assert main(command) == 0
    with table.open(newline="", encoding="utf-8") as file:
        shares = [row["share_b"] for row in csv.DictReader(file) if row["method"] == "grad_cam"]
    assert float(shares[0]) > 0
    assert shares[1:3] == ["0.0", ""]
    assert main(["diff", a, b, "--mask", str(tmp_path / "masks" / "<em>0001.bmp")]) == 2
    assert "0001.bmp has no white pixel" in capsys.readouterr().err
    Image.fromarray(mask // 255).save(tmp_path / "masks" / "dark.png")
    assert main(command) == 2
    assert "dark.png has no white pixel, only values up to 1 of 255" in capsys.readouterr().err
