"""Extremal perturbation: masks, their derivative and area by hand, and planted squares found."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

import interpretdl as it
from interpretdl.interpreter.extremal_perturbation import (
    SmoothMasks,
    area_slope,
    extremal_masks,
)
from tests.probes import Array, Run, attributed, plain_logits

RNG = np.random.default_rng(0)


# -- masks -----------------------------------------------------------------------------------------


def smooth_maximum(p: Array, u: tuple[int, int], sigma: float = 3) -> float:
    """The formula at the grid's point u, in steps of the grid; past the edges it is mirrored."""
    n, m = p.shape
    top = bottom = 0.0
    for y in range(u[0] - 6, u[0] + 7):
        for x in range(u[1] - 6, u[1] + 7):
            distance = np.hypot(y - u[0], x - u[1]) / sigma
            if distance <= 2:
                inside = p[_back(y, n), _back(x, m)]
                g = inside * np.exp(-2 * max(0, distance - 0.5) ** 2)
                top += g * np.exp(20 * g)
                bottom += np.exp(20 * g)
    return float(top / bottom)


def _back(i: int, n: int) -> int:
    return -1 - i if i < 0 else 2 * n - 1 - i if i >= n else i


def test_masks_are_the_formula_at_the_points_of_the_grid() -> None:
    """A pixel for each point: 32 x 32 pixels have a grid of as many points."""
    smooth = SmoothMasks(32, 32)
    p = RNG.uniform(size=(2, 32 * 32))
    masks, _ = smooth(p)
    for u in [(0, 0), (0, 31), (3, 17), (16, 16), (31, 5), (31, 31)]:
        for mask, points in zip(masks, p.reshape(2, 32, 32), strict=True):
            assert mask[u] == pytest.approx(smooth_maximum(points, u), rel=1e-5)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (8, 8), (9, 40), (3, 300), (1, 1)])
def test_masks_between_the_points(height: int, width: int) -> None:
    """Equal points give an equal mask, edges included, and no mask leaves [0, 1]."""
    smooth = SmoothMasks(height, width)
    assert smooth.points <= 4200
    flat, _ = smooth(np.ones((1, smooth.points)))
    assert flat.shape == (1, height, width)
    assert np.ptp(flat) < 1e-5
    masks, _ = smooth(RNG.uniform(size=(3, smooth.points)))
    assert masks.min() >= 0
    assert masks.max() <= 1


def test_enlarged_masks_are_near_the_formula_at_each_pixel() -> None:
    smooth = SmoothMasks(64, 64)
    p = (np.random.default_rng(4).uniform(size=(32, 32)) > 0.95).astype(float)
    (mask,), _ = smooth(p.reshape(1, -1))
    place = (np.arange(64) + 0.5) / 2 - 0.5
    grid = np.arange(32)
    for y, x in [(20, 20), (31, 33), (40, 25), (22, 41)]:
        distance = np.hypot(place[y] - grid[:, None], place[x] - grid) / 3
        near = distance <= 2
        g = (p * np.exp(-2 * np.maximum(0, distance - 0.5) ** 2))[near]
        exact = (g * np.exp(20 * g)).sum() / np.exp(20 * g).sum()
        assert mask[y, x] == pytest.approx(exact, abs=0.05)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (50, 33), (7, 12)])
def test_the_masks_derivative_is_that_of_finite_differences(height: int, width: int) -> None:
    smooth = SmoothMasks(height, width)
    p = RNG.uniform(size=(2, smooth.points))
    masks, back = smooth(p)
    weights = RNG.normal(size=masks.shape)
    gradient, step = back(weights), 1e-5
    for _ in range(5):
        way = RNG.normal(size=p.shape)
        rise = ((smooth(p + step * way)[0] - smooth(p - step * way)[0]) * weights).sum() / 2 / step
        assert (gradient * way).sum() == pytest.approx(rise, rel=1e-4, abs=1e-3)


# -- area ------------------------------------------------------------------------------------------


def penalty(mask: Array, area: float) -> float:
    """mean((sort(m) − r)²) as the paper has it."""
    ordered = np.sort(mask.ravel())
    ones = round(area * mask.size)
    wanted = np.r_[np.zeros(mask.size - ones), np.ones(ones)]
    return float(np.mean((ordered - wanted) ** 2))


def test_the_slope_of_the_area_is_that_of_finite_differences() -> None:
    masks, areas = RNG.uniform(size=(3, 6, 7)), np.array([0.05, 0.3, 0.9])
    found = area_slope(masks, areas)
    for i, area in enumerate(areas):
        for place in [(0, 0), (2, 5), (5, 6)]:
            values = []
            for sign in (1, -1):
                moved = masks[i].copy()
                moved[place] += sign * 1e-7
                values.append(penalty(moved, area))
            expected = (values[0] - values[1]) / 2e-7
            assert found[i][place] == pytest.approx(expected, rel=1e-4, abs=1e-8)


