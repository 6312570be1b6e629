"""The planted problems are what they say, by interventions of the tests' own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import interpretdl as it
from interpretdl.truth import Problem, closed_form, planted, planted_recipes
from interpretdl.truth.backgrounds import backgrounds

PICTURES = 6
NAMES = [
    "keys",
    "large",
    "sparse",
    "moved",
    "ripples",
    "or",
    "and",
    "more",
    "exactly_one",
    "nothing",
    "linear",
]


@pytest.fixture(scope="module")
def problems() -> dict[str, Problem]:
    return {problem.name: problem for problem in planted.planted(PICTURES)}


def logits(problem: Problem, x: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(it.Probe(problem.model).logits(x), np.float64)


def of_labels(problem: Problem, x: NDArray[np.float32]) -> NDArray[np.float64]:
    return logits(problem, x)[np.arange(len(problem)), problem.labels]


def test_the_suite_is_the_same_every_time(problems: dict[str, Problem]) -> None:
    assert list(problems) == NAMES
    for again in planted.planted(PICTURES):
        before = problems[again.name]
        for name, array in vars(before).items():
            if isinstance(array, np.ndarray):
                np.testing.assert_array_equal(array, getattr(again, name), err_msg=name)
        np.testing.assert_array_equal(logits(before, before.x), logits(again, again.x))


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_natural_and_not_masked(name: str, problems: dict[str, Problem]) -> None:
    """The mean is zero in each channel; outside of the truth pixels are a photograph's."""
    problem = problems[name]
    assert problem.x.shape == (PICTURES, 3, 64, 64)
    np.testing.assert_allclose(problem.x.mean(axis=(2, 3)), 0, atol=1e-6)
    assert np.abs(problem.x).max() <= 1
    outside = problem.x * ~problem.masks[:, None]
    assert (outside.std(axis=(1, 2, 3)) > 0.03).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("nothing", "linear")])
def test_the_truth_decides_and_nothing_else(name: str, problems: dict[str, Problem]) -> None:
    problem = problems[name]
    exact = 0.2 if name == "ripples" else 1e-3
    whole = of_labels(problem, problem.x)
    assert (whole >= 4 - exact).all()
    without = of_labels(problem, problem.x * ~problem.masks[:, None])
    np.testing.assert_allclose(without, 0, atol=exact)
    alone = of_labels(problem, problem.x * problem.masks[:, None])
    np.testing.assert_allclose(alone, whole, atol=exact)
    noise = np.random.default_rng(0).normal(0, 0.02, problem.x.shape).astype(np.float32)
    noisy = of_labels(problem, problem.x + noise * ~problem.masks[:, None])
    np.testing.assert_allclose(noisy, whole, atol=exact)


def test_one_key_is_enough_for_or_and_not_for_and(problems: dict[str, Problem]) -> None:
    from scipy.ndimage import label

    for name, left in (("or", 4), ("and", 0)):
        problem = problems[name]
        for which in (1, 2):
            one = np.stack([label(mask)[0] == which for mask in problem.masks])
            assert (one.sum(axis=(1, 2)) == 64).all()
            scores = of_labels(problem, problem.x * ~one[:, None])
            np.testing.assert_allclose(scores, left, atol=1e-3)


def test_the_class_of_nothing_does_not_change(problems: dict[str, Problem]) -> None:
    problem = problems["nothing"]
    assert not problem.masks.any()
    for x in (problem.x, backgrounds(PICTURES, seed=3) - np.float32(0.5), 0 * problem.x):
        np.testing.assert_allclose(of_labels(problem, x), 4, atol=1e-3)
    found = it.GradientInterpreter(problem.model).probe.gradients(
        problem.x, it.ClassScore(problem.labels, "logit")
    )
    assert not found.input.any()  # zero, and not only small


@pytest.mark.parametrize("name", ["keys", "large", "sparse", "moved", "and", "exactly_one"])
def test_decoys_have_no_slope_at_all(name: str, problems: dict[str, Problem]) -> None:
    problem = problems[name]
    target = it.ClassScore(problem.labels, "logit")
    slopes = it.Probe(problem.model).gradients(problem.x, target).input
    inside = np.broadcast_to(problem.masks[:, None], slopes.shape)
    assert not slopes[~inside].any()
    assert slopes[inside].all()


def test_ripples_are_steep_and_low(problems: dict[str, Problem]) -> None:
    problem = problems["ripples"]
    target = it.ClassScore(problem.labels, "logit")
    sizes = np.abs(it.Probe(problem.model).gradients(problem.x, target).input).sum(axis=1)
    outside = (sizes * ~problem.masks).sum(axis=(1, 2))
    assert (outside > 3 * (sizes * problem.masks).sum(axis=(1, 2))).all()


def test_other_classes_have_evidence_of_their_own(problems: dict[str, Problem]) -> None:
    for problem in problems.values():
        if problem.others is None or problem.other_masks is None:
            continue
        assert not (problem.masks & problem.other_masks).any()
        assert (problem.others != problem.labels).all()
        emptied = problem.x * ~problem.other_masks[:, None]
        rows = np.arange(PICTURES), problem.others
        lost = (logits(problem, problem.x) - logits(problem, emptied))[rows]
        if problem.name == "linear":
            np.testing.assert_allclose(lost, logits(problem, problem.x)[rows], atol=1e-4)
        else:
            assert (lost > 3.7).all()


