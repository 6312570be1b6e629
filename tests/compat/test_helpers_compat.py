"""InterpretDL's small helpers: files of plain data, superpixels, archives, pointing games."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import interpretdl as it
from interpretdl.common import file_utils, paddle_utils, python_utils
from interpretdl.data_processor.readers import load_npy_dict_file, load_pickle_file
from interpretdl.data_processor.visualizer import sp_to_array

RNG = np.random.default_rng(0)


def alike(one: Any, other: Any) -> None:
    """Equal, containers, types and numbers."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            alike(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            alike(a, b)
    elif isinstance(one, np.ndarray) and one.dtype == object:
        alike(one.tolist(), other.tolist())
    else:
        np.testing.assert_array_equal(one, other)
        assert getattr(one, "dtype", None) == getattr(other, "dtype", None)


LIME = {"cat.png": {282: [(3, 0.25), (0, -0.5)]}, "segments": RNG.integers(0, 9, (4, 5))}
VALUES: dict[str, Any] = {
    "dictionary": {"a": 1, "b": 2},
    "lime": LIME,
    "leaves": [None, True, 10**30, -0.5, "ü", b"bytes", (), [[]], {}],
    "numbers": {"one": np.float32(0.5), "many": RNG.normal(size=(2, 3)), "grey": np.uint8([[1]])},
    "columns": np.asfortranarray(RNG.normal(size=(3, 2))),
    "objects": np.array([None, [1, 2], {"a": np.arange(3)}], dtype=object),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", VALUES)
def test_pickles_of_plain_data_come_back(name: str, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "values.pkl"
    path.write_bytes(pickle.dumps(VALUES[name], protocol))
    alike(load_pickle_file(str(path)), VALUES[name])


@pytest.mark.parametrize("name", ["dictionary", "lime", "numbers"])
def test_dictionaries_saved_by_numpy_come_back(name: str, tmp_path: Path) -> None:
    path = tmp_path / "values.npy"
    np.save(path, VALUES[name])
    alike(load_npy_dict_file(path), VALUES[name])
    np.save(path, None)  # type: ignore[arg-type]  # as InterpretDL's do where there is nothing
    assert load_npy_dict_file(path) is None


@pytest.mark.parametrize("load", [load_pickle_file, load_npy_dict_file])
def test_what_is_missing_is_none(load: Any, tmp_path: Path) -> None:
    assert load(None) is None
    assert load(tmp_path / "none.pkl") is None
    with pytest.raises(it.InputError, match="path of a file is expected; got int"):
        load(3)
    with pytest.raises(it.InputError, match="a folder"):
        load(tmp_path)


class Runs:
    """Makes a folder where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("inside", [lambda x: x, lambda x: {"a": [x]}, lambda x: np.array([x, x])])
def test_nothing_in_a_file_is_run(inside: Any, tmp_path: Path) -> None:
    planted = inside(Runs(tmp_path / "planted"))
    path = tmp_path / "values.pkl"
    path.write_bytes(pickle.dumps(planted))
    with pytest.raises(it.InputError, match=r"values\.pkl is not read: the file wants .*mkdir"):
        load_pickle_file(path)
    np.save(tmp_path / "values.npy", {"a": planted})  # type: ignore[arg-type]
    with pytest.raises(it.InputError, match="mkdir"):
        load_npy_dict_file(tmp_path / "values.npy")
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({1, 2}, "SET"),
        (Path("a"), "Path"),
        ({(1, 2): 3}, "keys"),
        (1j, "complex"),
        (it.ClassScore(1), "ClassScore"),
        (np.random.default_rng, "default_rng"),
        (np.zeros(2, "f4,i4"), "not of numbers"),
    ],
)
def test_other_things_are_refused(value: Any, says: str, tmp_path: Path) -> None:
    path = tmp_path / "values.pkl"
    path.write_bytes(pickle.dumps(value, 4))
    with pytest.raises(it.InputError, match=rf"not read: .*{says}.*dictionaries and arrays"):
        load_pickle_file(path)


def test_damaged_files_and_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "values"
    whole = pickle.dumps(LIME)
    for content in (b"", b"text", whole[:-9], b"\x80\x04."):
        path.write_bytes(content)
        with pytest.raises(it.InputError, match="is not read"):
            load_pickle_file(path)
    for array in (np.arange(3), np.array([{}], dtype=object)):
        np.save(tmp_path / "array.npy", array)
        with pytest.raises(it.InputError, match=r"array, not a dictionary.*numpy\.load"):
            load_npy_dict_file(tmp_path / "array.npy")
    np.save(tmp_path / "array.npy", np.array("text", dtype=object))
    with pytest.raises(it.InputError, match="holds a str, and a dictionary is expected"):
        load_npy_dict_file(tmp_path / "array.npy")
    path.write_bytes(whole)
    with pytest.raises(it.InputError, match=r"no \.npy file"):
        load_npy_dict_file(path)


def test_lists_that_hold_each_other(tmp_path: Path) -> None:
    """A short file that names one list often, one that holds itself, and one very deep."""
    path = tmp_path / "values.pkl"
    often: list[Any] = [0.5]
    for _ in range(60):
        often = [often, often]
    path.write_bytes(pickle.dumps(often))
    found = load_pickle_file(path)
    assert found[0] is found[1]
    ring: list[Any] = []
    ring.append((ring, {"again": ring}))
    path.write_bytes(pickle.dumps(ring))
    found = load_pickle_file(path)
    assert found[0][1]["again"] is found
    path.write_bytes(b"\x80\x04" + b"]" * 50_000 + b"a" * 49_999 + b".")
    with pytest.raises(it.InputError, match="too deep"):
        load_pickle_file(path)


def test_superpixels_weights_become_a_map() -> None:
    segments = RNG.integers(0, 5, (6, 7))
    found = sp_to_array(segments, [(3, 0.5), (1, -2.0)])
    assert (found.dtype, found.shape) == (np.float32, (6, 7))
    for superpixel, weight in ((3, 0.5), (1, -2.0), (0, 0), (2, 0), (4, 0)):
        assert (found[segments == superpixel] == weight).all()
    # what the pointing game is given in InterpretDL's example
    scores = it.PointGameSegmentation().evaluate(segments == 3, found)
    assert scores["ap_score"] == pytest.approx(1)


# -- pointing games --------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [(), (1,), (1, 1)])
def test_maps_and_masks_of_one_picture(axes: tuple[int, ...]) -> None:
    heat = RNG.random((7, 9)).astype(np.float32)
    mask = np.zeros((7, 9))
    mask[1:4, 2:6] = 1
    game = it.PointGameSegmentation()
    expected = game.evaluate(mask, heat)
    assert game.evaluate(mask.reshape(*axes, 7, 9), heat.reshape(*axes, 7, 9)) == expected
    assert game.evaluate(mask, heat[None]) == expected
    assert it.PointGame().evaluate((2, 1, 6, 4), heat.reshape(*axes, 7, 9)) == expected
    perfect = game.evaluate(mask[None], mask[None].astype(np.float32))
    assert set(perfect.values()) == {1.0}


@pytest.mark.parametrize("shape", [(2, 7, 9), (7,), (2, 1, 7, 9)])
def test_masks_of_several_pictures_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(it.InputError, match=r"mask of one picture is \[H, W\] or \[1, H, W\]; got"):
        it.PointGameSegmentation().evaluate(np.ones(shape), np.ones((1, 7, 9)))
    if len(shape) != 3:  # [2, 7, 9] is a map of two channels
        with pytest.raises(it.InputError, match="one picture"):
            it.PointGame().evaluate((0, 0, 3, 3), np.ones(shape))


# -- interpretdl.common ----------------------------------------------------------------------------


def test_versions() -> None:
    assert python_utils.versiontuple2tuple("2.4.0") == (2, 4, 0)
    assert python_utils.versiontuple2tuple("3.0.0rc1") == (3, 0, 0)
    assert python_utils.versiontuple2tuple("10.2") > (3, 0)


def test_checksums(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content")
    digest = hashlib.md5(b"content", usedforsecurity=False).hexdigest()
    assert file_utils.md5check(str(path))
    assert file_utils.md5check(str(path), digest)
    assert not file_utils.md5check(str(path), "0" * 32)


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_archives_are_unpacked_beside_themselves(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as zipped:
            zipped.writestr("folder/new.txt", "new")
            zipped.writestr("folder/old.txt", "new")
    else:
        with tarfile.open(path, "w:gz" if kind == "tgz" else "w") as tarred:
            for name in ("folder/new.txt", "folder/old.txt"):
                entry = tarfile.TarInfo(name)
                entry.size = 3
                tarred.addfile(entry, io.BytesIO(b"new"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old.txt").write_text("old", encoding="utf-8")
    file_utils.decompress(str(path))
    assert (tmp_path / "folder" / "new.txt").read_text(encoding="utf-8") == "new"
    assert (tmp_path / "folder" / "old.txt").read_text(encoding="utf-8") == "old"
    assert sorted(os.listdir(tmp_path)) == sorted([path.name, "folder"])


def test_archives_that_want_out_of_their_folder(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "side"
    folder.mkdir(parents=True)
    with tarfile.open(folder / "a.tar", "w") as tarred:
        tarred.addfile(tarfile.TarInfo("../../out"), io.BytesIO())
    with pytest.raises(it.InputError, match="is not unpacked"):
        file_utils.decompress(folder / "a.tar")
    with zipfile.ZipFile(folder / "a.zip", "w") as zipped:
        zipped.writestr("../../out", "out")
    file_utils.decompress(folder / "a.zip")  # zipfile leaves the dots out
    assert not (tmp_path / "out").exists()
    (folder / "text").write_text("text", encoding="utf-8")
    with pytest.raises(it.InputError, match="neither a zip nor a tar"):
        file_utils.decompress(folder / "text")
    with pytest.raises(it.ResourceError, match="cannot unpack"):
        file_utils.decompress(folder / "none.zip")


def test_folders_are_merged(tmp_path: Path) -> None:
    for name in ("a/s/one", "a/two", "b/s/three", "b/two"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    file_utils.move_and_merge_tree(tmp_path / "a", tmp_path / "b")
    names = {p.relative_to(tmp_path / "b").as_posix() for p in (tmp_path / "b").rglob("*")}
    assert names == {"s", "s/one", "s/three", "two"}
    assert (tmp_path / "b" / "two").read_text(encoding="utf-8") == "b/two"
    file_utils.move_and_merge_tree(tmp_path / "b", tmp_path / "b")
    assert (tmp_path / "b" / "two").exists()


def test_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert file_utils.gen_user_home() == str(tmp_path)


def test_features_of_superpixels() -> None:
    segments = np.zeros((4, 6), int)
    segments[:, 3:] = 1
    features = RNG.normal(size=(4, 6, 2))
    means = paddle_utils.avg_using_superpixels(features, segments)
    np.testing.assert_allclose(means, [features[:, :3].mean((0, 1)), features[:, 3:].mean((0, 1))])
    centres = paddle_utils.centroid_using_superpixels(features, segments)
    np.testing.assert_array_equal(centres, [features[2, 1], features[2, 4]])
    both = paddle_utils.extract_superpixel_features(features, segments)
    np.testing.assert_allclose((both**2).sum(axis=1), 1)
    joined = np.concatenate([centres, means], axis=1)
    np.testing.assert_allclose(both, joined / np.linalg.norm(joined, axis=1, keepdims=True))
