"""Several methods in one call and one figure, paths, and an evaluator's pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from PIL import Image

import interpretdl as it
from interpretdl.cli import main
from interpretdl.drawing import Explanations, grid
from interpretdl.evaluator import Continuity, Deletion, Insertion, Selectivity, compare
from interpretdl.evaluator.stability import translated
from interpretdl.registry import METHODS
from interpretdl.testing import pictures, small_network

METHOD_NAMES = ["gradient", "grad_cam", "lrp"]


@pytest.fixture
def model() -> Any:
    return small_network()


@pytest.fixture
def images(model: Any) -> Any:
    return model.preprocessing.pictures(pictures(model.preprocessing))


def test_the_same_as_method_by_method(model: Any, images: Any) -> None:
    found = it.explain_with(METHOD_NAMES, model, images, options={"lrp": {"composite": "epsilon"}})
    assert list(found) == METHOD_NAMES
    assert found.failed == {}
    top = it.GradientInterpreter(model).explain(images).labels
    for name, options in (("gradient", {}), ("grad_cam", {}), ("lrp", {"composite": "epsilon"})):
        alone = METHODS.find(name).cls(model).explain(images, label=top, **options)
        np.testing.assert_allclose(found[name].values, alone.values, atol=1e-6)
        assert found[name].labels.tolist() == top.tolist()


def test_all_methods(model: Any, images: Any) -> None:
    label = int(it.Probe(model).logits(model.preprocessing.normalize(images[:1])).argmax())
    quick = {"evaluations": 48, "regions": 3, "strides": 2, "steps": 4}
    options = {
        name: {key: quick[key] for key in quick.keys() & info.options}
        for name, info in METHODS.all().items()
    }
    called = f"class-{'abcde'[label]}"
    found = it.explain_with("all", model, images[:1], label=called, options=options)
    assert {name for name, i in METHODS.all().items() if i.needs_attention} <= set(found.failed)
    assert set(found) | set(found.failed) == set(METHODS.all())
    assert len(found) > 30
    with pytest.warns(it.InterpretWarning, match="rollout is left out: this model does not attend"):
        it.explain_with(["gradient", "rollout"], model, images[:1])
    assert all(one.labels.tolist() == [label] for one in found.values())


def test_titles_and_interpreters(model: Any, images: Any) -> None:
    found = it.explain_with(
        {"coarse": it.GradCAMInterpreter(model), "fine": "GradientInterpreter"}, model, images
    )
    assert {name: one.method for name, one in found.items()} == {
        "coarse": "grad_cam", "fine": "gradient",
    }  # fmt: skip
    heads = [axes.get_title().split("\n")[0] for axes in panels(found.plot())]
    assert heads[:3] == ["picture", "coarse", "fine"]
    found.plot().show()  # nowhere to show it


def test_each_method_may_explain_another_score(model: Any, images: Any) -> None:
    found = it.explain_with(
        ["gradient", "lrp"], model, images, options={"gradient": {"gradient_of": "probability"}}
    )
    assert found["gradient"].scores.max() <= 1
    np.testing.assert_allclose(
        found["gradient"].scores, found["gradient"].probabilities.max(1), 1e-5
    )


def test_a_method_that_cannot_is_left_out(images: Any) -> None:
    class Odd(paddle.nn.Layer):  # type: ignore[misc]  # Paddle's types are not followed
        def __init__(self) -> None:
            super().__init__()
            self.inner = small_network()

        def forward(self, x: Any) -> Any:
            return self.inner(paddle.nn.functional.relu(x) - x * x)

    odd = Odd()
    odd.preprocessing = odd.inner.preprocessing
    with pytest.warns(it.InterpretWarning, match="lrp is left out: "):
        found = it.explain_with(["gradient", "lrp"], odd, images)
    assert list(found) == ["gradient"]
    assert list(found.failed) == ["lrp"]
    assert "1 failed: lrp" in repr(found)
    with (
        pytest.warns(it.InterpretWarning, match="left out"),
        pytest.raises(it.UnsupportedModelError, match="none of the methods"),
    ):
        it.explain_with("lrp", odd, images)


def test_an_unreadable_picture_takes_its_label_along(
    model: Any, images: Any, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    given = [images[0], str(tmp_path / "broken.png"), images[2]]
    with pytest.warns(it.InterpretWarning, match="input 1 is left out"):
        found = it.explain_with(["gradient"], model, given, label=[3, 0, 4])
    assert found["gradient"].labels.tolist() == [3, 4]


def test_what_is_refused(model: Any, images: Any) -> None:
    with pytest.raises(it.InputError, match="no method 'grad_kam'; did you mean 'grad_cam'"):
        it.explain_with(["grad_kam"], model, images)
    with pytest.raises(it.InputError, match="options are given for 'lrp'"):
        it.explain_with(["gradient"], model, images, options={"lrp": {}})
    with pytest.raises(it.InputError, match="two methods are named 'gradient'"):
        it.explain_with(["gradient", "Gradient"], model, images)
    with pytest.raises(it.InputError, match="no method was given"):
        it.explain_with([], model, images)
    with pytest.raises(it.InputError, match="a name or an Interpreter"):
        it.explain_with([3], model, images)  # type: ignore[list-item]  # the mistake itself


@pytest.mark.parametrize(
    "name", ["grad_cam", "Grad-CAM", "GradCAM", "GradCAMInterpreter", "GRAD_CAM"]
)
def test_what_people_call_a_method(name: str) -> None:
    assert METHODS.find(name).name == "grad_cam"
    assert METHODS.find("Grad-CAM++").name == "grad_cam_plus_plus"
    assert METHODS.find("IntGradCVInterpreter").name == "integrated_gradients"


def test_one_metric_and_one_method_need_no_list(model: Any, images: Any) -> None:
    found = compare(it.GradientInterpreter(model), images, "deletion")
    assert (found.methods, found.metrics) == (("gradient",), ("deletion",))


# -- figures ---------------------------------------------------------------------------------------


def panels(figure: Any) -> list[Any]:
    return [axes for axes in figure.axes if axes.images]


def test_a_grid_wraps_and_has_the_picture_first(model: Any, images: Any) -> None:
    found = it.explain_with(METHOD_NAMES, model, images[:1])
    figure = found.plot(columns=2)
    shown = panels(figure)
    assert [axes.get_title().split("\n")[0] for axes in shown] == ["picture", *METHOD_NAMES]
    np.testing.assert_array_equal(shown[0].images[0].get_array(), images[0])
    rows = {axes.get_subplotspec().rowspan.start for axes in shown}
    assert rows == {0, 1}


def test_several_images_repeat_the_picture_in_each_block(model: Any, images: Any) -> None:
    found = it.explain_with(METHOD_NAMES, model, images[:2])
    shown = panels(found.plot(columns=3))
    heads = [axes.get_title().split("\n")[0] for axes in shown]
    assert heads[0] == "picture"
    assert heads[1:3] == METHOD_NAMES[:2]
    assert len(shown) == 2 * 3 + 2 * 2
    for place in (0, 6):
        np.testing.assert_array_equal(shown[place].images[0].get_array(), images[0])


def test_each_method_has_its_own_scale(model: Any, images: Any) -> None:
    """A map a thousand times larger looks the same, unless one scale is asked for."""
    one = it.GradientInterpreter(model).explain(images[:1])
    large = it.Explanation(
        values=1000 * one.values, labels=one.labels, scores=one.scores, images=one.images,
        method="large",
    )  # fmt: skip
    own = [axes.images[0].get_array() for axes in panels(grid([one, large]))[1:]]
    np.testing.assert_array_equal(*own)
    shared = [a.images[0].get_array() for a in panels(grid([one, large], scale="shared"))[1:]]
    assert (shared[0] != shared[1]).any()


def test_titles_of_ones_own(model: Any, images: Any) -> None:
    one = it.GradientInterpreter(model).explain(images[:1])
    shown = panels(grid([one, one], titles=["before", "after"]))
    heads = [axes.get_title().split("\n")[0] for axes in shown]
    assert heads == ["picture", "before", "after"]
    with pytest.raises(it.InputError, match="1 titles were given for 2"):
        grid([one, one], titles=["before"])
    with pytest.raises(it.InputError, match="columns must be at least 2"):
        grid([one], columns=1)


def test_saving_and_showing(model: Any, images: Any, tmp_path: Path) -> None:
    found = it.explain_with(METHOD_NAMES, model, images[:1])
    found.save(tmp_path / "all.png", columns=2)
    with Image.open(tmp_path / "all.png") as image:
        assert image.size[0] > 300
    assert found._repr_png_()[:4] == b"\x89PNG"
    found.show()  # nowhere to show it: nothing happens
    found["gradient"].show()
    with pytest.raises(it.ResourceError):
        found.save(tmp_path / "all.npz")
    assert isinstance(found, Explanations)


def test_shap_s_picture_of_explanations_and_of_a_layer(model: Any, images: Any) -> None:
    gradient = it.GradientInterpreter(model)
    found = [gradient.explain(images, label=label, layer="4") for label in (0, 1)]
    figure = it.image_plot(found)
    shown = panels(figure)
    assert len(shown) == 3 * 3
    assert shown[1].images[-1].get_array().shape == (16, 16)
    assert shown[1].get_title().startswith("class-a")
    assert len(panels(it.image_plot(found[0]))) == 3 * 2
    np.testing.assert_array_equal(shown[0].images[0].get_array(), images[0])
    with pytest.raises(it.InputError, match="pixels= is needed"):
        it.image_plot(found[0].values)


def test_shap_values_draw_themselves(model: Any, images: Any) -> None:
    x = pictures(model.preprocessing)
    shap = it.ExpectedGradientsInterpreter(model, background=x)
    ranked = shap.shap_values(images, nsamples=2, ranked_outputs=2)
    assert len(panels(it.image_plot(ranked))) == 3 * 3


# -- the path --------------------------------------------------------------------------------------


def test_images_along_the_path(model: Any, images: Any) -> None:
    path = it.IntegratedGradientsInterpreter(model).path(images, label=2, steps=5)
    assert path.images.shape == (3, 5, 16, 16, 3)
    assert (path.images[:, 0] == 0).all()
    np.testing.assert_array_equal(path.images[:, -1], images)
    assert path.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    half = images / 2.0
    assert np.abs(path.images[:, 2] - half).max() <= 0.5
    x = model.preprocessing.normalize(images)
    chance = paddle.nn.functional.softmax(model(paddle.to_tensor(x)), axis=1)[:, 2].numpy()
    np.testing.assert_allclose(path.scores[:, -1], chance, rtol=1e-4)
    assert len(panels(path.plot())) == 15
    with pytest.raises(it.InputError, match="steps"):
        it.IntegratedGradientsInterpreter(model).path(images, steps=1)


# -- an evaluator's pictures -----------------------------------------------------------------------


def test_selectivity_shows_what_it_took_out(model: Any, images: Any) -> None:
    x = pictures(model.preprocessing)
    taylor = it.SimpleTaylorInterpreter(model)
    explained = taylor.explain(images, label=1)
    found = Selectivity(steps=4, frames=3).measure(x, explained, interpreter=taylor)
    frames = found.frames
    assert frames is not None
    assert frames.axis.tolist() == [0, 2, 4]
    np.testing.assert_array_equal(frames.images[:, 0], images)
    changed = (frames.images[:, 1:] != frames.images[:, :1]).any(axis=-1).sum(axis=(2, 3))
    assert (changed <= [2 * 16, 4 * 16]).all()
    np.testing.assert_allclose(frames.maps[:, 0], explained.heatmap(), atol=1e-6)
    assert len(panels(frames.plot(1))) == 6
    plain = Selectivity(steps=4).measure(x, explained, interpreter=taylor)
    np.testing.assert_array_equal(plain.values, found.values)
    assert plain.frames is None
    assert "frames" not in found.as_json()


def test_continuity_shows_what_it_moved(model: Any, images: Any) -> None:
    x = pictures(model.preprocessing)
    gradient = it.GradientInterpreter(model)
    explained = gradient.explain(images, label=1)
    found = Continuity(max_shift=4, step=2, frames=5).measure(x, explained, interpreter=gradient)
    frames = found.frames
    assert frames is not None
    assert frames.axis.tolist() == [-4, -2, 0, 2, 4]
    moved = translated(x, 2, 3)
    np.testing.assert_array_equal(frames.images[:, 3], model.preprocessing.pictures(moved))
    again = gradient.explain(moved, label=1).heatmap()
    np.testing.assert_allclose(frames.maps[:, 3], again, atol=1e-6)
    quarters = frames.quarters
    assert quarters.shape == (4, 3, 5)
    np.testing.assert_allclose(quarters[1, 0, 2], frames.maps[0, 2, :8, 8:].sum(), rtol=1e-5)
    np.testing.assert_allclose(quarters.sum(axis=0), frames.maps.sum(axis=(2, 3)), rtol=1e-5)
    assert len(frames.plot_quarters().axes[0].lines) == 4


def test_deletion_and_insertion_show_their_pictures(model: Any, images: Any) -> None:
    x = pictures(model.preprocessing)
    explained = it.GradientInterpreter(model).explain(images, label=1)
    out = Deletion(model, steps=4, frames=3, fill=0.0).measure(x, explained).frames
    into = Insertion(model, steps=4, frames=3, fill=0.0).measure(x, explained).frames
    assert out is not None
    assert into is not None
    np.testing.assert_array_equal(out.images[:, 0], images)
    np.testing.assert_array_equal(out.images[:, -1], into.images[:, 0])
    np.testing.assert_array_equal(into.images[:, -1], images)
    assert out.maps is None
    with pytest.raises(it.InputError, match="no maps"):
        assert out.quarters is not None
    with pytest.raises(it.InputError, match="frames"):
        Deletion(model, frames=-1)


def test_a_flagged_image_has_no_pictures(model: Any, images: Any) -> None:
    x = pictures(model.preprocessing)
    values = it.GradientInterpreter(model).explain(images, label=1).values.copy()
    values[1] = 0
    found = Deletion(model, steps=4, frames=2).measure(x, values, labels=1, signed=False)
    assert found.frames is not None
    assert found.frames.rows.tolist() == [0, 2]
    assert len(panels(found.frames.plot(2))) == 2
    with pytest.raises(it.InputError, match="image 1 has no pictures"):
        found.frames.plot(1)


# -- the command -----------------------------------------------------------------------------------


def test_compare_draws_a_figure(images: Any, tmp_path: Path, capsys: Any) -> None:
    Image.fromarray(images[0]).save(tmp_path / "cat.png")
    save = tmp_path / "all.png"
    command = ["compare", str(tmp_path / "cat.png"), "--model", "interpretdl.testing:small_network"]
    methods = ["--method", "gradient", "--method", "Grad-CAM"]
    assert main([*command, *methods, "--label", "class-c", "--save", str(save)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-2:] == ["Explained: class-c", f"Wrote {save}"]
    assert len(out) == 5 + 2
    with Image.open(save) as image:
        assert image.size[0] > 300
    assert main([*command, *methods, "--method", "grad_cam"]) == 2
    assert "given twice" in capsys.readouterr().err
    assert main([*command, "--save", str(tmp_path / "all.npz")]) == 2


def test_the_sign_of_bare_arrays(model: Any, images: Any) -> None:
    """As the interpreter's method has it; else a warning where it matters."""
    x = pictures(model.preprocessing)
    lrp = it.LRPInterpreter(model)
    explained = lrp.explain(images, label=1, composite="epsilon")
    whole = Deletion(steps=4).measure(x, explained, interpreter=lrp)
    bare = Deletion(steps=4).measure(x, explained.values, labels=1, interpreter=lrp)
    np.testing.assert_array_equal(whole.values, bare.values)
    with pytest.warns(it.InterpretWarning, match="give signed=True"):
        Deletion(model, steps=4).measure(x, explained.values, labels=1)
    Deletion(model, steps=4).measure(x, np.abs(explained.values), labels=1)


def test_selectivity_goes_on_where_a_map_becomes_empty(model: Any) -> None:
    """By the last map that orders anything: the picture itself, which is empty from then on."""
    x = np.zeros((1, 3, 16, 16), np.float32)
    x[0, 0, :4, :4], x[0, 0, 8:12, 8:12], x[0, 0, 4:8, :4] = 3, 2, 1
    found = Selectivity(model, steps=3, frames=4).measure(
        x, x, 0, interpreter=lambda z, target: np.zeros_like(z)
    )
    assert found.frames is not None
    gone = [(frame != found.frames.images[0, 0]).any(axis=-1) for frame in found.frames.images[0]]
    assert [int(g.sum()) for g in gone] == [0, 16, 32, 48]
    assert gone[1][:4, :4].all()
    assert gone[2][8:12, 8:12].all()
    assert gone[3][4:8, :4].all()
    assert not found.frames.maps[0, 1].any()  # what it explained, not what went on to count
