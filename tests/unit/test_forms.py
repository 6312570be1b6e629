"""Forms in which people hold models: wrappers, half precision, channels, several inputs."""

from __future__ import annotations

import warnings
from collections import deque
from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import nn

import interpretdl as it
from interpretdl import ClassScore, Probe
from interpretdl.registry import METHODS
from interpretdl.testing import differences, state_of
from tests.paddle_models import MODELS
from tests.paddle_models.forms import dictionary, pictures, two_inputs
from tests.slopes import check_slopes, x_of

Array = NDArray[Any]
RNG = np.random.default_rng


# -- wrappers --------------------------------------------------------------------------------------


def data_parallel(model: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that there is one process
        return paddle.DataParallel(model)


@pytest.mark.parametrize(
    "wrap",
    [
        paddle.Model,
        data_parallel,
        lambda model: paddle.Model(data_parallel(model)),
        lambda model: paddle.jit.to_static(model, full_graph=True),
    ],
)
@pytest.mark.parametrize("method", ["gradient", "grad_cam", "lrp"])
def test_wrapped_models(wrap: Any, method: str) -> None:
    model, x = pictures(), x_of(2, 3, 16, 16)
    model.preprocessing = it.Preprocessing(None, None)
    expected = METHODS.find(method).cls(pictures()).explain(x, label=1)
    before = state_of(model)
    interpreter = METHODS.find(method).cls(wrap(model))
    changed = state_of(model)  # to_static puts a function of its own in the model's place
    found = interpreter.explain(x, label=1)
    np.testing.assert_array_equal(found.values, expected.values)
    assert interpreter.preprocessing is model.preprocessing
    assert differences(changed, state_of(model)) == []
    assert set(differences(before, changed)) <= {"model.forward", "model._original_funcs"}


def test_layers_of_wrapped_models_have_their_own_names() -> None:
    probe = Probe(data_parallel(pictures()))
    assert probe.layer_names() == Probe(pictures()).layer_names()


# -- precision -------------------------------------------------------------------------------------


def half(model: Any, dtype: str, *, norms: bool = True) -> Any:
    """As `astype` makes it; without norms as `amp.decorate(level="O2")` does, which leaves them."""
    for layer in model.sublayers(include_self=True):
        if norms or not isinstance(layer, nn.BatchNorm2D):
            layer._to_impl(dtype=dtype, include_sublayers=False, floating_only=True)
    return model


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["resnet", "vit", "convnext", "mobilenet_v3"])
@pytest.mark.parametrize("norms", [True, False])
def test_half_precision_is_computed_in_float32(dtype: str, name: str, norms: bool) -> None:
    make, output = MODELS[name]
    model, rounded, x = half(make(), dtype, norms=norms), make(), x_of(2, 3, 32, 32)
    for mine, other in zip(rounded.parameters(), model.parameters(), strict=True):
        mine.set_value(other.astype("float32"))
    for mine, other in zip(rounded.buffers(), model.buffers(), strict=True):
        mine.set_value(other.astype(mine.dtype))
    before = state_of(model)
    with pytest.warns(it.InterpretWarning, match=f"parameters are {dtype}.*float32") as warned:
        probe = Probe(model, output=output)
    assert len(warned) == 1
    found = Probe(model, output=output).gradients(x, ClassScore(1))  # not said a second time
    expected = Probe(rounded, output=output).gradients(x, ClassScore(1))
    np.testing.assert_array_equal(found.input, expected.input)
    np.testing.assert_array_equal(probe.logits(x), expected.outputs)
    assert found.input.dtype == np.float32
    assert differences(before, state_of(model)) == []


@pytest.mark.parametrize(
    "method",
    [
        "lrp",
        "grad_cam",
        "guided_bp",
        "deep_lift",
        "integrated_gradients",
        "occlusion",
        "smooth_grad",
    ],
)
def test_methods_in_half_precision(method: str) -> None:
    model, x = half(pictures(), "bfloat16"), x_of(1, 3, 16, 16)
    rounded = pictures()
    rounded.set_state_dict({k: v.astype("float32") for k, v in model.state_dict().items()})
    with pytest.warns(it.InterpretWarning, match="bfloat16"):
        found = METHODS.find(method).cls(model).explain(x, label=1)
    expected = METHODS.find(method).cls(rounded).explain(x, label=1)
    np.testing.assert_array_equal(found.values, expected.values)
    assert {str(p.dtype) for p in model.parameters()} == {"paddle.bfloat16"}


