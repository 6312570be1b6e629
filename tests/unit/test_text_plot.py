"""Coloured words: their colours, their order, and that they stay within the figure."""

from __future__ import annotations

import itertools
import re
import sys
import warnings
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyBboxPatch

from interpretdl.data_processor import bidi, canvas, text_words
from interpretdl.data_processor.text_page import save_texts, text_html
from interpretdl.data_processor.text_plot import plot_texts
from interpretdl.data_processor.visualizer import save_figure
from interpretdl.errors import InputError, InterpretWarning, ResourceError

HEBREW, ENGLISH = ["שלום", "עולם", "טוב"], ["a", "fine", "film"]


def pairs(words, values=None):
    values = np.linspace(-1, 1, len(words)) if values is None else values
    return list(zip(words, values, strict=True))


def drawn(figure):
    """Left, top, right and bottom in points, colour, ink and text of each word, as drawn."""
    axis = figure.axes[0]
    boxes = [patch for patch in axis.patches if isinstance(patch, FancyBboxPatch)]
    letters = [text for text in axis.texts if text.get_color() in ("#000000", "#ffffff")]
    found = []
    for box, text in zip(boxes, letters, strict=True):
        x, y = box.get_x(), box.get_y()
        edges = (x, y, x + box.get_width(), y + box.get_height())
        found.append((edges, box.get_facecolor()[:3], text.get_color(), text.get_text()))
    return found


def words_of(figure):
    """The words from top to bottom, and on a line from left to right."""
    return [text.strip("\u200f") for *_, text in sorted(drawn(figure), key=lambda w: w[0][1::-1])]


class Page(HTMLParser):
    """Its elements with their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


# -- colours --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signed", "name", "expected"),
    [(True, "RdBu_r", [0.0, 0.25, 0.5, 0.75, 1.0]), (False, "Reds", [0.0, 0.0, 0.0, 0.5, 1.0])],
)
def test_colours_are_the_colormaps(signed, name, expected):
    """The largest |value|, 4, is full colour; on a signed scale 0 is the middle."""
    text = pairs(["very", "bad", "film", "but", "good"], [-4.0, -2.0, 0.0, 2.0, 4.0])
    wanted = [matplotlib.colormaps[name](unit)[:3] for unit in expected]
    figure = plot_texts([text], [""], signed=signed)
    for (_, colour, _, _), want in zip(drawn(figure), wanted, strict=True):
        np.testing.assert_allclose(colour, want, atol=0.5 / 255)
    page = text_html([text], [""], signed=signed)
    found = re.findall(r'<span title="[^"]+" style="background:(#\w+)', page)
    np.testing.assert_allclose([to_rgb(c) for c in found], wanted, atol=0.5 / 255)


def test_a_shared_scale_compares_and_one_of_its_own_does_not():
    texts = [[("a", 1.0)], [("b", 4.0)]]
    shared = [colour for _, colour, *_ in drawn(plot_texts(texts, ["", ""], signed=False))]
    single = plot_texts(texts, ["", ""], signed=False, scale="text")
    reds = matplotlib.colormaps["Reds"]
    np.testing.assert_allclose(shared, [reds(0.25)[:3], reds(1.0)[:3]], atol=0.5 / 255)
    np.testing.assert_allclose([c for _, c, *_ in drawn(single)], [reds(1.0)[:3]] * 2, atol=1e-2)
    assert single.axes[1].texts[0].get_text() == "relative relevance"


def test_the_bar_has_the_range():
    figure = plot_texts([pairs(ENGLISH, [-0.25, 0.5, 0.1])], [""], signed=True)
    labels = [label.get_text() for label in figure.axes[1].get_xticklabels()]
    assert labels == ["−0.5", "0", "0.5"]
    page = Page(text_html([pairs(ENGLISH, [-0.25, 0.5, 0.1])], [""], signed=True))
    assert page.text.endswith("−0.5  0.5\N{EM SPACE}relevance  (against – for)")


@pytest.mark.parametrize("colormap", ["RdBu_r", "Reds", "viridis", "inferno", "jet"])
def test_letters_are_read_on_every_colour(colormap):
    """WCAG's contrast of at least 4.5, by its formula."""

    def light(colour):
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in colour]
        return np.dot([0.2126, 0.7152, 0.0722], linear)

    words = [f"w{i}" for i in range(41)]
    for _, colour, ink, _ in drawn(
        plot_texts([pairs(words)], [""], signed=True, colormap=colormap)
    ):
        low, high = sorted([light(colour), light(to_rgb(ink))])
        assert (high + 0.05) / (low + 0.05) > 4.5


