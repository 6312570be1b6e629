"""`model.relprop` of the zoo: LRP of the last call."""

from __future__ import annotations

import copy
import gc

import numpy as np
import paddle
import pytest

import interpretdl as it
from interpretdl.rules import AlphaBeta, ZBox, lrp_composite
from interpretdl.rules.linear_map import LINEAR


@pytest.fixture(scope="module")
def network() -> it.lrp_model.RelevanceModel:
    paddle.seed(0)
    model = it.lrp_model.resnet18(num_classes=5)
    model.eval()
    return model


@pytest.fixture
def x() -> paddle.Tensor:
    pixels = np.random.default_rng(0).random((2, 3, 32, 32))
    return paddle.to_tensor((pixels * 2 - 1).astype("float32"))


def test_relprop_is_the_interpreters_relevance(network, x) -> None:
    y = network(x)
    R = y * paddle.nn.functional.one_hot(paddle.to_tensor([1, 3]), 5)
    relevance = network.relprop(R)
    lrp = it.LRPInterpreter(network)
    expected = lrp.explain(x.numpy(), label=[1, 3], composite="z_plus_box").values
    np.testing.assert_allclose(
        relevance.sum(1, keepdim=True).numpy(), expected, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(relevance.sum([1, 2, 3]).numpy(), R.sum(1).numpy(), rtol=1e-3)


def test_alpha_is_the_alpha_beta_rule(network, x) -> None:
    y = network(x)
    R = y * paddle.nn.functional.one_hot(paddle.to_tensor([0, 0]), 5)
    rules = lrp_composite(
        "mine",
        layers=dict.fromkeys(LINEAR, AlphaBeta(2)),
        first=ZBox(*network.preprocessing.bounds()),
    )
    expected = it.Probe(network).gradients(x, it.ClassScore(0), rules=rules).relevance
    np.testing.assert_allclose(network.relprop(R, alpha=2).numpy(), expected, rtol=1e-3, atol=1e-6)


def test_relevance_of_several_outputs_adds_up(network, x) -> None:
    y = network(x)
    whole = network.relprop(y)
    parts = [
        network.relprop(y * paddle.nn.functional.one_hot(paddle.full([2], k, "int64"), 5))
        for k in range(5)
    ]
    np.testing.assert_allclose(whole.numpy(), sum(p.numpy() for p in parts), rtol=1e-3, atol=1e-5)


def test_nothing_is_kept_and_misuse_is_told(network, x) -> None:
    fresh = copy.deepcopy(network)
    fresh.__dict__.pop("_last_input", None)
    with pytest.raises(it.InputError, match="call model"):
        fresh.relprop(np.zeros((2, 5)))
    network(x)
    with pytest.raises(it.InputError, match=r"\[2, 5\]"):
        network.relprop(np.zeros((2, 4)))
    with pytest.raises(it.InputError, match="alpha"):
        network.relprop(np.zeros((2, 5)), alpha=0.5)
    network(paddle.zeros([1, 3, 32, 32]))
    gc.collect()
    with pytest.raises(it.InputError, match="keep x"):
        network.relprop(np.zeros((1, 5)))
