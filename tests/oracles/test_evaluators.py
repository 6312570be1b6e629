"""Evaluators against numbers worked out by hand, plain loops and identities."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest

from interpretdl import evaluator as ev
from interpretdl.errors import InputError
from interpretdl.evaluator.stability import translated
from interpretdl.interpreter import (
    GradientInterpreter,
)
from interpretdl.preprocessing import Preprocessing
from interpretdl.probe import Probe

W = np.array([4.0, 3.0, 2.0, 1.0])
ONES = np.ones((1, 1, 2, 2), np.float32)
MAP = W.reshape(1, 2, 2).astype(np.float32)
LOGIT: dict[str, Any] = {"gradient_of": "logit", "fill": 0.0}


def linear(*rows: Any, channels: int = 1) -> Any:
    """f_k(x) = rows[k] · x, input [N, channels, h, w]."""
    weights = np.array(rows, np.float32).T
    model = paddle.nn.Sequential(paddle.nn.Flatten(), paddle.nn.Linear(*weights.shape))
    model[1].weight.set_value(weights)
    model[1].bias.set_value(np.zeros(weights.shape[1], np.float32))
    zeros, ones = (0.0,) * channels, (1.0,) * channels
    model.preprocessing = Preprocessing(resize=None, crop=None, mean=zeros, std=ones)
    return model


FOUR = [W, 0 * W]


# -- four pixels, by hand --------------------------------------------------------------------------


def test_deletion_and_insertion_by_hand() -> None:
    found = ev.DeletionInsertion(linear(*FOUR), **LOGIT).measure(ONES, MAP, labels=0)
    # 10 without 4, without 3, …; trapezoids of the four quarters
    assert found.curves["deletion"].tolist() == [[10, 6, 3, 1, 0]]
    assert found.curves["insertion"].tolist() == [[0, 4, 7, 9, 10]]
    assert found.axis.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert found.parts["deletion"] == pytest.approx([(8 + 4.5 + 2 + 0.5) / 4])
    assert found.parts["insertion"] == pytest.approx([(2 + 5.5 + 8 + 9.5) / 4])
    assert found.values == pytest.approx([2.5])
    assert found.higher_is_better


def test_halves_agree_with_the_whole_and_state_their_direction() -> None:
    model = linear(*FOUR)
    both = ev.DeletionInsertion(model, **LOGIT).measure(ONES, MAP, labels=0)
    for cls, name, higher in ((ev.Deletion, "deletion", False), (ev.Insertion, "insertion", True)):
        half = cls(model, **LOGIT).measure(ONES, MAP, labels=0)
        assert half.values == pytest.approx(both.parts[name])
        assert half.higher_is_better is cls.higher_is_better is higher
        one = ev.DeletionInsertion(
            model, None, None, name == "deletion", name == "insertion", **LOGIT
        )
        assert one.higher_is_better is higher
        assert one.measure(ONES, MAP, labels=0).values == pytest.approx(half.values)
    with pytest.raises(InputError, match="compute_deletion"):
        ev.DeletionInsertion(model, None, None, False, False)


def test_perturbation_by_hand() -> None:
    found = ev.Perturbation(linear(*FOUR), patch=1, **LOGIT).measure(ONES, MAP, labels=0)
    assert found.curves["MoRF"].tolist() == [[10, 6, 3, 1, 0]]
    assert found.curves["LeRF"].tolist() == [[10, 9, 7, 4, 0]]
    assert found.parts["MoRF"] == pytest.approx([3.75])
    assert found.parts["LeRF"] == pytest.approx([6.25])
    assert found.parts["AOPC"] == pytest.approx([(0 + 4 + 7 + 9 + 10) / 5])
    assert found.values == pytest.approx([2.5])
    with pytest.raises(InputError, match="compute_MoRF"):
        ev.Perturbation(linear(*FOUR), None, False, False)


def test_patches_are_taken_out_together() -> None:
    """4 x 4 pixels in four patches; the right column and lower row are smaller with patch 3."""
    x = np.ones((1, 1, 4, 4), np.float32)
    heat = np.zeros((1, 4, 4), np.float32)
    heat[0, 0, 3] = 5  # upper right: 3 pixels; upper left: 9
    heat[0, 0, 0] = 1
    found = ev.Deletion(linear(np.ones(16), np.zeros(16)), patch=3, **LOGIT).measure(x, heat, 0)
    assert found.curves["deletion"][0, :3].tolist() == [16, 13, 4]


def test_selectivity_by_hand() -> None:
    method = GradientInterpreter(linear(*FOUR))
    found = ev.Selectivity(patch=1, steps=2).measure(
        ONES, MAP, labels=0, interpreter=method, options={"times_input": True}
    )
    assert found.curves["score"].tolist() == [[10, 6, 3]]
    assert found.values == pytest.approx([(8 + 4.5) / 2])


def test_monotonicity_by_hand() -> None:
    rising = ev.Monotonicity(linear(*FOUR), **LOGIT).measure(ONES, MAP, labels=0)
    assert rising.values.tolist() == [1]
    # 0, 1, -1, 2, 6: one of four steps falls
    falling = ev.Monotonicity(linear([4, 3, -2, 1], 0 * W), **LOGIT).measure(ONES, MAP, labels=0)
    assert falling.curves["insertion, least first"].tolist() == [[0, 1, -1, 2, 6]]
    assert falling.values.tolist() == [0]
    assert falling.parts["share"].tolist() == [0.75]


def test_infidelity_by_hand() -> None:
    """The squares of a 2 x 2 picture are its pixels; the map tells 1, 0, 0, 0 of 4, 3, 2, 1."""
    phi = np.array([[[1, 0], [0, 0]]], np.float32)
    plain = ev.Infidelity(linear(*FOUR), n_samples=None, normalize=False, fill=0.0)
    assert plain.measure(ONES, phi, labels=0).values == pytest.approx([(9 + 9 + 4 + 1) / 4])
    scaled = ev.Infidelity(linear(*FOUR), n_samples=None, fill=0.0)  # best factor: 4
    assert scaled.measure(ONES, phi, labels=0).values == pytest.approx([(0 + 9 + 4 + 1) / 4])


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("unit", ["score", "gradient", "noise"])
def test_infidelity_of_the_exact_attribution_of_a_linear_model_is_zero(
    unit: Any, normalize: bool
) -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(2, 3 * 9 * 9))
    x = rng.normal(size=(2, 3, 9, 9)).astype(np.float32)
    phi = np.broadcast_to(weights[1].reshape(1, 3, 9, 9), x.shape).astype(np.float32)
    options: dict[str, Any] = {"unit": unit, "fill": 0.5}
    if unit == "score":
        phi = phi * (x - np.float32(0.5))
    elif unit == "noise":
        options = {"perturbation": "noise"}
    found = ev.Infidelity(linear(*weights, channels=3), normalize=normalize, **options).measure(
        x, phi, labels=1
    )
    assert found.values == pytest.approx([0, 0], abs=1e-8)
    worse = ev.Infidelity(linear(*weights, channels=3), normalize=normalize, **options).measure(
        x, rng.normal(size=x.shape), labels=1
    )
    assert (worse.values > 0.1).all()


def test_completeness_by_hand() -> None:
    model = linear(*FOUR)
    values = np.array([[[4, 3], [2, 0]]], np.float32)  # sums to 9 of 10
    assert ev.Completeness(model).measure(ONES, values, 0).values == pytest.approx([0.1])
    # baseline 0.5: f(x) - f(b) is 5, and 9 is 80 % too much
    half = ev.Completeness(model, baseline=0.5).measure(ONES, values, 0)
    assert half.values == pytest.approx([0.8])
    assert (half.parts["sum"].tolist(), half.parts["difference"].tolist()) == ([9], [5])
    same = ev.Completeness(model, baseline=1.0).measure(ONES, values, 0)
    assert np.isnan(same.values).all()
    assert same.flags == {0: "the score is the baseline's"}


def test_sparseness_by_hand() -> None:
    maps = np.array([[0, 0, 0, 1], [1, 1, 1, 1], [4, 1, 3, 2]], np.float32).reshape(3, 2, 2)
    found = ev.Sparseness().measure(np.repeat(ONES, 3, axis=0), maps)
    assert found.values == pytest.approx([3 / 4, 0, (-3 * 1 - 1 * 2 + 1 * 3 + 3 * 4) / 40])


@pytest.mark.parametrize(
    ("other", "size"), [((1, 2, 3, 4), 1), ((4, 3, 2, 1), 1), ((3, 4, 2, 1), 0.8)]
)
def test_random_logit_by_hand(other: tuple[int, ...], size: float) -> None:
    """Two neighbours in exchange: ρ = 1 - 6 · 2 / (4 · 15)."""
    method = GradientInterpreter(linear(W, other))
    found = ev.RandomLogit().measure(ONES, MAP, labels=0, interpreter=method)
    assert found.values == pytest.approx([size])


def test_local_fidelity_of_the_exact_map_is_one() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(2, 64))
    x = rng.normal(size=(2, 1, 8, 8)).astype(np.float32)
    exact = (weights[0].reshape(1, 8, 8) * (x[:, 0] - 0.5)).astype(np.float32)
    measure = ev.LocalFidelity(linear(*weights), fill=0.5, gradient_of="logit").measure
    assert measure(x, exact, 0, signed=True).values == pytest.approx([1, 1], abs=1e-5)
    assert measure(x, -exact, 0, signed=True).values == pytest.approx([-1, -1], abs=1e-5)


def test_point_game_by_hand() -> None:
    heat = np.zeros((1, 6, 6), np.float32)
    heat[0, 1, 1] = 1
    x = np.ones((1, 1, 6, 6), np.float32)

    def hit(box: Any, tolerance: float) -> float:
        return ev.PointGame(tolerance=tolerance).measure(x, heat, boxes=[box]).mean

    assert hit((1, 1, 2, 2), 0) == 1  # the pixel itself: x2 and y2 are just outside
    assert hit((2, 1, 4, 2), 0) == 0
    assert hit((3, 0, 5, 2), 2) == 1  # two columns away
    assert hit((3, 0, 5, 2), 1.9) == 0
    assert hit((4, 5, 6, 6), 5) == 1  # 3 right and 4 down
    assert hit((4, 5, 6, 6), 4.9) == 0
    assert hit([(3, 3, 4, 4), (0, 0, 2, 2)], 0) == 1  # one of two boxes
    heat[0, 4, 4] = 1  # two maxima, one of them inside
    assert hit((1, 1, 2, 2), 0) == 0.5


def test_point_game_segmentation_by_hand() -> None:
    heat = np.array([[[0.9, 0.4], [0.6, 0.1]]], np.float32)
    mask = np.array([[[1, 1], [0, 0]]])
    found = ev.PointGameSegmentation().measure(ONES, heat, masks=mask)
    # above 0.225: three pixels, two of them right; one of four pairs is in the wrong order
    expected = {"precision": 2 / 3, "recall": 1, "f1": 0.8, "auc": 3 / 4, "ap": (1 + 2 / 3) / 2}
    assert {name: part[0] for name, part in found.parts.items()} == pytest.approx(expected)
    assert found.values == pytest.approx([5 / 6])


def test_a_perfect_mask_scores_one() -> None:
    mask = np.zeros((2, 8, 8), bool)
    mask[0, 2:5, 3:6] = mask[1, :, :4] = True
    x = np.zeros((2, 1, 8, 8), np.float32)
    found = ev.PointGameSegmentation().measure(x, mask.astype(np.float32), masks=mask)
    for part in (found.values, *found.parts.values()):
        assert part.tolist() == [1, 1]
    inside = [(3, 2, 6, 5), (0, 0, 4, 8)]
    game = ev.PointGame(tolerance=0).measure(x, mask.astype(np.float32), boxes=inside)
    assert game.values.tolist() == [1, 1]


def test_a_mask_without_an_object_is_flagged() -> None:
    masks = np.stack([np.zeros((2, 2)), np.ones((2, 2)), np.eye(2)])
    found = ev.PointGameSegmentation().measure(
        np.repeat(ONES, 3, axis=0), np.repeat(MAP, 3, axis=0), masks=masks
    )
    assert set(found.flags) == {0, 1}
    assert np.isnan(found.values).tolist() == [True, True, False]


# -- plain loops -----------------------------------------------------------------------------------


def test_continuity_against_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 1, 5, 7)).astype(np.float32)
    found = ev.Continuity(max_shift=3, step=1).measure(
        x, x**2, labels=0, interpreter=lambda z, target: z**2
    )
    for i in range(2):
        best = 0.0
        for shift in (-3, -2, -1, 1, 2, 3):
            moved = np.empty((5, 7))
            for row in range(5):
                for column in range(7):
                    moved[row, column] = x[i, 0, row, min(6, max(0, column - shift))]
            change = sum(abs(a**2 - b**2) for a, b in zip(moved.ravel(), x[i].ravel(), strict=True))
            best = max(best, change / np.sqrt(((moved - x[i, 0]) ** 2).sum()))
        assert found.values[i] == pytest.approx(best, rel=1e-5)
    scaled = ev.Continuity(max_shift=3, step=1, normalize=True).measure(
        x, x**2, labels=0, interpreter=lambda z, target: z**2
    )
    size = (x.astype(np.float64) ** 2).sum(axis=(1, 2, 3))
    assert scaled.values == pytest.approx(found.values / size)


def test_translations() -> None:
    x = np.arange(6.0).reshape(1, 1, 2, 3)
    assert translated(x, 1, 3).tolist() == [[[[0, 0, 1], [3, 3, 4]]]]
    assert translated(x, -1, 2).tolist() == [[[[3, 4, 5], [3, 4, 5]]]]


def test_an_image_that_looks_the_same_when_moved_is_flagged() -> None:
    found = ev.Continuity(max_shift=1, step=1).measure(
        ONES, MAP, labels=0, interpreter=lambda z, target: z
    )
    assert found.flags == {0: "translations do not change the image"}


def test_a_map_that_is_the_same_everywhere_may_be_continuous() -> None:
    x = np.random.default_rng(0).normal(size=(1, 1, 4, 4)).astype(np.float32)
    found = ev.Continuity(max_shift=1, step=1).measure(
        x, np.ones_like(x), labels=0, interpreter=lambda z, target: np.ones_like(z)
    )
    assert found.values.tolist() == [0]
    assert not found.flags


def test_selectivity_against_a_plain_loop(toy: Callable[..., Any]) -> None:
    model = toy()
    x = np.random.default_rng(0).normal(size=(2, 3, 9, 10)).astype(np.float32)
    method, options = GradientInterpreter(model), {"times_input": True}
    labels = np.array([1, 3])
    explanation = method.explain(x, labels, **options)
    found = ev.Selectivity(patch=4, steps=5).measure(
        x, explanation, interpreter=method, options=options
    )
    probe = Probe(model)
    for i, label in enumerate(labels):
        image, out, curve = x[i : i + 1].copy(), set(), []
        for step in range(6):
            curve.append(probe.logits(image)[0, label])
            if step == 5:
                break
            relevance = method.explain(image, [label], **options).values.sum(axis=1)[0]
            worst, most = (0, 0), -np.inf
            for top in range(0, 9, 4):
                for left in range(0, 10, 4):
                    total = relevance[top : top + 4, left : left + 4].sum()
                    if (top, left) not in out and total > most:
                        worst, most = (top, left), total
            out.add(worst)
            image[:, :, worst[0] : worst[0] + 4, worst[1] : worst[1] + 4] = 0
        assert found.curves["score"][i] == pytest.approx(curve, rel=1e-4, abs=1e-5)
        area = sum((a + b) / 2 for a, b in itertools.pairwise(curve)) / 5
        assert found.values[i] == pytest.approx(area, rel=1e-4, abs=1e-5)


def test_sensitivity_against_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 1, 4, 4)).astype(np.float32)
    options = {"radius": 0.1, "n_samples": 5, "seed": 3}
    found = ev.SensitivityMax(normalize=False, **options).measure(
        x, 2 * x, labels=0, interpreter=lambda z, target: 2 * z
    )
    for i in range(2):
        draws = np.random.default_rng([3, i])
        reach = 0.1 * (x[i].max() - x[i].min())
        sizes = [np.sqrt((draws.uniform(-reach, reach, (1, 4, 4)) ** 2).sum()) for _ in range(5)]
        assert found.values[i] == pytest.approx(2 * max(sizes), rel=1e-5)
    asked: list[int] = []
    ev.SensitivityMax().measure(
        x, x**2, labels=0, interpreter=lambda z, target: [asked.append(len(z)), z**2][1]
    )
    assert asked == [2] * 10
    constant = ev.SensitivityMax(**options).measure(
        x, np.ones_like(x), labels=0, interpreter=lambda z, target: np.ones_like(z)
    )
    assert constant.values.tolist() == [0, 0]


# -- identities ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", ["mean", "blur", "black", 0.3, np.full((3, 1, 1), -0.2)], ids=str)
def test_end_points_are_the_image_and_the_baseline(toy: Callable[..., Any], fill: Any) -> None:
    model = toy()
    pixels = Preprocessing(resize=None, crop=None, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)
    baseline = {
        "mean": np.broadcast_to(x.mean(axis=(2, 3), keepdims=True), x.shape),
        "black": np.broadcast_to(
            np.array([-0.5 / 0.2, -0.4 / 0.3, -0.3 / 0.4]).reshape(1, 3, 1, 1), x.shape
        ),
    }.get(fill if isinstance(fill, str) else "")
    if not isinstance(fill, str):
        baseline = np.broadcast_to(fill, x.shape)
    found = ev.DeletionInsertion(model, fill=fill, preprocessing=pixels).measure(
        x, rng.random((2, 8, 8)), labels=[1, 2]
    )
    whole = Probe(model).logits(x)
    odds = np.exp(whole) / np.exp(whole).sum(axis=1, keepdims=True)
    there = odds[[0, 1], [1, 2]]
    for curve, point in ((found.curves["deletion"], 0), (found.curves["insertion"], -1)):
        assert curve[:, point] == pytest.approx(there, rel=1e-5)
    assert found.curves["deletion"][:, -1] == pytest.approx(found.curves["insertion"][:, 0])
    if baseline is not None:
        gone = Probe(model).logits(baseline.astype(np.float32))
        odds = np.exp(gone) / np.exp(gone).sum(axis=1, keepdims=True)
        assert found.curves["deletion"][:, -1] == pytest.approx(odds[[0, 1], [1, 2]], rel=1e-5)


def test_blur_keeps_the_mean_and_loses_detail() -> None:
    from interpretdl.perturbation import Imputer

    x = np.random.default_rng(0).normal(size=(1, 2, 40, 40)).astype(np.float32)
    soft = Imputer(x, "blur", None).base
    assert soft.std() < 0.2 * x.std()
    flat = Imputer(np.full_like(x, 0.7), "blur", None).base
    assert flat == pytest.approx(np.full_like(x, 0.7), rel=1e-5)


def test_an_oracle_ranking_beats_a_random_one_on_a_linear_model() -> None:
    rng = np.random.default_rng(0)
    weights = np.stack([rng.exponential(size=144), np.zeros(144)])
    model = linear(*weights)
    x = rng.random((3, 1, 12, 12)).astype(np.float32)
    oracle = weights[0].reshape(1, 12, 12) * x[:, 0]
    for cls, kind in (
        (ev.DeletionInsertion, {}), (ev.Deletion, {}), (ev.Insertion, {}),
        (ev.Perturbation, {"patch": 1}),
        (ev.Perturbation, {"patch": 2}),
    ):  # fmt: skip
        evaluator = cls(model, **{**LOGIT, **kind})
        good = evaluator.measure(x, oracle, 0)
        for _ in range(5):
            chance = evaluator.measure(x, rng.random((3, 12, 12)), 0)
            better = good.values - chance.values
            assert (better > 0).all() if good.higher_is_better else (better < 0).all()