def test_tied_pixels_share_the_ones_that_are_left() -> None:
    """The mean of the slope over the orders of tied pixels."""
    mask = np.array([[[0.9, 0.4, 0.4, 0.4, 0.1]]])
    slope = area_slope(mask, np.array([0.4]))
    np.testing.assert_allclose(
        slope[0, 0] * 5 / 2, [0.9 - 1, 0.4 - 1 / 3, 0.4 - 1 / 3, 0.4 - 1 / 3, 0.1], atol=1e-12
    )
    flat = area_slope(np.full((1, 4, 4), 0.7), np.array([0.25]))
    np.testing.assert_allclose(flat, 2 / 16 * (0.7 - 0.25))


# -- the search ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mirror", [True, False])
def test_steps_are_those_of_the_paper(mirror: bool) -> None:
    """λ = 300 · 1.0035^t, steps of .01 with momentum and dampening .9, from ones, within [0, 1]."""
    smooth, areas = SmoothMasks(32, 32), np.array([0.1, 0.3])
    score = RNG.normal(size=(2, 32, 32))
    asked: list[bool] = []

    def gradient(masks: Array, mirrored: bool) -> Array:
        asked.append(mirrored)
        return score

    found = extremal_masks(smooth, areas, gradient, 5, mirror)
    assert asked == [mirror, False] * 2 + [mirror]
    p, v = np.ones((2, 32 * 32)), np.zeros((2, 32 * 32))
    for t in range(5):
        masks, back = smooth(p)
        up = back(score - 300 * 1.0035**t * area_slope(masks, areas))
        v = 0.9 * v + 0.1 * up
        p = np.clip(p + 0.01 * v, 0, 1)
    # In float32 some pixels are on the other side of the area's border in some step.
    assert np.median(abs(found - smooth(p)[0])) < 1e-6
    assert np.mean(abs(found - smooth(p)[0])) < 1e-5


def square_model(weights: Array) -> Any:
    """The mean of the input where weights are 1, ten times over; class 1 is 0."""
    scaled = paddle.to_tensor((10 * weights / weights.sum()).astype(np.float32))
    return Run(lambda self, x: paddle.stack([(x * scaled).sum([1, 2, 3]), 0 * x[:, 0, 0, 0]], 1))


def overlap(mask: Array, truth: Array) -> float:
    found = mask > 0.5
    return float((found & truth).sum() / (found | truth).sum())


@pytest.mark.parametrize("variant", ["preserve", "delete"])
def test_a_planted_square_is_found(variant: Any) -> None:
    """The score is that of the square alone: under the mask nearly all is left, or hardly any."""
    truth = np.zeros((40, 40), bool)
    truth[6:22, 20:36] = True
    method = it.ExtremalPerturbationInterpreter(square_model(truth), preprocessing=None)
    x = np.ones((1, 2, 40, 40), np.float32)
    run: dict[str, Any] = {"areas": float(truth.mean()), "fill": 0, "mirror": False}
    found = method.explain(x, 0, steps=400, variant=variant, **run)
    mask = found.values[0, 0]
    assert overlap(mask, truth) >= 0.7
    assert mask.mean() == pytest.approx(truth.mean(), abs=0.03)
    left = found.diagnostics["scores"][0, 0] / found.scores[0]
    assert left > 0.85 if variant == "preserve" else left < 0.25


