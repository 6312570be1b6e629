"""ROAD, and the noisy linear interpolation that is its fill."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import interpretdl as it
from interpretdl import evaluator as ev
from interpretdl.errors import InputError
from interpretdl.perturbation import Imputer
from interpretdl.perturbation.linear import interpolated
from interpretdl.testing import small_network

RNG = np.random.default_rng(0)
WEIGHTS = {
    (dy, dx): 1 / 6 if 0 in (dy, dx) else 1 / 12
    for dy in (-1, 0, 1)
    for dx in (-1, 0, 1)
    if (dy, dx) != (0, 0)
}


def dense(image: Any, keep: Any) -> Any:
    """The gaps of one channel [H, W] by a dense system, one equation for each missing pixel."""
    gaps = list(zip(*np.nonzero(~keep), strict=True))
    number = {place: k for k, place in enumerate(gaps)}
    a, b = np.zeros((len(gaps), len(gaps))), np.zeros(len(gaps))
    for (y, x), k in number.items():
        for (dy, dx), weight in WEIGHTS.items():
            place = (y + dy, x + dx)
            if not (0 <= place[0] < keep.shape[0] and 0 <= place[1] < keep.shape[1]):
                continue
            a[k, k] += weight
            if place in number:
                a[k, number[place]] -= weight
            else:
                b[k] += weight * image[place]
    filled = image.astype(np.float64).copy()
    for place, value in zip(gaps, np.linalg.solve(a, b), strict=True):
        filled[place] = value
    return filled


@pytest.mark.parametrize("shape", [(9, 12), (1, 7), (8, 2), (2, 2)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_interpolation_against_a_dense_system(shape: tuple[int, int], share: float) -> None:
    x = RNG.normal(size=(4, 3, *shape)).astype(np.float32)
    keep = RNG.random((4, *shape)) >= share
    keep[:, -1, 0] = True
    found = interpolated(x, keep, noise=0)
    assert found.dtype == x.dtype
    for i in range(4):
        for channel in range(3):
            np.testing.assert_allclose(found[i, channel], dense(x[i, channel], keep[i]), atol=1e-5)
        np.testing.assert_array_equal(found[i][:, keep[i]], x[i][:, keep[i]])


def test_it_is_a_mean_of_what_surrounds_the_gap() -> None:
    """Constant colours stay, a ramp is continued through its middle, and no value is exceeded."""
    keep = np.ones((1, 12, 12), bool)
    keep[:, 3:9, 2:10] = False
    same = np.full((1, 2, 12, 12), 3.5, np.float32)
    np.testing.assert_allclose(interpolated(same, keep, noise=0), same, rtol=1e-6)
    ramp = np.broadcast_to(np.arange(12, dtype=np.float32), (1, 1, 12, 12))
    np.testing.assert_allclose(interpolated(ramp, keep, noise=0), ramp, atol=1e-5)
    x = RNG.normal(size=(1, 1, 12, 12)).astype(np.float32)
    found = interpolated(x, keep, noise=0)[0, 0]
    assert x[0, 0][keep[0]].min() <= found.min()
    assert found.max() <= x[0, 0][keep[0]].max()


def test_noise() -> None:
    x = RNG.normal(size=(3, 3, 40, 40)).astype(np.float32)
    x[2] = 10 * x[0]
    keep = RNG.random((3, 40, 40)) < 0.3
    keep[2] = keep[0]
    extra = interpolated(x, keep) - interpolated(x, keep, noise=0)
    for i in range(3):
        assert not extra[i][:, keep[i]].any()
        drawn = extra[i][:, ~keep[i]] / np.ptp(x[i])
        assert abs(drawn.mean()) < 4 * 0.01 / np.sqrt(drawn.size)
        assert drawn.std() == pytest.approx(0.01, rel=0.1)
    np.testing.assert_allclose(extra[2], 10 * extra[0], atol=1e-4)
    # other pictures do not matter
    np.testing.assert_array_equal(interpolated(x[1:2], keep[1:2])[0], interpolated(x, keep)[1])


def test_the_fill() -> None:
    x = RNG.normal(size=(2, 3, 8, 9)).astype(np.float32)
    keep = RNG.random((3, 8, 9)) < 0.5
    keep[1], keep[2] = True, False
    owner = np.array([1, 0, 0])
    imputer = Imputer(x, "road", None)
    found = imputer.images(owner, keep)
    np.testing.assert_array_equal(found[0], interpolated(x[1:], keep[:1])[0])
    np.testing.assert_array_equal(found[1], x[0])
    mean = np.broadcast_to(x[0].mean(axis=(1, 2), keepdims=True), x[0].shape)
    np.testing.assert_allclose(found[2], mean, atol=1e-6)
    np.testing.assert_allclose(imputer.nothing()[0], mean, atol=1e-6)
    assert imputer.base is None
    with pytest.raises(InputError, match="'road' takes out all"):
        imputer.images(owner, np.full((3, 8, 9), 0.5))
    with pytest.raises(InputError, match="'road' is for pictures"):
        Imputer(np.zeros((2, 4), np.float32), "road", None)


def test_who_takes_the_fill_and_who_does_not() -> None:
    model = small_network()
    x = RNG.normal(size=(2, 3, 16, 16)).astype(np.float32)
    found = it.OcclusionInterpreter(model).explain(
        x, sliding_window_shapes=(3, 4, 4), strides=(3, 4, 4), baselines="road"
    )
    keep = np.ones((1, 16, 16), bool)
    keep[:, 4:8, 8:12] = False
    target, probe = it.ClassScore(found.labels), it.Probe(model)
    lost = probe.scores(x, target) - probe.scores(
        interpolated(x, np.repeat(keep, 2, axis=0)), target
    )
    np.testing.assert_allclose(
        found.values[:, :, 4:8, 8:12].mean(axis=(2, 3))[:, 0], lost, atol=1e-5
    )
    with pytest.raises(InputError, match="all channels"):
        it.OcclusionInterpreter(model).explain(
            x, sliding_window_shapes=(1, 4, 4), strides=(1, 4, 4), baselines="road"
        )
    with pytest.raises(InputError, match="whole regions"):
        it.RISEInterpreter(model).explain(x, fill="road")
    with pytest.raises(InputError, match="'road' fills no part"):
        it.ExtremalPerturbationInterpreter(model).explain(x, steps=2, fill="road")
    deletion = ev.Deletion(model, fill="road", patch=4, steps=4).measure(x, found, labels=1)
    assert np.isfinite(deletion.values).all()


# -- the evaluator ---------------------------------------------------------------------------------


def test_road_by_a_loop() -> None:
    model = small_network()
    x = RNG.normal(size=(2, 3, 10, 12)).astype(np.float32)
    heat = RNG.normal(size=(2, 10, 12)).astype(np.float32)
    shares = (0.75, 0.25, 0.5)
    found = ev.ROAD(model, shares=shares).measure(x, heat, labels=[1, 2], signed=True)
    assert found.axis.tolist() == [0.25, 0.5, 0.75]
    probe, target = it.Probe(model), it.ClassScore([1, 2], "probability")
    means = {}
    for name, sign in (("MoRF", -1), ("LeRF", 1)):
        curve = np.empty((2, 3))
        for k, share in enumerate(sorted(shares)):
            keep = np.ones((2, 10, 12), bool)
            for i in range(2):
                order = np.argsort(sign * heat[i].ravel())
                keep[i].ravel()[order[: round(share * 120)]] = False
            curve[:, k] = probe.scores(interpolated(x, keep), target)
        np.testing.assert_allclose(found.curves[name], curve, atol=1e-5)
        means[name] = curve.mean(axis=1)
        np.testing.assert_allclose(found.parts[name], means[name], atol=1e-5)
    np.testing.assert_allclose(found.values, means["LeRF"] - means["MoRF"], atol=1e-5)
    assert found.higher_is_better


def test_road_of_a_map_turned_around_has_the_other_sign() -> None:
    model = small_network()
    x = RNG.normal(size=(2, 3, 10, 12)).astype(np.float32)
    heat = RNG.normal(size=(2, 10, 12)).astype(np.float32)
    there, back = (ev.ROAD(model).measure(x, h, labels=1, signed=True) for h in (heat, -heat))
    np.testing.assert_allclose(there.values, -back.values, atol=1e-6)
    np.testing.assert_allclose(there.parts["MoRF"], back.parts["LeRF"], atol=1e-6)


def test_a_share_is_at_least_one_part() -> None:
    model, x = small_network(), RNG.normal(size=(2, 3, 10, 12)).astype(np.float32)
    heat = RNG.normal(size=(2, 10, 12)).astype(np.float32)
    few, one = (
        ev.ROAD(model, shares=shares).measure(x, heat, labels=1, signed=True)  # type: ignore[arg-type]  # a list
        for shares in ([1e-4], (1 / 120,))
    )
    assert few.values.all()
    np.testing.assert_array_equal(few.values, one.values)
    found = ev.ROAD(model, patch=12).measure(x, heat, labels=1, signed=True)
    assert np.isnan(found.values).all()
    assert found.flags == dict.fromkeys(range(2), "every share is all patches")
