"""Exported models: which layers they get, what is refused, and what is never run."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

import interpretdl as it
from interpretdl import cli
from interpretdl.errors import (
    InputError,
    LayerNotFoundError,
    UnsupportedModelError,
    WeightsError,
)
from interpretdl.exported import operations
from interpretdl.exported.operations import Function
from interpretdl.testing.state import differences, state_of
from tests import paddle_models
from tests.exports import loaded, saved, saved_as_before

SHAPE = (None, 3, 32, 32)


def images(n: int = 2, *, dtype: str = "float32") -> Any:
    return paddle.to_tensor(np.random.default_rng(0).normal(size=(n, 3, 32, 32)).astype(dtype))


@pytest.fixture(scope="module")
def resnet() -> Any:
    return paddle_models.resnet()


@pytest.fixture(scope="module")
def path(resnet: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(resnet, tmp_path_factory.mktemp("resnet"), SHAPE)


# -- layers ----------------------------------------------------------------------------------------


def test_layers_are_named_after_their_parameters(resnet: Any, path: Path) -> None:
    model = it.load_exported(path)
    assert not model.training
    assert model.input_names == ("x0",)
    layers = dict(model.named_sublayers())
    for name, original in resnet.named_sublayers():
        if isinstance(original, nn.Conv2D | nn.BatchNorm2D | nn.Linear):
            twin = layers[original.weight.name.removesuffix(".w_0")]
            assert type(twin) is type(original), name
            for key, value in original.state_dict().items():
                np.testing.assert_array_equal(twin.state_dict()[key].numpy(), value.numpy())
    kinds = [type(layer).__name__ for layer in layers.values()]
    assert kinds.count("ReLU") == 5  # runs of two layers
    assert {"MaxPool2D", "AdaptiveAvgPool2D", "Dropout"} < set(kinds)
    assert {"relu_0", "relu_4", "add_1", "pool2d_0"} < set(layers)


def test_names_are_the_same_on_every_load(path: Path) -> None:
    first, second = (it.load_exported(where) for where in (path, str(path.with_suffix(""))))
    assert [*first.state_dict()] == [*second.state_dict()]
    assert [n for n, _ in first.named_sublayers()] == [n for n, _ in second.named_sublayers()]


class Shared(nn.Layer):
    """Layers that run twice, parameters of its own, and names that a Layer has itself."""

    def __init__(self) -> None:
        super().__init__()
        one = paddle.ParamAttr(name="training.w_0")
        self.twice, self.relu = nn.Linear(4, 4), nn.ReLU()
        self.last = nn.Linear(4, 3, weight_attr=one)
        self.scale = self.create_parameter([4], attr=paddle.ParamAttr(name="my.scale.w_0"))

    def forward(self, x: Any) -> Any:
        x = self.relu(self.twice(self.relu(self.twice(x)))) * self.scale
        return self.last(x + paddle.ones([4]))


def test_what_runs_twice_has_two_names(tmp_path: Path) -> None:
    original = Shared()
    model = loaded(original, tmp_path, (None, 4))
    name = original.twice.weight.name.removesuffix(".w_0")
    assert {name, f"{name}_call_2", "training_call_2"} <= {n for n, _ in model.named_sublayers()}
    assert model.my_scale.shape == [4]
    x = paddle.to_tensor(np.random.default_rng(0).normal(size=(3, 4)).astype("float32"))
    np.testing.assert_allclose(model(x).numpy(), original(x).numpy(), atol=1e-6)


class TextAndMask(nn.Layer):
    """Two inputs of integers of any length, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(20, 8, padding_idx=0), nn.Embedding(10, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, ids: Any, mask: Any) -> Any:
        places = paddle.arange(ids.shape[1]).unsqueeze(0)
        away = (1 - mask.astype("float32")).unsqueeze([1, 2]) * -1e4
        x = self.norm(self.layer(self.words(ids) + self.positions(places), away))
        return self.head(x[:, 0]), F.softmax(self.head(x.mean(1)))


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    original = TextAndMask()
    original.eval()
    model = loaded(original, tmp_path, (None, None), (None, None), dtype="int64")
    ids, mask = paddle.to_tensor([[3, 7, 0], [1, 2, 5]]), paddle.to_tensor([[1, 1, 0], [1, 1, 1]])
    expected = original(ids, mask)
    for found in (model(ids, mask), model(x1=mask, x0=ids), model(ids, x1=mask)):
        assert isinstance(found, tuple)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-6)
    with pytest.raises(InputError, match=r"takes 2 input\(s\), x0, x1; got 1"):
        model(ids)
    with pytest.raises(InputError, match="got 1 and x7"):
        model(ids, x7=mask)


