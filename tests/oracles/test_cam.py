"""Class activation maps against their formulas, plain loops and each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import nn

import interpretdl as it
from tests.probes import attributed, in_eval

Array = NDArray[Any]

LABELS = np.array([1, 4, 0])
GRADIENT_CAMS = ["grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam", "xgrad_cam"]
METHODS = [*GRADIENT_CAMS, "ablation_cam", "cam", "eigen_cam", "score_cam"]
WITHOUT_CAM = [method for method in METHODS if method != "cam"]  # it takes one layer as it is


def images(n: int = 3, channels: int = 3, size: int = 12) -> Array:
    return np.random.default_rng(1).normal(size=(n, channels, size, size)).astype(np.float32)


def values(result: Any) -> Array:
    return np.asarray(getattr(result, "values", result))


def run(method: str, model: Any, x: Array, labels: Any = LABELS, **options: Any) -> Array:
    interpreter = it.registry.find(method).cls(model, batch_size=options.pop("batch_size", None))
    if callable(labels):
        return values(interpreter.attribute(x, labels, **options))
    return values(attributed(interpreter, x, labels, **options))


def split(model: Any, layer: int) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """A Sequential up to and with a layer, and what follows."""
    layers = list(model)

    def part(chosen: list[Any]) -> Callable[[Any], Any]:
        def apply(x: Any) -> Any:
            for one in chosen:
                x = one(x)
            return x

        return apply

    return part(layers[: layer + 1]), part(layers[layer + 1 :])


def score_of(logits: Any, label: int, kind: str) -> Any:
    if kind == "logit":
        return logits[0, label]
    return nn.functional.softmax(logits, axis=-1)[0, label]


def activation_and_gradient(
    model: Any, layer: int, x: Array, label: int, kind: str = "logit"
) -> tuple[Array, Array, float]:
    """[C, h, w] of one image, and the score, by cutting the network in two."""
    head, tail = split(model, layer)
    a = head(paddle.to_tensor(x[None])).detach()
    a.stop_gradient = False
    score = score_of(tail(a), label, kind)
    (g,) = paddle.grad(score, [a])
    return a.numpy()[0].astype(float), g.numpy()[0].astype(float), float(score)


def close(a: Array, b: Array, tolerance: float = 1e-4) -> None:
    """Relative L2 distance; of arrays of one shape that say something."""
    assert a.shape == b.shape
    assert np.isfinite(a).all()
    assert np.linalg.norm(b) > 0
    assert np.linalg.norm(a - b) <= tolerance * np.linalg.norm(b)


# -- one backward pass -----------------------------------------------------------------------------


def formula(method: str, a: Array, g: Array, score: float) -> Array:
    """The papers' formulas, position by position, for one image."""
    channels, h, w = a.shape
    result = np.zeros((h, w))
    for c in range(channels):
        weight = np.zeros((h, w))
        if method == "grad_cam":
            weight += sum(g[c, i, j] for i in range(h) for j in range(w)) / (h * w)
        elif method == "xgrad_cam":
            total = a[c].sum()
            weight += sum((a[c] * g[c]).ravel()) / total if total else 0
        elif method == "hires_cam":
            weight = g[c]
        elif method == "layer_cam":
            weight = np.where(g[c] > 0, g[c], 0)
        else:
            # The class score is Y = exp(f): its derivatives are exp(f) times powers of g.
            first, second, third = (np.exp(score) * g[c] ** k for k in (1, 2, 3))
            for i in range(h):
                for j in range(w):
                    below = 2 * second[i, j] + (a[c] * third[i, j]).sum()
                    alpha = second[i, j] / below if below else 0
                    weight += alpha * max(first[i, j], 0)
            weight /= np.exp(score)  # the factor that is left out
        result += weight * a[c]
    return result if method == "hires_cam" else np.maximum(result, 0)


