"""Expected gradients and GradShap against NumPy with the same draws, and what must add up."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from paddle import nn

import interpretdl as it
from interpretdl.interpreter.expected_gradients import expectation, lines
from interpretdl.interpreter.integrated_gradients import quadrature
from interpretdl.interpreter.layer_function import LayerFunction
from interpretdl.targets import ClassScore
from tests.probes import attributed, in_train

Array = NDArray[Any]
SHAPE = (3, 4, 5)
LABELS = np.array([1, 3])


class Net(nn.Layer):
    """Dense, tanh, dense, and its logits' gradients in NumPy."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.v = rng.normal(0, 0.3, (math.prod(SHAPE), 8))
        self.w = rng.normal(0, 1, (8, 4))
        self.flat = nn.Flatten()
        self.first = nn.Linear(len(self.v), 8)
        self.act = nn.Tanh()
        self.last = nn.Linear(8, 4)
        self.to(dtype="float64")
        self.first.weight.set_value(self.v)
        self.last.weight.set_value(self.w)
        self.counts = Counter[str]()  # shared with the copy that the probe runs

    @property
    def rows(self) -> int:
        return self.counts["rows"]

    @property
    def runs(self) -> int:
        return self.counts["runs"]

    def forward(self, x: Any) -> Any:
        self.counts["rows"] += len(x)
        self.counts["runs"] += 1
        return self.last(self.act(self.first(self.flat(x))))

    def hidden(self, x: Array) -> Array:
        return np.asarray(x.reshape(len(x), -1) @ self.v)

    def logits(self, x: Array) -> Array:
        return np.asarray(np.tanh(self.hidden(x)) @ self.w)

    def gradient(self, x: Array, label: int) -> Array:
        slope = 1 - np.tanh(x.ravel() @ self.v) ** 2
        return np.asarray((self.v @ (slope * self.w[:, label])).reshape(x.shape))

    def gradient_at_hidden(self, h: Array, label: int) -> Array:
        return np.asarray((1 - np.tanh(h) ** 2) * self.w[:, label])


