"""InterpretDL's drawing helpers: its names, arguments and shapes; numbers by hand."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from PIL import Image

from interpretdl.data_processor import compat_visualizer
from interpretdl.data_processor.visualizer import (
    VisualizationTextRecord,
    explanation_to_vis,
    overlay_threshold,
    save_image,
    show_vis_explanation,
    sp_weights_to_image_explanation,
    visualize_text,
)
from interpretdl.errors import InputError, ResourceError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (2, 12, 10, 3)).astype(np.uint8)
MAPS = RNG.normal(size=(2, 12, 10)).astype(np.float32)


@pytest.mark.parametrize("style", compat_visualizer.VIS_STYLES)
def test_one_image_gives_one_picture_and_a_batch_a_batch(style):
    one = explanation_to_vis(IMAGES[:1], MAPS[0], style=style)
    assert one.dtype == np.uint8
    assert one.shape == ((12, 10) if style == "grayscale" else (12, 10, 3))
    assert np.array_equal(one, explanation_to_vis(IMAGES[0], MAPS[0], style))
    both = explanation_to_vis(IMAGES, MAPS, style)
    assert both.shape == (2, *one.shape)
    assert np.array_equal(both[0], one)


def test_grayscale_is_white_from_the_99th_percentile():
    ramp = np.arange(101.0).reshape(1, 101)
    got = explanation_to_vis(np.zeros((1, 101, 3), np.uint8), ramp)
    assert got[0, [0, 99, 100]].tolist() == [0, 255, 255]
    assert got[0, 33] == 255 * 33 // 99


def test_heatmap_is_jet_from_smallest_to_largest():
    got = explanation_to_vis(IMAGES[0], MAPS[0], "heatmap")
    for place, value in ((MAPS[0].argmax(), 1.0), (MAPS[0].argmin(), 0.0)):
        want = np.array(matplotlib.colormaps["jet"](value)[:3]) * 255
        np.testing.assert_allclose(got.reshape(-1, 3)[place], want, atol=0.51)


def test_heatmap_is_opencvs_jet():
    """COLORMAP_JET at some of its 256 levels, written down from OpenCV."""
    table = {
        0: (0, 0, 128),
        19: (0, 0, 204),
        43: (0, 44, 255),
        63: (0, 124, 255),
        95: (0, 252, 255),
    }
    table |= {103: (30, 255, 226), 123: (110, 255, 146), 191: (255, 128, 0), 255: (128, 0, 0)}
    levels = np.arange(256.0).reshape(16, 16)
    got = explanation_to_vis(np.zeros((16, 16, 3), np.uint8), levels, "heatmap").reshape(-1, 3)
    np.testing.assert_allclose(got[list(table)], list(table.values()), atol=1)


def test_a_mask_between_0_and_1_is_drawn_as_it_is():
    mask = np.linspace(0, 1, 12 * 10).reshape(12, 10)
    got = overlay_threshold(IMAGES[0], mask)
    np.testing.assert_allclose(got[..., 1], 0.6 * 255 * mask + 0.4 * IMAGES[0, ..., 1], atol=1.6)


def test_overlays_mix_as_documented():
    heat = explanation_to_vis(IMAGES[0], MAPS[0], "heatmap").astype(float)
    got = explanation_to_vis(IMAGES[0], MAPS[0], "overlay_heatmap")
    np.testing.assert_allclose(got, 0.4 * heat + 0.6 * IMAGES[0], atol=1)
    grey = explanation_to_vis(IMAGES[0], MAPS[0], "grayscale").astype(float)
    got = explanation_to_vis(IMAGES[0], MAPS[0], "overlay_grayscale")
    np.testing.assert_allclose(got[..., 1], 0.4 * grey + 0.6 * IMAGES[0, ..., 1], atol=1)
    np.testing.assert_allclose(got[..., 0], 0.6 * IMAGES[0, ..., 0], atol=1)
    got = explanation_to_vis(IMAGES[0], MAPS[0], "overlay_threshold")
    want = 0.6 * 255 * (MAPS[0] > 0) + 0.4 * IMAGES[0, ..., 1]
    np.testing.assert_allclose(got[..., 1], want, atol=1)
    assert np.array_equal(got, overlay_threshold(IMAGES[0], (MAPS[0] > 0).astype(int)))


@pytest.mark.parametrize("style", compat_visualizer.VIS_STYLES)
def test_small_and_constant_maps_are_drawn(style):
    assert explanation_to_vis(IMAGES[0], MAPS[0, :3, :3], style).shape[:2] == (12, 10)
    explanation_to_vis(IMAGES[0], np.full((3, 3), 0.1), style)  # warnings are errors


def test_what_does_not_fit_is_said():
    with pytest.raises(InputError, match="did you mean 'heatmap'"):
        explanation_to_vis(IMAGES[0], MAPS[0], "heatmaps")
    for images, maps in ((IMAGES, MAPS[0]), (IMAGES[:1], MAPS), (IMAGES[0], MAPS[None])):
        with pytest.raises(InputError, match=r"one \[h, w\] map"):
            explanation_to_vis(images, maps)


def test_superpixels_of_lime_become_a_mask():
    segments = np.arange(10).repeat(12).reshape(10, 12).T
    weights = {3: [(7, 0.9), (2, -0.8), (5, 0.7), *((i, 0.1) for i in (0, 1, 3, 4, 6, 8, 9))]}
    mask = sp_weights_to_image_explanation(IMAGES[0], weights, segments=segments)
    assert mask.shape == (12, 10)
    assert mask.dtype == segments.dtype
    assert np.unique(segments[mask == 1]).tolist() == [5, 7]  # two of ten, the positive ones
    more = sp_weights_to_image_explanation(IMAGES[0], weights, 3, segments, ratio_superpixels=0.3)
    assert np.unique(segments[more == 1]).tolist() == [0, 5, 7]
    with pytest.raises(InputError, match="there are 3"):
        sp_weights_to_image_explanation(IMAGES[0], weights, 4, segments)
    assert sp_weights_to_image_explanation(IMAGES[0], weights).shape == (12, 10)


def test_save_image_keeps_every_pixel(tmp_path):
    for name, image in (("rgb", IMAGES[0]), ("grey", IMAGES[0, ..., 0])):
        save_image(str(tmp_path / f"{name}.png"), image)
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert np.array_equal(np.asarray(picture), image)
    save_image(tmp_path / "unit.png", np.array([[0.0, 0.5, 1.0]]))
    with Image.open(tmp_path / "unit.png") as picture:
        assert np.asarray(picture).tolist() == [[0, 128, 255]]
    with pytest.raises(ResourceError):
        save_image(tmp_path / "missing" / "a.png", IMAGES[0])
    with pytest.raises(InputError, match=r"0\.\.1"):
        save_image(tmp_path / "a.png", IMAGES[0] * 1.0)
    with pytest.raises(InputError, match=r"\[H, W, 3\]"):
        save_image(tmp_path / "a.png", IMAGES)


def test_showing_without_a_display_does_nothing(capfd):
    show_vis_explanation(IMAGES[0])
    show_vis_explanation(MAPS[0], cmap="gray")
    visualize_text([])
    assert capfd.readouterr() == ("", "")


def test_text_records_are_escaped_and_coloured():
    record = VisualizationTextRecord(
        ["good", "<script>", "film"], [0.5, -2.0, 0.0], "pos", "neg<", 0.256, 1
    )
    page = compat_visualizer.text_html([record])
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "neg&lt; (0.26)" in page
    assert "hsl(120, 75%, 75%)" in page  # halfway to green
    assert "hsl(0, 75%, 60%)" in page  # as red as it gets
    assert "hsl(0, 75%, 100%)" in page
