"""Probe: what models return, what ran, where, and threads."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

import interpretdl as it
from interpretdl import ClassScore, Probe
from tests.probes import Around, Run, images, in_train, plain_gradient, plain_logits

# -- outputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "output"),
    [
        (lambda y: (y * 2, y), 1),
        (lambda y: [y * 2, y], -1),
        (lambda y: {"aux": y * 2, "logits": y}, "logits"),
        (lambda y: {"aux": y * 2, "deep": [y]}, lambda out: out["deep"][0]),
        (lambda y: (y,), None),
    ],
)
def test_outputs(change: Any, output: Any, toy: Any) -> None:
    model, x = toy(), images()
    probe = Probe(Around(model, change), output=output)
    np.testing.assert_allclose(probe.logits(x), plain_logits(model, x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        probe.gradients(x, ClassScore(1)).input, plain_gradient(model, x, 1), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("output", [None, 2, "logits"])
def test_outputs_that_are_not_there(output: Any, toy: Any) -> None:
    probe = Probe(Around(toy(), lambda y: {"aux": y, "deep": (y, y)}), output=output)
    says = r"\{'aux': Tensor\[\d, 5\], 'deep': tuple\(Tensor\[\d, 5\], Tensor\[\d, 5\]\)\}"
    with pytest.raises((it.InputError, it.UnsupportedModelError), match=says):
        probe.logits(images())


@pytest.mark.parametrize("output", [3, "logits"])
def test_no_such_place_in_a_tuple(output: Any, toy: Any) -> None:
    with pytest.raises(it.InputError, match=r"is not in tuple\(Tensor\[\d, 5\], Tensor\[\d, 5\]\)"):
        Probe(Around(toy(), lambda y: (y, y)), output=output).logits(images())


@pytest.mark.parametrize(
    ("change", "output", "says"),
    [
        (lambda y: y, "logits", r"output='logits' is not in Tensor\[1, 5\]: .* one tensor"),
        (lambda y: y, 0, r"output=0 is not in Tensor\[1, 5\]"),  # not the first image
        (lambda y: (y, None), 1, r"output=1 must lead to a tensor; got NoneType of tuple"),
        (lambda y: {"all": (y, y)}, "all", r"got tuple\(Tensor\[1, 5\], Tensor\[1, 5\]\) of"),
        (lambda y: {"a": y}, lambda out: out["b"], r"callable output= failed on \{'a'.*KeyError"),
        (lambda y: y, lambda out: out.logits, r"failed on Tensor\[1, 5\]: AttributeError"),
        (lambda y: y, lambda out: out.numpy(), r"must lead to a tensor; got ndarray of Tensor"),
        (lambda y: (y, y), True, "an index, a key, a callable or None; got True"),
        (lambda y: (y, y), [1], r"an index, a key, a callable or None; got \[1\]"),
    ],
)
def test_wrong_outputs(change: Any, output: Any, says: str, toy: Any) -> None:
    with pytest.raises(it.InputError, match=says):
        it.GradientInterpreter(Around(toy(), change), output=output).explain(images())


@pytest.mark.parametrize(
    "change",
    [
        lambda y: (y, None),
        lambda y: None,
        lambda y: (),
        lambda y: y.argmax(axis=1),
        lambda y: (10 * y).astype("int64"),
        lambda y: y > 0,
        lambda y: y.astype("complex64"),
        lambda y: y.mean(),
    ],
)
def test_outputs_that_cannot_be_explained(change: Any, toy: Any) -> None:
    with pytest.raises(it.UnsupportedModelError, match="with output="):
        it.GradientInterpreter(Around(toy(), change)).explain(images())


@pytest.mark.parametrize(("dtype", "to"), [("float16", 2e-3), ("bfloat16", 2e-2)])
@pytest.mark.parametrize("softmax", [False, True])
def test_half_precision_outputs(dtype: str, to: float, softmax: bool, toy: Any) -> None:
    x, whole, kind = images(), toy(), "probabilities" if softmax else "logits"
    half = Around(whole, lambda y: (F.softmax(y) if softmax else y).astype(dtype))
    probe, expected = Probe(half, output_kind=kind), Probe(whole)
    found = probe.gradients(x, ClassScore(1, "probability"))
    assert found.outputs.dtype == np.float32
    same = expected.gradients(x, ClassScore(1, "probability"))
    np.testing.assert_allclose(found.scores, same.scores, rtol=0, atol=to)
    np.testing.assert_allclose(found.input, same.input, rtol=0, atol=to * abs(same.input).max())


def test_a_softmax_is_noticed_once(toy: Any) -> None:
    model, x = toy(), images()
    probe = Probe(Around(model, F.softmax))
    with pytest.warns(it.InterpretWarning, match="output_kind='probabilities'") as warned:
        logits = probe.logits(x)
    assert len(warned) == 1
    probe.gradients(x, ClassScore(0))  # a second warning would be an error
    expected = F.log_softmax(paddle.to_tensor(plain_logits(model, x))).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    told = Probe(Around(model, F.softmax), output_kind="probabilities")
    np.testing.assert_allclose(told.logits(x), expected, rtol=1e-4, atol=1e-5)
    of = ClassScore(2, "probability")
    np.testing.assert_allclose(
        told.gradients(x, of).input, Probe(model).gradients(x, of).input, rtol=1e-3, atol=1e-5
    )
    kept = Probe(Around(model, F.softmax), output_kind="logits")
    np.testing.assert_allclose(kept.logits(x).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_softmax_in_half_precision_is_noticed(dtype: str, toy: Any) -> None:
    model, x = Around(toy(), lambda y: F.softmax(y).astype(dtype)), images()
    with pytest.warns(it.InterpretWarning, match="output_kind='probabilities'"):
        logits = Probe(model).logits(x)
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1, atol=1e-2)


def test_a_softmax_behind_an_lstm_is_noticed() -> None:
    """To look at its graph, and to free it, is to run it backward: in eval mode Paddle cannot."""
    model = Run(
        lambda m, x: F.softmax(m.fc(m.lstm(x)[0][:, -1])), lstm=nn.LSTM(4, 3), fc=nn.Linear(3, 5)
    )
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)
    with pytest.warns(it.InterpretWarning, match="output_kind='probabilities'"):
        logits = Probe(model).logits(x)
    np.testing.assert_allclose(np.exp(logits), plain_logits(model, x), rtol=1e-5)
    assert Probe(model).census(x)["rnn"] == 1


def test_a_certain_softmax_has_finite_logits(toy: Any) -> None:
    model = Around(toy(), lambda y: F.softmax(1000 * y))
    assert np.isfinite(Probe(model, output_kind="probabilities").logits(images())).all()


# -- census, layers --------------------------------------------------------------------------------


def test_census_sees_what_layers_do_not_show() -> None:
    model = Run(
        lambda m, x: F.relu(m.act(m.fused(m.conv(x)))).mean([2, 3]),
        conv=nn.Conv2D(3, 4, 3), fused=nn.BatchNorm(4, act="relu"), act=nn.ReLU(),
    )  # fmt: skip
    census = Probe(model).census(images())
    assert (census["relu"], census["conv2d"], census["batch_norm"]) == (3, 1, 1)


def test_layer_shapes_and_the_last_spatial_one(toy: Any) -> None:
    probe, x = Probe(toy()), images()
    shapes = probe.layer_shapes(x)
    assert list(shapes) == [str(i) for i in range(9)]
    assert (shapes["3"], shapes["8"]) == ((1, 4, 6, 6), (1, 5))
    assert probe.last_spatial_layer(x) == "5"
    with pytest.raises(it.UnsupportedModelError, match="target_layer_name"):
        Probe(nn.Sequential(nn.Flatten(), nn.Linear(432, 3))).last_spatial_layer(x)


# -- devices ---------------------------------------------------------------------------------------


def test_devices(toy: Any) -> None:
    place = paddle.get_device()
    assert Probe(toy(), device="cpu").logits(images()).shape == (5, 5)
    for wrong in ("tpu", "cuda:0", 3):
        with pytest.raises(it.InputError, match="device must be 'cpu'"):
            Probe(toy(), device=wrong)  # type: ignore[arg-type]  # the mistake itself
    assert paddle.get_device() == place


@pytest.mark.skipif(paddle.device.is_compiled_with_cuda(), reason="of a Paddle without a GPU")
@pytest.mark.parametrize("device", ["gpu", "gpu:0"])
def test_a_gpu_that_is_not_there(device: str, toy: Any) -> None:
    with pytest.warns(it.InterpretWarning, match="the CPU is used") as warned:
        found = it.GradCAMInterpreter(toy(), device=device).explain(images())
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert found.values.shape == (5, 6, 6)


# -- threads ---------------------------------------------------------------------------------------


def test_threads_get_what_one_would(toy: Any) -> None:
    models = [in_train(toy(seed=seed)) for seed in (0, 1)]
    x = images(4)
    jobs = [(m, cls) for m in models for cls in (it.GradientInterpreter, it.GradCAMInterpreter)]
    expected = [cls(m).explain(x, label=1).values for m, cls in jobs]
    modes = [[layer.training for layer in m.sublayers(include_self=True)] for m in models]
    wrong: list[Any] = []

    def work(i: int) -> None:
        model, cls = jobs[i]
        for _ in range(15):
            if not np.array_equal(cls(model).explain(x, label=1).values, expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert modes == [[one.training for one in m.sublayers(include_self=True)] for m in models]
