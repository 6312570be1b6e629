"""Scores of a detector's boxes against loops written from the formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

import interpretdl as it
from interpretdl.errors import InputError, TargetError
from interpretdl.targets import checked_score

M, K = 7, 3


def outputs(n: int, classes: int = K, seed: int = 0) -> Any:
    """Boxes and logits [n, M, 4 + classes]."""
    rng = np.random.default_rng(seed)
    low, sides = rng.uniform(0, 20, (n, M, 2)), rng.uniform(3, 15, (n, M, 2))
    found = np.concatenate([low, low + sides, rng.normal(size=(n, M, classes))], axis=2)
    return found.astype(np.float64)


def iou(a: Any, b: Any) -> float:
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return width * height / (sum(areas) - width * height)


def probabilities(logits: Any, activation: str | None) -> Any:
    if activation == "sigmoid":
        return 1 / (1 + np.exp(-logits))
    if activation == "softmax":
        return np.exp(logits) / np.exp(logits).sum()
    return logits


def similarity(output: Any, box: Any, p: Any, activation: str | None) -> float:
    """max over boxes of IoU · cosine · largest probability."""
    best = -np.inf
    for row in output:
        found = probabilities(row[4:], activation)[: len(p)]
        cosine = (found * p).sum() / np.sqrt((found**2).sum() * (p**2).sum())
        best = max(best, iou(row[:4], box) * cosine * found.max())
    return best


@pytest.mark.parametrize(
    ("activation", "classes"), [("sigmoid", K), ("softmax", K), ("softmax", K + 1), (None, K)]
)
def test_similarity_is_the_formula(activation: Any, classes: int) -> None:
    n = 4
    output = outputs(n, classes)
    if activation is None:
        output[..., 4:] = probabilities(output[..., 4:], "sigmoid")
    rng = np.random.default_rng(1)
    boxes, p = outputs(n, seed=2)[:, 0, :4], rng.uniform(0, 1, (n, K))
    target = it.DetectionSimilarity(boxes, p, activation)
    found = target(paddle.to_tensor(output)).numpy()
    wanted = [similarity(*each, activation) for each in zip(output, boxes, p, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    one = it.DetectionSimilarity(boxes[0], p[0], activation)(paddle.to_tensor(output)).numpy()
    wanted = [similarity(each, boxes[0], p[0], activation) for each in output]
    np.testing.assert_allclose(one, wanted, rtol=1e-12)
    rows = np.array([2, 0, 2])
    part = checked_score(target, rows, paddle.to_tensor(output[rows]))
    np.testing.assert_allclose(part.numpy(), found[rows], rtol=1e-12)


def test_a_box_that_is_found_again_scores_its_largest_probability() -> None:
    output = outputs(1)
    row = output[0, 3]
    p = probabilities(row[4:], "sigmoid")
    output[0, :, 4:] = np.where(np.arange(M)[:, None] == 3, row[4:], -40)
    target = it.DetectionSimilarity(row[:4], p)
    assert float(target(paddle.to_tensor(output))[0]) == pytest.approx(p.max(), rel=1e-12)


def test_similarity_has_the_gradient_of_the_classes_only() -> None:
    output = outputs(1)
    x = paddle.to_tensor(output, stop_gradient=False)
    target = it.DetectionSimilarity(output[0, 2, :4], [0.2, 0.9, 0.1])
    (gradient,) = paddle.grad(target(x).sum(), [x])
    assert not gradient.numpy()[..., :4].any()
    step, wanted = 1e-6, np.zeros((M, K))
    for m, k in np.ndindex(M, K):
        for sign in (1, -1):
            moved = output.copy()
            moved[0, m, 4 + k] += sign * step
            wanted[m, k] += sign * float(target(paddle.to_tensor(moved))[0]) / (2 * step)
    np.testing.assert_allclose(gradient.numpy()[0, :, 4:], wanted, atol=1e-7)


def test_an_index_is_the_same_box_in_every_output() -> None:
    output = outputs(3)
    x = paddle.to_tensor(output)
    np.testing.assert_array_equal(it.DetectionScore(1, index=4)(x).numpy(), output[:, 4, 5])
    each = it.DetectionScore([0, 1, 2], index=[4, 0, 6])
    wanted = [output[0, 4, 4], output[1, 0, 5], output[2, 6, 6]]
    np.testing.assert_array_equal(each(x).numpy(), wanted)
    rows = np.array([2, 2, 0])
    part = checked_score(each, rows, paddle.to_tensor(output[rows])).numpy()
    np.testing.assert_array_equal(part, [wanted[2], wanted[2], wanted[0]])
    assert repr(each) == "DetectionScore([0, 1, 2], index=[4, 0, 6])"


def test_what_does_not_fit_is_told() -> None:
    x = paddle.to_tensor(outputs(2))
    with pytest.raises(TargetError, match=r"box \[7, 7\] is not in \[0, 7\)"):
        it.DetectionScore(0, index=7)(x)
    with pytest.raises(TargetError, match="3 indexes were given for 2 images"):
        it.DetectionScore(0, index=[0, 1, 2])(x)
    with pytest.raises(InputError, match="give one of them"):
        it.DetectionScore(0, [0, 0, 1, 1], index=1)
    with pytest.raises(InputError, match="or choose"):
        it.DetectionScore(index=1, choose=lambda boxes, scores: (0, 0))
    with pytest.raises(InputError, match=r"\[4\] or \[N, 4\]"):
        it.DetectionSimilarity([1, 2], [0.5])
    with pytest.raises(InputError, match="not all 0"):
        it.DetectionSimilarity([0, 0, 1, 1], [0.0, 0.0])
    with pytest.raises(InputError, match="'sigmoid', 'softmax' or None"):
        it.DetectionSimilarity([0, 0, 1, 1], [0.5], "tanh")  # type: ignore[arg-type]
    for activation in ("sigmoid", "softmax"):
        with pytest.raises(TargetError, match="3 classes, and the box 5 probabilities"):
            it.DetectionSimilarity([0, 0, 1, 1], [0.5] * 5, activation)(x)  # type: ignore[arg-type]
    with pytest.raises(TargetError, match="3 boxes were given for 2 images"):
        it.DetectionSimilarity(np.ones((3, 4)), [0.5] * K)(x)
    with pytest.raises(TargetError, match="needs an output"):
        it.DetectionSimilarity([0, 0, 1, 1], [0.5] * K)(x[:, 0])
