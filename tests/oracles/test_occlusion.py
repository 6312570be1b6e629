"""Occlusion against a plain loop over windows."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

import interpretdl as it
from tests.probes import Array, Run, attributed, plain_logits

LABELS = [2, 0, 1]
SHAPES = {"table": (3, 7), "series": (3, 6, 4), "volume": (3, 2, 5, 4, 3)}


def by_a_loop(f: Any, x: Array, size: Any, strides: Any, base: Array) -> Array:
    """Mean loss of f [N] under the windows on each number, written from the definition."""
    shape = x.shape[1:]
    starts = [
        range(0, math.ceil((n - w) / s) * s + 1, s)
        for n, w, s in zip(shape, size, strides, strict=True)
    ]
    sums, windows = np.zeros(x.shape), np.zeros(shape)
    for corner in itertools.product(*starts):
        window = tuple(slice(a, a + w) for a, w in zip(corner, size, strict=True))
        occluded = x.copy()
        occluded[(slice(None), *window)] = base[(slice(None), *window)]
        loss = f(x) - f(occluded)
        sums[(slice(None), *window)] += loss.reshape(-1, *[1] * len(shape))
        windows[window] += 1
    return sums / windows


def pictures(n: int = 3, channels: int = 3, height: int = 9, width: int = 11) -> Array:
    shape = (n, channels, height, width)
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def numbers(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def linear(size: int, seed: int = 0) -> Any:
    """Dense and nothing else, with random numbers."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(size, 4))
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.set_value(rng.normal(size=parameter.shape).astype("float32"))
    model.eval()
    return model


def kinked(size: int) -> Any:
    """Two dense layers with a kink between them."""
    first = linear(size, 1)
    model = nn.Sequential(first, nn.ReLU(), linear(4, 2))
    model.eval()
    return model


