"""The report of a dissection: what is in it, and how it behaves in a browser."""

from __future__ import annotations

import base64
import html.parser
import importlib.util
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interpretdl.dissection import Broden, dissect
from interpretdl.dissection.report import write_report

_spec = importlib.util.spec_from_file_location(
    "planted_data", Path(__file__).resolve().parents[1] / "planted_data.py"
)
assert _spec is not None
assert _spec.loader is not None
_planted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_planted)
DETECTORS, PLAIN = _planted.DETECTORS, _planted.PLAIN
pixels_network, planted = _planted.pixels_network, _planted.planted
CHROMIUM = shutil.which("chromium")


class Page(html.parser.HTMLParser):
    """Cards, pictures and words of a report."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cards: list[dict[str, str]] = []
        self.sources: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "article":
            self.cards.append(values)
        for name in ("src", "href"):
            if name in values:
                self.sources.append(values[name])

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    found = dissect(
        pixels_network(DETECTORS), planted(folder / "data"), "0", folder / "out",
        preprocessing=PLAIN, baseline=True,
    )  # fmt: skip
    assert found.report is not None
    return found.report


def test_report_is_self_contained_and_complete(report: Path) -> None:
    text = report.read_text()
    page = Page(text)
    words = "".join(page.words)
    assert "2/4 units covering 2 concepts with IoU ≥ .04" in words
    assert "0-rotated" in words
    assert len(page.cards) == 4
    assert {(c["data-unit"], c["data-label"], c["data-category"]) for c in page.cards} >= {
        ("0", "red <b>", "object"),
        ("2", "green", "texture"),
    }
    assert "red <b>" in words  # escaped: shown as text and not taken as a tag
    assert "<b> (object)" not in text
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r'src="data:[^"]*"', "", text))
    # bars in the order object, scene, part, material, texture, color
    bars = re.findall(r'<g data-category="(\w+)">', text)
    assert bars[:2] == ["object", "texture"]


def test_report_shows_the_strongest_images_under_the_mask(report: Path) -> None:
    """A unit that looks for red: bright where red is, dark elsewhere."""
    page = Page(report.read_text())
    card = page.sources[[c["data-unit"] for c in page.cards].index("0")]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(card.partition(",")[2]))))
    assert pixels.shape[1] == 10 * 80 + 9 * 2
    red = (pixels[..., 0] > 150) & (pixels[..., 1] < 90)
    assert red[:, :80].any()
    assert np.median(pixels[:, :80]) < 40


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: chromium is not on PATH")
def test_report_sorts_and_filters_in_a_browser(report: Path, tmp_path: Path) -> None:
    """A script at the end does what a person would, and the page is written out again."""
    script = """<script>
    const set = (id, value) => { const e = document.getElementById(id);
      if (e.type === "checkbox") e.checked = value; else e.value = value;
      e.dispatchEvent(new Event("input", {bubbles: true})); };
    const seen = () => Array.from(document.querySelectorAll(".card:not([hidden])"))
      .map(card => card.dataset.unit).join(" ");
    const log = {start: seen()};
    set("sort", "unit"); log.unit = seen();
    set("detectors", true); log.detectors = seen();
    set("category", "texture"); log.texture = seen();
    set("category", ""); set("find", "RED"); log.red = seen();
    set("find", "3"); set("detectors", false); log.three = seen();
    log.shown = document.getElementById("shown").textContent;
    log.pictures = Array.from(document.images).filter(i => i.complete && i.naturalWidth).length;
    document.title = JSON.stringify(log);
    </script>"""
    page = tmp_path / "page.html"
    page.write_text(report.read_text().replace("</body>", script + "</body>"))
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
         f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title
    log = json.loads(html.unescape(title[1]))
    assert log["start"].split()[:2] == ["0", "2"]
    assert log["unit"] == "0 1 2 3"
    assert log["detectors"] == "0 2"
    assert log["texture"] == "2"
    assert log["red"] == "0"
    assert log["three"] == "3"
    assert log["shown"] == "1 of 4 units"


def test_report_is_written_once(report: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    data = Broden(report.parent.parent / "data")
    write_report(target, [], data, digest="abc")
    target.write_text(target.read_text() + "<!-- mine -->")
    write_report(target, [], data, digest="abc")
    assert target.read_text().endswith("<!-- mine -->")
    write_report(target, [], data, digest="abd")
    assert not target.read_text().endswith("<!-- mine -->")
