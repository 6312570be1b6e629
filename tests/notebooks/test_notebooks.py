"""Every tutorial runs offline, and is kept with the outputs of its source."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

HERE = Path(__file__).resolve().parent
_spec = importlib.util.spec_from_file_location("build", HERE / "build.py")
assert _spec is not None
assert _spec.loader is not None
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)

TUTORIALS: Path = build.TUTORIALS
SOURCES = {source.stem: source for source in build.sources()}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path) -> None:
    """No way out, and no weights from earlier downloads; nothing is written at home."""
    for name in ("http_proxy", "https_proxy"):
        for variable in (name, name.upper()):
            monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nobody listens there
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("INTERPRETDL_HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def kept(name: str) -> Any:
    return nbformat.read(TUTORIALS / f"{name}.ipynb", as_version=4)


def pictures(notebook: Any) -> list[int]:
    """How many pictures each cell shows."""
    counts = []
    for cell in notebook.cells:
        outputs = cell.get("outputs", ())
        shown = [out for out in outputs if {"image/png", "image/jpeg"} & {*out.get("data", {})}]
        html = [out for out in outputs if "data:image" in str(out.get("data", {}).get("text/html"))]
        counts.append(len(shown) + len(html))
    return counts


@pytest.mark.long
@pytest.mark.parametrize("name", SOURCES)
def test_it_runs_and_shows_what_is_kept(name: str) -> None:
    notebook = build.executed(SOURCES[name], timeout=240)
    assert pictures(notebook) == pictures(kept(name))
    assert sum(pictures(notebook)) > 0


@pytest.mark.parametrize("name", SOURCES)
def test_the_outputs_are_those_of_the_source(name: str) -> None:
    notebook, source = kept(name), SOURCES[name]
    assert notebook.metadata.interpretdl["source"] == build.fingerprint(source), (
        "the source has changed: python tests/notebooks/build.py"
    )
    import jupytext

    written = [(c.cell_type, c.source) for c in jupytext.read(source).cells]
    assert [(c.cell_type, c.source) for c in notebook.cells] == written
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            assert output.output_type != "error"
            assert not (output.output_type == "stream" and output.name == "stderr"), output.text
    text = (TUTORIALS / f"{name}.ipynb").read_text(encoding="utf-8")
    assert len(text) < build.LARGEST
    assert str(TUTORIALS.parent) not in text  # no path of the machine that ran it


@pytest.mark.parametrize("name", SOURCES)
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(
        r"\]\(([^)#\s]+)[^)]*\)", "\n".join(cell.source for cell in kept(name).cells)
    )
    assert [link for link in links if "://" not in link and not (TUTORIALS / link).exists()] == []


def test_the_index_lists_every_tutorial() -> None:
    text = (TUTORIALS / "README.md").read_text(encoding="utf-8")
    links = set(re.findall(r"\]\((\d\d[^)#]*)\)", text))
    assert links == {f"{name}.ipynb" for name in SOURCES}
    assert sorted(path.stem for path in TUTORIALS.glob("*.ipynb")) == sorted(SOURCES)


def test_the_sections_that_the_index_names_are_there() -> None:
    text = (TUTORIALS / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| (\d), ([^|]+?) \|$", text, re.M)
    assert len(rows) > 30
    section = ""
    for number, named in rows:
        name = next(name for name in SOURCES if name.startswith(f"0{number}"))
        source = SOURCES[name].read_text(encoding="utf-8")
        headings = set(re.findall(r"^# #+ (.+)$", source, re.M))
        sections = re.findall('"([^"]+)"', named) or [section]
        assert set(sections) <= headings, (name, sections)
        section = sections[-1]
