"""The report of a run: what it says, and how it is looked through in a browser."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paddle.io import Subset

from interpretdl.cli import main
from interpretdl.errors import InputError, ResourceError
from interpretdl.runs import open_run, report
from interpretdl.runs.columns import columns_of
from interpretdl.runs.measures import rank_correlation
from interpretdl.runs.page_data import percent
from interpretdl.runs.sheets import MAP_SIDE, map_sheets, picture_sheets
from interpretdl.runs.store import write_shard
from tests.chromium import Browser, Page, browser, needs_browser
from tests.small_runs import run as small_run
from tests.stores import NAMES, planted_store

N, BROKEN = 72, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 72 pictures, two of which could not be read."""
    return planted_store(tmp_path_factory.mktemp("run") / "store", N, broken=BROKEN)


@pytest.fixture(scope="module")
def page_file(folder: Path) -> Path:
    path = folder.parent / "report.html"
    open_run(folder).report(path)
    return path


def data_of(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_columns_are_the_stored_rows(folder: Path) -> None:
    run = open_run(folder)
    found = columns_of(run)
    assert len(found) == N
    assert found.methods.keys() == {"grad_cam", "<i>lrp</i>"}
    for name, method in found.methods.items():
        rows = run.rows(name)
        assert found.label.tolist() == [row["label"] for row in rows]
        assert [error or None for error in method.errors] == [row["error"] for row in rows]
        np.testing.assert_array_equal(
            method.metrics["deletion"], [row["metric_deletion"] or np.nan for row in rows]
        )
        backwards = range(N - 1, -1, -1)
        maps = found.maps([("grad_cam", [0]), (name, backwards)])[1][::-1]
        assert [one is not None for one in maps] == method.there.tolist()
        kept = [one for one in maps if one is not None]
        np.testing.assert_array_equal(np.stack(kept), run.maps(name))
        assert method.signed == (name == "<i>lrp</i>")
    assert [i for i, error in enumerate(found.errors) if error] == [70, 71]


def test_it_is_one_escaped_file(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    for name in ("<b>dog", "<i>lrp", "<em>", "<u>no"):
        assert name not in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    data = data_of(page_file)
    assert len(data["title"]) == N
    assert data["thumbs"]["layers"]["grad_cam"]["there"] == [1] * (N - BROKEN) + [0] * BROKEN
    assert data["of"]["grad_cam"]["metrics"]["deletion"][3] is None


def test_tables_count_all(folder: Path, tmp_path: Path) -> None:
    open_run(folder).report(tmp_path / "all.html")
    open_run(folder).report(tmp_path / "few.html", pictures=10)
    assert len(data_of(tmp_path / "few.html")["title"]) == 10
    text = [(tmp_path / name).read_text(encoding="utf-8") for name in ("all.html", "few.html")]
    tables = [re.search("<h2>Classes</h2>.*?</table>", each, re.DOTALL) for each in text]
    assert tables[0] is not None
    assert tables[1] is not None
    assert tables[0][0] == tables[1][0]
    wrong = sum(
        row["prediction"] not in (None, row["label"]) for row in open_run(folder).rows("grad_cam")
    )
    pairs = re.findall(r'<td class="number">(\d+)</td>', text[1].partition("Confusions")[2])
    assert sum(map(int, pairs)) == wrong > 0
    assert "faithful" not in text[0]  # which not every metric measures
    assert "grad_cam, lowest deletion: best" in text[0]
    assert "grad_cam, highest deletion: worst" in text[0]


def test_tables_say_what_they_leave_out(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "_LISTED", 1)
    monkeypatch.setattr(report, "_PAIRS", 1)
    open_run(folder).report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for said in ("2 labels, least", "2 pairs of classes", "4 maps of 2 pictures could not be made"):
        assert said in text
    assert text.count("1 of 2 are listed.") == 3


def test_a_map_that_one_method_lacks(tmp_path: Path) -> None:
    store = open_run(planted_store(tmp_path / "store", 16))
    rows = [
        {**row, "map": row["map"] and np.float16(row["map"])} for row in store.table().to_pylist()
    ]
    rows[3].update(error="<b>why", map=None, map_height=None, map_width=None)
    write_shard(store.folder, 0, rows, ["deletion"], store.fingerprint)
    store.report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "3 maps of 2 pictures could not be made" in text
    assert f"<td>{rows[3]['method']}: &lt;b&gt;why</td>" in text
    assert "<td>&lt;u&gt;no picture&lt;/u&gt;</td>" in text


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (1, 0, "100%"), (0.9996, 0, "99.96%"), (0.996, 0, "99.6%"), (0.5, 0, "50%"),
        (0.05, 1, "5.0%"), (1 / 3000, 1, "0.03%"), (0, 1, "0.0%"), (float("nan"), 0, "–"),
    ],
)  # fmt: skip
def test_nearly_all_is_not_all(share: float, digits: int, text: str) -> None:
    assert percent(share, digits) == text


