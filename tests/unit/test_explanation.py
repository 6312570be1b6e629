"""Explanation as a sequence, an array, a picture and a file."""

from __future__ import annotations

import base64
import json
import re
import zipfile

import numpy as np
import pytest

from interpretdl.data_processor import files
from interpretdl.drawing import grid
from interpretdl.errors import InputError, ResourceError
from interpretdl.explanation import Explanation

pytestmark = pytest.mark.filterwarnings("ignore:no font that matplotlib knows")

RNG = np.random.default_rng(0)
NAMES = ("tabby", "tiger cat", "<b>$x_1$</b>", "猫, with a very long name " * 5)
PROBABILITIES = np.array(
    [[0.1, 0.6, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25], [0.0, 0.0, 0.0, 1.0]], np.float32
)


def make(**changes):
    content = {
        "values": RNG.normal(size=(3, 3, 4, 5)).astype(np.float32),
        "labels": np.array([1, 2, 3]),
        "scores": np.array([7.5, 0.25, -1.0]),
        "images": RNG.integers(0, 256, (3, 16, 20, 3)).astype(np.uint8),
        "method": "gradient",
        "probabilities": PROBABILITIES,
        "parameters": {"steps": 5, "layer": None, "<script>": "a & b"},
        "diagnostics": {"error": np.array([0.1, 0.2, 0.3]), "weights": np.arange(2), "n": 7},
        "signed": True,
        "class_names": NAMES,
        "sources": ("a.png", "ü/b.png", "input 2"),
        "failures": {4: "empty.png is empty"},
    }
    return Explanation(**{**content, **changes})


def same(a, b):
    for name in ("values", "labels", "scores", "images", "probabilities"):
        x, y = getattr(a, name), getattr(b, name)
        assert x.dtype == y.dtype
        assert np.array_equal(x, y, equal_nan=name == "values")
    for name in ("method", "parameters", "signed", "class_names", "sources", "failures"):
        assert getattr(a, name) == getattr(b, name)
    assert a.diagnostics.keys() == b.diagnostics.keys()
    assert all(np.array_equal(a.diagnostics[k], b.diagnostics[k]) for k in a.diagnostics)


# -- a sequence and an array ----------------------------------------------------------------------


def test_an_index_is_the_part_for_one_image():
    whole = make()
    assert len(whole) == 3
    for index in (1, -2, np.int64(1)):
        part = whole[index]
        assert len(part) == 1
        assert np.array_equal(part.values, whole.values[1:2])
        assert part.labels.tolist() == [2]
        assert part.scores.tolist() == [0.25]
        assert part.sources == ("ü/b.png",)
        assert part.diagnostics["error"].tolist() == [0.2]
        assert part.diagnostics["weights"].tolist() == [0, 1]  # not one for each image
        assert part.diagnostics["n"] == 7
        assert np.array_equal(part.probabilities, PROBABILITIES[1:2])
    for index in (3, -4):
        with pytest.raises(IndexError, match="there are 3"):
            whole[index]
    with pytest.raises(TypeError):
        whole["a"]


def test_a_slice_and_iteration():
    whole = make()
    assert [e.label_names[0] for e in whole] == list(NAMES[1:])
    assert whole[::-1].labels.tolist() == [3, 2, 1]
    assert len(whole[5:]) == 0
    assert whole[:0]._repr_html_()


def test_it_is_an_array():
    whole = make()
    assert np.asarray(whole) is whole.values
    assert np.asarray(whole, np.float64).dtype == np.float64
    copied = np.array(whole)
    copied[:] = 0
    assert whole.values.any()
    with pytest.raises(ValueError, match="copy"):
        np.array(whole, dtype=np.float64, copy=False)


