"""Inputs that are not pictures: volumes, tables, series, indexes, and several inputs at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

import interpretdl as it
from interpretdl import Probe
from tests.probes import Array, Run

RNG = np.random.default_rng(5)
SHAPES = {"table": (3, 7), "series": (3, 6, 4), "volume": (3, 2, 4, 5, 3)}
EVERY: dict[str, Callable[[Any], Any]] = {
    "gradient": it.GradientInterpreter,
    "simple_taylor": it.SimpleTaylorInterpreter,
    "smooth_grad": it.SmoothGradInterpreter,
    "integrated_gradients": it.IntegratedGradientsInterpreter,
    "deep_lift": it.DeepLIFTInterpreter,
    "lrp": it.LRPInterpreter,
}


def numbers(model: Any, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.set_value(rng.normal(0, 0.5, parameter.shape).astype("float32"))
    model.eval()
    return model


def network(kind: str) -> Any:
    """A small network for that kind of input, with a kink in the middle."""
    size = int(np.prod(SHAPES[kind][1:]))
    if kind == "volume":
        layers = [nn.Conv3D(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(180, 4)]
    elif kind == "series":
        layers = [nn.Linear(4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(30, 4)]
    else:
        layers = [nn.Linear(size, 9), nn.ReLU(), nn.Linear(9, 4)]
    return numbers(nn.Sequential(*layers))


def inputs(kind: str) -> Array:
    return RNG.normal(size=SHAPES[kind]).astype(np.float32)


def differences(model: Any, x: Array, labels: Any, step: float = 1e-3) -> Array:
    """Central finite differences of the logits, in float64."""
    model.to(dtype="float64")
    found = np.empty(x.shape)
    rows = np.arange(len(x))
    for place in np.ndindex(x.shape[1:]):
        moved = []
        for sign in (1, -1):
            y = x.astype(np.float64)
            y[(slice(None), *place)] += sign * step
            with paddle.no_grad():
                moved.append(model(paddle.to_tensor(y)).numpy()[rows, labels])
        found[(slice(None), *place)] = (moved[0] - moved[1]) / (2 * step)
    model.to(dtype="float32")
    return found


@pytest.mark.parametrize("kind", SHAPES)
def test_the_gradient_is_that_of_finite_differences(kind: str) -> None:
    model, x = network(kind), inputs(kind)
    explained = it.GradientInterpreter(model, preprocessing=None).explain(x)
    expected = differences(model, x, explained.labels, 1e-6)
    np.testing.assert_allclose(explained.values, expected, rtol=1e-3, atol=1e-4)
    assert explained.images is None
    logits = Probe(model).logits(x)
    np.testing.assert_allclose(explained.scores, logits.max(1), rtol=1e-6)
    with pytest.raises(it.InputError, match="no pictures"):
        explained.plot()
    with pytest.raises(it.InputError, match="no pictures"):
        explained.heatmap()
    assert "<img" not in explained._repr_html_()


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("method", EVERY)
def test_on_a_linear_model_the_methods_agree_with_its_weights(method: str, kind: str) -> None:
    """Attributions from zero are weight times input, sensitivities the weights."""
    size, x = int(np.prod(SHAPES[kind][1:])), inputs(kind)
    model = numbers(nn.Sequential(nn.Flatten(), nn.Linear(size, 4)))
    model[1].bias.set_value(np.zeros(4, np.float32))
    weights = model[1].weight.numpy().T.reshape(4, *SHAPES[kind][1:])
    options = {"composite": "epsilon"} if method == "lrp" else {}
    interpreter = EVERY[method](model, preprocessing=None)
    found = interpreter.explain(x, label=[0, 3, 1], gradient_of="logit", **options)
    expected = weights[[0, 3, 1]]
    if method not in ("gradient", "smooth_grad"):
        expected = expected * x
    np.testing.assert_allclose(found.values, expected, rtol=2e-4, atol=1e-5)


def test_expected_gradients_of_a_table_are_differences_from_the_background() -> None:
    model = numbers(nn.Sequential(nn.Linear(7, 4)))
    x, background = inputs("table"), RNG.normal(size=(5, 7)).astype(np.float32)
    method = it.ExpectedGradientsInterpreter(model, background[:1], preprocessing=None)
    found = method.explain(x, label=2, nsamples=4)
    expected = model[0].weight.numpy()[:, 2] * (x - background[0])
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-5)
    shap = it.ExpectedGradientsInterpreter(model, background, preprocessing=None)
    values = shap.shap_values(x, nsamples=6, ranked_outputs=2)
    assert values.values.shape == (3, 2, 7)
    assert values.images is None
    with pytest.raises(it.InputError, match="black and white"):
        it.ExpectedGradientsInterpreter(model, preprocessing=None).explain(x)


def test_baselines_of_tables() -> None:
    model, x = network("table"), inputs("table")
    method = it.DeepLIFTInterpreter(model, preprocessing=None)
    logits = Probe(model).logits(x)[:, 1]
    given = {
        "mean": np.broadcast_to(x.mean(1, keepdims=True), x.shape),
        "zeros": np.zeros_like(x),
    }
    for name, base in given.items():
        found = method.explain(x, label=1, baselines="mean" if name == "mean" else None)
        rise = logits - Probe(model).logits(base.astype(np.float32))[:, 1]
        np.testing.assert_allclose(found.values.sum(1), rise, rtol=1e-4, atol=1e-5)
        same = method.explain(x, label=1, baselines=base.astype(np.float32))
        np.testing.assert_allclose(found.values, same.values, rtol=1e-5, atol=1e-7)
    for name in ("white", "blur", "random"):
        with pytest.raises(it.InputError, match="black and white"):
            method.explain(x, baselines=name)


def test_lrp_on_a_volume_conserves() -> None:
    model, x = network("volume"), inputs("volume")
    for layer in (model[0], model[3]):
        layer.bias.set_value(np.zeros_like(layer.bias.numpy()))
    found = it.LRPInterpreter(model, preprocessing=None).explain(x, composite="epsilon")
    assert found.values.shape == x.shape
    sums = found.values.reshape(3, -1).sum(1)
    np.testing.assert_allclose(sums, found.scores, rtol=1e-3)


def test_what_is_no_picture_is_met_without_being_said() -> None:
    """A float array that cannot be pictures, where nothing says how pictures are read."""
    model, x = network("table"), inputs("table")
    found = it.GradientInterpreter(model).explain(x)
    said = it.GradientInterpreter(model, preprocessing=None).explain(x)
    np.testing.assert_array_equal(found.values, said.values)
    with pytest.raises(it.InputError, match=r"grad_cam explains pictures.*\[3, 7\]"):
        it.GradCAMInterpreter(model).explain(x)
    x[1, 3] = np.nan
    with pytest.raises(it.InputError, match=r"nan at \(1, 3\)"):
        it.GradientInterpreter(model).explain(x)
    with pytest.raises(it.InputError, match="no preprocessing for pictures"):
        it.GradientInterpreter(model, preprocessing=None).explain("cat.png")
    with pytest.raises(it.InputError, match="preprocessing must be"):
        it.GradientInterpreter(model, preprocessing="imagenet")  # type: ignore[arg-type]


def test_explanations_of_arrays_are_saved_and_read(tmp_path: Any) -> None:
    found = it.GradientInterpreter(network("series"), preprocessing=None).explain(inputs("series"))
    found.save(tmp_path / "a.npz")
    again = it.Explanation.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(again.values, found.values)
    assert again.images is None
    assert repr(again.target) == repr(found.target)
    assert [one.values.shape for one in found] == [(1, 6, 4)] * 3


# -- several inputs, and indexes -------------------------------------------------------------------


class Sentences(nn.Layer):
    """Token ids and a weight for each token; the mean of their embeddings, classified."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.hidden = nn.Linear(6, 8)
        self.last = nn.Linear(8, 3)

    def forward(self, ids: Any, weights: Any = None) -> Any:
        words = self.embedding(ids)
        if weights is not None:
            words = words * weights.unsqueeze(-1)
        return self.last(paddle.tanh(self.hidden(words).mean(axis=1)))