class Asks(nn.Layer):
    """Notes the level of automatic mixed precision that it is run at."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = pictures()
        self.levels: deque[Any] = deque()  # shared with the copy that the probe runs

    def forward(self, x: Any) -> Any:
        self.levels.append(paddle.base.framework._dygraph_tracer()._amp_level)
        return self.inner(x)


def test_automatic_mixed_precision_around_it_is_off() -> None:
    """`auto_cast` has no effect on the CPU, so its state is set here."""
    model, levels = Asks(), paddle.base.core.AmpLevel
    tracer = paddle.base.framework._dygraph_tracer()
    before = tracer._amp_level
    tracer._amp_level = levels.O1
    try:
        Probe(model).gradients(x_of(1, 3, 16, 16), ClassScore(1))
        after = tracer._amp_level
    finally:
        tracer._amp_level = before
    assert set(model.levels) == {levels.O0}
    assert after == levels.O1


class Casts(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.inner = pictures()

    def forward(self, x: Any) -> Any:
        return self.inner(x.astype("float16"))


def test_a_cast_in_the_forward_pass() -> None:
    model = half(Casts(), "float16")
    with pytest.warns(it.InterpretWarning, match="float16"):
        method = it.GradientInterpreter(model)
    says = "its parameters are float16, but are computed in float32; take the casts to float16 out"
    with pytest.raises(it.UnsupportedModelError, match=says):
        method.explain(x_of(1, 3, 16, 16))


def test_errors_of_the_model_itself_are_not_taken_for_that() -> None:
    with pytest.raises(ValueError, match=r"(?i)channel"):
        Probe(pictures()).logits(x_of(1, 5, 16, 16))


# -- channels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 4])
def test_one_and_four_channels(channels: int, tmp_path: Any) -> None:
    flat = it.Preprocessing(None, None, mean=(0.5,) * channels, std=(0.5,) * channels)
    model, x = pictures(channels, "float64"), x_of(2, channels, 16, 16, dtype=np.float64)
    found = Probe(model).gradients(x, ClassScore(1)).input
    check_slopes(found, lambda x: Probe(model).scores(x, ClassScore(1)), x)
    pixels = RNG(1).integers(0, 256, (2, 16, 16, channels), dtype=np.uint8)
    before = state_of(model)
    for method in ("gradient", "grad_cam", "lrp", "integrated_gradients", "occlusion", "rise"):
        options = {"evaluations": 20} if method == "rise" else {}
        shown = (
            METHODS.find(method).cls(model, preprocessing=flat).explain(pixels, label=1, **options)
        )
        assert shown.images.shape == (2, 16, 16, 3)
        assert np.isfinite(shown.values).all()
        assert shown.values.any()
    shown.save(tmp_path / "map.png")
    assert differences(before, state_of(model)) == []
    with pytest.raises(
        it.InputError, match=f"axis 1 is the channels and must be 3, not {channels}"
    ):
        it.GradientInterpreter(model).explain(x)  # ImageNet's preprocessing was taken


# -- several inputs --------------------------------------------------------------------------------


def both(dtype: Any = np.float32) -> tuple[Array, Array]:
    return x_of(3, 3, 16, 16, dtype=dtype), x_of(3, 4, seed=1, dtype=dtype)


@pytest.mark.parametrize("which", [None, 0, 1, "image", "table"])
def test_one_of_several_inputs_is_explained(which: Any) -> None:
    model, (image, table) = two_inputs("float64"), both(np.float64)
    subject = it.Subject.of(model, preprocessing=None)
    named = isinstance(which, str)
    subject = subject if which is None else subject.explaining(which)
    inputs: Any = {"image": image, "table": table} if named else (image, table)
    labels = np.array([0, 3, 1])
    before = state_of(model)
    found = it.GradientInterpreter(subject).explain(inputs, labels)
    assert differences(before, state_of(model)) == []
    expected = Probe(model).gradients((image, table), ClassScore(labels))
    at = 1 if which in (1, "table") else 0
    np.testing.assert_allclose(found.values, expected.input[at], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6)
    assert found.parameters["input_shape"] == list((image, table)[at].shape[1:])
    place, others = (image, table)[at], (image, table)

    def score(x: Array) -> Array:
        given = (x, others[1]) if at == 0 else (others[0], x)
        return Probe(model).scores(given, ClassScore(labels))

    check_slopes(expected.input[at], score, place)


def test_methods_on_several_inputs() -> None:
    """Those that take the picture alone, with each item's own table in the model."""
    model, (image, table) = two_inputs(), both()

    class One(nn.Layer):
        def __init__(self, row: Array) -> None:
            super().__init__()
            self.model, self.row = model, row

        def forward(self, x: Any) -> Any:
            return self.model(x, paddle.to_tensor(self.row).expand([len(x), 4]))

    blank = np.zeros((3, 16, 16), np.float32)
    cases: dict[str, dict[str, Any]] = {
        "integrated_gradients": {"baselines": blank, "steps": 4, "gradient_of": "logit"},
        "occlusion": {"sliding_window_shapes": (3, 8, 8), "strides": (3, 8, 8), "baselines": 0.0},
        "grad_cam": {},
        "lrp": {"composite": "epsilon"},
        "smooth_grad": {"n_samples": 2, "noise_amount": 0.1},
        "feature_ablation": {
            "fill": 0.0,
            "regions": np.arange(4).reshape(1, 2, 2).repeat(8, 1).repeat(8, 2),
        },
    }
    for method, options in cases.items():
        cls = METHODS.find(method).cls
        found = cls(model, preprocessing=None).explain((image, table), label=2, **options)
        for i, row in enumerate(table):
            by_itself = cls(One(row[None]), preprocessing=None)
            alone = by_itself.explain(image[i : i + 1], label=2, **options)
            size = abs(alone.values).max()
            np.testing.assert_allclose(found.values[i], alone.values[0], rtol=0, atol=1e-5 * size)
            np.testing.assert_allclose(found.scores[i], alone.scores[0], rtol=1e-5)
    complete = it.IntegratedGradientsInterpreter(model, preprocessing=None).explain(
        (image, table), label=2, baselines=blank, steps=100, gradient_of="logit"
    )
    rise = complete.scores - Probe(model).scores((0 * image, table), ClassScore(2))
    np.testing.assert_allclose(complete.values.sum(axis=(1, 2, 3)), rise, rtol=1e-2)


