"""InterpretDL's evaluators: its formulas in plain loops; the keys and shapes that it returns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpretdl import evaluator as ev
from interpretdl.errors import InputError, InterpretWarning
from interpretdl.evaluator.compat import as_heat
from interpretdl.interpreter import GradientInterpreter
from interpretdl.preprocessing import IMAGENET
from interpretdl.probe import Probe

Toy = Callable[..., Any]


@pytest.fixture
def pixels() -> Any:
    return np.random.default_rng(0).integers(0, 255, (1, 12, 14, 3)).astype(np.uint8)


@pytest.fixture
def heat() -> Any:
    return np.random.default_rng(1).permutation(12 * 14).reshape(12, 14).astype(np.float32)


def in_its_own_size(model: Any) -> Any:
    """A model whose pictures are neither resized nor cropped."""
    from dataclasses import replace

    model.preprocessing = replace(IMAGENET, resize=None, crop=None)
    return model


def odds_of(model: Any, images: Any) -> Any:
    logits = Probe(model).logits(IMAGENET.normalize(images))
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def test_names() -> None:
    assert ev.DeletionInsertionInterpreterEvaluator is ev.DeletionInsertion
    assert ev.PerturbationInterpreterEvaluator is ev.Perturbation
    assert ev.InfidelityInterpreterEvaluator is ev.Infidelity


def test_deletion_insertion(toy: Toy, pixels: Any, heat: Any) -> None:
    model = in_its_own_size(toy())
    evaluator = ev.DeletionInsertion(paddle_model=model, device="cpu")
    found = evaluator.evaluate(pixels, heat[None], batch_size=4)
    assert set(found) == {
        "deletion_score", "del_probas", "deletion_images",
        "insertion_score", "ins_probas", "insertion_images",
    }  # fmt: skip
    assert found["deletion_images"].shape == (21, 12, 14, 3)
    assert found["deletion_images"].dtype == np.uint8
    # the scores belong to the pictures, for the class that is on top of the whole picture
    top = odds_of(model, pixels)[0].argmax()
    for name in ("deletion", "insertion"):
        probas = odds_of(model, found[f"{name}_images"])[:, top]
        assert found[f"{name[:3]}_probas"] == pytest.approx(probas, rel=1e-4)
        assert found[f"{name}_score"] == pytest.approx(probas.mean(), rel=1e-4)
    deleted, inserted = found["deletion_images"], found["insertion_images"]
    assert np.array_equal(deleted[0], pixels[0])
    assert np.array_equal(inserted[-1], pixels[0])
    assert (deleted[-1] == 127).all()
    assert (inserted[0] == 127).all()
    # after a fifth of the steps the most relevant fifth is gone, and nothing else
    first = heat >= np.sort(heat.ravel())[-round(0.2 * heat.size)]
    assert (deleted[4][first] == 127).all()
    assert np.array_equal(deleted[4][~first], pixels[0][~first])
    assert np.array_equal(inserted[4][first], pixels[0][first])


def test_steps_and_one_of_the_two(toy: Toy, pixels: Any, heat: Any) -> None:
    evaluator = ev.DeletionInsertion(in_its_own_size(toy()), "cpu", None, True, False)
    found = evaluator.evaluate(pixels, heat, limit_number_generated_samples=7)
    assert set(found) == {"deletion_score", "del_probas", "deletion_images"}
    assert len(found["del_probas"]) == 8


def test_use_cuda_is_deprecated(toy: Toy) -> None:
    with pytest.warns(DeprecationWarning, match="use_cuda"):
        ev.DeletionInsertion(toy(), "cpu", False)


def test_resize_and_crop(toy: Toy, picture: Path) -> None:
    """The map is brought to the picture's size."""
    heat = np.random.default_rng(0).random((1, 7, 7))
    found = ev.DeletionInsertion(toy(), "cpu").evaluate(
        str(picture), heat, resize_to=24, crop_to=20, limit_number_generated_samples=3
    )
    assert found["deletion_images"].shape == (4, 20, 20, 3)


def test_limes_superpixels_go_in_their_order(toy: Toy, pixels: Any) -> None:
    segments = np.arange(12)[:, None] // 3 * 2 + np.arange(14)[None, :] // 7  # 4 x 2 superpixels
    order = [5, 0, 2, 7, 1, 3, 4, 6]
    weights = [(number, 0.9 - i) for i, number in enumerate(order)]
    lime = {"segmentation": segments, "lime_weights": {3: weights}}
    found = ev.DeletionInsertion(in_its_own_size(toy()), "cpu").evaluate(pixels, lime)
    images = found["deletion_images"]
    assert len(images) == 9
    gone: list[int] = []
    for image, number in zip(images[1:], order, strict=True):
        gone.append(number)
        out = np.isin(segments, gone)
        assert (image[out] == 127).all()
        assert np.array_equal(image[~out], pixels[0][~out])
    lime["lime_weights"] = {3: weights[:3]}  # those that are not listed come last
    images = ev.DeletionInsertion(in_its_own_size(toy()), "cpu").evaluate(pixels, lime)[
        "deletion_images"
    ]
    for k in range(4):
        out = np.isin(segments, order[:k])
        assert (images[k][out] == 127).all()
        assert np.array_equal(images[k][~out], pixels[0][~out])
    with pytest.raises(InputError, match="'lime_weights'"):
        ev.Perturbation(toy(), "cpu").evaluate(pixels, {"segmentation": segments})


