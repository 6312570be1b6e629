"""How pictures are written as numbers and looked at, and the gradients of these maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from interpretdl import IMAGENET, Preprocessing
from interpretdl.feature_visualization import Views
from interpretdl.feature_visualization.images import Fourier, total_variation

GREY = Preprocessing(resize=None, crop=None, mean=(0.25,), std=(0.5,))


def check_gradient(function: Callable[[Any], Any], at: NDArray[Any], rng: Any) -> None:
    """Paddle's gradient against central differences, float64, along random directions."""
    import paddle

    p = paddle.to_tensor(at, stop_gradient=False)
    y = function(p)
    weights = rng.normal(size=y.shape)
    (y * paddle.to_tensor(weights)).sum().backward()
    h = 1e-5
    for _ in range(5):
        direction = rng.normal(size=at.shape)
        ahead, behind = (
            (function(paddle.to_tensor(at + step * direction)).numpy() * weights).sum()
            for step in (h, -h)
        )
        expected = (ahead - behind) / (2 * h)
        assert (p.grad.numpy() * direction).sum() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (6, 5), (1, 4)])
@pytest.mark.parametrize("preprocessing", [IMAGENET, GREY], ids=["colour", "grey"])
def test_fourier(size: tuple[int, int], preprocessing: Any) -> None:
    """Against NumPy's transform, colour by colour; and the gradient."""
    import paddle

    rng = np.random.default_rng(0)
    form = Fourier(size, preprocessing)
    numbers = rng.normal(0, 0.3, (2, *form.shape))
    check_gradient(form, numbers, rng)
    spectrum = (numbers[:, 0] + 1j * numbers[:, 1]) * form._scale
    planes = np.fft.irfft2(spectrum, s=size, norm="ortho")
    mixed = np.einsum("ij,njhw->nihw", form._colours, planes)
    for channel, (mean, std) in enumerate(zip(preprocessing.mean, preprocessing.std, strict=True)):
        expected = (1 / (1 + np.exp(-mixed[:, channel])) - mean) / std
        found = form(paddle.to_tensor(numbers)).numpy()[:, channel]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_fourier_pixels_are_pixels() -> None:
    import paddle

    form = Fourier((9, 8), IMAGENET)
    numbers = paddle.to_tensor(form.start(3, np.random.default_rng(1)) * 1000)
    pixels = form.pixels(numbers).numpy()
    assert 0 <= pixels.min() < 0.1 < 0.9 < pixels.max() <= 1
    assert np.abs(form.pixels(0 * numbers).numpy() - 0.5).max() == 0
    lows, highs = IMAGENET.bounds()
    x = form(numbers).numpy()
    assert ((lows - 1e-5 <= x) & (x <= highs + 1e-5)).all()


def test_gradient_of_a_view() -> None:
    rng = np.random.default_rng(2)
    view = Views((9, 7), np.array([1.0, 2.0]), padding=2, jitter=3).draw(rng)
    check_gradient(view, rng.normal(size=(3, 2, 13, 11)), rng)