def test_inputs_of_which_none_can_be_explained() -> None:
    image, table = both()
    method = it.GradientInterpreter(two_inputs(), preprocessing=None)
    with pytest.raises(it.InputError, match=r"no input is an array of floats.*0 int64 \[3, 4\]"):
        method.explain((np.ones((3, 4), np.int64), np.ones((3, 4), np.int64)))
    wrong = it.GradientInterpreter(it.Subject.of(two_inputs(), preprocessing=None).explaining("t"))
    with pytest.raises(it.InputError, match=r"input 't' is an array.*'image' float32.*'table'"):
        wrong.explain({"image": image, "table": table})
    with pytest.raises(it.InputError, match="argument"):
        it.Subject.of(two_inputs()).explaining(1.5)  # type: ignore[arg-type]  # the mistake itself
    chosen = it.Subject.of(two_inputs(), preprocessing=None).explaining(1)
    with pytest.raises(it.InputError, match=r"grad_cam explains pictures.*got \[3, 4\]"):
        it.GradCAMInterpreter(chosen).explain((image, table))


# -- dictionaries ----------------------------------------------------------------------------------


def test_models_that_return_dictionaries() -> None:
    model, x = dictionary(), x_of(2, 3, 16, 16)
    with pytest.raises(it.UnsupportedModelError, match=r"'features'.*such as output='logits'"):
        it.GradCAMInterpreter(model).explain(x)
    with pytest.raises(it.InputError, match=r"lambda out: out\[0\]\['logits'\]"):
        it.GradCAMInterpreter(model, output="Teacher").explain(x)
    logits = model(paddle.to_tensor(x))["logits"].numpy()
    before = state_of(model)
    for method in ("gradient", "grad_cam", "lrp", "deep_lift"):
        found = METHODS.find(method).cls(model, output="logits").explain(x, label=1)
        assert found.values.any()
        np.testing.assert_allclose(found.scores, logits[:, 1], rtol=1e-5)
    assert differences(before, state_of(model)) == []
    teacher = it.GradientInterpreter(model, output=lambda out: out["Teacher"]["logits"])
    expected = it.GradientInterpreter(model.teacher).explain(x, label=1)
    np.testing.assert_allclose(teacher.explain(x, label=1).values, expected.values, rtol=1e-5)
    whole = dictionary("float64")
    x = x_of(1, 3, 16, 16, dtype=np.float64)
    probe = Probe(whole, output="logits")
    found = probe.gradients(x, ClassScore(1)).input
    check_slopes(found, lambda x: probe.scores(x, ClassScore(1)), x)


def test_a_list_of_several_says_which() -> None:
    model = nn.Sequential(pictures())
    model.forward = lambda x: [y := model[0](x), y]
    with pytest.raises(it.UnsupportedModelError, match="such as output=0"):
        Probe(model).logits(x_of(1, 3, 16, 16))