def sentences() -> tuple[Any, Array, Array]:
    ids = RNG.integers(0, 11, (5, 4))
    return numbers(Sentences()), ids, RNG.uniform(0.5, 1.5, (5, 4)).astype(np.float32)


@pytest.mark.parametrize("batch_size", [None, 2])
def test_indexes_and_floats_together(batch_size: int | None) -> None:
    model, ids, weights = sentences()
    probe, target = Probe(model, batch_size=batch_size), it.ClassScore([0, 1, 2, 0, 1])
    by_order = probe.gradients((ids, weights), target)
    by_name = probe.gradients({"weights": weights, "ids": ids}, target)
    assert by_order.input[0] is None
    assert by_name.input["ids"] is None
    np.testing.assert_array_equal(by_order.input[1], by_name.input["weights"])
    expected = np.empty(weights.shape)
    for t in range(4):
        moved = []
        for sign in (1, -1):
            w = weights.copy()
            w[:, t] += sign * 1e-2
            moved.append(probe.scores((ids, w), target))
        expected[:, t] = (moved[0] - moved[1]) / 2e-2
    np.testing.assert_allclose(by_order.input[1], expected, rtol=2e-2, atol=1e-3)
    np.testing.assert_array_equal(by_order.scores, probe.scores((ids, weights), target))