def test_size_and_number_of_pictures_may_be_open(resnet: Any, tmp_path: Path) -> None:
    model = loaded(resnet, tmp_path, (None, 3, None, None))
    for n, size in ((1, 32), (3, 40)):
        x = paddle.to_tensor(np.random.default_rng(n).normal(size=(n, 3, size, size)), "float32")
        np.testing.assert_allclose(model(x).numpy(), resnet(x).numpy(), atol=1e-6)


class Segmenter(nn.Layer):
    """Ends with an argmax, as PaddleSeg exports it; a group-norm, a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.norm, self.act = nn.Conv2D(3, 6, 3, 2, 1), nn.GroupNorm(2, 6), nn.PReLU(6)
        self.up, self.instance = nn.Conv2DTranspose(6, 6, 2, 2), nn.InstanceNorm2D(6)
        self.head = nn.Conv2D(6, 4, 1)

    def forward(self, x: Any) -> Any:
        y = self.act(self.norm(self.down(x)))
        z = F.pad(self.instance(self.up(y)), [1, 1, 1, 1], mode="reflect")[:, :, 1:-1, 1:-1]
        y = F.interpolate(y, size=paddle.shape(x)[2:], mode="bilinear")
        return self.head(F.leaky_relu(y + z)).argmax(1)


def test_until_takes_the_scores_in_front_of_an_argmax(tmp_path: Path) -> None:
    original, x = Segmenter(), images()
    where = saved(original, tmp_path, SHAPE)
    np.testing.assert_array_equal(it.load_exported(where)(x).numpy(), original(x).numpy())
    head = original.head.weight.name.removesuffix(".w_0")
    model = it.load_exported(where, until=head)
    np.testing.assert_array_equal(model(x).numpy().argmax(1), original(x).numpy())
    both = it.load_exported(where, until=[head, "leaky_relu_0"])(x)
    np.testing.assert_array_equal(both[0].numpy(), model(x).numpy())
    assert both[1].shape == [2, 6, 32, 32]
    largest = [np.bincount(each.ravel()).argmax() for each in original(x).numpy()]
    found = it.HiResCAMInterpreter(model).explain(x.numpy(), label=it.SegmentationScore(largest))
    assert found.values.any()
    with pytest.raises(LayerNotFoundError, match=r"'conv2d_x'.*did you mean"):
        it.load_exported(where, until="conv2d_x")
    for wrong in ([3], 3):
        with pytest.raises(InputError, match="until must be"):
            it.load_exported(where, until=wrong)  # type: ignore[arg-type]


# -- what is refused -------------------------------------------------------------------------------


class Unknown(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2D(3, 4, 3)

    def forward(self, x: Any) -> Any:
        return paddle.linalg.svd(F.relu(self.conv(x)).mean(1))[1]


def test_an_operation_that_is_not_known_is_named_with_its_place(tmp_path: Path) -> None:
    original = Unknown()
    where = saved(original, tmp_path, (None, 3, 8, 8))
    with pytest.raises(UnsupportedModelError) as caught:
        it.load_exported(where)
    for part in ("'svd' on [-1, 6, 6]", original.conv.bias.name, "until='mean_0'"):
        assert part in str(caught.value)
    assert it.load_exported(where, until="mean_0")(images()[:, :, :8, :8]).shape == [2, 6, 6]


def test_layers_that_give_other_numbers_are_refused(
    resnet: Any, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Function(lambda a, x, y: x + 1.001 * y)
    monkeypatch.setitem(operations.OPERATIONS, "add", wrong)
    with pytest.raises(UnsupportedModelError, match=r"other numbers .* differ by"):
        it.load_exported(path)
    model = loaded(resnet, tmp_path, (None, 3, None, None))  # nothing to try it on yet
    with pytest.raises(UnsupportedModelError, match="other numbers"):
        model(images())

    def fails(a: Any, x: Any, y: Any) -> Any:
        raise ValueError("no sum today")

    monkeypatch.setitem(operations.OPERATIONS, "add", Function(fails))
    with pytest.raises(UnsupportedModelError, match=r"OperationLayer\(add\): no sum today"):
        it.load_exported(path)


def test_a_first_batch_on_which_paddle_fails(resnet: Any, tmp_path: Path) -> None:
    model = loaded(resnet, tmp_path, (None, 3, None, None))
    with pytest.raises(UnsupportedModelError, match=r"Paddle itself cannot run .*\[\[2, 5, 8, 8\]"):
        model(paddle.ones([2, 5, 8, 8]))
    assert model(images()).shape == [2, 5]


@pytest.mark.filterwarnings("ignore:.*half precision, which Paddle does not")  # on some devices
def test_half_precision_is_computed_in_float32(tmp_path: Path) -> None:
    original, x = paddle_models.vit(), images()
    expected = original(x).numpy()
    original.to(dtype="bfloat16")
    model = it.load_exported(saved(original, tmp_path, SHAPE, dtype="bfloat16"))
    assert {p.dtype for p in model.parameters()} == {paddle.float32}
    found = model(x)
    assert found.dtype == paddle.float32
    np.testing.assert_allclose(found.numpy(), expected, atol=0.05 * abs(expected).max())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.unlink(), "no exported model .*inference.json"),
        (lambda p: p.with_suffix(".pdiparams").unlink(), "37 parameters, and their file"),
        (lambda p: p.write_bytes(b""), "no JSON"),
        (lambda p: p.write_bytes(p.read_bytes()[:-9]), "no JSON"),
        (lambda p: p.write_bytes(b"[" * 10**5), "no program of Paddle"),
        (lambda p: p.write_text("{}"), "no program of Paddle"),
        (lambda p: replace(p, '"magic":"pir"', '"magic":"pie"'), "not marked as a program"),
        (
            lambda p: replace(p, '"#":"1.conv2d"', '"#":"1.comv2d"'),
            "operation that Paddle .* does not know",
        ),
        (lambda p: replace(p, '"I":[{"%":38}', '"I":[{"%":3800}'), "3800, which nothing made"),
        (lambda p: replace(p, "[8,5]", "[9,5]"), r"is \[8, 5\], expected \[9, 5\]"),
        (lambda p: cut(p, 1), "ends too early"),
        (lambda p: cut(p, 9000), "ends too early|arrays, where the program has 37"),
        (lambda p: add(p, b"0123456789"), "ends too early|another version"),
        (lambda p: change(p, 4, b"\xff" * 8), "ends too early"),
        (lambda p: change(p, 16, b"\x00\x00\x00\x7f"), "ends too early"),
    ],
)
def test_files_that_are_missing_or_damaged(
    path: Path, tmp_path: Path, damage: Callable[[Path], Any], message: str
) -> None:
    for suffix in (".json", ".pdiparams"):
        source = path.with_suffix(suffix)
        (tmp_path / source.name).write_bytes(source.read_bytes())
    damage(tmp_path / path.name)
    with pytest.raises(WeightsError, match=message) as caught:
        it.load_exported(tmp_path / path.name)
    assert len(str(caught.value)) < 700


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def cut(path: Path, count: int) -> None:
    parameters = path.with_suffix(".pdiparams")
    parameters.write_bytes(parameters.read_bytes()[:-count])


def add(path: Path, more: bytes) -> None:
    with path.with_suffix(".pdiparams").open("ab") as file:
        file.write(more)


def change(path: Path, at: int, new: bytes) -> None:
    parameters = path.with_suffix(".pdiparams")
    data = bytearray(parameters.read_bytes())
    data[at : at + len(new)] = new
    parameters.write_bytes(data)


def test_what_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="path of an exported model"):
        it.load_exported(3)  # type: ignore[arg-type]
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(WeightsError, match="a folder"):
        it.load_exported(tmp_path / "folder.json")


# -- the format of Paddle 2 ------------------------------------------------------------------------


class Pickled:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


def test_the_old_format_and_no_pickle_beside_it(
    resnet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, x = saved_as_before(resnet, tmp_path, SHAPE), images()
    monkeypatch.chdir(tmp_path)
    for info in (pickle.dumps(Pickled()), None):
        beside = tmp_path / "inference.pdiparams.info"
        beside.unlink()
        if info is not None:
            beside.write_bytes(info)
        model = it.load_exported(where)
        np.testing.assert_allclose(model(x).numpy(), resnet(x).numpy(), atol=1e-6)
        beside.touch()
    assert not (tmp_path / "executed").exists()
    assert it.load_exported(where, until="relu_0")(x).shape == [2, 6, 16, 16]
    for data in (b"", b"\x22\x00", where.read_bytes()[:500]):
        where.write_bytes(data)
        with pytest.raises(WeightsError):
            it.load_exported(where)


# -- in use ----------------------------------------------------------------------------------------


def test_the_gradient_is_that_of_finite_differences(tmp_path: Path) -> None:
    original = paddle_models.mobilenet_v3(dtype="float64")
    model, x = (
        loaded(original, tmp_path, SHAPE, dtype="float64"),
        images(1, dtype="float64").numpy(),
    )
    found = it.GradientInterpreter(model, preprocessing=None).explain(x, label=2)
    for place in ((0, 0, 4, 5), (0, 1, 16, 9), (0, 2, 31, 31)):
        scores = []
        for step in (1e-5, -1e-5):
            moved = x.copy()
            moved[place] += step
            scores.append(float(model(paddle.to_tensor(moved))[0, 2]))
        expected = (scores[0] - scores[1]) / 2e-5
        np.testing.assert_allclose(found.values[place], expected, rtol=1e-5, atol=1e-9)


def test_files_and_model_are_as_they_were(path: Path) -> None:
    files = {each: each.read_bytes() for each in path.parent.iterdir()}
    model = it.load_exported(path)
    before = state_of(model)
    it.LRPInterpreter(model).explain(images().numpy(), label=1)
    it.GradCAMInterpreter(model).explain(images().numpy(), target_layer_name="add_0")
    assert not differences(before, state_of(model))
    assert files == {each: each.read_bytes() for each in path.parent.iterdir()}


def test_a_program_of_the_inference_engine_is_made_of_it(path: Path) -> None:
    model, x = it.load_exported(path), images(1).numpy()
    fast, slow = (
        it.OcclusionInterpreter(model, engine=engine).explain(x, label=1)
        for engine in ("onednn", "dygraph")
    )
    assert fast.diagnostics["engine"] == "onednn"
    np.testing.assert_allclose(fast.values, slow.values, atol=1e-4 * abs(slow.values).max())


def test_what_paddle_loads_names_the_way_out(path: Path) -> None:
    program = paddle.jit.load(str(path.with_suffix("")))
    for method in (it.GradCAMInterpreter, it.LRPInterpreter):
        with pytest.raises(UnsupportedModelError, match=r"it\.load_exported\(path\)"):
            method(program).explain(images().numpy(), label=1)


def test_on_the_command_line(
    path: Path, tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["explain", str(picture), "--model", f"exported:{path}", "--method", "grad_cam"]
    arguments += ["--label", "2"]
    assert cli.main([*arguments, "--save", str(tmp_path / "map.png")]) == 0
    assert (tmp_path / "map.png").stat().st_size > 1000
    assert it.load_exported(path).preprocessing.crop == 32
    assert cli.main([*arguments, "--no-pretrained"]) == 2
    assert "its weights beside it" in " ".join(capsys.readouterr().err.split())
    assert cli.main([*arguments[:3], "exported:gone.json"]) == 2
    assert "no exported model gone.json" in " ".join(capsys.readouterr().err.split())
