"""A small network, and its relevance by hand: each rule from the dense matrices, in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import paddle
from paddle import nn

from interpretdl import Preprocessing
from tests.oracles import rules_numpy as oracle
from tests.oracles.rules_numpy import Array

PREPROCESSING = Preprocessing(resize=None, crop=None, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
SHAPE = (3, 6, 6)
LABELS = [2, 0, 3]


def network(dtype: str = "float32", bias: bool | None = None, seed: int = 0) -> Any:
    model = nn.Sequential(
        nn.Conv2D(3, 4, 3, padding=1, bias_attr=bias),
        nn.BatchNorm2D(4) if bias is None else nn.Identity(),
        nn.ReLU(),
        nn.MaxPool2D(2),
        nn.Conv2D(4, 5, 2, bias_attr=bias),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(20, 4, bias_attr=bias),
    )
    rng = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        values = rng.normal(0, 0.6, parameter.shape)
        values = np.abs(values) + 0.5 if "_variance" in name else values
        parameter.set_value(values.astype("float32"))
    model.preprocessing = PREPROCESSING
    model.eval()
    model.to(dtype=dtype)
    return model


def images(dtype: str = "float32", n: int = 3) -> Any:
    """Different images, all within the range of the pixels."""
    low, high = PREPROCESSING.bounds()
    rng = np.random.default_rng(8)
    return (low + (high - low) * rng.random((n, *SHAPE))).astype(dtype)


@dataclass
class Passed:
    """One image's relevance, by hand: in front of each step, and what the biases kept."""

    score: float
    input: Array
    seams: dict[str, Array] = field(default_factory=dict)
    kept: dict[str, float] = field(default_factory=dict)


class ByHand:
    """`network` in NumPy."""

    def __init__(self, **options: Any) -> None:
        model = network("float64", **options)
        flat: Callable[[Any], Any] = lambda x: nn.Flatten()(model[1](model[0](x)))  # noqa: E731
        self.first = oracle.dense(flat, SHAPE)
        with paddle.no_grad():
            shell = nn.Conv2D(3, 4, 3, padding=1, bias_attr=False)
            shell.to(dtype="float64")
            shell.weight.set_value(paddle.ones_like(shell.weight))
        self.connected, _ = oracle.dense(lambda x: shell(x).flatten(1), SHAPE)
        self.second = oracle.dense(lambda x: model[4](x).flatten(1), (4, 3, 3))
        self.last = oracle.dense(model[7], (20,))

    def propagate(self, x: Array, label: int, rules: tuple[Any, Any, Any]) -> Passed:
        first, second, last = rules
        x = x.astype(np.float64).reshape(-1)
        y1 = x @ self.first[0] + self.first[1]
        pooled, back = oracle.max_pool(np.maximum(y1, 0).reshape(4, 6, 6), 2, 2)
        y2 = pooled.reshape(-1) @ self.second[0] + self.second[1]
        hidden = np.maximum(y2, 0)
        logits = hidden @ self.last[0] + self.last[1]

        relevance = np.where(np.arange(4) == label, logits, 0)
        passed = Passed(float(logits[label]), x)
        for name, rule, inputs, layer, connected in (
            ("7", last, hidden, self.last, None),
            ("4", second, pooled.reshape(-1), self.second, None),
            ("0", first, x, self.first, self.connected),
        ):
            if name == "0":
                relevance = back(relevance.reshape(4, 3, 3)).reshape(-1)
                passed.seams["2"] = relevance.reshape(4, 6, 6)
            relevance, passed.kept[name] = oracle.propagate(
                rule, inputs, *layer, relevance, connected=connected
            )
            if name != "0":
                passed.seams[{"7": "5", "4": "3"}[name]] = relevance
        passed.seams["5"] = passed.seams["5"].reshape(5, 2, 2)
        passed.seams["3"] = passed.seams["3"].reshape(4, 3, 3)
        passed.input = relevance.reshape(SHAPE)
        return passed


LOW, HIGH = (np.broadcast_to(b[0], SHAPE).reshape(-1) for b in PREPROCESSING.bounds())
BOX, E, Z, ZB = oracle.z_box(LOW, HIGH), oracle.epsilon(), oracle.z_plus(False), oracle.z_plus(True)
A1 = oracle.alpha_beta(1, 0)
AB, G, W2, FLAT = oracle.alpha_beta(2, 1), oracle.gamma(0.25), oracle.w_square(), oracle.flat()
# METHODS: name -> rules of the first convolution, of the others, of dense layers.
NAMED = {
    "z_plus_box": (BOX, Z, Z),
    "epsilon": (E, E, E),
    "epsilon_plus": (ZB, ZB, E),
    "epsilon_plus_flat": (FLAT, ZB, E),
    "epsilon_plus_box": (BOX, ZB, E),
    "alpha1_beta0": (A1, A1, A1),
    "alpha2_beta1": (AB, AB, AB),
    "epsilon_alpha2_beta1": (AB, AB, E),
    "epsilon_alpha2_beta1_flat": (FLAT, AB, E),
    "gamma": (G, G, G),
    "epsilon_gamma_box": (BOX, G, E),
    "w_square": (W2, ZB, E),
    "deep_taylor": (BOX, ZB, ZB),
    "excitation_backprop": (Z, Z, Z),
}
OTHERS = {"guided", "deconvnet", "deep_lift", "attn_lrp", "cp_lrp", "attn_lrp_gamma"}
