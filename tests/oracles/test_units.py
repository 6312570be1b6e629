"""What units matter, and images explained in concepts, against formulas and hand-made numbers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpretdl import LRPInterpreter, Probe
from interpretdl.dissection import (
    Label,
    LayerResult,
    ablate_units,
    dissect,
    explain_in_concepts,
    gradient_times_activation,
)
from interpretdl.errors import InputError, LayerNotFoundError, TargetError
from interpretdl.targets import ClassScore

_spec = importlib.util.spec_from_file_location(
    "planted_data", Path(__file__).resolve().parents[1] / "planted_data.py"
)
assert _spec is not None
assert _spec.loader is not None
_planted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_planted)
DETECTORS, PLAIN = _planted.DETECTORS, _planted.PLAIN
pixels_network, planted = _planted.pixels_network, _planted.planted


# -- ablation ------------------------------------------------------------------------------------


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 3, 12, 12)).astype(np.float32)


def test_before_pooling_and_a_dense_layer_the_drop_is_weight_times_mean(
    toy: Any, x: np.ndarray
) -> None:
    model = toy()
    found = ablate_units(Probe(model), x, 2, "5")
    means = Probe(model).activations(x, "5")["5"].mean(axis=(2, 3))
    np.testing.assert_allclose(found.drops, means * model[8].weight.numpy()[:, 2], atol=1e-5)
    np.testing.assert_allclose(found.scores, Probe(model).logits(x)[:, 2], atol=1e-6)
    order = np.argsort(-found.drops.mean(axis=0))
    assert [unit for unit, _ in found.most_important(3)] == order[:3].tolist()


@pytest.mark.parametrize("layer", ["0", "2", "7"])
@pytest.mark.parametrize("of", ["logit", "probability"])
def test_ablation_against_one_run_for_each_unit(
    toy: Any, x: np.ndarray, layer: str, of: Any
) -> None:
    probe = Probe(toy())
    found = ablate_units(probe, x, 1, layer, [3, 0], of=of)
    assert found.units.tolist() == [3, 0]
    for column, unit in enumerate([3, 0]):

        def zeroed(y: Any, unit: int = unit) -> Any:
            y = y.clone()
            y[:, unit] = 0
            return y

        target = ClassScore(1, of)
        expected = probe.scores(x, target) - probe.scores(x, target, edit={layer: zeroed})
        np.testing.assert_allclose(found.drops[:, column], expected, atol=1e-5)


def test_wrong_ablations(toy: Any, x: np.ndarray) -> None:
    probe = Probe(toy())
    with pytest.raises(InputError, match="units 0 to 5; got 6"):
        ablate_units(probe, x, 0, "5", [6])
    with pytest.raises(InputError, match="none was given"):
        ablate_units(probe, x, 0, "5", [])
    with pytest.raises(TargetError):
        ablate_units(probe, x, 5, "5")
    with pytest.raises(LayerNotFoundError):
        ablate_units(probe, x, 0, "relu")


# -- concepts ------------------------------------------------------------------------------------


def made_result(iou: list[list[float]], **options: Any) -> LayerResult:
    """Units with these IoUs: of 100 pixels of truth, none elsewhere."""
    wanted = np.array(iou)
    units, labels = wanted.shape
    empty = np.zeros((units, 1))
    return LayerResult(
        "5", options.pop("rotated", False),
        tuple(Label(i + 1, name, "object") for i, name in enumerate("abc"[:labels])),
        thresholds=np.zeros(units, np.float32), both=np.rint(100 * wanted).astype(int),
        truth=np.full(labels, 100), activation=np.rint(100 * wanted.max(axis=1, keepdims=True))
        .astype(int), top_images=empty.astype(int), top_scores=empty.astype(np.float32),
        top_maps=np.zeros((units, 1, 1, 1), np.float32), categories=("object",), **options,
    )  # fmt: skip


def test_shares_by_hand(toy: Any, x: np.ndarray) -> None:
    """Units 0 and 1 detect a, 2 detects b, 3 to 5 nothing."""
    iou = [[0.5, 0], [0.2, 0.1], [0, 0.3], [0.02, 0.01], [0, 0], [0.03, 0]]
    given = np.zeros((1, 6, 2, 2))
    given[0, :, 0, 0] = [3, 2, 4, 1, 0, -2]
    given[0, :, 1, 1] = [0, -1, 0, 1, 0, -1]

    def relevance(x: Any, labels: Any, layer: str) -> Any:
        assert layer == "5"
        assert labels.tolist() == [4]
        return given

    (found,) = explain_in_concepts(toy(), x[:1], made_result(iou), 4, relevance=relevance)
    # per unit 3, 1, 4, 2, 0, -3: ten in all speak for the class
    shares = [(s.concept, s.share, s.relevance, s.units) for s in found.shares]
    assert shares == [
        ("a", pytest.approx(0.4), 4.0, (0, 1)),
        ("b", pytest.approx(0.4), 4.0, (2,)),
        ("", pytest.approx(0.2), -1.0, (3, 4, 5)),
    ]
    assert str(found).splitlines()[0] == "40 % through units that detect a"
    assert str(found).splitlines()[-1] == "20 % through units without a concept"


def test_a_planted_decision_is_split_as_it_was_made(tmp_path: Path) -> None:
    """A class that counts red and green pixels, and a picture with 62 and 38 of them."""
    from paddle import nn

    model = nn.Sequential(
        nn.Conv2D(3, 4, 1, bias_attr=False), nn.ReLU(), nn.AdaptiveAvgPool2D(1), nn.Flatten(),
        nn.Linear(4, 2, bias_attr=False),
    )  # fmt: skip
    model[0].weight.set_value(np.array(DETECTORS, np.float32)[:, :, None, None])
    model[4].weight.set_value(np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.float32))
    model.preprocessing = PLAIN
    result = dissect(model, planted(tmp_path / "data"), "1", tmp_path / "out")["1"]
    picture = np.full((16, 16, 3), 100, np.uint8)
    picture.reshape(-1, 3)[:62] = 255, 0, 0
    picture.reshape(-1, 3)[100:138] = 0, 255, 0
    for relevance in (None, gradient_times_activation(model)):
        (found,) = explain_in_concepts(model, picture, result, 0, relevance=relevance)
        shares = {share.concept: share.share for share in found.shares}
        assert shares == {
            "red <b>": pytest.approx(0.62), "green": pytest.approx(0.38), "": pytest.approx(0),
        }  # fmt: skip
        assert str(found).startswith("62 % through units that detect red")


def test_the_default_is_lrp_at_the_layer(toy: Any, x: np.ndarray) -> None:
    model = toy()
    found = explain_in_concepts(model, x, made_result([[0.5], *[[0.0]] * 5]))
    assert [f.label for f in found] == Probe(model).logits(x).argmax(axis=1).tolist()
    relevance = LRPInterpreter(model).relevance(x, layer="5").sum(axis=(2, 3))
    for one, expected in zip(found, np.maximum(relevance, 0), strict=True):
        assert sum(share.share for share in one.shares) == pytest.approx(1)
        by_name = {share.concept: share.share for share in one.shares}
        assert by_name["a"] == pytest.approx(expected[0] / expected.sum(), rel=1e-5)


def test_wrong_requests(toy: Any, x: np.ndarray) -> None:
    model, result = toy(), made_result([[0.5]] * 6)
    with pytest.raises(InputError, match="relevance must be"):
        explain_in_concepts(model, x, result, 0, relevance=lambda *_: np.zeros((3, 5)))
    with pytest.raises(InputError, match="speaks for class 0"):
        explain_in_concepts(model, x, result, 0, relevance=lambda *_: np.zeros((3, 6)))
    with pytest.raises(TargetError, match="label 5 is not in"):
        explain_in_concepts(model, x, result, 5)
    with pytest.raises(InputError, match="got a target"):
        explain_in_concepts(model, x, result, ClassScore(0))
    with pytest.raises(InputError, match="rotated"):
        explain_in_concepts(model, x, made_result([[0.5]] * 6, rotated=True))
