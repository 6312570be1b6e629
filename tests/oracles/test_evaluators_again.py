"""Evaluators that explain again, against plain loops and closed forms of linear models."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from paddle import nn

from interpretdl import evaluator as ev
from interpretdl.errors import InputError, LayerNotFoundError, UnsupportedModelError
from interpretdl.evaluator.controls import CONTROLS, Control
from interpretdl.evaluator.mprt import histogram_entropy
from interpretdl.interpreter import GradientInterpreter
from interpretdl.probe import Probe
from interpretdl.subject import Subject

Toy = Callable[..., Any]
RNG = np.random.default_rng
RELATIVE = [
    ev.RelativeInputStability,
    ev.RelativeOutputStability,
    ev.RelativeRepresentationStability,
]
BY_INPUT: dict[str, Any] = {"times_input": True}


@pytest.fixture
def x() -> Any:
    return RNG(0).normal(size=(3, 3, 10, 12)).astype(np.float32)


def linear(weights: Any) -> Any:
    """f_k(x) = weights[k] · x, and no bias."""
    flat = np.asarray(weights, np.float32).reshape(len(weights), -1).T
    model = nn.Sequential(nn.Flatten(), nn.Linear(*flat.shape, bias_attr=False))
    model[1].weight.set_value(flat)
    return model


def weighted(probe: Probe, x: Any) -> list[str]:
    """Layers with weights of their own, from the input to the output."""
    return [
        name
        for name in probe.layer_shapes(x)
        if probe.layer(name).parameters(include_sublayers=False)
    ]


def near(image: Any, row: int, radius: float, count: int, seed: int) -> Iterator[Any]:
    rng, reach = RNG([seed, row]), radius * (image.max() - image.min())
    for _ in range(count):
        yield (image + rng.uniform(-reach, reach, image.shape)).astype(np.float32)


def norm(values: Any) -> float:
    return math.sqrt(sum(float(v) ** 2 for v in np.ravel(values)))


def relative(before: Any, after: Any, elements: bool) -> float:
    """The change of what was, as a share."""
    if not elements:
        return norm(after.astype(float) - before) / norm(before)
    pairs = zip(np.ravel(before).tolist(), np.ravel(after).tolist(), strict=True)
    return norm([(b - a) / a for a, b in pairs if a != 0])


def measured(evaluator: Any, x: Any, method: Any, labels: Any, **options: Any) -> Any:
    found = method.explain(x, labels, **options)
    return evaluator.measure(x, found, interpreter=method, options=options)


# -- plain loops -----------------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", [True, False])
def test_local_lipschitz(toy: Toy, x: Any, normalize: bool) -> None:
    method = GradientInterpreter(toy())
    evaluator = ev.LocalLipschitz(radius=0.1, n_samples=4, normalize=normalize, seed=3)
    found = measured(evaluator, x, method, [0, 1, 2], **BY_INPUT).values
    for i, image in enumerate(x):
        here = method.explain(image[None], i, **BY_INPUT).values
        ratios = [
            norm(method.explain(other[None], i, **BY_INPUT).values - here) / norm(other - image)
            for other in near(image, i, 0.1, 4, 3)
        ]
        scale = norm(here) if normalize else 1
        np.testing.assert_allclose(found[i], max(ratios) / scale, rtol=1e-4)


@pytest.mark.parametrize("mode", ["norm", "elements"])
@pytest.mark.parametrize("cls", RELATIVE)
def test_relative_stability(cls: Any, mode: str, toy: Toy, x: Any) -> None:
    """Points of another class do not count: the ball is wide enough for some."""
    model = toy()
    probe, method = Probe(model), GradientInterpreter(model)
    last = weighted(probe, x)[-1]
    features, bias = f"{last}:input", probe.layer(last).bias
    # so that all classes are near for the first image
    bias.set_value(bias.numpy() - probe.logits(x)[0] + np.float32(1e-3) * np.eye(5, dtype="f4")[3])

    def seen(image: Any) -> Any:
        if cls is ev.RelativeInputStability:
            return image
        if cls is ev.RelativeOutputStability:
            return probe.logits(image[None])
        return probe.activations(image[None], features)[features]

    found = measured(cls(radius=0.3, n_samples=6, relative=mode), x, method, [0, 1, 2], **BY_INPUT)
    skipped = 0
    for i, image in enumerate(x):
        here, ratios = method.explain(image[None], i, **BY_INPUT).values, []
        for other in near(image, i, 0.3, 6, 0):
            if probe.logits(other[None]).argmax() != probe.logits(image[None]).argmax():
                skipped += 1
                continue
            change = relative(
                here, method.explain(other[None], i, **BY_INPUT).values, mode == "elements"
            )
            if cls is ev.RelativeOutputStability and mode == "elements":
                way = norm(seen(other) - seen(image))
            else:
                way = relative(seen(image), seen(other), mode == "elements")
            ratios.append(change / max(way, 1e-6))
        if not ratios:
            assert "same class" in found.flags[i]
        else:
            np.testing.assert_allclose(found.values[i], max(ratios), rtol=1e-3)
    assert 0 < skipped < 18


@pytest.mark.parametrize("bins", [2, 7, 100])
def test_entropy_of_a_histogram(bins: int) -> None:
    maps = RNG(0).normal(size=(3, 9, 8))
    for one, found in zip(maps, histogram_entropy(maps, bins), strict=True):
        counts = [0] * bins
        for value in one.ravel():
            place = (value - one.min()) / (one.max() - one.min()) * bins
            counts[min(int(place), bins - 1)] += 1
        expected = -sum(c / 72 * math.log(c / 72) for c in counts if c)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_entropy_in_closed_form() -> None:
    even = np.arange(100.0).reshape(1, 10, 10)
    np.testing.assert_allclose(histogram_entropy(even, 10), math.log(10))
    half = np.repeat([0.0, 1.0], 8).reshape(1, 4, 4)
    np.testing.assert_allclose(histogram_entropy(half, 50), math.log(2))
    assert np.isnan(histogram_entropy(np.full((1, 4, 4), 3.0), 10)).all()
    assert np.isnan(histogram_entropy(np.full((1, 4, 4), np.inf), 10)).all()


def random_twin(model: Any, x: Any, seed: int, draw: int) -> Any:
    """All weights from a normal distribution as wide, vectors in another order."""
    twin = copy.deepcopy(model)
    names = weighted(Probe(model), x)[::-1]
    for j, name in enumerate(names):
        layer, rng = Probe(twin).layer(name), RNG([seed, draw, j])
        for tensor in [*layer.parameters(False), *layer.buffers(False)]:
            old = tensor.numpy()
            drawn = rng.normal(0, old.std() or 1, old.shape)
            new = drawn if old.ndim > 1 else rng.permutation(old)
            tensor.set_value(new.astype(old.dtype))
    return twin


def test_efficient_mprt(toy: Toy, x: Any) -> None:
    model = toy()
    method = GradientInterpreter(model)
    found = measured(ev.EfficientMPRT(bins=20, n_draws=2, seed=5), x, method, [0, 1, 2])
    before = histogram_entropy(method.explain(x, [0, 1, 2]).heatmap(), 20)
    after = [
        histogram_entropy(
            GradientInterpreter(random_twin(model, x, 5, draw)).explain(x, [0, 1, 2]).heatmap(), 20
        )
        for draw in range(2)
    ]
    mean = (after[0] + after[1]) / 2
    np.testing.assert_allclose(found.parts["complexity"], before, rtol=1e-6)
    np.testing.assert_allclose(found.values, mean / before - 1, rtol=1e-4, atol=1e-6)


def test_smooth_mprt(toy: Toy, x: Any) -> None:
    """Both maps are means over the same noisy pictures."""
    from scipy.stats import spearmanr

    model = toy()
    evaluator = ev.SmoothMPRT(n_noisy=3, noise=0.2, seed=4)
    found = measured(evaluator, x, GradientInterpreter(model), [0, 1, 2])
    twin = random_twin(model, x, 4, 0)

    def smooth(of: Any, i: int) -> Any:
        rng, total = RNG([4, i, 1]), np.zeros(x[i].shape)
        for _ in range(3):
            noise = rng.normal(0, 0.2 * (x[i].max() - x[i].min()), x[i].shape)
            noisy = (x[i] + noise).astype(np.float32)
            total += GradientInterpreter(of).explain(noisy[None], i).values[0]
        return abs(total / 3).sum(axis=0)

    for i in range(3):
        rho = spearmanr(smooth(model, i).ravel(), smooth(twin, i).ravel()).statistic
        np.testing.assert_allclose(found.values[i], abs(rho), atol=1e-4)


# -- closed forms ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [ev.LocalLipschitz, *RELATIVE])
def test_the_gradient_of_a_linear_model_never_changes(cls: Any, x: Any) -> None:
    model = linear(RNG(1).normal(size=(2, *x[0].shape)))
    assert not measured(cls(n_samples=3), x, GradientInterpreter(model), 1).values.any()


def test_weights_of_one_size_in_a_linear_model(x: Any) -> None:
    """R = w ⊙ x with |w| = c: the map changes c times as much as the image."""
    model = linear(0.3 * np.sign(RNG(1).normal(size=(2, *x[0].shape))))
    method = GradientInterpreter(model, preprocessing=None)
    paper = measured(ev.LocalLipschitz(normalize=False), x, method, 1, **BY_INPUT)
    np.testing.assert_allclose(paper.values, 0.3, rtol=1e-4)
    shares = measured(ev.LocalLipschitz(), x, method, 1, **BY_INPUT)
    np.testing.assert_allclose(shares.values, [1 / norm(image) for image in x], rtol=1e-4)
    for cls in (ev.RelativeInputStability, ev.RelativeRepresentationStability):
        # what goes into the only layer with weights is the image
        found = measured(cls(radius=0.005), x, method, 1, **BY_INPUT)
        np.testing.assert_allclose(found.values, 1, rtol=1e-3)


def test_elements_of_a_linear_model_change_as_the_image_s(x: Any) -> None:
    """(w x′ − w x) / (w x) = (x′ − x) / x, whatever w is."""
    model = linear(RNG(1).normal(size=(2, *x[0].shape)))
    found = measured(
        ev.RelativeInputStability(radius=0.005, relative="elements"), x,
        GradientInterpreter(model), 1, **BY_INPUT,
    )  # fmt: skip
    np.testing.assert_allclose(found.values, 1, rtol=1e-3)


def test_one_pixel_of_a_linear_model() -> None:
    """f = (3 x, 0): logit, map and image change by the same share."""
    x = np.array([2.0, 5.0], np.float32).reshape(2, 1, 1, 1)
    x = np.concatenate([x, np.zeros_like(x)], axis=3)  # a range, so that there is a ball
    model = linear([[3.0, 0.0], [0.0, 0.0]])
    method = GradientInterpreter(model, preprocessing=None)
    found = measured(ev.RelativeOutputStability(radius=0.1), x, method, 0, **BY_INPUT)
    np.testing.assert_allclose(found.values, 1, rtol=1e-4)
    # absolute outputs: (δ / x) / (3 δ)
    evaluator = ev.RelativeOutputStability(radius=0.1, relative="elements")
    found = measured(evaluator, x, method, 0, **BY_INPUT)
    np.testing.assert_allclose(found.values, [1 / 6, 1 / 15], rtol=1e-4)


@pytest.mark.parametrize("control", CONTROLS)
def test_controls_explain_again(control: str, toy: Toy, x: Any) -> None:
    """No model: nothing changes with its weights. The centre never changes at all."""
    model = toy()
    method = Control(Subject.of(model), control)
    for cls, expected in ((ev.EfficientMPRT, 0), (ev.SmoothMPRT, 1)):
        found = measured(cls(), x, method, [0, 1, 2]).values
        np.testing.assert_allclose(found, expected, atol=1e-12)
    stable = measured(ev.LocalLipschitz(), x, method, [0, 1, 2]).values
    assert (stable == 0).all() == (control == "centre")


# -- what is refused and flagged -------------------------------------------------------------------


def test_mistakes(toy: Toy, x: Any) -> None:
    for cls, options in (
        (ev.LocalLipschitz, {"radius": 0}), (ev.RelativeInputStability, {"n_samples": 0}),
        (ev.RelativeOutputStability, {"relative": "some"}), (ev.EfficientMPRT, {"bins": 1}),
        (ev.EfficientMPRT, {"n_draws": 0}), (ev.SmoothMPRT, {"n_noisy": 0}),
        (ev.SmoothMPRT, {"noise": 0}), (ev.SmoothMPRT, {"mode": "some"}),
    ):  # fmt: skip
        with pytest.raises(InputError):
            cls(**options)
    method = GradientInterpreter(toy())
    with pytest.raises(LayerNotFoundError):
        measured(ev.RelativeRepresentationStability(layer="none"), x, method, 0)
    bare = GradientInterpreter(nn.Sequential(nn.AdaptiveAvgPool2D(1), nn.Flatten()))
    for evaluator in (ev.RelativeRepresentationStability(), ev.EfficientMPRT()):
        with pytest.raises(UnsupportedModelError, match="parameters"):
            measured(evaluator, x, bare, 0, **BY_INPUT)


def test_a_constant_image_has_no_ball(toy: Toy, x: Any) -> None:
    x[1] = 0.5
    found = measured(ev.LocalLipschitz(), x, GradientInterpreter(toy()), 0)
    assert list(found.flags) == [1]
    assert "constant" in found.flags[1]
    assert np.isfinite(found.values[[0, 2]]).all()


def test_a_layer_by_name_and_by_input(toy: Toy, x: Any) -> None:
    model = toy()
    names = weighted(Probe(model), x)
    method = GradientInterpreter(model)
    default = measured(ev.RelativeRepresentationStability(), x, method, 0).values
    named = ev.RelativeRepresentationStability(layer=f"{names[-1]}:input")
    np.testing.assert_array_equal(measured(named, x, method, 0).values, default)
    other = measured(ev.RelativeRepresentationStability(layer=names[0]), x, method, 0).values
    assert (other != default).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    "cls",
    [*RELATIVE, ev.LocalLipschitz, ev.Continuity, ev.SensitivityMax, ev.Selectivity],
)
def test_maps_near_that_are_not_finite(toy: Toy, x: Any, cls: Any, bad: float) -> None:
    """Of the first picture all, of the second one; the third has its value as ever."""
    calls: list[int] = []

    def explain(near: Any, target: Any) -> Any:
        values = near**2
        calls.append(1)
        values[0, 0, 0, 0] = bad
        values[1] = bad if len(calls) == 2 else values[1]
        return values

    def fine(near: Any, target: Any) -> Any:
        return near**2

    kept = {"frames": 3} if hasattr(cls, "frames") else {}
    found, usual = (
        cls(toy(), **kept).measure(x, x**2, labels=1, interpreter=how, signed=True)
        for how in (explain, fine)
    )
    assert list(found.flags) == [0, 1]
    assert set(found.flags.values()) == {"the method's maps near the picture are not finite"}
    assert np.isnan(found.values).tolist() == [True, True, False]
    assert found.values[2] == usual.values[2]
    assert np.isfinite(usual.values).all()
    assert kept == {} or found.frames.plot() is not None
    assert not any(np.isinf(curve).any() for curve in found.curves.values())
