"""DetectionSubject on planted detectors: maps lie in their box, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

import interpretdl as it
from interpretdl.errors import TargetError, UnsupportedModelError
from tests.paddle_models.detectors import RED, SQUARE, scene
from tests.planted_detectors import (
    CORNERS,
    FORMS,
    GRID,
    PICTURE,
    PLAIN,
    box_of,
    detector,
    share,
    usual,
)

# -- where the maps lie ----------------------------------------------------------------------------

FAMILIES: list[tuple[str, dict[str, Any]]] = [
    ("gradient", {}),
    ("smooth_grad", {"n_samples": 4}),
    ("integrated_gradients", {"steps": 8}),
    ("layer_cam", {}),
    ("layer_cam", {"target_layer_name": "neck_outputs"}),
    ("layer_cam", {"target_layer_name": "neck_outputs.1"}),
    ("layer_cam", {"target_layer_name": "model.neck.lateral.1"}),
    ("hires_cam", {}),
    ("lrp", {}),
    ("deep_lift", {}),
    ("guided_bp", {}),
    ("occlusion", {"sliding_window_shapes": (3, 8, 8), "strides": 8}),
    ("feature_ablation", {"regions": GRID}),
    ("kernel_shap", {"regions": GRID, "evaluations": 400}),
    ("lime", {"regions": GRID, "evaluations": 400}),
]


@pytest.mark.parametrize("name", ["red", "green"])
@pytest.mark.parametrize(("method", "options"), FAMILIES, ids=lambda part: str(part)[:40])
def test_the_map_of_a_box_lies_in_the_box(method: str, options: Any, name: str) -> None:
    subject = usual("ppyoloe")
    box = box_of(subject, name)
    assert share(subject.explain(PICTURE, box.index, method, **options), box.box) > 0.8


@pytest.mark.parametrize("form", [name for name in FORMS if name != "ppyoloe"])
@pytest.mark.parametrize("method", ["gradient", "layer_cam", "lrp"])
def test_it_does_so_in_each_form(form: str, method: str) -> None:
    subject = usual(form)
    options: dict[str, Any] = {}
    if method == "lrp":
        options = {"composite": "attn_lrp"} if form == "detr" else {}
        if form == "picodet_aligned":
            with pytest.raises(UnsupportedModelError, match=r"softplus.*a method that needs"):
                subject.explain(PICTURE, 0, method)
            return
    for each in subject.detect(PICTURE):
        assert share(subject.explain(PICTURE, each.index, method, **options), each.box) > 0.8


@pytest.mark.parametrize("form", ["ppyoloe", "detr"])
def test_rise_is_d_rise(form: str) -> None:
    subject = usual(form)
    for each in subject.detect(PICTURE):
        found = subject.explain(PICTURE, each.index, "rise", cells=16, evaluations=1500)
        assert isinstance(found.target, it.DetectionSimilarity)
        # of a box that is found as it is: IoU 1, cosine 1, and its largest probability
        assert found.scores[0] == pytest.approx(each.score, rel=1e-4)
        assert found.label_names == (each.name,)
        values, error = found.values[0, 0], found.diagnostics["standard_error"][0, 0]
        sure = np.where(values > 3 * error, values, 0)
        x0, y0, x1, y1 = (round(side) for side in each.box)
        assert sure[y0:y1, x0:x1].sum() / sure.sum() > 0.8
    direct = it.RISEInterpreter(subject.subject).explain(
        PLAIN.normalize(PICTURE[None]), label=subject.target(PICTURE, 0, score="similarity"),
        evaluations=100,
    )  # fmt: skip
    found = subject.explain(PICTURE, 0, "rise", evaluations=100)
    np.testing.assert_array_equal(direct.values, found.values)
    by_class = subject.explain(PICTURE, 0, "rise", score="class", evaluations=100)
    assert isinstance(by_class.target, it.DetectionScore)


# -- right and without a trace ---------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMS)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    paddle.set_default_dtype("float64")
    try:
        subject = detector(name)
    finally:
        paddle.set_default_dtype("float32")
    x = PLAIN.normalize(PICTURE[None]).astype(np.float64)
    target = subject.target(x, 0)
    probe = subject.subject.probe
    found = probe.gradients(x, target)
    assert found.input.dtype == np.float64
    rng = np.random.default_rng(0)
    places = np.unravel_index(np.abs(found.input).ravel().argsort()[-3:], x.shape)
    for place in [*zip(*places, strict=True), *(tuple(rng.integers(x.shape)) for _ in range(3))]:
        step = np.zeros_like(x)
        step[place] = 1e-5
        moved = np.concatenate([x + step, x - step])
        up, down = probe.scores(moved, target)
        assert (up - down) / 2e-5 == pytest.approx(found.input[place], rel=1e-5, abs=1e-8)


def test_pictures_of_a_batch_are_as_when_alone() -> None:
    """Regions are as many for each picture, so that batches fit together."""
    others = [PICTURE, scene((24, 8, RED)), scene(seed=3)]
    x = PLAIN.normalize(np.stack(others))
    for name in FORMS:
        probe = detector(name, batch_size=3).subject.probe
        single = np.concatenate([probe.logits(each[None]) for each in x])
        np.testing.assert_allclose(probe.logits(x), single, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FORMS)
def test_the_model_is_as_it_was(name: str) -> None:
    model = FORMS[name]()
    model.train()
    before = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    keys = {path: set(vars(layer)) for path, layer in model.named_sublayers(include_self=True)}
    subject = detector(name, model)
    subject.explain(PICTURE)
    with pytest.raises(TargetError):
        subject.explain(PICTURE, 9)
    after = model.state_dict()
    assert set(after) == set(before)
    assert all(np.array_equal(after[key].numpy(), before[key]) for key in before)
    for path, layer in model.named_sublayers(include_self=True):
        assert layer.training
        assert not layer._forward_post_hooks
        assert set(vars(layer)) == keys[path]
    assert all(p.grad is None and not p.stop_gradient for p in model.parameters())


def test_it_is_drawn_and_kept(tmp_path: Path) -> None:
    subject = usual("ppyoloe")
    red = box_of(subject, "red")
    explained = subject.explain(PICTURE, red.index)
    assert explained.titles == (f"red  {red.score:.3f}",)
    assert explained.diagnostics["layers"] == ["backbone_outputs.0", "backbone_outputs.1"]
    np.testing.assert_allclose(explained.diagnostics["box"], [CORNERS["red"]])
    assert explained.parameters["box"] == list(CORNERS["red"])
    assert explained.parameters["model"] == "YOLOE"
    assert explained.regions is not None
    assert explained.regions.sum() == SQUARE**2
    explained.save(tmp_path / "box.png", original=True)
    explained.save(tmp_path / "box.npz")
    kept = it.Explanation.load(tmp_path / "box.npz")
    assert kept.titles == explained.titles
    np.testing.assert_array_equal(kept.values, explained.values)
