"""RISE against the paper's masks and formulas, written out slowly."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest

import interpretdl as it
from interpretdl.interpreter.rise import CellMasks, rise

Array = Any
SIDE = 5


class PixelMasks:
    """Each pixel by itself kept or not: a grid that is neither enlarged nor cropped."""

    def __init__(self, mean: float = 0.5, side: int = SIDE) -> None:
        self.mean, self.symmetric, self.side = mean, mean == 0.5, side

    def draw(self, rng: Any, n: int) -> Array:
        return (rng.random((n, self.side, self.side)) < self.mean).astype(float)


class MaskGame:
    """Scores of masks by a function, which remembers the masks."""

    def __init__(self, function: Any, whole: float = 0.0) -> None:
        self.function, self.whole = function, whole
        self.masks: list[Array] = []
        self.largest = 0

    def of_masks(self, n: int, masks: Any) -> Array:
        self.largest = max(self.largest, n)
        cuts = np.array_split(np.arange(n), 1 + n // 7)
        self.masks += [np.asarray(masks(rows), np.float64) for rows in cuts]
        return np.concatenate([self.function(kept) for kept in self.masks[-len(cuts) :]])


def additive(coefficients: Array, constant: float = 0.0) -> Any:
    return lambda masks: constant + (masks * coefficients).sum(axis=(1, 2))


def curved(masks: Array) -> Array:
    """Anything but additive."""
    corner = masks[:, 0, 0] * masks[:, -1, -1]
    return 3 + 2 * masks[:, 1, 2] - masks.mean(axis=(1, 2)) ** 2 + 4 * corner


def enlarged(grid: Array, height: int, width: int, top: int, left: int) -> Array:
    """The paper's mask, pixel by pixel."""
    cells = len(grid)
    down, across = -(-height // cells), -(-width // cells)
    mask = np.empty((height, width))
    for y, x in np.ndindex(height, width):
        v = min(max((y + top + 0.5) * cells / ((cells + 1) * down) - 0.5, 0), cells - 1)
        u = min(max((x + left + 0.5) * cells / ((cells + 1) * across) - 0.5, 0), cells - 1)
        i, j = min(int(v), cells - 2), min(int(u), cells - 2)
        upper = grid[i, j] * (1 - u + j) + grid[i, j + 1] * (u - j)
        lower = grid[i + 1, j] * (1 - u + j) + grid[i + 1, j + 1] * (u - j)
        mask[y, x] = upper * (1 - v + i) + lower * (v - i)
    return mask


def all_masks(height: int, width: int) -> Array:
    """Every mask of 2×2 cells, at every place."""
    places = itertools.product(range(-(-height // 2)), range(-(-width // 2)))
    grids = [np.reshape(cells, (2, 2)) for cells in itertools.product((0, 1), repeat=4)]
    return np.array([enlarged(g, height, width, *place) for place in places for g in grids])


def by_formula(masks: Array, scores: Array, estimator: str, mean: float) -> Array:
    """Values at each pixel, by the formulas as they stand."""
    values = np.empty(masks.shape[1:])
    for y, x in np.ndindex(*values.shape):
        m = masks[:, y, x]
        if estimator == "mean":
            values[y, x] = sum(scores * m) / sum(m)
        else:
            values[y, x] = sum((scores - scores.mean()) * (m - mean)) / sum((m - mean) ** 2)
    return values


# -- masks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(4, 3), (5, 4), (2, 2)])
def test_every_mask_of_the_paper_is_equally_likely(height: int, width: int) -> None:
    every = all_masks(height, width)
    drawn = CellMasks(height, width, 2, 0.5).draw(np.random.default_rng(0), 4000)
    assert drawn.dtype == np.float32
    distance = np.abs(drawn[:, None] - every).max(axis=(2, 3))
    assert distance.min(axis=1).max() < 1e-6
    kinds = np.unique(every.round(6), axis=0, return_inverse=True)[1].reshape(-1)
    likely = Counter(kinds.tolist())
    seen = Counter(kinds[distance.argmin(axis=1)].tolist())
    for kind, ways in likely.items():
        share = ways / len(every)
        assert abs(seen[kind] - 4000 * share) < 5 * np.sqrt(4000 * share)


def test_masks_of_seven_cells_keep_the_share_that_was_asked_for() -> None:
    masks = CellMasks(60, 45, 7, 0.3).draw(np.random.default_rng(1), 2000)
    assert masks.shape == (2000, 60, 45)
    assert masks.min() == 0
    assert masks.max() <= 1 + 1e-6
    # A pixel's standard deviation is at most √(.3 · .7).
    assert np.abs(masks.mean(axis=0) - 0.3).max() < 5 * np.sqrt(0.21 / 2000)


def test_masks_do_not_depend_on_how_they_are_divided_into_calls() -> None:
    masks = CellMasks(9, 12, 3, 0.5)
    rng = np.random.default_rng(2)
    parts = np.concatenate([masks.draw(rng, n) for n in (1, 5, 4)])
    np.testing.assert_array_equal(parts, masks.draw(np.random.default_rng(2), 10))


# -- estimators ------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ["covariance", "mean"])
@pytest.mark.parametrize("mean", [0.5, 0.7])
def test_values_are_the_formulas_on_the_same_masks(estimator: Any, mean: float) -> None:
    game = MaskGame(curved, whole=5.0)
    found = rise(game, PixelMasks(mean), 301, np.random.default_rng(0), estimator)
    masks = np.concatenate(game.masks)
    assert len(masks) == (300 if estimator == "covariance" and mean == 0.5 else 301)
    expected = by_formula(masks, curved(masks), estimator, mean)
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    if len(masks) == 300:
        np.testing.assert_array_equal(masks[::2], 1 - masks[1::2])
        centred = masks - masks.mean(axis=0)
        covariance = np.einsum("i,iyx->yx", curved(masks), centred) / (centred**2).sum(axis=0)
        np.testing.assert_allclose(found.values, covariance, atol=1e-12)
    assert not found.sums
    assert game.largest <= 64


@pytest.mark.parametrize("estimator", ["covariance", "mean"])
@pytest.mark.parametrize("mean", [0.5, 0.7])
def test_errors_are_those_of_the_residuals(estimator: Any, mean: float) -> None:
    game = MaskGame(curved, whole=5.0)
    found = rise(game, PixelMasks(mean), 300, np.random.default_rng(0), estimator)
    masks = np.concatenate(game.masks)
    y, g = curved(masks), masks - mean
    if estimator == "mean":
        parts, below = masks * (y[:, None, None] - found.values), masks.sum(axis=0)
    elif mean == 0.5:
        half = (y[::2] - y[1::2]) / 2
        g = g[::2]
        parts = g * (half[:, None, None] - found.values * g)
        below = (g**2).sum(axis=0)
    else:
        parts = g * ((y - y.mean())[:, None, None] - found.values * g)
        below = (g**2).sum(axis=0)
    n = len(parts)
    expected = np.sqrt((parts**2).sum(axis=0) * n / (n - 1)) / below
    np.testing.assert_allclose(found.standard_error, expected, rtol=1e-9)


@pytest.mark.parametrize("mean", [0.5, 0.7])
def test_an_additive_score_gives_its_coefficients(mean: float) -> None:
    c = np.random.default_rng(3).normal(size=(SIDE, SIDE))
    game, masks = MaskGame(additive(c, 10.0)), PixelMasks(mean)
    found = rise(game, masks, 4000, np.random.default_rng(4))
    assert (np.abs(found.values - c) < 4 * found.standard_error).all()
    assert found.standard_error.max() < 0.2
    # The published mean has the same differences, on top of what all pixels have.
    found = rise(game, masks, 4000, np.random.default_rng(5), "mean")
    expected = 10 + mean * c.sum() + (1 - mean) * c
    assert (np.abs(found.values - expected) < 4 * found.standard_error).all()


@pytest.mark.parametrize(("estimator", "mean"), [("covariance", 0.5), ("covariance", 0.3),
                                                 ("mean", 0.5)])  # fmt: skip
def test_intervals_cover(estimator: Any, mean: float) -> None:
    c = np.random.default_rng(3).normal(size=(SIDE, SIDE))
    truth = c if estimator == "covariance" else 1 + mean * c.sum() + (1 - mean) * c
    covered = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found = rise(MaskGame(additive(c, 1.0)), PixelMasks(mean), 400, rng, estimator)
        covered.append(np.abs(found.values - truth) < 1.96 * found.standard_error)
    assert 0.92 < np.mean(covered) < 0.98


@pytest.mark.parametrize("estimator", ["covariance", "mean"])
def test_any_score_gives_the_value_over_all_masks(estimator: Any) -> None:
    every = all_masks(5, 4)
    truth = by_formula(every, curved(every), estimator, 0.5)
    covered = []
    for seed in range(100):
        rng, masks = np.random.default_rng(seed), CellMasks(5, 4, 2, 0.5)
        found = rise(MaskGame(curved, whole=3.0), masks, 600, rng, estimator)
        covered.append(np.abs(found.values - truth) < 1.96 * found.standard_error)
    assert 0.91 < np.mean(covered) < 0.99


def test_large_scores_lose_no_digits() -> None:
    masks = CellMasks(8, 8, 4, 0.4)
    low, high = (
        rise(MaskGame(lambda m, k=k: k + m[:, 2, 3], whole=k), masks, 500, np.random.default_rng(0))
        for k in (0.0, 2.0**20)
    )
    np.testing.assert_allclose(high.values, low.values, atol=1e-5)
    np.testing.assert_allclose(high.standard_error, low.standard_error, atol=1e-5)


def test_pixels_that_no_mask_has_shown_are_zero_with_an_unknown_error() -> None:
    found = rise(MaskGame(additive(np.ones((5, 5)))), PixelMasks(1e-9), 9,
                 np.random.default_rng(0), "mean")  # fmt: skip
    assert (found.values == 0).all()
    assert np.isinf(found.standard_error).all()


# -- the method ------------------------------------------------------------------------------------


def picture_method(function: Any, **more: Any) -> Any:
    return it.RISEInterpreter(it.Subject.from_function(function, preprocessing=it.IMAGENET, **more))


def pictures(n: int = 2) -> Array:
    return np.random.default_rng(0).normal(size=(n, 3, 12, 16)).astype(np.float32)


def spot(x: Array) -> Array:
    """Two scores; the first rises with the upper left corner and falls with the lower right."""
    score = x[:, :, :4, :5].mean(axis=(1, 2, 3)) - x[:, :, 8:, 11:].mean(axis=(1, 2, 3))
    return np.stack([4 * score, 0 * score], axis=1)


def test_the_map_is_positive_and_negative_where_the_score_is() -> None:
    x = np.ones((1, 3, 12, 16), np.float32)
    found = picture_method(spot).explain(x, label=0, cells=4, evaluations=600)
    heat = found.heatmap()[0]
    assert found.values.shape == (1, 1, 12, 16)
    assert found.signed
    assert heat[:4, :5].mean() > 5 * abs(heat[4:8, 7:9].mean())
    assert heat[8:, 11:].mean() < -5 * abs(heat[4:8, 7:9].mean())
    assert found.diagnostics["standard_error"].shape == found.values.shape
    assert found.diagnostics["evaluations"].tolist() == [601]
    assert "regions" not in found.diagnostics
    assert "efficiency_error" not in found.diagnostics


@pytest.mark.parametrize(("offset", "signed"), [(3.0, False), (-3.0, True)])
def test_the_mean_is_signed_where_it_is_below_zero(offset: float, signed: bool) -> None:
    method = picture_method(lambda x: offset + spot(x))
    found = method.explain(pictures(), label=0, cells=4, evaluations=40, estimator="mean")
    assert found.signed == signed
    assert (found.values * offset > 0).all()


def test_a_filled_pixel_has_the_fill() -> None:
    seen: list[Array] = []

    def watched(x: Array) -> Array:
        seen.append(x.copy())
        return np.stack([x.mean(axis=(1, 2, 3)), np.zeros(len(x))], axis=1)

    x = np.full((1, 3, 12, 16), 2.0, np.float32)
    picture_method(watched).explain(x, label=0, cells=2, evaluations=20, fill=-1.0)
    images = np.concatenate(seen)
    assert images.min() == -1
    assert images.max() == 2


def test_draws_depend_on_the_seed_and_the_position_alone() -> None:
    x = np.repeat(pictures(1), 2, axis=0)
    options = {"label": 0, "cells": 3, "evaluations": 40}
    both = picture_method(spot).explain(x, **options).values
    assert not np.array_equal(both[0], both[1])
    for more in ({}, {"batch_size": 1}, {"batch_size": 7}):
        alone = picture_method(spot, **more).explain(x[:1], **options).values
        np.testing.assert_allclose(alone[0], both[0], rtol=1e-5, atol=1e-7)
    assert not np.array_equal(picture_method(spot).explain(x, seed=1, **options).values, both)


def test_a_tolerance_stops_early_or_says_that_it_was_not_reached() -> None:
    method, x = picture_method(spot), np.ones((2, 3, 12, 16), np.float32)
    found = method.explain(x, label=0, cells=3, evaluations=5000, tolerance=0.2)
    facts = found.diagnostics
    assert facts["converged"].all()
    assert (facts["evaluations"] < 5000).all()
    errors = facts["standard_error"].reshape(2, -1).max(axis=1)
    assert (errors <= 0.2 * np.abs(found.values).reshape(2, -1).max(axis=1)).all()
    # The first that is enough, and what is drawn by then is what is drawn without a tolerance.
    before = [(int(n) - 1) // 2 for n in facts["evaluations"]]
    with pytest.warns(it.InterpretWarning, match="above the tolerance of 20.0%"):
        worse = method.explain(x, label=0, cells=3, evaluations=max(before), tolerance=0.2)
    assert not worse.diagnostics["converged"].all()
    most = int(facts["evaluations"].max()) - 1
    free = method.explain(x, label=0, cells=3, evaluations=most)
    last = int(facts["evaluations"].argmax())
    np.testing.assert_array_equal(free.values[last], found.values[last])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cells": 1}, "cells must be at least 2"),
        ({"keep_probability": 0.0}, "keep_probability must be between 0 and 1; got 0.0"),
        ({"keep_probability": 1.0}, "keep_probability must be between 0 and 1"),
        ({"keep_probability": float("nan")}, "keep_probability must be"),
        ({"evaluations": 3}, "evaluations must be at least 4"),
        ({"estimator": "median"}, "estimator must be one of 'covariance', 'mean'|or 'mean'"),
        ({"fill": "region_mean"}, "fills whole regions"),
        ({"fill": "inpaint"}, "fills whole regions"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(it.InputError, match=words):
        picture_method(spot).explain(pictures(), label=0, **{"evaluations": 8, **options})


def test_tables_have_no_height_and_width() -> None:
    method = it.RISEInterpreter(it.Subject.from_function(lambda x: x))
    with pytest.raises(it.InputError, match="rise explains pictures"):
        method.explain(np.ones((2, 5), np.float32))
