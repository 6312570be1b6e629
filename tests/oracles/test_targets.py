"""Targets: hand-made numbers, and networks that segment and detect, explained end to end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import nn

import interpretdl as it
from interpretdl.targets import take
from tests.probes import in_eval

Array = NDArray[Any]
RNG = np.random.default_rng


def scores(target: Any, output: Array) -> Array:
    return np.asarray(target(paddle.to_tensor(output)).numpy())


def gradient(target: Any, output: Array) -> Array:
    tensor = paddle.to_tensor(output, stop_gradient=False)
    return np.asarray(paddle.grad(target(tensor), [tensor])[0].numpy())


# -- ClassScore ------------------------------------------------------------------------------------


def test_class_score() -> None:
    logits = RNG(0).normal(size=(3, 4))
    labels = np.array([2, 0, 3])
    chosen = logits[np.arange(3), labels]
    probability = np.exp(chosen) / np.exp(logits).sum(axis=1)
    np.testing.assert_allclose(scores(it.ClassScore(labels), logits), chosen)
    np.testing.assert_allclose(scores(it.ClassScore(labels, "probability"), logits), probability)
    np.testing.assert_allclose(scores(it.ClassScore(labels, "loss"), logits), -np.log(probability))
    others = (logits.sum(axis=1) - chosen) / 3
    np.testing.assert_allclose(scores(it.ClassScore(labels, "contrast"), logits), chosen - others)
    np.testing.assert_allclose(scores(it.ClassScore(1), logits), logits[:, 1])
    some = take(it.ClassScore(labels), np.array([2, 2, 0]))
    np.testing.assert_allclose(scores(some, logits), logits[np.arange(3), [3, 3, 2]])


@pytest.mark.parametrize(
    ("labels", "shape", "says"),
    [
        (4, (2, 4), r"label 4 is not in \[0, 4\)"),
        ([0, 1, 2], (2, 4), "3 labels were given for 2 images"),
        (0, (2, 4, 5, 5), r"\[2, 4, 5, 5\], not \[N, K\].*output="),
    ],
)
def test_class_score_that_does_not_fit(labels: Any, shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(it.TargetError, match=says):
        scores(it.ClassScore(labels), np.zeros(shape))


def test_class_score_of_something_unknown() -> None:
    with pytest.raises(it.InputError, match="softmax"):
        it.ClassScore(0, "softmax")  # type: ignore[arg-type]  # what a user may write


# -- SegmentationScore -----------------------------------------------------------------------------

# Two images, two classes, 2 x 2 pixels.
OUTPUT = np.array(
    [[[[1, 5], [2, 0]], [[3, 4], [1, 7]]], [[[0, 1], [1, 1]], [[9, 0], [0, 8]]]], np.float64
)
REGION = np.array([[True, False], [False, True]])


def test_segmentation_score() -> None:
    assert scores(it.SegmentationScore(1, REGION), OUTPUT).tolist() == [(3 + 7) / 2, (9 + 8) / 2]
    assert scores(it.SegmentationScore([0, 1], REGION), OUTPUT).tolist() == [(1 + 0) / 2, 17 / 2]
    corner = np.array([[False, False], [True, False]])
    each = it.SegmentationScore(1, np.stack([REGION, corner]))
    assert scores(each, OUTPUT).tolist() == [(3 + 7) / 2, 0]
    assert scores(take(each, np.array([1, 1])), OUTPUT).tolist() == [1, 0]
    # where the class is predicted: pixels (0, 0), (1, 1) of the first image and the second; of 4
    assert scores(it.SegmentationScore(1), OUTPUT).tolist() == [(3 + 7) / 4, (9 + 8) / 4]
    assert scores(it.SegmentationScore(0), OUTPUT).tolist() == [(5 + 2) / 4, (1 + 1) / 4]
    # with two classes the contrast is the difference
    contrast = it.SegmentationScore(1, REGION, "contrast")
    assert scores(contrast, OUTPUT).tolist() == [(2 + 7) / 2, (9 + 7) / 2]
    assert scores(take(contrast, np.array([1])), OUTPUT[1:]).tolist() == [8]
    odds = 1 / (1 + np.exp(-(OUTPUT[:, 1] - OUTPUT[:, 0])))
    found = scores(it.SegmentationScore(1, REGION, "probability"), OUTPUT)
    np.testing.assert_allclose(found, odds[:, REGION].mean(axis=1))
    # one class: a logit of 0 or more
    assert scores(it.SegmentationScore(0), OUTPUT[:, :1] - 1.5).tolist() == [(3.5 + 0.5) / 4, 0]


def test_segmentation_score_gradient_is_the_region() -> None:
    expected = np.zeros_like(OUTPUT)
    expected[:, 1] = REGION
    assert np.array_equal(gradient(it.SegmentationScore(1, REGION), OUTPUT), expected / 2)
    assert np.array_equal(gradient(it.SegmentationScore(1), OUTPUT), expected / 4)
    nowhere = it.SegmentationScore(0)
    assert scores(nowhere, OUTPUT - [[[[9]], [[0]]]]).tolist() == [0, 0]
    assert not gradient(nowhere, OUTPUT - [[[[9]], [[0]]]]).any()


def test_segmentation_score_that_does_not_fit() -> None:
    with pytest.raises(it.InputError, match="softmax"):
        it.SegmentationScore(0, REGION, "softmax")  # type: ignore[arg-type]  # as a user may write
    with pytest.raises(it.InputError, match=r"bool array .* int64 \[2, 2\]"):
        it.SegmentationScore(0, REGION.astype(np.int64))
    with pytest.raises(it.InputError, match=r"bool \[4\]"):
        it.SegmentationScore(0, REGION.ravel())
    with pytest.raises(it.InputError, match="no pixel"):
        it.SegmentationScore(0, np.stack([REGION, REGION & False]))
    with pytest.raises(it.TargetError, match=r"region is \[3, 3\].*\[2, 2\]"):
        scores(it.SegmentationScore(0, np.ones((3, 3), bool)), OUTPUT)
    with pytest.raises(it.TargetError, match=r"label 2 is not in \[0, 2\)"):
        scores(it.SegmentationScore(2), OUTPUT)
    with pytest.raises(it.TargetError, match=r"\[N, K, H, W\].*\[2, 2\]"):
        scores(it.SegmentationScore(0), OUTPUT[:, :, 0, 0])


# A network that finds squares and crosses ---------------------------------------------------------

SQUARE, CROSS, SIZE = 1, 2, 32


def shapes(n: int, seed: int) -> tuple[Array, Array]:
    """Noise with a bright square and a bright cross of 9 x 9 pixels apart; classes [n, H, W]."""
    rng = RNG(seed)
    x = rng.normal(0, 0.3, (n, 1, SIZE, SIZE)).astype(np.float32)
    y = np.zeros((n, SIZE, SIZE), np.int64)
    square = np.ones((9, 9), bool)
    cross = np.zeros((9, 9), bool)
    cross[3:6], cross[:, 3:6] = True, True
    for i in range(n):
        sides = [(0, square, SQUARE), (16, cross, CROSS)]
        flip = rng.random() < 0.5
        for left, shape, label in sides:
            left = 16 - left if flip else left
            top, left = rng.integers(0, SIZE - 8), left + rng.integers(0, 8)
            x[i, 0, top : top + 9, left : left + 9] += shape
            y[i, top : top + 9, left : left + 9][shape] = label
    return x, y


@pytest.fixture(scope="module")
def segmenter() -> Any:
    rng = RNG(0)
    model = nn.Sequential(
        nn.Conv2D(1, 12, 5, padding=2, bias_attr=False),
        nn.ReLU(),
        nn.MaxPool2D(2),
        nn.Conv2D(12, 16, 5, padding=2, bias_attr=False),
        nn.ReLU(),
        nn.Conv2D(16, 16, 5, padding=2, bias_attr=False),
        nn.ReLU(),  # layer "6"
        nn.Conv2D(16, 3, 1),
        nn.Upsample(scale_factor=2, mode="bilinear"),
    )
    for parameter in model.parameters():
        if parameter.ndim == 4:
            scale = np.sqrt(2 / np.prod(parameter.shape[1:]))
            parameter.set_value(rng.normal(0, scale, parameter.shape).astype("float32"))
    optimizer = paddle.optimizer.Adam(0.01, parameters=model.parameters())
    weight = paddle.to_tensor([0.2, 1.0, 1.0])
    x, y = shapes(512, 1)
    for step in range(96):
        rows = np.arange(16 * step, 16 * step + 16) % len(x)
        output = model(paddle.to_tensor(x[rows]))
        loss = nn.functional.cross_entropy(output, paddle.to_tensor(y[rows]), weight, axis=1)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    model.clear_gradients()
    model.preprocessing = it.Preprocessing(resize=None, crop=None, mean=(0.0,), std=(1.0,))
    return in_eval(model)


def test_segmentation_end_to_end(segmenter: Any, tmp_path: Path) -> None:
    x, y = shapes(8, 2)
    predicted = it.Probe(segmenter).logits(x).argmax(axis=1)
    assert (predicted == y)[y > 0].mean() > 0.9  # it has learned
    near = {}  # within 3 pixels of the shape
    for label in (SQUARE, CROSS):
        inside = np.pad(y == label, ((0, 0), (3, 3), (3, 3)))
        moved = [inside[:, i : i + SIZE, j : j + SIZE] for i in range(7) for j in range(7)]
        near[label] = np.any(moved, axis=0)
    # Grad-CAM's weights are averaged over the picture, so it needs a score that does not depend on
    # what is added to all classes of a pixel.
    for method, of, layer, least in [
        ("grad_cam", "contrast", "6", 0.8),
        ("layer_cam", "logit", "4", 0.8),
        ("hires_cam", "logit", "4", 0.7),
        ("gradient", "logit", None, 0.6),
    ]:
        interpreter = it.registry.find(method).cls(segmenter)
        options = {"target_layer_name": layer} if layer else {}
        for label in (SQUARE, CROSS):
            for region in (None, y == label):
                target = it.SegmentationScore(label, region, of)
                found = interpreter.explain(x, label=target, **options)
                heat = found.heatmap()
                share = (heat * near[label]).sum(axis=(1, 2)) / heat.sum(axis=(1, 2))
                assert near[label].mean() < 0.25  # what a map that knows nothing would have
                assert share.min() > least, (method, label, region is None, share)
                assert found.labels.tolist() == [-1] * 8
                assert found.probabilities is None
                direct = scores(target, it.Probe(segmenter).logits(x))
                np.testing.assert_allclose(found.scores, direct, rtol=1e-4)
    assert found[0].label_names == ("score",)
    for style in ("overlay", "side_by_side"):
        found[:2].plot(style)
    assert "<img" in found._repr_html_()
    found.save(tmp_path / "found.npz")
    assert np.array_equal(it.Explanation.load(tmp_path / "found.npz").values, found.values)


@pytest.mark.parametrize("name", ["score_cam", "ablation_cam", "layer_cam", "eigen_cam"])
def test_other_maps_of_a_segmentation(name: str, segmenter: Any, capsys: Any) -> None:
    x, y = shapes(2, 3)
    interpreter = it.registry.find(name).cls(segmenter)
    target = it.SegmentationScore(SQUARE, y == SQUARE)
    found = interpreter.interpret(x, label=target, target_layer_name="6", visual=False)
    single = interpreter.interpret(
        x[1:], label=it.SegmentationScore(SQUARE, y[1] == SQUARE), target_layer_name="6",
        visual=False,
    )  # fmt: skip
    assert found.any(axis=(1, 2)).all()
    np.testing.assert_allclose(found[1], single[0], rtol=1e-3, atol=1e-5 * np.abs(found).max())
    assert capsys.readouterr().out.strip() == ""  # no classes to print


def test_a_segmentation_needs_a_target(segmenter: Any) -> None:
    with pytest.raises(it.TargetError, match=r"not \[N, K\].*target"):
        it.GradCAMInterpreter(segmenter).explain(shapes(1, 0)[0], label=1)


# -- DetectionScore --------------------------------------------------------------------------------

BOXES = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [4, 4, 6, 6]], np.float64)
FOUND = np.stack(
    [
        np.concatenate([BOXES, [[0.1, 5], [0.2, 4], [0.9, -1]]], axis=1),
        np.concatenate([BOXES[::-1], [[1, 0], [2, 7], [3, 8]]], axis=1),
    ]
)


def test_detection_score() -> None:
    assert scores(it.DetectionScore(0), FOUND).tolist() == [0.9, 3]
    assert scores(it.DetectionScore([1, 0]), FOUND).tolist() == [5, 3]
    # the box that overlaps most: number 1 (IoU 9/7 of the others'), in both images
    near = it.DetectionScore(1, [1.1, 1.1, 3, 3])
    assert scores(near, FOUND).tolist() == [4, 7]
    each = it.DetectionScore([0, 1], [[4, 4, 6, 7], [0, 0, 1, 1]])
    assert scores(each, FOUND).tolist() == [0.9, 8]
    assert scores(take(each, np.array([1, 1])), FOUND).tolist() == [5, 8]
    chosen = it.DetectionScore(choose=lambda boxes, scores: (scores[..., 1].argmin(1), 0))
    assert scores(chosen, FOUND).tolist() == [0.9, 1]
    expected = np.zeros_like(FOUND)
    expected[0, 1, 5] = expected[1, 1, 5] = 1
    assert np.array_equal(gradient(near, FOUND), expected)


@pytest.mark.parametrize("classes", [1, 4, 7])
def test_the_last_of_a_detectors_classes(classes: int) -> None:
    scored = np.random.default_rng(0).random((1, 3, classes))
    output = np.concatenate([BOXES[None], scored], axis=2)
    found = scores(it.DetectionScore(classes - 1), output)
    assert found == pytest.approx([scored[0, :, -1].max()])
    with pytest.raises(it.TargetError, match=rf"label {classes} is not in \[0, {classes}\)"):
        scores(it.DetectionScore(classes), output)


def test_a_label_beyond_64_bits() -> None:
    with pytest.raises(it.TargetError, match=rf"{2**70} is not in \[0, 2\)"):
        scores(it.ClassScore(2**70), np.ones((1, 2)))


def test_detection_score_that_does_not_fit() -> None:
    for arguments in ({}, {"labels": 1, "choose": len}, {"box": [0, 0, 1, 1], "choose": len}):
        with pytest.raises(it.InputError, match="either labels"):
            it.DetectionScore(**arguments)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(it.InputError, match=r"\[4\] or \[N, 4\]; got shape \[3\]"):
        it.DetectionScore(0, [1, 2, 3])
    with pytest.raises(it.TargetError, match=r"\[N, M, 4 \+ K\].*\[2, 3\].*output="):
        scores(it.DetectionScore(0), FOUND[:, :, 0])
    with pytest.raises(it.TargetError, match=r"label 2 is not in \[0, 2\)"):
        scores(it.DetectionScore(2), FOUND)
    for label in (2, -1):
        with pytest.raises(it.TargetError, match=rf"label {label} is not in \[0, 2\)"):
            scores(it.DetectionScore(choose=lambda boxes, scores, k=label: (0, k)), FOUND)
    with pytest.raises(it.TargetError, match=r"box \[-1, -1\] is not in \[0, 3\)"):
        scores(it.DetectionScore(choose=lambda boxes, scores: (-1, 0)), FOUND)
    with pytest.raises(it.TargetError, match="3 boxes were given for 2 images"):
        scores(it.DetectionScore(0, np.ones((3, 4))), FOUND)
    with pytest.raises(it.TargetError, match=r"box \[3, 3\] is not in \[0, 3\)"):
        scores(it.DetectionScore(choose=lambda boxes, scores: (3, 0)), FOUND)


class Detector(nn.Layer):  # type: ignore[misc]  # Paddle is untyped to mypy
    """A box for each 8 x 8 cell; class k's score is how bright colour k is in the cell."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.colours = nn.Conv2D(3, 3, 3, padding=1, bias_attr=False)
        weight = np.zeros((3, 3, 3, 3), np.float32)
        weight[range(3), range(3)] = 1 / 9
        self.colours.weight.set_value(weight)
        self.relu = nn.ReLU()
        self.cells = nn.AvgPool2D(8)

    def forward(self, x: Any) -> Any:
        cells = self.cells(self.relu(self.colours(x)))
        n, k, h, w = cells.shape
        scores = cells.reshape([n, k, h * w]).transpose([0, 2, 1])
        y, x = np.divmod(np.arange(h * w), w)
        boxes = np.stack([x, y, x + 1, y + 1], axis=1).astype(np.float32) * 8
        boxes = paddle.to_tensor(boxes).unsqueeze(0).expand([n, h * w, 4])
        if self.kind == "dict":
            return {"boxes": boxes, "scores": scores}
        return boxes, scores