def test_pictures_that_are_gone_are_left_out(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "store"
    pictures = tmp_path / "gone"
    copy.parent.mkdir()
    planted_store(copy, 12, pictures=pictures)
    shutil.rmtree(pictures)
    open_run(copy).report(tmp_path / "report.html")
    thumbs = data_of(tmp_path / "report.html")["thumbs"]
    assert thumbs["there"] == [0] * 12
    assert thumbs["shapes"] == [[1, 1]] * 11 + [None]  # the maps'


def test_sheets_hold_what_they_are_given() -> None:
    """Tiles are where the script looks for them, to what JPEG loses."""
    import base64
    import io

    from PIL import Image

    rng = np.random.default_rng(0)
    levels = rng.random(70)
    maps: list[Any] = [np.full((7, 7), level, np.float32) for level in levels]
    for one, level in zip(maps, levels, strict=True):
        one[0, 0] = 1  # each map has its own scale
        one[1:] = level
    maps[5] = None
    sheets, there = map_sheets(maps, [None] * 70, signed=False)
    assert len(sheets) == 2
    assert there == [i != 5 for i in range(70)]
    for i in (0, 9, 63, 64, 69):
        with Image.open(io.BytesIO(base64.b64decode(sheets[i // 64].partition(",")[2]))) as file:
            pixels = np.asarray(file)
        y, x = (k * MAP_SIDE for k in divmod(i % 64, 8))
        middle = pixels[y + 40 : y + 50, x + 40 : x + 50].astype(float)
        assert abs(middle.mean() - 255 * levels[i]) < 4
    wide = np.zeros((30, 60, 3), np.uint8)
    _, shapes = picture_sheets([wide, None], 96)
    assert shapes == [(1.0, 0.5), None]
    assert len(picture_sheets([None] * 64, 96)[0]) == 1
    assert picture_sheets([], 96) == ([], [])


def test_what_cannot_be_written_or_read(folder: Path, tmp_path: Path, capsys: Any) -> None:
    run = open_run(folder)
    with pytest.raises(ResourceError):
        run.report(tmp_path / "report.txt")
    with pytest.raises(InputError):
        run.report(tmp_path / "report.html", pictures=0)
    with pytest.raises(InputError, match="root must be"):
        run.report(tmp_path / "report.html", root=str(tmp_path / "nowhere"))
    for shard in (tmp_path / "empty", folder):
        if shard != folder:
            shutil.copytree(folder, shard)
            for file in shard.glob("*.parquet"):
                file.unlink()
            with pytest.raises(InputError, match="no complete shard"):
                open_run(shard).report(tmp_path / "report.html")
    assert main(["report", str(folder), "--out", str(tmp_path / "r.html"), "-q"]) == 0
    assert (tmp_path / "r.html").is_file()
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "r.html")]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_clusters_of_a_class(folder: Path) -> None:
    run = open_run(folder)
    found = run.clusters("cat", "grad_cam")
    assert found.count == 2
    marked = set(range(0, N - BROKEN, 4))
    groups = [set(found.members(k).tolist()) for k in range(2)]
    assert marked in groups
    assert set.union(*groups) == set(range(0, N - BROKEN, 2))
    assert run.clusters(NAMES[1], "grad_cam").count == 1
    for wrong in ("dgo", 2, None, 0.0):
        with pytest.raises(InputError):
            run.clusters(wrong, "grad_cam")  # type: ignore[arg-type]  # that is tested
    for method in (None, "lime"):
        with pytest.raises(InputError):
            run.clusters(0, method)


# -- in a browser ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


def put(page: Page, **values: str) -> str:
    """Type into the filter; what it then says."""
    for name, value in values.items():
        page.run(
            f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('input', "
            f"{{bubbles: true}})); }})(document.getElementById({json.dumps(name)}))"
        )
    return str(page.run("document.getElementById('shown').textContent"))


def titles(page: Page) -> list[int]:
    """The pictures of the cards, by the number in their file's name."""
    found = page.run("Array.from(document.querySelectorAll('.card b'), e => e.textContent)")
    return [int(title.rpartition(">")[2].partition(".")[0]) for title in found]


@needs_browser
def test_filters_and_orders(chromium: Browser, folder: Path, page_file: Path) -> None:
    rows = open_run(folder).rows("grad_cam")
    page = chromium.open(page_file)
    assert put(page) == f"{N} of {N} pictures"
    assert titles(page) == list(range(24))
    page.click("#more")
    assert titles(page) == list(range(48))

    def expected(fits: Any) -> list[int]:
        return [row["picture"] for row in rows if row["error"] is None and fits(row)]

    wrong = expected(lambda row: row["prediction"] != row["label"])
    assert put(page, outcome="wrong") == f"{len(wrong)} of {N} pictures"
    assert titles(page) == wrong[:24]
    cats = expected(lambda row: row["prediction"] != row["label"] and row["label"] == 0)
    put(page, label="0")
    assert titles(page) == cats
    page.click("#clear")
    put(page, outcome="error")
    assert titles(page) == [70, 71]
    page.click("#clear")
    sure = expected(lambda row: row["probability"] >= 0.9)
    assert put(page, low="90") == f"{len(sure)} of {N} pictures"
    put(page, low="", sort="high")
    ranked = sorted(expected(lambda row: True), key=lambda i: -rows[i]["probability"])
    assert titles(page) == ranked[:24]
    metric = page.run(
        "Array.from(document.querySelectorAll('#metric option')).find("
        "e => e.textContent === 'deletion of grad_cam').value"
    )
    put(page, metric=metric, least="0.5", sort="small")
    high = expected(lambda row: (row["metric_deletion"] or 0) >= 0.5)
    ranked = sorted(high, key=lambda i: rows[i]["metric_deletion"])
    # the page has four digits, so neighbours may change places
    assert titles(page) == pytest.approx(ranked[:24]) or set(titles(page)) == set(ranked[:24])
    assert put(page, find="0012") == f"{int(12 in high)} of {N} pictures"
    assert page.errors == []
    page.close()


@needs_browser
def test_maps_lie_where_they_are_hot(chromium: Browser, page_file: Path) -> None:
    """The drawn strip, read back: picture 4 looks at the corner, picture 1 at the middle.

    Red less blue of a grey picture under a map: some -60 where the map is 0, and 60 where it is 1.
    """
    page = chromium.open(page_file)
    read = """(async i => {
      const button = document.querySelectorAll('.card')[i].querySelector('button');
      const image = button.querySelector('img');
      while (!image.src) await new Promise(r => setTimeout(r, 20));
      await image.decode();
      const c = document.createElement('canvas'), s = image.naturalHeight;
      c.width = image.naturalWidth; c.height = s;
      const pen = c.getContext('2d'); pen.drawImage(image, 0, 0);
      const k = JSON.parse(button.dataset.cut).findIndex(([, name]) => name === 'grad_cam');
      const at = (x, y) => (([r, , b]) => r - b)(pen.getImageData((k + x) * s, y * s, 1, 1).data);
      return [at(.5, .5), at(.9, .9), at(.1, .1), c.width / s];
    })"""
    middle, corner, other, tiles = page.run(f"{read}(1)")
    assert tiles == 3
    assert middle > 30
    assert max(corner, other) < -30
    middle, corner, other, _ = page.run(f"{read}(4)")
    assert corner > 30
    assert max(middle, other) < -30
    page.close()


@needs_browser
def test_maps_without_a_picture_keep_their_shape(chromium: Browser, tmp_path: Path) -> None:
    wide = np.random.default_rng(0).random((2, 3, 16, 64)).astype("float32")
    found = small_run(Subset(wide, [0, 1]), tmp_path / "run", "gradient")
    found.report(tmp_path / "report.html")
    page = chromium.open(tmp_path / "report.html")
    page.until("document.querySelector('.card img').src !== ''")
    heat = found.maps("gradient")[0]
    height, width = heat.shape
    assert width == 4 * height
    drawn = page.run(f"""(async () => {{
      const image = document.querySelector('.card img');
      await image.decode();
      const c = document.createElement('canvas'), s = image.naturalHeight, rows = [];
      c.width = image.naturalWidth; c.height = s;
      const pen = c.getContext('2d'); pen.drawImage(image, 0, 0);
      for (let y = 0; y < {height}; y++) for (let x = 0; x < {width}; x++) {{
        const at = [s + s * (x + .5) / {width}, s * 3 / 8 + s / 4 * (y + .5) / {height}];
        const [r, , b] = pen.getImageData(...at, 1, 1).data;
        rows.push(r - b);
      }}
      return rows;
    }})()""")
    assert rank_correlation(np.reshape(drawn, heat.shape), heat) > 0.8
    page.close()


@needs_browser
def test_a_class_of_which_no_picture_is_shown(
    chromium: Browser, folder: Path, tmp_path: Path
) -> None:
    open_run(folder).report(tmp_path / "report.html", pictures=1)
    page = chromium.open(tmp_path / "report.html")
    page.run("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    page.click("button.link[data-label='1']")
    assert page.run("document.getElementById('label').value") == "1"
    assert put(page) == "0 of 1 picture"
    page.close()


@needs_browser
def test_a_class_leads_to_its_pictures(chromium: Browser, page_file: Path) -> None:
    page = chromium.open(page_file)
    page.run("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    page.click("button.link[data-prediction]")
    pair = page.run("['label', 'prediction'].map(id => document.getElementById(id).value)")
    assert pair[1] == "2"
    found = page.run("Array.from(document.querySelectorAll('.card .mark'), e => e.textContent)")
    assert found
    assert all(text.startswith("wrong: it is") for text in found)
    assert page.errors == []
    page.close()


@needs_browser
def test_a_thousand_pictures_open_at_once(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("thousand")
    store = planted_store(folder / "store", 1000, copies=50, side=7)
    open_run(store).report(folder / "report.html")
    assert (folder / "report.html").stat().st_size < 20e6
    start = time.monotonic()
    page = chromium.open(folder / "report.html")
    page.until("document.querySelector('.card img').src !== ''")
    seconds = time.monotonic() - start
    assert put(page) == "1000 of 1000 pictures"
    assert seconds < 6  # it takes 0.7 s on idle cores; tests share theirs
    page.close()
