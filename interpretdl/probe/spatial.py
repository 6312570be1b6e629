"""Layers whose output is spread over the picture: which they are, and how to see them as maps."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import paddle
from paddle import nn

from ..errors import UnsupportedModelError
from .grid import Grid, is_attention
from .hooks import Tensor, gradients_at, to_numpy
from .operations import Operation, intercepted
from .state import refuse_program

__all__ = ["Seen", "Spatial", "names_of"]

# Tokens before those of the patches, such as a class token and registers.
_PREFIX = 8
# Where the grid is a smaller one than any that was seen, less is taken for a coincidence.
_PREFIX_OF_A_GUESS = 2
_HEIGHT: dict[str | None, int] = {"NCHW": 2, "NHWC": 1}
_NORMS = (nn.BatchNorm, nn.BatchNorm2D, nn.SyncBatchNorm, nn.GroupNorm, nn.InstanceNorm2D)
_NONE = "no layer of this model has an output [N, C, h, w] with h and w above 1"


@dataclass(frozen=True)
class Spatial:
    """Layers whose outputs are to be seen as maps, for `Probe.gradients` and `Probe.forward`.

    Attributes:
        names: the layers; none: the last one that is spread over the picture and on which the score
            depends there. The first batch decides, in its own run.
        any_score: a score that no gradient flows back from is no error; all layers are then equal.
    """

    names: tuple[str, ...] = ()
    any_score: bool = False


def names_of(layers: str | Sequence[str] | Spatial | None) -> tuple[list[str], Spatial | None]:
    """The names of layers, and the request to see them as maps."""
    if isinstance(layers, Spatial):
        return list(layers.names), layers
    return [layers] if isinstance(layers, str) else list(layers or ()), None


class Seen:
    """What the layers gave in a run, in the order in which they finished.

    Hooks are attached until `stack` closes.

    Args:
        model: its sublayers are looked at.
        names: the layers whose shapes are wanted. None: all layers, and their outputs are kept; in
            a run with gradients an output that is not connected to the input becomes a leaf.

    Raises:
        UnsupportedModelError: the model is a program without layers.
    """

    def __init__(
        self, stack: contextlib.ExitStack, model: Any, names: Sequence[str] | None = None
    ) -> None:
        refuse_program(model, "no layer can be looked at")
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._layers, self._keep = dict(model.named_sublayers()), names is None
        self._outputs: dict[str, tuple[Tensor, int]] = {}
        self._cut: list[tuple[int, int, int]] = []
        self._found: dict[int, dict[tuple[int, int], bool]] = {}
        stack.enter_context(intercepted({"unfold": self._unfolding}))
        for name, layer in self._layers.items():
            # A hook costs as much as a small layer, which a large network has hundreds of.
            wanted = names is None or _tells_size(layer)
            if name in (names or ()) or (wanted and not _is_function(layer)):
                stack.callback(layer.register_forward_post_hook(self._hook(name)).remove)

    def grids(self, names: Sequence[str], items: int) -> dict[str, Grid]:
        """How the outputs of layers are spread, where it is known.

        Args:
            items: N, to which windows and pixels of patches in the first axis do not fit.
        """
        found = {name: self._grid(name, items) for name in names if name in self.shapes}
        return {name: grid[0] for name, grid in found.items() if grid}

    def size(self, tokens: int, items: int) -> tuple[int, int] | None:
        """Height and width of the grid of so many tokens; None where it is not known."""
        return _size_of(tokens, self._sizes(items))

    def last(self, items: int, final: Tensor) -> str:
        """The last layer [N, C, h, w] with h and w above 1; without attention.

        Raises:
            UnsupportedModelError: there is none.
        """
        for name, _, grid in self._candidates(items, final):
            if grid.kind == "first":
                return name
        raise UnsupportedModelError(f"{_NONE}; name a layer with target_layer_name=")

    def chosen(
        self, items: int, final: Tensor, score: Tensor, any_score: bool
    ) -> dict[str, Tensor]:
        """The last layer that is spread over the picture and on whose places the score depends.

        Args:
            final: the model's output; a layer that gives it is not taken.
            any_score: where the score depends on none, the last of them all.

        Raises:
            UnsupportedModelError: the score depends on no layer that is known to be spread over the
                picture.
        """
        last: dict[str, Tensor] = {}
        for name, tensor, grid in self._candidates(items, final):
            last.setdefault(name, tensor)
            if _depends(score, tensor, grid.places):
                return {name: tensor}
        if last and not any_score:
            raise UnsupportedModelError(
                "the score's gradient is 0 at every layer that is spread over the picture "
                f"({', '.join(list(last)[:4])}, …). The usual reasons are a probability that has "
                "reached 0 or 1, and units that are all off: take gradient_of='logit', or name one "
                "of these layers with target_layer_name= to have its map all the same"
            )
        if not last:
            raise UnsupportedModelError(
                f"{_NONE}, or tokens [N, T, C] of a known grid of patches; "
                f"{self._advice(items, score)}"
            )
        return dict([next(iter(last.items()))])

    def overwritten(self, layers: Iterable[str]) -> bool:
        """Whether something that followed one of the layers has worked in place on its output."""
        kept = (self._outputs[name] for name in layers)
        return any(tensor.inplace_version != version for tensor, version in kept)

    def _hook(self, name: str) -> Callable[..., Any]:
        def hook(layer: Any, inputs: Any, output: Any) -> Any:
            if not isinstance(output, paddle.Tensor):
                return None
            self.shapes.pop(name, None)
            self._outputs.pop(name, None)
            self.shapes[name] = tuple(output.shape)
            if not self._keep or output.ndim not in (3, 4) or not output.is_floating_point():
                return None
            cut = output.stop_gradient and paddle.is_grad_enabled()
            if cut:
                output = output.detach()
                output.stop_gradient = False
            self._outputs[name] = (output, output.inplace_version)
            return output.clone() if cut else None

        return hook

    def _candidates(self, items: int, final: Tensor) -> Iterator[tuple[str, Tensor, Grid]]:
        """Layers to take, the best first, with outputs and grids."""
        unsure: list[tuple[str, Tensor, Grid]] = []
        known: set[int] = {id(final)}
        for name in reversed(self._outputs):
            tensor, found = self._outputs[name][0], self._grid(name, items)
            # A block gives what its last layer gave.
            if not found or min(found[0].height, found[0].width) < 2 or id(tensor) in known:
                continue
            known.add(id(tensor))
            if is_attention(to_numpy(tensor)):
                continue
            if found[1]:
                yield name, tensor, found[0]
            else:
                unsure.append((name, tensor, found[0]))
        yield from unsure

    def _grid(self, name: str, items: int) -> tuple[Grid, bool] | None:
        """The grid of a layer's output, and whether the layer is one that is taken by itself."""
        layer, shape = self._layers[name], self.shapes[name]
        if shape[0] != items or len(shape) not in (3, 4):
            return None
        sizes = self._sizes(items)
        if len(shape) == 3:
            size = _size_of(shape[1], sizes) if _format(layer) != "NCL" and shape[2] > 1 else None
            # Within attention and perceptrons dense layers give parts of a step.
            return (Grid("tokens", *size), not isinstance(layer, nn.Linear)) if size else None
        first, last, sure = shape[2:], shape[1:3], True
        if _format(layer) == "NHWC" or _of_last_axis(layer):
            grid = Grid("last", *last)
            if _of_last_axis(layer) and last not in sizes:  # heads of attention
                return None
        elif _format(layer) == "NCHW" or first in sizes:
            grid = Grid("first", *first)
        elif last in sizes:
            grid = Grid("last", *last)
        else:
            grid = Grid("first", *first)
            # [N, heads, T, …] beside [N, T, C]: something within attention
            sure = self._token_counts.isdisjoint(last)
        return grid, sure

    @functools.cached_property
    def _token_counts(self) -> set[int]:
        return {shape[1] for shape in self.shapes.values() if len(shape) == 3}

    def _unfolding(self, original: Operation) -> Operation:
        """`F.unfold`, which cuts pictures into patches of known rows and columns."""

        def run(x: Any, kernel: Any, strides: Any, paddings: Any, dilations: Any) -> Any:
            rows, columns = (
                _steps(x.shape[2 + i], kernel[i], strides[i], paddings[i::2], dilations[i])
                for i in (0, 1)
            )
            self._cut.append((x.shape[0], rows, columns))
            return original(x, kernel, strides, paddings, dilations)

        return run

    def _sizes(self, items: int) -> dict[tuple[int, int], bool]:
        """Sizes above 1 that were seen, and their halvings; whether a size was seen itself.

        Of the picture, not of windows or patches, which are more than `items`.
        """
        if items in self._found:
            return self._found[items]
        sizes = {(h, w): True for n, h, w in self._cut if n == items}
        for name, shape in self.shapes.items():
            layer = self._layers[name]
            if len(shape) == 4 and shape[0] == items and _tells_size(layer):
                at = _HEIGHT[_format(layer)]
                sizes[shape[at], shape[at + 1]] = True
        for h, w in list(sizes):
            while min(h, w) > 2:
                h, w = (h + 1) // 2, (w + 1) // 2
                sizes.setdefault((h, w), False)
        self._found[items] = {size: seen for size, seen in sizes.items() if min(size) > 1}
        return self._found[items]

    def _advice(self, items: int, score: Tensor) -> str:
        """What would do: a layer of tokens, given their grid."""
        for name in reversed(self._outputs):
            tensor, layer = self._outputs[name][0], self._layers[name]
            tokens = tensor.ndim == 3 and min(tensor.shape[1:]) > 3 and tensor.shape[0] == items
            if not tokens or isinstance(layer, nn.Linear):
                continue
            if _depends(score, tensor, lambda gradient: gradient[:, 1:]):
                return (
                    "name a layer of tokens, such as target_layer_name="
                    f"{name!r} {list(tensor.shape)}, and give reshape_transform="
                )
        return "name a layer with target_layer_name=, and give reshape_transform="


