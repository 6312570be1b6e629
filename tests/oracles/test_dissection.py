"""Network Dissection against loops, planted detectors, and a trained and a random network."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpretdl import IMAGENET, Probe
from interpretdl.dissection import Broden, TailQuantile, dissect, mini_broden
from interpretdl.dissection.phases import Units, rotation
from interpretdl.dissection.tally import Strongest, Tally, intersection_over_union, upsample
from interpretdl.errors import InputError, LayerNotFoundError, UnsupportedModelError
from interpretdl.subject import Subject

_spec = importlib.util.spec_from_file_location(
    "planted_data", Path(__file__).resolve().parents[1] / "planted_data.py"
)
assert _spec is not None
assert _spec.loader is not None
_planted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_planted)
DETECTORS, PLAIN = _planted.DETECTORS, _planted.PLAIN
pixels_network, planted = _planted.pixels_network, _planted.planted


# -- quantiles -----------------------------------------------------------------------------------


def stream(values: np.ndarray, share: float, capacity: int, seed: int = 0) -> TailQuantile:
    """Values [units, images, positions] one image after the other."""
    units, images, positions = values.shape
    quantile = TailQuantile(units, images * positions, share, capacity, seed)
    for index in range(images):
        quantile.update(index, values[:, index])
    return quantile


@pytest.mark.parametrize("share", [0.005, 0.05, 0.5])
def test_quantile_is_exact_while_the_tail_fits(share: float) -> None:
    values = np.random.default_rng(0).normal(size=(5, 40, 49)).astype(np.float32)
    thresholds = stream(values, share, 8192).thresholds()
    flat = np.sort(values.reshape(5, -1))[:, ::-1]
    assert np.array_equal(thresholds, flat[:, int(share * 40 * 49)])
    assert ((flat > thresholds[:, None]).mean(axis=1) <= share).all()


def test_quantile_of_a_long_stream_is_within_bounds() -> None:
    """The tail is 5 times the capacity: thresholds within 1 %, the tail's share within 10 %."""
    rng = np.random.default_rng(1)
    normal = rng.normal(size=(1, 400, 2500))
    values = np.concatenate(
        [
            normal,
            np.maximum(normal, 0),
            normal + 1000,
            rng.exponential(size=normal.shape),
            # neighbours alike, as in activations
            np.repeat(rng.normal(size=(1, 400, 50)), 50, axis=2),
        ]
    ).astype(np.float32)
    quantile = stream(values, 0.005, 1000)
    flat = values.reshape(len(values), -1)
    exact = np.sort(flat)[:, -1 - int(0.005 * flat.shape[1])]
    thresholds = quantile.thresholds()
    np.testing.assert_allclose(thresholds, exact, rtol=0.01)
    np.testing.assert_allclose((flat > thresholds[:, None]).mean(axis=1), 0.005, rtol=0.1)
    assert quantile._values.nbytes <= 8 * len(values) * 1024  # nothing grew
    # drawn by seed and image alone
    assert np.array_equal(thresholds, stream(values, 0.005, 1000).thresholds())
    assert not np.array_equal(thresholds, stream(values, 0.005, 1000, seed=1).thresholds())


def test_quantile_goes_on_from_its_state() -> None:
    values = np.random.default_rng(2).normal(size=(3, 60, 100)).astype(np.float32)
    whole = stream(values, 0.02, 50)
    half = TailQuantile(3, 6000, 0.02, 50)
    for index in range(31):
        half.update(index, values[:, index])
    rest = TailQuantile(3, 6000, 0.02, 50)
    rest.restore(*half.state())
    for index in range(31, 60):
        rest.update(index, values[:, index])
    assert np.array_equal(whole.thresholds(), rest.thresholds())


def test_quantile_refuses_what_has_no_order() -> None:
    quantile = TailQuantile(2, 10)
    with pytest.raises(InputError, match="image 3 gives activations that are NaN"):
        quantile.update(3, np.array([[0, np.nan], [0, 0]], np.float32))
    with pytest.raises(InputError, match="share"):
        TailQuantile(2, 10, share=1.5)


