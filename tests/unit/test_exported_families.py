"""An exported model is explained as the model that was exported, by every method."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle.nn import Conv2D

from interpretdl import Preprocessing
from interpretdl.dissection import dissect
from interpretdl.errors import UnsupportedModelError
from interpretdl.registry import EVALUATORS, METHODS
from interpretdl.rules import COMPOSITES
from interpretdl.testing import check_evaluator, small_network, small_transformer
from tests import paddle_models
from tests.contract.test_contract import SMALL
from tests.contract.test_evaluators_contract import SMALL as SMALL_EVALUATORS
from tests.exports import loaded
from tests.families import take_statistics
from tests.planted_data import planted

# Random networks: biases and stabilizers keep more than in trained ones.
pytestmark = pytest.mark.filterwarnings("ignore::interpretdl.errors.InterpretWarning")

LABELS = [1, 2]
PLAIN = Preprocessing(None, None, mean=(0.0,) * 3, std=(1.0,) * 3)
# Operations of every kind. The others were found to be explained likewise, by every method.
WITH_RULES = ("vit", "levit", "mobilevit", "ghostnet", "detector")
VISION = {
    "LeNet": 28,
    "mobilenet_v3_small": 64,
    "shufflenet_v2_x0_25": 64,
    "squeezenet1_1": 64,
    "resnet18": 64,
}


def images(channels: int, size: int, n: int = 2) -> Any:
    return np.random.default_rng(0).normal(size=(n, channels, size, size)).astype(np.float32)


def outcome(name: str, model: Any, x: Any, output: Any = None, **options: Any) -> Any:
    """What a method finds, or why it refuses the model."""
    cls = METHODS.find(name).cls
    known = inspect.signature(cls.attribute).parameters
    options |= {key: value for key, value in SMALL.items() if key in known}
    try:
        found = cls(model, output=output, batch_size=4).explain(x, label=LABELS, **options)
    except UnsupportedModelError as error:
        return type(error)
    return found.values


def check_same(name: str, models: tuple[Any, Any], x: Any, **options: Any) -> None:
    expected, found = (outcome(name, model, x, **options) for model in models)
    if isinstance(expected, type):
        assert found is expected
        return
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * abs(expected).max())


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    """The small networks of the contract, each with what is loaded of its export."""
    models = {"network": small_network(), "transformer": small_transformer()}
    return {
        name: (model, loaded(model, tmp_path_factory.mktemp(name), (None, 3, 16, 16)))
        for name, model in models.items()
    }


@pytest.mark.parametrize("name", METHODS.all())
def test_every_method(name: str, pairs: dict[str, tuple[Any, Any]]) -> None:
    attends = METHODS.find(name).needs_attention
    check_same(name, pairs["transformer" if attends else "network"], images(3, 16))


@pytest.mark.parametrize("composite", COMPOSITES)
def test_every_composite(composite: str, pairs: dict[str, tuple[Any, Any]]) -> None:
    for pair in pairs.values():
        check_same("lrp", pair, images(3, 16), composite=composite)


@pytest.mark.parametrize("name", EVALUATORS.all())
def test_every_evaluator(name: str, pairs: dict[str, tuple[Any, Any]]) -> None:
    checks = ["shape_and_direction"]
    check_evaluator(name, pairs["network"][1], options=SMALL_EVALUATORS, checks=checks)


def test_dissection(pairs: dict[str, tuple[Any, Any]], tmp_path: Path) -> None:
    data, found = planted(tmp_path / "data"), []
    for model in pairs["network"]:
        convolutions = (n for n, each in model.named_sublayers() if type(each) is Conv2D)
        layer = next(convolutions)
        found.append(dissect(model, data, layer, tmp_path / layer, preprocessing=PLAIN)[layer].iou)
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)


@pytest.mark.parametrize("name", paddle_models.MODELS)
def test_families(name: str, tmp_path: Path) -> None:
    make, output = paddle_models.MODELS[name]
    model, x = make(), images(3, 32)
    exported = loaded(model, tmp_path, (None, *x.shape[1:]))
    assert exported.check is None  # it was held against Paddle's own execution
    given = paddle.to_tensor(images(3, 32, 3))
    expected = model(given).numpy()
    within = 1e-6 * abs(expected).max()
    np.testing.assert_allclose(exported(given).numpy(), expected, rtol=0, atol=within)
    methods = ["gradient", "grad_cam"]
    if name in WITH_RULES:
        methods += ["deep_lift", "guided_bp"]
        check_same("lrp", (model, exported), x, output=output, composite="attn_lrp")
    for method in methods:
        check_same(method, (model, exported), x, output=output)


@pytest.mark.parametrize("name", VISION)
def test_paddle_vision(name: str, tmp_path: Path) -> None:
    """A network of each kind; by hand the others were found to give the same."""
    paddle.seed(0)
    model, channels = getattr(paddle.vision.models, name)(num_classes=10), 1 + 2 * (name != "LeNet")
    x = images(channels, VISION[name])
    take_statistics(model, x, np.random.default_rng(0))
    model.eval()
    if channels == 1:
        model.preprocessing = Preprocessing(None, None, mean=(0.5,), std=(0.5,))
    exported = loaded(model, tmp_path, (None, *x.shape[1:]))
    for method in ("gradient", "grad_cam"):
        check_same(method, (model, exported), x)
    check_same("lrp", (model, exported), x, composite="epsilon_plus")