@pytest.mark.parametrize(
    ("size", "strides"),
    [
        ((3, 3, 4), (3, 2, 3)),
        ((3, 3, 3), (1, 1, 1)),
        ((3, 4, 5), (3, 4, 5)),
        ((1, 4, 4), (1, 3, 3)),
        ((2, 9, 5), (1, 7, 2)),
        ((3, 9, 11), (1, 1, 1)),
        ((3, 5, 11), (9, 5, 99)),
    ],
)
def test_pictures(size: Any, strides: Any, toy: Any) -> None:
    """Among them windows of fewer channels, windows cut by the edge, and one window alone."""
    model, x = toy(), pictures()
    base = np.full_like(x, 0.25)
    found = it.OcclusionInterpreter(model).explain(
        x, size, LABELS, strides, 0.25, gradient_of="logit"
    )
    rows = np.arange(3)
    expected = by_a_loop(lambda y: plain_logits(model, y)[rows, LABELS], x, size, strides, base)
    np.testing.assert_allclose(found.values, expected, rtol=1e-3, atol=1e-5 * abs(expected).max())
    windows = [
        math.ceil((n - w) / s) + 1 for n, w, s in zip((3, 9, 11), size, strides, strict=True)
    ]
    alone = "efficiency_error" in found.diagnostics
    assert found.diagnostics["evaluations"].tolist() == [math.prod(windows) + 1 + alone] * 3


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("given", [True, False])
def test_arrays_of_any_rank(kind: str, given: bool) -> None:
    x = numbers(SHAPES[kind])
    shape = x.shape[1:]
    model = kinked(math.prod(shape))
    size = tuple(max(1, n // 2) for n in shape)
    method = it.OcclusionInterpreter(model, preprocessing=None)
    options: dict[str, Any] = {"sliding_window_shapes": size, "strides": 1} if given else {}
    if not given:
        size = (1,) * len(shape)  # each number by itself
    found = method.explain(x, label=LABELS, **options)
    rows = np.arange(3)
    steps, base = (1,) * len(shape), np.zeros_like(x)
    expected = by_a_loop(lambda y: plain_logits(model, y)[rows, LABELS], x, size, steps, base)
    assert found.values.shape == x.shape
    np.testing.assert_allclose(found.values, expected, rtol=1e-3, atol=1e-4)


def test_defaults() -> None:
    """All channels, a seventh of the short edge, half a window apart; one apart if given."""
    model, x = linear(2 * 14 * 21), pictures(1, 2, 14, 21)
    method = it.OcclusionInterpreter(model, preprocessing=None)
    plain = method.explain(x, label=1)
    same = method.explain(x, (2, 2, 2), 1, (2, 1, 1), 0)
    np.testing.assert_array_equal(plain.values, same.values)
    given = method.explain(x, (2, 4, 4), 1)
    np.testing.assert_array_equal(given.values, method.explain(x, (2, 4, 4), 1, 1).values)
    assert given.diagnostics["evaluations"].tolist() == [11 * 18 + 1]


@pytest.mark.parametrize("size", [(3, 4, 5), (1, 2, 11), (3, 9, 11)])
def test_disjoint_windows_of_a_linear_model_share_out_the_difference(size: Any) -> None:
    """Over windows, D_w sums to f(x) − f(b); a number's value is its window's loss."""
    x = pictures()
    model = linear(x[0].size)
    base = numbers(x.shape)
    found = it.OcclusionInterpreter(model, preprocessing=None).explain(
        x, size, label=LABELS, strides=size, baselines=base
    )
    weights = model[1].weight.numpy().T[LABELS].reshape(x.shape)
    assert (found.diagnostics["efficiency_error"] < 1e-4).all()
    parts = weights.astype(np.float64) * (x - base)
    first = tuple(slice(0, w) for w in size)
    for i in range(3):
        np.testing.assert_allclose(found.values[i][first], parts[i][first].sum(), rtol=1e-3)
    gaps = [
        len(range(0, n, w)) for n, w in zip(x.shape[1:], size, strict=True)
    ]  # one number of each window
    grid = np.ix_(*[[k * w for k in range(g)] for g, w in zip(gaps, size, strict=True)])
    sums = np.array([values[grid].sum() for values in found.values])
    np.testing.assert_allclose(sums, parts.sum(axis=(1, 2, 3)), rtol=1e-3)
    overlapping = it.OcclusionInterpreter(model).explain(x, (3, 4, 5), 0, 2)
    assert "efficiency_error" not in overlapping.diagnostics


def test_a_model_that_is_not_additive_has_an_efficiency_error() -> None:
    """f = (Σx)² on two windows: each loses 1 − 1/4, the whole loses 1."""
    model = Run(lambda self, x: paddle.stack([x.flatten(1).sum(1) ** 2] * 2, 1))
    x = np.full((1, 1, 2, 4), 1 / 8, np.float32)
    found = it.OcclusionInterpreter(model, preprocessing=None).explain(x, (1, 2, 2), 0, 2)
    np.testing.assert_allclose(found.values, 0.75, rtol=1e-6)
    np.testing.assert_allclose(found.diagnostics["efficiency_error"], 0.5, rtol=1e-6)
    assert found.diagnostics["evaluations"].tolist() == [4]


@pytest.mark.parametrize("given", [1, 2, 5, 10**6, None])
@pytest.mark.parametrize("batch_size", [1, 4, None])
def test_how_many_run_at_once_changes_nothing(given: Any, batch_size: Any, toy: Any) -> None:
    model, x = toy(), pictures()
    most: list[int] = []
    model[0].register_forward_pre_hook(lambda layer, inputs: most.append(len(inputs[0])))
    method = it.OcclusionInterpreter(model, batch_size=batch_size)
    got = method.explain(x, (3, 4, 4), LABELS, 3, perturbations_per_eval=given)
    expected = it.OcclusionInterpreter(toy()).explain(x, (3, 4, 4), LABELS, 3)
    np.testing.assert_allclose(got.values, expected.values, rtol=1e-3, atol=1e-5)
    windows = 8 if given in (None, 1) else max(given, 3)  # the three pictures are one run
    assert max(most) <= min(batch_size or 8, windows)
    assert sum(most) == 3 * got.diagnostics["evaluations"][0]


def test_fills_of_pictures(toy: Any) -> None:
    """A name, a picture and an array stand for what they say."""
    model, x = toy(), pictures()
    method = it.OcclusionInterpreter(model, preprocessing=it.IMAGENET)
    run: dict[str, Any] = {"sliding_window_shapes": (3, 4, 4), "label": 1, "strides": 4}
    mean = np.broadcast_to(x.mean(axis=(2, 3), keepdims=True), x.shape)
    by_name = method.explain(x, baselines="mean", **run)
    np.testing.assert_allclose(by_name.values, method.explain(x, baselines=mean, **run).values)
    black = np.zeros((9, 11, 3), np.uint8)
    by_name = method.explain(x, baselines="black", **run)
    np.testing.assert_allclose(
        by_name.values, method.explain(x, baselines=black, **run).values, atol=1e-6
    )
    filled = method.explain(x, baselines="inpaint", **run)
    assert not np.allclose(filled.values, by_name.values)
    assert np.isfinite(filled.diagnostics["efficiency_error"]).all()
    with pytest.raises(it.InputError, match="all channels"):
        method.explain(x, (1, 4, 4), 1, baselines="inpaint")


def test_attribute_alone(toy: Any) -> None:
    x = pictures()
    found = attributed(it.OcclusionInterpreter(toy()), x, LABELS, sliding_window_shapes=(3, 4, 4))
    np.testing.assert_allclose(found.outputs, plain_logits(toy(), x), rtol=1e-4, atol=1e-5)
    assert found.values.dtype == np.float32


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sliding_window_shapes": (3, 4)}, "each axis of an input of \\[3, 9, 11\\]"),
        ({"sliding_window_shapes": (3, 10, 4)}, "does not fit into"),
        ({"sliding_window_shapes": (3, 0, 4)}, "at least 1"),
        ({"sliding_window_shapes": (3, 2.5, 4)}, "whole number"),
        ({"sliding_window_shapes": "big"}, "sliding_window_shapes must be"),
        ({"sliding_window_shapes": (3, 4, 4), "strides": 5}, "no larger than the windows"),
        ({"sliding_window_shapes": (3, 4, 4), "strides": (1, 2)}, "strides must have a number"),
        ({"strides": 0}, "at least 1"),
        ({"perturbations_per_eval": 0}, "at least 1"),
        ({"baselines": "white"}, "baselines must be one of"),
        ({"baselines": "region_mean"}, "give another fill"),
        ({"baselines": np.zeros((2, 9, 11))}, "does not broadcast"),
    ],
)
def test_options_that_do_not_fit(options: Any, says: str, toy: Any) -> None:
    with pytest.raises(it.InputError, match=says):
        it.OcclusionInterpreter(toy()).explain(pictures(), **options)


def test_names_of_fills_are_for_pictures() -> None:
    method = it.OcclusionInterpreter(linear(7), preprocessing=None)
    with pytest.raises(it.InputError, match="for pictures"):
        method.explain(numbers((3, 7)), baselines="mean")
