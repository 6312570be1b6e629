"""The networks that find keys: what they have learned, and what the suite says they use."""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np
import pytest

import interpretdl as it
from interpretdl.truth.backgrounds import backgrounds
from interpretdl.truth.grading import run
from interpretdl.truth.interventions import Measured, falls
from interpretdl.truth.networks import PIXELS, convolutional, inputs, logits
from interpretdl.truth.shapes import DECOYS, KEYS, Shape, draw, scatter, silhouette
from interpretdl.truth.suite import Problem
from interpretdl.truth.trained import keys_pictures, measured_keys, trained

PROBLEMS = ("keys_convolutional", "keys_transformer")


@pytest.fixture(scope="module")
def problems() -> dict[str, Problem]:
    return dict(zip(PROBLEMS, trained(), strict=True))


@pytest.fixture(scope="module")
def measured(problems: dict[str, Problem]) -> dict[str, Measured]:
    return {
        name: measured_keys(problems[name].model, coloured=name == "keys_transformer")[0]
        for name in PROBLEMS
    }


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_weights_name_keys_in_new_pictures(problems: dict[str, Problem], name: str) -> None:
    pictures, answers = keys_pictures(150, seed=77, coloured=name == "keys_transformer")
    found = logits(problems[name].model, pictures) > 0
    assert ((found == answers).mean(axis=0) >= 0.93).all()


def test_the_weights_are_small() -> None:
    folder = resources.files("interpretdl.truth") / "weights"
    files = list(folder.iterdir())
    assert {file.name for file in files} == {
        f"{name}.npz" for name in (*PROBLEMS, "parts", "shortcut")
    }
    assert sum(len(file.read_bytes()) for file in files) < 1_000_000


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_truth_is_the_key(
    problems: dict[str, Problem], measured: dict[str, Measured], name: str
) -> None:
    """Parts are key, other key, two decoys, background."""
    problem, found = problems[name], measured[name]
    importance = found.importance(problem.labels)
    np.testing.assert_array_equal(problem.x, inputs(found.pictures))  # the same every time
    assert len(problem) == 24
    assert (found.parts.sum(axis=1) == 1).all()  # every pixel is of one part
    assert (importance[:, 0] > 0).all()
    assert (importance.argmax(axis=1) == 0).all()
    share = np.abs(importance[:, 1:]) / importance[:, :1]
    assert (np.median(share, axis=0) < 0.2).all()
    key = found.parts[:, 0]
    assert (problem.masks >= key).all()
    assert np.mean((problem.masks == key).all(axis=(1, 2))) > 0.6  # nothing else decides


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_other_class_has_its_evidence_elsewhere(
    problems: dict[str, Problem], measured: dict[str, Measured], name: str
) -> None:
    problem = problems[name]
    assert problem.others is not None
    assert problem.other_masks is not None
    assert (problem.labels != problem.others).all()
    assert (problem.other_masks >= measured[name].parts[:, 1]).all()
    shared = (problem.other_masks & problem.masks).any(axis=(1, 2))
    assert shared.mean() < 0.5


@pytest.mark.parametrize("name", PROBLEMS)
def test_other_interventions_agree(
    problems: dict[str, Problem], measured: dict[str, Measured], name: str
) -> None:
    """Rectangles of other backgrounds: over the key the logit falls, beside the shapes little."""
    found, n = measured[name], len(measured[name].parts)
    scenery = backgrounds(n + 3, seed=5)
    boxes = np.zeros((2, n, 64, 64), bool)
    for i, parts in enumerate(found.parts):
        rows, columns = (np.flatnonzero(parts[0].any(axis=axis)) for axis in (1, 0))
        height, width = np.ptp(rows) + 3, np.ptp(columns) + 3
        boxes[0, i, rows[0] - 1 :, columns[0] - 1 :][:height, :width] = True
        # the rectangle of this size that meets the fewest pixels of shapes
        corners = [(y, x) for y in range(0, 65 - height, 3) for x in range(0, 65 - width, 3)]
        met = [(~parts[-1, y : y + height, x : x + width]).sum() for y, x in corners]
        y, x = corners[int(np.argmin(met))]
        boxes[1, i, y : y + height, x : x + width] = True
    changed = [
        np.stack([np.where(box[:, None], scenery[k : k + n], found.pictures) for k in range(4)], 1)
        for box in boxes
    ]
    fall = falls(problems[name].model, found.pictures, changed)
    fall = fall[np.arange(n), :, problems[name].labels]
    assert (fall[:, 0] > 0).all()
    assert np.median(np.abs(fall[:, 1])) < 0.15 * np.median(fall[:, 0])


