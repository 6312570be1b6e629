"""What the graph of a run shows: which operations rules have met, and what they have missed.

Paddle (3.3.1) never frees a graph whose `grad_fn` was asked for, so this is done in a run of its
own, whose tensors are freed by a backward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, TypeAlias

import paddle

from ..errors import UnsupportedModelError
from ..probe.graph import graph_of
from .canonize import Linear
from .redirect import _Box

__all__ = ["Inspection"]

Tensor: TypeAlias = "paddle.Tensor"
# May have several inputs that depend on the model's; others are then products of them.
_JOINS = frozenset({"add", "subtract", "concat", "stack", "maximum", "set_value_with_tensor"})
# What rules of other composites are for: of LRP's attn_lrp, and of DeepLIFT. composites.py holds
# the rules; it cannot be imported here.
_ELSEWHERE = {
    'LRP with composite="attn_lrp"': frozenset(
        (
            *("matmul", "bmm", "multiply", "einsum", "divide", "softmax", "layer_norm"),
            *("rms_norm", "fused_rms_norm_ext", "rsqrt", "swiglu"),
        )
    ),
    "method 'deep_lift'": frozenset(
        (
            *("matmul", "bmm", "multiply", "einsum", "bilinear", "divide", "softmax"),
            *("layer_norm", "pow", "sqrt", "rsqrt"),
        )
    ),
}


class Inspection:
    """One run, looked at. It knows nodes of the graph by their pointers.

    Attributes:
        boxes: what rules have redirected.
    """

    def __init__(self) -> None:
        self.boxes: list[_Box] = []
        # Of outputs that rules made -> the nodes of the inputs they came from. The node itself is
        # kept, so that no other gets its pointer.
        self._made: dict[int, tuple[Any, list[Any]]] = {}
        self._linear: dict[int, tuple[int, Tensor]] = {}
        self._touched: dict[int, Any] = {}
        self._waiting: dict[int, tuple[str, Any]] = {}
        self._seen: dict[int, tuple[str, tuple[bool, ...]]] = {}

    # -- while the model runs --------------------------------------------------------------------

    def waits(self, entry: Linear) -> None:
        """A linear layer's output is held back until its batch-norm has run."""
        self._waiting[entry.y.grad_fn.node_ptr()] = (entry.name, entry.y.grad_fn)

    def gave(self, y: Tensor, sources: Sequence[Tensor], index: int | None) -> None:
        """A rule made y from the sources; of a linear layer, the index-th of the run."""
        node = y.grad_fn
        self._made[node.node_ptr()] = (node, [t.grad_fn for t in sources if t.grad_fn is not None])
        if index is not None:
            self._linear[node.node_ptr()] = (index, sources[0])

    def kept(self, y: Tensor) -> None:
        """A rule left an operation's output as it is."""
        self._touched[y.grad_fn.node_ptr()] = y.grad_fn

    # -- afterwards ------------------------------------------------------------------------------

    def look(self, output: Tensor) -> None:
        """Read the graph; what rules made is stepped over."""
        self._seen = dict(graph_of(output, self._over))

    def _over(self, node: Any) -> list[Any] | None:
        return self._made.get(node.node_ptr(), (None, None))[1]

    def read(self) -> list[str]:
        """Layers that waited for their batch-norm, and whose output something else reads."""
        return [name for pointer, (name, _) in self._waiting.items() if pointer in self._seen]

    def first(self) -> frozenset[int]:
        """Which of the linear layers, in their order, see nothing but the input."""

        def is_first(x: Tensor) -> bool:
            return not any(pointer in self._linear for pointer, _ in graph_of(x, self._over))

        return frozenset(index for index, x in self._linear.values() if is_first(x))

    def check(self, composite: str, must: Set[str], harmless: Set[str] | None) -> None:
        """Whether everything was reached that the composite of that name must reach.

        Args:
            must, harmless: see Composite.

        Raises:
            UnsupportedModelError: names what was not.
        """
        missed: dict[str, int] = {}
        for pointer, (name, inputs) in self._seen.items():
            met = pointer in self._made or pointer in self._touched
            if not met and not _needs_no_rule(name, inputs, must, harmless):
                missed[name] = missed.get(name, 0) + 1
        if missed:
            found = ", ".join(f"{name} ({count})" for name, count in sorted(missed.items()))
            raise UnsupportedModelError(
                f"composite {composite!r} has no way through these operations of the "
                f"model: {found}. A map drawn all the same would be wrong; take "
                f"{_instead(composite, missed)}"
            )
        if must and not self._touched and not self._made:
            raise UnsupportedModelError(
                f"this model has no ReLU that composite {composite!r} could change: the "
                "map would be the plain gradient; take method 'gradient'"
            )

    def let_go(self, output: Tensor) -> None:
        """Free the tensors of the graph: a backward pass does."""
        if not output.stop_gradient:
            output.sum().backward()
        for box in self.boxes:
            box.let_go()
        for table in (self._made, self._linear, self._touched, self._waiting, self._seen):
            table.clear()


def _instead(composite: str, missed: Mapping[str, int]) -> str:
    """What a user can do about operations that the composite has no rule for."""
    ways = []
    for way, has in _ELSEWHERE.items():
        rules = sorted(has.intersection(missed))
        if composite not in way and rules:
            every = len(rules) == len(missed)
            ways.append(f"{way}, which has rules for {'these' if every else ', '.join(rules)}")
    ways.append("a method that needs no rules, such as 'integrated_gradients' or 'grad_cam'")
    return "; or ".join(ways)


def _needs_no_rule(
    name: str, inputs: tuple[bool, ...], must: Set[str], harmless: Set[str] | None
) -> bool:
    """Whether relevance passes an operation correctly without a rule.

    Args:
        inputs: for each of its inputs, whether it depends on the model's.
    """
    if name in must:
        return False
    if harmless is None:
        return True
    if name == "divide":  # by a constant
        return not inputs[1]
    if sum(inputs) > 1 and name not in _JOINS:
        return False
    return name == "multiply" or name in harmless
