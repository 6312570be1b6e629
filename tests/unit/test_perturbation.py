"""Regions, what stands in their place, games, and functions in the place of models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import chelsea
from skimage.transform import resize

import interpretdl as it
from interpretdl import evaluator as ev
from interpretdl.data_processor.blur import blurred
from interpretdl.errors import InputError, UnsupportedModelError
from interpretdl.interpreter.region_method import RegionMethod, relative_error, rounds
from interpretdl.perturbation import Estimate, Game, Imputer, grid_regions, regions_of
from interpretdl.preprocessing import IMAGENET
from interpretdl.testing import small_network

Array = NDArray[Any]
RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def cats() -> Array:
    """Two pictures as inputs, float32 [2, 3, 64, 72]."""
    pixels = (resize(chelsea(), (64, 72)) * 255).astype(np.uint8)
    return IMAGENET.normalize(np.stack([pixels, pixels[:, ::-1]]))


# -- regions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["grid", "quickshift", "slic", "felzenszwalb", 5])
def test_regions_number_every_pixel_from_zero_without_a_gap(cats: Array, name: Any) -> None:
    found = regions_of(cats, name, IMAGENET)
    assert [each.shape for each in found] == [(64, 72)] * 2
    for each in found:
        assert each.dtype == np.int64
        assert np.unique(each).tolist() == list(range(each.max() + 1))
    count = {"grid": 49, 5: 25}.get(name)
    assert count is None or found[0].max() + 1 == count
    if count is None:  # superpixels follow the picture, so they follow its mirror image
        assert 8 < found[0].max() + 1 < 200
        assert not np.array_equal(found[0], found[1])


def test_cells_differ_by_a_pixel_at_most() -> None:
    (cells,) = regions_of(np.zeros((1, 3, 17, 30), np.float32), 4, IMAGENET)
    first = (cells == 0).any(axis=1).sum(), (cells == 0).any(axis=0).sum()
    assert first in {(4, 7), (4, 8), (5, 7), (5, 8)}
    assert np.ptp(np.bincount(cells.ravel())) <= 2 * 8
    tiny = regions_of(np.zeros((1, 3, 2, 3), np.float32), 7, IMAGENET)[0]
    assert tiny.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_regions_of_ones_own(cats: Array) -> None:
    halves = np.zeros((64, 72), np.int64)
    halves[:, 36:] = 900
    for given in (halves, halves.astype(np.int16), np.stack([halves, halves]), halves > 0):
        assert np.array_equal(regions_of(cats, given, IMAGENET), np.stack([halves > 0] * 2))
    seen = []

    def cut(picture: Array) -> Array:
        seen.append(picture)
        return halves

    regions_of(cats, cut, IMAGENET)
    np.testing.assert_array_equal(seen, IMAGENET.restore(cats))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("watershed", "'quickshift'"),
        (1, "at least 2"),
        (np.zeros((64, 72), np.int64), "one region only"),
        (np.zeros((64, 71), np.int64), "[64, 72]"),
        (np.zeros((3, 64, 72), np.int64), "[64, 72]"),
        (np.zeros((64, 72)), "whole numbers"),
        (lambda picture: picture, "[64, 72]"),
    ],
)
def test_regions_that_do_not_fit(cats: Array, given: Any, said: str) -> None:
    with pytest.raises(InputError) as error:
        regions_of(cats, given, IMAGENET)
    assert said in str(error.value)


def test_regions_of_what_is_no_picture() -> None:
    table = np.zeros((2, 5), np.float32)
    assert regions_of(table, None, None)[1].tolist() == [0, 1, 2, 3, 4]
    assert regions_of(table, [3, 3, 1, 1, 1], None)[0].tolist() == [1, 1, 0, 0, 0]
    series = np.zeros((2, 6, 4), np.float32)
    assert regions_of(series, None, None)[0].shape == (6, 4)
    channels = regions_of(series, np.arange(6)[:, None], None)[0]
    assert channels.shape == (6, 1)
    for given in ("slic", 4, np.zeros((2, 2), np.int64)):
        with pytest.raises(InputError):
            regions_of(series, given, None)


# -- what stands in the gap ------------------------------------------------------------------------


def test_fills(cats: Array) -> None:
    cut = regions_of(cats, "slic", IMAGENET)
    picture = np.full((64, 72, 3), (10, 200, 30), np.uint8)
    bases = {
        "mean": np.broadcast_to(cats.mean(axis=(2, 3), keepdims=True), cats.shape),
        "blur": blurred(cats, 3.2),
        "black": IMAGENET.normalize(np.zeros((2, 64, 72, 3), np.uint8)),
        "number": np.full_like(cats, 0.25),
        "array": np.broadcast_to(np.arange(3, dtype=np.float32)[:, None, None], cats.shape),
        "picture": np.repeat(IMAGENET.normalize(picture[None]), 2, axis=0),
    }
    own = {"number": 0.25, "array": np.arange(3.0)[:, None, None], "picture": picture}
    keep = RNG.random((4, 64, 72)) < 0.5
    owner = np.array([1, 0, 0, 1])
    for name, base in bases.items():
        imputer = Imputer(cats, own.get(name, name), IMAGENET, cut)
        np.testing.assert_allclose(imputer.nothing(), base, atol=1e-6)
        expected = np.where(keep[:, None], cats[owner], base[owner])
        np.testing.assert_allclose(imputer.images(owner, keep), expected, atol=1e-6)
        part = RNG.random((4, 64, 72))
        mixed = part[:, None] * cats[owner] + (1 - part[:, None]) * base[owner]
        np.testing.assert_allclose(imputer.images(owner, part), mixed, atol=1e-5)
    means = Imputer(cats, "region_mean", IMAGENET, cut).nothing()
    for i in range(2):
        for region in range(cut[i].max() + 1):
            inside = cut[i] == region
            expected = np.repeat(cats[i][:, inside].mean(axis=1)[:, None], inside.sum(), axis=1)
            np.testing.assert_allclose(means[i][:, inside], expected, atol=1e-5)


def test_inpainting_continues_what_surrounds_the_gap() -> None:
    y, x = np.mgrid[:24, :24] / 24
    ramp = np.stack([y, x, x + y])[None].astype(np.float32)
    keep = np.ones((3, 24, 24), bool)
    keep[0, 8:14, 5:12] = False
    keep[2] = False
    imputer = Imputer(ramp, "inpaint", None)
    found = imputer.images(np.zeros(3, np.int64), keep)
    np.testing.assert_allclose(found[0], ramp[0], atol=0.01)
    np.testing.assert_array_equal(found[1], ramp[0])
    mean = np.broadcast_to(ramp[0].mean(axis=(1, 2), keepdims=True), ramp[0].shape)
    np.testing.assert_allclose(found[2], mean, atol=1e-6)
    np.testing.assert_allclose(imputer.nothing()[0], mean, atol=1e-6)
    with pytest.raises(InputError, match="another fill"):
        imputer.images(np.zeros(1, np.int64), np.full((1, 24, 24), 0.5))


@pytest.mark.parametrize("fill", ["grey", np.zeros((5, 5)), np.nan, "region_mean"])
def test_fills_that_do_not_fit(cats: Array, fill: Any) -> None:
    with pytest.raises(InputError):
        Imputer(cats, fill, IMAGENET)


def test_names_of_fills_are_for_pictures() -> None:
    for name in ("mean", "blur", "inpaint", "black", "region_mean"):
        with pytest.raises(InputError, match="pictures"):
            Imputer(np.zeros((2, 4), np.float32), name, None)
    with pytest.raises(InputError, match="black"):
        Imputer(np.zeros((1, 3, 4, 4), np.float32), "black", None)


# -- evaluators have the same ----------------------------------------------------------------------


@pytest.mark.parametrize("fill", ["region_mean", "inpaint", np.zeros((16, 16, 3), np.uint8)])
@pytest.mark.parametrize("name", ["Deletion", "Insertion", "LocalFidelity", "Selectivity"])
def test_evaluators_take_every_fill(name: str, fill: Any) -> None:
    model = small_network()
    x = model.preprocessing.normalize(RNG.integers(0, 256, (2, 16, 16, 3), np.uint8))
    method = it.GradientInterpreter(model)
    few = {"n_samples": 4} if name == "LocalFidelity" else {"steps": 3}
    judge = getattr(ev, name)(model, fill=fill, patch=4, **few)
    found = judge.measure(x, method.explain(x, 1), interpreter=method)
    assert np.isfinite(found.values).all()
    if name == "Deletion":  # by hand: the score along the curve
        base = Imputer(x, fill, model.preprocessing, [grid_regions(16, 16, 4)] * 2).nothing()
        last = ev.Deletion(model, fill=base, patch=4, steps=3).measure(x, method.explain(x, 1))
        np.testing.assert_allclose(
            found.curves["deletion"][:, -1], last.curves["deletion"][:, -1], rtol=1e-5
        )


# -- games -----------------------------------------------------------------------------------------


def test_a_game_is_the_score_with_regions_filled() -> None:
    model = small_network()
    x = RNG.normal(size=(2, 3, 16, 16)).astype(np.float32)
    cut = regions_of(x, 3, model.preprocessing)
    probe, imputer = it.Probe(model), Imputer(x, "mean", model.preprocessing, cut)
    target = it.ClassScore([2, 4])
    game = Game(probe, imputer, target, 1, cut[1], 0.0)
    z = RNG.random((11, 9)) < 0.5
    images = np.where(z[:, cut[1]][:, None], x[1], x[1].mean(axis=(1, 2), keepdims=True))
    expected = probe.logits(images.astype(np.float32))[:, 4]
    np.testing.assert_allclose(game(z), expected, rtol=1e-5)
    assert game.players == 9
    assert game.evaluations == 12
    np.testing.assert_allclose(game.nothing, game(np.zeros((1, 9), bool))[0])
    assert game.evaluations == 14  # the score of nothing is kept
    assert game.nothing == game.nothing
    assert game.evaluations == 14


def test_feature_ablation_is_the_loss_without_a_region() -> None:
    model = small_network()
    x = RNG.normal(size=(2, 3, 16, 16)).astype(np.float32)
    halves = np.repeat([[0] * 9 + [1] * 7], 16, axis=0)
    found = it.FeatureAblationInterpreter(model).explain(x, [0, 3], regions=halves, fill=0.5)
    probe = it.Probe(model)
    for i, label in enumerate((0, 3)):
        for region in (0, 1):
            without = np.where(halves == region, np.float32(0.5), x[i])[None]
            lost = probe.logits(x[i : i + 1]) - probe.logits(without)
            np.testing.assert_allclose(
                found.values[i, 0][halves == region], lost[0, label], rtol=1e-4
            )
    assert found.diagnostics["evaluations"].tolist() == [4, 4]
    np.testing.assert_array_equal(found.diagnostics["regions"], np.stack([halves] * 2))


def test_feature_ablation_of_a_table_is_exact_for_a_sum() -> None:
    weights = RNG.normal(size=(6, 2))
    subject = it.Subject.from_function(lambda x: x @ weights)
    x = RNG.normal(size=(3, 6)).astype(np.float32)
    method = it.FeatureAblationInterpreter(subject)
    found = method.explain(x, 1, fill=0.25)
    np.testing.assert_allclose(found.values, (x - 0.25) * weights[:, 1], rtol=1e-4, atol=1e-5)
    assert found.diagnostics["efficiency_error"].max() < 1e-4
    pairs = method.explain(x, 1, fill=0.25, regions=[0, 0, 1, 1, 2, 2])
    sums = ((x - 0.25) * weights[:, 1]).reshape(3, 3, 2).sum(axis=2)
    np.testing.assert_allclose(pairs.values, sums.repeat(2, axis=1), rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="number"):
        method.explain(x, 1)


def test_rounds_double_and_end_with_the_budget() -> None:
    assert rounds(1000, None) == [1000]
    assert rounds(1000, 0.1) == [128, 256, 512, 1000]
    assert rounds(100, 0.1) == [100]
    assert relative_error(np.array([1.0, -4.0]), np.array([0.1, 0.2])) == pytest.approx(0.05)
    assert relative_error(np.zeros(2), np.zeros(2)) == 0
    assert relative_error(np.zeros(2), np.ones(2)) == np.inf


def test_a_tolerance_that_is_not_reached_is_said() -> None:
    class Vague(RegionMethod):
        info = it.FeatureAblationInterpreter.info

        def attribute(self, x: Any, target: Any) -> Any:
            def estimate(game: Game, rng: np.random.Generator) -> Estimate:
                values = np.arange(1.0, game.players + 1)
                return Estimate(values, values / (10 if game.whole > 0 else 1000))

            return self._estimated(x, target, estimate, 3, regions=None, fill=0.0, tolerance=0.05)

    subject = it.Subject.from_function(lambda x: x.sum(axis=1))
    x = np.array([[1, 2.0], [-1, -2.0]], np.float32)
    with pytest.warns(it.InterpretWarning, match="10.0% of the largest value of image 0"):
        found = Vague(subject).explain(x)
    assert found.diagnostics["converged"].tolist() == [False, True]
    np.testing.assert_allclose(found.diagnostics["standard_error"][0], [0.1, 0.2])


# -- functions -------------------------------------------------------------------------------------


def test_a_function_is_explained_as_its_network_is() -> None:
    model = small_network()
    probe = it.Probe(model)
    x = RNG.normal(size=(2, 3, 16, 16)).astype(np.float32)
    subject = it.Subject.from_function(
        probe.logits, preprocessing=model.preprocessing, class_names=model.class_names
    )
    found = it.FeatureAblationInterpreter(subject).explain(x, "class-b")
    expected = it.FeatureAblationInterpreter(model).explain(x, "class-b")
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-4, atol=1e-6)
    assert found.label_names == ("class-b", "class-b")
    assert found.heatmap().shape == (2, 16, 16)


def test_what_a_function_may_give() -> None:
    x = np.arange(2, 8, dtype=np.float32).reshape(3, 2)
    one = it.FeatureAblationInterpreter(it.Subject.from_function(lambda a: a.sum(axis=1)))
    np.testing.assert_allclose(one.explain(x, fill=0.0).values, x)
    whole = it.FeatureAblationInterpreter(it.Subject.from_function(lambda a: a.astype(int)))
    assert whole.explain(x, 1, fill=0.0).scores.tolist() == [3, 5, 7]
    for wrong in (lambda a: "no", lambda a: a[:0], lambda a: 1.0, lambda a: None):
        method = it.FeatureAblationInterpreter(it.Subject.from_function(wrong))
        with pytest.raises(UnsupportedModelError, match="one row for each"):
            method.explain(x, fill=0.0)
    with pytest.raises(InputError, match="function"):
        it.Subject.from_function(x)  # type: ignore[arg-type]

    def fails(a: Array) -> Array:
        raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        it.FeatureAblationInterpreter(it.Subject.from_function(fails)).explain(x, fill=0.0)


def test_a_function_is_given_at_most_a_batch() -> None:
    sizes = []

    def function(a: Array) -> Array:
        sizes.append(len(a))
        return a

    subject = it.Subject.from_function(function, batch_size=4)
    it.FeatureAblationInterpreter(subject).explain(np.ones((2, 9), np.float32), 0, fill=0.0)
    assert max(sizes) == 4


@pytest.mark.parametrize(
    "method", [it.GradientInterpreter, it.GradCAMInterpreter, it.LRPInterpreter]
)
def test_methods_with_gradients_refuse_a_function(method: Any) -> None:
    subject = it.Subject.from_function(
        lambda x: x.mean(axis=(2, 3)), preprocessing=IMAGENET, class_names=["a", "b", "c"]
    )
    with pytest.raises(UnsupportedModelError, match="gradient"):
        method(subject).explain(np.zeros((1, 3, 8, 8), np.float32))


# -- uncertainty -----------------------------------------------------------------------------------


def test_uncertainty_is_drawn_beside_the_map_on_its_scale() -> None:
    images = np.full((2, 8, 8, 3), 128, np.uint8)
    values = np.zeros((2, 1, 8, 8), np.float32)
    values[:, :, :4] = [[[[4.0]]], [[[100.0]]]]
    error = np.zeros_like(values)
    error[:, :, 4:] = [[[[2.0]]], [[[100.0]]]]
    explanation = it.Explanation(
        values, np.array([0, 1]), np.ones(2), images, "gradient",
        diagnostics={"standard_error": error},
    )  # fmt: skip
    figure = explanation.plot("heatmap", uncertainty=True)
    panels = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    titles = [axis.get_title() for axis in figure.axes if axis.images]
    assert [title.startswith("standard error") for title in titles] == [False, True] * 2
    first, first_error, second, second_error = panels
    assert np.array_equal(first[:4], second[:4])  # each image has a scale of its own
    assert np.array_equal(second_error[4:], second[:4])  # as large as the value: as bright
    assert not np.array_equal(first_error[4:], first[:4])
    plain = it.Explanation(values, np.array([0, 1]), np.ones(2), images, "gradient")
    with pytest.raises(InputError, match="no standard error"):
        plain.plot(uncertainty=True)