# -- upsampling and counting ---------------------------------------------------------------------


def slow_upsample(map_: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """One pixel at a time: half-pixel centres, clamped edges."""
    (h, w), (height, width) = map_.shape, size
    result = np.zeros(size)
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * h / height - 0.5, 0), h - 1)
            x = min(max((j + 0.5) * w / width - 0.5, 0), w - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
            fy, fx = y - top, x - left
            result[i, j] = (1 - fy) * ((1 - fx) * map_[top, left] + fx * map_[top, right]) + fy * (
                (1 - fx) * map_[bottom, left] + fx * map_[bottom, right]
            )
    return result


@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (1, 4), (7, 7), (12, 9), (20, 20)])
def test_upsample_against_a_loop(shape: tuple[int, int]) -> None:
    maps = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    found = upsample(maps, (12, 9))
    for one, expected in zip(found, maps, strict=True):
        np.testing.assert_allclose(one, slow_upsample(expected, (12, 9)), atol=1e-6)
    assert found.max() <= maps.max() + 1e-6  # why units below their threshold may be left out


def test_tally_against_a_loop() -> None:
    """Pixel by pixel; categories are present in some images and absent in others."""
    rng = np.random.default_rng(3)
    units, labels, size = 6, 5, (6, 8)
    category_of = np.array([0, 0, 1, 1, 2])
    thresholds = rng.uniform(0, 0.5, units).astype(np.float32)
    tally = Tally(thresholds, category_of, 3)
    both = np.zeros((units, labels), int)
    truth = np.zeros(labels, int)
    activation = np.zeros((units, 3), int)
    for _ in range(7):
        maps = rng.normal(size=(units, 3, 4)).astype(np.float32)
        present = np.flatnonzero(rng.random(labels) < 0.5)
        masks = rng.random((len(present), *size)) < 0.4
        masks[:, 0, 0] = True
        tally.update(maps, present, masks)
        for u in range(units):
            on = slow_upsample(maps[u], size) > thresholds[u]
            for category in range(3):
                if any(category_of[label] == category for label in present):
                    activation[u, category] += on.sum()
            for label, mask in zip(present, masks, strict=True):
                both[u, label] += (on & mask).sum()
        for label, mask in zip(present, masks, strict=True):
            truth[label] += mask.sum()
    assert np.array_equal(tally.both, both)
    assert np.array_equal(tally.truth, truth)
    assert np.array_equal(tally.activation, activation)
    iou = intersection_over_union(both, truth, activation, category_of)
    for u in range(units):
        for label in range(labels):
            union = activation[u, category_of[label]] + truth[label] - both[u, label]
            assert iou[u, label] == pytest.approx(both[u, label] / max(union, 1))
    assert iou.max() <= 1


def test_no_ground_truth_and_no_activation_is_zero() -> None:
    zero = np.zeros((2, 1), int)
    assert intersection_over_union(zero, np.zeros(1, int), zero, np.zeros(1, int)).tolist() == [
        [0.0],
        [0.0],
    ]


def test_strongest_against_sorting() -> None:
    rng = np.random.default_rng(4)
    maps = rng.integers(0, 30, size=(20, 3, 2, 2)).astype(np.float32)
    strongest = Strongest(3, (2, 2), 4)
    for index, one in enumerate(maps):
        strongest.update(index, one)
    found = strongest.arrays()
    scores = maps.max(axis=(2, 3)).T
    for unit in range(3):
        assert found["top_scores"][unit].tolist() == sorted(scores[unit])[::-1][:4]
        for index, map_ in zip(found["top_images"][unit], found["top_maps"][unit], strict=True):
            assert np.array_equal(map_, maps[index, unit])


# -- whole dissections ---------------------------------------------------------------------------


