"""LRP on a ResNet-18 trained on handwritten digits: relevance lies on the strokes that decide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import interpretdl as it
from interpretdl import Preprocessing, Probe
from tests.digits import digits_data, fit_once, train, weights_folder

Array = NDArray[Any]
EPOCHS, BATCH, RATE, HELD = 1, 32, 1e-3, 360
SHOWN = 30  # images explained
# By how much deletion beats deletion at random: of any pixels, of pixels with ink only. Where the
# first layer's rule is z-box, pixels without ink count too: that they are white speaks for a digit.
COMPOSITES = {
    "z_plus_box": (0.15, None),
    "epsilon_gamma_box": (0.25, None),
    "epsilon_plus": (0.35, 0.03),
    "epsilon": (0.4, 0.06),
}


def network() -> Any:
    """The zoo's ResNet-18 for pictures [1, 32, 32] in [0, 1], with He's initialization."""
    model = it.lrp_model.resnet18(num_classes=10, in_channels=1)
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            fan = np.prod(parameter.shape[1:]) if parameter.ndim == 4 else parameter.shape[0]
            values = rng.standard_normal(parameter.shape, dtype=np.float32)
            parameter.set_value(values * np.float32(np.sqrt(2 / fan)))
    model.preprocessing = Preprocessing(resize=None, crop=None, mean=(0.0,), std=(1.0,))
    return model


@pytest.fixture(scope="module")
def trained(request: pytest.FixtureRequest) -> tuple[Any, Array, Array]:
    """The network in eval mode, pictures that it was not trained on, and their digits."""
    x, y = digits_data()
    x = x.repeat(2, axis=2).repeat(2, axis=3)
    model = network()
    fit_once(
        *(model, lambda: train(model, x[:-HELD], y[:-HELD], EPOCHS, RATE, BATCH)),
        *(weights_folder(request), "resnet18"),
    )
    model.eval()
    return model, x[-HELD:], y[-HELD:]


def test_it_reads_digits(trained: Any) -> None:
    model, x, y = trained
    assert (Probe(model).logits(x).argmax(1) == y).mean() > 0.9


def blocks(maps: Array) -> Array:
    """Sums over the 64 pixels of the original pictures, [N, 64]."""
    n = len(maps)
    return maps.reshape(n, 8, 4, 8, 4).sum((2, 4)).reshape(n, 64)


def deleted(probe: Probe, x: Array, labels: Array, order: Array) -> float:
    """Mean probability of the label while pixels turn to background in that order."""
    means = []
    taken = np.zeros((len(x), 64), bool)
    for k in range(0, 24, 4):
        np.put_along_axis(taken, order[:, k : k + 4], True, axis=1)
        mask = taken.reshape(-1, 1, 8, 8).repeat(4, 2).repeat(4, 3)
        left = np.where(mask, 0, x).astype(x.dtype)
        means.append(probe.scores(left, it.ClassScore(labels, "probability")).mean())
    return float(np.mean(means))


@pytest.fixture(scope="module")
def at_random(trained: Any) -> tuple[Array, Array, float, float]:
    """Pictures, their predicted digits, and the mean probability as pixels are deleted at random:
    any pixels, and those with ink first."""
    model, x, _ = trained
    x = x[:SHOWN]
    probe = Probe(model, batch_size=SHOWN)
    labels = probe.logits(x).argmax(1)
    noise = np.random.default_rng(0).random((SHOWN, 64))
    orders = np.argsort(noise, axis=1), np.argsort(noise - inked(x), axis=1)
    anywhere, on_ink = (deleted(probe, x, labels, order) for order in orders)
    assert on_ink < anywhere - 0.2  # the measure tells a good order from a bad one
    return x, labels, anywhere, on_ink


def inked(x: Array) -> Array:
    """Which of the 64 pixels are more ink than paper, bool [N, 64]."""
    return np.asarray(blocks(x[:, 0]) > 0.5 * 16)


@pytest.mark.parametrize("composite", COMPOSITES)
def test_relevance_is_on_the_strokes(trained: Any, at_random: Any, composite: str) -> None:
    model, (x, labels, anywhere, on_ink) = trained[0], at_random
    found = it.LRPInterpreter(model, batch_size=10).explain(x, labels, composite=composite)
    relevance = blocks(found.values[:, 0].astype(np.float64))

    ink, positive = inked(x), np.maximum(relevance, 0)
    share = (positive * ink).sum(1) / positive.sum(1)
    assert share.mean() > 1.3 * ink.mean()

    probe = Probe(model, batch_size=SHOWN)
    reached = deleted(probe, x, labels, np.argsort(-relevance, axis=1))
    than_anywhere, than_on_ink = COMPOSITES[composite]
    assert reached < anywhere - than_anywhere
    if than_on_ink is not None:
        assert reached < on_ink - than_on_ink
