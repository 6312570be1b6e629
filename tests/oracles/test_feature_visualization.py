"""Activation maximization: closed forms, what objectives read, and digits that look like digits."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from interpretdl import Preprocessing, Probe
from interpretdl.data_processor.files import read_archive
from interpretdl.errors import InputError, LayerNotFoundError, TargetError
from interpretdl.feature_visualization import (
    ActivationMaximization,
    FeatureVisualization,
    channel,
    class_score,
    unit,
)
from interpretdl.feature_visualization.images import total_variation
from tests.probes import in_eval

_spec = importlib.util.spec_from_file_location(
    "digits", Path(__file__).resolve().parents[1] / "digits.py"
)
assert _spec is not None
assert _spec.loader is not None
_digits = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_digits)
digits_model = _digits.digits_model

GREY = Preprocessing(resize=None, crop=None, mean=(0.25,), std=(0.5,))


# -- on models -----------------------------------------------------------------------------------


def linear_model(weights: NDArray[Any]) -> Any:
    """Logits w · x for w [K, C, H, W]."""
    from paddle import nn

    layer = nn.Linear(int(np.prod(weights.shape[1:])), len(weights), bias_attr=False)
    layer.weight.set_value(weights.reshape(len(weights), -1).T.astype(np.float32))
    return nn.Sequential(nn.Flatten(), layer)


def test_closed_form_of_a_linear_model() -> None:
    """w · x - c |x - x0|^2 is largest at x0 + w / 2c."""
    rng = np.random.default_rng(0)
    weights, center = rng.normal(size=(3, 1, 4, 5)), rng.normal(size=(1, 4, 5))
    found = ActivationMaximization(linear_model(weights), preprocessing=GREY).plain(
        class_score(2, "logit"), center=center, weight=0.5, starts=3
    )
    best = center + weights[2] / (2 * 0.5)
    for x in found.inputs:
        np.testing.assert_allclose(x, best, atol=1e-3)
    np.testing.assert_allclose(found.scores, (weights[2] * best).sum(), rtol=1e-4)
    assert np.ptp(found.inputs, axis=0).max() < 1e-3  # wherever it began


def test_closed_form_in_code_space() -> None:
    """With the decoder x = A z, w · A z - c |z - z0|^2 is largest at z0 + A^T w / 2c."""
    from paddle import nn

    rng = np.random.default_rng(1)
    weights, matrix, z0 = (rng.normal(size=s) for s in ((2, 1, 2, 3), (4, 6), 4))
    linear = nn.Linear(4, 6, bias_attr=False)
    linear.weight.set_value(matrix.astype(np.float32))
    decoder = nn.Sequential(linear, nn.Unflatten(1, [1, 2, 3]))
    found = ActivationMaximization(linear_model(weights), preprocessing=GREY).in_code_space(
        class_score(1, "logit"), decoder, z0, weight=1.0, starts=2
    )
    best = z0 + matrix @ weights[1].ravel() / 2
    assert found.codes is not None
    np.testing.assert_allclose(found.codes, [best] * 2, atol=1e-3)
    np.testing.assert_allclose(found.inputs[0].ravel(), best @ matrix, atol=1e-2)


def test_objectives_read_what_they_say(toy: Any) -> None:
    model = toy()
    x = np.random.default_rng(0).normal(size=(2, 3, 12, 12)).astype(np.float32)
    maps = Probe(model).activations(x, "4")["4"]
    logits = Probe(model).logits(x)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    maximizer = ActivationMaximization(model)
    for objective, expected in (
        (channel("4", 3), maps[:, 3].mean(axis=(1, 2))),
        (unit("4", 3), maps[:, 3, 3, 3]),
        (unit("4", 3, (0, 5)), maps[:, 3, 0, 5]),
        (class_score(1, "logit"), logits[:, 1]),
        (class_score(1), log_p[:, 1]),
    ):
        # one step so small that the history is that of the centre
        for row in range(2):
            found = maximizer.plain(
                objective, center=x[row], noise=0, weight=0, steps=1, rate=1e-12
            )
            assert found.history[0, 0] == pytest.approx(expected[row], rel=1e-4, abs=1e-5)


def test_the_log_probability_of_an_unlikely_class() -> None:
    """Logits 200 and 0: log p = -200 - log(1 + exp(-200)), and its gradient is w_1 - w_0."""
    weights = np.zeros((2, 1, 1, 2))
    weights[0, 0, 0, 0] = 200
    found = ActivationMaximization(linear_model(weights), preprocessing=GREY).plain(
        1, center=np.array([[[1.0, 0.0]]]), noise=0, weight=0, steps=1, rate=0.01
    )
    assert found.history[0, 0] == pytest.approx(-200, rel=1e-6)
    # Adam's first step is as long as the rate, along the gradient's sign
    np.testing.assert_allclose(found.inputs.ravel(), [0.99, 0], atol=1e-6)
    assert found.scores[0] == pytest.approx(-198, rel=1e-6)


def test_a_class_by_name(toy: Any) -> None:
    maximizer = ActivationMaximization(toy(), class_names=["cat", "dog", "emu", "fox", "gnu"])
    by_name, by_index = (maximizer.plain(label, (3, 12, 12), steps=2) for label in ("dog", 1))
    assert np.array_equal(by_name.inputs, by_index.inputs)
    assert by_name.objective == "class 1 (log probability)"


@pytest.mark.parametrize("method", ["plain", "regularized"])
def test_the_objective_rises_and_the_seed_decides(toy: Any, method: str) -> None:
    import paddle

    model = toy()
    model.train()
    state = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    paddle.seed(3)
    expected_draw = paddle.rand([4]).numpy()
    paddle.seed(3)
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002 - the global one must stay
    maximizer = ActivationMaximization(model)

    def run(seed: int) -> FeatureVisualization:
        options: dict[str, Any] = {"steps": 30, "starts": 2, "seed": seed}
        options |= (
            {"shape": (3, 12, 12)} if method == "plain" else {"size": 12, "padding": 1, "jitter": 1}
        )
        result: FeatureVisualization = getattr(maximizer, method)(channel("4", 1), **options)
        return result

    first, other = run(0), run(1)
    with paddle.no_grad():  # whatever surrounds it
        again = run(0)
    assert (first.history[:, -5:].min(axis=1) > first.history[:, :5].max(axis=1)).all()
    assert np.array_equal(first.inputs, again.inputs)
    assert np.array_equal(first.history, again.history)
    assert not np.array_equal(first.inputs, other.inputs)
    assert not np.array_equal(first.inputs[0], first.inputs[1])
    assert first.inputs.shape == (2, 3, 12, 12)
    assert (first.images.shape, first.images.dtype) == ((2, 12, 12, 3), np.uint8)
    assert all(layer.training for layer in model.sublayers(include_self=True))
    assert all(np.array_equal(state[name], t.numpy()) for name, t in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert np.array_equal(expected_draw, paddle.rand([4]).numpy())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002 - as above


def likeness(model: Any, x: NDArray[Any], layer: str) -> float:
    """Mean cosine of the Gram matrices of each pair, by hand."""
    maps = Probe(model).activations(x, layer)[layer]
    flat = maps.reshape(*maps.shape[:2], -1)
    grams = [(f @ f.T).ravel() / np.linalg.norm(f @ f.T) for f in flat]
    return float(np.mean([a @ b for i, a in enumerate(grams) for b in grams[:i]]))


def test_diversity_keeps_pictures_apart(toy: Any) -> None:
    model = toy()
    maximizer = ActivationMaximization(model)
    alike, apart = (
        maximizer.plain(
            channel("4", 1), (3, 12, 12), steps=40, starts=3, noise=0.5, diversity=weight
        )
        for weight in (0.0, 20.0)
    )
    assert likeness(model, apart.inputs, "4") < likeness(model, alike.inputs, "4") - 0.05
    assert apart.parameters["diversity_layer"] == "4"
    # what is ascended is the objective less the mean likeness to the others
    begin = maximizer.plain(
        channel("4", 1), (3, 12, 12), steps=1, starts=2, noise=0.5, diversity=3.0, rate=1e-9
    )
    alone = maximizer.plain(channel("4", 1), (3, 12, 12), steps=1, starts=2, noise=0.5, rate=1e-9)
    expected = alone.history[:, 0] - 3 * likeness(model, alone.inputs, "4")
    np.testing.assert_allclose(begin.history[:, 0], expected, rtol=1e-4)
    # of a class: the last layer with a height and a width
    assert maximizer.plain(0, (3, 12, 12), steps=1, diversity=1.0).parameters[
        "diversity_layer"
    ] == "5"  # fmt: skip


def test_the_network_only_sees_its_own_size(toy: Any) -> None:
    """The canvas is larger, the views and the finished picture are not."""
    from paddle import nn

    seen: list[list[int]] = []

    class Watching(nn.Layer):  # type: ignore[misc]  # Paddle has no types
        def forward(self, x: Any) -> Any:
            seen.append(list(x.shape))
            return x

    model = nn.Sequential(Watching(), nn.Flatten(), nn.Linear(3 * 10 * 12, 4))
    found = ActivationMaximization(model).regularized(1, size=(10, 12), steps=3, starts=2)
    assert {tuple(shape[1:]) for shape in seen} == {(3, 10, 12)}
    assert found.inputs.shape == (2, 3, 10, 12)
    assert found.images.shape == (2, 10, 12, 3)
    assert found.parameters["padding"] > 8
    np.testing.assert_allclose(found.scores, Probe(model).logits(found.inputs)[:, 1], rtol=1e-5)


def test_variation_makes_flatter_pictures(toy: Any) -> None:
    import paddle

    maximizer = ActivationMaximization(toy())
    options: dict[str, Any] = {"size": 16, "steps": 30, "jitter": 1, "padding": 1}
    rough, flat = (
        maximizer.regularized(channel("0", 1), variation=v, **options) for v in (0.0, 20.0)
    )
    of_flat, of_rough = (
        total_variation(paddle.to_tensor(found.inputs)).item() for found in (flat, rough)
    )
    assert of_flat < 0.5 * of_rough


def test_figure_and_files(toy: Any, tmp_path: Path) -> None:
    found = ActivationMaximization(toy()).plain(2, (3, 12, 12), steps=3, starts=5)
    figure = found.plot()
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:5] == [f"{score:.2f}" for score in found.scores]
    assert len(figure.axes) == 6
    assert len(figure.axes[-1].lines) == 5  # each start's history
    found.save(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    found.save(tmp_path / "a.npz")
    arrays, facts = read_archive(tmp_path / "a.npz")
    assert np.array_equal(arrays["inputs"], found.inputs)
    assert facts["objective"] == "class 2 (log probability)"


def test_wrong_requests(toy: Any) -> None:
    maximizer = ActivationMaximization(toy())
    shape = (3, 12, 12)
    with pytest.raises(TargetError, match="label 5 is not in"):
        maximizer.plain(5, shape)
    with pytest.raises(LayerNotFoundError):
        maximizer.plain(channel("conv", 0), shape)
    with pytest.raises(TargetError, match="channels 0 to 5; got 6"):
        maximizer.plain(channel("4", 6), shape)
    with pytest.raises(TargetError, match="no positions"):
        maximizer.plain(unit("7", 0), shape)
    with pytest.raises(TargetError, match="6 x 6"):
        maximizer.plain(unit("4", 0, (6, 0)), shape)
    with pytest.raises(InputError, match="class's index"):
        maximizer.plain(1.5, shape)  # type: ignore[arg-type]  # the mistake itself
    with pytest.raises(TargetError, match="has no class names"):
        maximizer.plain("cat", shape)
    with pytest.raises(InputError, match="give a Preprocessing"):
        ActivationMaximization(toy(), preprocessing=None)
    with pytest.raises(InputError, match="starts and steps"):
        maximizer.plain(0, shape, steps=0)
    with pytest.raises(InputError, match="center must be"):
        maximizer.plain(0, shape, center=np.zeros((12, 12)))
    with pytest.raises(InputError, match="code must be"):
        maximizer.in_code_space(0, toy(), np.zeros((2, 2)))
    with pytest.raises(InputError, match="scales"):
        maximizer.regularized(0, 12, scales=(1.1, 0.9))
    with pytest.raises(InputError, match="give shape or size"):
        ActivationMaximization(toy(), preprocessing=GREY).plain(0)
    with pytest.raises(InputError, match="a class objective"):
        class_score(0, "p")  # type: ignore[arg-type]  # the mistake itself


# -- digits --------------------------------------------------------------------------------------

FEATURES = "14"  # of the digits network: what its last layer reads, [N, 32]
CODE = 12


def with_weights(model: Any, seed: int) -> Any:
    """Dense layers from their own generator."""
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            scale = np.sqrt(2 / parameter.shape[0])
            parameter.set_value(rng.normal(0, scale, parameter.shape).astype("float32"))
    return model


def trained_decoder(model: Any, x: NDArray[np.float32]) -> Any:
    """A decoder of the classifier's features, whitened to N(0, 1).

    The generator's loss is -log D(G) + |G - x|^2 / 2 + |C(G) - code|^2 / 2.
    """
    import paddle
    import paddle.nn.functional as F
    from paddle import nn

    features = Probe(model).activations(x, FEATURES)[FEATURES].astype(np.float64)
    mean = features.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(features - mean, rowvar=False))
    whiten = (vectors[:, -CODE:] / np.sqrt(values[-CODE:])).astype(np.float32)
    codes = ((features - mean) @ whiten).astype(np.float32)
    generator = with_weights(
        nn.Sequential(
            nn.Linear(CODE, 128), nn.ReLU(), nn.Linear(128, 64), nn.Sigmoid(),
            nn.Unflatten(1, [1, 8, 8]), nn.Upsample(scale_factor=2, mode="nearest"),
        ), 0,
    )  # fmt: skip
    discriminator = with_weights(
        nn.Sequential(nn.Flatten(), nn.Linear(256, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)), 1
    )
    encoder = nn.Sequential(*list(model.children())[: int(FEATURES) + 1])
    encoder.eval()
    for parameter in encoder.parameters():
        parameter.stop_gradient = True
    offset, matrix = paddle.to_tensor(mean.astype(np.float32)), paddle.to_tensor(whiten)
    of_generator = paddle.optimizer.Adam(3e-3, parameters=generator.parameters())
    of_discriminator = paddle.optimizer.Adam(1e-3, parameters=discriminator.parameters())
    rng = np.random.default_rng(2)
    for _ in range(10):
        order = rng.permutation(len(x))
        for start in range(0, len(x) - 63, 64):
            rows = order[start : start + 64]
            real, code = paddle.to_tensor(x[rows]), paddle.to_tensor(codes[rows])
            made = generator(code)
            judged = discriminator(paddle.concat([real, made.detach()]))
            truth = paddle.concat([paddle.ones([64, 1]), paddle.zeros([64, 1])])
            F.binary_cross_entropy_with_logits(judged, truth).backward()
            of_discriminator.step()
            of_discriminator.clear_grad()
            again = (encoder(made) - offset) @ matrix
            loss = (
                -F.log_sigmoid(discriminator(made)).sum()
                + 0.5 * ((made - real) ** 2).sum()
                + 0.5 * ((again - code) ** 2).sum()
            ) / 64
            loss.backward()
            of_generator.step()
            of_generator.clear_grad()
            of_discriminator.clear_grad()
    for parameter in encoder.parameters():
        parameter.stop_gradient = False
    return in_eval(generator)


def probability(model: Any, x: NDArray[Any]) -> NDArray[np.float64]:
    logits = Probe(model).logits(x).astype(np.float64)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def test_each_digits_picture_is_that_digit_to_the_network(digits_model: Any) -> None:
    model, x, _ = digits_model
    maximizer = ActivationMaximization(model)
    for digit in range(10):
        found = maximizer.plain(digit, center=x.mean(axis=0), weight=0.01, steps=120)
        assert probability(model, found.inputs)[0, digit] > 0.99


def test_in_code_space_it_looks_like_the_digit(digits_model: Any) -> None:
    """To the eye, too: the pictures nearest to it, in pixels alone, are of that digit."""
    model, _, _ = digits_model
    x, y = _digits.digits_data()
    decoder = trained_decoder(model, x)
    maximizer = ActivationMaximization(model)
    for digit in range(10):
        found = maximizer.in_code_space(
            digit, decoder, CODE, weight=0.001, steps=120, rate=0.2, starts=8
        )
        picture = found.inputs[found.best]
        assert probability(model, picture[None])[0, digit] > 0.99
        assert 0 <= picture.min() <= picture.max() <= 1
        distance = ((x - picture) ** 2).sum(axis=(1, 2, 3))
        nearest = y[np.argsort(distance)[:5]]
        assert (nearest == digit).sum() >= 4, (digit, nearest)
