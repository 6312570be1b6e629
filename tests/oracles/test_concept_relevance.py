"""Relevance through channels and heads: parts that add up to the whole, and messages by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import nn

import interpretdl as it
from interpretdl.cli.options import parse_options
from interpretdl.errors import InputError, LayerNotFoundError, UnsupportedModelError
from interpretdl.registry import METHODS
from interpretdl.rules import Epsilon, lrp_composite
from interpretdl.rules.linear_map import CONVOLUTION, DENSE
from interpretdl.testing import small_transformer
from tests.oracles.lrp_by_hand import LABELS, images, network
from tests.oracles.rules_numpy import relative
from tests.oracles.test_attention import Written, filled
from tests.oracles.test_attention import images as pictures

Array = NDArray[Any]


def lrp(model: Any, dtype: str = "float64") -> it.LRPInterpreter:
    model.to(dtype=dtype)
    return it.LRPInterpreter(model, preprocessing=getattr(model, "preprocessing", None))


def parts(
    method: it.LRPInterpreter, x: Array, label: Any, layer: str, channels: int, composite: str
) -> tuple[Array, Array]:
    """The sum over channels of relevance through each, and the numbers that set out."""
    found = [
        method.explain(x, label, composite=composite, through={layer: c}) for c in range(channels)
    ]
    started = [each.diagnostics["relevance_through"] for each in found]
    return np.sum([each.values for each in found], axis=0), np.sum(started, axis=0)


# -- channels add up -------------------------------------------------------------------------------

CNN = {"0": 4, "1": 4, "2": 4, "3": 4, "4": 5, "5": 5, "6": 20, "7": 4}


@pytest.mark.parametrize("composite", ["epsilon_gamma_box", "epsilon_plus"])
@pytest.mark.parametrize("layer", CNN)
def test_channels_of_a_convolutional_network_add_up(layer: str, composite: str) -> None:
    method = lrp(network())
    whole = method.explain(images(), LABELS, composite=composite)
    total, started = parts(method, images(), LABELS, layer, CNN[layer], composite)
    assert relative(total, whole.values) < 1e-5  # maps are float32
    # Every path leads through each of these layers: what sets out is what has arrived there.
    arrived = np.sum(method.relevance(images(), LABELS, layer=layer, composite=composite), axis=1)
    arrived = arrived.reshape(3, -1).sum(axis=1)
    np.testing.assert_allclose(started, arrived, rtol=1e-5)


@pytest.mark.parametrize("composite", ["attn_lrp", "cp_lrp"])
@pytest.mark.parametrize("layer", ["patch_embed", "blocks.0", "blocks.1", "norm", "head"])
def test_channels_of_a_transformer_add_up(layer: str, composite: str) -> None:
    method, x = lrp(small_transformer()), pictures(2)
    whole = method.explain(x, 1, composite=composite)
    channels = 5 if layer == "head" else 8
    total, _ = parts(method, x, 1, layer, channels, composite)
    assert relative(total, whole.values) < 1e-5


def test_heads_of_a_layer_and_what_goes_past_them_add_up() -> None:
    """In a model without a residual path all relevance flows through the heads."""
    x = pictures(2)

    class Straight(Written):
        def forward(self, x: Any) -> Any:
            x = self.embed(x).flatten(2).transpose([0, 2, 1])
            n, t, _ = x.shape
            q, k, v = self.qkv(x).reshape([n, t, 3, 2, 4]).transpose([2, 0, 1, 3, 4])
            return self.head(self.out(self.mixed(q, k, v).reshape([n, t, 8])).mean(axis=1))

    for way in ("operator", "matmul", "sdpa"):
        method = lrp(filled(Straight(way)))
        whole = method.explain(x, 1, composite="attn_lrp")
        total, started = parts(method, x, 1, "attention:0", 2, "attn_lrp")
        assert relative(total, whole.values) < 1e-5
        (heads,) = method.heads(x, 1)
        assert heads.shape == (2, 2)
        np.testing.assert_allclose(heads.sum(axis=1), started, rtol=1e-5)
        one = method.explain(x, 1, composite="attn_lrp", through={"attention:0": 1})
        np.testing.assert_allclose(one.diagnostics["relevance_through"], heads[:, 1], rtol=1e-5)


def test_heads_are_the_columns_before_the_projection() -> None:
    """The relevance of a head is that of its part of the input of the layer behind."""
    model, x = small_transformer(), pictures(2)
    method = lrp(model)
    for composite in ("attn_lrp", "cp_lrp"):
        heads = method.heads(x, 1, composite=composite)
        for layer in range(2):
            name = f"blocks.{layer}.attn.proj:input"
            at = method.relevance(x, 1, layer=name, composite=composite)
            expected = np.asarray(at).reshape(2, 17, 2, 4).sum(axis=(1, 3))
            np.testing.assert_allclose(heads[layer], expected, rtol=1e-5)
    with pytest.raises(UnsupportedModelError, match="does not attend"):
        it.LRPInterpreter(network()).heads(images(), 1)


def test_branches_add_up() -> None:
    """Relevance through a branch and through what goes past it: a ResNet's two paths."""

    class Branches(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.branch = nn.Conv2D(3, 4, 3, padding=1), nn.Conv2D(4, 4, 1)
            self.skip, self.head = nn.Identity(), nn.Linear(4, 5)

        def forward(self, x: Any) -> Any:
            y = self.first(x)
            out = self.branch(nn.functional.relu(y))
            out += self.skip(y)  # in place, where Paddle can
            return self.head(out.mean(axis=[2, 3]))

    method, x = lrp(filled(Branches())), pictures(2)
    whole = method.explain(x, 1, composite="epsilon")
    total = sum(parts(method, x, 1, layer, 4, "epsilon")[0] for layer in ("branch", "skip"))
    assert relative(total, whole.values) < 1e-5
    # All channels in one list are the sum over them.
    listed = method.explain(x, 1, composite="epsilon", through={"branch": [0, 1, 2, 3]})
    total, _ = parts(method, x, 1, "branch", 4, "epsilon")
    assert relative(listed.values, total) < 1e-5
    # Through one layer and then another, in the order of the run whatever that of the keys.
    both = [
        sum(
            method.explain(x, 1, composite="epsilon", through=dict(order)).values
            for a in range(4)
            for b in range(4)
            for order in [[("first", a), ("branch", b)][::step]]
        )
        for step in (1, -1)
    ]
    for found in both:
        assert relative(found, total) < 1e-5


# -- by hand ---------------------------------------------------------------------------------------


def test_messages_of_a_network_of_two_layers() -> None:
    rng = np.random.default_rng(0)
    first, second = nn.Linear(4, 3, bias_attr=False), nn.Linear(3, 2, bias_attr=False)
    model = filled(nn.Sequential(first, nn.ReLU(), second))
    method, x = lrp(model), rng.normal(size=(5, 4))
    w, v = first.weight.numpy(), second.weight.numpy()
    h = np.maximum(x @ w, 0)
    for channel in range(3):
        for layer in ("0", "1"):
            found = method.explain(
                x.astype("float32"), 1, composite="epsilon", through={layer: channel}
            )
            expected = np.zeros((5, 4))
            for n in range(5):
                relevance = h[n, channel] * v[channel, 1]
                messages = x[n] * w[:, channel]
                if h[n, channel] > 0:
                    expected[n] = messages / messages.sum() * relevance
            np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-6)
            passed = found.diagnostics["relevance_through"]
            np.testing.assert_allclose(passed, h[:, channel] * v[channel, 1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layer", ["2", "4", "5"])
def test_at_its_layer_there_is_relevance_in_the_channel_alone(layer: str) -> None:
    method = lrp(network())
    whole = np.asarray(method.relevance(images(), LABELS, layer=layer))
    found = np.asarray(method.relevance(images(), LABELS, layer=layer, through={layer: 2}))
    np.testing.assert_allclose(found[:, 2], whole[:, 2], rtol=1e-6)
    assert not np.delete(found, 2, axis=1).any()
    assert found.any()
    behind = np.asarray(method.relevance(images(), LABELS, layer="7", through={layer: 2}))
    assert not behind.any()


# -- the account -----------------------------------------------------------------------------------


def test_the_account_begins_at_the_channels() -> None:
    method = lrp(network())
    for composite in ("epsilon_gamma_box", "z_plus_box"):
        found = method.explain(images(), LABELS, composite=composite, through={"4": [1, 3]})
        facts = found.diagnostics
        audit = method.audit(images(), LABELS, composite=composite, through={"4": [1, 3]})
        np.testing.assert_allclose(audit.start, facts["relevance_through"], rtol=1e-5)
        np.testing.assert_allclose(audit.input, facts["relevance_arrived"], rtol=1e-4)
        np.testing.assert_allclose(audit.start - audit.absorbed, audit.input, rtol=1e-5, atol=1e-8)
        names = [seam.name for seam in audit.seams]
        assert names == ["4", "0"]
        assert "through" in str(audit)
        # A part of the score sets out; that the rest does not arrive is nothing to warn of.
        assert np.abs(facts["relevance_through"] - facts["score"]).max() > 0.05


def test_what_stabilizers_keep_is_counted_from_the_channels_on() -> None:
    rules = lrp_composite("mine", layers={CONVOLUTION: Epsilon(0.05), DENSE: Epsilon(0.05)})
    method = lrp(network(bias=False))
    with pytest.warns(it.errors.InterpretWarning, match="stabilizers"):
        whole = method.explain(images(), LABELS, composite=rules)
    with pytest.warns(it.errors.InterpretWarning, match="stabilizers"):
        found = [
            method.explain(images(), LABELS, composite=rules, through={"4": c}) for c in range(5)
        ]
    for each in found:
        facts = each.diagnostics
        kept = facts["relevance_through"] - facts["relevance_arrived"]
        np.testing.assert_allclose(facts["stabilizers_kept"], kept, rtol=1e-4, atol=1e-7)
    assert relative(sum(each.values for each in found), whole.values) < 1e-5


# -- what cannot be --------------------------------------------------------------------------------


class Twice(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.relu, self.conv = nn.BatchNorm2D(3), nn.ReLU(), nn.Conv2D(3, 3, 3)
        self.unused, self.head = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        x = self.relu(self.conv(self.relu(self.scale(x))))
        return self.head(x.mean(axis=[2, 3]))


def test_what_cannot_be_is_told() -> None:
    model = filled(Twice())
    model.scale._variance.set_value(np.ones(3, np.float32))
    method, x = it.LRPInterpreter(model), pictures(1)
    for through, error, words in (
        ({"con": 0}, LayerNotFoundError, "did you mean 'conv'"),
        ({"unused": 0}, LayerNotFoundError, "did not run"),
        ({"attention:0": 0}, LayerNotFoundError, "0 layer"),
        ({"relu": 0}, UnsupportedModelError, "before the first convolution"),
        ({"scale": 0}, UnsupportedModelError, "before the first convolution"),
        ({"conv": 3}, InputError, "channels 0 to 2"),
        ({"conv": [0, -1]}, InputError, "channels 0 to 2"),
        ({"conv": []}, InputError, "whole number"),
        ({"conv": 0.5}, InputError, "whole number"),
        ("conv", InputError, "through must be"),
    ):
        with pytest.raises(error, match=words):
            method.explain(x, 1, through=through)
    with pytest.raises(UnsupportedModelError, match="runs several times"):
        method.explain(x, 1, composite="epsilon_plus", through={"relu": 0})
    assert method.explain(x, 1, through={"conv": np.int64(1)}).parameters["through"] == {"conv": 1}
    attending = it.LRPInterpreter(small_transformer())
    for through, error, words in (
        ({"attention:2": 0}, LayerNotFoundError, "2 layer"),
        ({"attention:1": 2}, InputError, "heads 0 to 1"),
    ):
        with pytest.raises(error, match=words):
            attending.explain(x, 1, composite="attn_lrp", through=through)


def test_on_the_command_line() -> None:
    known = METHODS.find("lrp").options
    given = parse_options(['through={"layer4.2": [3, 5], "attention:1": 0}'], known, "lrp")
    assert given == {"through": {"layer4.2": [3, 5], "attention:1": 0}}
    for text in ("layer4.2", "{layer4.2: 3}"):
        with pytest.raises(InputError, match="through must be"):
            parse_options([f"through={text}"], known, "lrp")


def test_nothing_of_a_run_stays() -> None:
    model = network()
    method = it.LRPInterpreter(model)
    before = method.explain(images(), LABELS).values
    method.explain(images(), LABELS, through={"4": 1})
    np.testing.assert_array_equal(method.explain(images(), LABELS).values, before)
    assert not any(layer._forward_post_hooks for layer in model.sublayers())
    with paddle.no_grad():
        model(paddle.to_tensor(images()))
