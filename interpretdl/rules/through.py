"""Relevance through some channels of a layer, or some heads: what flows past them does not count.

Concept relevance propagation: Achtibat et al. 2023, https://doi.org/10.1038/s42256-023-00711-8.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import paddle

from ..errors import InputError, LayerNotFoundError, UnsupportedModelError, did_you_mean
from ..probe.attention import attending, check_met
from .audit import total_of
from .canonize import Layers
from .linear_map import BATCH_NORM, CONVOLUTION, DENSE

__all__ = ["Channels", "Through", "channels_of"]

Tensor: TypeAlias = "paddle.Tensor"
Channels: TypeAlias = Mapping[str, int | Sequence[int]]
_HEADS = re.compile(r"attention:(\d+)")
_OF_LAST_AXIS = (DENSE, paddle.nn.LayerNorm)
_OF_FIRST_AXIS = (CONVOLUTION, *BATCH_NORM)


def channels_of(through: Channels) -> dict[str, tuple[int, ...]]:
    """Each layer's channels in a tuple.

    Raises:
        InputError: a layer without channels, or a channel that is no whole number.
    """
    found = {}
    for name, given in through.items():
        array = np.atleast_1d(np.asarray(given))
        if array.dtype.kind not in "iu" or array.ndim > 1 or not array.size:
            raise InputError(
                "through must give the channels of each layer, a whole number or a list of them; "
                f"got {given!r} for {str(name)!r}"
            )
        found[str(name)] = tuple(dict.fromkeys(array.tolist()))
    return found


class Through:
    """What layers with chosen channels give in one run, in the order in which they run.

    Args:
        channels: {layer: channels}, or {"attention:3": heads}, where layers of attention are
            counted from 0 in the order in which they run.
        layers: the run's linear layers.
    """

    def __init__(self, channels: Mapping[str, tuple[int, ...]], layers: Layers) -> None:
        self.channels, self._layers = channels, layers
        # What a layer gave, a copy behind which relevance arrives, and the axis of the channels.
        self._outputs: dict[str, tuple[Tensor, Tensor, int]] = {}
        self._folding: dict[str, int] = {}  # layers whose batch-norm has not run yet
        self._heads: list[Any] = []
        self._images, self._carriers = 0, False

    @property
    def met(self) -> bool:
        """Whether one of the layers has run: what runs before it passes the relevance on."""
        return bool(self._outputs) or any(
            y is not None and f"attention:{k}" in self.channels for k, y in enumerate(self._heads)
        )

    def attach(self, stack: contextlib.ExitStack, model: Any, images: int, carriers: bool) -> None:
        """Watch the layers until the stack closes.

        Args:
            images: N.
            carriers: whether the first linear layer has a rule with carriers.

        Raises:
            LayerNotFoundError: there is no layer of such a name.
        """
        if not self.channels:
            return
        self._images, self._carriers = images, carriers
        known = dict(model.named_sublayers())
        for name in self.channels:
            if name in known:
                hook = self._hook(name, known[name])
                stack.callback(known[name].register_forward_post_hook(hook).remove)
            elif not _HEADS.fullmatch(name):
                raise LayerNotFoundError(
                    f"the model has no layer {name!r}{did_you_mean(name, known)}; through takes "
                    "names of layers, and 'attention:0', 'attention:1', … for heads"
                )
        if not known.keys() >= self.channels.keys():
            stack.enter_context(attending(self._heads, images, heads=True))

    def folded(self, name: str, y: Tensor) -> Tensor:
        """A layer's batch-norm has given y; what follows is given the result."""
        axis = self._folding.pop(name, None)
        return y if axis is None else self._met(name, y, axis)

    def start(self, score: Tensor) -> Tensor:
        """What of the score [n] flows through the channels, [n]; the graph is kept.

        Its gradient flows on from the channels of the layer that ran first.

        Raises:
            InputError, LayerNotFoundError, UnsupportedModelError: the channels are not there.
        """
        self._order_heads()
        for name in reversed(self._checked()):
            y, copy, axis = self._outputs[name]
            (gradient,) = paddle.grad(score, [copy], retain_graph=True, allow_unused=True)
            kept = np.zeros(y.shape[axis])
            kept[list(self.channels[name])] = 1
            mask = paddle.to_tensor(kept, dtype=y.dtype, place=y.place)
            mask = mask.reshape([-1 if k == axis else 1 for k in range(y.ndim)])
            gradient = paddle.zeros_like(y) if gradient is None else gradient * mask
            score = total_of(y * gradient.detach(), self._images)
        return score

    def _hook(self, name: str, layer: Any) -> Callable[..., Any]:
        def after(layer: Any, inputs: Any, y: Any) -> Any:
            if not isinstance(y, paddle.Tensor) or y.ndim < 2:
                raise UnsupportedModelError(
                    f"layer {name!r} does not give one tensor [N, C, …], so it has no channels; "
                    "name a layer inside it"
                )
            if name in self._outputs or name in self._folding:
                raise UnsupportedModelError(
                    f"layer {name!r} runs several times, so it is not clear which of its runs "
                    "relevance is to flow through; name a layer that runs once"
                )
            axis = _axis_of(layer, y.ndim)
            if self._layers.waits(y):
                self._folding[name] = axis
                return None
            return self._met(name, y, axis)

        return after

    def _met(self, name: str, y: Tensor, axis: int) -> Tensor:
        if self._carriers and not self._layers.names:
            raise UnsupportedModelError(
                f"layer {name!r} runs before the first convolution or dense layer, whose rule "
                "takes relevance straight to the pixels; take a composite without such a rule, "
                "such as 'epsilon_plus', or another layer"
            )
        self._order_heads()
        copy = y.clone()  # apart, because who keeps the account listens to y
        self._outputs[name] = y, copy, axis
        given = copy.clone()  # what follows may work in place
        self._layers.copied(y, given)
        return given

    def _order_heads(self) -> None:
        """Heads that have run are entered among the outputs."""
        for k, y in enumerate(self._heads):
            name = f"attention:{k}"
            if y is not None and name in self.channels:
                self._outputs.setdefault(name, (y, y, 1))

    def _checked(self) -> list[str]:
        """Names of the layers in the order in which they ran."""
        for name, channels in self.channels.items():
            if name not in self._outputs:
                self._refuse(name)
            y, _, axis = self._outputs[name]
            if min(channels) < 0 or max(channels) >= y.shape[axis]:
                what = "heads" if _HEADS.fullmatch(name) else "channels"
                raise InputError(
                    f"{name!r} has {what} 0 to {y.shape[axis] - 1}; got {list(channels)}"
                )
            if y.stop_gradient:
                raise UnsupportedModelError(
                    f"what {name!r} gives does not depend on the place where relevance is asked "
                    "for; name layers behind that place"
                )
        return list(self._outputs)

    def _refuse(self, name: str) -> None:
        if _HEADS.fullmatch(name):
            check_met(self._heads)
            raise LayerNotFoundError(
                f"there is no {name!r}: {len(self._heads)} layer(s) of attention have run, counted "
                "from 0"
            )
        raise LayerNotFoundError(f"layer {name!r} did not run, so no relevance flows through it")


def _axis_of(layer: Any, ndim: int) -> int:
    """1 of [N, C, h, w] and [N, C]; the last of dense layers, of layer-norm and of tokens."""
    if isinstance(layer, _OF_LAST_AXIS) or (ndim == 3 and not isinstance(layer, _OF_FIRST_AXIS)):
        return ndim - 1
    return 1
