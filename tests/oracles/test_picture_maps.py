"""How pictures are written as numbers and looked at, and the adjoints of these maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from interpretdl import IMAGENET, Preprocessing, Probe
from interpretdl.feature_visualization import Views
from interpretdl.feature_visualization.images import Code, Fourier, Pixels, total_variation

GREY = Preprocessing(resize=None, crop=None, mean=(0.25,), std=(0.5,))


def slope(function: Any, at: NDArray[Any], direction: NDArray[Any]) -> float:
    """Central difference of a function with one number."""
    h = 1e-5
    return float((function(at + h * direction) - function(at - h * direction)) / (2 * h))


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (6, 5)])
@pytest.mark.parametrize("preprocessing", [IMAGENET, GREY], ids=["colour", "grey"])
def test_fourier_adjoint_is_the_gradient(size: tuple[int, int], preprocessing: Any) -> None:
    rng = np.random.default_rng(0)
    form = Fourier(size, preprocessing)
    numbers = rng.normal(0, 0.3, (2, *form.shape))
    weights = rng.normal(size=(2, preprocessing.channels, *size))

    def value(p: NDArray[Any]) -> float:
        return float((weights * (form.pixels(p) - form._mean) / form._std).sum())

    gradient = form.adjoint(numbers, weights)
    for _ in range(5):
        direction = rng.normal(size=numbers.shape)
        expected = slope(value, numbers, direction)
        assert (gradient * direction).sum() == pytest.approx(expected, rel=1e-6)
    # every number counts, the redundant ones of the first column too
    one = np.zeros_like(numbers)
    one[0, 1, 0, 2, 0] = 1
    assert (gradient * one).sum() == pytest.approx(slope(value, numbers, one), rel=1e-5, abs=1e-9)


def test_fourier_pixels_are_pixels() -> None:
    form = Fourier((9, 8), IMAGENET)
    numbers = form.start(3, np.random.default_rng(1)) * 1000
    pixels = form.pixels(numbers)
    assert 0 <= pixels.min() < 0.1 < 0.9 < pixels.max() <= 1
    assert np.abs(form.pixels(0 * numbers) - 0.5).max() == 0
    lows, highs = IMAGENET.bounds()
    x = form.inputs(numbers)
    assert ((lows - 1e-5 <= x) & (x <= highs + 1e-5)).all()


def test_view_adjoint() -> None:
    rng = np.random.default_rng(2)
    view = Views((9, 7), np.array([0.0, 0.0]), padding=2, jitter=3).draw(rng)
    x, g = rng.normal(size=(2, 3, 2, 9, 7)).astype(np.float32)
    assert (view(x) * g).sum() == pytest.approx((x * view.adjoint(g)).sum(), rel=1e-4)


def test_view_against_a_loop() -> None:
    """Each pixel on its own: turn, size, shift, border."""
    size, padding = (10, 8), 2
    views = Views(size, np.array([7.0]), padding=padding, jitter=3, angle=30)
    view = views.draw(np.random.default_rng(3))
    draw = np.random.default_rng(3)
    angle = np.deg2rad(draw.uniform(-30, 30))
    zoom = draw.uniform(0.9, 1.1)
    shift = draw.integers(-3, 4, 2)
    picture = np.random.default_rng(4).normal(size=size)
    expected = np.zeros(size)
    for i in range(size[0]):
        for j in range(size[1]):
            y = (i - 4.5) * (size[0] + 2 * padding) / size[0] / zoom
            x = (j - 3.5) * (size[1] + 2 * padding) / size[1] / zoom
            row = y * np.cos(angle) - x * np.sin(angle) + 4.5 + shift[0]
            column = y * np.sin(angle) + x * np.cos(angle) + 3.5 + shift[1]
            for a in (int(np.floor(row)), int(np.floor(row)) + 1):
                for b in (int(np.floor(column)), int(np.floor(column)) + 1):
                    inside = 0 <= a < size[0] and 0 <= b < size[1]
                    weight = (1 - abs(row - a)) * (1 - abs(column - b))
                    expected[i, j] += weight * (picture[a, b] if inside else 7.0)
    found = view(picture[None, None].astype(np.float32))[0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_view_without_change_is_the_picture() -> None:
    views = Views((6, 5), np.zeros(1), padding=0, jitter=0, scales=(1, 1), angle=0)
    x = np.random.default_rng(0).normal(size=(1, 1, 6, 5)).astype(np.float32)
    np.testing.assert_allclose(views.draw(np.random.default_rng(0))(x), x, atol=1e-6)


def test_total_variation() -> None:
    flat = np.ones((1, 3, 4, 4))
    assert total_variation(flat)[0][0] == pytest.approx(1e-4)
    edge = np.zeros((1, 1, 4, 4))
    edge[..., 2:] = 3.0  # one step of 3 in each of four rows, over 16 pixels
    assert total_variation(edge)[0][0] == pytest.approx(12 / 16, abs=1e-3)
    rng = np.random.default_rng(5)
    x, direction = rng.normal(size=(2, 1, 3, 5, 6))
    expected = slope(lambda p: total_variation(p)[0][0], x, direction)
    assert (total_variation(x)[1] * direction).sum() == pytest.approx(expected, rel=1e-6)


def test_code_adjoint_is_the_decoders() -> None:
    from paddle import nn

    linear = nn.Linear(3, 8)
    decoder = nn.Sequential(linear, nn.Unflatten(1, [2, 2, 2]))
    rng = np.random.default_rng(6)
    codes, gradient = rng.normal(size=(4, 3)), rng.normal(size=(4, 2, 2, 2))
    found = Code(Probe(decoder)).adjoint(codes, gradient)
    np.testing.assert_allclose(
        found, gradient.reshape(4, 8) @ linear.weight.numpy().T, rtol=1e-4, atol=1e-6
    )


def test_pixels_are_themselves() -> None:
    x = np.random.default_rng(0).normal(size=(1, 1, 2, 2))
    assert np.array_equal(Pixels().adjoint(x, x), x)
    assert np.array_equal(Pixels().inputs(x), x.astype(np.float32))
