"""Explanations by several models: side by side, and as their mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from PIL import Image

import interpretdl as it
from interpretdl.testing import small_network

Array = NDArray[Any]
METHODS: list[tuple[Any, dict[str, Any]]] = [
    (it.GradientInterpreter, {}),
    (it.GradCAMInterpreter, {}),
    (it.FeatureAblationInterpreter, {"regions": 4}),
]


@pytest.fixture
def models() -> dict[str, Any]:
    return {f"model {seed}": small_network(seed=seed) for seed in range(3)}


@pytest.fixture
def x() -> Array:
    return np.random.default_rng(2).normal(size=(2, 3, 16, 16)).astype(np.float32)


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_values_of_each_model_one_after_the_other(
    method: Any, options: Any, models: Any, x: Array, capsys: Any
) -> None:
    consensus = it.ConsensusInterpreter(method, models.values(), device="cpu")
    found = consensus.interpret(x, label=[1, 2], **options)
    each = [method(model).explain(x, label=[1, 2], **options).values for model in models.values()]
    np.testing.assert_array_equal(found, np.concatenate(each))
    assert found.dtype == np.float32
    assert capsys.readouterr().out == ""
    own = consensus.interpret(x, **options)  # each explains the class that it finds likeliest
    first = method(models["model 0"]).explain(x, **options)
    np.testing.assert_array_equal(own[:2], first.values)


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_the_mean_of_sizes_that_sum_to_one(
    method: Any, options: Any, models: Any, x: Array
) -> None:
    found = it.ConsensusInterpreter(method, list(models.values())).explain(x, [1, 2], **options)
    mean = np.zeros((2, 16, 16))
    each = []
    for model in models.values():
        one = method(model).explain(x, label=[1, 2], **options)
        sizes = one.heatmap(signed=False).astype(np.float64)
        if one.values.ndim == 4:
            np.testing.assert_allclose(sizes, np.abs(one.values).sum(axis=1), rtol=1e-6)
        each.append(sizes / sizes.sum(axis=(1, 2), keepdims=True))
        mean += each[-1] / 3
    np.testing.assert_allclose(found.values, mean[:, None], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(found.values.sum(axis=(1, 2, 3)), 1, rtol=1e-5)
    assert found.values.dtype == np.float32
    assert not found.signed
    similarity = found.diagnostics["similarity"]
    assert similarity.shape == (2, 3)
    for i in range(2):
        for k in range(3):
            a, b = each[k][i].ravel(), mean[i].ravel()
            cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            assert similarity[i, k] == pytest.approx(cosine, abs=1e-6)


def test_one_class_for_all_models(models: Any, x: Array) -> None:
    """That of the largest mean probability; scores and probabilities are means."""
    consensus = it.ConsensusInterpreter(it.GradientInterpreter, models.values())
    found = consensus.explain(x, gradient_of="probability")
    inputs = paddle.to_tensor(x)
    p = np.mean(
        [paddle.nn.functional.softmax(model(inputs), 1).numpy() for model in models.values()], 0
    )
    assert found.labels.tolist() == p.argmax(axis=1).tolist()
    np.testing.assert_allclose(found.probabilities, p, atol=1e-6)
    np.testing.assert_allclose(found.scores, p.max(axis=1), atol=1e-6)
    named = consensus.explain(x, found.labels, gradient_of="probability")
    np.testing.assert_array_equal(named.values, found.values)
    plural = consensus.explain(x, labels=found.labels, gradient_of="probability")
    np.testing.assert_array_equal(plural.values, found.values)
    with pytest.raises(it.InputError, match="give one of them"):
        consensus.explain(x, 1, labels=1)
    assert len(found[1]) == 1
    assert found.titles[0].startswith("class-")
    assert found.plot("side_by_side") is not None


def test_files_and_what_cannot_be_read(models: Any, x: Array, tmp_path: Any) -> None:
    path = tmp_path / "a.png"
    pixels = small_network().preprocessing.restore(x[:1])[0]
    Image.fromarray(pixels).save(path)
    consensus = it.ConsensusInterpreter(it.GradientInterpreter, models.values())
    with pytest.warns(it.InterpretWarning, match="input 0 is left out"):
        found = consensus.explain([tmp_path / "none.png", path])
    alone = consensus.explain(path, resize_to=16)
    np.testing.assert_array_equal(found.values, alone.values)
    assert list(found.failures) == [0]
    assert it.Explanation.load(saved(found, tmp_path)).method == "consensus"


def saved(explanation: it.Explanation, folder: Any) -> Any:
    explanation.save(folder / "found.npz")
    return folder / "found.npz"


def test_tables() -> None:
    table = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    layers = [paddle.nn.Linear(4, 2) for _ in range(2)]
    consensus = it.ConsensusInterpreter(it.GradientInterpreter, layers, preprocessing=None)
    found = consensus.explain(table, 1)
    each = [np.abs(layer.weight.numpy()[:, 1]) for layer in layers]
    mean = np.mean([one / one.sum() for one in each], axis=0)
    np.testing.assert_allclose(found.values, np.tile(mean, (3, 1)), rtol=1e-5)


def test_a_class_that_writes_interpret_alone(models: Any, x: Array) -> None:
    class Own(it.InputGradientInterpreter):
        def interpret(self, inputs: Any, visual: bool, save_path: Any, factor: float = 1) -> Any:
            self._build_predict_fn(gradient_of="logit")
            return factor * self.predict_fn(inputs, 1)[0]

    found = it.ConsensusInterpreter(Own, models.values()).interpret(x, factor=2)
    each = [it.GradientInterpreter(model).explain(x, 1).values for model in models.values()]
    np.testing.assert_allclose(found, 2 * np.concatenate(each), rtol=1e-4, atol=1e-7)


def test_limes_weights_are_no_array_and_its_maps_are(models: Any, x: Array) -> None:
    pictures = small_network().preprocessing.restore(x)
    consensus = it.ConsensusInterpreter(it.LIMECVInterpreter, models.values(), random_seed=1)
    found = consensus.explain(pictures, 1, regions=3, evaluations=40)
    assert found.values.shape == (2, 1, 16, 16)
    with pytest.raises(it.InputError, match="do not fit into one array"):
        consensus.interpret(pictures[:1], num_samples=40, regions=3)


def test_what_does_not_fit(models: Any, x: Array) -> None:
    with pytest.raises(it.InputError, match="must be a class of interpreters"):
        it.ConsensusInterpreter("grad_cam", models.values())  # type: ignore[arg-type]  # on purpose
    with pytest.raises(it.InputError, match="must be a class of interpreters"):
        it.ConsensusInterpreter(dict, models.values())  # type: ignore[arg-type]  # on purpose
    with pytest.raises(it.InputError, match="list_of_models is empty"):
        it.ConsensusInterpreter(it.GradientInterpreter, [])
    mixed = [small_network(), small_network(classes=4)]
    consensus = it.ConsensusInterpreter(it.GradientInterpreter, mixed)
    with pytest.raises(it.InputError, match="not the same classes: give label="):
        consensus.explain(x)
    with pytest.raises(it.InputError, match=r"have \[5, 4\] classes"):
        consensus.explain(x, 1)
    with pytest.raises(TypeError, match="no option 'n_sample'"):
        consensus.interpret(x, n_sample=3)
    sized = [small_network(), small_network()]
    sized[1].preprocessing = it.Preprocessing(resize=None, crop=8)
    picture = Image.fromarray(np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(it.InputError, match="different sizes"):
        it.ConsensusInterpreter(it.GradientInterpreter, sized).explain(picture, 1)
