"""What every registered evaluator promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest

from interpretdl import evaluator as ev
from interpretdl.interpreter import GradientInterpreter


def every_case(model: Any, seed: int = 0) -> tuple[Any, dict[str, Any]]:
    """Images and the arguments that satisfy every evaluator."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, 3, 8, 9)).astype(np.float32)
    masks = np.zeros((3, 8, 9), bool)
    masks[:, 2:5, 3:6] = True
    method = GradientInterpreter(model)
    explanation = method.explain(x, [0, 1, 2])
    return x, {
        "explanation": explanation, "interpreter": method, "masks": masks,
        "boxes": [(3, 2, 6, 5)] * 3,
    }  # fmt: skip


NAMES = sorted(ev.evaluators())


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_map_is_nan_and_flagged(name: str, toy: Callable[..., Any]) -> None:
    x, given = every_case(toy())
    values = given.pop("explanation").values.copy()
    values[1] = 0
    found = ev.find_evaluator(name).cls().measure(x, values, [0, 1, 2], **given)
    assert found.flags[1] == "the map is empty: zero everywhere"
    assert np.isnan(found.values).tolist() == [False, True, False]
    assert all(np.isnan(part[1]) for part in found.parts.values())
    assert all(np.isnan(curve[1]).all() for curve in found.curves.values())
    values[1] = np.nan
    found = ev.find_evaluator(name).cls().measure(x, values, [0, 1, 2], **given)
    assert "not finite" in found.flags[1]
    found = ev.find_evaluator(name).cls().measure(x, 0 * x, [0, 1, 2], **given)
    assert np.isnan(found.mean)
    assert set(found.flags) == {0, 1, 2}


@pytest.mark.parametrize("name", NAMES)
def test_the_cut_into_batches_and_the_neighbours_do_not_matter(
    name: str, toy: Callable[..., Any]
) -> None:
    results, rows = [], []
    for size in (1, 7, None):
        model = toy()
        model.register_forward_post_hook(lambda layer, x, y: rows.append(len(y)))
        x, given = every_case(model)
        given["interpreter"] = GradientInterpreter(model, batch_size=size)
        rows.clear()
        results.append(ev.find_evaluator(name).cls(model, batch_size=size).measure(x, **given))
        assert size is None or max(rows, default=0) <= size  # memory is bounded
    for other in results[1:]:
        assert other.values == pytest.approx(results[0].values, rel=1e-4, abs=1e-5, nan_ok=True)
    one = {key: value[:1] if key != "interpreter" else value for key, value in given.items()}
    alone = ev.find_evaluator(name).cls(model).measure(x[:1], **one)
    assert alone.values == pytest.approx(results[0].values[:1], rel=1e-4, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("name", NAMES)
def test_the_model_stays_and_the_seed_decides(name: str, toy: Callable[..., Any]) -> None:
    model = toy().train()
    before = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    x, given = every_case(model)
    untouched = x.copy()
    state = paddle.get_rng_state()
    next_numbers = paddle.rand([3]).numpy()
    paddle.set_rng_state(state)
    first = ev.find_evaluator(name).cls().measure(x, **given)
    again = ev.find_evaluator(name).cls().measure(x, **given)
    assert np.array_equal(first.values, again.values, equal_nan=True)
    assert np.array_equal(x, untouched)
    assert np.array_equal(paddle.rand([3]).numpy(), next_numbers)
    assert all(layer.training for layer in model.sublayers(include_self=True))
    for key, value in model.state_dict().items():
        assert np.array_equal(value.numpy(), before[key]), key
    info = ev.find_evaluator(name)
    if info.random:
        assert "seed" in info.options
    assert first.higher_is_better == info.higher_is_better == info.cls.higher_is_better
