"""Reading the graph of operations behind an output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import paddle

__all__ = ["census_of", "graph_of"]


def graph_of(
    output: paddle.Tensor, over: Callable[[Any], list[Any] | None] = lambda node: None
) -> Iterator[tuple[int, tuple[str, tuple[bool, ...]]]]:
    """Every operation behind `output`, once: (pointer, (name, which inputs need a gradient)).

    Args:
        over: for a node, the nodes to go on from in place of those it was made from, or None.
    """
    seen: set[int] = set()
    nodes = [output.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is None or node.node_ptr() in seen:
            continue
        seen.add(node.node_ptr())
        behind = node.next_functions
        name, _, of = node.name().partition("GradNode")
        if of.startswith("PyLayer"):
            name = "PyLayer"
        if name:
            yield node.node_ptr(), (_snake(name), tuple(n is not None for n in behind))
        instead = over(node)
        nodes += behind if instead is None else instead


def census_of(output: paddle.Tensor) -> Counter[str]:
    """Counts of the operations in the graph behind `output`."""
    return Counter(name for _, (name, _) in graph_of(output))


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
