"""What a dissection refuses: archives that no dissection wrote, and wrong settings."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpretdl.data_processor.files import read_archive, write_archive
from interpretdl.dissection import Broden, dissect, mini_broden
from interpretdl.errors import InputError, InterpretError, ResourceError
from interpretdl.testing import small_network

Arrays = dict[str, np.ndarray]
RESULTS = ("0-thresholds.npz", "0-tally.npz")
STATES = ("0-thresholds.partial.npz", "0-tally.partial.npz")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mini_broden(tmp_path_factory.mktemp("mini") / "data", scenes=6, size=32)


def run(data: Any, out: Path, **options: Any) -> Any:
    settings = {"input_size": 32, "batch_size": 2, "report": False, "top": 4, **options}
    return dissect(small_network(), data, "0", out, **settings)


@pytest.fixture(scope="module")
def archives(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The files of a whole run, and those of runs that were stopped in each phase."""

    class Stopped(Broden):
        def image(self, index: int, channels: int = 3) -> Any:
            if index == 4 and not calls:
                raise KeyboardInterrupt
            calls.extend([index] if index == 4 else [])
            return super().image(index, channels)

        def truth(self, index: int) -> Any:
            if index == 4:
                raise KeyboardInterrupt
            return super().truth(index)

    folder, found, calls = tmp_path_factory.mktemp("archives"), {}, [0]
    run(data, folder / "whole")
    found |= {name: read_archive(folder / "whole" / name) for name in RESULTS}
    for name, allowed in zip(STATES, ([], [0]), strict=True):
        calls[:] = allowed
        with pytest.raises(KeyboardInterrupt):
            run(Stopped(data), folder / name, checkpoint_seconds=0)
        found[name] = read_archive(folder / name / name)
    return found


def changed(key: str, to: Callable[[np.ndarray], Any]) -> Callable[[Arrays, dict[str, Any]], None]:
    def change(arrays: Arrays, metadata: dict[str, Any]) -> None:
        arrays[key] = np.asarray(to(arrays[key]))

    return change


def lost(key: str) -> Callable[[Arrays, dict[str, Any]], None]:
    return lambda arrays, metadata: (metadata if key in metadata else arrays).pop(key)


def says(key: str, value: Any) -> Callable[[Arrays, dict[str, Any]], None]:
    return lambda arrays, metadata: metadata.update({key: value})


