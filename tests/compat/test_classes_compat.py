"""Classes of one's own as InterpretDL's users write them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

import interpretdl as it
from interpretdl.data_processor.readers import images_transform_pipeline
from tests.by_paddle import gradient_of, softmax

X = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)


class Pixels(it.InputGradientInterpreter):
    """A segmenter's gradient for some pixels, with hooks and modes in the user's hands."""

    def __init__(self, model: Any, device: str, **kwargs: Any) -> None:
        it.InputGradientInterpreter.__init__(self, model, device, **kwargs)

    def _build_predict_fn(self, rebuild: bool = False, gradient_of: Any = "probability") -> None:
        if self.predict_fn is not None and not rebuild:
            return
        self._env_setup()

        def predict_fn(inputs: Any, pixels: Any, labels: Any = None) -> Any:
            x = paddle.to_tensor(inputs)
            x.stop_gradient = False
            logits = self.model(x)[0]
            probas = F.softmax(logits, axis=1)
            rows, columns = zip(*pixels, strict=True)
            mean = sum(probas[:, :, i, j] for i, j in zip(rows, columns, strict=True)) / len(pixels)
            if labels is None:
                labels = mean.argmax(axis=1).numpy()
            loss = (mean * F.one_hot(paddle.to_tensor(labels), mean.shape[1])).sum(axis=1)
            loss.backward()
            return x.grad.numpy(), labels, mean

        self.predict_fn = predict_fn

    def interpret(self, inputs: Any, pixels: Any, labels: Any = None, visual: bool = True) -> Any:  # type: ignore[override]
        _, data = images_transform_pipeline(inputs)
        self._build_predict_fn()
        gradient, self.labels, self.predicted_proba = self.predict_fn(data, pixels, labels)
        return gradient


class Segmenter(nn.Layer):
    """Gives a list of maps, as PaddleSeg's networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2D(3, 4, 3, padding=1), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Conv2D(4, 5, 1)

    def forward(self, x: Any) -> Any:
        return [self.head(self.body(x))]


def test_a_segmentation_class_with_its_own_interpret() -> None:
    paddle.seed(0)
    model = Segmenter()
    pixels = np.random.default_rng(0).integers(0, 256, (1, 20, 24, 3), dtype=np.uint8)
    sg = Pixels(model, "cpu")
    assert (sg.device, sg.predict_fn, sg.model) == ("cpu", None, model)
    found = sg.interpret(pixels, [(3, 4), (5, 6)], labels=np.array([2]))
    assert found.shape == (1, 3, 20, 24)
    assert not model.training  # by _env_setup
    # a pixel's score depends on what the kernel of three sees of it
    seen = np.zeros((20, 24), bool)
    seen[2:5, 3:6] = seen[4:7, 5:8] = True
    assert not np.abs(found[0]).sum(axis=0)[~seen].any()
    assert np.abs(found[0]).sum(axis=0)[seen].any()
    assert sg.interpret(pixels, [(3, 4)]).shape == (1, 3, 20, 24)
    with pytest.raises(it.InterpretError, match=r"Pixels is no registered method.*attribute\(self"):
        sg.explain(pixels)


def test_interpret_of_the_base_alone_and_of_what_is_derived(toy: Any) -> None:
    class Own(it.Interpreter):
        def interpret(self, inputs: Any) -> Any:  # type: ignore[override]
            return self.probe.logits(inputs)

    class Derived(Own):
        pass

    class Complete(Own):
        def attribute(self, x: Any, target: Any, *, factor: float = 2) -> Any:
            return factor * x

    model = toy()
    for cls in (Own, Derived, Complete):
        np.testing.assert_array_equal(cls(model).interpret(X), it.Probe(model).logits(X))
    with pytest.raises(it.InterpretError, match="write _build_predict_fn"):
        Own(model)._build_predict_fn()
    with pytest.raises(TypeError, match="no option 'facto'"):
        Complete(model).explain(X, facto=3)

    class Told(it.GradientInterpreter):
        def interpret(self, inputs: Any, **options: Any) -> Any:
            return super().interpret(inputs, visual=False, **options) * 2

    expected = it.GradientInterpreter(model).explain(X, label=1).values
    np.testing.assert_array_equal(Told(model).interpret(X, label=1), 2 * expected)
    np.testing.assert_array_equal(Told(model).explain(X, label=1).values, expected)
    with pytest.raises(TypeError, match="abstract"):
        it.InputGradientInterpreter(model)  # type: ignore[abstract]  # the mistake itself


def test_a_gpu_that_is_not_there(toy: Any) -> None:
    if paddle.is_compiled_with_cuda():
        pytest.skip("this Paddle has GPUs")
    with pytest.warns(it.InterpretWarning, match="the CPU is used"):
        method = Pixels(toy(), "gpu:0")
    assert method.device == "cpu"


def test_what_is_on_the_page_works(root: Path, toy: Any) -> None:
    page = (root / "docs" / "compatibility.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)  # noqa: S102 - the page's own
    assert names["values"].shape == (1, 5, 16)
    assert [len(pairs) for pairs in names["weights"].values()] == [5]
    model = toy()
    found = names["TwoScales"](model, "cpu").interpret(X, noise=0)
    expected = gradient_of(model, X, softmax(model, X).argmax(axis=1))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_models_that_are_no_layers_are_refused_with_what_to_do(toy: Any) -> None:
    class Duck:
        def __init__(self) -> None:
            self.inner = toy()

        def forward(self, x: Any) -> Any:
            return self.inner(x / 2)

        def eval(self) -> None:
            self.inner.eval()

        __call__ = forward

    for model in (Duck(), lambda x: x):
        for cls in (it.GradientInterpreter, it.Deletion):
            with pytest.raises(it.InputError, match=r"Derive its class from paddle\.nn\.Layer"):
                cls(model)

    class Layer(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = toy()

        def forward(self, x: Any) -> Any:
            return self.inner(x / 2)

    found = it.GradientInterpreter(Layer()).explain(X, label=1)
    assert found.values.shape == X.shape