@pytest.mark.parametrize("kind", ["dict", "tuple"])
@pytest.mark.parametrize("method", ["gradient", "grad_cam", "hires_cam", "ablation_cam"])
def test_detection_end_to_end(kind: str, method: str) -> None:
    x = np.zeros((2, 3, 32, 32), np.float32)
    x[0, 0, 8:16, 16:24] = 1  # red at the top, in both
    x[1, 0, 8:16, 0:8] = 1
    x[:, 1, 24:32, 8:16] = 2  # green below
    keys = ("boxes", "scores") if kind == "dict" else (0, 1)

    def joined(out: Any) -> Any:
        return paddle.concat([out[key] for key in keys], axis=-1)

    interpreter = it.registry.find(method).cls(in_eval(Detector(kind)), output=joined)
    options = {} if method == "gradient" else {"target_layer_name": "relu"}
    for target, place in [
        (it.DetectionScore(0), [(8, 16), (8, 0)]),
        (it.DetectionScore(1, [9, 23, 17, 33]), [(24, 8), (24, 8)]),
        (it.DetectionScore(choose=lambda b, s: (s[:, :, 1].argmax(1), 1)), [(24, 8), (24, 8)]),
    ]:
        found = interpreter.explain(x, label=target, **options)
        heat = found.heatmap()
        for one, (top, left) in zip(heat, place, strict=True):
            inside = one[max(top - 1, 0) : top + 9, max(left - 1, 0) : left + 9].sum()
            assert inside > 0.99 * one.sum() > 0
        np.testing.assert_allclose(found.scores, scores(target, interpreter.probe.logits(x)))
        assert found.labels.tolist() == [-1, -1]
        assert found.probabilities is None
        found.plot()


