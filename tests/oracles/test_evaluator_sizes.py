"""Evaluators on larger pictures, coarse maps, several images and at the ends of their ranges."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

from interpretdl import evaluator as ev
from interpretdl.data_processor.blur import blurred
from interpretdl.data_processor.heatmaps import heatmap_of
from interpretdl.errors import InputError
from interpretdl.evaluator.fidelity import _windows
from interpretdl.interpreter import GradientInterpreter
from interpretdl.perturbation import Imputer
from interpretdl.preprocessing import Preprocessing
from interpretdl.probe import Probe

RNG = np.random.default_rng


def linear(weights: Any, shape: tuple[int, ...]) -> Any:
    """f_k(x) = weights[k] · x of inputs of this shape."""
    weights = np.asarray(weights, np.float32).reshape(len(weights), -1).T
    model = paddle.nn.Sequential(paddle.nn.Flatten(), paddle.nn.Linear(*weights.shape))
    model[1].weight.set_value(weights)
    model[1].bias.set_value(np.zeros(weights.shape[1], np.float32))
    plain = (0.0,) * shape[0], (1.0,) * shape[0]
    model.preprocessing = Preprocessing(resize=None, crop=None, mean=plain[0], std=plain[1])
    return model


def grey(weights: Any) -> Any:
    return linear(weights, (1,))


# -- infidelity ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "sides", "stride"),
    [
        (224, 224, (32, 64, 128), 8),
        (56, 84, (8, 16, 32), 2),
        (84, 56, (8, 16, 32), 2),
        (2, 3, (1,), 1),
        (5, 4, (1, 2), 1),
    ],
)
def test_squares(height: int, width: int, sides: tuple[int, ...], stride: int) -> None:
    """Sides of 1/7, 2/7 and 4/7 of the short edge, on a grid of 1/28 of it."""
    expected = [
        [y, y + side, x, x + side]
        for side in sides
        for y in range(0, height, stride)
        for x in range(0, width, stride)
        if y + side <= height and x + side <= width
    ]
    assert _windows(height, width).tolist() == expected
    assert len(expected) == {224: 25**2 + 21**2 + 13**2}.get(height, len(expected))


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 4, 4), (1, 3, 16), (4, 4), (3, 12, 16)])
def test_a_map_of_another_size_counts_as_its_heatmap(shape: tuple[int, ...]) -> None:
    """Only a map of the input's own shape keeps its channels."""
    rng = RNG(0)
    x = rng.normal(size=(2, 3, 12, 16)).astype(np.float32)
    values = rng.random((2, *shape)).astype(np.float32)
    measure = ev.Infidelity(linear(rng.normal(size=(2, x[0].size)), (3,)), n_samples=None).measure
    heat = heatmap_of(values, (12, 16), signed=True)
    assert measure(x, values, 0, signed=True).values == pytest.approx(
        measure(x, heat, 0).values, rel=1e-4
    )


def test_infidelity_of_several_images_by_a_plain_loop() -> None:
    """Squares drawn by seed and position, filled with each channel's mean; the score's fall."""
    rng = RNG(3)
    x = rng.normal(size=(2, 3, 9, 8)).astype(np.float32)
    weights = rng.normal(size=(2, 3, 9, 8)).astype(np.float32)
    phi = rng.normal(size=x.shape).astype(np.float32)
    evaluator = ev.Infidelity(linear(weights, (3,)), n_samples=7, normalize=False, seed=4)
    found = evaluator.measure(x, phi, labels=1).values
    windows = _windows(9, 8)
    for i in range(2):
        total = 0.0
        for top, bottom, left, right in windows[RNG([4, i]).integers(len(windows), size=7)]:
            inside = np.s_[:, top:bottom, left:right]
            mean = x[i].mean(axis=(1, 2), keepdims=True)
            made = (weights[1][inside] * (x[i][inside] - mean)).sum()
            total += (phi[i][inside].sum() - made) ** 2
        assert found[i] == pytest.approx(total / 7, rel=1e-4)


def test_infidelity_to_noise_by_a_plain_loop() -> None:
    rng = RNG(5)
    x = rng.normal(size=(2, 1, 4, 5)).astype(np.float32)
    weights, phi = rng.normal(size=(2, 2, 1, 4, 5)).astype(np.float32)
    options: dict[str, Any] = {"perturbation": "noise", "n_samples": 6, "noise_amount": 0.3}
    found = ev.Infidelity(grey(weights), normalize=False, seed=2, **options).measure(x, phi, 0)
    for i in range(2):
        scale = 0.3 * float(np.ptp(x[i]))
        total = 0.0
        for seed in RNG([2, i]).integers(2**63, size=6):
            noise = RNG(seed).normal(0, scale, (1, 4, 5))
            total += ((noise * phi[i]).sum() - (noise * weights[0]).sum()) ** 2
        assert found.values[i] == pytest.approx(total / 6, rel=1e-3)