def test_the_gradient_at_an_embedding() -> None:
    model, ids, _ = sentences()
    probe = Probe(model, batch_size=5)  # all rows together, as the edit below has them
    found = probe.gradients(ids, it.ClassScore(1), at="embedding")
    values, slope = found.activations["embedding"], found.gradients["embedding"]
    assert values.shape == (5, 4, 6)
    direction = RNG.normal(size=values.shape).astype(np.float32)
    change = paddle.to_tensor(direction)
    moved = [
        probe.scores(ids, it.ClassScore(1), edit={"embedding": lambda y, s=s: y + s * change})
        for s in (1e-2, -1e-2)
    ]
    np.testing.assert_allclose(
        (slope * direction).sum((1, 2)), (moved[0] - moved[1]) / 2e-2, rtol=2e-2, atol=1e-3
    )
    with pytest.raises(it.InputError, match="at=, such as an embedding"):
        probe.gradients(ids, it.ClassScore(1))


def test_class_indexes_are_a_target() -> None:
    model, x = network("table"), inputs("table")
    probe = Probe(model)
    logits = probe.logits(x)
    np.testing.assert_array_equal(probe.scores(x, np.array([0, 2, 1])), logits[range(3), [0, 2, 1]])
    np.testing.assert_array_equal(probe.scores(x, 3), logits[:, 3])
    for wrong in ([0.5, 1.0, 2.0], "cat", [True, False, True]):
        with pytest.raises(it.TargetError):
            probe.scores(x, wrong)


def test_a_model_that_gives_pixels_no_chance_says_so(toy: Any) -> None:
    """Pictures of one channel, with and without their last axis, and bytes where floats belong."""
    grey = it.Preprocessing(None, None, mean=(0.5,), std=(0.5,))
    method = it.GradientInterpreter(toy(channels=1), preprocessing=grey)
    pixels = RNG.integers(0, 256, (16, 16, 1), dtype=np.uint8)
    one, other = method.explain(pixels).values, method.explain(pixels[..., 0]).values
    np.testing.assert_array_equal(one, other)
    for wrong in (pixels.transpose(2, 0, 1)[None], pixels[None, ..., 0]):
        with pytest.raises(it.InputError):
            Probe(toy(channels=1)).logits(wrong)


def test_two_inputs_for_a_model_of_one() -> None:
    model = Run(lambda self, x: self.last(x), last=nn.Linear(7, 2))
    x = inputs("table")
    with pytest.raises(it.InputError, match="as many rows"):
        Probe(model).logits((x, x[:2]))
    with pytest.raises(it.UnsupportedModelError, match="one input"):
        Probe(sentences()[0]).gradients(
            sentences()[1:], it.ClassScore(0), rules=it.rules.COMPOSITES["epsilon"]
        )
