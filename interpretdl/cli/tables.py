"""The commands `interpretdl methods` and `models`, and the README's table of methods."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .arguments import DEFAULT_MODEL
from .outcome import say

if TYPE_CHECKING:
    from ..registry import MethodInfo

__all__ = ["echo_columns", "markdown_table", "methods", "models", "write_table"]


def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="[METHOD]", help="Show everything about this one.")
    ] = None,
) -> None:
    """List the methods, or one method's options."""
    from ..registry import METHODS

    if name is not None:
        say(*_about(METHODS.find(name)))
        return
    echo_columns([each, summary] for each, summary in METHODS.summaries().items())


def models() -> None:
    """List the names that --model knows."""
    from ..lrp_model import models as zoo
    from ..models_by_name import vision_models

    for title, names in (
        ("The zoo, where every operation is a layer:", zoo()),
        ("paddle.vision.models:", [name for name in vision_models() if name not in zoo()]),
    ):
        say(title)
        for each in names:
            say(f"  {each}" + ("  (the default)" if each == DEFAULT_MODEL else ""))
    say("And package.module:function, a function of your own that returns a model.")


def echo_columns(rows: Iterable[list[str]]) -> None:
    """Print rows of texts, each column as wide as its longest text."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        say("  ".join(cells).rstrip())


def markdown_table() -> list[str]:
    """The methods as the README shows them, one line per method after two of head."""
    from ..registry import METHODS

    lines = ["| name | class | what it shows | paper |", "|---|---|---|---|"]
    for info in METHODS.all().values():
        paper = f"[{info.paper}]({info.url})" if info.url else info.paper
        lines.append(f"| `{info.name}` | `{info.cls.__name__}` | {info.summary} | {paper} |")
    return lines


def write_table(path: str | Path) -> None:
    """Put `markdown_table` between the markers of a file, the README; `make table` calls it."""
    file = Path(path)
    head, rest = file.read_text(encoding="utf-8").split("<!-- methods -->\n")
    tail = rest.split("<!-- /methods -->")[1]
    table = "\n".join(markdown_table())
    text = f"{head}<!-- methods -->\n{table}\n<!-- /methods -->{tail}"
    file.write_text(text, encoding="utf-8")


def _about(info: MethodInfo) -> list[str]:
    from .options import describe_option

    sign = "signed" if info.signed else "unsigned: pictures show magnitudes"
    return [
        f"{info.name}: {info.summary}",
        "",
        f"  class    {info.cls.__module__.partition('.')[0]}.{info.cls.__name__}",
        f"  values   {info.layout}, {sign}",
        f"  random   {'yes, repeatable with its seed' if info.random else 'no'}",
        f"  paper    {info.paper} {info.url}".rstrip(),
        "",
        "Options (--option NAME=VALUE):",
        *(f"  {describe_option(option)}" for option in info.options.values()),
        *_composites(info),
    ]


def _composites(info: MethodInfo) -> list[str]:
    if "composite" not in info.options:
        return []
    from ..rules.composites import COMPOSITES

    text = textwrap.fill(", ".join(COMPOSITES), 90, initial_indent="  ", subsequent_indent="  ")
    return ["", "Composites:", *text.splitlines()]
