"""The reports in a browser: wide and narrow, light and dark, by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpretdl import GradientInterpreter
from interpretdl.dissection import dissect
from interpretdl.evaluator import compare
from interpretdl.runs import diff_runs, open_run
from tests.chromium import FAINT, Browser, Page, browser, needs_browser
from tests.conftest import toy_network
from tests.planted_data import DETECTORS, PLAIN, pixels_network, planted
from tests.stores import planted_store

pytestmark = needs_browser
METHODS = 12  # more than fit side by side
OPEN = "document.querySelectorAll('details').forEach(e => { e.open = true; })"
# Where the page is wider than the window, which elements stick out.
WIDER = """(() => {
  const page = document.documentElement, width = page.clientWidth;
  if (page.scrollWidth <= width && innerWidth === WIDTH) return [];
  const out = Array.from(document.querySelectorAll("body *")).filter(
    e => !e.parentElement.closest(".scroll") && e.getBoundingClientRect().right > width);
  return ["window " + innerWidth + ", page " + page.scrollWidth,
    ...out.map(e => e.outerHTML.slice(0, 80))];
})()"""
VIEWER = """(() => {
  const v = document.getElementById("viewer"), stage = v.querySelector(".stage");
  const r = stage.querySelector(".tile, img");
  return {open: v.open, title: document.getElementById("viewer-title").textContent,
    width: r ? r.getBoundingClientRect().width : 0,
    picture: r ? (r.src || r.style.backgroundImage).slice(0, 30) : "",
    complete: r && r.tagName === "IMG" ? r.complete && r.naturalWidth > 0 : true,
    inside: stage.scrollWidth <= v.clientWidth};
})()"""
THUMBS = (
    "Array.from(document.querySelectorAll('button.enlarge')).filter(b => !b.closest('[hidden]'))"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The reports, with names that would be tags if nobody escaped them."""
    folder = tmp_path_factory.mktemp("reports")
    pixels = np.random.default_rng(0).integers(0, 256, (10, 24, 20, 3)).astype(np.uint8)
    model = toy_network()
    methods = {
        f"<i>a method of a long name</i> {i}": GradientInterpreter(model) for i in range(METHODS)
    }
    table = compare(methods, pixels, {"<u>deletion</u>": "deletion", "sparseness": "sparseness"})
    table.to_html(folder / "comparison.html")
    found = dissect(
        pixels_network(DETECTORS), planted(folder / "data"), "0", folder / "out",
        preprocessing=PLAIN, baseline=True,
    )  # fmt: skip
    assert found.report is not None
    stores = [planted_store(folder / name, 72, flip=flip) for name, flip in (("a", 0), ("b", 3))]
    open_run(stores[0]).report(folder / "run.html")
    diff_runs(*stores).to_html(folder / "diff.html")
    return {
        "comparison": folder / "comparison.html", "dissection": found.report,
        "run": folder / "run.html", "diff": folder / "diff.html",
    }  # fmt: skip


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(params=["comparison", "dissection", "run", "diff"])
def file(request: pytest.FixtureRequest, files: dict[str, Path]) -> Path:
    return files[request.param]


def opened(chromium: Browser, file: Path, **window: Any) -> Page:
    """The page when its script has drawn what it draws."""
    page = chromium.open(file, **window)
    page.run("typeof drawn === 'undefined' || drawn.then(() => true)")
    return page


def alone(page: Page, file: Path) -> None:
    """Nothing failed, and nothing was asked for but the file."""
    assert page.errors == []
    assert {url for url in page.requests if not url.startswith("data:")} == {file.as_uri()}
    page.close()


@pytest.mark.parametrize("width", [320, 390, 700, 1280])
def test_nothing_sticks_out_of_the_window(chromium: Browser, file: Path, width: int) -> None:
    page = opened(chromium, file, width=width)
    assert page.run(WIDER.replace("WIDTH", str(width))) == []
    page.run(OPEN)
    assert page.run(WIDER.replace("WIDTH", str(width))) == []
    page.click("button.enlarge")
    assert page.run(WIDER.replace("WIDTH", str(width))) == []
    assert page.run(VIEWER)["inside"]
    alone(page, file)


