"""Every tutorial runs, without a connection: notebooks cell by cell, scripts as processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

TUTORIALS = Path(__file__).resolve().parents[2] / "tutorials"
NOTEBOOKS = sorted(path.name for path in TUTORIALS.glob("*.ipynb"))
SCRIPTS = sorted(path.name for path in TUTORIALS.glob("*.py"))

# What makes a script quick; "{}" is a file to write.
QUICK = {"intermediate_layer.py": ["--nsamples", "2", "--output", "{}"]}
# What a notebook has to have printed.
SAYS = {
    "lrp.ipynb": [
        *["random weights: the map below shows the mechanics, not a trained network"] * 3,
        "promises that all relevance arrives",
    ]
}


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


def read(name: str) -> Any:
    return nbformat.read(TUTORIALS / name, as_version=4)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook(name: str) -> None:
    from nbclient import NotebookClient

    notebook = read(name)
    where = {"metadata": {"path": str(TUTORIALS)}}
    NotebookClient(notebook, timeout=200, kernel_name="python3", resources=where).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    assert any("image/png" in out.get("data", ()) for out in outputs)
    printed = "".join(out["text"] for out in outputs if out["output_type"] == "stream")
    for text in SAYS.get(name, []):
        assert printed.count(text) == SAYS[name].count(text)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_kept_clean(name: str) -> None:
    cells = read(name).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    links = re.findall(r"\]\(([^)#]+)\)", "\n".join(cell.source for cell in cells))
    assert all("://" in link or (TUTORIALS / link).exists() for link in links)


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(name: str, tmp_path: Path) -> None:
    output = tmp_path / "output.png"
    arguments = [argument.format(output) for argument in QUICK.get(name, ["--quick"])]
    command = [sys.executable, str(TUTORIALS / name), *arguments]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    if "{}" in QUICK.get(name, []):
        assert output.stat().st_size > 0


def test_the_index_lists_every_tutorial() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (TUTORIALS / "README.md").read_text(encoding="utf-8"))
    assert sorted(links) == sorted([*NOTEBOOKS, *SCRIPTS])
