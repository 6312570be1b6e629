"""The probe's promises: values, batches, outputs, hooks, devices."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

import interpretdl as it
from interpretdl import ClassScore, Probe
from tests.probes import Array, Run, images, plain_gradient, plain_logits

# -- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_values_are_the_models(channels: int, toy: Any) -> None:
    model, x = toy(channels=channels), images(channels=channels)
    probe, logits = Probe(model), plain_logits(model, images(channels=channels))
    np.testing.assert_allclose(probe.logits(x), logits, rtol=1e-5, atol=1e-6)
    target = ClassScore(np.array([0, 1, 2, 3, 4]))
    np.testing.assert_allclose(probe.scores(x, target), logits.diagonal(), rtol=1e-5, atol=1e-6)
    run = probe.gradients(x, ClassScore(2))
    np.testing.assert_allclose(run.input, plain_gradient(model, x, 2), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(run.scores, logits[:, 2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run.outputs, logits, rtol=1e-5, atol=1e-6)


def test_outside_of_no_grad_and_inside_alike(toy: Any) -> None:
    probe, x = Probe(toy()), images()
    expected = probe.gradients(x, ClassScore(0)).input
    with paddle.no_grad():
        np.testing.assert_array_equal(probe.gradients(x, ClassScore(0)).input, expected)
        assert not paddle.is_grad_enabled()
    with paddle.enable_grad():
        probe.logits(x)
        assert paddle.is_grad_enabled()


def test_double_precision_models_stay_double(toy: Any) -> None:
    found = Probe(toy().to(dtype="float64")).gradients(images(), ClassScore(0))
    assert (found.input.dtype, found.scores.dtype, found.outputs.dtype) == (np.float64,) * 3


def test_activations_and_gradients_at_layers(toy: Any) -> None:
    model, x = toy(), images()
    probe = Probe(model)
    run = probe.gradients(x, ClassScore(1), at=["2", "4:input", "8:input", "8"], with_input=True)
    before = nn.Sequential(*list(model)[:3])(paddle.to_tensor(x)).numpy()
    np.testing.assert_allclose(run.activations["2"], before, rtol=1e-5, atol=1e-6)
    pooled = F.max_pool2d(paddle.to_tensor(before), 2).numpy()
    np.testing.assert_allclose(run.activations["4:input"], pooled, rtol=1e-5, atol=1e-6)
    # The last layer: the gradient with respect to its input is a column of its weight.
    weight = model[8].weight.numpy()[:, 1]
    np.testing.assert_allclose(run.gradients["8:input"], np.tile(weight, (5, 1)), rtol=1e-6)
    np.testing.assert_array_equal(run.gradients["8"], np.tile(np.eye(5)[1], (5, 1)))
    np.testing.assert_allclose(run.input, plain_gradient(model, x, 1), rtol=1e-4, atol=1e-6)
    # The gradient there, run back by hand to the input, is the input's.
    tensor = paddle.to_tensor(x, stop_gradient=False)
    middle = nn.Sequential(*list(model)[:3])(tensor)
    (by_hand,) = paddle.grad([middle], [tensor], [paddle.to_tensor(run.gradients["2"])])
    np.testing.assert_allclose(by_hand.numpy(), run.input, rtol=1e-4, atol=1e-6)
    tail = probe.gradients(x, ClassScore(1), at="2")
    np.testing.assert_allclose(tail.gradients["2"], run.gradients["2"], rtol=1e-6)
    assert tail.input.size == 0
    for name, value in probe.activations(x, ["2", "4:input"]).items():
        np.testing.assert_allclose(value, run.activations[name], rtol=1e-5, atol=1e-6)


def test_several_targets_in_one_forward(toy: Any) -> None:
    model, x = toy(), images()
    runs: list[int] = []
    model.register_forward_post_hook(lambda *args: runs.append(1))
    probe = Probe(model, batch_size=5)
    targets = [ClassScore(0), ClassScore(np.arange(5)), lambda out: out[:, 1] * 2]
    found = probe.gradients_of(x, targets)
    assert len(runs) == 1
    for target, one in zip(targets, found, strict=True):
        np.testing.assert_allclose(one.input, probe.gradients(x, target).input, rtol=1e-6)
    np.testing.assert_allclose(found[2].input, 2 * plain_gradient(model, x, 1), atol=1e-5)


def test_edits(toy: Any) -> None:
    model, x = toy(), images()
    probe = Probe(model)
    rest = nn.Sequential(*list(model)[3:])
    start = nn.Sequential(*list(model)[:3])
    expected = rest(start(paddle.to_tensor(x)) * 0.5).numpy()
    edit = {"2": lambda y: y * 0.5}
    np.testing.assert_allclose(probe.logits(x, edit=edit), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        probe.logits(x, edit={"3:input": lambda y: y * 0.5}), expected, rtol=1e-5, atol=1e-6
    )
    run = probe.gradients(x, ClassScore(0), at="2", edit=edit)
    np.testing.assert_allclose(run.activations["2"], start(paddle.to_tensor(x)).numpy() / 2)
    # One row in, many rows out.
    many = probe.logits(x[:1], edit={"2": lambda y: y * paddle.arange(3.0).reshape([3, 1, 1, 1])})
    assert many.shape == (3, 5)
    np.testing.assert_allclose(many[1], plain_logits(model, x[:1])[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(probe.logits(x), plain_logits(model, x), rtol=1e-5, atol=1e-6)


def test_a_layer_that_runs_twice(toy: Any) -> None:
    model = Run(
        lambda m, x: m.head(m.act(m.conv(m.act(m.conv(x)))).mean([2, 3])),
        conv=nn.Conv2D(3, 3, 3, padding=1), act=nn.ReLU(), head=nn.Linear(3, 4),
    )  # fmt: skip
    x = images()
    probe = Probe(model)
    np.testing.assert_allclose(
        probe.gradients(x, ClassScore(1)).input, plain_gradient(model, x, 1), atol=1e-6
    )
    last = model.act(model.conv(model.act(model.conv(paddle.to_tensor(x))))).numpy()
    np.testing.assert_allclose(probe.activations(x, "act")["act"], last, atol=1e-6)
    assert probe.census(x)["relu"] == 2


def test_models_that_work_in_place() -> None:
    model = Run(
        lambda m, x: m.head(F.relu_(m.conv(F.relu_(x))).mean([2, 3])),
        conv=nn.Conv2D(3, 3, 3), head=nn.Linear(3, 4),
    )  # fmt: skip
    other = Run(
        lambda m, x: m.head(F.relu(m.conv(F.relu(x))).mean([2, 3])),
        conv=model.conv, head=model.head,
    )  # fmt: skip
    x, given = images(), images()
    probe = Probe(model)
    np.testing.assert_allclose(
        probe.gradients(x, ClassScore(1)).input, plain_gradient(other, x, 1), atol=1e-6
    )
    # What a layer gave, not what was made of it in place afterwards.
    conv = other.conv(F.relu(paddle.to_tensor(x))).numpy()
    assert conv.min() < 0
    np.testing.assert_allclose(probe.activations(x, "conv")["conv"], conv, atol=1e-6)
    run = probe.gradients(x, ClassScore(1), at="conv")
    np.testing.assert_allclose(run.activations["conv"], conv, atol=1e-6)
    assert not run.gradients["conv"][conv < 0].any()
    np.testing.assert_array_equal(x, given)


def test_layers_are_those_the_model_has_now(toy: Any) -> None:
    model, x = toy(), images()
    probe = Probe(model)
    model[8] = nn.Linear(6, 2)
    assert probe.activations(x, "8")["8"].shape == (5, 2)


# -- errors ----------------------------------------------------------------------------------------


def test_layers_that_are_not_there(toy: Any) -> None:
    model = Run(lambda m, x: m.layer1(x), layer1=toy(), layer2=nn.ReLU())
    probe, x = Probe(model), images()
    with pytest.raises(it.LayerNotFoundError, match=r"did you mean .*'layer2', 'layer1'"):
        probe.activations(x, "layer5")
    with pytest.raises(it.LayerNotFoundError, match=r"it has layer1, layer1\.0"):
        probe.gradients(x, ClassScore(0), at="xyz")
    with pytest.raises(it.LayerNotFoundError, match="'layer2' did not run"):
        probe.activations(x, "layer2")
    with pytest.raises(it.LayerNotFoundError):
        probe.logits(x, edit={"nothing": lambda y: y})
    assert probe.layer_names()[:2] == ["layer1", "layer1.0"]


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.zeros((0, 3, 4, 4), np.float32), "empty"),
        (np.zeros((), np.float32), "shape"),
        ([1.0, 2.0], "list"),
        ((np.zeros((2, 3), np.float32), np.zeros(3)), "as many rows"),
        ({}, "at least one"),
        (np.array(["a"]), "numbers"),
        (np.zeros((1, 3, 4, 4), np.uint8), "uint8"),
    ],
)
def test_inputs_that_do_not_fit(x: Array, says: str, toy: Any) -> None:
    with pytest.raises(it.InputError, match=says):
        Probe(toy()).logits(x)


def test_targets_that_do_not_fit(toy: Any) -> None:
    probe, x = Probe(toy()), images()
    for target in (lambda out: out, lambda out: 1.0, lambda out: out.sum()):
        with pytest.raises(it.TargetError, match=r"one score per image, a Tensor \[\d\]"):
            probe.scores(x, target)
    with pytest.raises(it.UnsupportedModelError, match="differentiable"):
        probe.gradients(x, lambda out: out[:, 0].detach())


def test_constructor() -> None:
    with pytest.raises(it.InputError, match=r"paddle\.nn\.Layer"):
        Probe("resnet50")
    with pytest.raises(it.InputError, match="batch_size"):
        Probe(nn.ReLU(), batch_size=0)
    with pytest.raises(it.InputError, match="output_kind"):
        Probe(nn.ReLU(), output_kind="softmax")  # type: ignore[arg-type]  # the mistake itself


def test_paddle_model_is_unwrapped(toy: Any) -> None:
    network = toy()
    assert Probe(paddle.Model(network)).model is network


def test_a_layer_without_a_tensor() -> None:
    model = Run(lambda m, x: m.two(x)[0].mean([2, 3]), two=Run(lambda m, x: (x, x)))
    with pytest.raises(it.UnsupportedModelError, match=r"tuple\(Tensor"):
        Probe(model).activations(images(), "two")


# -- batches ---------------------------------------------------------------------------------------


class Small(nn.Layer):
    """Passes its input on; raises MemoryError for more than `most` images."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.sizes: deque[int] = deque()  # shared with the copy that the probe runs

    def forward(self, x: Any) -> Any:
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise MemoryError(f"{len(x)} images")
        return x


