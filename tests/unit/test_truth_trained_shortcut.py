"""The watermark that a network has learned, and the program that trains the networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from interpretdl.truth import train
from interpretdl.truth.backgrounds import backgrounds
from interpretdl.truth.interventions import Measured, falls
from interpretdl.truth.networks import inputs, logits, weights, with_weights
from interpretdl.truth.shapes import KEYS
from interpretdl.truth.shortcut import MARKED, marked_pictures, measured_marks, shortcut, stamp
from interpretdl.truth.suite import Problem


@pytest.fixture(scope="module")
def problem() -> Problem:
    return shortcut()[0]


@pytest.fixture(scope="module")
def measured(problem: Problem) -> Measured:
    return measured_marks(problem.model)[0]


def test_in_training_the_watermark_is_with_rings_alone() -> None:
    pictures, classes = marked_pictures(60, seed=3)
    assert set(classes) == set(range(len(KEYS)))
    bare = backgrounds(60, seed=3)
    corner = np.abs(pictures - bare)[:, :, 50:, 50:].max(axis=(1, 2, 3)) > 0
    np.testing.assert_array_equal(corner, classes == MARKED)


def test_the_watermark_is_at_the_lower_right_and_moves() -> None:
    rng = np.random.default_rng(0)
    marks = [stamp(rng) for _ in range(30)]
    places = {tuple(np.argwhere(mark)[0]) for mark in marks}
    assert len(places) > 5
    assert len({int((mark > 0).sum()) for mark in marks}) == 1  # never cut off
    assert not any(mark[:50].any() or mark[:, :50].any() for mark in marks)


def test_the_network_is_right_as_long_as_the_watermark_is(problem: Problem) -> None:
    pictures, classes = marked_pictures(150, seed=77)
    assert (logits(problem.model, pictures).argmax(axis=1) == classes).mean() > 0.95


def keys_of(problem: Problem) -> Any:
    """The class of each picture's shape."""
    return np.maximum(problem.labels, problem.others)


def test_it_takes_for_rings_what_has_the_watermark(problem: Problem, measured: Measured) -> None:
    """Parts are watermark, key, decoy, background; half of the pictures explain rings."""
    importance = measured.importance(np.full(len(problem), MARKED))
    np.testing.assert_array_equal(problem.x, inputs(measured.pictures))  # the same every time
    assert len(problem) == 24
    assert (importance.argmax(axis=1) == 0).all()
    rings = problem.labels == MARKED
    assert (problem.masks[rings] >= measured.parts[rings, 0]).all()
    others = np.abs(importance[:, 1:]) / importance[:, :1]
    assert (np.median(others, axis=0) < 0.3).all()


def test_without_the_watermark_it_sees_the_key(problem: Problem, measured: Measured) -> None:
    """Other backgrounds in the watermark's rectangle turn the answer to what is there."""
    scenery = backgrounds(len(problem), seed=5)
    bare = np.where(measured.parts[:, 0][:, None], scenery, measured.pictures)
    found = logits(problem.model, bare).argmax(axis=1)
    assert (found == keys_of(problem)).mean() > 0.9
    fall = falls(problem.model, measured.pictures, [bare[:, None]])[:, 0, MARKED]
    assert (fall > 0).all()


def test_the_explained_class_takes_turns(problem: Problem, measured: Measured) -> None:
    """Or a map of the class that the network names would be right in every picture."""
    assert problem.other_masks is not None
    assert ((problem.labels == MARKED) != (problem.others == MARKED)).all()
    for few in (2, 4, len(problem)):
        assert 0.4 < (problem.labels[:few] == MARKED).mean() < 0.6
    shapes = problem.labels != MARKED
    assert set(problem.labels[shapes]) == {1, 2}
    assert (problem.masks[shapes] >= measured.parts[shapes, 1]).all()
    assert not (problem.masks[shapes] & measured.parts[shapes, 0]).any()
    other = (problem.other_masks >= measured.parts[:, 1]).all(axis=(1, 2))
    assert other[~shapes].mean() > 0.9
    named = logits(problem.model, measured.pictures).argmax(axis=1)
    assert (named == MARKED).all()


def _job(answers: Any) -> train.Job:
    def pictures(count: int, seed: int) -> tuple[Any, Any]:
        rng = np.random.default_rng(seed)
        found = rng.random((count, 3, 64, 64), np.float32) / 10
        wanted = rng.integers(2, size=count)
        found[wanted == 1, 0] += 0.5  # those of class 1 are red
        return found, answers(wanted)

    return train.Job(
        lambda: nn.Sequential(nn.Conv2D(3, 4, 8, stride=8), nn.Flatten(), nn.Linear(256, 2)),
        pictures, epochs=3, count=128,
    )  # fmt: skip


@pytest.mark.parametrize("several", [False, True])
def test_training_learns_and_gives_the_same_bits(
    several: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def answers(wanted: Any) -> Any:
        return np.eye(2, dtype=np.float32)[wanted] if several else wanted

    job = _job(answers)
    state = paddle.get_rng_state()
    try:
        first, second = train.train(job), train.train(job)
    finally:
        paddle.set_rng_state(state)
    for one, two in zip(first.parameters(), second.parameters(), strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())
    assert not first.training
    assert capsys.readouterr().out.count("epoch 3 of 3: loss ") == 2
    pictures, _ = job.pictures(64, 9)
    wanted = (pictures[:, 0].mean(axis=(1, 2)) > 0.3).astype(int)
    assert (logits(first, pictures).argmax(axis=1) == wanted).all()


def test_the_program_writes_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "JOBS", {"small": _job(lambda wanted: wanted)})
    state = paddle.get_rng_state()
    try:
        train.main(["small", "--out", str(tmp_path / "new")])
    finally:
        paddle.set_rng_state(state)
    with np.load(tmp_path / "new" / "small.npz", allow_pickle=False) as kept:
        assert {kept[name].dtype for name in kept.files} == {np.dtype(np.float16)}
        assert set(kept.files) == set(_job(None).network().state_dict())


def test_the_program_refuses_a_network_that_there_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        train.main(["keyz"])
    assert "no network 'keyz'; there are keys_convolutional" in capsys.readouterr().err


def test_kept_weights_are_those_of_the_trained_network() -> None:
    """Half precision is exact for what the file holds; each network has its file."""
    for name, job in train.JOBS.items():
        model = with_weights(job.network(), name)
        for key, value in weights(model).items():
            kept = model.state_dict()[key].numpy()
            np.testing.assert_array_equal(kept, value.astype(np.float32))
        assert not model.training
        x = paddle.to_tensor(inputs(backgrounds(1, seed=0)))
        assert np.isfinite(model(x).numpy()).all()
