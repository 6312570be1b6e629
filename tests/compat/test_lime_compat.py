"""InterpretDL's LIME and G-LIME: arguments, results, attributes and files."""

from __future__ import annotations

import inspect
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import interpretdl as it
from interpretdl.data_processor.readers import load_npy_dict_file
from interpretdl.data_processor.visualizer import sp_to_array
from interpretdl.interpreter.g_lime import towards_prior
from interpretdl.interpreter.global_weights import GlobalWeights, LayerClusters
from interpretdl.interpreter.lime import least_squares, proximity, subsets

QUICK: dict[str, Any] = {"num_samples": 40, "batch_size": 16, "visual": False, "regions": 3}
BEFORE = ["data", "interpret_class", "top_k"]
AFTER = ["num_samples", "batch_size", "resize_to", "crop_to", "visual", "save_path"]


@pytest.fixture
def pictures() -> Any:
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (2, 4, 4, 3), np.uint8).repeat(4, 1).repeat(4, 2)


def probabilities(model: Any, x: Any) -> Any:
    import paddle

    return paddle.nn.functional.softmax(model(paddle.to_tensor(x)), axis=1).numpy()


def test_arguments_in_order() -> None:
    def of(cls: Any) -> list[str]:
        parameters = inspect.signature(cls.interpret).parameters.values()
        return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD][1:]

    assert of(it.LIMECVInterpreter) == BEFORE + AFTER
    assert of(it.GLIMECVInterpreter) == [*BEFORE, "prior_method", "prior_reg_force", *AFTER]
    assert of(it.NormLIMECVInterpreter) == [
        "image_paths", "num_samples", "batch_size", "save_path", "temp_data_file"
    ]  # fmt: skip
    made = list(inspect.signature(it.LIMECVInterpreter).parameters)
    assert made[:3] == ["model", "device", "random_seed"]
    assert issubclass(it.GLIMECVInterpreter, it.LIMECVInterpreter)
    assert issubclass(it.NormLIMECVInterpreter, it.LIMECVInterpreter)
    assert issubclass(it.LIMECVInterpreter, it.InputOutputInterpreter)


def by_hand(model: Any, picture: Any, cells: Any, label: int, seed: int) -> tuple[Any, Any, Any]:
    """The samples of a picture, their probabilities by plain runs, and LIME's fit."""
    m = cells.max() + 1
    rng = np.random.default_rng([seed, 0])
    z = np.concatenate([np.ones((1, m), bool), subsets(rng, 39, m)])
    x = it.IMAGENET.normalize(picture[None])[0]
    filled = np.empty_like(x)
    for j in range(m):
        filled[:, cells == j] = x[:, cells == j].mean(axis=1, keepdims=True)
    images = np.stack([np.where(row[cells], x, filled) for row in z])
    y = probabilities(model, images)[:, label]
    return z, y, least_squares(z, y, proximity(z, 0.25))


def test_weights_are_limes_for_every_class_from_the_same_samples(toy: Any, pictures: Any) -> None:
    model = toy()
    lime = it.LIMECVInterpreter(model, "cpu", 7)
    found = lime.interpret(pictures[:1], [2, 0], **QUICK)
    results = lime.lime_results
    assert list(found) == [2, 0]
    assert found == results["lime_weights"]
    p = probabilities(model, it.IMAGENET.normalize(pictures[:1]))[0]
    for label in (2, 0):
        _, _, fit = by_hand(model, pictures[0], results["segmentation"], label, 7)
        weights = np.zeros(9)
        for region, weight in found[label]:
            weights[region] = weight
        np.testing.assert_allclose(weights, fit.weights, atol=1e-5)
        assert results["r2_scores"][label] == pytest.approx(fit.r2, abs=1e-4)
        assert results["probability"][label] == pytest.approx(p[label], abs=1e-6)
        sizes = [abs(weight) for _, weight in found[label]]
        assert sizes == sorted(sizes, reverse=True)
        assert sorted(region for region, _ in found[label]) == list(range(9))
    assert sorted(results) == sorted(
        ["probability", "input", "segmentation", "r2_scores", "lime_weights"]
    )
    np.testing.assert_array_equal(results["input"], pictures[0])
    assert results["segmentation"].shape == (16, 16)
    again = it.LIMECVInterpreter(toy(), random_seed=7).interpret(pictures[:1], [2, 0], **QUICK)
    assert again == found
    assert it.LIMECVInterpreter(toy()).interpret(pictures[:1], [2, 0], **QUICK) != found


