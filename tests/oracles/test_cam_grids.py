"""Which layer class activation maps take by themselves, and layers of tokens on their grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import nn

import interpretdl as it
from interpretdl.probe import Spatial
from tests import paddle_models
from tests.paddle_models.transformers import DIM, Block
from tests.probes import attributed, in_eval

Array = NDArray[Any]

WITHOUT_CAM = [
    *("ablation_cam", "eigen_cam", "grad_cam", "grad_cam_plus_plus"),
    *("hires_cam", "layer_cam", "score_cam", "xgrad_cam"),
]
LABELS = [1, 4, 0]
# The layer that is taken by itself, the grid's side, and how many tokens are before the patches';
# None: the layer gives [N, C, h, w].
TAKEN: dict[str, tuple[str, int, int | None]] = {
    "vit": ("blocks.1.norm1", 4, 1),  # the score does not depend on what follows, at the patches
    "deit": ("blocks.1.norm1", 4, 2),
    "swin": ("norm", 4, 0),
    "levit": ("blocks.5", 2, 0),
    "tnt": ("blocks.1.norm_out", 4, 1),
    "convnext": ("stages.1", 4, None),
    "pvt_v2": ("norm2", 4, 0),
    "cswin": ("norm", 4, 0),  # 4 x 4 and not 8 x 2, as its stripes are
    "mobilevit": ("conv1x1", 4, None),
    "mobilenet_v3": ("last_second_conv", 4, None),
    "ghostnet": ("conv_last", 4, None),
    "rexnet": ("features.10", 4, None),
    "starnet": ("norm", 4, None),
    "resnet": ("blocks", 4, None),
    "crnn": ("backbone.4", 8, None),
    "detector": ("pred_cls", 4, None),  # not the branch of the boxes, which comes last
}


def images(n: int = 3) -> Array:
    return np.random.default_rng(2).normal(size=(n, 3, 32, 32)).astype(np.float32)


def by_hooks(name: str, layer: str, x: Array, labels: Any) -> tuple[Array, Array]:
    """Activation and gradient of a layer by Paddle alone.

    By a whole backward pass: what is not asked for its own gradient, Paddle's layer_norm forgets.
    """
    make, output = paddle_models.MODELS[name]
    model, seen = make(), []
    for part in model.sublayers():
        if isinstance(part, nn.LSTM):
            part.train()  # no dropout in it; in eval mode Paddle has no gradient
    dict(model.named_sublayers())[layer].register_forward_post_hook(
        lambda _, inputs, y: seen.append(y)
    )
    logits = model(paddle.to_tensor(x)) if output is None else output(model(paddle.to_tensor(x)))
    seen[0].retain_grads()
    sum(logits[i, label] for i, label in enumerate(labels)).backward()
    gradient = seen[0].grad
    return seen[0].numpy(), np.zeros(seen[0].shape) if gradient is None else gradient.numpy()


def on_grid(values: Array, side: int, prefix: int | None) -> Array:
    """[N, C, side, side], place by place."""
    if prefix is None:
        return values
    result = np.zeros((len(values), values.shape[2], side, side))
    for i in range(side):
        for j in range(side):
            result[:, :, i, j] = values[:, prefix + i * side + j]
    return result


def expected_map(method: str, a: Array, g: Array) -> Array:
    if method == "hires_cam":
        return (g * a).sum(axis=1)
    weights = g.mean(axis=(2, 3))
    return np.maximum(np.einsum("nc,nchw->nhw", weights, a), 0)


def run(method: str, name: str, x: Array, labels: Any = LABELS, **options: Any) -> Any:
    make, output = paddle_models.MODELS[name]
    interpreter = it.registry.find(method).cls(
        make(), output=output, batch_size=options.pop("batch_size", None)
    )
    return attributed(interpreter, x, labels, **options)


def close(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("batch_size", [None, 2])
@pytest.mark.parametrize("method", ["grad_cam", "hires_cam"])
@pytest.mark.parametrize("name", TAKEN)
def test_the_layer_taken(name: str, method: str, batch_size: int | None) -> None:
    layer, side, prefix = TAKEN[name]
    x, labels = images(), LABELS
    found = run(method, name, x, batch_size=batch_size)
    assert found.values.shape == (3, side, side)
    assert found.diagnostics["layers"] == [layer]
    a, g = (on_grid(values, side, prefix) for values in by_hooks(name, layer, x, labels))
    expected = expected_map(method, a, g)
    assert expected.std() > 1e-3 * np.abs(expected).max() > 0
    close(found.values, expected)


@pytest.mark.parametrize("name", ["vit", "deit", "tnt"])
def test_nothing_that_follows_says_where(name: str) -> None:
    """At the patches the score's gradient is 0 behind the layer taken, in attention and beside."""
    layer, _, prefix = TAKEN[name]
    names = [n for n, _ in paddle_models.MODELS[name][0]().named_sublayers()]
    later = [n for n in names[names.index(layer) + 1 :] if n.endswith(("mlp", "norm_mlp", "norm2"))]
    later += [n for n in names if n == "norm"]
    assert len(later) >= 2
    for other in later:
        assert not by_hooks(name, other, images(), LABELS)[1][:, prefix:].any()
    assert by_hooks(name, layer, images(), LABELS)[1][:, prefix:].any()


