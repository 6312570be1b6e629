"""Networks on which gradients are easily wrong: transformers, recurrent, detectors, exported."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import nn

import interpretdl as it
from interpretdl import ClassScore, Probe
from interpretdl.testing import differences, state_of
from tests.paddle_models import MODELS, convnext, crnn, resnet, vit

Array = NDArray[Any]
LABELS = np.array([1, 3])


def images(dtype: Any = np.float64) -> Array:
    return np.random.default_rng(1).normal(size=(2, 3, 32, 32)).astype(dtype)


def score(model: Any, output: Any, x: Array) -> Array:
    with paddle.no_grad():
        y = model(paddle.to_tensor(x))
    y = y if output is None else output(y)
    return np.asarray(y.numpy())[range(len(x)), LABELS]


def along(model: Any, output: Any, x: Array, direction: Array, step: float = 1e-5) -> Array:
    """The slope of the scores, by central differences of fourth order."""
    ahead, far = (
        score(model, output, x + h * direction) - score(model, output, x - h * direction)
        for h in (step, 2 * step)
    )
    return np.asarray((8 * ahead - far) / (12 * step))


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_finite_differences(name: str) -> None:
    make, output = MODELS[name]
    model, x = make(dtype="float64"), images()
    found = Probe(model, output=output).gradients(x, ClassScore(LABELS)).input
    shown = it.GradientInterpreter(model, output=output, preprocessing=None).explain(x, LABELS)
    sizes = np.linalg.norm(found.reshape(2, -1), axis=1)
    np.testing.assert_allclose(shown.values, found, rtol=1e-5, atol=1e-6 * sizes.min())
    rng = np.random.default_rng(2)
    for _ in range(3):
        direction = rng.normal(size=x.shape)
        slope = along(model, output, x, direction)
        np.testing.assert_allclose(
            (found * direction).sum(axis=(1, 2, 3)), slope, rtol=1e-6, atol=1e-6 * sizes.max()
        )


@pytest.mark.parametrize("name", MODELS)
def test_integrated_gradients_complete(name: str) -> None:
    make, output = MODELS[name]
    model, x = make(dtype="float64"), images()
    start = np.zeros_like(x)
    method = it.IntegratedGradientsInterpreter(model, output=output, preprocessing=None)
    steps = 400 if name == "tnt" else 100  # norms of four numbers, which bend sharply
    found = method.explain(x, LABELS, baselines=start, steps=steps, gradient_of="logit")
    difference = score(model, output, x) - score(model, output, start)
    np.testing.assert_allclose(found.values.sum(axis=(1, 2, 3)), difference, rtol=1e-2)


# -- exported --------------------------------------------------------------------------------------


def exported(model: Any, folder: Path) -> Any:
    """What paddle.jit.load gives for a model that was saved."""
    spec = [paddle.static.InputSpec([None, 3, 32, 32], "float32")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Paddle's own
        paddle.jit.save(model, str(folder / "model"), input_spec=spec)
        return paddle.jit.load(str(folder / "model"))


METHODS: dict[str, dict[str, Any]] = {
    "gradient": {},
    "integrated_gradients": {"steps": 4, "baselines": np.zeros((3, 32, 32), np.float32)},
    "smooth_grad": {"n_samples": 3},
    "simple_taylor": {},
}


@pytest.mark.parametrize("name", ["resnet", "vit", "convnext", "detector"])
@pytest.mark.parametrize("frozen", [False, True])
def test_an_exported_model_is_explained_as_the_model(
    name: str, frozen: bool, tmp_path: Path
) -> None:
    make, output = MODELS[name]
    model, x = make(), images(np.float32)
    for parameter in model.parameters():  # of what is saved depends what Paddle's backward gives
        parameter.stop_gradient = frozen
    program = exported(model, tmp_path)
    expected = Probe(model, output=output).gradients(x, ClassScore(LABELS))
    for mode in ("eval", "train"):  # the second goes through batch-norm's and dropout's own modes
        getattr(program, mode)()
        before = state_of(program)
        found = Probe(program, output=output).gradients(x, ClassScore(LABELS))
        np.testing.assert_allclose(found.outputs, expected.outputs, rtol=1e-5, atol=1e-6)
        size = abs(expected.input).max()
        np.testing.assert_allclose(found.input, expected.input, rtol=1e-4, atol=1e-5 * size)
        assert differences(before, state_of(program)) == []
    assert [p.stop_gradient for p in program.parameters()] == [
        p.stop_gradient for p in exported(model, tmp_path).parameters()
    ]


@pytest.mark.parametrize("name", METHODS)
def test_methods_on_an_exported_model(name: str, tmp_path: Path) -> None:
    model, x, method = resnet(), images(np.float32), it.registry.find(name)
    setup = method.setup(model, x) if method.setup else {}
    shown, expected = (
        method.cls(m, preprocessing=None, **setup).explain(x, LABELS, **METHODS[name])
        for m in (exported(model, tmp_path), model)
    )
    assert abs(expected.values).max() > 0
    size = abs(expected.values).max()
    np.testing.assert_allclose(shown.values, expected.values, rtol=1e-4, atol=1e-5 * size)


@pytest.mark.parametrize(
    "explain",
    [
        lambda model, x: it.LRPInterpreter(model).explain(x),
        lambda model, x: it.GuidedBPInterpreter(model).explain(x),
        lambda model, x: it.DeepLIFTInterpreter(model).explain(x),
        lambda model, x: it.GradCAMInterpreter(model).explain(x),
        lambda model, x: it.GradCAMInterpreter(model).explain(x, target_layer_name="blocks"),
        lambda model, x: Probe(model).activations(x, "blocks"),
        lambda model, x: Probe(model).layer_shapes(x),
        lambda model, x: Probe(model).last_spatial_layer(x),
    ],
)
def test_what_needs_layers_is_refused(explain: Any, tmp_path: Path) -> None:
    program = exported(resnet(), tmp_path)
    before = state_of(program)
    with pytest.raises(
        it.UnsupportedModelError, match=r"paddle\.jit\.load.*it\.load_exported\(path\)"
    ):
        explain(program, images(np.float32))
    assert differences(before, state_of(program)) == []


def test_an_exported_recurrent_network(tmp_path: Path) -> None:
    model, x = crnn(), images(np.float32)
    output, program = MODELS["crnn"][1], exported(model, tmp_path)
    np.testing.assert_allclose(
        Probe(program, output=output).logits(x), Probe(model, output=output).logits(x), rtol=1e-5
    )
    with pytest.raises(it.UnsupportedModelError, match="its recurrent layer"):
        Probe(program, output=output).gradients(x, ClassScore(0))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: nn.GroupNorm(3, 3, weight_attr=False), "group-norm without a weight"),
        (lambda: nn.BatchNorm2D(3, use_global_stats=False), "its batch's statistics"),
    ],
)
def test_an_exported_model_whose_gradient_would_be_wrong(
    layer: Any, reason: str, tmp_path: Path
) -> None:
    """In a program Paddle's operations cannot be cured as they are in layers."""
    network = nn.Sequential(layer(), nn.Flatten(), nn.Linear(3 * 32 * 32, 5))
    network.eval()
    program = exported(network, tmp_path)
    if reason.startswith("group-norm") and network[0].weight is not None:  # ones, in Paddle 3.0
        x = images(np.float32)
        found, expected = (Probe(m).gradients(x, ClassScore(0)).input for m in (program, network))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        return
    with pytest.raises(it.UnsupportedModelError, match=reason):
        Probe(program).gradients(images(np.float32), ClassScore(0))
    assert Probe(program).logits(images(np.float32)).shape == (2, 5)