def test_the_likeliest_classes_come_first(toy: Any, pictures: Any, capsys: Any) -> None:
    model = toy()
    lime = it.LIMECVInterpreter(model)
    found = lime.interpret(pictures[0], top_k=3, **QUICK)
    p = probabilities(model, it.IMAGENET.normalize(pictures[:1]))[0]
    assert list(found) == np.argsort(-p)[:3].tolist()
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 5 + 3
    assert printed[5] == f"Use label: {p.argmax()}, class {p.argmax()}"
    assert list(lime.interpret(pictures[0], **QUICK)) == [p.argmax()]
    assert lime.labels.tolist() == lime.predicted_label.tolist() == [p.argmax()]
    np.testing.assert_allclose(lime.predicted_proba[0], p, atol=1e-6)
    shown, labels, _ = lime.predict_fn(it.IMAGENET.normalize(pictures))
    np.testing.assert_allclose(shown[0], p, atol=1e-6)
    assert labels[0] == p.argmax()


def test_each_picture_has_its_own_regions_and_results(
    toy: Any, pictures: Any, tmp_path: Path
) -> None:
    """InterpretDL keeps the regions of the first picture, and looks at no second one."""
    lime = it.LIMECVInterpreter(toy())
    cut = lambda picture: np.digitize(picture[..., 0], [100]) + np.arange(16) // 8 * 2  # noqa: E731
    quick = {**QUICK, "regions": cut}
    paths = [str(tmp_path / f"{i}.png") for i in range(2)]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    files = {**quick, "resize_to": 16}
    both = lime.interpret(paths, 1, **files)
    assert [len(each[1]) for each in both] == [4, 4]
    first, second = lime.lime_results
    assert not np.array_equal(first["segmentation"], second["segmentation"])
    alone = it.LIMECVInterpreter(toy())
    np.testing.assert_allclose(alone.interpret(paths[0], 1, **files)[1], both[0][1], rtol=1e-4)
    np.testing.assert_array_equal(alone.lime_results["segmentation"], first["segmentation"])
    alone.interpret(paths[1], 1, **files)
    np.testing.assert_array_equal(alone.lime_results["segmentation"], second["segmentation"])
    assert [len(each) for each in lime.interpret(pictures, [0, 1], **quick)] == [2, 2]
    with pytest.warns(it.InterpretWarning, match="input 1 is left out"):
        assert len(lime.interpret([paths[0], str(tmp_path / "none.png")], 1, **files)) == 1


def test_the_picture_shows_the_first_class(toy: Any, pictures: Any, tmp_path: Path) -> None:
    path = tmp_path / "green.png"
    lime = it.LIMECVInterpreter(toy())
    found = lime.interpret(pictures[:1], top_k=2, save_path=str(path), **QUICK)
    drawn = np.asarray(Image.open(path)).astype(int)
    assert drawn.shape == (16, 16, 3)
    first = next(iter(found))
    taken = [region for region, weight in found[first] if weight > 0][: int(0.2 * 9)]
    green = np.isin(lime.lime_results["segmentation"], taken)
    greener = drawn[..., 1] - drawn[..., 0] - (pictures[0, ..., 1] * 0.4).astype(int)
    assert (greener[green] > greener[~green].max() - 60).all()
    np.testing.assert_allclose(drawn[~green], pictures[0][~green] * 0.4, atol=1)
    with pytest.raises(it.ResourceError, match="does not exist"):
        lime.interpret(pictures[:1], save_path=str(tmp_path / "no" / "a.png"), **QUICK)
    with pytest.raises(it.InputError, match="2 image"):
        lime.interpret(pictures, save_path=str(path), **QUICK)


def test_forms_of_classes(toy: Any, pictures: Any) -> None:
    import paddle

    lime = it.LIMECVInterpreter(toy(), class_names=["a", "b", "c", "d", "e"])
    expected = lime.interpret(pictures[0], 1, **QUICK)
    for form in ("b", np.int64(1), [1], np.array([1]), ("b",), paddle.to_tensor([1]), [1, "b"]):
        assert lime.interpret(pictures[0], interpret_class=form, **QUICK) == expected
    for wrong in (5, -1, "f", True, [], [0, None], 1.5, lambda output: output[:, 0]):
        with pytest.raises(it.TargetError):
            lime.interpret(pictures[0], wrong, **QUICK)


def test_bad_arguments(toy: Any, pictures: Any) -> None:
    lime = it.LIMECVInterpreter(toy())
    for name in ("num_samples", "batch_size", "top_k"):
        with pytest.raises(it.InputError, match=name):
            lime.interpret(pictures[0], **{**QUICK, name: 0})
    with pytest.raises(it.InputError, match="seed"):
        it.LIMECVInterpreter(toy(), random_seed=-1)
    with pytest.raises(it.InputError, match="LIMEInterpreter explains arrays"):
        it.LIMECVInterpreter(toy(), preprocessing=None).interpret(np.zeros((1, 3, 8, 8), "f4"))
    with pytest.warns(it.InterpretWarning, match="5 samples do not determine"):
        lime.interpret(pictures[0], **{**QUICK, "num_samples": 5})
    with pytest.warns(DeprecationWarning, match="use_cuda"):
        it.LIMECVInterpreter(toy(), use_cuda=False)


