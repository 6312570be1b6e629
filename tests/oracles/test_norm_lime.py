"""NormLIME: its means, its clusters, and what is kept when it is stopped."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import interpretdl as it
from interpretdl.interpreter.global_weights import LayerClusters, clustered, region_features
from interpretdl.interpreter.norm_lime import NormLIMECVInterpreter

Array = NDArray[Any]
QUICK: dict[str, Any] = {"num_samples": 40, "batch_size": 16}


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Three pictures of four coloured quarters each, with noise on them."""
    rng = np.random.default_rng(6)
    found = []
    for i in range(3):
        quarters = rng.integers(0, 200, (2, 2, 3), np.uint8).repeat(12, 0).repeat(12, 1)
        path = tmp_path / f"picture{i}.png"
        Image.fromarray(quarters + rng.integers(0, 40, (24, 24, 3), np.uint8)).save(path)
        found.append(str(path))
    return found


@pytest.fixture
def method(toy: Any, tmp_path: Path, monkeypatch: Any) -> NormLIMECVInterpreter:
    """On a model whose pictures keep their size, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return made(toy())


def made(model: Any, **options: Any) -> NormLIMECVInterpreter:
    same = it.Preprocessing(resize=None, crop=None)
    return it.NormLIMECVInterpreter(model, preprocessing=same, **options)


def test_weights_are_the_means_of_the_paper(
    method: NormLIMECVInterpreter, paths: list[str], capsys: Any
) -> None:
    found = method.interpret(paths, **QUICK, clusters=3)
    clusters = found.clusters
    assert isinstance(clusters, LayerClusters)
    assert len(clusters.centres) <= 3
    sums: dict[Any, list[float]] = {}
    for path in paths:
        lime = method.all_lime_weights[path]
        x = method.subject.read(path).inputs
        features = region_features(method.probe, x, clusters.layer, [lime["segmentation"]])[0]
        ((label, pairs),) = lime["lime_weights"].items()
        for region, weight in pairs:
            distances = [np.linalg.norm(features[region] - each) for each in clusters.centres]
            share = weight**2 / sum(abs(other) for _, other in pairs)
            sums.setdefault((label, int(np.argmin(distances))), []).append(share)
    means = {key: np.mean(each) for key, each in sums.items()}
    flat = {(label, c): weight for label, each in found.items() for c, weight in each.items()}
    assert flat == pytest.approx(means)
    assert np.load("normlime_weights.npy", allow_pickle=True).item()[label] == found[label]
    assert "normlime_weights.npy" in capsys.readouterr().out
    likely = [method.probe.logits(method.subject.read(path).inputs).argmax() for path in paths]
    assert sorted(found) == sorted({int(each) for each in likely})


def test_a_regions_features_are_the_mean_of_its_pixels_cells(method: Any) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 16, 12)).astype(np.float32)
    regions = [np.random.default_rng(i).permutation(192).reshape(16, 12) % 5 for i in range(2)]
    found = region_features(method.probe, x, "4", regions)
    maps = method.probe.activations(x, "4")["4"]  # [2, 6, 8, 6]
    large = maps.repeat(2, axis=2).repeat(2, axis=3)
    for features, pixels, cut in zip(found, large, regions, strict=True):
        for j in range(5):
            mean = pixels[:, cut == j].mean(axis=1)
            np.testing.assert_allclose(features[j], mean / np.linalg.norm(mean), atol=1e-6)


def test_clusters_are_found_where_there_are_some(method: Any) -> None:
    """Regions of three colours on three pictures: three kinds, whatever the picture."""
    colours = np.array([[250, 10, 10], [10, 250, 10], [10, 10, 250]], np.uint8)
    order = [[0, 1, 2, 1], [2, 2, 0, 1], [1, 0, 0, 2]]
    cells = np.arange(4).reshape(2, 2).repeat(24, 0).repeat(24, 1)
    explanations = [
        {"input": colours[np.array(one)[cells]], "segmentation": cells} for one in order
    ]
    kinds, each = clustered(method.subject, explanations, 3)
    assert isinstance(kinds, LayerClusters)
    assert kinds.layer == method.probe.last_spatial_layer(np.zeros((1, 3, 48, 48), np.float32))
    assert kinds.centres.dtype == np.float32
    flat, colour = np.concatenate(each), np.ravel(order)
    np.testing.assert_array_equal(flat[:, None] == flat, colour[:, None] == colour)


def test_what_is_done_is_not_done_again(
    method: NormLIMECVInterpreter, paths: list[str], monkeypatch: Any
) -> None:
    done: list[str] = []
    plain = NormLIMECVInterpreter._results

    def counted(self: Any, batch: Any, *more: Any) -> Any:
        if len(done) == 2 and stop:
            raise KeyboardInterrupt
        done.append(os.path.basename(batch.sources[0]))
        return plain(self, batch, *more)

    monkeypatch.setattr(NormLIMECVInterpreter, "_results", counted)
    stop = True
    with pytest.raises(KeyboardInterrupt):
        method.interpret(paths, **QUICK, clusters=2)
    assert sorted(os.listdir()) == ["all_lime_weights.npz", *map(os.path.basename, paths)]
    stop = False
    found = method.interpret(paths, **QUICK, clusters=2)
    assert done == ["picture0.png", "picture1.png", "picture2.png"]
    fresh = made(method.model).interpret(
        paths, **QUICK, clusters=2, save_path=None, temp_data_file=None
    )
    assert len(done) == 6
    for label in fresh:
        assert found[label] == pytest.approx(fresh[label])
    again = made(method.model).interpret(paths, **QUICK, clusters=2)
    assert len(done) == 6
    assert again == found
    # InterpretDL's own way with names that are taken
    assert os.path.exists("normlime_weights-0.npy")
    assert not os.path.exists("normlime_weights-1.npy")


def test_results_of_something_else_are_not_taken(
    method: NormLIMECVInterpreter, paths: list[str], toy: Any, monkeypatch: Any
) -> None:
    """Another model, other samples, another seed, another picture under the same name."""
    done: list[Any] = []
    plain = NormLIMECVInterpreter._results
    monkeypatch.setattr(
        NormLIMECVInterpreter,
        "_results",
        lambda self, batch, *more: done.append(batch) or plain(self, batch, *more),
    )

    def computed(one: NormLIMECVInterpreter, **options: Any) -> int:
        done.clear()
        one.interpret(paths[:2], **{**QUICK, "save_path": None, "clusters": 2, **options})
        return len(done)

    assert (computed(method), computed(method)) == (2, 0)
    assert computed(method, num_samples=41) == 2
    assert computed(made(toy(seed=3))) == 2
    assert computed(made(toy(seed=3), random_seed=1)) == 2
    assert computed(made(toy(seed=3), random_seed=1)) == 0
    Image.fromarray(np.asarray(Image.open(paths[0]))[::-1]).save(paths[0])
    assert computed(made(toy(seed=3), random_seed=1)) == 1


def test_files_go_both_ways(
    method: NormLIMECVInterpreter, paths: list[str], tmp_path: Path
) -> None:
    """NumPy reads ours as InterpretDL does, and theirs is read without running what is in it."""
    method.interpret(paths[:1], **QUICK, clusters=2, temp_data_file="own")
    one = dict(np.load("own.npz", allow_pickle=True))[paths[0]].item()
    assert {"input", "segmentation", "lime_weights"} <= set(one)
    np.testing.assert_array_equal(one["input"], np.asarray(Image.open(paths[0])))
    label = next(iter(one["lime_weights"]))
    theirs = {
        "input": one["input"],
        "segmentation": one["segmentation"],
        "lime_weights": {
            np.int64(label): [(np.int64(j), np.float64(w)) for j, w in one["lime_weights"][label]]
        },
    }
    np.savez("theirs.npz", **{paths[0]: theirs})
    with pytest.warns(it.InterpretWarning, match="does not say with which model"):
        found = method.interpret(paths[:1], **QUICK, clusters=2, temp_data_file="theirs.npz")
    assert list(found) == [label]
    assert method.all_lime_weights[paths[0]]["lime_weights"] == one["lime_weights"]
    explanations = [dict(np.load("theirs.npz", allow_pickle=True))[paths[0]].item()]
    glime = it.GLIMECVInterpreter(method.subject)
    again = glime.compute_global_weights("normlime", explanations, clusters=2)
    assert again[label] == pytest.approx(found[label])


class Evil:
    def __reduce__(self) -> Any:
        return print, ("run",)


def archive(content: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{"a.png": content})
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        archive({"input": Evil()}),
        archive({"input": 3}),
        archive(np.zeros(3)),
        archive({"input": np.zeros((4, 4, 3)), "segmentation": np.zeros((4, 4), int),
                 "lime_weights": {1: [(1, 0.5)]}}),
        archive({})[:-30],
        b"",
        b"no archive",
    ],
    ids=["code", "number", "array", "region", "cut", "empty", "text"],
)  # fmt: skip
def test_bad_files(
    method: NormLIMECVInterpreter, paths: list[str], content: bytes, capfd: Any
) -> None:
    Path("all_lime_weights.npz").write_bytes(content)
    with pytest.raises(it.InputError):
        method.interpret(paths, **QUICK)
    assert "run" not in capfd.readouterr().out
    assert Path("all_lime_weights.npz").read_bytes() == content


def test_an_archive_that_unpacks_to_too_much_is_refused(method: Any, paths: list[str]) -> None:
    with zipfile.ZipFile("all_lime_weights.npz", "w") as file:
        file.writestr("a.npy", b"")
        file.infolist()[0].file_size = 2**31
    with pytest.raises(it.InputError, match="too much"):
        method.interpret(paths, **QUICK)


def test_pictures_that_cannot_be_explained_are_left_out(
    method: NormLIMECVInterpreter, paths: list[str], tmp_path: Path
) -> None:
    plain = str(tmp_path / "plain.png")
    Image.new("RGB", (24, 24)).save(plain)
    options: dict[str, Any] = {**QUICK, "clusters": 2, "save_path": None, "temp_data_file": None}
    with pytest.warns(it.InterpretWarning) as warned:
        found = method.interpret([plain, "none.png", paths[0]], **options)
    assert len(found) == 1
    assert list(method.all_lime_weights) == [paths[0]]
    assert ["left out" in str(each.message) for each in warned] == [True, True]
    with (
        pytest.warns(it.InterpretWarning, match="left out"),
        pytest.raises(it.ImageReadError, match="none of 1 pictures"),
    ):
        method.interpret("none.png", **options)
    assert sorted(os.listdir()) == sorted([*map(os.path.basename, paths), "plain.png"])


def test_bad_arguments(method: NormLIMECVInterpreter, paths: list[str]) -> None:
    for name in ("num_samples", "batch_size", "clusters"):
        with pytest.raises(it.InputError, match=name):
            method.interpret(paths[:1], **{**QUICK, "save_path": None, name: 0})
    with pytest.raises(it.ResourceError, match="does not exist"):
        method.interpret(paths, save_path="no/folder.npy")
    with pytest.raises(it.ResourceError, match=r"must be \.npy"):
        method.interpret(paths, save_path="weights.txt")
    with pytest.raises(it.ResourceError, match="does not exist"):
        method.interpret(paths, temp_data_file="no/folder.npz")


def test_weights_serve_g_lime(method: NormLIMECVInterpreter, paths: list[str]) -> None:
    weights = method.interpret(paths, **QUICK, clusters=3)
    label = next(iter(weights))
    results = []
    for given in (weights, "normlime_weights.npy"):
        glime = it.GLIMECVInterpreter(method.subject)
        glime.set_global_weights(given)
        options: dict[str, Any] = {"prior_method": "ridge", "prior_reg_force": 1e9}
        results.append(glime.interpret(paths[0], label, visual=False, **QUICK, **options))
    assert results[0] == results[1]
    clusters = weights.clusters_of(
        method.probe, method.subject.read(paths[0]).inputs, np.zeros(0),
        [glime.lime_results["segmentation"]],
    )[0]  # fmt: skip
    prior = np.array([weights[label].get(int(cluster), 0.0) for cluster in clusters])
    got = np.array([weight for _, weight in sorted(results[0][label])])
    np.testing.assert_allclose(got, prior / prior.sum(), atol=1e-6)