def images(n: int = 2, seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(size=(n, *SHAPE))


BACKGROUND = images(7, seed=2)


def slow(
    gradient: Any, ends: Array, begins: Array, image: int, n: int, sigma: float, seed: int
) -> tuple[Array, Array]:
    """Mean and standard error: for each sample a background, a place and noise, in this order."""
    rng, samples = np.random.default_rng([seed, image]), []
    for _ in range(n):
        begin, t = begins[rng.integers(len(begins))], rng.random()
        end = ends[image] + (sigma * rng.standard_normal(ends[image].shape) if sigma else 0)
        samples.append(gradient(t * end + (1 - t) * begin) * (end - begin))
    return np.mean(samples, axis=0), np.std(samples, axis=0, ddof=1) / np.sqrt(n)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("layer", [None, "act", "first"])
def test_equals_numpy_with_the_same_draws(layer: str | None, smoothing: float) -> None:
    net, x = Net(), images()
    found = attributed(
        it.ExpectedGradientsInterpreter(net, BACKGROUND, batch_size=6),
        x,
        LABELS,
        nsamples=15,
        local_smoothing=smoothing,
        layer=layer,
        seed=3,
    )
    for i, label in enumerate(LABELS):
        if layer == "act":  # its input is the hidden layer's output
            ends, begins = net.hidden(x), net.hidden(BACKGROUND)
            mean, error = slow(
                lambda h, c=label: net.gradient_at_hidden(h, c), ends, begins, i, 15, smoothing, 3
            )
        else:
            ends, begins = x, BACKGROUND
            if layer == "first":
                ends, begins = x.reshape(2, -1), BACKGROUND.reshape(7, -1)
            mean, error = slow(
                lambda p, c=label: net.gradient(p, c), ends, begins, i, 15, smoothing, 3
            )
        np.testing.assert_allclose(found.values[i], mean, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.diagnostics["standard_error"][i], error, rtol=1e-5)
        assert found.diagnostics["sum"][i] == pytest.approx(mean.sum(), rel=1e-9)
    assert found.diagnostics["samples"].tolist() == [15, 15]


def test_one_baseline_on_a_fixed_grid_is_integrated_gradients() -> None:
    net, x = Net(), images()
    method = it.IntegratedGradientsInterpreter(net)
    path = attributed(
        method, x, LABELS, baselines=BACKGROUND[0], steps=12, gradient_of="logit"
    ).values
    space, nodes = LayerFunction(method.probe, x), quadrature("midpoint", 12)[0]
    sampler = lines(x, lambda i: BACKGROUND[:1], np.zeros(2), seed=0, times=nodes)
    moments = expectation(space, [ClassScore(LABELS)], sampler, 12, "test")[0]
    np.testing.assert_allclose(moments.mean, path, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("layer", [None, "act"])
def test_the_sum_is_the_score_less_the_backgrounds_mean(layer: str | None) -> None:
    net, x = Net(), images(4)
    labels = np.array([0, 1, 2, 3])
    facts = attributed(
        it.ExpectedGradientsInterpreter(net, BACKGROUND), x, labels, nsamples=400, layer=layer
    ).diagnostics
    rise = net.logits(x)[range(4), labels] - net.logits(BACKGROUND)[:, labels].mean(axis=0)
    error = facts["sum_standard_error"]
    assert (np.abs(facts["sum"] - rise) < 4 * error).all()
    assert (error < 0.2 * np.abs(net.logits(x)).max()).all()


def test_the_standard_error_is_what_repetitions_show() -> None:
    net, x = Net(), images(1)
    method = it.ExpectedGradientsInterpreter(net, BACKGROUND)
    runs = [attributed(method, x, LABELS[:1], nsamples=25, seed=s) for s in range(60)]
    spread = np.std([run.values for run in runs], axis=0, ddof=1)
    said = np.sqrt(np.mean([run.diagnostics["standard_error"] ** 2 for run in runs], axis=0))
    assert np.linalg.norm(said) == pytest.approx(np.linalg.norm(spread), rel=0.15)


@pytest.mark.parametrize(
    ("order", "key"), [("max", lambda z: -z), ("min", lambda z: z), ("max_abs", lambda z: -abs(z))]
)
def test_ranked_outputs(order: Any, key: Any) -> None:
    net, x = Net(), images()
    method = it.ExpectedGradientsInterpreter(net, BACKGROUND, batch_size=5)
    found = method.shap_values(x, 10, 2, order, seed=6)
    assert found.values.shape == found.standard_errors.shape == (2, 2, *SHAPE)
    assert found.values.dtype == found.standard_errors.dtype == np.float32
    assert found.images.shape == (2, 4, 5, 3)
    np.testing.assert_array_equal(found.indexes, np.argsort(key(net.logits(x)), axis=1)[:, :2])
    for k in range(2):  # every class has the same draws as if it were alone
        alone = attributed(method, x, found.indexes[:, k], nsamples=10, seed=6)
        np.testing.assert_allclose(found.values[:, k], alone.values, rtol=1e-5, atol=1e-7)
        error = alone.diagnostics["standard_error"]
        np.testing.assert_allclose(found.standard_errors[:, k], error, rtol=1e-5, atol=1e-7)


def test_all_classes_share_the_forward_passes() -> None:
    net, x = Net(), images()
    found = it.ExpectedGradientsInterpreter(net, BACKGROUND, batch_size=4).shap_values(x, 10)
    assert found.indexes.tolist() == [[0, 1, 2, 3]] * 2
    assert net.rows == 2 * 10 + 2  # the samples, and the images for their ranking
    assert net.runs == 6 + 1


@pytest.mark.parametrize("layer", [None, "4"])
@pytest.mark.parametrize("size", [1, 7, 24])
def test_the_cut_and_the_company_do_not_matter(toy: Any, size: int, layer: str | None) -> None:
    rng = np.random.default_rng(0)
    x, background = (rng.normal(size=(n, 3, 8, 8)).astype(np.float32) for n in (2, 5))
    whole, cut = (
        attributed(
            it.ExpectedGradientsInterpreter(toy(), background, batch_size=n),
            x,
            LABELS,
            nsamples=12,
            layer=layer,
        )
        for n in (None, size)
    )
    assert np.linalg.norm(cut.values - whole.values) <= 1e-5 * np.linalg.norm(whole.values)
    method = it.ExpectedGradientsInterpreter(toy(), background, batch_size=size)
    alone = attributed(method, x[:1], LABELS[:1], nsamples=12, layer=layer)
    assert np.linalg.norm(alone.values[0] - whole.values[0]) <= 1e-5 * np.linalg.norm(whole.values)


def test_a_layer_is_asked_without_what_comes_before(toy: Any) -> None:
    rng = np.random.default_rng(0)
    x, background = (rng.normal(size=(n, 3, 8, 8)).astype(np.float32) for n in (1, 3))
    model, rows = toy(), []
    model[0].register_forward_post_hook(lambda layer, inputs, output: rows.append(len(output)))
    method = it.ExpectedGradientsInterpreter(model, background, batch_size=8)
    found = method.explain(x, 2, nsamples=40, layer="6")
    assert found.values.shape == (1, 6, 4, 4)
    assert sum(rows) < 20  # of 40 samples


def test_background_in_any_form(root: Path, toy: Any) -> None:
    paths = [root / "assets" / name for name in ("chelsea.png", "coffee.png")]
    small = it.Preprocessing(resize=16, crop=16)
    method = it.ExpectedGradientsInterpreter(toy(), paths, preprocessing=small)
    assert method.background is not None
    assert method.background.shape == (2, 3, 16, 16)
    assert method.explain(paths[0], nsamples=3).values.shape == (1, 3, 16, 16)
    with pytest.raises(it.InputError, match=r"inputs are \[3, 16, 16\], the images' \[3, 8, 8\]"):
        method.explain(np.zeros((1, 3, 8, 8), np.float32))


def test_the_default_background_is_five_greys() -> None:
    net, x = Net(), images()
    grey = np.array([0, 64, 128, 191, 255]) / 255
    expected = (grey.reshape(5, 1, 1, 1) - np.reshape(it.IMAGENET.mean, (3, 1, 1))) / np.reshape(
        it.IMAGENET.std, (3, 1, 1)
    )
    plain = np.broadcast_to(expected, (5, *SHAPE))
    got, same = (
        attributed(it.ExpectedGradientsInterpreter(net, b), x, LABELS, nsamples=9).values
        for b in (None, plain)
    )
    np.testing.assert_allclose(got, same, atol=0.02 * np.abs(same).max())  # 64/255 is not 1/4
    with pytest.raises(
        it.InputError, match="background=None needs to know what black and white are"
    ):
        attributed(it.ExpectedGradientsInterpreter(net), x[:, :2], LABELS)


@pytest.mark.parametrize("baselines", [None, "several", "each"])
def test_grad_shap_equals_numpy(baselines: str | None) -> None:
    net, x = Net(), images()
    low = it.IMAGENET.bounds()[0].astype(np.float64)
    begins = {
        None: [np.broadcast_to(low, (1, *SHAPE))] * 2,
        "several": [BACKGROUND[:2]] * 2,
        "each": [BACKGROUND[:1], BACKGROUND[1:2]],
    }[baselines]
    given: Any = {None: None, "several": list(BACKGROUND[:2]), "each": BACKGROUND[:2]}[baselines]
    found = attributed(
        it.GradShapCVInterpreter(net),
        x,
        LABELS,
        baselines=given,
        n_samples=11,
        seed=4,
        gradient_of="logit",
    )
    for i, label in enumerate(LABELS):
        sigma = 0.1 * (x[i].max() - x[i].min())
        mean, error = slow(
            lambda p, c=label: net.gradient(p, c), x, np.asarray(begins[i]), i, 11, sigma, 4
        )
        np.testing.assert_allclose(found.values[i], mean, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(found.diagnostics["standard_error"][i], error, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nsamples": 0}, "nsamples must be a whole number"),
        ({"local_smoothing": -1}, "local_smoothing must be a number, at least 0"),
        ({"ranked_outputs": 5}, "ranked_outputs must be from 1 to 4"),
        ({"ranked_outputs": 0}, "ranked_outputs must be from 1 to 4"),
        ({"output_rank_order": "top"}, "output_rank_order must be one of"),
        ({"seed": "x"}, "seed must be a whole number"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(it.InputError, match=message):
        it.ExpectedGradientsInterpreter(Net(), BACKGROUND).shap_values(images(), **options)
    with pytest.raises(it.LayerNotFoundError, match="did you mean 'act'"):
        it.ExpectedGradientsInterpreter(Net(), BACKGROUND).shap_values(images(), layer="atc")


def test_too_little_memory_for_a_chunk_of_a_layers_values_halves_it() -> None:
    class Small(Net):
        most = 3

        def forward(self, x: Any) -> Any:
            h = self.act(self.first(self.flat(x)))
            if len(h) > self.most:
                raise MemoryError
            return self.last(h)

    whole, halved = (
        attributed(
            it.ExpectedGradientsInterpreter(net, BACKGROUND, batch_size=8),
            images(),
            LABELS,
            nsamples=10,
            layer="act",
        )
        for net in (Net(), Small())
    )
    np.testing.assert_allclose(halved.values, whole.values, rtol=1e-9, atol=1e-14)


def test_ctrl_c_leaves_the_model_as_it_was() -> None:
    net, runs = in_train(Net()), 0

    def stop(layer: Any, inputs: Any, output: Any) -> None:
        nonlocal runs
        runs += 1
        if runs > 6:
            raise KeyboardInterrupt

    net.act.register_forward_post_hook(stop)
    frozen = [p.stop_gradient for p in net.parameters()]
    with pytest.raises(KeyboardInterrupt):
        attributed(
            it.ExpectedGradientsInterpreter(net, BACKGROUND, batch_size=2),
            images(),
            LABELS,
            nsamples=50,
            layer="last",
        )
    assert all(layer.training for layer in net.sublayers())
    assert [p.stop_gradient for p in net.parameters()] == frozen
    assert [len(layer._forward_post_hooks) for layer in net.sublayers()] == [0, 0, 1, 0]
    assert not any(layer._forward_pre_hooks for layer in net.sublayers())


def test_pictures_that_cannot_be_read_are_told(tmp_path: Any, toy: Any) -> None:
    """As `explain` does; they used to be left out without a word."""
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not a picture")
    good = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    background = np.zeros((1, 3, 12, 12), np.float32)
    plain = it.Preprocessing(None, None)
    method = it.ExpectedGradientsInterpreter(toy(), background, preprocessing=plain)
    with pytest.warns(it.InterpretWarning, match=r"input 0 is left out: .*bad\.png") as warned:
        found = method.shap_values([bad, good], nsamples=2)
    assert warned[0].filename == __file__
    assert found.values.shape == (1, 5, 3, 12, 12)
    with pytest.warns(it.InterpretWarning, match="input 1 is left out"):
        it.ExpectedGradientsInterpreter(toy(), [good, bad], preprocessing=plain)
