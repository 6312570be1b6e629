"""Ablation of units and images in concepts, against formulas, loops and hand-made numbers."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from interpretdl import LRPInterpreter, Preprocessing, Probe
from interpretdl.dissection import (
    Label,
    LayerResult,
    ablate_units,
    dissect,
    explain_in_concepts,
    gradient_times_activation,
)
from interpretdl.errors import (
    InputError,
    InterpretWarning,
    LayerNotFoundError,
    ResourceError,
    TargetError,
    UnsupportedModelError,
)
from interpretdl.record import digest_of_model
from interpretdl.subject import Subject
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
@pytest.mark.parametrize("gradient_of", ["logit", "probability"])
def test_ablation_against_one_run_for_each_unit(
    toy: Any, x: np.ndarray, layer: str, gradient_of: Any
) -> None:
    probe = Probe(toy())
    found = ablate_units(probe, x, 1, layer, [3, 0], gradient_of=gradient_of)
    assert found.units.tolist() == [3, 0]
    for column, unit in enumerate([3, 0]):

        def zeroed(y: Any, unit: int = unit) -> Any:
            y = y.clone()
            y[:, unit] = 0
            return y

        target = ClassScore(1, gradient_of)
        expected = probe.scores(x, target) - probe.scores(x, target, edit={layer: zeroed})
        np.testing.assert_allclose(found.drops[:, column], expected, atol=1e-5)


class Around(paddle.nn.Layer):
    """Something goes around the layer: rows can be added behind it only where they are summed."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first = paddle.nn.Conv2D(3, 4, 3, padding=1)
        self.layer = paddle.nn.Conv2D(4, 4, 3, padding=1)
        self.last = paddle.nn.Linear(8 if kind == "concat" else 4, 5)

    def forward(self, x: Any) -> Any:
        a = self.first(x)
        b = paddle.tanh(self.layer(a))
        b = paddle.concat([a, b], axis=1) if self.kind == "concat" else a + b
        if self.kind == "mixed":  # rows counted at the input: several become one
            b = b.reshape([x.shape[0], -1, 4, 12, 12]).mean(axis=1)
        return self.last(b.mean(axis=[2, 3]) ** 2)


@pytest.mark.parametrize("kind", ["add", "concat", "mixed"])
def test_ablation_where_something_goes_around_the_layer(kind: str, x: np.ndarray) -> None:
    paddle.seed(0)
    model = Around(kind)
    found = ablate_units(Probe(model), x, 2, "layer")
    a = model.first(paddle.to_tensor(x))
    for unit in range(4):
        weight, bias = model.layer.weight.clone(), model.layer.bias.clone()
        weight[unit], bias[unit] = 0, 0  # tanh(0) is 0
        b = paddle.tanh(paddle.nn.functional.conv2d(a, weight, bias, padding=1))
        b = paddle.concat([a, b], axis=1) if kind == "concat" else a + b
        without = model.last(b.mean(axis=[2, 3]) ** 2).numpy()[:, 2]
        whole = model(paddle.to_tensor(x)).numpy()[:, 2]
        np.testing.assert_allclose(found.drops[:, unit], whole - without, atol=1e-5)


