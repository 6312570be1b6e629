"""What is kept on the way: stabilizers, biases, rules from outside, and numbers that overflow."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

import interpretdl as it
from interpretdl import Probe
from interpretdl.errors import InterpretWarning, UnsupportedModelError
from interpretdl.rules import (
    COMPOSITES,
    Epsilon,
    Rule,
    Site,
    composite_of,
    lrp_composite,
    redirect,
    stabilize,
)
from interpretdl.rules.linear_map import CONVOLUTION, DENSE
from tests.oracles.lrp_by_hand import LABELS, NAMED, PREPROCESSING, images, network
from tests.oracles.rules_numpy import relative


def dense(*weights: Any, biases: Sequence[Any] = ()) -> Any:
    """Dense layers with ReLUs between them."""
    layers: list[Any] = []
    for i, values in enumerate(weights):
        array = np.array(values, np.float32)
        layer = nn.Linear(*array.shape, bias_attr=None if biases else False)
        layer.weight.set_value(array)
        if biases:
            layer.bias.set_value(np.array(biases[i], np.float32))
        layers += [layer, nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    model.eval()
    return model


# -- stabilizers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMED)
def test_the_size_of_a_networks_numbers_does_not_matter(name: str) -> None:
    """Weights of every layer times c: scores and relevance times c³, however small that is."""
    c = np.float32(1e-2)
    small = network(bias=False)
    for parameter in small.parameters():
        parameter.set_value(parameter.numpy() * c)
    maps = [
        Probe(model).gradients(
            images(), it.ClassScore(LABELS), rules=composite_of(name, PREPROCESSING)
        )
        for model in (network(bias=False), small)
    ]
    assert np.abs(maps[1].scores).max() < 1e-4
    assert relative(maps[1].relevance * 1e6, maps[0].relevance) < 1e-3  # the stabilizers themselves


def test_what_a_stabilizer_keeps_is_warned_of() -> None:
    """A score that is small beside another: of 2e-6, 1e-6 / (2e-6 + 1e-6) stay behind."""
    model = dense([[1.0, 0.0], [0.0, 1.0]], [[1.0, 2e-6], [0.5, 0.0]])
    x = np.array([[1.0, 0.5]], np.float32)
    interpreter = it.LRPInterpreter(model, preprocessing=None)
    with pytest.warns(InterpretWarning, match=r"stabilizers keep 33% of image 0's score 2e-06"):
        found = interpreter.explain(x, 1)
    kept = found.diagnostics["stabilizers_kept"]
    np.testing.assert_allclose(kept, 2e-6 / 3, rtol=1e-4)
    arrived = found.diagnostics["relevance_arrived"]
    np.testing.assert_allclose(arrived, found.scores - kept, rtol=1e-4)
    audit = interpreter.audit(x, 1)
    np.testing.assert_allclose(audit.seams[0].stabilizer, kept, rtol=1e-4)
    assert interpreter.explain(x, 0).diagnostics["stabilizers_kept"] < 1e-5


@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_a_large_epsilon_is_ones_own_choice(kind: str) -> None:
    """ε is in the units of the layer's output: y / (y + ε) go on."""
    model = dense([[2.0], [1.0]])
    x = np.array([[1.0, 2.0], [3.0, 1.0]], np.float32)
    if kind == "convolution":
        model = nn.Sequential(nn.Conv2D(2, 1, 1, bias_attr=False), nn.Flatten())
        model[0].weight.set_value(np.array([2.0, 1.0], np.float32).reshape(1, 2, 1, 1))
        x = x.reshape(2, 2, 1, 1)
    interpreter = it.LRPInterpreter(model, preprocessing=None)
    rules = lrp_composite("large", layers={CONVOLUTION: Epsilon(1.0), DENSE: Epsilon(1.0)})
    with pytest.warns(InterpretWarning, match=r"stabilizers keep 20% of image 0's score 4"):
        found = interpreter.explain(x, 0, composite=rules)
    np.testing.assert_allclose(found.diagnostics["stabilizers_kept"], [4 / 5, 7 / 8], rtol=1e-5)
    expected = np.array([[2.0, 2.0], [6.0, 1.0]]) * np.array([[4 / 5], [7 / 8]])
    if kind == "convolution":  # channels are summed
        expected = expected.sum(1, keepdims=True)
    np.testing.assert_allclose(found.values.reshape(expected.shape), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["epsilon", "epsilon_plus", "alpha2_beta1", "gamma", "w_square"])