def test_planted_detectors_have_iou_1(tmp_path: Path) -> None:
    found = dissect(
        pixels_network(DETECTORS), planted(tmp_path / "data"), "0", tmp_path / "out",
        preprocessing=PLAIN,
    )["0"]  # fmt: skip
    best = found.best()
    assert (best[0].label, best[0].category, best[0].iou) == ("red <b>", "object", 1.0)
    assert (best[2].label, best[2].category, best[2].iou) == ("green", "texture", 1.0)
    # 12 of 2560 pixels are above the threshold of each planted unit: the largest share <= .005
    assert found.activation[0].tolist() == [12, 12]
    assert {concept.unit for concept in found.detectors()} >= {0, 2}
    assert found.units_of("green") == [2]
    assert found.headline() == "2/4 units covering 2 concepts with IoU ≥ .04"


def test_activation_counts_only_in_images_with_the_category(tmp_path: Path) -> None:
    """Red pixels in images that no object label has say nothing about the object detector."""
    found = dissect(
        pixels_network(DETECTORS), planted(tmp_path / "data", unlabelled=4), "0",
        tmp_path / "out", preprocessing=PLAIN,
    )["0"]  # fmt: skip
    # images 0 to 3 have 6 of the 12 red pixels: without the rule IoU would be 6/12
    assert found.truth.tolist() == [6, 12]
    assert found.activation[0].tolist() == [6, 12]
    assert found.best()[0].iou == 1.0


def test_permuting_units_permutes_the_results(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(24, 3))
    order = rng.permutation(24)
    data = mini_broden(tmp_path / "data", scenes=6, size=64)
    first, second = (
        dissect(pixels_network(w), data, "0", tmp_path / name, input_size=64)["0"]
        for name, w in (("a", weights), ("b", weights[order]))
    )
    assert np.array_equal(first.thresholds[order], second.thresholds)
    assert np.array_equal(first.both[order], second.both)
    assert np.array_equal(first.iou[order], second.iou)
    assert np.array_equal(first.top_images[order], second.top_images)
    assert [first.best()[i].label for i in order] == [b.label for b in second.best()]


def test_tail_has_the_share_asked_for(tmp_path: Path, toy: Any) -> None:
    """Over all positions of all images, .005 +- 10 % of each unit's activations are above T."""
    data = Broden(mini_broden(tmp_path / "data", scenes=10, size=96))
    found = dissect(toy(), data, "0", tmp_path / "out", input_size=96)["0"]
    x = IMAGENET.normalize(np.stack([data.image(i) for i in range(10)]))
    maps = Probe(toy()).activations(x, "0")["0"]
    share = (maps > found.thresholds[:, None, None]).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(share, 0.005, rtol=0.1)


def test_rotation_is_orthogonal_and_mixes_positions_apart() -> None:
    turned = rotation(32, seed=1)
    np.testing.assert_allclose(turned @ turned.T, np.eye(32), atol=1e-6)
    assert np.array_equal(turned, rotation(32, seed=1))
    assert not np.allclose(turned, rotation(32, seed=2))
    maps = np.random.default_rng(0).normal(size=(2, 32, 3, 4)).astype(np.float32)
    rotated = Units("layer", True, 1).maps({"layer": maps})
    np.testing.assert_allclose(rotated[1, :, 2, 3], turned @ maps[1, :, 2, 3], atol=1e-5)


def test_several_layers_in_one_run_are_what_each_is_alone(tmp_path: Path, toy: Any) -> None:
    data = mini_broden(tmp_path / "data", scenes=6, size=64)
    together = dissect(
        toy(), data, ["2", "5"], tmp_path / "both", input_size=64, baseline=True, batch_size=4
    )
    assert list(together.layers) == ["2", "2-rotated", "5", "5-rotated"]
    for layer in ("2", "5"):
        alone = dissect(toy(), data, layer, tmp_path / layer, input_size=64, batch_size=4)
        assert np.array_equal(alone[layer].both, together[layer].both)
        assert alone.files[layer].read_bytes() == together.files[layer].read_bytes()


