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
from .hooks import Tensor
from .operations import Operation, intercepted

__all__ = ["Attention", "attending"]

Array = NDArray[Any]


@dataclass
class Attention:
    """Attention in a run, in the order of the layers.

    Attributes:
        outputs: [N, K], the model's output.
        scores: [N], the target's score; empty where none was asked for.
        maps: for each layer float [N, heads, T, S]: how much each of T tokens attends to each of S,
            rows that sum to 1.
        gradients: the score's gradient with respect to them, likewise; empty where no score was
            asked for.
        size: height and width of the grid of patches; None where it is not known. Tokens before
            those of the patches, such as a class token, are T − height · width.
    """

    outputs: Array
    scores: Array
    maps: list[Array] = field(default_factory=list)
    gradients: list[Array] = field(default_factory=list)
    size: tuple[int, int] | None = None

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
        )


@contextlib.contextmanager
def attending(found: list[Tensor], items: int) -> Iterator[None]:
    """Keep what every softmax over tokens gives, [N, heads, T, S], while the context lasts.

    The first becomes a leaf where no gradient is wanted before it, so that the backward pass ends
    there.

    Args:
        found: takes the tensors.
        items: N.

    Raises:
        UnsupportedModelError: when the model attends within windows.
    """

    def wrap(original: Operation) -> Callable[..., Any]:
        def run(x: Any, axis: int = -1, *rest: Any, **kwargs: Any) -> Any:
            y = original(x, axis, *rest, **kwargs)
            if y.ndim != 4 or axis not in (-1, 3):
                return y
            if y.shape[0] != items:
                raise UnsupportedModelError(
                    f"the model attends within windows: its attention is {list(y.shape)} for "
                    f"{items} item(s). Methods that follow attention from layer to layer need one "
                    "over all tokens; take a class activation map or a gradient method"
                )
            if y.stop_gradient:
                y = y.detach()
                y.stop_gradient = False
            found.append(y)
            return y.clone()  # what follows may work in place

        return run

    with contextlib.ExitStack() as stack:
        # On a GPU attention may be one fused operation, in which no softmax would be met.
        kernels = {"enable_math": True, "enable_flash": False, "enable_mem_efficient": False}
        stack.enter_context(F.sdp_kernel(**kernels))
        stack.enter_context(intercepted({"softmax": wrap, "softmax_": wrap}))
        yield