def test_perturbation(toy: Toy, pixels: Any, heat: Any) -> None:
    model = in_its_own_size(toy())
    found = ev.Perturbation(model, "cpu", True, True).evaluate(pixels, heat)
    assert set(found) == {
        "MoRF_score", "MoRF_probas", "MoRF_images", "LeRF_score", "LeRF_probas", "LeRF_images"
    }  # fmt: skip
    same = ev.DeletionInsertion(model, "cpu").evaluate(pixels, heat)
    assert found["MoRF_score"] == pytest.approx(same["deletion_score"])
    least = heat <= np.sort(heat.ravel())[round(0.2 * heat.size) - 1]
    assert (found["LeRF_images"][4][least] == 127).all()
    assert np.array_equal(found["LeRF_images"][4][~least], pixels[0][~least])
    assert found["LeRF_score"] == pytest.approx(found["LeRF_probas"].mean())


def test_infidelity_against_a_plain_loop(toy: Toy) -> None:
    model = in_its_own_size(toy())
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (1, 56, 56, 3)).astype(np.uint8)
    heat = rng.random((56, 56)).astype(np.float32)
    found = ev.Infidelity(model, device="cpu").evaluate(pixels, heat, recompute=True, batch_size=50)
    probe = Probe(model)
    whole = probe.logits(IMAGENET.normalize(pixels))[0]
    top = whole.argmax()
    told, made = [], []
    for side in (8, 16, 32):  # 32, 64 and 128 of 224
        for y in range(0, 56 - side + 1, 2):
            for x in range(0, 56 - side + 1, 2):
                image = pixels.copy()
                image[:, y : y + side, x : x + side] = 127
                told.append(heat[y : y + side, x : x + side].sum(dtype=np.float64))
                made.append(whole[top] - probe.logits(IMAGENET.normalize(image))[0, top])
    a, b = np.array(told), np.array(made)
    expected = ((b - a * (a * b).mean() / (a * a).mean()) ** 2).mean()
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("shape", [(1, 3, 6, 7), (3, 6, 7), (1, 1, 6, 7), (1, 6, 7), (6, 7)])
def test_maps_of_one_picture(shape: tuple[int, ...]) -> None:
    """Sizes are summed over channels, which is said; a single one keeps its signs."""
    values = np.random.default_rng(0).normal(size=shape)
    channels = values.reshape(-1, 6, 7)
    several = len(channels) > 1
    expected = abs(channels).sum(axis=0) if several else channels[0]
    said = pytest.warns(InterpretWarning, match="sizes") if several else contextlib.nullcontext()
    with said:
        found = as_heat(values, (6, 7))
    assert found.shape == (1, 6, 7)
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


def test_an_explanation_knows_its_signs(toy: Toy) -> None:
    x = np.random.default_rng(0).normal(size=(1, 3, 12, 14)).astype("float32")
    method = GradientInterpreter(toy())
    for times_input in (False, True):
        explanation = method.explain(x, times_input=times_input)
        found = as_heat(explanation, (12, 14))
        values = explanation.values[0] if times_input else abs(explanation.values[0])
        np.testing.assert_allclose(found[0], values.sum(axis=0), rtol=1e-5, atol=1e-7)


def test_localization() -> None:
    heat = np.array([[0.9, 0.4], [0.6, 0.1]])
    expected = {
        "precision": 2 / 3, "recall": 1, "f1_score": 0.8, "auc_score": 3 / 4, "ap_score": 5 / 6
    }  # fmt: skip
    assert ev.PointGame().evaluate((0, 0, 2, 1), heat) == pytest.approx(expected)
    mask = np.array([[1, 1], [0, 0]], np.uint8)
    assert ev.PointGameSegmentation().evaluate(mask, heat) == pytest.approx(expected)
    above = ev.PointGameSegmentation().evaluate(mask, heat, threshold=0.5)
    assert (above["precision"], above["recall"]) == (0.5, 0.5)


def test_one_picture_at_a_time(toy: Toy, pixels: Any, heat: Any) -> None:
    evaluator = ev.DeletionInsertion(in_its_own_size(toy()), "cpu")
    with pytest.raises(InputError, match="one picture"):
        evaluator.evaluate(np.repeat(pixels, 2, axis=0), heat)
    with pytest.raises(InputError, match="explanation of one picture"):
        evaluator.evaluate(pixels, np.zeros((2, 3, 4, 4)))
    with pytest.raises(InputError, match="needs a model"):
        ev.DeletionInsertion().evaluate(pixels, heat)