def test_falls_of_a_linear_network() -> None:
    """The fall is the weights times what was taken away, and the mean over the ways."""
    from paddle import nn

    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 2))
    model.eval()
    weight = model[1].weight.numpy()
    rng = np.random.default_rng(0)
    pictures = rng.random((3, 3, 64, 64), np.float32)
    changed = [rng.random((3, ways, 3, 64, 64), np.float32) for ways in (1, 2)]
    taken = [(pictures - ways.mean(axis=1)).reshape(3, -1) / 0.25 for ways in changed]
    expected = np.stack([part @ weight for part in taken], axis=1)
    np.testing.assert_allclose(falls(model, pictures, changed), expected, rtol=1e-3, atol=1e-3)


def test_evidence_is_a_tenth_of_the_largest_fall() -> None:
    importance = np.array([[10.0, 1.0, 0.9, -5.0, 99.0], [-1.0, -2.0, -3.0, -4.0, 99.0]])
    parts = np.eye(5, dtype=bool)[None, :, None].repeat(2, axis=0)
    found = Measured(np.zeros((2, 3, 1, 5), np.float32), parts, importance[..., None])
    np.testing.assert_array_equal(found.importance(np.zeros(2, np.int64)), importance)
    chosen = found.evidence(importance, 4)[:, 0]
    assert chosen.tolist() == [[True, True, False, False, False], [False] * 5]


def test_shapes_are_where_they_are_said_to_be() -> None:
    covered = silhouette(Shape("disc", 20.0, 40.0, 8.0))
    assert covered.sum() == pytest.approx(np.pi * 8**2, rel=0.03)
    rows, columns = np.nonzero(covered > 0.5)
    assert (rows.mean(), columns.mean()) == pytest.approx((39.5, 19.5), abs=0.3)
    ring = silhouette(Shape("ring", 20.0, 40.0, 8.0))
    assert ring[40, 20] == 0
    np.testing.assert_array_less(ring, covered + 1e-6)
    edge = silhouette(Shape("cross", 2.0, 62.0, 9.0))  # cut off at the corner
    assert edge.shape == (64, 64)
    assert edge[62, 2] == 1


@pytest.mark.parametrize("kind", [*KEYS, *DECOYS])
def test_a_shape_changes_only_its_pixels(kind: str) -> None:
    background = backgrounds(1, seed=3)[0]
    shape = Shape(kind, 30.3, 31.7, 9.0, 0.2, (1.0, 0.0, 0.0))
    picture = draw(background, [shape])
    outside = silhouette(shape) == 0
    np.testing.assert_array_equal(picture[:, outside], background[:, outside])
    inside = silhouette(shape) == 1
    np.testing.assert_allclose(picture[0, inside], 1, atol=1e-6)


def test_scattered_shapes_do_not_touch() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        shapes = scatter([*KEYS, *DECOYS], rng)
        covered = sum(silhouette(shape) for shape in shapes)
        assert covered.max() <= 1
        assert [shape.kind for shape in shapes] == [*KEYS, *DECOYS]


@pytest.mark.parametrize(
    ("name", "method", "options"),
    [
        ("keys_convolutional", "grad_cam", {"target_layer_name": "12"}),
        ("keys_convolutional", "lrp", {}),
        ("keys_transformer", "attention_gradient", {}),
        ("keys_transformer", "lrp", {"composite": "attn_lrp"}),
    ],
)
def test_methods_work_on_them(
    problems: dict[str, Problem], name: str, method: str, options: dict[str, Any]
) -> None:
    """Class activation maps, relevance through attention, and methods that need attention."""
    problem = problems[name]
    found = it.registry.METHODS.find(method).cls(problem.model)
    values = found.explain(problem.x[:2], label=problem.labels[:2], **options).values
    assert np.isfinite(values).all()
    assert np.abs(values).max() > 0


def test_what_a_problem_says_reaches_the_method(problems: dict[str, Problem]) -> None:
    """LRP's default composite has no way through attention; the problem names one that has."""
    problem = problems["keys_transformer"].take(2)
    key = ("lrp", "trained/transformer")
    assert run("lrp", problem).findings[key].reason == ""
    refused = run("lrp", problem, options={"lrp": {"composite": "epsilon_gamma_box"}})
    assert "attn_lrp" in refused.findings[key].reason


def test_pictures_become_inputs_as_the_preprocessing_says() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    pictures = images.transpose(0, 3, 1, 2).astype(np.float32) / 255
    np.testing.assert_allclose(inputs(pictures), PIXELS.normalize(images), atol=1e-5)


def test_logits_keep_the_axes_before_the_picture() -> None:
    model = convolutional(3)
    model.eval()
    pictures = backgrounds(6, seed=0)
    found = logits(model, pictures.reshape(2, 3, 3, 64, 64))
    assert found.shape == (2, 3, 3)
    np.testing.assert_allclose(found.reshape(6, 3), logits(model, pictures), atol=1e-5)
