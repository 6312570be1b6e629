"""The pages in docs/ are complete, their links lead somewhere, and what they show runs."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import typer

import interpretdl as it
from interpretdl.cli.app import app
from interpretdl.registry import METHODS
from tests.paddle_models import crnn
from tests.paddle_models.forms import dictionary, two_inputs, video

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [
        *DOCS.rglob("*.md"),
        *ROOT.glob("README*.md"),
        ROOT / "CONTRIBUTING.md",
        ROOT / "tutorials" / "README.md",
    ]
)
NAMES = sorted(
    name for name, i in METHODS.all().items() if i.cls.__module__.startswith("interpretdl.")
)
SECTIONS = (
    *("Formula", "When to use it", "What it cannot tell", "Cost", "Example", "Paper", "Reference"),
)
SUBMODULES = ("dissection", "feature_visualization", "rules", "targets", "testing")
# Those of which a map takes a moment.
QUICK = ("cam", "grad_cam", "sensitivity", "simple_taylor")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """The text under each heading of the second level."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocks(text: str, language: str = "python") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """Without code."""
    return re.sub(r"^(`{3,}).*?^\1`*$|`[^`\n]+`", "", text, flags=re.MULTILINE | re.DOTALL)


def page_of(name: str) -> str:
    return text_of(DOCS / "methods" / f"{name}.md")


# ---- a page for each method ---------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_method_has_its_page(name: str) -> None:
    info, text = METHODS.find(name), page_of(name)
    found = sections(text)
    assert [s for s in found if s in SECTIONS] == list(SECTIONS)
    assert all(found[section].strip() for section in SECTIONS)
    assert f"Method `{name}`, class `{info.cls.__name__}`" in text
    assert f"(../images/gallery/{name}.jpg)" in text
    assert re.search(r"\$\$\n.+\n\$\$", found["Formula"], re.DOTALL)
    assert re.match(r"\*\*[^*]*\b(?:pass|passes)\b[^*]*\*\*", found["Cost"].strip())
    assert f"]({info.url})" in found["Paper"]
    assert info.paper.rpartition(", ")[2] in found["Paper"]
    assert found["Reference"].strip() == f"::: interpretdl.{info.cls.__name__}"


@pytest.mark.parametrize("page", ["which_method.md", "methods/index.md"])
def test_the_overviews_have_every_method(page: str) -> None:
    links = set(re.findall(r"\]\((?:methods/)?(\w+)\.md[)#]", text_of(DOCS / page)))
    assert set(NAMES) <= links


def test_the_navigation_has_every_page() -> None:
    text = text_of(ROOT / "mkdocs.yml")
    listed = set(re.findall(r"^ +- (?:.+: )?([\w/]+\.md)$", text, re.MULTILINE))
    there = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert there <= listed
    assert listed - there == {"contributing.md", "tutorials/index.md"}  # see docs/hooks.py


def test_methods_for_which_all_classes_are_one_are_told() -> None:
    told = text_of(DOCS / "which_method.md").partition("## Methods that hardly look at the class")[
        2
    ]
    blind = [name for name in NAMES if getattr(METHODS.find(name), "class_blind", False)]
    assert all(f"(methods/{name}.md)" in told.partition("\n## ")[0] for name in blind)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_formulas_are_such_that_github_draws_them(page: Path) -> None:
    text = prose(text_of(page))
    for formula in re.findall(r"\$\$(.+?)\$\$", text, re.DOTALL):
        # what GitHub's Markdown takes for its own, or its MathJax refuses
        assert not re.search(r"\\operatorname|\\\\|\\[,;!{}|#%]|[\s)}\]+-]_|[*<]", formula)
        assert formula.count("{") == formula.count("}")
        assert formula.count(r"\left") - formula.count(r"\leftarrow") == formula.count(r"\right")


# ---- the reference ------------------------------------------------------------------------------


def documented() -> str:
    pages = [*(DOCS / "api").glob("*.md"), *(DOCS / "methods").glob("*.md")]
    return "\n".join(map(text_of, pages))


def test_every_public_name_is_in_the_reference() -> None:
    text = documented()
    shown = set(re.findall(r"^::: interpretdl\.([\w.]+)$", text, re.MULTILINE))
    for room in SUBMODULES:
        shown |= set(vars(importlib.import_module(f"interpretdl.{room}"))["__all__"])
    told = set(re.findall(r"`(?:interpretdl\.)?(\w+)(?:\(\w*\))?`", text))
    assert set(it.__all__) - shown - told == set()
    assert set(SUBMODULES) <= shown


def test_the_reference_has_only_what_there_is() -> None:
    for path in re.findall(r"^::: interpretdl\.([\w.]+)$", documented(), re.MULTILINE):
        room, _, name = path.rpartition(".")
        module = importlib.import_module(f"interpretdl.{room}".rstrip("."))
        thing = getattr(module, name) if path not in SUBMODULES else None
        assert thing is None or inspect.getdoc(thing), path


# ---- links --------------------------------------------------------------------------------------


def slugs(text: str) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    found: dict[str, int] = {}
    without_code = re.sub(r"^(`{3,}).*?^\1`*$", "", text, flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#{1,6} +(.+?) *$", without_code, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    numbered = {f"{slug}-{n}" for slug, most in found.items() for n in range(1, most + 1)}
    return {*found, *numbered, *re.findall(r'(?:id|name)="([^"]+)"', text)}


def links(page: Path) -> Iterator[str]:
    text = prose(text_of(page))
    yield from re.findall(r"\]\(([^)\s]+)", text)
    yield from re.findall(r'\s(?:src|href)="([^"]+)"', text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / unquote(path)).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor and target.suffix == ".md":
            assert unquote(anchor) in slugs(text_of(target)), link


# ---- what is shown ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_example_is_short_and_names_real_options(name: str) -> None:
    cls = METHODS.find(name).cls
    (example,) = blocks(sections(page_of(name))["Example"])
    assert 3 <= len([line for line in example.splitlines() if line.strip()]) <= 8
    calls = [node for node in ast.walk(ast.parse(example)) if isinstance(node, ast.Call)]
    made = [c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr == cls.__name__]
    assert made, "the example is of another method"
    ways = ("explain", "audit", "relevance", "shap_values")
    explained = [c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr in ways]
    assert explained
    for call in explained:
        assert isinstance(call.func, ast.Attribute)
        known = inspect.signature(getattr(cls, call.func.attr)).parameters
        assert {keyword.arg for keyword in call.keywords} <= set(known)


def test_every_block_compiles() -> None:
    for page in DOCS.rglob("*.md"):
        for block in blocks(text_of(page)):
            compile(block, str(page), "exec")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the sample pictures in it."""
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", QUICK)
def test_the_example_runs(name: str, folder: Path) -> None:
    (example,) = blocks(sections(page_of(name))["Example"])
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102 - the page's own lines
    assert names["found"].method == name
    assert names["found"].values.any()