def put(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """The array with another first value."""

    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.flat[0] = value
        return array

    return change


THRESHOLDS, TALLY, HALF, HALF_TALLY = *RESULTS, *STATES
WRONG = [
    *((name, lost("fingerprint"), "does not say what") for name in (*RESULTS, *STATES)),
    *((name, says("fingerprint", [1]), "does not say what") for name in (*RESULTS, *STATES)),
    *((name, lost("done"), "it says that None of 6") for name in (*RESULTS, *STATES)),
    (THRESHOLDS, says("done", 5), "it says that 5 of 6"),
    (THRESHOLDS, says("done", "6"), "it says that 6 of 6"),
    (THRESHOLDS, says("done", True), "it says that True of 6"),
    (HALF, says("done", 6), "it says that 6 of 6"),
    (HALF, says("done", 3), "it says that 3 of 6"),  # amid a batch, where no run stops
    (HALF, says("done", 0), "it says that 0 of 6"),
    (HALF_TALLY, says("done", -2), "it says that -2 of 6"),
    (HALF_TALLY, says("done", "x" * 5000), "it says that xxx"),
    *((THRESHOLDS, lost(key), f"it lacks {key}") for key in
      ("thresholds", "top_images", "top_scores", "top_maps")),
    *((TALLY, lost(key), f"it lacks {key}") for key in ("both", "truth", "activation")),
    *((HALF, lost(key), f"it lacks {key}") for key in ("values", "top_images", "top_maps")),
    (HALF_TALLY, lost("both"), "it lacks both"),
    (HALF, lost("seen"), "of None values"),
    (HALF, says("seen", 10**30), "of 1000"),
    (HALF, says("seen", True), "of True values"),
    (HALF, says("seen", "7"), "of '7' values"),
    (HALF, changed("values", lambda a: a[:, 1:]), "values"),
    (THRESHOLDS, lambda arrays, _: arrays.update(more=np.zeros(2)), "it has more as well"),
    (THRESHOLDS, changed("thresholds", lambda a: a.astype("f8")), "thresholds is float64"),
    (THRESHOLDS, changed("thresholds", lambda a: a.astype("U4")), "thresholds is <U4"),
    (THRESHOLDS, changed("thresholds", lambda a: a[:-1]), r"top_images is \[.*should be \["),
    (THRESHOLDS, changed("thresholds", lambda a: a[None]), r"thresholds is \[1, "),
    (THRESHOLDS, changed("thresholds", lambda a: 1.0), "thresholds is float64"),
    (THRESHOLDS, changed("thresholds", put(np.nan)), "thresholds has values that are NaN"),
    (THRESHOLDS, changed("top_maps", put(np.inf)), "top_maps has values that are NaN or inf"),
    (THRESHOLDS, changed("top_maps", put(9e9)), "top_scores are not the largest"),
    (THRESHOLDS, changed("top_maps", lambda a: a[..., :0]), "top_scores are not the largest"),
    (THRESHOLDS, changed("top_maps", lambda a: a[:, :2]), "top_maps is"),
    (THRESHOLDS, changed("top_scores", put(np.nan)), "top_scores are not the largest"),
    (THRESHOLDS, changed("top_scores", put(-np.inf)), "top_scores are not the largest"),
    (THRESHOLDS, changed("top_images", put(6)), "top_images has values from 0 to 6"),
    (THRESHOLDS, changed("top_images", put(-1)), "top_images are not those of 6 images"),
    (THRESHOLDS, changed("top_images", put(-2)), "top_images has values from -2"),
    (HALF, changed("values", put(np.nan)), "values has values that are NaN"),
    (HALF, changed("top_images", put(4)), "top_images has values from 0 to 4"),
    (TALLY, changed("both", lambda a: a.astype("f8")), "both is float64"),
    (TALLY, changed("both", lambda a: a.T), "both is"),
    (TALLY, changed("truth", lambda a: a[:-1]), "truth is"),
    (TALLY, changed("truth", put(-1)), "truth has values from -1"),
    (TALLY, changed("activation", put(2**62)), "activation has values from 0 to 46116"),
    (TALLY, changed("both", put(2**20)), "more pixels in common than one of them"),
    (HALF_TALLY, changed("both", put(2**20)), "more pixels in common than one of them"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change", "named"), WRONG, ids=[f"{n[2:-4]}: {w[:30]}" for n, _, w in WRONG]
)
def test_archives_that_no_dissection_wrote(
    archives: Any, data: Path, tmp_path: Path, name: str, change: Any, named: str
) -> None:
    for each in (THRESHOLDS, name) if "tally" in name else (name,):
        arrays, metadata = (dict(part) for part in archives[each])
        if each == name:
            change(arrays, metadata)
        write_archive(tmp_path / each, arrays, metadata)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match=named) as caught:
        run(data, tmp_path)
    assert len(str(caught.value)) < 1000
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    run(data, tmp_path, restart=True)


@pytest.mark.parametrize("name", [*RESULTS, *STATES])
def test_archives_as_they_were_are_taken(
    archives: Any, data: Path, tmp_path: Path, name: str
) -> None:
    """What the tests above change is taken where nothing is changed."""
    for each in (THRESHOLDS, name) if "tally" in name else (name,):
        write_archive(tmp_path / each, *archives[each])
    run(data, tmp_path)
    for each in RESULTS:
        for key, array in read_archive(tmp_path / each)[0].items():
            assert np.array_equal(array, archives[each][0][key])


def test_a_result_of_fewer_units(archives: Any, data: Path, tmp_path: Path) -> None:
    """In itself it is whole, and only the layer says that it cannot be its own."""
    for name in (THRESHOLDS, HALF):
        arrays, metadata = archives[name]
        fewer = {key: array[:-1] for key, array in arrays.items()}
        (tmp_path / name[:-4]).mkdir()
        write_archive(tmp_path / name[:-4] / name, fewer, metadata)
        with pytest.raises(InputError, match=r"'0' has maps \[.*are of \["):
            run(data, tmp_path / name[:-4])


SETTINGS = [
    ({"share": np.nan}, "share must be in"), ({"share": True}, "share must be a number"),
    ({"share": "0.1"}, "share must be a number"), ({"share": 1}, "share must be in"),
    ({"min_iou": 1.1}, "min_iou must be in"), ({"min_iou": None}, "min_iou must be a number"),
    ({"top": True}, "top must be a whole"), ({"top": 1.5}, "top must be a whole"),
    ({"top": 0}, "top must be a whole"), ({"capacity": 0}, "capacity must be a whole"),
    ({"capacity": 8.0}, "capacity must be"), ({"seed": -1}, "seed must be"),
    ({"seed": 0.5}, "seed must be"), ({"seed": None}, "seed must be"),
    ({"batch_size": 0}, "batch_size must be"), ({"batch_size": True}, "batch_size must be"),
    ({"batch_size": "2"}, "batch_size must be"), ({"input_size": 32.7}, "input_size must be"),
    ({"input_size": True}, "input_size must be"), ({"input_size": (32,)}, "input_size must be"),
    ({"input_size": (32, 32, 3)}, "input_size must be"), ({"input_size": 0}, "at least 1; got 0"),
    ({"input_size": (32, -1)}, "input_size must be at least 1"),
    ({"checkpoint_seconds": np.nan}, "checkpoint_seconds must be"),
    ({"checkpoint_seconds": -1}, "checkpoint_seconds must be"),
    ({"baseline": "no"}, "baseline must be True or False"),
    ({"restart": 1}, "restart must be True or False"), ({"report": None}, "report must be True"),
    ({"layers": []}, "at least one layer"), ({"layers": ""}, "at least one layer"),
    ({"layers": [0]}, "layers must be"), ({"layers": None}, "layers must be"),
    ({"layers": b"0"}, "layers must be"), ({"categories": ["objects"]}, "did you mean 'object'"),
    ({"categories": 1}, "categories must be"), ({"categories": []}, "at least one of"),
    ({"data": 5}, "data must be"), ({"data": None}, "data must be"),
    ({"data": "a\0b"}, "not a data set in Broden's layout"),
    ({"out": 5}, "out must be"), ({"out": "a\0b"}, "cannot make the folder"),
    ({"out": "n" * 300}, "cannot make the folder"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "named"), SETTINGS, ids=[re.sub(r"\W+", " ", f"{g}")[:40] for g, _ in SETTINGS]
)
def test_wrong_settings(data: Path, tmp_path: Path, given: Any, named: str) -> None:
    settings = {"data": data, "layers": "0", "out": tmp_path / "out", "input_size": 32, **given}
    with pytest.raises(InterpretError, match=named):
        dissect(small_network(), **settings)
    assert not list(tmp_path.rglob("*.npz"))


def test_categories_go_with_a_path(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give them to Broden"):
        run(Broden(data), tmp_path, categories="object")


def test_places_that_cannot_be_written(data: Path, tmp_path: Path) -> None:
    """Known before the first image is run."""

    class Unread(Broden):
        def image(self, index: int, channels: int = 3) -> Any:
            raise AssertionError("an image was read")

    (tmp_path / "0-tally.npz").mkdir()
    with pytest.raises(ResourceError, match="it is a folder"):
        run(Unread(data), tmp_path)
    (tmp_path / "lock" / ".dissection.lock").mkdir(parents=True)
    with pytest.raises(ResourceError, match=r"cannot write .*\.dissection\.lock"):
        run(Unread(data), tmp_path / "lock")
    mine = tmp_path / "mine"
    mine.write_text("mine")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / ".dissection.lock").symlink_to(mine)
    with pytest.raises(ResourceError, match=r"cannot write .*\.dissection\.lock"):
        run(Unread(data), tmp_path / "link")
    assert mine.read_text() == "mine"