@pytest.mark.parametrize("dark", [False, True])
def test_texts_are_legible(chromium: Browser, file: Path, dark: bool) -> None:
    page = opened(chromium, file, dark=dark)
    page.run(OPEN)
    page.click("button.enlarge")
    found = page.run(FAINT)
    assert found["count"] > 20
    assert found["faint"] == []
    light = page.run("parseInt(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")
    assert light < 60 if dark else light > 200
    alone(page, file)


@pytest.mark.parametrize("width", [390, 1280])
def test_a_click_enlarges(chromium: Browser, file: Path, width: int) -> None:
    page = opened(chromium, file, width=width)
    # as much as is seen of one picture before
    small = page.run(
        "document.querySelector('button.enlarge img').getBoundingClientRect()['height']"
    )
    page.click("button.enlarge")
    seen = page.run(VIEWER)
    assert seen["open"]
    assert seen["complete"]
    assert seen["width"] > 1.2 * small
    assert seen["title"]
    assert "data:image/jpeg" in seen["picture"]
    page.click("#viewer [data-step='1']")
    assert page.run(VIEWER)["title"] not in ("", seen["title"])
    page.click("#viewer [data-step='0']")
    assert not page.run(VIEWER)["open"]
    page.click("button.enlarge")
    assert page.run(VIEWER)["open"]
    page.click_at(1, 1)  # beside the viewer
    assert not page.run(VIEWER)["open"]
    alone(page, file)


@pytest.mark.parametrize("key", ["Enter", " "])
def test_a_key_enlarges(chromium: Browser, file: Path, key: str) -> None:
    page = opened(chromium, file)

    def on() -> int:
        """Which thumbnail has the focus, -1 for none."""
        found: int = page.run(f"{THUMBS}.indexOf(document.activeElement)")
        return found

    for _ in range(30):
        page.press("Tab")
        if on() >= 0:
            break
    assert on() == 0
    style: Any = page.run(
        "(s => [s.outlineStyle, s.outlineWidth])(getComputedStyle(document.activeElement))"
    )
    assert style[0] == "solid"
    assert float(style[1].removesuffix("px")) >= 2
    page.press(key)
    first = page.run(VIEWER)
    assert first["open"]
    page.press("ArrowLeft")  # there is none before
    assert page.run(VIEWER)["title"] == first["title"]
    page.press("ArrowRight")
    second = page.run(VIEWER)
    assert second["title"] != first["title"]
    page.press("Escape")
    assert not page.run(VIEWER)["open"]
    page.until(f"{THUMBS}.indexOf(document.activeElement) === 1")
    page.press(key)
    assert page.run(VIEWER)["title"] == second["title"]
    page.press("Escape")
    alone(page, file)


def test_names_are_texts(chromium: Browser, files: dict[str, Path]) -> None:
    page = opened(chromium, files["comparison"])
    page.run(OPEN)
    text = page.run("document.body.innerText")
    assert "<i>a method of a long name</i> 0" in text
    assert "<u>deletion</u>" in text
    assert page.run("document.querySelectorAll('i:not(.swatch), u').length") == 0
    page.click("button.enlarge")
    page.press("ArrowRight")
    assert page.run(VIEWER)["title"].startswith("<i>a method of a long name</i> 0: ")
    alone(page, files["comparison"])


def test_arrows_skip_what_is_filtered_out(chromium: Browser, files: dict[str, Path]) -> None:
    page = opened(chromium, files["dissection"])
    page.run(
        "(e => { e.value = 'unit'; e.dispatchEvent(new Event('input', {bubbles: true})); })"
        "(document.getElementById('sort'))"
    )
    page.run("document.getElementById('detectors').click()")
    page.click("button.enlarge")
    titles = [page.run(VIEWER)["title"]]
    for _ in range(3):
        page.press("ArrowRight")
        titles.append(page.run(VIEWER)["title"])
    assert [title.split(":")[0] for title in titles] == ["0 unit 0", *["0 unit 2"] * 3]
    assert page.run("document.querySelectorAll('#viewer .tile').length") == 10
    alone(page, files["dissection"])