def test_explain_is_the_methods_own(toy: Any, pictures: Any) -> None:
    x = it.IMAGENET.normalize(pictures)
    for cls, own in (
        (it.LIMECVInterpreter, it.LIMEInterpreter),
        (it.GLIMECVInterpreter, it.GLIMEInterpreter),
    ):
        found = cls(toy()).explain(x, 1, regions=3, evaluations=40)
        expected = own(toy()).explain(x, 1, regions=3, evaluations=40)
        np.testing.assert_array_equal(found.values, expected.values)
        assert found.method == expected.method
        assert cls.info is own.info


def test_evaluators_take_the_results(toy: Any, pictures: Any) -> None:
    lime = it.LIMECVInterpreter(toy())
    weights = lime.interpret(pictures[:1], 1, **QUICK)
    shown = sp_to_array(lime.lime_results["segmentation"], weights[1])
    assert shown.shape == (16, 16)
    from interpretdl import evaluator as ev

    ev.Perturbation(toy(), "cpu").evaluate(
        pictures[:1], lime.lime_results, limit_number_generated_samples=3, resize_to=16, crop_to=16
    )


# -- G-LIME ----------------------------------------------------------------------------------------


def halves(picture: Any, regions: Any) -> Any:
    """Left and right regions of a grid of 3 × 3: kinds 4 and 9."""
    return np.where(np.arange(regions.max() + 1) % 3 == 0, 4, 9)


def test_g_limes_weights_are_the_formulas_with_each_classs_prior(toy: Any, pictures: Any) -> None:
    glime = it.GLIMECVInterpreter(toy(), "cpu", 7)
    glime.set_global_weights({2: {4: 0.5, 9: 0.1}, 0: {9: 1.0}}, clusters=halves)
    found = glime.interpret(pictures[:1], [2, 0], 1, "ridge", 5.0, **QUICK)
    for label, pair in ((2, [0.5, 0.1]), (0, [0.0, 1.0])):
        z, y, _ = by_hand(toy(), pictures[0], glime.lime_results["segmentation"], label, 7)
        prior = np.where(np.arange(9) % 3 == 0, *pair)
        fit = towards_prior(z, y, proximity(z, 0.25), prior=prior, force=5.0)
        np.testing.assert_allclose(
            [weight for _, weight in sorted(found[label])], fit.weights, atol=1e-4
        )
        assert glime.lime_results["r2_scores"][label] == pytest.approx(fit.r2, abs=1e-3)
    none = glime.interpret(pictures[:1], 2, **QUICK)
    z, y, _ = by_hand(toy(), pictures[0], glime.lime_results["segmentation"], 2, 7)
    fit = towards_prior(z, y, proximity(z, 0.25))
    np.testing.assert_allclose([w for _, w in sorted(none[2])], fit.weights, atol=1e-4)


def test_g_lime_wants_weights_for_its_prior(toy: Any, pictures: Any) -> None:
    glime = it.GLIMECVInterpreter(toy())
    assert glime.global_weights is None
    with pytest.raises(it.InputError, match=r"set_global_weights\(\) or compute_global_weights"):
        glime.interpret(pictures[:1], prior_method="ridge", **QUICK)
    with pytest.raises(it.InputError, match="prior_method must be"):
        glime.interpret(pictures[:1], prior_method="lasso", **QUICK)
    with pytest.raises(it.InputError, match="prior_reg_force"):
        glime.interpret(pictures[:1], prior_reg_force=-1.0, **QUICK)
    for wrong in (glime, 3, {"cat": {0: 0.5}}, {0: [0.5]}, {0: {0: 0.5}, "clusters": 3}):
        with pytest.raises(it.InputError, match=r"global weights are .class: .cluster"):
            glime.set_global_weights(wrong)
    with pytest.raises(it.ResourceError, match=r"no file none\.npy"):
        glime.set_global_weights("none.npy")
    glime.set_global_weights({1: {0: 0.5}}, clusters=lambda picture, regions: [0])
    with pytest.raises(it.InputError, match="a whole number for each of 9 regions"):
        glime.interpret(pictures[:1], 1, prior_method="ridge", **QUICK)