# -- local fidelity --------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width", "patch"), [(28, 45, 2), (45, 28, 2), (20, 20, 1)])
def test_a_patch_is_a_fourteenth_of_the_short_edge(height: int, width: int, patch: int) -> None:
    rng = RNG(0)
    x = rng.normal(size=(2, 1, height, width)).astype(np.float32)
    heat = rng.normal(size=(2, height, width)).astype(np.float32)
    weights = rng.normal(size=(2, x[0].size))
    results = [
        ev.LocalFidelity(grey(weights), n_samples=9, patch=side)
        .measure(x, heat, 0, signed=False)
        .values
        for side in (None, patch)
    ]
    assert results[0].tolist() == results[1].tolist()


@pytest.mark.parametrize(("share", "taken"), [(0.2, 1), (0.5, 3), (0.01, 1), (0.95, 6)])
def test_local_fidelity_by_a_plain_loop(share: float, taken: int) -> None:
    """Sets of six patches of 2 x 2, drawn by seed and position."""
    rng = RNG(1)
    x = rng.normal(size=(2, 1, 4, 6)).astype(np.float32)
    heat = rng.normal(size=(2, 4, 6)).astype(np.float32)
    weights = rng.normal(size=(2, 24))
    evaluator = ev.LocalFidelity(
        grey(weights), n_samples=8, share=share, patch=2, fill=0.25, seed=7, gradient_of="logit"
    )
    found = evaluator.measure(x, heat, 0, signed=True)
    for i in range(2):
        draws, told, lost = RNG([7, i]), [], []
        for _ in range(8):
            gone = np.zeros((4, 6), bool)
            for number in draws.choice(6, taken, replace=False):
                row, column = divmod(int(number), 3)
                gone[2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = True
            told.append(heat[i][gone].sum())
            lost.append((weights[0].reshape(4, 6) * (x[i, 0] - 0.25))[gone].sum())
        if taken == 6:
            assert found.flags[i] == "the map or the score is the same for all sets of patches"
        else:
            assert found.values[i] == pytest.approx(np.corrcoef(told, lost)[0, 1], rel=1e-3)


# -- taking out ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width", "sigma"), [(40, 60, 2), (60, 40, 2), (10, 12, 1)])
def test_blur_is_a_twentieth_of_the_short_edge(height: int, width: int, sigma: float) -> None:
    x = RNG(0).normal(size=(1, 2, height, width)).astype(np.float32)
    np.testing.assert_array_equal(Imputer(x, "blur", None).base, blurred(x, sigma))


def test_one_step() -> None:
    ones = np.ones((1, 1, 2, 2), np.float32)
    evaluator = ev.Deletion(grey([[4, 3, 2, 1], [0] * 4]), steps=1, fill=0.0, gradient_of="logit")
    found = evaluator.measure(ones, np.eye(2, dtype=np.float32)[None], 0)
    assert found.curves["deletion"].tolist() == [[10, 0]]
    assert found.values == pytest.approx([5])


def test_halves_of_the_perturbation_state_their_direction() -> None:
    model = grey([[4, 3, 2, 1], [0] * 4])
    ones, heat = np.ones((1, 1, 2, 2), np.float32), np.arange(4.0).reshape(1, 2, 2)
    both = ev.Perturbation(model, patch=1).measure(ones, heat, 0)
    for name, higher in (("MoRF", False), ("LeRF", True)):
        wanted = {"compute_MoRF": name == "MoRF", "compute_LeRF": name == "LeRF"}
        half = ev.Perturbation(model, patch=1, **wanted).measure(ones, heat, 0)
        assert half.higher_is_better is higher
        assert half.values == pytest.approx(both.parts[name])


def test_monotonicity_of_several_images() -> None:
    """The allowance is relative to each image's own curve: of 1000 times the range, 1000 times."""
    x = np.ones((2, 1, 2, 2), np.float32)
    x[1] *= 1000
    heat = np.broadcast_to(np.array([[4.0, 3], [2, 1]], np.float32), (2, 2, 2))
    model = grey([[4, 3, -0.5, 1], [0] * 4])
    for tolerance, share in ((1e-6, 0.75), (0.1, 1.0)):  # one fall by .5 of a range of 7.5
        evaluator = ev.Monotonicity(model, fill=0.0, gradient_of="logit", tolerance=tolerance)
        found = evaluator.measure(x, heat, 0)
        assert found.parts["share"].tolist() == [share, share]
        assert found.values.tolist() == [share == 1] * 2


def test_selectivity_where_there_are_fewer_patches_than_steps() -> None:
    method = GradientInterpreter(grey([[4, 3, 2, 1], [0] * 4]))
    ones, heat = np.ones((1, 1, 2, 2), np.float32), np.array([[[4.0, 3], [2, 1]]], np.float32)
    found = ev.Selectivity(patch=1).measure(
        ones, heat, 0, interpreter=method, options={"times_input": True}
    )
    assert found.curves["score"].tolist() == [[10, 6, 3, 1, 0]]
    assert found.values == pytest.approx([(8 + 4.5 + 2 + 0.5) / 4])


def test_selectivity_asks_for_no_map_that_it_does_not_use() -> None:
    asked: list[int] = []

    def explain(z: Any, target: Any) -> Any:
        asked.append(len(z))
        return z

    x = RNG(0).normal(size=(2, 1, 4, 4)).astype(np.float32)
    evaluator = ev.Selectivity(grey([[1] * 16, [0] * 16]), patch=1, steps=3)
    evaluator.measure(x, x, 0, interpreter=explain, signed=False)
    assert asked == [2, 2]


# -- others ----------------------------------------------------------------------------------------


def test_channels_that_cancel_out_are_flagged() -> None:
    values = np.array([[1.0, -1.0], [1.0, 1.0]], np.float32).reshape(2, 2, 1, 1).repeat(3, axis=3)
    found = ev.Sparseness().measure(np.ones((2, 2, 1, 3), np.float32), values, signed=True)
    assert found.flags == {0: "the channels cancel out"}
    assert np.isnan(found.values).tolist() == [True, False]
    assert found.values[1] == pytest.approx(0)


@pytest.mark.parametrize("direction", ["horizontal", "vertical"])
@pytest.mark.parametrize(
    ("max_shift", "step", "shifts"),
    [(5, 2, [-4, -2, 2, 4]), (50, 3, [-6, -3, 3, 6]), (2, 2, [-2, 2])],
)
def test_translations_that_are_taken(
    direction: Any, max_shift: int, step: int, shifts: list[int]
) -> None:
    """Those by the whole picture or more are left out."""
    x = RNG(0).normal(size=(1, 1, 7, 7)).astype(np.float32)
    found = ev.Continuity(max_shift=max_shift, step=step, direction=direction).measure(
        x, x, 0, interpreter=lambda z, target: z
    )
    assert found.axis.tolist() == shifts
    moved = np.swapaxes(x, 2, 3) if direction == "vertical" else x
    ratios = []
    for shift in shifts:
        columns = np.clip(np.arange(7) - shift, 0, 6)
        change = moved[..., columns] - moved
        ratios.append(np.abs(change).sum() / np.sqrt((change**2).sum()))
    assert found.curves["change"][0] == pytest.approx(ratios, rel=1e-5)
    assert found.values == pytest.approx([max(ratios)], rel=1e-5)


def test_values_go_back_to_their_images_where_some_have_none() -> None:
    """Every second map is empty; curves and parts keep their places, NaN where there is nothing."""
    rng = RNG(0)
    x = rng.random((4, 1, 3, 4)).astype(np.float32)
    heat = rng.random((4, 3, 4)).astype(np.float32)
    heat[0], heat[2] = 0, np.nan
    evaluator = ev.DeletionInsertion(grey(rng.normal(size=(2, 12))), steps=4)
    found = evaluator.measure(x, heat, [0, 1, 0, 1])
    assert found.flags == {
        0: "the map is empty: zero everywhere",
        2: "the map has values that are not finite",
    }
    for i in (1, 3):
        alone = evaluator.measure(x[i : i + 1], heat[i : i + 1], 1)
        assert found.values[i] == pytest.approx(alone.values[0])
        for name, curve in alone.curves.items():
            assert found.curves[name][i] == pytest.approx(curve[0], rel=1e-5)
            assert found.parts[name][i] == pytest.approx(alone.parts[name][0])
    for rows in (found.values, *found.curves.values(), *found.parts.values()):
        assert np.isnan(rows[[0, 2]]).all()
    constant = evaluator.measure(x, np.ones((4, 3, 4)), 0)
    assert set(constant.flags.values()) == {"the map is constant: it orders nothing"}
    assert np.isnan(constant.values).all()


@pytest.mark.parametrize(
    ("x", "values", "message"),
    [
        (np.ones((2, 1, 3, 4), int), np.ones((2, 3, 4)), "x must be float"),
        (np.ones((2, 3, 4)), np.ones((2, 3, 4)), "x must be float"),
        (np.ones((2, 0, 3, 4)), np.ones((2, 3, 4)), "x must be float"),
        (np.ones((2, 1, 3, 4)), np.ones((3, 3, 4)), "values of 2 images"),
        (np.ones((2, 1, 3, 4)), np.ones((1, 3, 4)), "values of 2 images"),
        (np.ones((2, 1, 3, 4)), np.ones((2, 4)), "values of 2 images"),
        (np.ones((2, 1, 3, 4)), np.ones((2, 1, 1, 3, 4)), "values of 2 images"),
        (np.ones((2, 1, 3, 4)), np.ones((2, 0, 4)), "values of 2 images"),
    ],
)
def test_shapes_that_do_not_fit(x: Any, values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ev.Sparseness().measure(x, values)


def test_the_class_that_is_watched_without_labels() -> None:
    """The top class of each image, and its logit for bare values."""
    x = RNG(0).normal(size=(5, 1, 3, 4)).astype(np.float32)
    model = grey(RNG(1).normal(size=(4, 12)))
    found = ev.Completeness(model, baseline=None).measure(x, x)
    assert found.parts["difference"] == pytest.approx(Probe(model).logits(x).max(axis=1), rel=1e-5)