def test_a_square_of_stripes_is_found_by_a_network_that_sees_stripes() -> None:
    """With blur and mirrored steps, as published."""
    model = nn.Sequential(nn.Conv2D(1, 2, 3, bias_attr=False), nn.ReLU(), nn.AdaptiveAvgPool2D(1),
                          nn.Flatten(), nn.Linear(2, 2, bias_attr=False))  # fmt: skip
    stripes = np.array([[-1, 2, -1]] * 3, np.float32) / 3
    model[0].weight.set_value(np.stack([stripes, -stripes])[:, None])
    model[4].weight.set_value(np.array([[40, 0], [40, 0]], np.float32))
    model.eval()
    truth = np.zeros((48, 48), bool)
    truth[24:44, 6:26] = True
    x = np.where(truth, np.where(np.arange(48) // 2 % 2, 1, -1), 0)[None, None].astype(np.float32)
    method = it.ExtremalPerturbationInterpreter(model, preprocessing=None)
    found = method.explain(x, 0, areas=[truth.mean()], steps=250)
    assert overlap(found.values[0, 0], truth) >= 0.7


def test_mirrored_steps_see_the_mirrored_image() -> None:
    """One step with the image mirrored is one of the mirrored network on the image as it is."""
    weights = RNG.uniform(size=(32, 32))
    x = RNG.uniform(size=(1, 2, 32, 32)).astype(np.float32)
    run: dict[str, Any] = {"label": 0, "steps": 1, "areas": 0.2}
    one, other = (
        it.ExtremalPerturbationInterpreter(square_model(w), preprocessing=None)
        for w in (weights, weights[:, ::-1])
    )
    mirrored = one.explain(x, mirror=True, **run).values
    plain = other.explain(x, mirror=False, **run).values
    np.testing.assert_allclose(mirrored, plain, rtol=1e-6)
    assert abs(mirrored - one.explain(x, mirror=False, **run).values).max() > 1e-6


# -- the method ------------------------------------------------------------------------------------


def test_what_is_found_and_what_is_said_of_it(toy: Any) -> None:
    """Areas by themselves; the mean of their masks; the score of the image under each."""
    model = toy()
    x = np.random.default_rng(1).normal(size=(2, 3, 20, 24)).astype(np.float32)
    method = it.ExtremalPerturbationInterpreter(model)
    run: dict[str, Any] = {"label": [2, 1], "steps": 6}
    found = method.explain(x, areas=(0.1, 0.4), **run)
    masks = found.diagnostics["masks"]
    assert masks.shape == (2, 2, 20, 24)
    np.testing.assert_allclose(found.values, masks.mean(axis=1, keepdims=True), rtol=1e-6)
    for k, area in enumerate((0.1, 0.4)):
        alone = method.explain(x, areas=area, **run)
        np.testing.assert_allclose(alone.values[:, 0], masks[:, k], rtol=1e-4)
    shown = np.stack([blended(image, mask) for image, mask in zip(x, masks[:, 0], strict=True)])
    expected = plain_logits(model, shown.astype(np.float32))[[0, 1], [2, 1]]
    np.testing.assert_allclose(found.diagnostics["scores"][:, 0], expected, rtol=1e-4, atol=1e-5)
    assert found.diagnostics["evaluations"].tolist() == [6 * 2 + 2 + 1] * 2
    assert not found.signed


def blended(image: Array, mask: Array) -> Array:
    """Between eight levels of blur, from σ = 3 pixels (a small image) to none."""
    from scipy.ndimage import gaussian_filter1d

    def blur(sigma: float) -> Array:
        if sigma == 0:
            return image
        weights = np.ones_like(image, np.float64)
        both = []
        for each in (image.astype(np.float64), weights):
            for axis in (1, 2):
                each = gaussian_filter1d(each, sigma, axis, mode="constant", truncate=12)
            both.append(each)
        return both[0] / both[1]

    levels = np.stack([blur(3 * (1 - k / 7)) for k in range(8)])
    shown = np.empty_like(image)
    for c, y, x in np.ndindex(image.shape):
        shown[c, y, x] = np.interp(mask[y, x], np.linspace(0, 1, 8), levels[:, c, y, x])
    return shown


def test_fills(toy: Any) -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 16, 16)).astype(np.float32)
    method = it.ExtremalPerturbationInterpreter(toy(), preprocessing=it.IMAGENET)
    run: dict[str, Any] = {"label": 1, "steps": 2}
    mean = np.broadcast_to(x.mean(axis=(2, 3), keepdims=True), x.shape)
    by_name = method.explain(x, fill="mean", **run)
    np.testing.assert_allclose(by_name.values, method.explain(x, fill=mean, **run).values)
    scores = by_name.diagnostics["scores"]
    masks = by_name.diagnostics["masks"][:, :1]
    shown = mean + masks * (x - mean)
    np.testing.assert_allclose(scores[:, 0], plain_logits(toy(), shown)[:, 1], rtol=1e-4, atol=1e-5)
    black = method.explain(x, fill="black", **run)
    assert not np.allclose(black.diagnostics["scores"], scores)


def test_attribute_alone(toy: Any) -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 16, 16)).astype(np.float32)
    found = attributed(it.ExtremalPerturbationInterpreter(toy()), x, [0, 1], steps=2)
    np.testing.assert_allclose(found.outputs, plain_logits(toy(), x), rtol=1e-4, atol=1e-5)
    assert found.values.dtype == np.float32


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"areas": 0}, "between 0 and 1"),
        ({"areas": (0.1, 1.0)}, "between 0 and 1"),
        ({"areas": ()}, "between 0 and 1"),
        ({"areas": "large"}, "areas must be"),
        ({"steps": 0}, "at least 1"),
        ({"variant": "both"}, "variant must be one of"),
        ({"fill": "inpaint"}, "give another fill"),
        ({"fill": "region_mean"}, "give another fill"),
        ({"fill": np.zeros((2, 5))}, "does not broadcast"),
    ],
)
def test_options_that_do_not_fit(options: Any, says: str, toy: Any) -> None:
    x = np.ones((1, 3, 16, 16), np.float32)
    with pytest.raises(it.InputError, match=says):
        it.ExtremalPerturbationInterpreter(toy()).explain(x, **{"steps": 1, **options})


def test_it_is_for_pictures(toy: Any) -> None:
    with pytest.raises(it.InputError, match="explains pictures"):
        it.ExtremalPerturbationInterpreter(toy(), preprocessing=None).explain(np.ones((2, 5)))