def test_the_tally_is_the_audits(name: str) -> None:
    """What `explain` adds up in passing, seam by seam."""
    model = network()
    model[7].weight.set_value(model[7].weight.numpy() * np.float32(1e-4))
    model[7].bias.set_value(np.array([0.0, 0.0, 1.0, 0.0], np.float32))
    interpreter = it.LRPInterpreter(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InterpretWarning)
        found = interpreter.explain(images(), 1, composite=name)
    audit = interpreter.audit(images(), 1, composite=name)
    expected = np.sum([seam.stabilizer for seam in audit.seams], axis=0)
    size = np.abs(audit.start).max()
    np.testing.assert_allclose(
        found.diagnostics["stabilizers_kept"], expected, rtol=0.05, atol=1e-5 * size
    )


# -- rules from outside ---------------------------------------------------------------------------


class Outside(Rule):
    """Half of the relevance goes on, and the rule tells nobody; not a part of this package."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __call__(self, site: Site) -> Any:
        half = paddle.full_like(site.y, 0.5)
        if self.how == "redirect":
            return redirect(site.y, (site.y, half))
        if self.how == "stabilize":
            return redirect(site.y, (site.y, site.value / stabilize(2 * site.value)))
        return site.y * half + (site.y * (1 - half)).detach()


@pytest.mark.parametrize("how", ["redirect", "stabilize", "plain"])
def test_rules_from_outside_are_audited(how: str) -> None:
    model = dense([[1.0, 2.0], [3.0, -1.0]], [[1.0], [2.0]])
    x = np.array([[1.0, 2.0], [2.0, 1.0]], np.float32)
    rules = lrp_composite("outside", layers={DENSE: Outside(how)})
    audit = it.LRPInterpreter(model, preprocessing=None).audit(x, 0, composite=rules)
    start = np.array([7.0, 5.0 + 2 * 3.0])
    np.testing.assert_allclose(audit.start, start)
    for seam, share in zip(audit.seams, (1, 0.5), strict=True):
        np.testing.assert_allclose(seam.arrived, share * start, rtol=1e-5)
        np.testing.assert_allclose(seam.passed, share * start / 2, rtol=1e-5)
        np.testing.assert_allclose(seam.stabilizer, share * start / 2, rtol=1e-5)
    np.testing.assert_allclose(audit.absorbed, 0.75 * start, rtol=1e-5)
    np.testing.assert_allclose(audit.start - audit.absorbed, audit.input, rtol=1e-5)


# -- biases, and remarks --------------------------------------------------------------------------


def positive_layers() -> Any:
    """One hidden unit that the input raises, one that only its bias does: 2 + 3 at the output."""
    return dense([[1.0, -1.0]], [[2.0], [1.0]], biases=[[0.0, 4.0], [0.0]])


def test_excitation_backpropagation_leaves_biases_their_part() -> None:
    """2 of 5 come from the input: the map of those sums to 1."""
    model, x = positive_layers(), np.array([[1.0]], np.float32)
    method = it.ExcitationBPInterpreter(model, preprocessing=None)
    with pytest.warns(InterpretWarning, match="biases keep 60% of image 0's score 5"):
        found = method.explain(x, 0)
    np.testing.assert_allclose(found.values, [[1.0]], rtol=1e-5)
    assert method.remarks(found) == [
        "40% of the score arrived at the input; biases and stabilizers kept 60%."
    ]
    with pytest.raises(UnsupportedModelError, match=r"60% of image 0's score 5.*0 \(3\)"):
        method.explain(x, 0, strict=True)
    audit = it.LRPInterpreter(model, preprocessing=None).audit(
        x, 0, composite="excitation_backprop"
    )
    assert [seam.name for seam in audit.seams] == ["2", "0"]
    np.testing.assert_allclose([s.bias for s in audit.seams], [[0.0], [3.0]], atol=1e-4)
    np.testing.assert_allclose([s.stabilizer for s in audit.seams], 0, atol=1e-4)


def test_interpret_says_what_arrived(capsys: Any) -> None:
    """ε: of the second unit the input has -1 and the bias 4, so 2 - 1 of the 5 arrive."""
    method = it.LRPInterpreter(positive_layers(), preprocessing=None)
    found = method.interpret(np.array([[1.0]], np.float32), 0, visual=False)
    np.testing.assert_allclose(found, [[1.0]], rtol=1e-5)
    assert capsys.readouterr().out.splitlines()[-1] == (
        "20% of the score arrived at the input; biases and stabilizers kept 80%."
    )


def test_a_score_of_zero_has_no_shares() -> None:
    method = it.LRPInterpreter(dense([[1.0, 0.0]]), preprocessing=None)
    with pytest.warns(InterpretWarning, match="zero everywhere"):
        found = method.explain(np.array([[1.0]], np.float32), 1)
    assert method.remarks(found) == []


# -- numbers that overflow ------------------------------------------------------------------------


def test_relevance_that_is_not_finite_is_refused_with_its_place() -> None:
    """Gradients of 9e38 in front of the third layer, while every activation is a float32."""
    scales = (3e-19, 3e-19, 3e19, 3e19)
    model = dense(*([[scale]] for scale in scales))
    method = it.LRPInterpreter(model, preprocessing=None)
    with np.errstate(all="ignore"), pytest.raises(UnsupportedModelError, match=r"infinite at 4:"):
        method.explain(np.array([[1.0]], np.float32), 0, composite="epsilon")


# -- the default ----------------------------------------------------------------------------------


def test_the_default_is_for_every_entry() -> None:
    x, method = images(), it.LRPInterpreter(network())
    named = {"composite": "epsilon_gamma_box"}
    assert "epsilon_gamma_box" in COMPOSITES

    def same(a: Any, b: Any) -> bool:
        return bool(np.array_equal(np.asarray(a), np.asarray(b)))

    assert same(method.explain(x, LABELS), method.explain(x, LABELS, **named))
    assert same(
        method.relevance(x, LABELS, layer="3"), method.relevance(x, LABELS, layer="3", **named)
    )
    assert str(method.audit(x, LABELS)) == str(method.audit(x, LABELS, **named))


class Beside(nn.Layer):
    """A batch-norm that stands alone, and what goes around it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last = nn.BatchNorm1D(6), nn.Linear(6, 4, bias_attr=False)
        rng = np.random.default_rng(2)
        for name, p in self.named_parameters():
            values = rng.normal(size=p.shape)
            p.set_value((abs(values) + 0.3 if "_variance" in name else values).astype("float32"))
        self.eval()

    def forward(self, x: Any) -> Any:
        return self.last(self.norm(x) + x)


