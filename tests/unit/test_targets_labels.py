"""What a user calls a class, turned into indexes; scores against NumPy formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

import interpretdl as it
from interpretdl.targets import TopClass, check_labels, settled, take
from interpretdl.targets.labels import target_of

NAMES = ("tabby, tabby cat", "tiger cat", "tiger, Panthera tigris", "crane", "crane, bird")
LOGITS = np.array([[0, 1, 2, 3, 9], [5, 4, 3, 2, 1], [0, 0, 7, 0, 0]], np.float32)


def resolved(label: Any, names: Any = NAMES, given: int = 3, indices: Any = (0, 1, 2)) -> list[int]:
    logits = LOGITS[: len(indices)]
    target = target_of(label, "logit", names, given, indices)
    scores = target(paddle.to_tensor(logits))
    found = settled(target, logits)
    assert isinstance(found, it.ClassScore)
    assert found.labels.dtype == np.int64
    labels = np.broadcast_to(found.labels, len(logits))
    np.testing.assert_array_equal(scores.numpy(), logits[range(len(logits)), labels])
    return labels.tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (None, [4, 0, 2]),
        (3, [3, 3, 3]),
        (np.int32(3), [3, 3, 3]),
        (np.array(3), [3, 3, 3]),
        (np.uint8([0, 1, 4]), [0, 1, 4]),
        ([0, 1, 4], [0, 1, 4]),
        ([[0], [1], [4]], [0, 1, 4]),
        (np.array([[0], [1], [4]]), [0, 1, 4]),
        ((0, np.int64(1), "tiger cat"), [0, 1, 1]),
        (np.array(["tiger cat", "tabby", "tabby cat"]), [1, 0, 0]),
        ("tiger cat", [1, 1, 1]),
        ("TIGER, panthera tigris ", [2, 2, 2]),
        ("panthera tigris", [2, 2, 2]),
        ("crane", [3, 3, 3]),  # a class named just so wins
        ("bird", [4, 4, 4]),
        ("tiger", [2, 2, 2]),  # a synonym, and a part of another's name
    ],
)
def test_labels(label: Any, expected: list[int]) -> None:
    assert resolved(label) == expected


@pytest.mark.parametrize("label", [[0, 1, 4], 3])
def test_labels_as_tensors(label: Any) -> None:
    assert resolved(paddle.to_tensor(label)) == resolved(label)
    if isinstance(label, list):
        assert resolved([paddle.to_tensor(k) for k in label]) == label


@pytest.mark.parametrize(
    ("label", "says"),
    [
        (9999, r"9999 is not in \[0, 5\)"),
        (5, r"5 is not in \[0, 5\)"),
        (-1, r"-1 is not in \[0, 5\)"),
        ([0, 1, -3], r"-3 is not in \[0, 5\)"),
        (10**30, r"is not in \[0, 5\)"),
        (np.uint64(2**63), r"is not in \[0, 5\)"),
        (True, r"True \(bool\)"),
        (np.bool_(True), r"bool"),
        ([0, 1, False], r"False \(bool\)"),
        (1.0, r"1\.0 \(float\)"),
        (np.ones(3), r"\(float\)"),
        (paddle.to_tensor([True, True, False]), r"\(bool\)"),
        ({1: 2}, "dict"),
        (b"tiger cat", "bytes"),
        ([0, 1], "2 labels were given for 3 images"),
        ([], "0 labels"),
        ([[0, 1], [1, 2], [2, 0]], r"\[0, 1\] \(list\)"),
        ([0, [1], 2], r"\[1\] \(list\)"),
        (np.zeros((3, 2), int), r"shape \[3, 2\]"),
        (np.zeros((1, 3), int), r"shape \[1, 3\]"),
        ("tigre cat", "did you mean 'tiger cat'"),
        ("", "no class is named ''"),
    ],
)
def test_bad_labels(label: Any, says: str) -> None:
    with pytest.raises(it.TargetError, match=says):
        resolved(label)


def test_a_name_of_several_classes_and_no_names() -> None:
    with pytest.raises(it.TargetError, match=r"names several classes: \[1, 3\]; give the index"):
        resolved("crane", ("a", "crane, bird", "c", "crane, machine", "e"))
    with pytest.raises(it.TargetError, match="has no class names; give class_names="):
        resolved("crane", None)


def test_labels_stay_with_their_pictures_when_some_cannot_be_read() -> None:
    assert resolved([4, 3, 2, 1], given=4, indices=(0, 3)) == [4, 1]
    with pytest.raises(it.TargetError, match="2 labels were given for 4 images"):
        resolved([4, 1], given=4, indices=(0, 3))


def test_targets_are_passed_on_and_needed_where_there_are_no_classes() -> None:
    target = it.ClassScore(1)
    maps = np.zeros((2, 3, 4, 4), np.float32)
    assert target_of(target, "logit", None, 2, (0, 1)) is target
    for label in (None, 1, "tiger cat"):
        with pytest.raises(it.TargetError, match=r"\[2, 3, 4, 4\], not \[N, K\].*a target"):
            target_of(label, "logit", NAMES, 2, (0, 1))(paddle.to_tensor(maps))


def test_the_top_class_is_settled_by_outputs() -> None:
    for of in ("logit", "contrast"):
        top = TopClass(of)
        fixed = top.settled(LOGITS)
        assert (fixed.labels.tolist(), fixed.of) == ([4, 0, 2], of)
        z = paddle.to_tensor(LOGITS)
        np.testing.assert_array_equal(top(z).numpy(), fixed(z).numpy())
    assert repr(TopClass()) == "TopClass(of='logit')"


# -- scores ----------------------------------------------------------------------------------------


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_scores_against_formulas() -> None:
    labels, z = np.array([0, 4, 2]), LOGITS.astype(np.float64)
    rows = np.arange(3)
    p = softmax(z)[rows, labels]
    others = (z.sum(1) - z[rows, labels]) / 4
    expected = {
        "logit": z[rows, labels],
        "probability": p,
        "loss": -np.log(p),
        "contrast": z[rows, labels] - others,
    }
    for of, values in expected.items():
        got = it.ClassScore(labels, of)(paddle.to_tensor(LOGITS)).numpy()  # type: ignore[arg-type]
        np.testing.assert_allclose(got, values, rtol=1e-4, err_msg=of)
    one = it.ClassScore(2)(paddle.to_tensor(LOGITS)).numpy()
    np.testing.assert_array_equal(one, LOGITS[:, 2])


def test_extreme_logits_have_finite_losses() -> None:
    z = paddle.to_tensor([[1e4, 0.0], [0.0, -1e4]])
    assert np.isfinite(it.ClassScore(1, "loss")(z).numpy()).all()
    np.testing.assert_array_equal(it.ClassScore(1, "loss")(z).numpy(), [1e4, 1e4])


def test_targets_are_taken_per_image() -> None:
    target = it.ClassScore([3, 1, 2], "loss")
    taken = take(target, np.array([2, 2, 0]))
    assert isinstance(taken, it.ClassScore)
    assert (taken.labels.tolist(), taken.of) == ([2, 2, 3], "loss")
    alone = it.ClassScore(3)
    assert take(alone, np.array([0, 0])) is alone
    assert take(abs, np.array([0])) is abs  # type: ignore[arg-type]  # any callable
    assert repr(target) == "ClassScore([3, 1, 2], of='loss')"


def test_scores_that_cannot_be() -> None:
    with pytest.raises(it.InputError, match="'logit', 'probability', 'loss', 'contrast'"):
        it.ClassScore(0, "softmax")  # type: ignore[arg-type]  # the mistake itself
    z = paddle.to_tensor(LOGITS)
    with pytest.raises(it.TargetError, match=r"5 is not in \[0, 5\)"):
        it.ClassScore(5)(z)
    with pytest.raises(it.TargetError, match="2 labels were given for 3 images"):
        it.ClassScore([0, 1])(z)
    with pytest.raises(it.TargetError, match=r"\[3, 5, 1\]"):
        it.ClassScore(0)(z.unsqueeze(2))
    with pytest.raises(it.TargetError, match="7"):
        check_labels(np.array([[0, 1], [7, 2]]), 3)