def test_view_against_a_loop() -> None:
    """Each pixel on its own: turn, size, shift, border."""
    import paddle

    size, padding, canvas = (10, 8), 2, (14, 12)
    views = Views(size, np.array([7.0]), padding=padding, jitter=3, angle=30)
    view = views.draw(np.random.default_rng(3))
    draw = np.random.default_rng(3)
    angle = np.deg2rad(draw.uniform(-30, 30))
    zoom = draw.uniform(0.9, 1.1)
    shift = draw.integers(-3, 4, 2)
    picture = np.random.default_rng(4).normal(size=canvas)
    expected = np.zeros(size)
    for i in range(size[0]):
        for j in range(size[1]):
            y, x = (i - 4.5) / zoom, (j - 3.5) / zoom
            row = y * np.cos(angle) - x * np.sin(angle) + 6.5 + shift[0]
            column = y * np.sin(angle) + x * np.cos(angle) + 5.5 + shift[1]
            for a in (int(np.floor(row)), int(np.floor(row)) + 1):
                for b in (int(np.floor(column)), int(np.floor(column)) + 1):
                    inside = 0 <= a < canvas[0] and 0 <= b < canvas[1]
                    weight = (1 - abs(row - a)) * (1 - abs(column - b))
                    expected[i, j] += weight * (picture[a, b] if inside else 7.0)
    found = view(paddle.to_tensor(picture[None, None].astype(np.float32))).numpy()[0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_view_without_change_is_the_picture() -> None:
    import paddle

    views = Views((6, 5), np.zeros(1), padding=0, jitter=0, scales=(1, 1), angle=0)
    x = np.random.default_rng(0).normal(size=(1, 1, 6, 5)).astype(np.float32)
    seen = views.draw(np.random.default_rng(0))(paddle.to_tensor(x))
    np.testing.assert_allclose(seen.numpy(), x, atol=1e-6)


@pytest.mark.parametrize("scale", [0.8, 0.9, 1.0, 1.1, 1.6])
@pytest.mark.parametrize("padding", [None, 12])
def test_a_scale_means_what_it_says(scale: float, padding: int | None) -> None:
    """A bar of 20 by 30 pixels on the canvas is 20 s by 30 s in the view, however it is padded."""
    import paddle

    views = Views((90, 80), np.zeros(1), padding=padding, scales=(scale, scale), jitter=0, angle=0)
    height, width = views.canvas
    canvas = np.zeros((1, 1, height, width))
    canvas[..., height // 2 - 10 : height // 2 + 10, width // 2 - 15 : width // 2 + 15] = 1
    seen = views.draw(np.random.default_rng(0))(paddle.to_tensor(canvas)).numpy()[0, 0]
    assert seen.max(axis=1).sum() == pytest.approx(20 * scale, abs=0.5)
    assert seen.max(axis=0).sum() == pytest.approx(30 * scale, abs=0.5)


@pytest.mark.parametrize("angle", [0, 10, 60, 180])
@pytest.mark.parametrize("scales", [(0.9, 1.1), (0.5, 0.5), (1.5, 2.0)])
def test_each_pixel_of_a_view_lies_on_the_canvas(angle: float, scales: tuple[float, float]) -> None:
    import paddle

    for size in ((16, 16), (9, 20), (1, 5)):
        views = Views(size, np.array([7.0]), angle=angle, scales=scales, jitter=3)
        rng = np.random.default_rng(0)
        ones = paddle.ones([1, 1, *views.canvas], "float64")
        for _ in range(40):
            np.testing.assert_allclose(views.draw(rng)(ones).numpy(), 1, rtol=1e-6)
        assert views.middle(ones).shape == [1, 1, *size]


@pytest.mark.parametrize(
    ("size", "settings", "padding"),
    [
        ((10, 10), {"scales": (0.5, 1), "jitter": 3, "angle": 0}, 8),  # 4.5 / .5 + 3 - 4.5 = 7.5
        ((11, 11), {"scales": (1, 1), "jitter": 0, "angle": 90}, 3),  # 5 √2 - 5 = 2.07
        ((3, 9), {"scales": (1, 1), "jitter": 0, "angle": 180}, 4),  # √17 - 1 = 3.12
        ((10, 10), {"scales": (1.5, 2), "jitter": 1, "angle": 0}, 0),  # 4.5 / 1.5 + 1 - 4.5 = -.5
        ((224, 224), {}, 41),  # 111.5 (cos 10° + sin 10°) / .9 + 8 - 111.5 = 40.02
    ],
)
def test_padding_by_hand(size: tuple[int, int], settings: dict[str, Any], padding: int) -> None:
    views = Views(size, np.zeros(1), **settings)
    assert views.padding == padding
    assert views.canvas == (size[0] + 2 * padding, size[1] + 2 * padding)


def test_the_picture_is_the_middle_of_the_canvas() -> None:
    import paddle

    views = Views((4, 6), np.zeros(1), padding=3)
    canvas = np.random.default_rng(0).normal(size=(2, 3, 10, 12))
    assert np.array_equal(views.middle(paddle.to_tensor(canvas)), canvas[:, :, 3:7, 3:9])


def test_total_variation() -> None:
    import paddle

    flat = np.ones((1, 3, 4, 4))
    assert total_variation(paddle.to_tensor(flat)).item() == pytest.approx(1e-4)
    edge = np.zeros((1, 1, 4, 4))
    edge[..., 2:] = 3.0  # one step of 3 in each of four rows, over 16 pixels
    assert total_variation(paddle.to_tensor(edge)).item() == pytest.approx(12 / 16, abs=1e-3)
    rng = np.random.default_rng(5)
    check_gradient(total_variation, rng.normal(size=(2, 3, 5, 6)), rng)