@pytest.mark.parametrize("kind", ["logit", "probability"])
@pytest.mark.parametrize("layer", [1, 2, 5])
@pytest.mark.parametrize("method", GRADIENT_CAMS)
def test_formula(method: str, layer: int, kind: str, toy: Any) -> None:
    model, x = toy(), images()
    expected = [
        formula(method, *activation_and_gradient(model, layer, one, label, kind))
        for one, label in zip(x, LABELS, strict=True)
    ]
    found = run(method, model, x, target_layer_name=str(layer), gradient_of=kind)
    close(found, np.stack(expected))


def test_tail_only_is_the_full_backward_pass(toy: Any) -> None:
    probe, x = it.Probe(toy()), images()
    target = it.ClassScore(LABELS)
    tail = probe.gradients(x, target, at="2").gradients["2"]
    full = probe.gradients(x, target, at="2", with_input=True)
    assert full.input.any()
    close(tail, full.gradients["2"], 1e-6)


def test_pooling_and_a_dense_layer_make_them_one(toy: Any) -> None:
    model, x = toy(), images()
    cam = run("cam", model, x)
    positions = cam.shape[1] * cam.shape[2]
    assert (cam < 0).any()
    assert (cam > 0).any()
    close(run("hires_cam", model, x) * positions, cam)
    for method in ("grad_cam", "xgrad_cam"):
        close(run(method, model, x) * positions, np.maximum(cam, 0))
    # and the mean is the logit without its bias
    logits = model(paddle.to_tensor(x)).numpy()[np.arange(3), LABELS]
    close(cam.mean(axis=(1, 2)) + model[8].bias.numpy()[LABELS], logits)


# -- CAM -------------------------------------------------------------------------------------------


def test_cam_of_probabilities_is_that_of_logits(toy: Any) -> None:
    model = toy()
    close(run("cam", nn.Sequential(*model, nn.LogSoftmax()), images()), run("cam", model, images()))
    probabilities = nn.Sequential(*model, nn.Softmax())
    with pytest.warns(it.InterpretWarning, match="softmax"):
        close(run("cam", probabilities, images()), run("cam", model, images()))


def test_cam_takes_a_class_score(toy: Any) -> None:
    model, x = toy(), images()
    assert np.array_equal(
        run("cam", model, x, it.ClassScore(2)), run("cam", model, x, np.full(3, 2))
    )
    for target in (it.ClassScore(2, "probability"), lambda output: output[:, 0]):
        with pytest.raises(it.TargetError, match="grad_cam"):
            run("cam", model, x, target)


# -- Eigen-CAM -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 12])  # fewer positions than channels, and more
@pytest.mark.parametrize("layer", [1, 2])
def test_eigen_cam(layer: int, size: int, toy: Any) -> None:
    model, x = toy(), images(size=size)
    found = run("eigen_cam", model, x, target_layer_name=str(layer))
    for one, map_ in zip(x, found, strict=True):
        a = split(model, layer)[0](paddle.to_tensor(one[None])).numpy()[0].astype(float)
        rows = a.reshape(len(a), -1).T
        projected = (rows @ np.linalg.svd(rows)[2][0]).reshape(a.shape[1:])
        if (projected * (a**2).sum(0)).sum() < 0:
            projected = -projected
        if layer == 2:
            assert projected.min() >= -1e-9  # behind a ReLU nothing is lost
        close(map_, np.maximum(projected, 0))


def test_eigen_cam_does_not_look_at_the_class(toy: Any) -> None:
    model, x = toy(), images()
    assert np.array_equal(
        run("eigen_cam", model, x, LABELS), run("eigen_cam", model, x, LABELS[::-1])
    )


# -- masks and ablations ---------------------------------------------------------------------------


def enlarged(a: Array, size: int) -> Array:
    """Bilinear, half-pixel centres, clamped edges; [h, w] to [size, size]."""

    def matrix(n: int) -> Array:
        m = np.zeros((size, n))
        for i in range(size):
            at = np.clip((i + 0.5) * n / size - 0.5, 0, n - 1)
            low = min(int(at), n - 2)
            m[i, low], m[i, low + 1] = 1 - (at - low), at - low
        return m

    return matrix(a.shape[0]) @ a @ matrix(a.shape[1]).T


