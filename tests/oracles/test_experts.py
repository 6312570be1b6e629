"""Activation maximization of several objectives in one call, and with an expert."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray

from interpretdl import ChannelScore, Preprocessing
from interpretdl.errors import InputError
from interpretdl.feature_visualization import ActivationMaximization, channel, class_score

GREY = Preprocessing(resize=None, crop=None, mean=(0.25,), std=(0.5,))


def linear_model(weights: NDArray[Any]) -> Any:
    """Logits w · x for w [K, C, H, W]."""
    from paddle import nn

    layer = nn.Linear(int(np.prod(weights.shape[1:])), len(weights), bias_attr=False)
    layer.weight.set_value(weights.reshape(len(weights), -1).T.astype(np.float32))
    return nn.Sequential(nn.Flatten(), layer)


def test_a_list_is_each_alone(toy: Any) -> None:
    maximizer = ActivationMaximization(toy())
    wanted = [0, channel("4", 1), ChannelScore("4", 2, (0, 5))]
    options: dict[str, Any] = {"shape": (3, 12, 12), "steps": 3, "starts": 2}
    found = maximizer.plain(wanted, **options)
    for i, objective in enumerate(wanted):
        alone = maximizer.plain(objective, **options)
        np.testing.assert_array_equal(found.inputs[2 * i : 2 * i + 2], alone.inputs)
        np.testing.assert_array_equal(found.history[2 * i : 2 * i + 2], alone.history)
        assert found.objectives[2 * i : 2 * i + 2] == (alone.objective,) * 2
    titles = [axes.get_title() for axes in found.plot().axes]
    assert titles[2].startswith("4 channel 1\n")
    assert titles[4].startswith("4 unit 2 at (0, 5)\n")
    assert found._repr_png_()[:4] == b"\x89PNG"
    with pytest.raises(InputError, match="no objective"):
        maximizer.plain([], **options)


def test_closed_form_with_an_expert() -> None:
    """w x - c |x|^2 - d |x - a|^2 is largest at (w + 2 d a) / 2 (c + d)."""
    rng = np.random.default_rng(0)
    weights, a = rng.normal(size=(2, 1, 4, 5)), rng.normal(size=(1, 4, 5))
    mean = paddle.to_tensor(a, dtype="float32")
    found = ActivationMaximization(linear_model(weights), preprocessing=GREY).plain(
        class_score(1, "logit"), (1, 4, 5), weight=0.5,
        expert=lambda x: -0.25 * (x - mean).square().flatten(1).sum(axis=1),
    )  # fmt: skip
    best = (weights[1] + 2 * 0.25 * a) / (2 * (0.5 + 0.25))
    np.testing.assert_allclose(found.inputs[0], best, atol=1e-3)


def test_an_expert_in_code_space() -> None:
    """It sees what the decoder makes of the code: g(z) = D z."""
    from paddle import nn

    rng = np.random.default_rng(1)
    decoder = nn.Sequential(nn.Linear(3, 20, bias_attr=False), nn.Unflatten(1, [1, 4, 5]))
    d = rng.normal(size=(3, 20))
    decoder[0].weight.set_value(d.astype(np.float32))
    weights = rng.normal(size=(2, 1, 4, 5))
    found = ActivationMaximization(linear_model(weights), preprocessing=GREY).in_code_space(
        class_score(1, "logit"), decoder, 3, weight=0.5, steps=1500,
        expert=lambda x: -0.25 * x.square().flatten(1).sum(axis=1),
    )  # fmt: skip
    # w D z - 0.5 |z|^2 - 0.25 |D z|^2
    best = np.linalg.solve(np.eye(3) + 0.5 * d @ d.T, d @ weights[1].ravel())
    assert found.codes is not None
    np.testing.assert_allclose(found.codes[0], best, atol=2e-3)


def test_an_expert_gives_a_number_for_each_picture(toy: Any) -> None:
    with pytest.raises(InputError, match=r"a Tensor \[2\]; got \[2, 3, 12, 12\]"):
        ActivationMaximization(toy()).plain(0, (3, 12, 12), steps=1, starts=2, expert=lambda x: x)
