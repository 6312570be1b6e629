"""Networks whose weights are made, not trained: detectors of keys, decoys that cancel, a head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from ..preprocessing import Preprocessing
from .backgrounds import SIDE
from .planted_keys import HALF, Form

__all__ = ["Head", "linear_network", "planted_network"]

PIXELS = Preprocessing(resize=None, crop=None, mean=(0.5,) * 3, std=(1.0,) * 3)
"""What an input is as a picture: 0 is grey."""
_NEVER_ZERO = 2.0**-17
"""Added to a decoy's response, whose own values are multiples of 2⁻¹⁵: it never lies on the kink of
a ReLU."""
_RISE = 1.0
"""Lifts a decoy's response above zero everywhere: no response to pixels in [-1, 1] is larger."""


@dataclass(frozen=True)
class Head:
    """What becomes of the number of keys of each kind.

    Attributes:
        units: [U, keys + 1], weights of the counts, and a bias.
        classes: None: the units are the logits; else [K, U + 1], the logits are these weights of
            the units behind a ReLU, and a bias.
    """

    units: NDArray[np.float32]
    classes: NDArray[np.float32] | None = None

    def logits(self, counts: Sequence[int]) -> NDArray[np.float64]:
        """What the network must give for a picture with so many keys, float64 [K]."""
        units = self.units @ np.append(np.asarray(counts, np.float64), 1)
        if self.classes is not None:
            units = self.classes @ np.append(np.maximum(units, 0), 1)
        return np.asarray(units, np.float64)