@pytest.mark.parametrize("method", WITHOUT_CAM)
def test_every_method_takes_it(method: str) -> None:
    found = run(method, "vit", images())
    assert found.diagnostics["layers"] == ["blocks.1.norm1"]
    assert found.values.std() > 0
    named = run(method, "vit", images(), target_layer_name="blocks.1.norm1")
    close(found.values, named.values)

    def to_map(tokens: Array) -> Array:
        return on_grid(tokens, 4, 1)

    options = {"target_layer_name": "blocks.1.norm1", "reshape_transform": to_map}
    close(found.values, run(method, "vit", images(), **options).values)


@pytest.mark.parametrize(
    ("name", "layer", "side", "prefix"),
    [
        ("vit", "blocks.0.mlp", 4, 1),
        ("vit", "pos_drop", 4, 1),
        ("vit", "patch_embed", 4, 0),
        ("deit", "blocks.0.norm1", 4, 2),
        ("swin", "layers.0.blocks.1.norm2", 8, 0),
        ("swin", "layers.0", 4, 0),
        ("levit", "blocks.1", 7, 0),
        ("levit", "blocks.4", 4, 0),
    ],
)
def test_tokens_of_a_layer_that_is_named(name: str, layer: str, side: int, prefix: int) -> None:
    x = images()
    found = run("hires_cam", name, x, target_layer_name=layer)
    a, g = (on_grid(values, side, prefix) for values in by_hooks(name, layer, x, LABELS))
    close(found.values, expected_map("hires_cam", a, g))


@pytest.mark.parametrize(("layer", "side"), [("stages.0.0.norm", 8), ("stages.1.0.pwconv2", 4)])
def test_channels_last(layer: str, side: int) -> None:
    x = images()
    found = run("hires_cam", "convnext", x, target_layer_name=layer)
    a, g = (v.transpose(0, 3, 1, 2) for v in by_hooks("convnext", layer, x, LABELS))
    assert found.values.shape == (3, side, side)
    close(found.values, expected_map("hires_cam", a, g))


@pytest.mark.parametrize(
    ("name", "layer", "why"),
    [
        ("vit", "blocks.0.attn.attn_drop", r"\[3, 2, 17, 17\], weights of attention; .*reshape"),
        ("levit", "patch_embed.5", "no layer"),
        ("swin", "layers.0.blocks.0.attn", r"gives \[12, 16, 12\]; .*needs \[3, C, h, w\]"),
        ("tnt", "blocks.0.norm_in", r"gives \[48, 4, 4\]"),
        ("vit", "head", r"gives \[3, 5\]"),
    ],
)
def test_layers_without_a_grid(name: str, layer: str, why: str) -> None:
    with pytest.raises(it.InterpretError, match=why):
        run("grad_cam", name, images(), target_layer_name=layer)