def test_a_layer_that_runs_at_two_sizes_is_refused() -> None:
    class Twice(paddle.nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.act = paddle.nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.act(paddle.nn.functional.avg_pool2d(self.act(x), 2)).mean(axis=[2, 3])

    x = np.ones((1, 3, 8, 8), np.float32)
    with pytest.raises(UnsupportedModelError, match="'act' runs several times"):
        ablate_units(Twice(), x, 0, "act")


def test_out_of_memory_fewer_units_run_at_once(
    toy: Any, x: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ablate_units(toy(), x, 2, "5").drops
    inner, sizes = Probe.scores, []

    def scores(self: Probe, inputs: Any, target: Any, **options: Any) -> Any:
        found = inner(self, inputs, target, **options)
        sizes.append(len(found))
        if len(found) > limit and options:
            raise ResourceError("out of memory")
        return found

    monkeypatch.setattr(Probe, "scores", scores)
    limit = 2
    np.testing.assert_allclose(ablate_units(toy(), x, 2, "5").drops, expected, atol=1e-6)
    assert sizes[1:4] == [6, 3, 1]  # after the run with all units
    limit = 0
    with pytest.raises(ResourceError):
        ablate_units(toy(), x, 2, "5")


def test_ablation_of_pictures_and_names(toy: Any) -> None:
    model = toy()
    model.preprocessing = Preprocessing(resize=None, crop=None)
    model.class_names = ("ant", "bee", "cat", "dog", "elk")
    picture = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    x = model.preprocessing.normalize(picture[None])
    for subject in (model, Subject.of(model), Probe(model)):
        found = ablate_units(subject, picture, "cat", "5", [1], gradient_of="contrast")
        assert (found.label, found.gradient_of, found.of) == (2, "contrast", "contrast")
        expected = Probe(model).scores(x, ClassScore(2, "contrast"))
        np.testing.assert_allclose(found.scores, expected, rtol=1e-6)
    with pytest.warns(DeprecationWarning, match="gradient_of="):
        old = ablate_units(model, picture, "cat", "5", [1], of="contrast")
    assert np.array_equal(old.drops, found.drops)
    for label in (None, [2], ClassScore([2]), lambda output: output[:, 0]):
        with pytest.raises(TargetError, match="one class"):
            ablate_units(model, picture, label, "5")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("units", "named"),
    [
        ([1.5], "got 1.5, which is no whole number"),
        ([True], "got True, which is no whole number"),
        ([1, np.True_], "which is no whole number"),
        ([2, False], "got False, which is no whole number"),
        (["1"], "got '1', which is no whole number"),
        ([None], "got None, which is no whole number"),
        ([1.0], "got 1.0, which is no whole number"),
        ([[0, 1]], "which is no whole number"),
        ([float("nan")], "got nan, which is no whole number"),
        (np.ones(6, bool), "which is no whole number"),
        (np.array([0.0, 1.0]), "which is no whole number"),
        (np.array(1), "must be a list of whole numbers"),
        (np.array([[0, 1]]), "must be a list of whole numbers"),
        (1, "must be a list of whole numbers"),
        ("12", "must be a list of whole numbers"),
        ({1, 2}, "must be a list of whole numbers"),
        ([-1], "units 0 to 5; got -1"),
        ([6], "units 0 to 5; got 6"),
        ([2**70], "units 0 to 5; got 118059"),
        (np.array([2**63], np.uint64), "units 0 to 5; got "),
        ([1, 0, 1], "1 was given twice"),
        ([], "none was given"),
        (np.zeros(0), "none was given"),
    ],
    ids=repr,
)
def test_units_that_are_none(toy: Any, x: np.ndarray, units: Any, named: str) -> None:
    with pytest.raises(InputError, match=named):
        ablate_units(toy(), x, 0, "5", units)


@pytest.mark.parametrize(
    "units", [[4, 1], (4, 1), np.array([4, 1], np.uint8), paddle.to_tensor([4, 1]), range(4, 0, -3)]
)
def test_units_that_are_taken(toy: Any, x: np.ndarray, units: Any) -> None:
    found = ablate_units(toy(), x, 2, "5", units)
    assert found.units.tolist() == [4, 1]
    expected = ablate_units(toy(), x, 2, "5").drops[:, [4, 1]]
    np.testing.assert_allclose(found.drops, expected, atol=1e-6)


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
    """Units of the model `of` with these IoUs: of 100 pixels of truth, none elsewhere."""
    wanted = np.array(iou)
    units, labels = wanted.shape
    empty = np.zeros((units, 1))
    return LayerResult(
        options.pop("layer", "5"), options.pop("rotated", False),
        tuple(Label(i + 1, name, "object") for i, name in enumerate("abc"[:labels])),
        thresholds=np.zeros(units, np.float32), both=np.rint(100 * wanted).astype(int),
        truth=np.full(labels, 100), activation=np.rint(100 * wanted.max(axis=1, keepdims=True))
        .astype(int), top_images=empty.astype(int), top_scores=empty.astype(np.float32),
        top_maps=np.zeros((units, 1, 1, 1), np.float32), categories=("object",),
        model=digest_of_model(options.pop("of")), **options,
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

    (found,) = explain_in_concepts(toy(), x[:1], made_result(iou, of=toy()), 4, relevance=relevance)
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
    found = explain_in_concepts(model, x, made_result([[0.5], *[[0.0]] * 3], layer="2", of=model))
    assert [f.label for f in found] == Probe(model).logits(x).argmax(axis=1).tolist()
    relevance = LRPInterpreter(model).relevance(x, layer="2", composite="epsilon_gamma_box")
    relevance = relevance.sum(axis=(2, 3))
    for one, expected in zip(found, np.maximum(relevance, 0), strict=True):
        assert sum(share.share for share in one.shares) == pytest.approx(1)
        by_name = {share.concept: share.share for share in one.shares}
        assert by_name["a"] == pytest.approx(expected[0] / expected.sum(), rel=1e-5)


def test_a_class_by_its_imagenet_name(x: np.ndarray) -> None:
    """Of a model with 1000 classes that says no names, as `explain` takes it."""
    paddle.seed(0)
    model = paddle.nn.Sequential(
        paddle.nn.Conv2D(3, 6, 3), paddle.nn.ReLU(), paddle.nn.AdaptiveAvgPool2D(1),
        paddle.nn.Flatten(), paddle.nn.Linear(6, 1000),
    )  # fmt: skip
    result = made_result([[0.5]] * 6, layer="1", of=model)
    for given in (model, Subject.of(model)):
        (found,) = explain_in_concepts(given, x[:1], result, "tabby")
        assert found.label == 281
    with pytest.raises(TargetError, match=r"did you mean .*'tabby'"):
        explain_in_concepts(model, x, result, "tabi")


def test_pictures_that_cannot_be_read_are_left_out(toy: Any, x: np.ndarray) -> None:
    model, result = toy(), made_result([[0.5]] * 6, of=toy())
    picture = np.full((12, 12, 3), 99, np.uint8)
    with pytest.warns(InterpretWarning, match="input 0 is left out") as caught:
        (found,) = explain_in_concepts(model, [b"no picture", picture], result, [1, 3])
    assert found.label == 3
    assert caught[0].filename == __file__


def test_wrong_requests(toy: Any, x: np.ndarray) -> None:
    model, result = toy(), made_result([[0.5]] * 6, of=toy())
    with pytest.raises(InputError, match="relevance must be"):
        explain_in_concepts(model, x, result, 0, relevance=lambda *_: np.zeros((3, 5)))
    with pytest.raises(InputError, match="speaks for class 0"):
        explain_in_concepts(model, x, result, 0, relevance=lambda *_: np.zeros((3, 6)))
    with pytest.raises(TargetError, match="label 5 is not in"):
        explain_in_concepts(model, x, result, 5)
    with pytest.raises(InputError, match="got a target"):
        explain_in_concepts(model, x, result, ClassScore(0))
    with pytest.raises(InputError, match="rotated"):
        explain_in_concepts(model, x, made_result([[0.5]] * 6, rotated=True, of=model))


def test_concepts_of_another_model(toy: Any, x: np.ndarray) -> None:
    """The units of other weights detect something else, whatever the dissected ones did."""
    result = made_result([[0.5]] * 6, of=toy())
    explain_in_concepts(toy(), x, result)  # equal weights are enough
    with pytest.raises(InputError, match=r"a Sequential with other weights or buffers \("):
        explain_in_concepts(toy(seed=1), x, result)
    model = toy()
    model[1]._mean.set_value(model[1]._mean + 1)  # a buffer
    with pytest.raises(InputError, match="other weights or buffers"):
        explain_in_concepts(Subject.of(model), x, result)
    with pytest.raises(InputError, match="dissected is a Sequential, and this is a Around"):
        explain_in_concepts(Around("add"), x, result)
    with pytest.warns(InterpretWarning, match="does not say which model was dissected"):
        explain_in_concepts(toy(seed=1), x, dataclasses.replace(result, model=""))


def test_a_dissection_says_which_model_it_is_of(tmp_path: Path) -> None:
    model = pixels_network(DETECTORS)
    model.preprocessing = PLAIN
    found = dissect(model, planted(tmp_path / "data"), "0", tmp_path / "out")["0"]
    assert found.model == digest_of_model(model)
