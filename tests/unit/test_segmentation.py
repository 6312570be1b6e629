"""SegmentationSubject: classes of pixels, regions, and maps that lie where the evidence is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

import interpretdl as it
from interpretdl.suites.segmentation import _resized, _shrunk
from interpretdl.testing import differences, state_of
from tests.paddle_models.segmenters import NAMES, SEGMENTERS, lite_seg, planted, street

PICTURE, PARTS = street()
SQUARE = (14, 6)  # a click on the grey square beside the red one


@pytest.fixture(scope="module")
def seg() -> it.SegmentationSubject:
    return it.SegmentationSubject(planted())


def expected_labels() -> Any:
    return np.select([PARTS["square"], PARTS["other"]], [1, 2], 0)


# -- segment ---------------------------------------------------------------------------------------


def test_segment(seg: Any, tmp_path: Path) -> None:
    found = seg.segment([PICTURE, PICTURE])
    assert found.labels.dtype == np.uint8
    np.testing.assert_array_equal(found.labels, [expected_labels()] * 2)
    np.testing.assert_array_equal(found.images, [PICTURE] * 2)
    share = 36 / 1024
    assert found.shares == [{"ground": 1 - 2 * share, "near red": share, "near green": share}] * 2
    assert next(iter(found.shares[0])) == "ground"  # the largest first
    found.save(tmp_path / "classes.png")
    assert (tmp_path / "classes.png").stat().st_size > 1000
    assert found._repr_png_().startswith(b"\x89PNG")


def test_a_picture_of_classes_has_them_in_its_legend(seg: Any) -> None:
    figure = seg.segment(PICTURE).plot()
    texts = [t.get_text() for t in figure.axes[1].get_legend().get_texts()]
    assert texts == ["ground  93.0%", "near red  3.5%", "near green  3.5%"]
    colours = figure.axes[1].images[0].get_array()
    inside, ground = colours[PARTS["square"]], colours[:4].reshape(-1, 3)
    assert np.ptp(inside, axis=0).max() == np.ptp(ground, axis=0).max() == 0
    assert abs(inside[0] - ground[0]).max() > 0.2


# -- regions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("region", "label", "where", "name"),
    [
        (SQUARE, None, "square", "near red"),
        ((17.9, 9.2), None, "square", "near red"),  # the last pixel of it
        ("near green", None, "other", "near green"),
        (2, None, "other", "near green"),
        (None, "near red", "square", "near red"),
        (None, 1, "square", "near red"),
        (PARTS["other"], None, "other", "near green"),
        (PARTS["other"].astype(np.uint8) * 255, None, "other", "near green"),
        (PARTS["other"], "near red", "other", "near red"),
        ([SQUARE], ["near green"], "square", "near green"),
    ],
)
def test_regions(region: Any, label: Any, where: str, name: str, seg: Any) -> None:
    found = seg.explain(PICTURE, region, label, method="gradient", gradient_of="contrast")
    np.testing.assert_array_equal(found.regions[0], PARTS[where])
    assert found.label_names == (name,)
    np.testing.assert_allclose(found.diagnostics["share"], PARTS[where].mean(), rtol=1e-6)
    target = it.SegmentationScore(NAMES.index(name), PARTS[where], "contrast")
    same = it.GradientInterpreter(seg.subject).explain(PICTURE, label=target)
    np.testing.assert_array_equal(found.values, same.values)
    np.testing.assert_array_equal(found.scores, same.scores)


def test_nothing_said_is_the_most_frequent_class(seg: Any) -> None:
    with pytest.warns(it.InterpretWarning, match="zero everywhere"):  # the ground is a constant
        found = seg.explain(PICTURE, method="gradient")
    assert found.label_names == ("ground",)
    np.testing.assert_array_equal(found.regions[0], expected_labels() == 0)


def test_a_region_for_each_picture(seg: Any) -> None:
    mirrored = PICTURE[::-1].copy()
    found = seg.explain([PICTURE, mirrored], [SQUARE, PARTS["other"][::-1]], method="simple_taylor")
    assert found.label_names == ("near red", "near green")
    for one, region in zip(found, (SQUARE, PARTS["other"][::-1]), strict=True):
        alone = seg.explain(one.images[0], region, method="simple_taylor")
        np.testing.assert_allclose(one.values, alone.values, atol=1e-6)
        np.testing.assert_array_equal(one.regions, alone.regions)


@pytest.mark.parametrize(
    ("region", "label", "error", "says"),
    [
        ((32, 5), None, it.InputError, r"click \(32, 5\) is outside of the picture, 32 x 32"),
        ((5,), None, it.InputError, r"\(x, y\), two numbers; got \(5,\)"),
        (("near red", 5), None, it.InputError, "two numbers"),
        (np.zeros((32, 32), bool), None, it.InputError, "the mask is empty"),
        (np.zeros((16, 32), bool), None, it.InputError, r"\[16, 32\], and the picture.*\[32, 32\]"),
        (np.arange(1024).reshape(32, 32), None, it.InputError, "two whole numbers.*1024 values"),
        (np.zeros((32, 32)), None, it.InputError, "float64"),
        ("near rad", None, it.TargetError, r"no class 'near rad'; did you mean 'near red'"),
        (7, None, it.TargetError, r"class 7 is not in \[0, 3\)"),
        (True, None, it.TargetError, "a name or an index; got True"),
        (None, 0.5, it.TargetError, "a name or an index; got 0.5"),
        ([14, 6], None, it.InputError, r"2 regions.*1 pictures; write a click as a tuple"),
    ],
)
def test_regions_that_do_not_fit(region: Any, label: Any, error: Any, says: str, seg: Any) -> None:
    with pytest.raises(error, match=says):
        seg.explain(PICTURE, region, label)


def test_a_class_that_is_nowhere(seg: Any) -> None:
    with pytest.raises(
        it.TargetError, match=r"'near red' is predicted nowhere.*there are ground\. G"
    ):
        seg.explain(np.zeros((32, 32, 3), np.uint8), "near red")


# -- maps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options"),
    [
        *(("gradient", {}), ("simple_taylor", {}), ("lrp", {}), ("deep_lift", {})),
        ("integrated_gradients", {"steps": 4}),
        ("hires_cam", {"target_layer_name": "on"}),
        ("occlusion", {"sliding_window_shapes": (3, 2, 2), "strides": (3, 2, 2)}),
    ],
)
def test_the_map_lies_on_the_evidence(method: str, options: Any, seg: Any) -> None:
    """The grey square and the red one on its left, of which other colours know nothing."""
    sizes = np.abs(seg.explain(PICTURE, SQUARE, method=method, **options).heatmap()[0])
    evidence = PARTS["square"] | PARTS["strip"]
    assert sizes[evidence].sum() > 0.98 * sizes.sum() > 0
    assert min(sizes[PARTS["square"]].min(), sizes[PARTS["strip"]].min()) > 0


def test_seg_grad_cam(seg: Any) -> None:
    """By hand: the mean gradient of each channel of "on", times the channel, over zero.

    A pixel of the square has the score grey + red - 1; the mean over the region is that of one.
    """
    found = seg.explain(PICTURE, SQUARE, target_layer_name="on")
    x = PICTURE.transpose(2, 0, 1) / 255
    grey, red = (np.maximum(np.tensordot(w, x, 1), 0) for w in ([-1, -1, 3], [1, -1, -1]))
    np.testing.assert_allclose(found.values[0], (grey + red) / 32**2, rtol=1e-5)
    assert found.method == "grad_cam"


@pytest.mark.parametrize("name", SEGMENTERS)
@pytest.mark.parametrize("training", [False, True])
def test_lists_of_logits(name: str, training: bool) -> None:
    model = SEGMENTERS[name]()
    if training:
        model.train()
    seg, x = it.SegmentationSubject(model), np.random.default_rng(0)
    picture = x.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    before = state_of(model)
    labels = seg.segment(picture).labels[0]
    found = seg.explain(picture, (16, 16), method="gradient")
    layer = seg.explain(picture, (16, 16)).diagnostics["layers"]
    assert differences(before, state_of(model)) == []
    assert layer == ["heads.0.conv" if name == "lite_seg" else "dropout"]
    model.eval()
    pixels = paddle.to_tensor(picture.transpose(2, 0, 1)[None] / np.float32(127.5) - 1)
    (logits,) = model(pixels)
    expected = logits.numpy().argmax(axis=1)[0]
    scale = 32 // len(expected)
    np.testing.assert_array_equal(labels, expected.repeat(scale, 0).repeat(scale, 1))
    inside = found.regions[0][::scale, ::scale]
    np.testing.assert_allclose(
        found.scores, logits.numpy()[0, found.labels[0]][inside].mean(), rtol=1e-4
    )


def test_gradient_against_finite_differences() -> None:
    model = lite_seg(dtype="float64")
    seg = it.SegmentationSubject(model, preprocessing=None)
    x = np.random.default_rng(1).normal(size=(1, 3, 32, 32))
    found = seg.explain(x, (9, 20), method="gradient", gradient_of="probability")
    target = it.SegmentationScore(found.labels, found.regions, "probability")
    probe, size = seg.subject.probe, abs(found.values).max()
    for place in [(0, 0, 20, 9), (0, 1, 18, 12), (0, 2, 3, 3)]:
        step = np.zeros_like(x)
        step[place] = 1e-5
        slope = (probe.scores(x + step, target) - probe.scores(x - step, target))[0] / 2e-5
        assert abs(found.values[place] - slope) < 1e-5 * size


def test_pictures_show_the_region(seg: Any, tmp_path: Path) -> None:
    found = seg.explain([PICTURE, PICTURE], SQUARE, method="lrp")
    figure = found.plot(original=True)
    for axis in figure.axes[:4]:
        black, white = axis.collections
        segments = np.array(white.get_segments())
        assert len(segments) == 24  # of 6 x 6 pixels
        assert segments[..., 0].min() == 11.5
        assert segments[..., 0].max() == 17.5
        assert segments[..., 1].min() == 3.5
        assert segments[..., 1].max() == 9.5
        assert axis.get_xlim() == (-0.5, 31.5)
        assert black.get_linewidth()[0] > white.get_linewidth()[0]
    assert found.titles[0].startswith("near red")
    found.save(tmp_path / "maps.npz")
    loaded = it.Explanation.load(tmp_path / "maps.npz")
    np.testing.assert_array_equal(loaded.regions, found.regions)
    assert loaded[1].regions.shape == (1, 32, 32)
    assert it.grid([found, found]).axes[0].collections
    assert "<img" in found._repr_html_()


def test_regions_must_fit_the_pictures(seg: Any) -> None:
    found = seg.explain(PICTURE, SQUARE, method="gradient")
    arguments = {"values": found.values, "labels": [1], "scores": found.scores, "method": "x"}
    for wrong in (found.regions[:, :3], found.regions.astype(int), found.regions[0]):
        with pytest.raises(it.InputError, match="regions must"):
            it.Explanation(images=found.images, regions=wrong, **arguments)


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [None, 1])
def test_a_label_for_a_segmenter_names_the_target(label: Any) -> None:
    says = r"\[1, 3, 32, 32\], not \[N, K\].*label=interpretdl.SegmentationScore\(class\).*region"
    method = it.GradientInterpreter(planted(), output=0)
    with pytest.raises(it.TargetError, match=says):
        method.explain(PICTURE, label=label)


def test_models_that_are_no_segmenters(toy: Any) -> None:
    with pytest.raises(it.UnsupportedModelError, match=r"gives \[N, K, H, W\], and this model \[1"):
        it.SegmentationSubject(toy()).segment(PICTURE)
    one = it.SegmentationSubject(planted(), output=lambda y: y[0][:, 1:2])
    with pytest.raises(it.UnsupportedModelError, match="one logit for each pixel; make two"):
        one.segment(PICTURE)
    indexes = it.SegmentationSubject(planted(), output=lambda y: y[0].argmax(axis=1))
    with pytest.raises(it.UnsupportedModelError, match=r"must be floats.*argmax"):
        indexes.segment(PICTURE)
    with pytest.raises(it.InputError, match="2 class names were given for a model with 3"):
        it.SegmentationSubject(planted(), class_names=["a", "b"]).segment(PICTURE)
    with pytest.raises(it.InputError, match=r"\[N, C, H, W\]; got \[3, 4\]"):
        it.SegmentationSubject(planted(), preprocessing=None).segment(np.zeros((3, 4)))


def test_one_logit_made_two() -> None:
    two = it.SegmentationSubject(
        planted(),
        output=lambda y: paddle.concat([paddle.zeros_like(z := y[0][:, 1:2] - 0.5), z], axis=1),
        class_names=["no", "yes"],
    )
    np.testing.assert_array_equal(two.segment(PICTURE).labels[0], PARTS["square"])


def test_a_softmax_is_noticed() -> None:
    model = planted()
    seg = it.SegmentationSubject(model, output=lambda y: paddle.nn.functional.softmax(y[0], 1))
    with pytest.warns(it.InterpretWarning, match="softmax"):
        found = seg.explain(PICTURE, SQUARE, method="gradient", gradient_of="contrast")
    expected = it.SegmentationSubject(model).explain(
        PICTURE, SQUARE, method="gradient", gradient_of="contrast"
    )
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
    np.testing.assert_allclose(found.values, expected.values, atol=1e-5)


# -- sizes -----------------------------------------------------------------------------------------


def test_sizes() -> None:
    labels = np.arange(6).reshape(1, 2, 3)
    np.testing.assert_array_equal(
        _resized(labels, (4, 6)), labels.repeat(2, axis=1).repeat(2, axis=2)
    )
    np.testing.assert_array_equal(_resized(_resized(labels, (8, 9)), (2, 3)), labels)
    np.testing.assert_array_equal(_resized(labels, (2, 3)), labels)
    region = np.zeros((8, 8), bool)
    region[0, 7] = True  # a corner, in the middle of no place
    assert _shrunk(region, (2, 2)).tolist() == [[False, True], [False, False]]
    region[4:, :4] = True
    assert _shrunk(region, (2, 2)).tolist() == [[False, False], [True, False]]