# -- one forward pass ------------------------------------------------------------------------------


def counted(model: Any) -> list[int]:
    """A list that grows with every call of the model."""
    calls: list[int] = []
    model.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    return calls


@pytest.mark.parametrize("name", ["vit", "swin", "levit", "resnet"])
@pytest.mark.parametrize("label", [None, 2])
@pytest.mark.parametrize("method", ["grad_cam", "layer_cam", "eigen_cam"])
def test_one_forward_pass(method: str, label: int | None, name: str) -> None:
    model = paddle_models.MODELS[name][0]()
    calls = counted(model)
    it.registry.find(method).cls(model).explain(images(1), label=label)
    assert calls == [1]


def test_batches_run_once_each() -> None:
    model = paddle_models.vit()
    calls = counted(model)
    it.GradCAMInterpreter(model, batch_size=2).explain(images(5))
    assert calls == [2, 2, 1]


def test_named_layers_are_the_same_run() -> None:
    model = paddle_models.vit()
    calls = counted(model)
    it.GradCAMInterpreter(model).explain(images(1), target_layer_name="blocks.0")
    assert calls == [1]


# -- other models ----------------------------------------------------------------------------------


class Patches(nn.Layer):
    """A vision transformer that cuts its patches itself, or gets them from a convolution."""

    def __init__(self, patches: Callable[[Any], Any], **layers: Any) -> None:
        super().__init__()
        self.patches = patches
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Linear(DIM, 5)
        rng = np.random.default_rng(0)
        for parameter in self.parameters():
            parameter.set_value(rng.normal(0, 0.3, parameter.shape).astype("float32"))
        self.eval()

    def forward(self, x: Any) -> Any:
        return self.head(self.blocks(self.patches(self, x)).mean(axis=1))


def cut(self: Any, x: Any) -> Any:
    """8 x 8 patches of [N, 3, 32, 32], without a convolution."""
    x = x.reshape([x.shape[0], 3, 4, 8, 4, 8]).transpose([0, 2, 4, 1, 3, 5])
    return self.embed(x.flatten(3).flatten(1, 2))


def test_a_grid_that_is_not_known() -> None:
    model = Patches(cut, embed=nn.Linear(192, DIM))
    interpreter = it.HiResCAMInterpreter(model)
    with pytest.raises(it.UnsupportedModelError, match=r"'blocks' \[1, 16, 12\].*reshape_transf"):
        interpreter.explain(images())
    options = {"reshape_transform": lambda a: on_grid(a, 4, 0)}
    assert interpreter.explain(images(), target_layer_name="blocks", **options).values.any()


def with_registers(self: Any, x: Any) -> Any:
    x = self.conv(x).flatten(2).transpose([0, 2, 1])
    return paddle.concat([x[:, :1] * 0 + i for i in range(5)] + [x], axis=1)


def test_registers_are_left_out() -> None:
    model = Patches(with_registers, conv=nn.Conv2D(3, DIM, 8, 8))
    found = it.HiResCAMInterpreter(model).explain(images(), label=1)
    tokens = it.Probe(model).gradients(images(), it.ClassScore(1), at="blocks")
    expected = (tokens.activations["blocks"] * tokens.gradients["blocks"]).sum(-1)[:, 5:]
    close(found.values, expected.reshape(3, 4, 4))