@pytest.mark.parametrize(
    "page", ["own_model", "any_function", "batches", "compare_runs", "offline", "texts"]
)
def test_the_how_to_runs(page: str, folder: Path) -> None:
    names: dict[str, Any] = {}
    text = text_of(DOCS / "how_to" / f"{page}.md")
    for block in blocks(text):
        exec(block, names)  # noqa: S102 - the page's own lines
    assert any([*folder.glob(f"*.{ending}")] for ending in ("png", "pdparams", "html"))


def test_the_forms_of_models_run(folder: Path) -> None:
    rng = np.random.default_rng(0)
    names: dict[str, Any] = {
        "model": dictionary(),
        "two_inputs": two_inputs(),
        "image": rng.normal(size=(2, 3, 16, 16)).astype("float32"),
        "table": rng.normal(size=(2, 4)).astype("float32"),
        "reader": crnn(seed=2),  # one that reads something
        "line": rng.normal(size=(2, 3, 32, 32)).astype("float32"),
        "network_of_clips": video(),
        "clips": rng.normal(size=(2, 3, 4, 8, 8)).astype("float32"),
    }
    for block in blocks(sections(text_of(DOCS / "suites.md"))["Other forms"]):
        exec(block, names)  # noqa: S102 - the page's own lines
        assert names["found"].values.any()
    assert names["letter"].values.any()
    assert names["whole"].values.any()
    assert names["frames"].shape == (2, 4)


def test_a_detector_of_another_kind_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    found = blocks(sections(text_of(DOCS / "suites.md"))["PaddleDetection"])
    (block,) = (block for block in found if "class Squares" in block)
    exec(block, names)  # noqa: S102 - the page's own lines
    assert capsys.readouterr().out.startswith("0: red square 0.")
    assert (folder / "square.png").exists()


def test_an_exported_model_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    (block,) = blocks(sections(text_of(DOCS / "suites.md"))["Exported models"])
    exec(block, names)  # noqa: S102 - the page's own lines
    assert names["found"].values.any()
    assert (folder / "lrp.png").exists()
    assert "add_8" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")
def test_the_training_that_is_watched_runs(folder: Path) -> None:
    names: dict[str, Any] = {}
    (block,) = blocks(sections(text_of(DOCS / "suites.md"))["During training"])
    exec(block, names)  # noqa: S102 - the page's own lines
    assert names["watch"].failures == {}
    written = sorted(path.name for path in (folder / "maps").iterdir())
    assert written == ["epoch_001.png", "epoch_002.png", "epoch_003.png"]


def shown_commands() -> list[str]:
    found = []
    for page in DOCS.rglob("*.md"):
        for block in blocks(text_of(page), "bash"):
            found += [line for line in block.splitlines() if line.startswith("interpretdl ")]
    return found


def test_commands_that_are_shown_exist() -> None:
    command: Any = typer.main.get_command(app)
    assert shown_commands()
    for line in shown_commands():
        _, name, *words = shlex.split(line, comments=True)
        assert name in command.commands, line
        parameters = command.commands[name].params
        options = {o for p in parameters for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        assert {word for word in words if word.startswith("-")} <= options, line


def test_the_table_of_commands_is_whole() -> None:
    command: Any = typer.main.get_command(app)
    table = text_of(DOCS / "how_to" / "command_line.md").partition("\n## ")[0]
    named = {
        name
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`([\w-]+)`", row)
    }
    assert named == set(command.commands)
