"""Whether evaluators rank methods as the truth does: `it.truth.judge`."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

import interpretdl as it
from interpretdl.errors import InputError
from interpretdl.truth import Agreement

METHODS = tuple("abcdefgh")
TRUTH = np.linspace(0, 1, len(METHODS))


class Unregistered(it.evaluator.base.Evaluator):
    def evaluate_case(self, case: Any) -> Any:
        raise NotImplementedError


def agreement(rows: dict[str, Any], noise: float = 0.0, n: int = 20) -> Agreement:
    """Of evaluators whose means over pictures are given for each method."""
    rng = np.random.default_rng(0)

    def each(mean: float) -> Any:
        return mean + noise * rng.standard_normal(n)

    return Agreement(
        tuple(rows), METHODS, ("s/p",),
        {(name, "s/p"): each(mean) for name, mean in zip(METHODS, TRUTH, strict=True)},
        {
            (row, name, "s/p"): each(mean)
            for row, means in rows.items()
            for name, mean in zip(METHODS, means, strict=True)
        },
    )  # fmt: skip


def test_the_same_order_is_one_and_the_reverse_minus_one() -> None:
    found = agreement({"same": TRUTH**3, "reverse": -TRUTH, "constant": np.ones(8)})
    assert found.correlation("same") == pytest.approx(1)
    assert found.correlation("reverse", "s/p") == pytest.approx(-1)
    assert np.isnan(found.correlation("constant"))
    assert found.ranked() == ("same", "reverse", "constant")
    assert found.interval("same") == pytest.approx((1, 1))
    assert np.isnan(found.interval("constant")).all()
    rows = list(csv.reader(io.StringIO(found.csv())))
    assert [row[0] for row in rows] == ["evaluator", "same", "reverse", "constant"]
    assert rows[3][1] == ""
    assert "same" in str(found)
    assert found.as_json()["rows"][2]["agreement"] is None


def test_it_is_spearmans_correlation_of_the_means() -> None:
    means = np.array([3, 1, 4, 1, 5, 9, 2, 6.0])
    found = agreement({"pi": means}, noise=0.3)
    own = [found.values["pi", name, "s/p"].mean() for name in METHODS]
    truth = [found.truth[name, "s/p"].mean() for name in METHODS]
    assert found.correlation("pi") == pytest.approx(spearmanr(own, truth).statistic)
    low, high = found.interval("pi")
    assert low < found.correlation("pi") < high


def test_a_method_without_a_value_is_left_out() -> None:
    means = TRUTH.copy()
    means[0] = np.nan
    found = agreement({"same": means})
    assert found.correlation("same") == pytest.approx(1)
    assert found.rows()[0][-1] == len(METHODS) - 1


def gradient_times_input(model: Any, x: Any, labels: Any) -> Any:
    return x * it.Probe(model).gradients(x, it.ClassScore(labels, "logit")).input


def flipped(model: Any, x: Any, labels: Any) -> Any:
    return gradient_times_input(model, x, labels)[..., ::-1]


def test_evaluators_are_held_against_maps_that_are_right_and_wrong() -> None:
    """Functions of other packages are methods too, and are explained with again."""
    methods = {"right": gradient_times_input, "flipped": flipped}
    metrics = ["perturbation", ("faithfulness_estimate", {"patch": 8}), "random_logit"]
    found = it.truth.judge(metrics, methods, "planted/keys", pictures=4)
    assert found.methods == ("right", "flipped", "random", "centre", "sobel")
    truth = {name: found.truth[name, "planted/keys"].mean() for name in found.methods}
    assert truth["right"] > 0.99
    assert truth["flipped"] < 0.3
    assert found.correlation("faithfulness_estimate") > 0.5
    assert found.values["random_logit", "right", "planted/keys"].shape == (4,)
    assert not found.reasons


def test_what_cannot_be_measured_has_a_reason() -> None:
    found = it.truth.judge(
        "relative_input_stability", gradient_times_input, "planted/linear", pictures=2
    )
    for (_, method, _), reason in found.reasons.items():
        assert method in found.methods
        assert reason


def test_functions_that_fail_have_a_reason_and_it_is_printed() -> None:
    def fails(model: Any, x: Any, labels: Any) -> Any:
        raise ZeroDivisionError("by zero")

    def nothing(model: Any, x: Any, labels: Any) -> Any:
        return None

    def spoils(model: Any, x: Any, labels: Any) -> Any:
        model.train()
        return gradient_times_input(model, x, labels)

    def once(model: Any, x: Any, labels: Any) -> Any:
        """The evaluator, which explains again, does not get a map."""
        calls.append(1)
        return gradient_times_input(model, x, labels) if len(calls) == 1 else None

    calls: list[int] = []
    metrics = ["sparseness", ("sensitivity_max", {"n_samples": 1})]
    found = it.truth.judge(
        metrics, [fails, nothing, spoils, once, gradient_times_input], "planted/keys", pictures=1
    )
    text = str(found)
    assert "over 8 methods, mean over 1 problem of 1 picture" in text
    assert "methods: fails, nothing, spoils, once, gradient_times_input, random," in text
    assert "problems: planted/keys" in text
    assert "fails; planted/keys: ZeroDivisionError: by zero" in text
    assert "spoils; planted/keys: the method changed the model" in text
    assert "nothing, sensitivity_max of once; planted/keys: InputError: a method must" in text
    for name in ("fails", "nothing", "spoils"):
        assert np.isnan(found.truth[name, "planted/keys"]).all()
        assert ("sparseness", name, "planted/keys") not in found.values
    assert found.values["sparseness", "gradient_times_input", "planted/keys"] > 0


def test_a_method_that_refuses_a_network_is_left_out() -> None:
    methods = {"right": gradient_times_input, "cam": "cam"}
    found = it.truth.judge("sparseness", methods, "planted/or", pictures=2)
    assert np.isnan(found.truth["cam", "planted/or"]).all()
    assert "cam" in {method for _, method, _ in found.reasons}
    assert found.rows()[0][-1] == 3  # controls; the gradient is zero here


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("no_such_metric",), "no_such_metric"),
        (("relevance_mass",), "is given the truth"),
        ((["deletion", "deletion"],), "two evaluators are named 'deletion'"),
        (([],), "at least one evaluator"),
        ((3,), "a registered name or its class"),
        (("deletion", None, "planted/nothing"), "there is nothing to find"),
        (("deletion", ["no_such_method"]), "no_such_method"),
        ((("deletion", {"stepz": 3}),), "deletion has no option 'stepz'; did you mean 'steps'"),
        (({1: "deletion"},), "an evaluator's name must be a text"),
        ((Unregistered,), "Unregistered is not registered"),
    ],
)
def test_mistakes_are_told(given: tuple[Any, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        it.truth.judge(*given)


def test_names_that_are_not_in_the_table() -> None:
    found = agreement({"same": TRUTH})
    with pytest.raises(InputError, match="'samme' is not in the table"):
        found.correlation("samme")
    with pytest.raises(InputError, match="s/q"):
        found.correlation("same", "s/q")
