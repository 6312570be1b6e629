"""Every kind of linear layer, as a model and as a dense matrix; every rule with its formula."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from interpretdl.rules import (
    AlphaBeta,
    Composite,
    Epsilon,
    Flat,
    Gamma,
    Rule,
    WSquare,
    ZBox,
    ZPlus,
    lrp_composite,
)
from interpretdl.rules.linear_map import CONVOLUTION, DENSE
from tests.oracles import rules_numpy as oracle
from tests.oracles.rules_numpy import Array

LOW, HIGH = -2.5, 3.0
TOLERANCE = {"float32": 1e-5, "float64": 1e-9}
CONVOLUTION_2D: dict[str, dict[str, Any]] = {
    "plain": {},
    "stride": {"stride": 2},
    "dilation": {"dilation": 2},
    "groups": {"groups": 2},
    "depthwise": {"groups": 4},
    "no bias": {"bias_attr": False},
    "padding int": {"padding": 1, "stride": 2},
    "padding pair": {"padding": [1, 2]},
    "padding four": {"padding": [1, 0, 2, 1]},
    "same": {"padding": "SAME", "stride": 2},
    "valid": {"padding": "VALID"},
    "same dilated": {"padding": "SAME", "dilation": 2},
    "reflect": {"padding": 1, "padding_mode": "reflect"},
    "replicate": {"padding": 2, "padding_mode": "replicate"},
    "circular": {"padding": 1, "padding_mode": "circular"},
    "last axis": {"padding": 1, "data_format": "NHWC"},
}


def convolution(**options: Any) -> tuple[list[Any], tuple[int, ...]]:
    shape = (5, 4, 4) if options.get("data_format") == "NHWC" else (4, 5, 4)
    return [nn.Conv2D(4, 4, [3, 2], **options)], shape


def with_norm(change: Callable[[Any], None], **options: Any) -> tuple[list[Any], tuple[int, ...]]:
    norm = nn.BatchNorm2D(4)
    change(norm)
    return [nn.Conv2D(4, 4, 3, padding=1, **options), norm], (4, 4, 4)


def changed(name: str, channel: int, value: float) -> Callable[[Any], None]:
    """Remembers a number to put into a batch-norm after its weights were drawn."""

    def change(norm: Any) -> None:
        norm.change = lambda: getattr(norm, name).__setitem__(channel, value)

    return change


KINDS: dict[str, Callable[[], tuple[list[Any], tuple[int, ...]]]] = {
    "linear": lambda: ([nn.Linear(7, 5)], (7,)),
    "linear no bias": lambda: ([nn.Linear(7, 5, bias_attr=False)], (7,)),
    "linear of a sequence": lambda: ([nn.Linear(7, 5)], (3, 7)),
    "conv1d": lambda: ([nn.Conv1D(3, 4, 3, stride=2, padding=1)], (3, 8)),
    "conv3d": lambda: ([nn.Conv3D(2, 3, 2, padding=1)], (2, 3, 3, 3)),
    "transposed": lambda: ([nn.Conv2DTranspose(3, 4, 3, stride=2, padding=1)], (3, 3, 3)),
    "transposed 1d": lambda: ([nn.Conv1DTranspose(3, 4, 3, stride=2, output_padding=1)], (3, 4)),
    "transposed 3d": lambda: ([nn.Conv3DTranspose(2, 3, 2)], (2, 2, 2, 2)),
    "transposed last axis": lambda: (
        [nn.Conv2DTranspose(3, 4, 3, stride=2, output_padding=1, data_format="NHWC")],
        (3, 2, 3),
    ),
    "norm": lambda: with_norm(lambda norm: None),
    "norm no bias": lambda: with_norm(lambda norm: None, bias_attr=False),
    "norm negative": lambda: with_norm(changed("weight", 1, -1.5)),
    "norm no variance": lambda: with_norm(changed("_variance", 2, 0.0)),
    "norm off": lambda: with_norm(changed("weight", 3, 0.0)),
    "linear norm": lambda: ([nn.Linear(7, 5), nn.BatchNorm1D(5)], (7,)),
    **{
        f"conv2d {name}": functools.partial(convolution, **options)
        for name, options in CONVOLUTION_2D.items()
    },
}
RULES: dict[str, tuple[Rule, Any, float | None]] = {
    "epsilon": (Epsilon(), oracle.epsilon(), None),
    "epsilon 0": (Epsilon(0), oracle.epsilon(), 0.0),
    "epsilon .1": (Epsilon(0.1), oracle.epsilon(), 0.1),
    "epsilon 5": (Epsilon(5), oracle.epsilon(), 5.0),
    "gamma 0": (Gamma(0), oracle.gamma(0), None),
    "gamma .25": (Gamma(), oracle.gamma(0.25), None),
    "gamma 100": (Gamma(100), oracle.gamma(100), None),
    "z+": (ZPlus(), oracle.z_plus(True), None),
    "z+ no bias": (ZPlus(bias=False), oracle.z_plus(False), None),
    "alpha 1": (AlphaBeta(1, 0), oracle.alpha_beta(1, 0), None),
    "alpha 2": (AlphaBeta(), oracle.alpha_beta(2, 1), None),
    "alpha 1.5": (AlphaBeta(1.5), oracle.alpha_beta(1.5, 0.5), None),
    "z-box": (ZBox(LOW, HIGH), oracle.z_box, None),
    "w2": (WSquare(), oracle.w_square(), None),
    "flat": (Flat(), oracle.flat(), None),
}

# Formulas that give the bias no share.
BIAS_ALONE = {RULES[name][1] for name in ("z+ no bias", "z-box", "w2", "flat")}


def build(kind: str, dtype: str) -> tuple[Any, tuple[int, ...]]:
    """A model of that one layer, its outputs flattened; weights that float32 holds exactly."""
    layers, shape = KINDS[kind]()
    model = nn.Sequential(*layers, nn.Flatten())
    rng = np.random.default_rng(len(kind))
    for name, parameter in model.named_parameters():
        values = rng.normal(size=parameter.shape)
        values = np.abs(values) + 0.3 if "_variance" in name else values
        parameter.set_value(values.astype("float32"))
    for layer in layers:
        if hasattr(layer, "change"):
            with paddle.no_grad():
                layer.change()
    model.eval()
    model.to(dtype=dtype)
    return model, shape


def inputs(shape: tuple[int, ...], signs: str) -> NDArray[np.float32]:
    """Two different images."""
    x = np.random.default_rng(5).normal(size=(2, *shape)).astype(np.float32)
    if signs == "positive":
        return np.abs(x)
    return np.stack([x[0], np.abs(x[1])]) if signs == "one of each" else x


def readout(weights: Array) -> Callable[[Any], Any]:
    """A score: y weighted and summed."""
    return lambda y: (y * paddle.to_tensor(weights.astype(str(y.dtype).split(".")[-1]))).sum(axis=1)


def padded_index(layer: Any, shape: tuple[int, ...]) -> NDArray[np.int64] | None:
    """Where padding repeats inputs: for each number of the padded input, which one it is."""
    if getattr(layer, "_padding_mode", "zeros") == "zeros":
        return None
    places = paddle.arange(np.prod(shape), dtype="float64").reshape([1, *shape])
    around = layer._reversed_padding_repeated_twice
    found = nn.functional.pad(places, around, mode=layer._padding_mode)
    return np.asarray(found.numpy()[0].astype(np.int64))


class Dense:
    """A model of one layer (and batch-norm) as a matrix, in float64, padding that repeats apart."""

    def __init__(self, kind: str) -> None:
        model, shape = build(kind, "float64")
        self.index = padded_index(model[0], shape)
        if self.index is not None:
            model[0]._padding_mode, model[0]._updated_padding = "zeros", [0, 0]
            shape = self.index.shape
        self.matrix, self.bias = oracle.dense(model, shape)
        with paddle.no_grad():  # which inputs an output sees, whatever the weights
            model[0].weight.set_value(paddle.ones_like(model[0].weight))
            ones, _ = oracle.dense(lambda x: model[0](x).flatten(1), shape)
        self.connected = ones

    def inputs(self, x: Array) -> Array:
        """One image as the matrix takes it, [J]."""
        x = x.reshape(-1)
        return x if self.index is None else x[self.index.reshape(-1)]

    def readout(self, x: Array) -> Array:
        """Weights [K] of a score; 0 where an output is the small difference of large numbers, of
        which float32 holds few digits."""
        y = np.abs([self.inputs(one) @ self.matrix + self.bias for one in x])
        weights = np.random.default_rng(7).normal(size=len(self.bias))
        return weights * (y > 0.03 * y.max(1, keepdims=True)).all(0)

    def propagate(
        self, rule: Any, x: Array, readout: Array, stabilizer: float | None
    ) -> tuple[Array, float]:
        """Relevance of one image's inputs, and the bias's."""
        shape, size, x = x.shape, x.size, self.inputs(x)
        bias_alone = rule in BIAS_ALONE
        if rule is oracle.z_box:
            rule = oracle.z_box(np.full(x.shape, LOW), np.full(x.shape, HIGH))
        found, kept = oracle.propagate(
            rule,
            x,
            self.matrix,
            self.bias,
            (x @ self.matrix + self.bias) * readout,
            connected=self.connected,
            stabilizer=stabilizer,
            bias_alone=bias_alone,
        )
        if self.index is not None:
            found, pieces = np.zeros(size), found
            np.add.at(found, self.index.reshape(-1), pieces)
        return found.reshape(shape), kept


def composite(rule: Rule) -> Composite:
    if isinstance(rule, ZBox | WSquare):
        return lrp_composite("tested", first=rule)
    return lrp_composite("tested", layers={CONVOLUTION: rule, DENSE: rule})