def test_one_of_a_detectors_outputs_and_a_function() -> None:
    x = np.abs(RNG(0).normal(size=(2, 3, 32, 32))).astype(np.float32)
    interpreter = it.GradientInterpreter(in_eval(Detector("dict")), output="scores")
    found = interpreter.explain(x, label=lambda output: output[:, 5, 2])  # cell 5: row 1, column 1
    assert not found.values[:, :2].any()
    assert found.values[:, 2, 8:16, 8:16].all()
    assert not found.values[:, 2, 17:].any()
    with pytest.raises(it.UnsupportedModelError, match=r"'boxes'.*output="):
        it.GradientInterpreter(in_eval(Detector("dict"))).explain(x)


def test_the_page_on_maps_runs(root: Path, segmenter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = shapes(2, 4)[0]
    names: dict[str, Any] = {
        "segmenter": segmenter,
        "segmenter_logits": it.Probe(segmenter).logits(x),
        "x": x,
        "detector": in_eval(Detector("dict")),
        "pictures": np.abs(RNG(0).normal(size=(2, 3, 32, 32))).astype(np.float32),
    }
    monkeypatch.chdir(root)
    page = root / "docs" / "methods" / "families" / "class_activation_maps.md"
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(block, names)  # noqa: S102  # the page's own lines
        if "maps" in names:
            assert names["maps"].values.any()
    assert names["fine"].values.any()
