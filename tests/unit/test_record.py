"""Settings and models in words that a file can hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest

from interpretdl import ClassScore, Preprocessing
from interpretdl.record import digest, digest_of_model, plain


class Rule:
    def __init__(self, gamma: float) -> None:
        self.gamma, self._kept = gamma, object()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.array([1.0, np.nan, np.inf]), [1.0, None, None]),
        (paddle.to_tensor([[1, 2]]), [[1, 2]]),
        ((1, (True, None)), [1, [True, None]]),
        ({3: float("nan")}, {"3": None}),
        (ClassScore(2, "loss"), "ClassScore(2, of='loss')"),
        (Preprocessing(crop=8), repr(Preprocessing(crop=8))),
        (np.sort, "sort"),
        (Rule(0.25), {"class": "Rule", "gamma": 0.25}),
    ],
)
def test_plain(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    json.dumps(plain(value), allow_nan=False)


def test_long_arrays_become_their_fingerprint() -> None:
    long = np.zeros(2000)
    assert plain(long).startswith("array [2000] float64 ")
    assert plain(long) != plain(long + 1)
    assert plain(long, longest=None) == long.tolist()


def test_fingerprints_tell_apart(toy: Callable[..., Any]) -> None:
    ones = np.ones((2, 3), np.float32)
    parts = [(ones,), (ones.T,), (ones.astype(np.float64),), (ones, "a"), ("a", ones), ("ab",)]
    assert len({digest(*part) for part in parts}) == len(parts)
    model = toy()
    assert digest_of_model(model) == digest_of_model(toy())
    before = digest_of_model(model)
    model[0].bias.set_value(model[0].bias + 1e-6)
    assert digest_of_model(model) != before
    model[0].to(dtype="bfloat16")
    assert digest_of_model(model) != before
