"""Imports run one way, and `import interpretdl` stays cheap."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "interpretdl"

# What a room of the house may import, besides itself. A new room is written down here.
WORDS = {"errors", "preprocessing", "progress", "version"}
RUNNING = {"targets", "model_output", "model_state", "capture", "batches"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "version": set(),
    "progress": set(),
    "defaults": set(),
    "preprocessing": {"errors"},
    "targets": {"errors"},
    "registry": WORDS,
    # what knows files and figures, and no model
    "data_processor": WORDS,
    "batch_files": WORDS | {"data_processor"},
    "explanation": WORDS | {"data_processor"},
    # what knows models, and neither files nor figures
    "model_output": {"errors"},
    "model_state": {"errors"},
    "batches": {"errors", "model_state"},
    "capture": {"errors", "targets", "model_output", "model_state"},
    "probe": WORDS | RUNNING,
    "rules": WORDS | RUNNING | {"probe"},
    "lrp_model": WORDS | {"rules", "probe", "model_state", "targets"},
    "model_names": WORDS | {"defaults", "lrp_model"},
    "option_values": WORDS,
    # what joins them
    "interpreter": WORDS
    | RUNNING
    | {"data_processor", "explanation", "probe", "rules", "registry", "lrp_model"},
}
# what works on explanations and on whole networks
for above in ("evaluator", "dissection", "feature_visualization"):
    MAY_IMPORT[above] = MAY_IMPORT["interpreter"] | {"interpreter"}
MAY_IMPORT["testing"] = set(MAY_IMPORT) | {""}
MAY_IMPORT["cli"] = set(MAY_IMPORT) - {"testing"} | {""}
COMMANDS = {"cli_dissect", "cli_evaluate"}  # the longer ones have a file of their own
MAY_IMPORT |= {command: MAY_IMPORT["cli"] | {"cli"} for command in COMMANDS}
MAY_IMPORT["cli"] |= COMMANDS
MAY_IMPORT["__main__"] = {"cli"}
MAY_IMPORT[""] = set(MAY_IMPORT) - {"cli", "__main__"} - COMMANDS  # interpretdl/__init__.py

# Wanted by few, or slow to import: inside the functions that use them.
LATE = {"matplotlib", "mpl_toolkits", "skimage", "sklearn", "scipy", "pyarrow", "jinja2"}
LATE |= {"IPython", "typer"}

FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """`data_processor.readers`; the package itself is the empty string."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {module_name(path) for path in FILES}


def room(module: str) -> str:
    return module.split(".")[0]


def statements(tree: ast.AST, *, functions: bool) -> Iterator[ast.AST]:
    """Everything but what stands under `if TYPE_CHECKING`; with or without functions' bodies."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        if functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from statements(node, functions=functions)


def imported(path: Path, nodes: Iterator[ast.AST]) -> tuple[set[str], set[str]]:
    """Modules of the package, and top names of other packages, that the nodes import."""
    inside, outside = set(), set()
    package = list(path.relative_to(PACKAGE).parent.parts)
    for node in nodes:
        if isinstance(node, ast.Import):
            full = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ["interpretdl", *package[: len(package) - node.level + 1]] if node.level else []
            base += node.module.split(".") if node.module else []
            # `from . import name` means the module of that name where there is one
            full = [".".join([*base, alias.name]) for alias in node.names]
        else:
            continue
        for name in full:
            top, *rest = name.split(".")
            if top != "interpretdl":
                outside.add(top)
                continue
            while rest and ".".join(rest) not in NAMES:
                rest.pop()
            inside.add(".".join(rest))
    return inside, outside


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: module_name(path) or "interpretdl")
def test_imports_run_one_way(path: Path) -> None:
    here = room(module_name(path))
    assert here in MAY_IMPORT, f"{here} is new: say in MAY_IMPORT what it may import"
    inside, _ = imported(path, statements(parsed(path), functions=True))
    wrong = {name for name in inside if room(name) not in MAY_IMPORT[here] | {here}}
    assert not wrong, f"{module_name(path)} must not import {sorted(wrong)}"


def test_slow_packages_are_imported_late() -> None:
    """A file may import them when it starts only if it is itself imported inside functions."""
    starts = {
        module_name(path): imported(path, statements(parsed(path), functions=False))
        for path in FILES
    }
    late = {name for name, (_, outside) in starts.items() if outside & LATE}
    for name, (inside, _) in starts.items():
        if name not in late | {"__main__"}:
            assert not inside & late, f"{name} imports a slow package through {inside & late}"


def test_no_circles() -> None:
    graph = {
        module_name(path): imported(path, statements(parsed(path), functions=False))[0]
        - {module_name(path)}
        for path in FILES
        if module_name(path)
    }
    while graph:
        leaves = {name for name, wants in graph.items() if not wants & set(graph)}
        assert leaves, f"these import each other: {sorted(graph)}"
        graph = {name: wants for name, wants in graph.items() if name not in leaves}


def test_the_checks_see_what_they_look_for() -> None:
    """The reading of imports itself, on a file with every way of writing one."""
    path = PACKAGE / "data_processor" / "invented.py"
    tree = ast.parse(
        "from ..probe import Probe\n"
        "from .. import errors\n"
        "import interpretdl.targets as t\n"
        "from . import visualizer\n"
        "import matplotlib.pyplot\n"
        "class A:\n    import scipy.ndimage\n"
        "def f():\n    from sklearn import svm\n"
        "if TYPE_CHECKING:\n    import jinja2\n"
    )
    inside, outside = imported(path, statements(tree, functions=True))
    assert {room(name) for name in inside} >= {"probe", "errors", "targets"}
    assert outside == {"matplotlib", "scipy", "sklearn"}
    assert imported(path, statements(tree, functions=False))[1] == {"matplotlib", "scipy"}


IMPORT_COST = """
import json, sys, time
import paddle
before, start = set(sys.modules), time.perf_counter()
import interpretdl
seconds = time.perf_counter() - start
print(json.dumps([seconds, sorted({name.split(".")[0] for name in set(sys.modules) - before})]))
"""


def test_import_is_cheap() -> None:
    """Against a busy machine: the best of up to three."""
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", IMPORT_COST],
            capture_output=True,
            text=True,
            check=True,
            cwd=PACKAGE.parent,
        )
        seconds, modules = json.loads(done.stdout)
        assert not set(modules) & LATE
        if seconds < 0.3:
            return
    pytest.fail(f"import interpretdl took {seconds:.2f} s longer than import paddle")


WITHOUT_PADDLE = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "paddle":
            raise ModuleNotFoundError("No module named 'paddle'", name="paddle")
sys.meta_path.insert(0, Blocker())
try:
    import interpretdl
except ImportError as error:
    print(error)
"""


def test_without_paddle_it_says_which_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PADDLE],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    assert "pip install paddlepaddle" in done.stdout
    assert "paddlepaddle-gpu" in done.stdout
