"""SequenceScore, by a loop over images and steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray

import interpretdl as it
from interpretdl.targets import take

Array = NDArray[Any]
N, T, K = 3, 5, 4
OUTPUT = np.random.default_rng(0).normal(size=(N, T, K))
READ = OUTPUT.argmax(axis=2)


def scores(target: Any, output: Array = OUTPUT) -> Array:
    return np.asarray(target(paddle.to_tensor(output)).numpy())


def at_step(logits: Array, label: int, of: str) -> float:
    probability = np.exp(logits[label]) / np.exp(logits).sum()
    others = np.delete(logits, label)
    return float(
        {
            "logit": logits[label],
            "probability": probability,
            "loss": -np.log(probability),
            "contrast": logits[label] - others.mean(),
        }[of]
    )


def by_hand(labels: Any, steps: Any, of: str) -> Array:
    labels, found = np.asarray(labels), []
    for i in range(N):
        mine = np.broadcast_to(labels if labels.ndim == 0 else labels[i], (T,))
        if steps is None:
            taken, count = [t for t in range(T) if READ[i, t] == mine[t]], T
        else:
            given = np.asarray(steps)
            if given.dtype == bool:
                taken = np.flatnonzero(given if given.ndim == 1 else given[i]).tolist()
            else:
                taken = [int(given if given.ndim == 0 else given[i])]
            count = len(taken)
        found.append(sum(at_step(OUTPUT[i, t], int(mine[t]), of) for t in taken) / count)
    return np.array(found)


MASK = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]], bool)


@pytest.mark.parametrize("of", ["logit", "probability", "loss", "contrast"])
@pytest.mark.parametrize("labels", [2, [0, 3, 1], READ])
@pytest.mark.parametrize("steps", [None, 3, [4, 0, 2], MASK[0], MASK])
def test_scores(labels: Any, steps: Any, of: Any) -> None:
    target = it.SequenceScore(labels, steps, of)
    expected = by_hand(labels, steps, of)
    np.testing.assert_allclose(scores(target), expected, rtol=1e-9)
    rows = np.array([2, 0, 2])
    np.testing.assert_allclose(scores(take(target, rows), OUTPUT[rows]), expected[rows], rtol=1e-9)


def test_the_gradient_is_at_the_steps() -> None:
    tensor = paddle.to_tensor(OUTPUT, stop_gradient=False)
    (found,) = paddle.grad(it.SequenceScore(READ, MASK)(tensor), [tensor])
    expected = np.zeros_like(OUTPUT)
    for i, t in np.argwhere(MASK):
        expected[i, t, READ[i, t]] = 1 / MASK[i].sum()
    np.testing.assert_allclose(found.numpy(), expected)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((0.5,), it.TargetError, "whole numbers"),
        ((np.zeros((1, 1, 1), int),), it.TargetError, r"\[N\] or \[N, T\].*\[1, 1, 1\]"),
        ((0, 0.5), it.InputError, r"steps must be a whole number.*float64"),
        ((0, np.zeros((2, 2), int)), it.InputError, r"steps must be.*int64 \[2, 2\]"),
        ((0, MASK & [False]), it.InputError, r"no step in it.*nothing but blanks"),
        ((0, 0, "softmax"), it.InputError, "softmax"),
    ],
)
def test_arguments_that_do_not_fit(arguments: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        it.SequenceScore(*arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((4,), r"label 4 is not in \[0, 4\)"),
        (([0, 1],), "2 labels were given for 3 images"),
        ((READ[:, :4],), r"labels are \[3, 4\].*needs \[3, 5\]"),
        ((0, 5), r"step 5 is not in \[0, 5\)"),
        ((0, -1), r"step -1 is not in \[0, 5\)"),
        ((0, [0, 1]), "2 steps were given for 3 images"),
        ((0, np.ones((3, 4), bool)), r"steps are \[3, 4\].*\[5\] or \[3, 5\]"),
    ],
)
def test_what_does_not_fit_the_output(arguments: Any, says: str) -> None:
    with pytest.raises(it.TargetError, match=says):
        scores(it.SequenceScore(*arguments))


def test_other_outputs() -> None:
    with pytest.raises(it.TargetError, match=r"\[N, T, K\].*\[3, 5\]"):
        scores(it.SequenceScore(0), OUTPUT[..., 0])


def test_its_name() -> None:
    assert repr(it.SequenceScore(2, 3)) == "SequenceScore(2, steps=3, of='logit')"
    assert repr(it.SequenceScore([2, 1])) == "SequenceScore([2, 1], steps=None, of='logit')"
    assert repr(it.SequenceScore(0, MASK)) == "SequenceScore(0, steps=bool [3, 5], of='logit')"