def test_a_part_of_a_model_may_be_exported(tmp_path: Path) -> None:
    model, x, last = resnet(), images(np.float32), nn.Linear(5, 5)
    found, expected = (
        Probe(nn.Sequential(inner, last)).gradients(x, ClassScore(LABELS), at="0", with_input=True)
        for inner in (exported(model, tmp_path), model)
    )
    np.testing.assert_allclose(found.gradients["0"], expected.gradients["0"], rtol=1e-5)
    size = abs(expected.input).max()
    np.testing.assert_allclose(found.input, expected.input, rtol=1e-4, atol=1e-5 * size)


class Decorated(nn.Layer):
    """A network whose forward is static for everybody."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = convnext()
        self.eval()

    @paddle.jit.to_static(full_graph=True)
    def forward(self, x: Any) -> Any:
        return self.inner(x)


@pytest.mark.parametrize(
    ("make", "plain"),
    [
        (lambda: paddle.jit.to_static(vit(), full_graph=True), vit),
        (lambda: paddle.jit.to_static(resnet(), full_graph=True), resnet),
        (Decorated, convnext),
    ],
)
def test_models_made_static(make: Any, plain: Any) -> None:
    model, x = make(), images(np.float32)
    model.eval()
    before = state_of(model)
    found = Probe(model).gradients(x, ClassScore(LABELS))
    assert differences(before, state_of(model)) == []
    expected = Probe(plain()).gradients(x, ClassScore(LABELS))
    np.testing.assert_array_equal(found.input, expected.input)
    assert abs(found.input).max() > 0