def kill_channel(model: Any, channel: int) -> None:
    """Of the last convolution: 0 everywhere behind its ReLU."""
    weight, bias = model[4].weight.numpy(), model[4].bias.numpy()
    weight[channel], bias[channel] = 0, -1
    model[4].weight.set_value(weight)
    model[4].bias.set_value(bias)


@pytest.mark.parametrize("kind", ["logit", "probability"])
@pytest.mark.parametrize("layer", [2, 5])
def test_score_cam(layer: int, kind: str, toy: Any) -> None:
    model, x = toy(), images()
    kill_channel(model, 3)

    def forward(one: Array, label: int) -> float:
        logits = model(paddle.to_tensor(one[None].astype("float32")))
        return float(score_of(logits, label, kind))

    expected = []
    for one, label in zip(x, LABELS, strict=True):
        a = split(model, layer)[0](paddle.to_tensor(one[None])).numpy()[0].astype(float)
        blank, rises = forward(np.zeros_like(one), label), []
        for channel in a:
            mask = enlarged(channel, 12)
            span = mask.max() - mask.min()
            mask = (mask - mask.min()) / span if span else np.zeros_like(mask)
            rises.append(forward(one * mask, label) - blank)
        weights = np.exp(rises) / np.exp(rises).sum()
        mixed = sum(w * enlarged(channel, 12) for w, channel in zip(weights, a, strict=True))
        expected.append(np.maximum(mixed, 0))
    found = run("score_cam", model, x, target_layer_name=str(layer), gradient_of=kind)
    close(found, np.stack(expected))


def ablated(model: Any, layer: Any, x: Array, label: int, channel: int | None) -> float:
    """The logit of one image in a whole forward pass without a channel of a layer."""

    def hook(_: Any, inputs: Any, output: Any) -> Any:
        keep = np.ones((1, output.shape[1], 1, 1), np.float32)
        if channel is not None:
            keep[0, channel] = 0
        return output * paddle.to_tensor(keep)

    handle = layer.register_forward_post_hook(hook)
    try:
        return float(model(paddle.to_tensor(x[None]))[0, label])
    finally:
        handle.remove()


def ablation_loop(model: Any, name: str, x: Array, labels: Array) -> Array:
    layer = dict(model.named_sublayers())[name]
    activation = it.Probe(model).activations(x, name)[name]
    maps = []
    for one, label, a in zip(x, labels, activation, strict=True):
        y = ablated(model, layer, one, label, None)
        weights = [(y - ablated(model, layer, one, label, c)) / abs(y) for c in range(len(a))]
        maps.append(np.maximum(np.einsum("c,chw->hw", weights, a), 0))
    return np.stack(maps)


@pytest.mark.parametrize("batch_size", [None, 2])
@pytest.mark.parametrize("layer", ["1", "2", "5"])
def test_ablation_cam(layer: str, batch_size: int | None, toy: Any) -> None:
    model, x = toy(), images()
    found = run("ablation_cam", model, x, target_layer_name=layer, batch_size=batch_size)
    close(found, ablation_loop(model, layer, x, LABELS))