def test_mirrored_truth_is_wrong(problems: dict[str, Problem]) -> None:
    for problem in problems.values():
        assert not (problem.masks & problem.masks[..., ::-1]).any()


def test_a_network_that_does_something_else_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = planted_recipes.recipes()

    def wrong() -> tuple[Any, ...]:
        head = replace(whole[0].head, units=np.array([[4, 1, 0], [0, 6, 0]], np.float32))
        right = whole[0].head.units
        monkeypatch.setattr(type(head), "logits", lambda self, counts: right @ [*counts, 1])
        return (replace(whole[0], head=head),)

    monkeypatch.setattr(planted, "recipes", wrong)
    with pytest.raises(it.InterpretError, match="'keys' does not do what it was made to do"):
        planted.planted(2)


# -- the linear problem ----------------------------------------------------------------------------


def test_closed_form_is_weight_times_pixel(problems: dict[str, Problem]) -> None:
    """A weight is the logit of a picture with one pixel of 1; some are tried."""
    problem = problems["linear"]
    found = closed_form(problem)
    rng = np.random.default_rng(0)
    where = rng.integers(0, problem.x[0].size, 300)
    ones = np.zeros((300, problem.x[0].size), np.float32)
    ones[np.arange(300), where] = 1
    weights = logits(problem, ones.reshape(300, 3, 64, 64))
    for i, label in enumerate(problem.labels):
        expected = weights[:, label] * problem.x[i].ravel()[where]
        np.testing.assert_allclose(found[i].ravel()[where], expected, atol=1e-7)
    assert (weights != 0).any(axis=0).all()
    np.testing.assert_allclose(found.sum(axis=(1, 2, 3)), of_labels(problem, problem.x), atol=1e-4)
    assert not found.sum(axis=1)[~problem.masks].any()


def test_importance_is_what_the_logit_loses(problems: dict[str, Problem]) -> None:
    problem = problems["linear"]
    assert problem.parts is not None
    assert problem.importance is not None
    for p in range(problem.parts.shape[1]):
        emptied = problem.x * ~problem.parts[:, p, None]
        lost = of_labels(problem, problem.x) - of_labels(problem, emptied)
        np.testing.assert_allclose(problem.importance[:, p], lost, atol=1e-4)


def test_closed_form_is_of_the_linear_problem(problems: dict[str, Problem]) -> None:
    with pytest.raises(it.InputError, match="only planted/linear"):
        closed_form(problems["keys"])


ZERO = np.zeros((3, 64, 64), np.float32)
EXACT: dict[str, dict[str, Any]] = {
    "simple_taylor": {},
    "integrated_gradients": {"baselines": ZERO, "steps": 3},
    "deep_lift": {"baselines": ZERO},
    "grad_shap": {"baselines": ZERO, "noise_amount": 0.0, "n_samples": 2},
}


def relative_error(values: NDArray[Any], problem: Problem) -> float:
    expected = closed_form(problem).sum(axis=1)
    found = values.astype(np.float64).sum(axis=1)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", EXACT)
def test_methods_that_share_a_score_give_the_closed_form(
    name: str, problems: dict[str, Problem]
) -> None:
    problem = problems["linear"]
    method = it.registry.METHODS.find(name).cls(problem.model)
    found = method.explain(problem.x, label=problem.labels, gradient_of="logit", **EXACT[name])
    assert relative_error(found.values, problem) < 1e-6


def test_lrp_gives_the_closed_form_where_nothing_cancels(problems: dict[str, Problem]) -> None:
    """LRP gives nothing to the inputs of a neuron whose output is zero, and so on pixels of both
    signs it is not weight times pixel everywhere."""
    problem = replace(problems["linear"], x=np.abs(problems["linear"].x) + np.float32(0.125))
    method = it.LRPInterpreter(problem.model)
    found = method.explain(problem.x, label=problem.labels, composite="epsilon")
    assert relative_error(found.values, problem) < 1e-5


def test_expected_gradients_against_zero(problems: dict[str, Problem]) -> None:
    problem = problems["linear"]
    method = it.ExpectedGradientsInterpreter(problem.model, ZERO[None])
    found = method.explain(problem.x, label=problem.labels, nsamples=2)
    assert relative_error(found.values, problem) < 1e-6


@pytest.mark.parametrize("name", ["feature_ablation", "shapley_sampling", "kernel_shap"])
def test_methods_of_regions_give_its_sums(name: str, problems: dict[str, Problem]) -> None:
    problem = problems["linear"].take(2)
    regions = np.arange(16).reshape(4, 4).repeat(16, 0).repeat(16, 1)
    options = {} if name == "feature_ablation" else {"evaluations": 80}
    found = it.registry.METHODS.find(name).cls(problem.model).explain(
        problem.x, label=problem.labels, regions=regions, fill=0.0, **options
    )  # fmt: skip
    each = closed_form(problem).sum(axis=1)
    sums = np.stack([each[:, regions == region].sum(axis=1) for region in range(16)], axis=1)
    shown = found.values[:, 0, ::16, ::16].reshape(2, 16)
    np.testing.assert_allclose(shown, sums, atol=1e-5 * np.abs(sums).max())
