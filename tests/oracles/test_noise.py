"""SmoothGrad, its relatives and NoiseTunnel against NumPy with the same noise, and their errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from paddle import nn

import interpretdl as it
from interpretdl.interpreter.smooth_grad import NoisyMean, noise
from tests.probes import attributed, in_train

Array = NDArray[Any]
LABELS = np.array([1, 0])
STATISTICS = {
    "mean": it.SmoothGradInterpreter,
    "squared": it.SmoothGradSquaredInterpreter,
    "variance": it.VarGradInterpreter,
}


class Cubic(nn.Layer):
    """f_0 = Σ x³, f_1 = Σ x³ / 3 + 2 x, whose gradients are 3 x² and x² + 2."""

    def forward(self, x: Any) -> Any:
        import paddle

        x = x.flatten(1)
        return paddle.stack([(x**3).sum(1), (x**3 / 3 + 2 * x).sum(1)], 1)


def gradient(x: Array, label: int) -> Array:
    return np.asarray(x**2 + 2 if label else 3 * x**2)


def images(n: int = 2, size: int = 6) -> Array:
    return np.random.default_rng(1).normal(size=(n, 3, size, size))


def noisy(x: Array, i: int, n: int, amount: float = 0.1, seed: int = 0) -> Array:
    """Image i with noise from a generator of its own, drawn at once."""
    drawn = np.random.default_rng([seed, i]).standard_normal((n, *x.shape[1:]))
    return np.asarray(x[i] + amount * (x[i].max() - x[i].min()) * drawn)


def relative(a: Array, b: Array) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


# -- the noise ----------------------------------------------------------------------------------


def test_the_noise_has_its_standard_deviation() -> None:
    x = images(2, 4) * [[[[1]]], [[[3]]]]
    for kind in (np.float64, np.float32):
        draw = noise(x.astype(kind), 0.15, 3)
        for i in range(2):
            away = draw(i, range(10_000)).points - x[i].astype(kind)
            sigma = 0.15 * (x[i].max() - x[i].min())
            np.testing.assert_allclose(away.std(axis=0), sigma, rtol=0.05)
            assert away.std() == pytest.approx(sigma, rel=0.05)
            assert abs(away.mean()) < 4 * sigma / np.sqrt(away.size)
            assert away.dtype == kind


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_an_images_noise_depends_on_seed_and_position_alone(kind: Any) -> None:
    x = images(2, 5).astype(kind)
    whole = noise(x, 0.1, 7)(1, range(9)).points
    parts = noise(x, 0.1, 7)
    mixed = [parts(1, range(2)).points, parts(0, range(3)).points, parts(1, range(2, 9)).points]
    np.testing.assert_array_equal(np.concatenate([mixed[0], mixed[2]]), whole)
    np.testing.assert_array_equal(noise(x[:1], 0.1, 7)(0, range(3)).points, mixed[1])
    # b alone: at its position in another batch
    again = noise(np.stack([0 * x[1], x[1]]), 0.1, 7)(1, range(9)).points
    np.testing.assert_array_equal(again, whole)
    assert not np.array_equal(noise(x, 0.1, 8)(1, range(9)).points, whole)


# -- the methods --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STATISTICS)
def test_equals_numpy_with_the_same_noise(kind: str) -> None:
    x = images()
    found = attributed(
        STATISTICS[kind](Cubic()), x, LABELS, n_samples=20, seed=5, gradient_of="logit"
    )
    for i, label in enumerate(LABELS):
        each = gradient(noisy(x, i, 20, seed=5), label)
        if kind == "variance":
            value, unbiased = each.var(0), each.var(0, ddof=1)
            fourth = ((each - each.mean(0)) ** 4).mean(0)
            error = 19 / 20 * np.sqrt((fourth - unbiased**2 * 17 / 19) / 20)
        else:
            each = each**2 if kind == "squared" else each
            value, error = each.mean(0), each.std(0, ddof=1) / np.sqrt(20)
        np.testing.assert_allclose(found.values[i], value, rtol=1e-9)
        np.testing.assert_allclose(found.diagnostics["standard_error"][i], error, rtol=1e-5)
        size = np.linalg.norm(error) / np.linalg.norm(value)
        assert found.diagnostics["relative_error"][i] == pytest.approx(size, rel=1e-6)
    assert found.diagnostics["samples"].tolist() == [20, 20]


def test_without_noise_it_is_the_gradient_to_the_bit(toy: Any) -> None:
    model, x = toy(), images(2, 8).astype(np.float32)
    plain = it.GradientInterpreter(model, batch_size=2).explain(x, LABELS, gradient_of="logit")
    method = it.SmoothGradInterpreter(model, batch_size=2)
    smooth = method.explain(x, LABELS, noise_amount=0, gradient_of="logit", tolerance=0.1)
    np.testing.assert_array_equal(smooth.values, plain.values)
    assert not smooth.diagnostics["standard_error"].any()
    assert smooth.diagnostics["converged"].all()
    with pytest.warns(it.InterpretWarning, match="var_grad of image 0 is zero everywhere"):
        still = it.VarGradInterpreter(model).explain(x, LABELS, noise_amount=0)
    assert not still.values.any()


def test_without_noise_what_is_not_used_has_no_error() -> None:
    x = np.where(np.arange(108).reshape(1, 3, 6, 6) % 2, images(), 0)  # every second gradient is 0
    for kind, method in STATISTICS.items():
        found = attributed(method(Cubic()), x, np.zeros(2, int), "logit", noise_amount=0)
        power = {"mean": 1, "squared": 2, "variance": np.inf}[kind]
        expected = 0 * x if power == np.inf else gradient(x, 0) ** power
        np.testing.assert_allclose(found.values, expected, rtol=1e-12)
        assert found.diagnostics["standard_error"].tolist() == np.zeros(x.shape).tolist()
        assert found.diagnostics["relative_error"].tolist() == [0, 0]
        assert found.diagnostics["samples"].tolist() == [1, 1]


@pytest.mark.parametrize("kind", STATISTICS)
def test_one_sample_says_nothing_of_its_error(kind: str) -> None:
    found = attributed(STATISTICS[kind](Cubic()), images(), LABELS, "logit", n_samples=1)
    assert np.isinf(found.diagnostics["standard_error"]).all()
    assert np.isinf(found.diagnostics["relative_error"]).all()


def test_on_a_linear_model_it_is_the_weights_at_any_noise() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 2))
    model.to(dtype="float64")
    weights = model[1].weight.numpy().T[LABELS].reshape(2, 3, 6, 6)
    options = {"noise_amount": 3.0, "n_samples": 9, "gradient_of": "logit"}
    x = images()
    found = attributed(it.SmoothGradInterpreter(model), x, LABELS, **options)
    np.testing.assert_allclose(found.values, weights, rtol=1e-12)
    found = attributed(it.VarGradInterpreter(model), x, LABELS, **options)
    np.testing.assert_allclose(found.values, 0, atol=1e-20)


def test_the_error_falls_as_one_over_the_root_of_n_and_is_what_is_said() -> None:
    x = images(2, 24)
    counts, errors = [8, 32, 128, 512], []
    sigma = 0.1 * (x.max((1, 2, 3)) - x.min((1, 2, 3))).reshape(2, 1, 1, 1)
    truth = np.stack([x[0] ** 2 + 2, 3 * x[1] ** 2]) + np.array([1, 3]).reshape(2, 1, 1, 1) * (
        sigma**2
    )
    for n in counts:
        found = attributed(
            it.SmoothGradInterpreter(Cubic()), x, LABELS, n_samples=n, gradient_of="logit"
        )
        errors.append(np.sqrt(np.mean((found.values - truth) ** 2)))
        said = found.diagnostics["standard_error"]
        assert np.sqrt(np.mean(said**2)) == pytest.approx(errors[-1], rel=0.1)
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.1)


def test_the_error_of_a_variance_is_what_is_said() -> None:
    """Var[3 (x + ε)²] = 9 (4 x² σ² + 2 σ⁴)."""
    x = images(1, 24)
    square = (0.1 * (x.max() - x.min())) ** 2
    truth = 9 * (4 * x**2 * square + 2 * square**2)
    found = attributed(
        it.VarGradInterpreter(Cubic()), x, np.array([0]), n_samples=128, gradient_of="logit"
    )
    said = np.sqrt(np.mean(found.diagnostics["standard_error"] ** 2))
    assert np.sqrt(np.mean((found.values - truth) ** 2)) == pytest.approx(said, rel=0.15)


@pytest.mark.parametrize("kind", STATISTICS)
def test_tolerance_adds_samples_where_they_are_needed(kind: str) -> None:
    x = images(2, 8)
    x[0] = 3 + 0.01 * x[0]  # the gradient hardly changes under this image's noise
    method = STATISTICS[kind](Cubic())
    options: dict[str, Any] = {"gradient_of": "logit", "tolerance": 0.05}
    found = attributed(method, x, LABELS, n_samples=10, max_samples=10**5, **options)
    samples = found.diagnostics["samples"]
    assert found.diagnostics["converged"].all()
    assert (found.diagnostics["relative_error"] <= 0.05).all()
    if kind != "variance":
        assert samples[0] == 10 < samples[1]
    for i in range(2):  # as if so many had been asked for
        same = attributed(method, x, LABELS, n_samples=samples[i], gradient_of="logit")
        np.testing.assert_allclose(found.values[i], same.values[i], rtol=1e-9)
    with pytest.warns(it.InterpretWarning, match="did not meet tolerance"):
        found = attributed(method, x, LABELS, n_samples=2, max_samples=3, **options)
    assert not found.diagnostics["converged"].all()
    assert found.diagnostics["samples"].max() == 3


@pytest.mark.parametrize("size", [1, 8])  # few values have errors that are far off at first
@pytest.mark.parametrize("missed_by", [0.9, 1.01, 1.5, 2.1, 5, 10])
def test_how_many_samples_a_tolerance_adds(missed_by: float, size: int) -> None:
    """As many as errors that fall as 1/√n need; 4 times as many as there are at most."""
    x, n, tolerance = images(1, size), 2, 0.0
    while True:
        found = 3 * noisy(x, 0, n, 0.5) ** 2
        error = np.linalg.norm(found.std(axis=0, ddof=1)) / np.sqrt(n)
        error /= np.linalg.norm(found.mean(axis=0))
        tolerance = tolerance or error / missed_by
        if error <= tolerance or n == 10**4:
            break
        factor = 4 if error / tolerance > 2 else (error / tolerance) ** 2
        n = int(min(max(factor * n, n + 1), 10**4))
    method = it.SmoothGradInterpreter(Cubic())
    options: dict[str, Any] = {"noise_amount": 0.5, "n_samples": 2, "max_samples": 10**4}
    got = attributed(method, x, LABELS[1:], gradient_of="logit", tolerance=tolerance, **options)
    assert got.diagnostics["samples"].tolist() == [n]


def test_the_seed_is_0_unless_another_is_given() -> None:
    x = images()
    drawn = NoisyMean(noise_amount=0.2, n_samples=3)
    found = drawn(x, lambda rows, points: [3 * points**2], lambda: 4, "noise").values
    for i in range(2):
        expected = (3 * noisy(x, i, 3, 0.2) ** 2).mean(axis=0)
        np.testing.assert_allclose(found[i], expected, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 7, 20])
def test_cut_order_and_company_do_not_matter(toy: Any, size: int) -> None:
    x = images(2, 8).astype(np.float32)
    whole = it.SmoothGradInterpreter(toy()).explain(x, LABELS, n_samples=10).values
    cut = it.SmoothGradInterpreter(toy(), batch_size=size)
    assert relative(cut.explain(x, LABELS, n_samples=10).values, whole) < 1e-5
    alone = cut.explain(x[:1], LABELS[:1], n_samples=10).values
    assert relative(alone[0], whole[0]) < 1e-5
    planned = it.SmoothGradInterpreter(toy())
    again = [planned.explain(x, LABELS, n_samples=10).values for _ in range(3)]
    np.testing.assert_array_equal(again[0], again[1])
    np.testing.assert_array_equal(again[0], again[2])
    other = cut.explain(x, LABELS, n_samples=10, seed=1).values
    assert relative(other, whole) > 1e-3


def test_v2_is_smooth_grad_with_fewer_samples_in_a_run(toy: Any) -> None:
    sizes: list[int] = []

    class Watched(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.net = toy()

        def forward(self, x: Any) -> Any:
            sizes.append(len(x))
            return self.net(x)

    x = images(1, 8).astype(np.float32)
    plain = it.SmoothGradInterpreter(toy()).explain(x, LABELS[:1], n_samples=11)
    split = it.SmoothGradInterpreterV2(Watched(), batch_size=99)
    found = split.explain(x, LABELS[:1], n_samples=11, split=4)
    assert relative(found.values, plain.values) < 1e-5
    assert max(sizes) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise_amount": -0.1}, "noise_amount must be a number, at least 0"),
        ({"noise_amount": float("nan")}, "noise_amount must be"),
        ({"noise_amount": "0.1"}, "noise_amount must be a number"),
        ({"n_samples": True}, "n_samples must be a whole number"),
        ({"n_samples": 0}, "n_samples must be a whole number"),
        ({"tolerance": 0.1, "max_samples": 9}, "max_samples must be a number, at least 50"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"split": 0}, "split must be a whole number"),
    ],
)
def test_what_does_not_fit_is_refused(toy: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(it.InputError, match=message):
        it.SmoothGradInterpreterV2(toy()).explain(images(), **options)


# -- around any method --------------------------------------------------------------------------


def test_around_the_gradient_the_tunnel_is_smooth_grad() -> None:
    x = images()
    tunnel = it.NoiseTunnel(it.GradientInterpreter(Cubic()))
    for kind, cls in STATISTICS.items():
        got = attributed(tunnel, x, LABELS, kind=kind, n_samples=9, seed=2)
        expected = attributed(cls(Cubic()), x, LABELS, n_samples=9, seed=2, gradient_of="logit")
        np.testing.assert_allclose(got.values, expected.values, rtol=1e-12)
        np.testing.assert_allclose(
            got.diagnostics["standard_error"], expected.diagnostics["standard_error"], rtol=1e-6
        )


def test_around_grad_cam_it_is_the_mean_of_maps(toy: Any) -> None:
    x = images(2, 8).astype(np.float32)
    inner = it.GradCAMInterpreter(toy(), batch_size=5)
    found = it.NoiseTunnel(inner).explain(
        x, LABELS, n_samples=6, options={"target_layer_name": "4"}
    )
    draw = noise(x, 0.1, 0)
    for i, label in enumerate(LABELS):
        maps = [
            attributed(
                inner, draw(i, range(k, k + 1)).points, np.array([label]), target_layer_name="4"
            ).values
            for k in range(6)
        ]
        assert relative(found.values[i], np.mean(maps, axis=0)[0]) < 1e-5
    assert found.method == "noise_tunnel(grad_cam)"
    assert found.values.shape == (2, 4, 4)
    assert not found.signed
    times = it.NoiseTunnel(it.GradientInterpreter(toy()))
    assert times.explain(x, n_samples=2, options={"times_input": True}).signed
    squares = times.explain(x, n_samples=2, kind="squared", options={"times_input": True})
    assert not squares.signed


def test_around_a_random_method_every_sample_has_its_own_numbers(toy: Any) -> None:
    x = images(2, 8).astype(np.float32)
    options = {"n_samples": 2}
    found = [
        it.NoiseTunnel(it.SmoothGradInterpreter(toy(), batch_size=size)).explain(
            x[:n], LABELS[:n], noise_amount=amount, n_samples=3, options=options
        )
        for size, n, amount in ((1, 2, 0.1), (7, 2, 0.1), (7, 1, 0.1))
    ]
    assert relative(found[1].values, found[0].values) < 1e-5
    assert relative(found[2].values[0], found[0].values[0]) < 1e-5
    assert (found[0].diagnostics["standard_error"] > 0).any()


def test_every_sample_has_a_seed_of_its_own(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inner, seeds = it.SmoothGradInterpreter(toy()), []

    def attribute(x: Array, target: Any, *, seed: int) -> Array:
        seeds.extend([seed] * len(x))
        return x

    monkeypatch.setattr(inner, "attribute", attribute)
    x = images(2, 8).astype(np.float32)
    it.NoiseTunnel(inner).explain(x, LABELS, n_samples=4)
    assert len(set(seeds)) == len(seeds) == 8


def test_a_tunnel_around_a_tunnel_and_around_nothing(toy: Any) -> None:
    x = images(1, 8).astype(np.float32)
    inner = it.NoiseTunnel(it.GradientInterpreter(toy()))
    found = it.NoiseTunnel(inner).explain(x, n_samples=2, options={"n_samples": 3})
    assert found.method == "noise_tunnel(noise_tunnel(gradient))"
    with pytest.raises(TypeError, match="gradient has no option 'steps'; it has times_input"):
        inner.explain(x, options={"steps": 3})
    with pytest.raises(it.InputError, match="kind must be one of"):
        inner.explain(x, kind="median")
    with pytest.raises(it.InputError, match="goes around an interpreter"):
        it.NoiseTunnel(toy())


def test_ctrl_c_in_the_tunnel_leaves_the_model_as_it_was(toy: Any) -> None:
    model, runs = in_train(toy()), 0

    def target(output: Any) -> Any:
        nonlocal runs
        runs += 1
        if runs > 3:
            raise KeyboardInterrupt
        return output[:, 0]

    before = {name: value.numpy() for name, value in model.state_dict().items()}
    with pytest.raises(KeyboardInterrupt):
        it.NoiseTunnel(it.GradCAMInterpreter(model, batch_size=2)).explain(
            images(2, 8).astype(np.float32), target
        )
    assert all(layer.training for layer in model.sublayers())
    assert not any(layer._forward_post_hooks for layer in model.sublayers())
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
