"""What the README shows is what happens."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interpretdl.cli.tables import write_table
from interpretdl.registry import methods

PAGES = ("README.md", "README_CN.md", "CONTRIBUTING.md", "docs/compatibility.md")


def python_blocks(path: Path) -> list[str]:
    return re.findall(r"^ *```python\n(.*?)^ *```", path.read_text(encoding="utf-8"), re.M | re.S)


def test_the_table_of_methods_is_the_registry(root: Path, tmp_path: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    copy = tmp_path / "README.md"
    copy.write_text(text, encoding="utf-8")
    write_table(copy)
    assert copy.read_text(encoding="utf-8") == text, "the table is old: run `make table`"
    assert all(f"| `{name}` | `{info.cls.__name__}` |" in text for name, info in methods().items())


def test_the_five_lines_run(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "assets").symlink_to(root / "assets")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(python_blocks(root / "README.md")[0], names)  # noqa: S102 - the README's own lines
    assert names["explanation"].label_names == ("tiger cat",)
    assert (tmp_path / "cat.png").stat().st_size > 0
    exec(python_blocks(root / "README.md")[1], names)  # noqa: S102 - and the comparison's
    assert list(names["found"]) == ["grad_cam", "lrp", "integrated_gradients"]
    assert (tmp_path / "methods.png").stat().st_size > 0


def test_the_chinese_readme_has_the_same_code_and_commands(root: Path) -> None:
    """Comments aside."""
    texts = [(root / name).read_text(encoding="utf-8") for name in ("README.md", "README_CN.md")]
    blocks = [
        [re.sub(" *#.*", "", block) for block in re.findall(r"```python\n(.*?)```", text, re.S)]
        for text in texts
    ]
    assert blocks[0] == blocks[1]
    commands = [
        [
            re.sub(" *#.*", "", line)
            for line in re.findall("^    (?:interpretdl|pip|make) .*", text, re.M)
        ]
        for text in texts
    ]
    assert commands[0] == commands[1]
    rows = re.findall(
        r"^\| \[`(\w+)`\]\(docs/methods/\1\.md\) \| `(\w+)` \| (.+) \|$", texts[1], re.M
    )
    found = {name: (cls, "各类别几乎相同" in text) for name, cls, text in rows}
    assert found == {n: (info.cls.__name__, info.class_blind) for n, info in methods().items()}


def test_the_chinese_introduction_runs(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "assets").symlink_to(root / "assets")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in python_blocks(root / "docs/zh/getting_started.md"):
        exec(block, names)  # noqa: S102 - the page's own lines
    assert names["explanation"].label_names[0] in ("猫", "狗")


def test_the_lines_for_a_model_of_ones_own_run(root: Path, toy: Callable[..., Any]) -> None:
    names = {"model": toy(classes=2), "it": importlib.import_module("interpretdl")}
    exec(python_blocks(root / "README.md")[2], names)  # noqa: S102 - the README's own lines
    assert names["interpreter"].class_names == ("cat", "dog")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str, root: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", (root / page).read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    gone = [target for target in local if not ((root / page).parent / target).exists()]
    assert not gone


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_are_shown_exist(page: str, root: Path) -> None:
    text = (root / page).read_text(encoding="utf-8")
    targets = set(re.findall(r"^[a-z-]+(?=:)", (root / "Makefile").read_text(), re.M))
    assert set(re.findall(r"\bmake ([a-z-]+)\b(?=[ `]*(?:#|`|$))", text, re.M)) <= targets
