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

# The rooms of the house. Each may import those above it, and nothing else.
ROOMS = (
    *(
        "errors",
        "version",
        "processor",
        "progress",
        "record",
        "hints",
        "tensors",
        "registry",
        "preprocessing",
        "texts",
        "pickles",
    ),
    *(
        "targets",
        "probe",
        "rules",
        "data_processor",
        "perturbation",
        "lrp_model",
        "exported",
        "common",
        "subject",
        "views",
        "explanation",
        "suites",
        "models_by_name",
        "drawing",
    ),
    *("interpreter", "evaluator", "truth", "dissection", "feature_visualization", "runs"),
    *("testing",),
    *("callbacks", "cli"),
    *("api", "", "__main__"),  # interpretdl/__init__.py is the empty name
)
# What knows files and figures knows no model; these know nothing of each other.
APART = {
    "data_processor": {"targets", "probe", "rules"},
    "dissection": {"evaluator", "truth"},
    "feature_visualization": {"evaluator", "truth", "dissection"},
    "cli": {"testing"},
    "api": {"testing", "cli"},
    "": {"testing", "cli"},
}

# Wanted by few, or slow to import: inside the functions that use them.
LATE = {"matplotlib", "mpl_toolkits", "skimage", "sklearn", "scipy", "pyarrow", "jinja2"}
LATE |= {"IPython", "typer", "ray", "pandas"}

FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """`data_processor.readers`; the package itself is the empty string."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {module_name(path) for path in FILES}


def room(module: str) -> str:
    return module.split(".")[0]


def statements(tree: ast.AST, *, late: bool) -> Iterator[ast.AST]:
    """Every statement; without `late`, not what stands in functions or under TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if not late and (typing_only or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            continue
        yield node
        yield from statements(node, late=late)


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
    assert here in ROOMS, f"{here} is new: give it a place in ROOMS"
    above = set(ROOMS[: ROOMS.index(here)]) - APART.get(here, set())
    inside, _ = imported(path, statements(parsed(path), late=True))
    wrong = {name for name in inside if room(name) not in above | {here}}
    assert not wrong, f"{module_name(path)} must not import {sorted(wrong)}"


def test_slow_packages_are_imported_late() -> None:
    """A file may import them when it starts only if it is itself imported inside functions."""
    starts = {
        module_name(path): imported(path, statements(parsed(path), late=False)) for path in FILES
    }
    late = {name for name, (_, outside) in starts.items() if outside & LATE}
    for name, (inside, _) in starts.items():
        if room(name) not in ("cli", "__main__") and name not in late:
            assert not inside & late, f"{name} imports a slow package through {inside & late}"


def test_no_circles() -> None:
    """Between files; imports inside functions and for type checkers count as well."""
    graph = {
        module_name(path): imported(path, statements(parsed(path), late=True))[0]
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
    inside, outside = imported(path, statements(tree, late=True))
    assert {room(name) for name in inside} >= {"probe", "errors", "targets"}
    assert outside == {"matplotlib", "scipy", "sklearn", "jinja2"}
    assert imported(path, statements(tree, late=False))[1] == {"matplotlib", "scipy"}


IMPORT_COST = """
import json, sys
import paddle
before, calls = set(sys.modules), 0
def count(frame, event, arg):
    global calls
    calls += event == "call"
sys.setprofile(count)
import interpretdl
interpretdl.Interpreter  # names are imported when the first is used
sys.setprofile(None)
print(json.dumps([calls, sorted({name.split(".")[0] for name in set(sys.modules) - before})]))
"""


def test_import_is_cheap() -> None:
    """Python's calls are counted, which are the same however busy the machine is.

    They are 112,000 (Python 3.11), most of them for data classes; importing Paddle takes 410,000.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMPORT_COST],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
        timeout=120,
    )
    calls, modules = json.loads(done.stdout)
    assert not set(modules) & LATE
    assert calls < 125_000


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
        timeout=120,
    )
    assert "pip install paddlepaddle" in done.stdout
    assert "paddlepaddle-gpu" in done.stdout