def test_the_table(tmp_path: Path) -> None:
    result = dissect(
        pixels_network(DETECTORS), planted(tmp_path / "data"), "0", tmp_path / "out",
        preprocessing=PLAIN,
    )  # fmt: skip
    with (tmp_path / "out" / "0-result.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["unit", "category", "label", "score"] + [
        f"{category}-{what}"
        for category in ("object", "texture")
        for what in ("label", "truth", "activation", "intersect", "iou")
    ]
    assert [row["unit"] for row in rows] == ["0", "1", "2", "3"]
    wanted = ["0", "object", "red <b>", "1.0", "red <b>", "12", "12", "12", "1.0"]
    assert list(rows[0].values())[:9] == wanted
    assert rows[0]["texture-intersect"] == "0"
    assert result.files["0"] == tmp_path / "out" / "0-result.csv"


def test_a_model_with_several_outputs(tmp_path: Path) -> None:
    from paddle import nn

    class Two(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.body = pixels_network(DETECTORS)

        def forward(self, x: Any) -> Any:
            return {"logits": self.body(x), "aux": x}

    data = planted(tmp_path / "data")
    with pytest.raises(UnsupportedModelError, match="output="):
        dissect(Two(), data, "body.0", tmp_path / "out", preprocessing=PLAIN)
    found = dissect(
        Two(), data, "body.0", tmp_path / "out", preprocessing=PLAIN, output="logits"
    )["body.0"]  # fmt: skip
    assert found.best()[0].iou == 1.0


def test_a_subject_is_dissected_as_its_model_is(tmp_path: Path) -> None:
    data, model = planted(tmp_path / "data"), pixels_network(DETECTORS)
    subject = Subject.of(model, preprocessing=PLAIN)
    found = [
        dissect(model, data, "0", tmp_path / "a", preprocessing=PLAIN).files["0"].read_bytes(),
        dissect(subject, data, "0", tmp_path / "b").files["0"].read_bytes(),
    ]
    assert found[0] == found[1]
    with pytest.raises(InputError, match="Subject says itself"):
        dissect(subject, data, "0", tmp_path / "b", preprocessing=PLAIN)
    with pytest.raises(InputError, match="give the Subject a Preprocessing"):
        dissect(Subject.of(model, preprocessing=None), data, "0", tmp_path / "c")


def test_wrong_requests(tmp_path: Path) -> None:
    data, out = planted(tmp_path / "data"), tmp_path / "out"
    model = pixels_network(DETECTORS)
    with pytest.raises(LayerNotFoundError):
        dissect(model, data, "conv", out, preprocessing=PLAIN)
    with pytest.raises(UnsupportedModelError, match=r"\[N, C, h, w\]"):
        dissect(model, data, "2", out, preprocessing=PLAIN)
    with pytest.raises(InputError, match="share"):
        dissect(model, data, "0", out, share=0)
    with pytest.raises(InputError, match="did you mean 'green'"):
        dissect(model, data, "0", out, preprocessing=PLAIN)["0"].units_of("gren")


def test_the_model_is_as_it_was(tmp_path: Path, toy: Any) -> None:
    model = toy()
    model.train()
    before = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    data = mini_broden(tmp_path / "data", scenes=2, size=32)
    dissect(model, data, "2", tmp_path / "out", input_size=32)
    assert all(layer.training for layer in model.sublayers(include_self=True))
    assert all(np.array_equal(before[name], t.numpy()) for name, t in model.state_dict().items())
    assert not model[2]._forward_post_hooks


# -- a real network ------------------------------------------------------------------------------


def test_trained_networks_detect_more_concepts_than_random_ones(tmp_path: Path) -> None:
    import paddle

    from interpretdl.lrp_model import efficientnet_lite0

    data = mini_broden(tmp_path / "data", scenes=32, size=160)
    counts = []
    for pretrained in (True, False):
        paddle.seed(0)  # of the random weights
        result = dissect(
            efficientnet_lite0(pretrained=pretrained), data, "blocks.15",
            tmp_path / str(pretrained), input_size=160, report=False,
        )["blocks.15"]  # fmt: skip
        counts.append(result.concepts())
        assert result.concepts() <= len(result.detectors())
    assert counts[0] >= 1.5 * counts[1]