def test_global_weights_by_hand(toy: Any, pictures: Any, tmp_path: Path) -> None:
    cells = np.repeat([0, 1, 2, 2], 4)[None].repeat(16, axis=0)
    explanations = [
        {"input": pictures[0], "segmentation": cells,
         "lime_weights": {1: [(0, 0.6), (2, -0.3), (1, 0.1)]}},
        {"input": pictures[1], "segmentation": cells, "lime_weights": {1: [(2, 0.5), (1, 0.0),
         (0, -0.5)], 3: [(0, 2.0), (1, 0.0), (2, 0.0)]}},
    ]  # fmt: skip
    kinds = lambda picture, regions: np.array([7, 7, 8])  # noqa: E731
    expected: dict[str, Any] = {
        "normlime": {
            1: {7: (0.36 + 0.01 + 0.0 + 0.25) / 4, 8: (0.09 + 0.25) / 2},
            3: {7: (2.0 + 0.0) / 2, 8: 0.0},
        },
        "avg": {1: {7: (0.6 + 0.1 + 0.0 + 0.5) / 4, 8: 0.4}, 3: {7: 1.0, 8: 0.0}},
        "square": {1: {7: (0.36 + 0.01 + 0.25) / 4, 8: 0.17}, 3: {7: 2.0, 8: 0.0}},
    }
    glime = it.GLIMECVInterpreter(toy())
    for name, weights in expected.items():
        path = tmp_path / f"{name}.npy"
        found = glime.compute_global_weights(name, explanations, None, path, clusters=kinds)
        assert found is glime.global_weights
        assert list(found) == [1, 3]
        for label in weights:
            assert found[label] == pytest.approx(weights[label])
        assert np.load(path, allow_pickle=True).item() == found
        glime.set_global_weights(str(path))
        assert glime.global_weights == found
    with pytest.raises(it.InputError, match="g_name must be one of 'normlime'"):
        glime.compute_global_weights("median", explanations)
    for both in ({}, {"list_of_lime_explanations": [], "list_file_paths": []}):
        with pytest.raises(it.InputError, match="one of the two"):
            glime.compute_global_weights(**both)
    with pytest.raises(it.InputError, match="list is empty"):
        glime.compute_global_weights("avg", [])
    for change in ({"input": pictures}, {"lime_weights": {1: [(3, 0.5)]}}, {"segmentation": None}):
        with pytest.raises(it.InputError, match="explanation 0 is no result of LIME"):
            glime.compute_global_weights("avg", [{**explanations[0], **change}])


def test_weights_of_clusters_of_a_layer_go_through_a_file(
    toy: Any, pictures: Any, tmp_path: Path
) -> None:
    glime = it.GLIMECVInterpreter(toy())
    glime.interpret(pictures, 1, **QUICK)
    path = tmp_path / "global.npy"
    found = glime.compute_global_weights("avg", glime.lime_results, save_path=path, clusters=3)
    assert isinstance(found.clusters, LayerClusters)
    assert set(found[1]) <= {0, 1, 2}
    weights = glime.interpret(pictures[:1], 1, prior_method="ridge", **QUICK)
    other = it.GLIMECVInterpreter(toy())
    other.set_global_weights(path)
    assert other.global_weights == found
    assert other.interpret(pictures[:1], 1, prior_method="ridge", **QUICK) == weights
    assert load_npy_dict_file(path)["clusters"]["layer"] == found.clusters.layer
    files = glime.compute_global_weights("avg", None, [pictures[0]], clusters=3)
    assert len(files) == 1


# -- files of InterpretDL's users ------------------------------------------------------------------

OURS: Any = {282: {3: 0.5, 4: 0.25}, 5: {0: 0.125}}
THEIRS: Any = {
    np.int64(282): {np.int32(3): np.float64(0.5), np.int32(4): 0.25},
    np.int64(5): {np.int32(0): np.float32(0.125)},
}


def saved(content: Any, protocol: int) -> bytes:
    """A .npy file as NumPy 1 and 2 write it, with the pickle's protocol of one's choice."""
    file = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": ()}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + pickle.dumps(np.array(content, object), protocol)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_weights_that_interpretdl_saved_are_read(protocol: int, toy: Any, tmp_path: Path) -> None:
    path = tmp_path / "imagenet_global_weights_normlime.npy"
    path.write_bytes(saved(THEIRS, protocol))
    glime = it.GLIMECVInterpreter(toy())
    glime.set_global_weights(str(path))
    assert glime.global_weights == OURS
    assert glime.global_weights.clusters is None
    np.save(tmp_path / "own.npy", THEIRS)
    assert load_npy_dict_file(tmp_path / "own.npy") == OURS
    glime.set_global_weights(THEIRS)
    assert glime.global_weights == OURS


def test_no_code_in_a_file_is_run(toy: Any, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return print, ("run",)

    path = tmp_path / "evil.npy"
    np.save(path, {1: Evil()})
    with pytest.raises(it.InputError, match="is not read"):
        it.GLIMECVInterpreter(toy()).set_global_weights(path)


def test_global_weights_are_a_dictionary() -> None:
    weights = GlobalWeights.read({1: {0: 0.5}})
    assert weights == {1: {0: 0.5}}
    assert isinstance(weights, dict)
    assert GlobalWeights.read(GlobalWeights({}, halves)).clusters is halves