@pytest.mark.parametrize("size", [1, 2, 3, 8, None])
def test_the_cut_does_not_matter(size: int | None, toy: Any) -> None:
    model, x, labels = toy(), images(7), np.arange(7) % 5
    expected = plain_gradient(model, x[3:4], 3)
    run = Probe(model, batch_size=size).gradients(x, ClassScore(labels), at="4", with_input=True)
    np.testing.assert_allclose(run.input[3:4], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(run.scores, plain_logits(model, x)[range(7), labels], rtol=1e-4)
    assert {len(v) for v in (run.outputs, run.activations["4"], run.gradients["4"])} == {7}


def test_out_of_memory_halves_the_batch(toy: Any) -> None:
    model, x = toy(), images(9)
    small = Small(most=3)
    probe = Probe(nn.Sequential(small, model), batch_size=8)
    found = probe.gradients(x, ClassScore(np.arange(9) % 5))
    expected = Probe(model).gradients(x, ClassScore(np.arange(9) % 5))
    np.testing.assert_allclose(found.input, expected.input, rtol=1e-4, atol=1e-6)
    assert list(small.sizes) == [8, 4, 2, 2, 2, 2, 1]
    np.testing.assert_allclose(probe.logits(x), expected.outputs, rtol=1e-5, atol=1e-6)


def test_out_of_memory_with_one_image(toy: Any) -> None:
    model = nn.Sequential(Small(most=0), toy())
    with pytest.raises(it.ResourceError, match=r"of shape \[3, 12, 12\].*smaller"):
        Probe(model, batch_size=4).logits(images())


def test_batches_are_planned_from_what_is_free(toy: Any, monkeypatch: Any) -> None:
    model, x = toy(), images(20)
    small = Small(most=99)
    probe = Probe(nn.Sequential(small, model))
    assert probe.batch_plan(x) == 1  # nothing is known yet
    probe.gradients(x, ClassScore(0))
    planned = probe.batch_plan(x)
    assert list(small.sizes) == [1, *[planned] * 4, 20 - 1 - 4 * planned]
    # A few images' worth of memory: fewer at once.
    monkeypatch.setattr("interpretdl.probe.batches.free_bytes", lambda place: 0)
    assert probe.batch_plan(x) == 1
    monkeypatch.setattr("interpretdl.probe.batches.free_bytes", lambda place: 1 << 60)
    assert probe.batch_plan(x) == planned == 4  # 8 without gradient
    assert probe.batch_plan(images(2, size=16)) == 1  # another shape is measured anew
    assert Probe(model, batch_size=3).batch_plan(x) == 3


def test_hooks_of_measuring_are_gone(toy: Any) -> None:
    model = toy()
    Probe(model).gradients(images(), ClassScore(0))
    assert not any(layer._forward_post_hooks for layer in model.sublayers(include_self=True))