def test_repr_is_short():
    text = repr(make(class_names=None))
    assert len(repr(make())) < 150
    assert text == "<Explanation gradient 3×3×4×5 of 'class 1', 'class 2', 'class 3'>"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.zeros((3, 4), np.float32)}, "values must have 3 or 4 axes"),
        ({"values": np.zeros((3, 4, 4), int)}, "float"),
        ({"labels": [1, 2]}, r"labels must be \[3\]"),
        ({"labels": [0.5, 1, 2]}, "integer"),
        ({"labels": [1, 2, 4]}, "below 4"),
        ({"labels": [1, 2, -2]}, "or -1"),
        ({"scores": np.zeros((3, 1))}, "scores"),
        ({"images": np.zeros((3, 8, 8, 4), np.uint8)}, "images"),
        ({"images": np.zeros((3, 8, 8, 3), np.uint16)}, "uint8"),
        ({"images": np.zeros((3, 8, 8, 3))}, "images"),
        ({"probabilities": np.zeros((3, 5), np.float32)}, r"probabilities must be \[3, 4\]"),
        ({"sources": ("a",)}, "sources"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        make(**change)


# -- what it says ---------------------------------------------------------------------------------


def test_top_is_the_likeliest_first_and_ties_keep_their_order():
    first, second, _ = make().top(3)
    assert [(i, n) for i, n, _ in first] == [(1, "tiger cat"), (2, NAMES[2]), (0, "tabby")]
    assert [p for *_, p in first] == pytest.approx([0.6, 0.2, 0.1])
    assert [i for i, *_ in second] == [0, 1, 2]
    assert len(make().top(99)[0]) == 4
    assert make(class_names=None).top(1)[0][0][1] == "class 1"
    with pytest.raises(InputError, match="at least 1"):
        make().top(0)
    with pytest.raises(InputError, match="no probabilities"):
        make(probabilities=None).top()


def test_titles_name_the_class_and_its_probability():
    assert make().titles[:2] == ("tiger cat  0.600", "<b>$x_1$</b>  0.250")
    assert len(make().titles[2]) < 70  # the number is not cut off with the name
    assert make().titles[2].endswith("…  1.000")
    assert make(probabilities=None).titles[0] == "tiger cat  7.5"
    assert make(labels=[-1, -1, -1]).titles == ("score  7.5", "score  0.25", "score  -1")


# -- pictures -------------------------------------------------------------------------------------


def test_heatmap_has_the_images_size_and_the_methods_sign():
    e = make(values=RNG.normal(size=(3, 3, 16, 20)).astype(np.float32))
    np.testing.assert_allclose(e.heatmap(), e.values.sum(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(e.heatmap(signed=False), np.abs(e.values).sum(1), rtol=1e-5)
    assert make().heatmap().shape == (3, 16, 20)
    flat = make(values=np.abs(RNG.normal(size=(3, 2, 2))).astype(np.float32), signed=False)
    assert flat.heatmap().shape == (3, 16, 20)


def test_plot_puts_the_titles_above_the_maps():
    figure = make(class_names=None).plot("heatmap")
    titles = [a.get_title() for a in figure.axes if a.get_title()]
    assert titles == ["class 1  0.600", "class 2  0.250", "class 3  1.000"]
    assert len(make().plot(original=True).axes) == 7


def test_grid_has_a_column_for_each_method():
    a = make()
    b = make(images=a.images, method="grad_cam", signed=False)
    figure = grid([a, b])
    axes = [x for x in figure.axes if x.get_label() != "<colorbar>"]
    assert len(axes) == 9
    assert axes[1].get_title().startswith("gradient\n")
    assert axes[2].get_title().startswith("grad_cam\n")
    # one of them has no sign: each is drawn as it is, and one bar cannot say both
    assert len(axes) == len(figure.axes)
    assert grid([a, b], signed=False).axes[-1].get_ylim()[0] == 0
    low, high = grid([a, b], style="signed").axes[-1].get_ylim()
    assert low == -high
    with pytest.raises(InputError, match="explanation 1"):
        grid([a, make()])
    with pytest.raises(InputError, match="nothing to draw"):
        grid([])


def test_html_is_escaped_and_holds_a_picture():
    text = make()._repr_html_()
    data = re.search(r'src="data:image/png;base64,([^"]+)"', text)[1]
    assert base64.b64decode(data).startswith(b"\x89PNG")
    rest = text.replace(data, "")
    assert "<b>" not in rest
    assert "<script>" not in rest
    assert "&lt;b&gt;$x_1$&lt;/b&gt;" in rest
    assert "ü/b.png" in rest


def test_html_of_many_images_is_cut():
    e = make(
        values=np.zeros((20, 2, 2), np.float32), labels=[-1] * 20, scores=np.zeros(20),
        images=np.zeros((20, 8, 8, 3), np.uint8), probabilities=None, sources=(),
    )  # fmt: skip
    assert "and 12 more images" in e._repr_html_()


# -- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_npz_gives_everything_back_to_the_bit(tmp_path, dtype):
    values = RNG.normal(size=(3, 3, 4, 5)).astype(dtype)
    values[0, 0, 0, :3] = np.nan, np.inf, -0.0
    e = make(values=values)
    e.save(tmp_path / "e.npz")
    back = Explanation.load(tmp_path / "e.npz")
    same(e, back)
    assert back.values.tobytes() == values.tobytes()
    with np.load(tmp_path / "e.npz", allow_pickle=False) as plain:  # and for other programs
        assert plain["values"].tobytes() == values.tobytes()
        assert json.loads(plain["metadata"].tobytes())["method"] == "gradient"
    bare = make(probabilities=None, class_names=None, sources=(), failures={}, diagnostics={})
    bare.save(tmp_path / "bare.npz")
    assert Explanation.load(tmp_path / "bare.npz").probabilities is None


def test_pictures_are_saved_and_nothing_is_left_beside(tmp_path):
    for suffix in ("png", "jpg", "pdf"):
        make().save(tmp_path / f"e.{suffix}", style="signed", colormap="bwr")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e.jpg", "e.pdf", "e.png"]


def test_a_place_that_cannot_be_written_is_known_before_drawing(tmp_path, monkeypatch):
    monkeypatch.setattr(Explanation, "plot", lambda *_: pytest.fail("drawn for nothing"))
    for path in (tmp_path / "no" / "e.png", tmp_path / "e.docx", tmp_path):
        with pytest.raises(ResourceError):
            make().save(path)


def test_settings_that_are_not_plain_are_refused(tmp_path):
    plain = make(parameters={"a": np.float32(1), "b": np.arange(2), "c": tmp_path, "d": (1, 2)})
    plain.save(tmp_path / "e.npz")
    got = Explanation.load(tmp_path / "e.npz").parameters
    assert got == {"a": 1.0, "b": [0, 1], "c": str(tmp_path), "d": [1, 2]}
    for bad in ({"parameters": {"f": print}}, {"diagnostics": {"o": np.array([None])}}):
        with pytest.raises(InputError, match="cannot store"):
            make(**bad).save(tmp_path / "bad.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["e.npz"]


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("code in the file was run",))


def foreign_files(folder):
    make().save(folder / "ours.npz")
    whole = (folder / "ours.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    contents = {
        "empty": b"", "text": b"hello", "half": whole[: len(whole) // 2], "flipped": bytes(flipped),
    }  # fmt: skip
    for name, content in contents.items():
        (folder / f"{name}.npz").write_bytes(content)
    np.savez(folder / "other.npz", a=np.zeros(3))
    np.savez(folder / "metadata.npz", metadata=np.frombuffer(b"[1]", np.uint8))
    np.savez(folder / "stranger.npz", metadata=np.frombuffer(b"{}", np.uint8))
    np.savez(folder / "pickle.npz", allow_pickle=True, values=np.array([Bomb()], object))
    with zipfile.ZipFile(folder / "zip.npz", "w") as archive:
        archive.writestr("values.npy", b"not an array")
    header = {"descr": "<f8", "fortran_order": False, "shape": (2**50,)}
    with zipfile.ZipFile(folder / "claim.npz", "w") as archive, archive.open("v.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, header)
    files.write_archive(
        folder / "short.npz", {"values": np.zeros((1, 2, 2))},
        {"format": "interpretdl explanation 1", "arrays": ["a"], "diagnostics": {}, "failures": {}},
    )  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["empty", "text", "half", "flipped", "other", "metadata", "stranger", "pickle", "zip", "claim",
     "short"],
)  # fmt: skip
def test_a_file_that_is_not_ours_is_refused(tmp_path, name):
    foreign_files(tmp_path)
    with pytest.raises(InputError, match=rf"{name}\.npz"):
        Explanation.load(tmp_path / f"{name}.npz")


def test_a_file_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path):
    files.write_archive(tmp_path / "z.npz", {"a": np.zeros(10**6)}, {})
    assert (tmp_path / "z.npz").stat().st_size < 100_000
    with pytest.raises(InputError, match="max_bytes"):
        files.read_archive(tmp_path / "z.npz", max_bytes=10**6)
    with pytest.raises(ResourceError, match="cannot read"):
        Explanation.load(tmp_path / "missing.npz")