def test_zeros_are_drawn_as_nothing():
    colours = {
        colour for _, colour, *_ in drawn(plot_texts([pairs("ab", [0, 0])], [""], signed=True))
    }
    np.testing.assert_allclose([*colours], [matplotlib.colormaps["RdBu_r"](0.5)[:3]], atol=1e-2)


# -- places ---------------------------------------------------------------------------------------


def test_words_flow_within_the_figure_and_do_not_overlap():
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("aeilmnW"), rng.integers(1, 14))) for _ in range(120)]
    higher = pairs(["x" * 300, "Ǻ\u0323\u0303"])  # the last one makes all lines higher
    figure = plot_texts([pairs(words), higher], ["one", "two"], signed=True)
    found = drawn(figure)
    width, height = figure.get_size_inches() * 72
    assert words_of(figure)[: len(words)] == words
    assert "".join(words_of(figure)[len(words) : -1]) == "x" * 300
    for (left, top, right, bottom), *_ in found:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    for (one, *_), (other, *_) in itertools.pairwise(found):
        assert one[2] <= other[0] or one[3] <= other[1]
    # what is drawn is as wide as what was measured, at any resolution
    for dpi in (72, 100, 288):
        figure.set_dpi(dpi)
        with canvas.unhinted():
            for box, text in zip(figure.axes[0].patches, _letters(figure), strict=True):
                edges = box.get_window_extent(), text.get_window_extent()
                assert edges[0].x0 <= edges[1].x0 + 1
                assert edges[1].x1 <= edges[0].x1 + 1


def _letters(figure):
    return [text for text in figure.axes[0].texts if text.get_color() in ("#000000", "#ffffff")]


def test_lines_are_filled():
    """A word goes to the next line only where it does not fit."""
    figure = plot_texts([pairs([f"word{i}" for i in range(100)])], [""], signed=True)
    found = [edges for edges, *_ in drawn(figure)]
    room = max(edges[2] for edges in found)
    for one, other in itertools.pairwise(found):
        if other[1] > one[1]:
            assert one[2] + (other[2] - other[0]) > room


def test_a_sentence_of_several_lines_is_one_colour():
    text = [("first " * 40, 1.0), ("second", -1.0)]
    found = drawn(plot_texts([text], [""], signed=True))
    assert len({edges[1] for edges, *_ in found}) > 2
    assert len({colour for _, colour, *_ in found}) == 2
    assert " ".join(text for *_, text in found).split() == ["first"] * 40 + ["second"]


def test_right_to_left_text_stands_at_the_right_and_runs_to_the_left():
    figure = plot_texts([pairs(HEBREW), pairs(ENGLISH)], ["", ""], signed=True)
    shaped = hasattr(matplotlib.ft2font, "__libraqm_version__")
    seen = HEBREW if shaped else [word[::-1] for word in HEBREW]
    assert words_of(figure) == [*seen[::-1], *ENGLISH]
    found = [edges for edges, *_ in drawn(figure)]
    width = figure.get_size_inches()[0] * 72
    right = max(edges[2] for edges in found[:3])
    assert right == pytest.approx(width - found[3][0])  # the margins are the same