class ChannelsLast(nn.Layer):
    """Tokens kept as [N, h, w, C] by blocks of their own, 4 x 4 of 12 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.inner, self.head = nn.Conv2D(3, DIM, 8, 8), Inner(), nn.Linear(DIM, 5)
        rng = np.random.default_rng(0)
        for parameter in self.parameters():
            parameter.set_value(rng.normal(0, 0.3, parameter.shape).astype("float32"))
        self.eval()

    def forward(self, x: Any) -> Any:
        x = self.conv(x).transpose([0, 2, 3, 1])
        return self.head(self.inner(x).max(axis=[1, 2]))


class Inner(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(DIM, DIM)

    def forward(self, x: Any) -> Any:
        return x + paddle.tanh(self.dense(x))


def test_blocks_with_channels_last() -> None:
    model, x = ChannelsLast(), images()
    found = it.HiResCAMInterpreter(model).explain(x, label=1)
    inside = it.Probe(model).gradients(x, it.ClassScore(1), at="inner")
    close(found.values, (inside.activations["inner"] * inside.gradients["inner"]).sum(axis=-1))


class InPlace(nn.Layer):
    """What follows the last convolution works in place on its output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2D(3, 6, 8, 8), nn.Linear(6, 5)

    def forward(self, x: Any) -> Any:
        return self.head(nn.functional.relu_(self.conv(x)).mean(axis=[2, 3]))


@pytest.mark.parametrize("method", ["grad_cam", "eigen_cam"])
def test_a_model_that_works_in_place(method: str) -> None:
    model = in_eval(InPlace())
    interpreter = it.registry.find(method).cls(model)
    named = interpreter.explain(images(), label=1, target_layer_name="conv")
    close(interpreter.explain(images(), label=1).values, named.values)


class Cut(nn.Layer):
    """The score's gradient ends at the features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.features, self.head = nn.Conv2D(3, 6, 8, 8), nn.ReLU(), nn.Linear(6, 5)

    def forward(self, x: Any) -> Any:
        return self.head(self.features(self.conv(x).detach()).mean(axis=[2, 3]))


def test_gradients_that_end_before_the_input() -> None:
    interpreter = it.HiResCAMInterpreter(in_eval(Cut()))
    found = interpreter.explain(images(), label=1)
    assert found.diagnostics["layers"] == ["features"]
    named = interpreter.explain(images(), label=1, target_layer_name="features")
    close(found.values, named.values)


@pytest.mark.parametrize("method", ["ablation_cam", "eigen_cam", "score_cam"])
def test_a_target_without_gradient(method: str) -> None:
    def certain(output: Any) -> Any:
        return nn.functional.softmax(output).detach()[:, 1]

    interpreter = it.registry.find(method).cls(paddle_models.resnet())
    found = interpreter.explain(images(1), label=certain)
    named = interpreter.explain(images(1), label=certain, target_layer_name="blocks")
    close(found.values, named.values)
    with pytest.raises(it.UnsupportedModelError, match="differentiable"):
        it.GradCAMInterpreter(paddle_models.resnet()).explain(images(1), label=certain)


def test_a_score_that_depends_on_no_layer() -> None:
    def nothing(output: Any) -> Any:
        return output[:, 0] * 0

    interpreter = it.HiResCAMInterpreter(paddle_models.resnet())
    with pytest.raises(it.UnsupportedModelError, match=r"is 0 at every layer .*blocks.*name one"):
        interpreter.explain(images(1), label=nothing)
    with pytest.warns(it.InterpretWarning, match="zero everywhere"):
        found = interpreter.explain(images(1), label=nothing, target_layer_name="blocks")
    assert found.values.shape == (1, 4, 4)


def test_the_name_of_a_layer_of_channels_first() -> None:
    """What feature visualization and dissection take, where there is no target."""
    for name, layer in (
        ("resnet", "blocks"),
        ("convnext", "stages.1"),
        ("vit", "patch_embed.proj"),
    ):
        probe = it.Probe(paddle_models.MODELS[name][0]())
        assert probe.last_spatial_layer(images()) == layer


def test_the_probe_gives_the_grid() -> None:
    found = it.Probe(paddle_models.swin(), batch_size=2).gradients(
        images(), it.ClassScore(LABELS), at=Spatial(("layers.0.blocks.0", "norm"))
    )
    assert {name: (g.height, g.width) for name, g in found.grids.items()} == {
        "layers.0.blocks.0": (8, 8),
        "norm": (4, 4),
    }
    assert len(found.gradients["norm"]) == 3