class Skipping(nn.Layer):  # type: ignore[misc]  # Paddle is untyped to mypy
    """A network with a layer that something goes around."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first = nn.Conv2D(3, 4, 3, padding=1)
        self.layer = nn.Conv2D(4, 4, 3, padding=1)
        self.dense = nn.Linear(8 if kind == "concat" else 4, 5)
        rng = np.random.default_rng(5)
        for parameter in self.parameters():
            parameter.set_value(rng.normal(0, 0.5, parameter.shape).astype("float32"))

    def forward(self, x: Any) -> Any:
        a = nn.functional.relu(self.first(x))
        b = self.layer(a)
        if self.kind == "concat":
            b = paddle.concat([a, b], axis=1)
        elif self.kind == "add":
            b = nn.functional.relu(a + b)
        b = nn.functional.relu(b)
        if self.kind == "mixed":  # rows counted at the input: several become one
            b = b.reshape([x.shape[0], -1, 4, 12, 12]).mean(axis=1)
        return self.dense(b.mean(axis=[2, 3]))


@pytest.mark.parametrize("kind", ["add", "concat", "mixed"])
def test_ablation_cam_where_something_goes_around_the_layer(kind: str) -> None:
    model, x = in_eval(Skipping(kind)), images()
    found = run("ablation_cam", model, x, target_layer_name="layer")
    close(found, ablation_loop(model, "layer", x, LABELS))


def test_ablation_cam_runs_the_tail_only(toy: Any) -> None:
    model, x = toy(), images(1)
    kill_channel(model, 3)
    rows: dict[str, list[int]] = {"head": [], "tail": []}
    for name, layer in (("head", model[0]), ("tail", model[8])):
        layer.register_forward_post_hook(
            lambda _, inputs, output, name=name: rows[name].append(output.shape[0])
        )
    interpreter = it.AblationCAMInterpreter(model)
    result = attributed(interpreter, x, LABELS[:1])
    alive = interpreter.probe.activations(x, "5")["5"].any(axis=(0, 2, 3)).sum()
    assert 1 < alive < 6  # channels that are 0 are not run
    assert result.diagnostics["ablations"].tolist() == [alive]
    assert set(rows["head"]) == {1}
    assert max(rows["tail"]) == alive


# -- all of them -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_its_images(method: str, toy: Any) -> None:
    model, x = toy(), images()
    batch = run(method, model, x, batch_size=2)
    singles = [run(method, model, x[i : i + 1], LABELS[i : i + 1]) for i in range(3)]
    close(batch, np.concatenate(singles), 1e-5)


@pytest.mark.parametrize("method", WITHOUT_CAM)
def test_several_layers_are_averaged(method: str, toy: Any) -> None:
    from interpretdl.data_processor.heatmaps import heatmap_of

    model, x = toy(), images()
    fine, coarse = (run(method, model, x, target_layer_name=name) for name in ("2", "5"))
    both = run(method, model, x, target_layer_name=["5", "2"])
    close(both, (fine + heatmap_of(coarse, (12, 12), signed=True)) / 2)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_seen_gives_zeros(method: str, toy: Any) -> None:
    model, x = toy(), images()
    for channel in range(6):
        kill_channel(model, channel)
    assert not run(method, model, x).any()


class Tokens(nn.Layer):  # type: ignore[misc]  # Paddle is untyped to mypy
    """The toy network's last activation [N, 6, 6, 6] as a first token and 36 of the picture."""

    def __init__(self, toy: Any) -> None:
        super().__init__()
        self.toy = toy
        self.tokens = nn.Identity()

    def forward(self, x: Any) -> Any:
        for layer in list(self.toy)[:6]:
            x = layer(x)
        x = x.flatten(2).transpose([0, 2, 1])
        tokens = self.tokens(paddle.concat([x.mean(axis=1, keepdim=True) * 0 + 1, x], axis=1))
        return self.toy[8](tokens[:, 1:].mean(axis=1))


def from_tokens(values: Array) -> Array:
    return values[:, 1:].transpose(0, 2, 1).reshape(len(values), -1, 6, 6)


@pytest.mark.parametrize("method", WITHOUT_CAM)
def test_tokens(method: str, toy: Any) -> None:
    network, x = toy(), images()
    model, expected = in_eval(Tokens(network)), run(method, network, x)
    close(
        run(method, model, x, target_layer_name="tokens", reshape_transform=from_tokens), expected
    )
    close(run(method, model, x, target_layer_name="tokens"), expected)
    close(run(method, model, x), expected)  # the last of all


def test_ablation_cam_needs_to_know_what_a_channel_is(toy: Any) -> None:
    with pytest.raises(it.InputError, match="only moves"):
        run("ablation_cam", toy(), images(), reshape_transform=lambda a: a / 2)
