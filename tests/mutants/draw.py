"""Mutants: which there are, and those that a seed draws.

The operators are cosmic-ray's, and one of our own: `min` for `max` and the like, which numerical
code gets wrong more often than `<<` for `+`.
"""

from __future__ import annotations

import ast
import functools
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names
from parso.python.tree import Name

_PAIRS = (
    ("min", "max"),
    ("minimum", "maximum"),
    ("argmin", "argmax"),
    ("sum", "mean"),
    ("mean", "median"),
    ("std", "var"),
    ("any", "all"),
    ("floor", "ceil"),
    ("positive", "negative"),
    ("zeros_like", "ones_like"),
    ("zeros", "ones"),
)
# Numbers are not shifted, nor compared by identity: such a mutant ends with a TypeError, which
# every test notices, or is no other program.
_EMPTY = (
    "Shift",
    "_BitOr",
    "_BitAnd",
    "_BitXor",
    "_Invert",
    "_Is",
    "_IsNot",
    "_Is_Eq",
    "_IsNot_NotEq",
)
_EMPTY_BUT = ("_Is_IsNot", "_IsNot_Is", "_BitOr_BitAnd", "_BitAnd_BitOr")
# Their arguments are words for a person.
_WORDS = frozenset({"warn", "_deprecated", "progress_bar"})
# Functions that draw, print or write pages: tests/unit look at those.
_SHOWN = frozenset(
    {"plot", "_panel", "colours", "curves_png", "_mean_curve", "heads", "html", "to_html", "to_csv"}
    | {"__repr__", "__str__", "_repr_png_", "_repr_html_"}
)


class SwapNames(Operator):  # type: ignore[misc]  # cosmic-ray has no types
    """Calls the sibling of a function: `min` for `max`; `clip(min=…)` for `clip(max=…)`."""

    def _others(self, node: Any) -> list[str]:
        if not isinstance(node, Name):
            return []
        parent, following = node.parent, node.get_next_sibling()
        if parent.type == "trailer":  # .name
            following = parent.get_next_sibling()
        called = getattr(following, "type", "") == "trailer" and following.children[0] == "("
        named = parent.type == "argument" and parent.children[0] is node
        if not (called or named) or (parent.type == "trailer" and not called):
            return []
        return [b for pair in _PAIRS for a, b in (pair, pair[::-1]) if a == node.value]

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        for _ in self._others(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        node.value = self._others(node)[index]
        return node

    @classmethod
    def examples(cls) -> tuple[Any, ...]:
        return ()


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        path: of the file, relative to the repository.
        line: the first that changes.
        source: the whole file, changed.
        before, after: the lines that differ, without indentation.
    """

    path: str
    line: int
    operator: str
    source: str
    before: str
    after: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What stays when lines are added elsewhere in the file."""
        return self.path, self.before, self.after


def _dull(tree: ast.AST) -> Iterator[ast.AST]:
    """Code that has no say in a result: types, words for a person, drawing."""
    for node in ast.walk(tree):
        for annotation in ("annotation", "returns"):
            if isinstance(found := getattr(node, annotation, None), ast.AST):
                yield found
        match node:
            case ast.Raise(exc=ast.Call(args=words, keywords=named)):
                yield from (*words, *named)
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in _WORDS:
                yield from (*node.args, *node.keywords)
            case (
                ast.AnnAssign(annotation=ast.Name(id="TypeAlias")) | ast.Import() | ast.ImportFrom()
            ):
                yield node
            case ast.Assign(targets=[ast.Name(id=name)]) if name in {"__all__", "Array", "Part"}:
                yield node
            case ast.FunctionDef(name=name) if name in _SHOWN:
                yield node
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield node
            case ast.keyword(arg="strict", value=ast.Constant()):
                yield node  # of zip: no lengths differ unless something else is wrong
            case ast.Name(id="abstractmethod"):
                yield node
            case ast.Call(func=ast.Name(id="register" | "register_evaluator"), keywords=facts):
                yield from facts  # which the contract tests hold


def _compares_texts(node: Any) -> bool:
    """Whether a comparison is with a text in quotes: these have no order that is meant."""
    return any(child.type == "string" for child in getattr(node, "children", ()))


def _spans(tree: ast.AST) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    # ast counts bytes and parso letters; a line of code with letters beyond ASCII is a text's.
    return [
        ((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset))  # type: ignore[attr-defined]
        for n in _dull(tree)
    ]


@functools.cache
def _operators() -> dict[str, Any]:
    found = {"SwapNames": SwapNames()}
    for name in operator_names():
        operator = get_operator(name)
        if not operator.arguments() and (name.endswith(_EMPTY_BUT) or not name.endswith(_EMPTY)):
            found[name.rpartition("/")[2]] = operator()
    return found


def places(source: str) -> dict[tuple[int, int], list[tuple[str, int]]]:
    """For each place that can be changed, line and column: operators and their occurrence."""
    spans = _spans(ast.parse(source))
    found: dict[tuple[int, int], list[tuple[str, int]]] = {}
    nodes = list(ast_nodes(get_ast(source)))
    for name, operator in _operators().items():
        found_at = [
            (start, node) for node in nodes for start, _ in operator.mutation_positions(node)
        ]
        for occurrence, (start, node) in enumerate(found_at):
            orders = name.endswith(("_Lt", "_LtE", "_Gt", "_GtE"))
            if orders and _compares_texts(node):
                continue
            if name == "RemoveDecorator" and "abstractmethod" in node.get_code():
                continue
            if not any(first <= start < last for first, last in spans):
                found.setdefault(start, []).append((name, occurrence))
    return found


def mutant(path: str, source: str, operator: str, occurrence: int) -> Mutant | None:
    """That change; None where it is no change, or no Python."""
    changed = mutate_code(source, _operators()[operator], occurrence)
    try:
        if changed is None or ast.dump(ast.parse(changed)) == ast.dump(ast.parse(source)):
            return None
    except SyntaxError:
        return None
    old, new = source.splitlines(), changed.splitlines()
    first = next(i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
    last = next(i for i, (a, b) in enumerate(zip(old[::-1], new[::-1], strict=False)) if a != b)
    before, after = (
        "\n".join(line.strip() for line in lines[first : len(lines) - last]) for lines in (old, new)
    )
    return Mutant(path, first + 1, operator, changed, before, after)


def draw(root: Path, paths: list[str], count: int, seed: int) -> tuple[list[Mutant], int]:
    """`count` mutants, each at another place, and how many places there are.

    Whether a place is drawn depends on the seed, its line and its column. So those of other lines
    stay when a line is changed.
    """
    every = []
    for path in paths:
        source = (root / path).read_text(encoding="utf-8")
        lines, seen = source.splitlines(), Counter[tuple[str, int]]()
        for (line, column), choices in sorted(places(source).items()):
            text = lines[line - 1].strip()
            seen[text, column] += 1
            random_ = random.Random(f"{seed} {path} {text} {column} {seen[text, column]}")
            every.append((random_.random(), path, source, random_.sample(choices, len(choices))))
    found: list[Mutant] = []
    for _, path, source, choices in sorted(every, key=lambda place: place[0]):
        if len(found) == count:
            break
        made = (mutant(path, source, *choice) for choice in choices)
        one = next((m for m in made if m is not None), None)
        if one is not None:
            found.append(one)
    return found, len(every)
