"""From values to pixels, figures and files."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest

from interpretdl.data_processor import canvas, heatmaps
from interpretdl.data_processor.visualizer import (
    heatmap_of,
    image_plot,
    plot,
    plot_grid,
)
from interpretdl.errors import InputError, InterpretWarning

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, 16, 20, 3)).astype(np.uint8)
MAPS = RNG.random((3, 16, 20))


def pictures(figure):
    """What each panel shows, without the colour bar."""
    return [np.asarray(a.images[-1].get_array()) for a in figure.axes if a.images]


def slow_bilinear(plane, height, width):
    h, w = plane.shape
    out = np.zeros((height, width))
    for r in range(height):
        for c in range(width):
            y = min(max((r + 0.5) * h / height - 0.5, 0), h - 1)
            x = min(max((c + 0.5) * w / width - 0.5, 0), w - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            top = plane[y0, x0] * (1 - (x - x0)) + plane[y0, x1] * (x - x0)
            low = plane[y1, x0] * (1 - (x - x0)) + plane[y1, x1] * (x - x0)
            out[r, c] = top * (1 - (y - y0)) + low * (y - y0)
    return out


# -- heatmap_of -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(14, 14), (15, 22), (7, 40)])
def test_enlarging_is_bilinear_with_half_pixel_centres(size):
    values = RNG.normal(size=(2, 7, 5))
    got = heatmap_of(values, size, signed=True)
    assert got.dtype == np.float32
    want = np.stack([slow_bilinear(one, *size) for one in values])
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_shrinking_by_a_whole_factor_keeps_the_mean():
    got = heatmap_of(np.ones((1, 32, 32)), (8, 8))
    np.testing.assert_allclose(got, 1.0, rtol=1e-6)
    # a single hot pixel must not fall between the samples
    one = np.zeros((1, 32, 32))
    one[0, 13, 13] = 1
    assert heatmap_of(one, (8, 8)).max() > 0


def test_channels_are_summed_signed_or_by_size():
    values = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)
    got = heatmap_of(values, (4, 5), True)
    np.testing.assert_allclose(got, values.sum(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(heatmap_of(values, (4, 5)), np.abs(values).sum(1), rtol=1e-5)
    one = values[:, :1]
    assert np.array_equal(heatmap_of(one, (4, 5), True), one[:, 0])
    assert np.array_equal(heatmap_of(one[:, 0], (4, 5), True), one[:, 0])


def test_nan_stays_where_it_is():
    values = np.zeros((1, 4, 4), np.float32)
    values[0, 0, 0] = np.nan
    got = heatmap_of(values, (16, 16))
    assert np.isnan(got[0, :3, :3]).all()
    assert (got[0, 8:, 8:] == 0).all()


@pytest.mark.parametrize("shape", [(4, 4), (1, 1, 1, 4, 4), (1, 3, 0, 4)])
def test_values_of_another_rank_are_refused(shape):
    with pytest.raises(InputError, match=r"\[N, C, h, w\]"):
        heatmap_of(np.zeros(shape), (4, 4))
    with pytest.raises(InputError, match="at least 1"):
        heatmap_of(np.zeros((1, 4, 4)), (0, 4))


# -- scale ----------------------------------------------------------------------------------------


def test_the_limit_is_a_percentile_of_sizes_by_hand():
    values = np.arange(-1000, 1)  # sizes 0..1000: the 99.9th percentile is 999
    assert heatmaps.limit_of(values) == pytest.approx(999)
    spike = np.zeros(10_000)
    spike[7] = 5
    assert heatmaps.limit_of(spike) == 5  # too rare for the percentile, still drawn


@pytest.mark.parametrize("level", [0.0, 0.1, -3.0, np.nan, np.inf])
@pytest.mark.parametrize("signed", [False, True])
def test_a_map_without_contrast_is_zeros_and_says_nothing(level, signed):
    flat = np.full((8, 8), level)
    assert heatmaps.limit_of(flat) == 0
    unit = heatmaps.scaled(flat, 0.0, signed)
    assert np.isnan(unit).all() if not np.isfinite(level) else (unit == 0).all()
    figure = plot(IMAGES[:1], np.full((1, 16, 20), level), signed=signed)
    canvas.png_of(figure)  # warnings are errors


def test_a_resized_constant_map_still_has_no_contrast():
    assert heatmaps.limit_of(heatmap_of(np.full((1, 7, 7), 0.1), (224, 224))) == 0


def test_scaled_clips():
    values = np.array([[-4.0, -1.0, 0.0, 1.0, 4.0]])
    assert heatmaps.scaled(values, 2.0, False).tolist() == [[0, 0, 0, 0.5, 1]]
    assert heatmaps.scaled(values, 2.0, True).tolist() == [[-1, -0.5, 0, 0.5, 1]]


@pytest.mark.parametrize(("share", "count"), [(0.2, 20), (0.01, 1), (1.0, 99), (0.001, 1)])
def test_relevant_takes_the_top_share_of_what_is_positive(share, count):
    values = RNG.permutation(100).reshape(10, 10).astype(float)  # 0 is never relevant
    mask = heatmaps.relevant(values, share)
    assert mask.sum() == count
    assert values[mask].min() == 100 - count
    assert not heatmaps.relevant(np.zeros((4, 4)), 0.5).any()
    assert not heatmaps.relevant(np.full((4, 4), np.nan), 0.5).any()


# -- colours --------------------------------------------------------------------------------------


def colour(heat, style, colormap="jet", signed=False, image=(10, 200, 60)):
    picture = np.full((1, 1, 3), image, np.uint8)
    got = heatmaps.render(picture, np.array([[heat]]), style, colormap, signed=signed)
    return got[0, 0].astype(int)


def test_an_overlay_is_half_picture_half_colour():
    for heat in (0.0, 0.4, 1.0):
        jet = np.array(matplotlib.colormaps["jet"](heat)[:3]) * 255
        want = (jet + np.array((10, 200, 60))) / 2
        np.testing.assert_allclose(colour(heat, "overlay"), want, atol=0.51)


def test_signed_colours_are_red_above_and_blue_below():
    red, _, blue = colour(0.7, "signed", "RdBu_r", True)
    assert red > blue + 100
    red, _, blue = colour(-0.7, "signed", "RdBu_r", True)
    assert blue > red + 100
    assert min(colour(0.0, "signed", "RdBu_r", True)) > 240
    # nothing to say: the grey picture, lightened, without any colour
    assert len(set(colour(0.0, "overlay", "RdBu_r", True))) == 1


def test_masked_shows_the_picture_only_where_it_matters():
    image = np.full((10, 10, 3), (10, 200, 60), np.uint8)
    heat = np.zeros((10, 10))
    heat[2:4, 5:8] = 1
    got = heatmaps.render(image, heat, "masked", "jet", signed=False)
    assert (got[2:4, 5:8] == (10, 200, 60)).all()
    assert (got[heat == 0] > 225).all()


@pytest.mark.parametrize("style", ["overlay", "heatmap", "signed", "masked"])
@pytest.mark.parametrize("signed", [False, True])
def test_what_is_not_a_number_is_grey(style, signed):
    assert set(colour(np.nan, style, signed=signed)) <= {127, 128}


# -- figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", heatmaps.STYLES)
def test_every_style_draws_every_image(style):
    figure = plot(IMAGES, MAPS, ["a", "b", "c"], style=style)
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles == ["a", "b", "c"]
    assert len(pictures(figure)) == (6 if style == "side_by_side" else 3)
    assert sum(a.get_label() == "<colorbar>" for a in figure.axes) == (style != "masked")


def test_side_by_side_starts_with_the_picture_itself():
    first, second, *_ = pictures(plot(IMAGES, MAPS, style="side_by_side"))
    assert np.array_equal(first, IMAGES[0])
    assert np.array_equal(second, pictures(plot(IMAGES[:1], MAPS[:1]))[0])


def bar_limits(figure):
    (axis,) = (a for a in figure.axes if a.get_label() == "<colorbar>")
    return axis.get_ylim()


def test_signed_maps_share_one_symmetric_scale():
    maps = np.zeros((2, 16, 20))
    maps[0, :8], maps[1, :8] = -4.0, 1.0
    figure = plot(IMAGES[:2], maps, style="signed")
    assert bar_limits(figure) == (-4.0, 4.0)
    strong, weak = (p[0, 0] for p in pictures(figure))
    reds = matplotlib.colormaps["RdBu_r"]
    np.testing.assert_allclose(strong, np.array(reds(0.0)[:3]) * 255, atol=0.51)
    np.testing.assert_allclose(weak, np.array(reds(0.625)[:3]) * 255, atol=0.51)


def test_scale_says_what_full_colour_means():
    maps = np.zeros((2, 16, 20))
    maps[0, :8], maps[1, :8] = 4.0, 1.0
    jet = matplotlib.colormaps["jet"]
    full, quarter = (np.rint(np.array(jet(x)[:3]) * 255) for x in (1.0, 0.25))

    def corners(scale):
        options = {"style": "heatmap", "colormap": "jet", "original": False, "scale": scale}
        # two methods, the second ten times the first
        figure = plot_grid(IMAGES[:2], [maps, 10 * maps], **options)
        return [p[0, 0].tolist() for p in pictures(figure)], bar_limits(figure)

    got, limits = corners("image")
    assert got == [full.tolist()] * 4
    assert limits == (0.0, 1.0)
    got, limits = corners("method")  # rows are images: strong, strong, weak, weak
    assert got == [full.tolist()] * 2 + [quarter.tolist()] * 2
    assert limits == (0.0, 1.0)
    got, limits = corners("shared")
    assert got[1] == full.tolist()
    assert got[0] != full.tolist()
    assert limits == (0.0, 40.0)


def test_a_grid_has_a_row_for_each_image_and_a_column_for_each_method():
    titles = [["a", "b", "c"], ["d", "e", "f"]]
    figure = plot_grid(IMAGES, [MAPS, -MAPS], titles, methods=["grad_cam", "gradient"])
    axes = [a for a in figure.axes if a.get_label() != "<colorbar>"]
    assert len(axes) == 9
    assert [a.get_title() for a in axes] == [
        "picture", "grad_cam\na", "gradient\nd", "", "b", "e", "", "c", "f",
    ]  # fmt: skip
    for axis, image in zip(axes[::3], IMAGES, strict=True):
        assert np.array_equal(np.asarray(axis.images[0].get_array()), image)


def test_each_map_has_the_outline_of_its_own_region():
    left, right = np.zeros((2, 1, 16, 20), bool)
    left[0, 2:5, 3:7] = right[0, 8:12, 10:15] = True
    figure = plot_grid(IMAGES[:1], [MAPS[:1]] * 4, regions=[left, right, None, left])
    # where outlines begin, from the left; each is a white line on a black one
    starts = [
        [np.array(line.get_segments())[..., 0].min() for line in axis.collections[::2]]
        for axis in figure.axes[:5]
    ]
    assert starts == [[2.5, 9.5], [2.5], [9.5], [], [2.5]]


@pytest.mark.filterwarnings("ignore:no font that matplotlib knows")
@pytest.mark.parametrize(
    "name", ["$x_1$", "a_b^c", r"\frac{", "tab\there", "Ægypten – Ünïcode", "猫", "$", "%", "\x00"]
)
def test_class_names_are_drawn_as_they_are(name):
    figure = plot(IMAGES[:1], MAPS[:1], [name + "  0.385"])
    assert len(canvas.png_of(figure)) > 1000
    assert figure.axes[0].get_title().endswith("0.385")
    if name.isascii() and name.isprintable():
        assert figure.axes[0].get_title() == name + "  0.385"


def test_what_no_font_has_is_said(monkeypatch):
    monkeypatch.setattr(canvas, "_fonts", lambda _: (("Latin", frozenset(range(128))),))
    monkeypatch.setattr(canvas, "_family_with", lambda _: None)
    with pytest.warns(InterpretWarning, match="install one, for Chinese.*fonts-noto-cjk"):
        text, families = canvas.drawable("猫 cat")
    assert (text, families) == ("? cat", ["Latin"])


def test_any_installed_font_will_do(monkeypatch):
    """One that is not among the preferred ones, but has the character."""
    path = Path(matplotlib.get_data_path(), "fonts/ttf/STIXSizOneSymReg.ttf")
    font = matplotlib.font_manager.get_font(path)
    code = max(font.get_charmap())
    monkeypatch.setattr(canvas, "_fonts", lambda _: (("Latin", frozenset(range(128))),))
    text, families = canvas.drawable(f"{chr(code)} cat")
    assert text == f"{chr(code)} cat" if chr(code).isprintable() else "cat"
    assert len(families) == (2 if chr(code).isprintable() else 1)
    assert canvas._family_with(code) is not None


def test_long_names_are_wrapped_and_cut():
    figure = plot(IMAGES[:1], MAPS[:1], ["long name " * 40])
    title = figure.axes[0].get_title()
    assert len(title.splitlines()) == 3
    assert title.endswith("…")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"style": "overlays"}, "did you mean 'overlay'"),
        ({"colormap": "jett"}, "did you mean 'jet'"),
        ({"scale": "all"}, "choose from image, row, method, shared"),
        ({"share": 0}, "share"),
        ({"titles": ["a"]}, "titles"),
        ({"heatmaps": MAPS[:, :8]}, "heatmap_of"),
        ({"heatmaps": MAPS[:2]}, "heatmap_of"),
        ({"images": MAPS}, "uint8"),
        ({"images": IMAGES[:0], "heatmaps": MAPS[:0]}, "nothing to draw"),
    ],
)
def test_what_does_not_fit_is_said(change, message):
    arguments = {"images": IMAGES, "heatmaps": MAPS, **change}
    with pytest.raises(InputError, match=message):
        plot(**arguments)


def test_a_thousand_maps_are_refused_before_the_work():
    with pytest.raises(InputError, match="at most 256"):
        plot(np.zeros((1000, 2, 2, 3), np.uint8), np.zeros((1000, 2, 2)))


# -- image_plot -----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:no font that matplotlib knows")
def test_image_plot_draws_every_class_on_one_scale():
    values = [RNG.normal(size=(2, 3, 8, 9)) * (k + 1) for k in range(3)]
    pixels = RNG.integers(0, 256, (2, 8, 9, 3)).astype(np.uint8)
    figure = image_plot(values, pixels, ["cat", "dog_$", "猫"])
    *panels, colour_bar = figure.axes
    assert len(panels) == 2 * 4
    limit = np.percentile(np.abs(np.stack(values).sum(2)), 99.9)
    for row in range(2):
        assert np.array_equal(np.asarray(panels[4 * row].images[0].get_array()), pixels[row])
        for k in range(3):
            faint, heat = panels[4 * row + k + 1].images
            assert faint.get_alpha() == 0.15
            grey = pixels[row] @ [0.2989, 0.587, 0.114] / 255
            np.testing.assert_allclose(faint.get_array()[..., 1], grey, atol=1e-6)
            np.testing.assert_allclose(heat.get_array(), values[k][row].sum(0), rtol=1e-6)
            assert heat.norm.vmin == pytest.approx(-limit)
            assert heat.norm.vmax == pytest.approx(limit)
    assert colour_bar.get_xlim() == pytest.approx((-limit, limit))
    assert panels[1].get_title() == "cat"
    red, none, blue = heat.cmap(1.0), heat.cmap(0.5), heat.cmap(0.0)
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert none[3] == 0
    assert red[3] == blue[3] == 1
    canvas.png_of(figure)


def test_image_plot_takes_the_three_forms_of_values():
    values = RNG.normal(size=(2, 3, 1, 8, 8))  # [N, k, C, H, W]
    pixels = RNG.random((2, 1, 8, 8))

    def shown(figure):
        return [np.asarray(a.images[-1].get_array()) for a in figure.axes[:-1]]

    whole, listed = image_plot(values, pixels), image_plot([values[:, k] for k in range(3)], pixels)
    assert all(np.array_equal(a, b) for a, b in zip(shown(whole), shown(listed), strict=True))
    assert len(shown(image_plot(values[:, 0], pixels[:, 0]))) == 4


@pytest.mark.parametrize(
    ("values", "pixels", "labels"),
    [
        (np.zeros((2, 8, 8)), np.zeros((2, 8, 8)), None),
        ([np.zeros((2, 3, 8, 8)), np.zeros((2, 3, 8, 9))], np.zeros((2, 8, 8, 3)), None),
        (np.zeros((2, 3, 8, 8)), np.zeros((3, 8, 8, 3)), None),
        (np.zeros((2, 3, 8, 8)), np.full((2, 8, 8, 3), 255.0), None),
        (np.zeros((2, 3, 8, 8)), np.zeros((2, 8, 8, 3)), ["a", "b"]),
    ],
)
def test_image_plot_refuses_what_does_not_fit(values, pixels, labels):
    with pytest.raises(InputError):
        image_plot(values, pixels, labels)


def test_image_plot_of_zeros_and_nan_is_quiet():
    values = np.zeros((1, 3, 8, 8))
    canvas.png_of(image_plot(values, np.zeros((1, 8, 8, 3))))
    values[0, 0, 0, 0] = np.nan
    heat = image_plot(values, np.zeros((1, 8, 8, 3))).axes[1].images[-1]
    assert heat.get_array().mask[0, 0]