def test_what_runs_against_the_text_keeps_its_order():
    hebrew = [*HEBREW[:2], "Star", "Wars", "7", HEBREW[2], "."]
    kinds = [kind for word in hebrew for kind in (bidi.kind_of(word), "ON")]
    levels = bidi.levels_of(kinds, rtl=True)
    order = [hebrew[i // 2] for i in bidi.order_of(levels) if i % 2 == 0]
    assert order == [".", HEBREW[2], "Star", "Wars", "7", HEBREW[1], HEBREW[0]]
    english = ["say", *HEBREW[:2], "3", "times", "!"]
    kinds = [kind for word in english for kind in (bidi.kind_of(word), "ON")]
    levels = bidi.levels_of(kinds, rtl=False)
    order = [english[i // 2] for i in bidi.order_of(levels) if i % 2 == 0]
    assert order == ["say", "3", HEBREW[1], HEBREW[0], "times", "!"]


def test_letters_for_matplotlib_before_3_11():
    """By Unicode's joining rules; a joined letter's form is a character of its own."""
    pytest.importorskip("bidi")
    pytest.importorskip("arabic_reshaper")
    seen = lambda word, level=1: bidi.visible(word, level, shaped=False)  # noqa: E731
    assert seen("שלום") == "םולש"
    assert seen("ב-3.5") == "3.5-ב"
    assert seen("(") == ")"
    assert seen("film", 2) == "film"
    assert seen("(", 0) == "("
    # seen initial, lam-alef final, meem isolated
    assert seen("سلام") == "\N{ARABIC LETTER MEEM ISOLATED FORM}" + (
        "\N{ARABIC LIGATURE LAM WITH ALEF FINAL FORM}\N{ARABIC LETTER SEEN INITIAL FORM}"
    )
    # dal joins only to the letter before it
    assert seen("بدب") == "\N{ARABIC LETTER BEH ISOLATED FORM}" + (
        "\N{ARABIC LETTER DAL FINAL FORM}\N{ARABIC LETTER BEH INITIAL FORM}"
    )


def test_a_sign_is_told_its_direction():
    assert bidi.visible("(", 1, shaped=True) == "\u200f("


def test_what_is_missing_for_matplotlib_before_3_11_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "arabic_reshaper", None)
    with pytest.warns(InterpretWarning, match="pip install python-bidi arabic-reshaper"):
        assert bidi.visible("שלום", 1, shaped=False) == "שלום"


@pytest.mark.parametrize(
    ("left", "right", "apart"),
    [
        ("a", "film", True),
        ("电", "影", False),
        ("カ", "メ", False),
        ("影", "。", False),
        ("“", "电", False),
        ("影", "”", False),
        ("영화", "좋아", True),
        ("BERT", "模", True),
        ("film", ".", False),
        ("film", "(", True),
        ("(", "film", False),
        ("ไทย", "ไทย", False),
    ],
)
def test_where_a_space_stands(left, right, apart):
    assert text_words.stands_apart(left, right) is apart
    assert [word.spaced for word in text_words.words_of(pairs([left, right]), ["#fff000"] * 2)] == [
        True,
        apart,
    ]


# -- odd texts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["one"],
        [""],
        ["$x_1$", "a_b^c", r"\frac{", "$", "%", "{}"],
        ["\x00", "\n", "tab\there", "\u202eabc", "\ud800", "\ufeff", "\u200d"],
        ["a\u0301" * 50, "👩\u200d👩", "W" * 2000],
        ["<script>", "&amp;", "\"'"],
        [f"word{i}" for i in range(512)],
    ],
    ids=["none", "one", "empty", "formulas", "control", "long", "markup", "many"],
)
@pytest.mark.filterwarnings("ignore:no font that matplotlib knows:interpretdl.InterpretWarning")
def test_odd_words_survive(words):
    figure = plot_texts([pairs(words)], ["$title$ \n <b>"], signed=True)
    assert len(canvas.png_of(figure)) > 1000
    shown = [text_words.clean(word) or "␣" for word in words]
    found = Page(text_html([pairs(words)], ["<b>"], signed=True))
    assert {tag for tag, _ in found.elements} <= {"div", "span", "bdi"}
    assert len([1 for _, values in found.elements if "title" in values]) == len(words)
    assert all(word in found.text for word in shown)
    assert not re.search(r"[\x00-\x08\x0a-\x1f\u202a-\u202e]", found.text)


def test_words_are_drawn_literally_in_all_formats(tmp_path):
    text = pairs(["$x_1$", *HEBREW, "<b>"])
    for ending in ("png", "pdf", "svg"):
        made = []
        for _ in range(2):
            save_figure(plot_texts([text], ["$y$"], signed=True), tmp_path / f"a.{ending}")
            made.append((tmp_path / f"a.{ending}").read_bytes())
        assert made[0] == made[1]
        assert len(made[0]) > 1000


def test_no_font_has_it_is_said_once(monkeypatch):
    monkeypatch.setattr(canvas, "_fonts", lambda _: (("DejaVu Sans", frozenset(range(128))),))
    monkeypatch.setattr(canvas, "_family_with", lambda _: None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure = plot_texts([pairs("电影好看ไทย"), pairs("电影")], ["正面", ""], signed=True)
        canvas.png_of(figure)
    assert [one.category for one in caught] == [InterpretWarning]
    message = str(caught[0].message)
    assert "characters of CJK, Thai in this text" in message
    assert ".html" in message
    assert "fonts-noto-cjk" in message
    assert set(words_of(figure)) == {"?"}


def test_the_font_that_frames_all_characters_is_not_taken():
    files = [font.name for font in matplotlib.font_manager.fontManager.ttflist]
    family = canvas._family_with(ord("क"))
    assert family is None or (family in files and not family.startswith("Last Resort"))


# -- pages ----------------------------------------------------------------------------------------


def test_pages_are_escaped_and_tell_directions():
    texts = [pairs(["<script>", "&", "[CLS]", "x"]), pairs(["[CLS]", *HEBREW, "##ing"])]
    page = text_html(texts, ["<i>", HEBREW[0]], signed=True)
    assert "<script>" not in page
    assert "<i>" not in page
    assert "&lt;script&gt;</span> <span" in page
    found = Page(page)
    assert [v["dir"] for _, v in found.elements if "dir" in v] == [
        *["ltr"] * 2,
        *["rtl"] * 2,
        "ltr",
    ]
    against = [v["style"] for _, v in found.elements if "unicode-bidi:embed" in v.get("style", "")]
    assert len(against) == 2  # [CLS] and ##ing in the Hebrew text
    assert all("direction:ltr" in style for style in against)
    assert "<script" not in page
    assert "电</span><span" in text_html([pairs("电影")], [""], signed=True)


def test_a_page_is_written_whole(tmp_path):
    save_texts(tmp_path / "a.html", [pairs(ENGLISH)], ["<good>"], signed=False)
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "<title>&lt;good&gt;</title>" in page
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    with pytest.raises(ResourceError, match=r"\.html"):
        save_texts(tmp_path / "a.txt", [pairs(ENGLISH)], [""], signed=False)


# -- what does not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize("function", [plot_texts, text_html])
@pytest.mark.parametrize(
    ("texts", "change", "message"),
    [
        ([[("a", float("nan"))]], {}, "finite"),
        ([[("a", float("inf"))]], {}, "finite"),
        ([[("a", "b")]], {}, "finite"),
        ([[("a", 10**400)]], {}, "finite"),
        ([("a", 0.1)], {}, "pairs of a word and its value"),
        ([[(1, 0.1)]], {}, "pairs"),
        ([], {}, "nothing to draw"),
        ([[("a", 1.0)]] * 2, {}, "titles"),
        ([[("a", 1.0)]], {"scale": "image"}, "choose from shared, text"),
        ([[("a", 1.0)]], {"colormap": "Redz"}, "did you mean 'Reds'"),
    ],
)
def test_what_does_not_fit_is_said(function, texts, change, message):
    with pytest.raises(InputError, match=message):
        function(texts, ["title"] * bool(texts), signed=True, **change)


def test_too_many_lines_for_a_figure():
    with pytest.raises(InputError, match="do not fit in one figure"):
        plot_texts([[("long " * 60, 1.0)]] * 500, [""] * 500, signed=True)