def planted_network(
    form: Form,
    keys: NDArray[np.float32],
    head: Head,
    *,
    moved: bool = False,
    ripples: NDArray[np.float32] | None = None,
) -> Any:
    """A network that counts keys, whatever else is in the picture.

    Layers: average pooling where keys are large, convolution, ReLU, convolution, ReLU, average
    pooling over all positions, one or two dense layers. Beside the keys' detectors the first
    convolution has five decoys, which respond to edges of the background:

    - d and d′ are the same, and count with opposite signs in the dense layer;
    - of one response u there are relu(u), relu(−u) and relu(u + c), and
      relu(u) − relu(−u) − relu(u + c) + c = 0. Their sum is taken at each position in the second
      convolution, where it is added to the keys' channels, and of their means in the dense layer.

    Weights and pixels are multiples of powers of 2, so that cancelled gradients are zero and not
    only small.

    Args:
        moved: the last key is a decoy too: the second convolution moves what it raised to the right
            in one channel, to the left in another, and the dense layer takes the difference of
            their means.
        ripples: a filter [3, taps, taps] of signs, of whose response v a zigzag with many short
            slopes is added to each unit: it hardly changes what comes out, but the slopes.
    """
    n, taps = len(keys), form.taps
    cells = form.positions**2
    # Of what a whole key raises, a third is taken off; with a background alone nothing is left.
    pixels = float(np.abs(keys[0]).sum())
    scale = 2.0 ** np.round(np.log2(1.5 / pixels))
    raised = HALF * scale * pixels
    threshold = np.round(raised * 64 / 3) / 64
    small = 2.0 ** -np.ceil(np.log2(3 * taps**2))  # so that no response is larger than 1
    sign = np.where(np.arange(taps) < taps // 2, small, -small)
    d, u = (np.broadcast_to(each, keys.shape[1:]) for each in (sign, sign[:, None]))
    first = [
        *((key * scale, -threshold) for key in keys),
        (d, _NEVER_ZERO), (d, _NEVER_ZERO),
        (u, _NEVER_ZERO), (-u, -_NEVER_ZERO), (u, _NEVER_ZERO + _RISE),
    ]  # fmt: skip
    if ripples is not None:
        first.append((ripples * small, _NEVER_ZERO + _RISE))

    # Each channel of the second convolution: what it takes from where, its bias, and its weight in
    # the dense layer, for units of sign + and −.
    channels: list[tuple[dict[int, float], int, float, NDArray[Any]]] = []
    signs = np.resize([1.0, -1.0], len(head.units))
    steepness = cells / (raised - threshold)
    for i in range(n - moved):
        cancelling = {i: 1.0, n + 2: 1.0, n + 3: -1.0, n + 4: -1.0}
        channels.append((cancelling, 0, _RISE, head.units[:, i] * steepness))
    if moved:
        channels += [({n - 1: 1.0}, side, 0.0, -8.0 * side * cells * signs) for side in (-1, 1)]
    for i, factor in enumerate((16, -16, 2, -2, -2)):
        channels.append(({n + i: 1.0}, 0, 0.0, factor * signs))
    if ripples is not None:
        for kink, turn in _zigzag():
            channels.append(({n + 5: 1.0}, 0, -_RISE - kink, 2 * turn * cells * signs))
    bias = head.units[:, -1] + 2 * _RISE * signs
    if ripples is not None:
        bias = bias + sum(turn * kink for kink, turn in _zigzag()) * cells * signs

    layers: dict[str, Any] = {"shrink": nn.AvgPool2D(form.shrink)} if form.shrink > 1 else {}
    detect = nn.Conv2D(
        3, len(first), taps, stride=form.stride, padding=form.padding, dilation=form.spread
    )
    _set(detect, np.stack([weight for weight, _ in first]), [bias for _, bias in first])
    wide = 3 if moved else 1
    mix = nn.Conv2D(len(first), len(channels), wide, padding=wide // 2)
    weights = np.zeros(mix.weight.shape)
    for row, (takes, side, _, _) in zip(weights, channels, strict=True):
        for source, weight in takes.items():
            row[source, wide // 2, wide // 2 + side] = weight
    _set(mix, weights, [bias for _, _, bias, _ in channels])
    dense = nn.Linear(len(channels), len(head.units))
    _set(dense, np.stack([weight for _, _, _, weight in channels]), bias)
    layers |= {
        "detect": detect, "detected": nn.ReLU(), "mix": mix, "mixed": nn.ReLU(),
        "pool": nn.AdaptiveAvgPool2D(1), "flatten": nn.Flatten(), "dense": dense,
    }  # fmt: skip
    if head.classes is not None:
        logits = nn.Linear(len(head.units), len(head.classes))
        _set(logits, head.classes[:, :-1].T, head.classes[:, -1])
        layers |= {"raised": nn.ReLU(), "logits": logits}
    return _frozen(nn.Sequential(*layers.items()))


def _zigzag(kinks: int = 16, length: float = 1 / 512) -> list[tuple[float, float]]:
    """Places, and changes of slope there, of a function that is flat, ±1, ±1, … and flat again.

    It is odd: what ReLUs with these changes give at 0 is half of what they give far to the right.
    """
    places = (np.arange(kinks) - (kinks - 1) / 2) * length
    slopes = np.concatenate([[0], np.resize([1.0, -1.0], kinks - 1), [0]])
    return list(zip(places.tolist(), np.diff(slopes).tolist(), strict=True))


def linear_network(maps: NDArray[np.bool_], seed: int) -> tuple[Any, NDArray[np.float64]]:
    """A linear network: a convolution, average pooling and a dense layer, without biases.

    Args:
        maps: bool [K, SIDE / 4, SIDE / 4], the cells of 4 × 4 pixels on which each logit depends.

    Returns:
        the network, and ∂ logit / ∂ pixel, float64 [K, 3, SIDE, SIDE].
    """
    rng = np.random.default_rng(seed)
    classes, side = len(maps), SIDE // 4
    convolution = nn.Conv2D(3, 4, 2, stride=2, bias_attr=False)
    # a channel's weights have one sign, so that on pixels of one sign nothing cancels on the way
    signs = np.resize([1, -1], 4).reshape(-1, 1, 1, 1)
    kernel = signs * rng.integers(1, 9, convolution.weight.shape) / 8
    dense = nn.Linear(4 * side**2, classes, bias_attr=False)
    rows = maps[:, None] * rng.integers(1, 9, (classes, 4, side, side)) / 8
    with paddle.no_grad():
        convolution.weight.set_value(kernel.astype(np.float32))
        dense.weight.set_value(rows.reshape(classes, -1).T.astype(np.float32))
    # each cell is the mean of 2 × 2 windows, and each window is the kernel's
    cell = np.einsum("kmyx,mcij->kcyixj", rows, np.tile(kernel / 4, (1, 1, 2, 2)))
    model = nn.Sequential(
        ("convolution", convolution), ("pool", nn.AvgPool2D(2)),
        ("flatten", nn.Flatten()), ("logits", dense),
    )  # fmt: skip
    return _frozen(model), cell.reshape(classes, 3, SIDE, SIDE)


def _set(layer: Any, weight: NDArray[Any], bias: Any) -> None:
    with paddle.no_grad():
        layer.weight.set_value(np.asarray(weight, np.float32))
        layer.bias.set_value(np.asarray(bias, np.float32))


def _frozen(model: Any) -> Any:
    model.eval()
    model.preprocessing = PIXELS
    for parameter in model.parameters():
        parameter.stop_gradient = True
    return model
