"""Attention of a model as it was written: the softmax over tokens, met where it is called."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import paddle.nn.functional as F
from numpy.typing import NDArray

from ..errors import UnsupportedModelError
from .hooks import Tensor, to_numpy
from .operations import Operation, intercepted

__all__ = ["Attention", "attending", "check_met", "let_go"]

Array = NDArray[Any]


@dataclass
class Attention:
    """Attention in a run, in the order of the layers.

    Attributes:
        outputs: [N, K], the model's output.
        scores: [N], the target's score; empty where none was asked for.
        maps: for each layer float [N, heads, T, S]: how much each of T tokens attends to each of S,
            rows that sum to 1. Where heads were asked for, what they give, [N, heads, T, D].
        gradients: the score's gradient with respect to them, likewise; empty where no score was
            asked for; with rules, those that the rules give.
        size: height and width of the grid of patches; None where it is not known. Tokens before
            those of the patches, such as a class token, are T − height · width.
        positions: of a part of a text, where its T tokens stand; None for pictures.
    """

    outputs: Array
    scores: Array
    maps: list[Array] = field(default_factory=list)
    gradients: list[Array] = field(default_factory=list)
    size: tuple[int, int] | None = None
    positions: NDArray[np.int64] | None = None

    def keep(self, positions: NDArray[np.int64], *, heads: bool) -> None:
        """Leave out all tokens but these, such as padding, which attends to others too."""
        self.positions = positions
        for found in (self.maps, self.gradients):
            found[:] = [each[..., positions, :] for each in found]
            if not heads:
                found[:] = [each[..., positions] for each in found]

    @staticmethod
    def joined(parts: list[Attention]) -> Attention:
        """The results of consecutive batches as one."""
        maps = zip(*(part.maps for part in parts), strict=True)
        gradients = zip(*(part.gradients for part in parts), strict=True)
        return Attention(
            np.concatenate([part.outputs for part in parts]),
            np.concatenate([part.scores for part in parts]),
            [np.concatenate(each) for each in maps],
            [np.concatenate(each) for each in gradients],
            parts[0].size,
            parts[0].positions,
        )


def let_go(tensors: list[Any]) -> list[Array]:
    """Tensors as arrays; each one's memory is free before the next is copied."""
    found = []
    while tensors:
        found.append(to_numpy(tensors.pop(0)))
    return found


@contextlib.contextmanager
def attending(found: list[Any], items: int, *, heads: bool = False) -> Iterator[None]:
    """Keep what every softmax over tokens gives, [N, heads, T, S], while the context lasts.

    The first becomes a leaf where no gradient is wanted before it, so that the backward pass ends
    there.

    Args:
        found: takes the tensors.
        items: N.
        heads: keep the products of attention with the values, [N, heads, T, D], instead; attention
            may then be within windows. None stands for a product that was not met.

    Raises:
        UnsupportedModelError: when the model attends within windows.
    """
    attention: list[list[int]] = []  # its shape, until it has met the values

    def kept(y: Tensor) -> Tensor:
        if y.stop_gradient:
            y = y.detach()
            y.stop_gradient = False
        found.append(y)
        return y.clone()  # what follows may work in place

    def softmax(original: Operation) -> Callable[..., Any]:
        def run(x: Any, axis: int = -1, *rest: Any, **kwargs: Any) -> Any:
            y = original(x, axis, *rest, **kwargs)
            if y.ndim != 4 or axis not in (-1, 3):
                return y
            if heads:
                found.append(None)
                attention[:] = [y.shape]
                return y
            if y.shape[0] != items:
                raise UnsupportedModelError(
                    f"the model attends within windows: its attention is {list(y.shape)} for "
                    f"{items} item(s). Methods that follow attention from layer to layer need one "
                    "over all tokens; take a class activation map or a gradient method"
                )
            return kept(y)

        return run

    def product(original: Operation) -> Callable[..., Any]:
        def run(x: Any, *rest: Any, **kwargs: Any) -> Any:
            y = original(x, *rest, **kwargs)
            if not attention or getattr(x, "shape", None) != attention[0] or y.ndim != 4:
                return y
            attention.clear()
            found.pop()
            return kept(y.clone())  # apart, because rules may listen to y

        return run

    wraps = {"softmax": softmax, "softmax_": softmax}
    with contextlib.ExitStack() as stack:
        # On a GPU attention may be one fused operation, in which no softmax would be met.
        kernels = {"enable_math": True, "enable_flash": False, "enable_mem_efficient": False}
        stack.enter_context(F.sdp_kernel(**kernels))
        stack.enter_context(intercepted({**wraps, "matmul": product} if heads else wraps))
        yield


def check_met(heads: list[Any]) -> None:
    """Raise UnsupportedModelError unless the heads of all layers of attention were met."""
    if any(y is None for y in heads):
        raise UnsupportedModelError(
            f"what the heads of attention {[y is None for y in heads].index(True)} give was not "
            "found: no product of matrices (paddle.matmul, @) of attention and values has followed "
            "its softmax"
        )
