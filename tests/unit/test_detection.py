"""DetectionSubject on planted detectors: what it finds, and which box is meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from PIL import Image
from scipy.special import expit

import interpretdl as it
from interpretdl.errors import InputError, TargetError, UnsupportedModelError
from interpretdl.suites.detector import KINDS, kind_of
from tests.paddle_models import detectors
from tests.paddle_models.detectors import scene
from tests.planted_detectors import CORNERS, FORMS, PICTURE, PLAIN, box_of, detector, usual

# -- what is found ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMS)
def test_the_squares_are_found(name: str) -> None:
    found = usual(name).detect(PICTURE)
    assert {each.name: each.box for each in found} == CORNERS
    assert [each.index for each in found] == [0, 1]
    assert found[0].score >= found[1].score > 0.9
    assert str(found[0]).startswith(f"0: {found[0].name} {found[0].score:.3f} at [")


@pytest.mark.parametrize("name", FORMS)
def test_the_score_is_the_logit_of_the_box(name: str) -> None:
    subject = usual(name)
    for each in subject.detect(PICTURE):
        explained = subject.explain(PICTURE, each.index, "gradient")
        logit = float(explained.scores[0])
        if name != "faster_rcnn":
            assert expit(logit) == pytest.approx(each.score, rel=1e-4)
        assert explained.probability(0) == pytest.approx(each.score, rel=1e-4)
        assert explained.top(1)[0][0][:2] == (each.label, each.name)
        assert explained.label_names == (each.name,)


def test_a_larger_picture_has_its_own_corners(tmp_path: Path) -> None:
    large = Image.fromarray(PICTURE).resize((192, 128), Image.Resampling.NEAREST)
    large.save(tmp_path / "large.png")
    found = usual("ppyoloe").detect(tmp_path / "large.png")
    assert {e.name: e.box for e in found} == {"red": (24, 16, 96, 64), "green": (96, 64, 168, 112)}
    explained = usual("ppyoloe").explain(tmp_path / "large.png", (30, 20))
    assert explained.images is not None
    np.testing.assert_array_equal(explained.images[0], np.asarray(large))
    assert explained.regions is not None
    inside = np.zeros((128, 192), bool)
    inside[16:64, 24:96] = True
    np.testing.assert_array_equal(explained.regions[0], inside)
    assert explained.sources == (str(tmp_path / "large.png"),)
    assert explained.heatmap().shape == (1, 128, 192)


def test_the_ways_to_give_a_picture_agree(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "picture.png")
    x = PLAIN.normalize(PICTURE[None])
    wanted = usual("ppyoloe").detect(PICTURE)
    path = tmp_path / "picture.png"
    for given in (path, path.read_bytes(), Image.fromarray(PICTURE), PICTURE[None], x, x[0], [x]):
        assert usual("ppyoloe").detect(given) == wanted
    for given in ([PICTURE, PICTURE], np.stack([PICTURE, PICTURE])):
        with pytest.raises(InputError, match="give one picture"):
            usual("ppyoloe").detect(given)
    with pytest.raises(InputError):
        usual("ppyoloe").detect(None)


def test_the_model_itself_sorts_the_boxes_out() -> None:
    x = PLAIN.normalize(PICTURE[None])
    size = paddle.to_tensor([[64.0, 64.0]])
    model = detectors.YOLOE()
    given = {"image": paddle.to_tensor(x), "im_shape": size, "scale_factor": size / 64}
    listed = model(given)["bbox"].numpy()
    listed = listed[np.argsort(-listed[:, 1])]
    found = detector("ppyoloe", model, score_threshold=0).detect(PICTURE)
    np.testing.assert_allclose([each.score for each in found], listed[:, 1], rtol=1e-6)
    np.testing.assert_allclose([each.box for each in found], listed[:, 2:], atol=1e-4)
    assert len(found) == 2


def test_boxes_of_a_function_are_sorted_out_here() -> None:
    every = detector("function", iou_threshold=1.0, score_threshold=0.0).detect(PICTURE)
    assert len(every) == 16 * 16 + 8 * 8
    found = detector("function", iou_threshold=0.3, score_threshold=0.0).detect(PICTURE)
    whole = [e for e in found if min(e.box) > 0 and max(e.box) < 64]  # not cut at an edge
    assert len(whole) > 20
    for i, a in enumerate(whole):
        for b in whole[:i]:
            assert a.label != b.label or detectors.iou(a.box, b.box) <= 0.3 + 1e-6
    raw = detector("function", activation=None).detect(PICTURE)  # logits taken as they are
    assert raw[0].score == pytest.approx(usual("function").explain(PICTURE, 0).scores[0])


# -- which model -----------------------------------------------------------------------------------


def test_the_kind_is_seen_or_named() -> None:
    for name in ("ppyoloe", "picodet", "detr", "faster_rcnn"):
        assert kind_of(FORMS[name](), None) is KINDS[name]
        assert kind_of(FORMS[name](), name) is KINDS[name]
    with pytest.raises(InputError, match="did you mean 'ppyoloe'"):
        detector("ppyoloe", kind="ppyolo")
    with pytest.raises(InputError, match="YOLOE is no detector of kind 'detr'"):
        detector("ppyoloe", kind="detr")
    with pytest.raises(UnsupportedModelError, match="Linear is no detector that is known"):
        it.DetectionSubject(paddle.nn.Linear(2, 2))
    with pytest.raises(InputError, match=r"must be a paddle\.nn\.Layer"):
        it.DetectionSubject("yolo.pdparams")


@pytest.mark.parametrize(
    ("read", "got"),
    [
        (lambda output: output["boxes"], "Tensor"),
        (lambda output: (output["boxes"], None), "Tensor and NoneType"),
        (lambda output: (output["boxes"][..., :3], output["logits"]), "320, 3"),
        (lambda output: (output["boxes"], output["logits"][:, :5]), "5, 2"),
    ],
)
def test_a_function_that_gives_something_else_is_told(read: Any, got: str) -> None:
    with pytest.raises(InputError, match=rf"kind= must give two Tensors.*{got}"):
        detector("function", kind=read).detect(PICTURE)


def test_arguments_that_do_not_fit_are_told() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"score_threshold": 2}, "score_threshold must be between 0 and 1"),
        ({"score_threshold": "high"}, "score_threshold must be"),
        ({"activation": "sigmoid"}, "activation= is for scores that a function gives"),
        ({"size": (1, 2, 3)}, "size must be a side"),
        ({"size": 0}, "size"),
        ({"preprocessing": "imagenet"}, "preprocessing must be a Preprocessing, a reader"),
        ({"class_names": "red"}, "class_names must be"),
    ]
    for options, words in wrong:
        with pytest.raises(InputError, match=words):
            detector("ppyoloe", **options)
    with pytest.raises(InputError, match="3 class names were given for a detector with 2 classes"):
        detector("ppyoloe", class_names=["a", "b", "c"]).detect(PICTURE)
    with pytest.raises(InputError, match=r"no method 'grad_can'.*grad_cam"):
        usual("ppyoloe").explain(PICTURE, 0, "grad_can")


def test_a_head_made_for_one_size_says_so() -> None:
    model = detectors.YOLOE()
    model.yolo_head.eval_size = [64, 64]
    subject = detector("ppyoloe", model, size=None)
    assert len(subject.detect(Image.fromarray(PICTURE).resize((100, 90)))) == 2
    with pytest.raises(InputError, match=r"made for pictures of 64 x 64 pixels \(eval_size\)"):
        detector("ppyoloe", model, size=96).detect(PICTURE)


# -- how pictures are read -------------------------------------------------------------------------


def test_a_reader_of_the_suite_says_all() -> None:
    steps: list[Any] = [
        {"Decode": {}},
        {"Resize": {"target_size": [64, 128], "keep_ratio": True, "interp": 2}},
        {"NormalizeImage": {"mean": [0.0, 0, 0], "std": [1.0, 1, 1], "norm_type": "none"}},
        {"Permute": {}},
    ]
    reader = {"sample_transforms": steps, "batch_transforms": [{"PadBatch": {"pad_to_stride": 32}}]}
    subject = detector("ppyoloe", size=None, preprocessing=reader)
    wide = np.full((64, 80, 3), 120, np.uint8)
    wide[:, :64] = PICTURE
    # 64 x 80 stays what it is, and is padded to 64 x 96
    assert {each.name: each.box for each in subject.detect(wide)} == CORNERS
    for method in ("layer_cam", "gradient", "lrp"):
        explained = subject.explain(wide, (20, 20), method)
        assert explained.values.shape[-2:] == (64, 80)
        assert explained.heatmap().shape == (1, 64, 80)
    double = Image.fromarray(wide).resize((160, 128), Image.Resampling.NEAREST)
    found = {each.name: each.box for each in subject.detect(double)}
    assert found == {name: tuple(2 * side for side in box) for name, box in CORNERS.items()}
    with pytest.raises(InputError, match="step 'RandomFlip' is not known"):
        detector("ppyoloe", preprocessing=[{"RandomFlip": {}}])


def test_the_numbers_of_a_reader() -> None:
    def first(**options: Any) -> Any:
        steps = [{"Resize": {"target_size": 64, "keep_ratio": False}}]
        reader = [*steps, {"NormalizeImage": options}]
        return detector("ppyoloe", size=None, preprocessing=reader)._reader.read(PICTURE).x

    pixels = PICTURE.transpose(2, 0, 1)[None].astype(np.float64)
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    m, s = (np.reshape(each, (1, 3, 1, 1)) for each in (mean, std))
    np.testing.assert_allclose(first(mean=mean, std=std), (pixels / 255 - m) / s, atol=1e-5)
    large = first(mean=[127.5] * 3, std=[100.0] * 3, is_scale=False)
    np.testing.assert_allclose(large, (pixels - 127.5) / 100, atol=1e-5)
    none = first(mean=mean, std=std, norm_type="none")
    np.testing.assert_allclose(none, pixels / 255, atol=1e-6)


# -- which box -------------------------------------------------------------------------------------


def test_a_box_by_index_corners_and_place() -> None:
    subject = usual("ppyoloe")
    red, green = (box_of(subject, name) for name in ("red", "green"))
    wanted = subject.explain(PICTURE, red.index).values
    given: list[Any] = [(10, 12), [31.5, 31.5], (0, 0, 30, 30), np.array(red.box), np.int64(0)]
    for box in [*given, paddle.to_tensor([9.0, 9.0, 33.0, 33.0])]:
        np.testing.assert_array_equal(subject.explain(PICTURE, box).values, wanted)
    assert subject.explain(PICTURE, (50, 40)).label_names == ("green",)
    assert subject.explain(PICTURE, (32, 32)).label_names == (red.name,)  # the surest there
    assert subject.explain(PICTURE, (20, 20, 60, 60)).label_names == (green.name,)


@pytest.mark.parametrize(
    ("box", "error", "words"),
    [
        (
            2,
            TargetError,
            r"box 2 is not in \[0, 2\): found are 0: red 1\.000 at \[8, 8, 32, 32\]; 1",
        ),
        (-1, TargetError, r"box -1 is not in \[0, 2\)"),
        ((60, 4), TargetError, r"no box is at \(60, 4\): found are 0: red"),
        ((40, 0, 60, 20), TargetError, r"no box overlaps .*found are 0: red"),
        ((30, 0, 10, 20), InputError, "x0 < x1 and y0 < y1"),
        ((1, 2, 3), InputError, "box must be an index, a place"),
        ("red", InputError, "box must be an index, a place"),
        (None, InputError, "box must be an index, a place"),
        (True, InputError, "box must be an index, a place"),
        (1.5, InputError, "box must be an index, a place"),
        ((np.nan, 1), InputError, "box must be an index, a place"),
    ],
)
def test_a_box_that_there_is_not(box: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        usual("ppyoloe").explain(PICTURE, box)


def test_nothing_found_says_what_was_nearest() -> None:
    empty = scene()
    assert usual("ppyoloe").detect(empty) == []
    with pytest.raises(TargetError, match=r"no box of .* is found.*a lower score_threshold="):
        usual("ppyoloe").explain(empty)


def test_another_class_of_the_same_box() -> None:
    subject = usual("ppyoloe")
    red = box_of(subject, "red")
    other = subject.explain(PICTURE, red.index, "gradient", label="green")
    assert other.label_names == ("green",)
    assert other.scores[0] < 0
    row = int(subject.subject.probe.logits(PLAIN.normalize(PICTURE[None]))[0, :, 4].argmax())
    by_hand = it.DetectionScore(1, index=row)
    wanted = it.GradientInterpreter(subject.subject).explain(
        PLAIN.normalize(PICTURE[None]), label=by_hand
    )
    np.testing.assert_array_equal(other.values, wanted.values)
    for label, error in (("blue", TargetError), (2, TargetError), (-1, TargetError)):
        with pytest.raises(error):
            subject.explain(PICTURE, label=label)
    with pytest.raises(InputError, match="label must be a class"):
        subject.explain(PICTURE, label=[0])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="leave label=None"):
        subject.explain(PICTURE, label=0, score="similarity")
