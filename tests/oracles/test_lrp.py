"""Layer-wise relevance propagation through whole networks, against the same by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from paddle import nn

import interpretdl as it
from interpretdl import Probe
from interpretdl.errors import InputError, InterpretWarning, UnsupportedModelError
from interpretdl.rules import (
    COMPOSITES,
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    ZBox,
    ZPlus,
    composite_of,
    lrp_composite,
)
from interpretdl.rules.linear_map import CONVOLUTION, DENSE
from tests.oracles import rules_numpy as oracle
from tests.oracles.lrp_by_hand import (
    AB,
    BOX,
    FLAT,
    LABELS,
    NAMED,
    OTHERS,
    PREPROCESSING,
    ZB,
    ByHand,
    E,
    G,
    images,
    network,
)
from tests.oracles.rules_numpy import Array, relative


def test_every_composite_is_here() -> None:
    assert set(NAMED) | OTHERS == set(COMPOSITES)


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-9)])
def test_named_composites(name: str, dtype: str, tolerance: float) -> None:
    x, by_hand = images(dtype), ByHand()
    passed = [by_hand.propagate(*one, NAMED[name]) for one in zip(x, LABELS, strict=True)]
    probe, rules = Probe(network(dtype)), composite_of(name, PREPROCESSING)
    found = probe.gradients(x, it.ClassScore(LABELS), rules=rules)
    assert relative(found.relevance, [p.input for p in passed]) < tolerance
    # The same in one's and two's, and at every seam.
    halves = [
        probe.gradients(x[rows], it.ClassScore(LABELS[rows]), rules=rules).relevance
        for rows in (slice(0, 1), slice(1, 3))
    ]
    assert relative(np.concatenate(halves), found.relevance) < tolerance / 10
    at = probe.gradients(x, it.ClassScore(LABELS), ["2", "3", "5"], rules)
    for layer in ("2", "3", "5"):
        there = at.activations[layer] * at.gradients[layer]
        assert relative(there, [p.seams[layer] for p in passed]) < tolerance


@pytest.mark.parametrize("name", NAMED)
def test_the_account_balances(name: str) -> None:
    """start - absorbed = input, and what each bias absorbs is what it does by hand."""
    model, x, by_hand = network(), images(), ByHand()
    passed = [by_hand.propagate(*one, NAMED[name]) for one in zip(x, LABELS, strict=True)]
    audit = it.LRPInterpreter(model).audit(x, LABELS, composite=name)
    np.testing.assert_allclose(audit.start, [p.score for p in passed], rtol=1e-5)
    size = max(float(np.abs(p.input).sum()) for p in passed)
    np.testing.assert_allclose(audit.start - audit.absorbed, audit.input, atol=1e-5 * size)
    assert [seam.name for seam in audit.seams] == ["7", "4", "0"]
    for seam in audit.seams:
        expected = [p.kept[seam.name] for p in passed]
        np.testing.assert_allclose(seam.bias, expected, atol=1e-5 * size, err_msg=seam.name)
    table = str(audit)
    assert table.startswith(" ")
    assert [row.split()[0] for row in table.splitlines()[1:]] == ["score", "7", "4", "0", "input"]


@pytest.mark.parametrize("composite", ["alpha2_beta1", "epsilon", "gamma", "deep_taylor"])
def test_without_biases_every_seam_conserves(composite: str) -> None:
    audit = it.LRPInterpreter(network(bias=False)).audit(images(), LABELS, composite=composite)
    assert len(audit.seams) == 3
    for seam in audit.seams:
        np.testing.assert_allclose(seam.passed, audit.start, rtol=1e-4, err_msg=seam.name)
        np.testing.assert_array_equal(seam.bias, 0)
    np.testing.assert_allclose(audit.input, audit.start, rtol=1e-4)


def positive_network() -> Any:
    """Every output has an input that raises it, so that z⁺ without bias has somewhere to go."""
    model = network()
    for parameter in (model[0].weight, model[4].weight, model[7].weight):
        parameter.set_value(np.abs(parameter.numpy()) - 0.1)
    return model


@pytest.mark.parametrize("composite", ["z_plus_box", "excitation_backprop"])
def test_z_plus_without_bias_conserves_at_every_seam(composite: str) -> None:
    interpreter = it.LRPInterpreter(positive_network())
    x = np.abs(images()) if composite == "excitation_backprop" else images()
    audit = interpreter.audit(x, LABELS, composite=composite)
    for seam in audit.seams:
        np.testing.assert_allclose(seam.passed, audit.start, rtol=1e-4, err_msg=seam.name)
    found = interpreter.explain(x, LABELS, composite=composite, strict=True)
    np.testing.assert_allclose(found.values.sum((1, 2, 3)), audit.start, rtol=1e-4)
    assert interpreter.remarks(found[0]) == ["All of the score arrived at the pixels."]


def test_relevance_that_only_a_bias_caused() -> None:
    """Where nothing but a bias raises an output, z⁺ without bias leaves the relevance there."""
    model = network()
    model[7].weight.set_value(-np.abs(model[7].weight.numpy()))
    model[7].bias.set_value(np.full(4, 50, np.float32))
    interpreter = it.LRPInterpreter(model)
    with pytest.raises(UnsupportedModelError, match=r"promises that all relevance arrives.*7 \("):
        interpreter.explain(images(), LABELS, composite="z_plus_box", strict=True)
    with pytest.warns(InterpretWarning) as warned:
        found = interpreter.explain(images(), LABELS, composite="z_plus_box")
    assert "biases keep 100% of image" in str(warned[0].message)
    assert np.abs(found.diagnostics["relevance_arrived"]).max() < 1e-2
    audit = interpreter.audit(images(), LABELS, composite="z_plus_box")  # to see where it went
    np.testing.assert_allclose(audit.seams[0].bias, audit.start, rtol=1e-3)
    with pytest.raises(UnsupportedModelError, match="promises that all relevance arrives"):
        it.ExcitationBPInterpreter(model).explain(np.abs(images()), LABELS, strict=True)
    kept = interpreter.audit(images(), LABELS, composite="epsilon_plus")
    assert np.all(kept.seams[0].bias > kept.start)


def test_lrp_0_is_gradient_times_input() -> None:
    model, x = network("float64"), images("float64")
    probe, score = Probe(model), it.ClassScore(LABELS)
    plain = lrp_composite("lrp_0", layers={CONVOLUTION: Epsilon(0), DENSE: Epsilon(0)})
    found = probe.gradients(x, score, rules=plain)
    gradient = probe.gradients(x, score).input
    assert relative(found.relevance, x * gradient) < 1e-12
    assert relative(found.input, gradient) < 1e-12
    for rule in (Gamma(0), Epsilon(1e-12)):
        rules = lrp_composite("limit", layers={CONVOLUTION: rule, DENSE: rule})
        assert relative(probe.gradients(x, score, rules=rules).relevance, x * gradient) < 1e-4


def test_a_large_gamma_is_z_plus() -> None:
    x, score = images("float64"), it.ClassScore(LABELS)
    probe = Probe(network("float64", seed=3))
    found = [
        probe.gradients(
            x, score, rules=lrp_composite("", layers={CONVOLUTION: r, DENSE: Epsilon()})
        )
        for r in (Gamma(1e8), ZPlus())
    ]
    assert relative(found[0].relevance, found[1].relevance) < 1e-5


def test_methods_on_z_plus() -> None:
    model = positive_network()
    x = np.abs(images())
    found = it.ExcitationBPInterpreter(model).explain(x, LABELS)
    np.testing.assert_allclose(found.values.sum((1, 2, 3)), 1, rtol=1e-4)
    assert found.values.min() >= 0
    there = it.ExcitationBPInterpreter(model).explain(x, LABELS, layer="3")
    assert there.values.shape == (3, 1, 3, 3)
    np.testing.assert_allclose(there.values.sum((1, 2, 3)), 1, rtol=1e-4)
    by_hand, score = ByHand(), Probe(network()).scores(images(), it.ClassScore(LABELS))
    with pytest.warns(InterpretWarning, match="zero everywhere"):  # scores below zero
        deep = it.DeepTaylorInterpreter(network()).explain(images(), LABELS).values
    expected = [
        by_hand.propagate(*one, NAMED["deep_taylor"]).input.sum(0, keepdims=True) * (f > 0)
        for *one, f in zip(images(), LABELS, score, strict=True)
    ]
    assert {f > 0 for f in score} == {True, False}
    assert relative(deep, expected) < 1e-5
    assert deep.min() >= 0


def test_contrast_starts_from_the_difference() -> None:
    """Relevance of a contrast is the target's less the mean of the others', if one rule is linear
    in what arrives."""
    interpreter = it.LRPInterpreter(network())
    x = images()
    maps = [
        interpreter.explain(x, [k] * 3, composite="epsilon").values.astype(float) for k in range(4)
    ]
    found = interpreter.explain(x, [1] * 3, composite="epsilon", gradient_of="contrast").values
    assert relative(found, maps[1] - (maps[0] + maps[2] + maps[3]) / 3) < 1e-5


# -- a user's own -------------------------------------------------------------------------------


def test_ones_own_composite() -> None:
    """By type, first, last, and name; a name counts before a position, that before a type."""
    own = lrp_composite(
        "mine",
        layers={nn.Conv2D: Gamma(0.25), nn.Linear: Epsilon()},
        first=ZBox(),
        names={"4": AlphaBeta(2)},
    )
    by_hand, x = ByHand(), images()

    def expected(*rules: Any) -> list[Array]:
        maps = [by_hand.propagate(a, k, rules).input for a, k in zip(x, LABELS, strict=True)]
        return [m.sum(0, keepdims=True) for m in maps]

    interpreter = it.LRPInterpreter(network())
    found = interpreter.explain(x, LABELS, composite=own)
    assert relative(found.values, expected(BOX, AB, E)) < 1e-5
    assert found.parameters["composite"]
    last = lrp_composite("last", layers={nn.Conv2D: ZPlus()}, first=Flat(), last=ZPlus())
    assert (
        relative(interpreter.explain(x, LABELS, composite=last).values, expected(FLAT, ZB, ZB))
        < 1e-5
    )
    before = lrp_composite("names", layers={nn.Conv2D: ZPlus()}, first=Flat(), names={"0": Gamma()})
    found = interpreter.explain(x, LABELS, composite=before)
    assert relative(found.values, expected(G, ZB, oracle.epsilon())) < 1e-5
    assert (
        relative(interpreter.explain(x, LABELS, composite=own).values, expected(BOX, AB, E)) < 1e-5
    )


def test_unknown_composites() -> None:
    interpreter = it.LRPInterpreter(network())
    with pytest.raises(InputError, match="did you mean 'epsilon_plus'"):
        interpreter.explain(images(), LABELS, composite="epsilon_pluss")
    with pytest.raises(InputError, match="must be a string or a Composite"):
        interpreter.explain(images(), LABELS, composite=ZPlus())  # type: ignore[arg-type]  # the test


def test_relevance_of_layers() -> None:
    by_hand, x = ByHand(), images()
    passed = [by_hand.propagate(*one, NAMED["epsilon_plus"]) for one in zip(x, LABELS, strict=True)]
    interpreter = it.LRPInterpreter(network())
    found = interpreter.relevance(x, LABELS, layer="3", composite="epsilon_plus")
    assert relative(found, [p.seams["3"] for p in passed]) < 1e-5
    several = interpreter.relevance(x, LABELS, layer=["2", "5"], composite="epsilon_plus")
    assert list(several) == ["2", "5"]
    for name, values in several.items():
        assert relative(values, [p.seams[name] for p in passed]) < 1e-5
    # Behind the convolution there is its batch-norm, whose output is the ReLU's input.
    for name in ("0", "1"):
        there = interpreter.relevance(x, LABELS, layer=name, composite="epsilon_plus")
        sums = [p.seams["2"].sum() for p in passed]
        np.testing.assert_allclose(there.sum((1, 2, 3)), sums, rtol=1e-4, err_msg=name)


def test_what_one_call_watches_does_not_change_the_next() -> None:
    """Who reads a convolution's output keeps its batch-norm from being folded, in that call."""
    model, x, score = network(), images(), it.ClassScore(LABELS)
    probe, rules = Probe(model), composite_of("epsilon_plus")
    fresh = probe.gradients(x, score, rules=rules).relevance
    watched = probe.gradients(x, score, ["0", "1"], rules, with_input=True)
    assert relative(watched.relevance, fresh) > 0.01
    np.testing.assert_array_equal(probe.gradients(x, score, rules=rules).relevance, fresh)
