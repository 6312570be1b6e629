"""Evaluators watch what was explained: worked out by hand on a linear model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from interpretdl import evaluator as ev
from interpretdl.errors import InputError
from interpretdl.explanation import Explanation
from interpretdl.interpreter import GradientInterpreter
from interpretdl.preprocessing import Preprocessing
from interpretdl.targets import ClassScore

# Logits of the picture of ones: 10, 4 and 2. The contrast of class 0 is 10 - 3.
W = np.array([[4, 3, 2, 1], [1, 1, 1, 1], [0, 1, 0, 1]], np.float32)
ONES = np.ones((1, 1, 2, 2), np.float32)
LOGIT, CONTRAST = 10, 7
PROBABILITY = float(np.exp(10) / np.exp([10, 4, 2]).sum())


@pytest.fixture
def method() -> GradientInterpreter:
    model = paddle.nn.Sequential(paddle.nn.Flatten(), paddle.nn.Linear(4, 3))
    model[1].weight.set_value(W.T)
    model[1].bias.set_value(np.zeros(3, np.float32))
    grey = Preprocessing(resize=None, crop=None, mean=(0.0,), std=(1.0,))
    return GradientInterpreter(model, preprocessing=grey)


def explained(method: Any, **how: Any) -> Explanation:
    found: Explanation = method.explain(ONES, times_input=True, **{"label": 0, **how})
    return found


def difference(method: Any, explanation: Any, labels: Any = None, **options: Any) -> float:
    """f(x) - f(0), of the f that completeness watches."""
    found = ev.Completeness(method.model, **options).measure(ONES, explanation, labels)
    return float(found.parts["difference"][0])


@pytest.mark.parametrize("how", [{"gradient_of": "contrast"}, {"label": ClassScore(0, "contrast")}])
def test_completeness_is_of_the_contrast_where_that_was_explained(method: Any, how: Any) -> None:
    explanation = explained(method, **how)
    assert explanation.values.sum() == pytest.approx(CONTRAST)
    assert difference(method, explanation) == pytest.approx(CONTRAST)
    assert ev.Completeness(method.model).measure(ONES, explanation).values == pytest.approx([0])


def test_a_target_says_itself_which_score_it_is(method: Any) -> None:
    with pytest.raises(InputError, match="leave gradient_of"):
        explained(method, label=ClassScore(0), gradient_of="loss")


def test_what_is_watched_can_be_chosen(method: Any) -> None:
    contrast = explained(method, gradient_of="contrast")
    assert difference(method, contrast, gradient_of="logit") == pytest.approx(LOGIT)
    # labels name another class, and what is explained of it stays
    assert difference(method, contrast, 1) == pytest.approx(4 - 6)
    assert difference(method, contrast, ClassScore(1)) == pytest.approx(4)
    # bare values are the top class's logit
    assert difference(method, contrast.values) == pytest.approx(LOGIT)
    curve = ev.Deletion(method.model).measure(ONES, contrast).curves["deletion"]
    assert curve[0, 0] == pytest.approx(PROBABILITY)  # deletion's own default


def test_a_target_that_is_no_class_stays_what_it_is(method: Any) -> None:
    explanation = explained(method, label=lambda output: 2 * output[:, 1])
    assert difference(method, explanation) == pytest.approx(8)
    assert difference(method, explanation, gradient_of="logit") == pytest.approx(8)


def test_explanations_from_files(method: Any, tmp_path: Path) -> None:
    explanation = explained(method, gradient_of="contrast")
    explanation.save(tmp_path / "e.npz")
    assert difference(method, Explanation.load(tmp_path / "e.npz")) == pytest.approx(CONTRAST)
    older = replace(explanation, target=None)  # its options still say what it was
    assert difference(method, older) == pytest.approx(CONTRAST)
    other = replace(explained(method, label=1, gradient_of="contrast"), target=None)
    assert difference(method, other) == pytest.approx(4 - 6)
    unknown = replace(explanation, target=None, labels=np.array([-1]))
    with pytest.raises(InputError, match="give labels="):
        difference(method, unknown)
    assert difference(method, unknown, 0) == pytest.approx(LOGIT)
    assert np.isfinite(ev.Sparseness().measure(ONES, unknown).values).all()  # needs no target


def test_explaining_again_is_of_the_same_score(method: Any) -> None:
    asked: list[Any] = []

    def again(x: Any, target: Any) -> Any:
        asked.append(target)
        return x

    explanation = explained(method, gradient_of="contrast")
    ev.Continuity(max_shift=1, step=1).measure(
        np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2), explanation, interpreter=again
    )
    ev.RandomLogit(method.model).measure(ONES, explanation, interpreter=again)
    *moved, other = asked
    assert {(int(each.labels), each.of) for each in moved} == {(0, "contrast")}
    assert (other.labels[0] in (1, 2), other.of) == (True, "contrast")
    # and with an Interpreter: the gradient of the contrast is the same wherever the picture moves
    options = {"gradient_of": "contrast"}
    for values in (method.explain(ONES, 0, **options), method.explain(ONES, 0, **options).values):
        found = ev.SensitivityMax().measure(ONES, values, interpreter=method, options=options)
        assert found.values == pytest.approx([0])


def test_the_former_name_of_gradient_of(method: Any) -> None:
    with pytest.warns(DeprecationWarning, match="give gradient_of=") as warned:
        evaluator = ev.Completeness(method.model, of="logit")
    assert warned[0].filename == __file__
    assert evaluator.settings()["gradient_of"] == "logit"
    with pytest.raises(TypeError, match="no option 'of'"):
        ev.Sparseness(of="logit")
