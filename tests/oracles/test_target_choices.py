"""What targets choose: the top class, a class by its name, the box that overlaps most."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

import interpretdl as it
from interpretdl.targets import TopClass, target_of
from interpretdl.targets.spatial import overlap


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_top_class(dtype: str) -> None:
    near = 1 + 1e-12 if dtype == "float64" else 2
    output = paddle.to_tensor([[-3.0, 1, near], [-2, -8, -4]], "float64").astype(dtype)
    found = TopClass()(output).astype("float64").numpy()
    assert found.tolist() == [near, -2]
    chosen = TopClass().settled(output.astype("float64").numpy())
    assert chosen.labels.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("label", "index"),
    [("tabby", 1), ("Tabby ", 1), ("cat, tabby", 0), ("tiger", 2), ("tiger cat", 3), ("lynx", 4)],
)
def test_class_names(label: str, index: int) -> None:
    """The whole name, then the first of its synonyms, then any of them."""
    names = ["cat, tabby", "tabby", "tiger, cat of stripes", "tiger cat, tiger", "bobcat, Lynx"]
    assert target_of(label, "logit", names, 1, [0]).labels.tolist() == index  # type: ignore[attr-defined]
    each = target_of([label, 4, "tabby"], "loss", names, 3, [0, 2])
    assert (each.labels.tolist(), each.of) == ([index, 1], "loss")  # type: ignore[attr-defined]


@pytest.mark.parametrize("label", [True, np.True_, 1.0, np.float32(2), b"tabby", 1j])
def test_what_is_no_label(label: object) -> None:
    with pytest.raises(it.TargetError, match="class index, a class name or a target"):
        target_of(label, "logit", ["cat", "tabby"], 1, [0])


@pytest.mark.parametrize("label", [1, np.int64(1), np.array(1), paddle.to_tensor(1)])
def test_what_is_a_label(label: object) -> None:
    assert target_of(label, "logit", None, 1, [0]).labels.tolist() == 1  # type: ignore[attr-defined]


def test_overlaps_against_a_plain_loop() -> None:
    """Intersection over union of random boxes, with empty and inverted ones among them."""
    rng = np.random.default_rng(2)
    boxes = rng.uniform(0, 4, (3, 7, 4))
    boxes[:, :5, 2:] += boxes[:, :5, :2]
    boxes[:, 6, 2:] = boxes[:, 6, :2]
    wanted = np.array([[1, 1, 4, 3.5], [0.5, 2, 5, 6], [2, 2, 2, 3]])
    expected = np.zeros((3, 7))
    for i, k in np.ndindex(3, 7):
        areas, common = [0.0, 0.0], 1.0
        for j, one in enumerate((boxes[i, k], wanted[i])):
            areas[j] = max(one[2] - one[0], 0) * max(one[3] - one[1], 0)
        for axis in (0, 1):
            low = max(boxes[i, k, axis], wanted[i, axis])
            high = min(boxes[i, k, axis + 2], wanted[i, axis + 2])
            common *= max(high - low, 0)
        union = sum(areas) - common
        expected[i, k] = common / union if union > 0 else 0
    np.testing.assert_allclose(overlap(boxes, wanted[:, None]), expected)
    outputs = np.concatenate([boxes, rng.normal(size=(3, 7, 2))], axis=2)
    best = outputs[np.arange(3), expected.argmax(axis=1), 5]
    found = it.DetectionScore(1, wanted)(paddle.to_tensor(outputs)).numpy()
    np.testing.assert_allclose(found, best)