def test_a_seams_account_is_its_own() -> None:
    """What goes around a layer is not among what the layer passes on."""
    model, x = Beside(), np.random.default_rng(1).normal(size=(3, 6)).astype("float32")
    interpreter = it.LRPInterpreter(model, preprocessing=None)
    audit = interpreter.audit(x, [0, 1, 2], composite="epsilon")
    with paddle.no_grad():
        through = model.norm(paddle.to_tensor(x)).numpy()
    weights = model.last.weight.numpy()[:, [0, 1, 2]].T
    norm = next(seam for seam in audit.seams if seam.name == "norm")
    np.testing.assert_allclose(norm.arrived, (through * weights).sum(1), rtol=1e-4)
    np.testing.assert_allclose(norm.passed, (through * weights).sum(1), rtol=1e-3)


class Affine(nn.Layer):
    """s relu(x) + c with one s and one c, as PP-HGNetV2 has it, and parts that nothing made."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = self.create_parameter([1])
        self.shift, self.part = self.create_parameter([1]), self.create_parameter([1, 2])
        self.last = nn.Linear(6, 3, bias_attr=False)
        rng = np.random.default_rng(3)
        for parameter in self.parameters():
            parameter.set_value(rng.normal(1, 1, parameter.shape).astype("float32"))
        self.eval()

    def forward(self, x: Any) -> Any:
        y = self.scale * paddle.nn.functional.relu(x) + self.shift
        return self.last(paddle.concat([y, self.part.expand([len(x), 2])], axis=1))


@pytest.mark.parametrize("composite", ["epsilon", "attn_lrp", "excitation_backprop"])
def test_constants_that_are_added_keep_their_share(composite: str) -> None:
    model, x = Affine(), np.random.default_rng(1).uniform(1, 2, (3, 4)).astype("float32")
    if composite == "excitation_backprop":  # z⁺, which is epsilon's where all is positive
        for parameter in model.parameters():
            parameter.set_value(parameter.abs())
    method = it.LRPInterpreter(model, preprocessing=None)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "biases keep", InterpretWarning)
        audit = method.audit(x, [0, 1, 2], composite=composite)
    weights = model.last.weight.numpy()[:, [0, 1, 2]].T
    of_x = model.scale.item() * (x * weights[:, :4]).sum(1)
    kept = model.shift.item() * weights[:, :4].sum(1) + weights[:, 4:] @ model.part.numpy()[0]
    np.testing.assert_allclose(audit.input, of_x, rtol=1e-4)
    np.testing.assert_allclose(audit.absorbed, kept, rtol=1e-4, atol=1e-5)