def _size_of(tokens: int, sizes: dict[tuple[int, int], bool]) -> tuple[int, int] | None:
    """The grid of so many tokens: the size that leaves the fewest besides."""
    fitting = [
        (tokens - h * w, h, w)
        for (h, w), seen in sizes.items()
        if 0 <= tokens - h * w <= (_PREFIX if seen else _PREFIX_OF_A_GUESS)
    ]
    return min(fitting)[1:] if fitting else None


def _steps(side: int, kernel: int, stride: int, paddings: Any, dilation: int) -> int:
    """How many windows of `F.unfold` there are along one side."""
    return int(side + sum(paddings) - dilation * (kernel - 1) - 1) // stride + 1


def _tells_size(layer: Any) -> bool:
    """Whether it is sure where a layer's output has height and width: convolutions, poolings …

    Normalizations are left out; they keep the size.
    """
    return _format(layer) in _HEIGHT and not isinstance(layer, _NORMS)


def _of_last_axis(layer: Any) -> bool:
    """Whether a layer works on the last axis, so that channels must be there."""
    if isinstance(layer, nn.LayerNorm):
        return len(layer._normalized_shape) == 1
    return isinstance(layer, nn.Linear)


def _depends(score: Tensor, tensor: Tensor, part: Callable[[Tensor], Tensor]) -> bool:
    """Whether the score's gradient is not zero everywhere in a part of a tensor."""
    if tensor.stop_gradient:
        return False
    return bool((part(gradients_at([tensor], score, more=True)[0]) != 0).any())


def _is_function(layer: Any) -> bool:
    """Whether it stands for a function that an exported model called, and no layer gave."""
    return getattr(layer, "called_as_function", False)


def _format(layer: Any) -> str | None:
    """Where a layer that knows it has the channels: "NCHW", "NHWC", "NCL" …"""
    for name in ("_data_format", "data_format", "_data_layout"):
        if isinstance(found := getattr(layer, name, None), str):
            return found
    return None
