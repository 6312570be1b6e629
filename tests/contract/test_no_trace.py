"""Nothing that runs a model leaves a trace: not a call that ends well, nor one that does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

import interpretdl as it
from interpretdl import ClassScore, Probe
from interpretdl.testing import differences, small_network, state_of


def images(n: int = 3) -> Any:
    return np.random.default_rng(1).normal(size=(n, 3, 12, 12)).astype(np.float32)


class Keeping(nn.Layer):
    """Passes its input on, keeps all sorts of things, as detectors do, and stops at one run."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("runs", paddle.zeros([1]))
        self.register_buffer("mean", paddle.zeros([1]))
        self.register_buffer("to_come", None)
        self.last: Any = None
        self.first = self.kept = paddle.zeros([1])
        self.feats: list[Any] = [self.kept]
        self.cache: dict[str, Any] = {"old": [1], "gone": self.kept}
        self.levels: dict[str, list[Any]] = {"one": [], "two": [self.kept]}
        self.seen: set[Any] = set()
        self.stop: BaseException | None = None

    def forward(self, x: Any) -> Any:
        self.runs = self.runs + 1  # another Tensor in its place
        self.mean.set_value(x.detach().mean().reshape([1]))  # written where it is
        self.to_come = x.mean()
        self.register_buffer("anchors", x.mean(), persistable=False)
        self.inputs = self.last = self.first = x  # one appears, the others get another value
        self.found = {"boxes": x}
        self.body = nn.ReLU()
        if hasattr(self, "kept"):
            del self.kept
        self.feats[0] = x
        self.feats.append(x)
        self.cache["new"] = x
        self.cache.pop("gone", None)
        self.levels["one"].append(x)
        self.levels["two"].clear()
        self.seen.add("x")
        paddle.rand([2])
        if self.stop is not None:
            raise self.stop
        return x


def model_in_use() -> Any:
    """Half in train mode, with gradients, frozen weights, hooks, and layers that write."""
    paddle.seed(0)  # with other weights a map may be zero, which is warned of
    model = small_network()
    model = nn.Sequential(
        model[0],
        nn.BatchNorm2D(4, use_global_stats=False),  # writes its statistics in eval mode as well
        Keeping(),
        nn.utils.spectral_norm(nn.Conv2D(4, 4, 3)),
        nn.Dropout(0.5),
        *list(model)[2:],
    )
    for i, layer in enumerate(model.sublayers(include_self=True)):
        layer.training = i % 2 == 0
    model[0].weight.sum().backward()
    model[-1].weight.stop_gradient = True
    model[-1].register_forward_pre_hook(lambda layer, inputs: None)
    return model


CALLS: dict[str, Callable[[Any], Any]] = {
    "logits": lambda p: p.logits(images()),
    "scores": lambda p: p.scores(images(), ClassScore(1)),
    "activations": lambda p: p.activations(images(), ["0", "3:input"]),
    "gradients": lambda p: p.gradients(images(), ClassScore(1)),
    "gradients at layers": lambda p: p.gradients(images(), ClassScore(1), at=["5", "0:input"]),
    "several targets": lambda p: p.gradients_of(images(), [ClassScore(k) for k in range(3)]),
    "edit": lambda p: p.logits(images(), edit={"0": lambda y: y * 0}),
    "layer_shapes": lambda p: p.layer_shapes(images()),
    "last_spatial_layer": lambda p: p.last_spatial_layer(images()),
    "census": lambda p: p.census(images()),
    "explain": lambda p: it.GradCAMInterpreter(p.model).explain(images()),
    "smooth": lambda p: it.SmoothGradInterpreter(p.model).explain(images(), n_samples=3),
}


@contextmanager
def unchanged(model: Any) -> Iterator[None]:
    before, held = state_of(model), contents(model[2])
    try:
        yield
    finally:
        assert differences(before, state_of(model)) == []
        assert differences(held, contents(model[2])) == []


def contents(layer: Keeping) -> dict[str, Any]:
    """The very things in the layer's lists, dicts and sets."""
    parts = {"feats": layer.feats, "cache": list(layer.cache.values()), "seen": list(layer.seen)}
    parts |= layer.levels | {"keys": list(layer.cache)}
    return {f"{name} {i}": each for name, part in parts.items() for i, each in enumerate(part)}


@pytest.mark.parametrize("stop", [None, RuntimeError("here"), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("call", CALLS)
def test_the_model_is_as_it_was(call: str, stop: BaseException | None) -> None:
    model = model_in_use()
    probe = Probe(model, batch_size=2)
    model[2].stop = stop
    errors = (type(stop), it.ResourceError) if isinstance(stop, MemoryError) else type(stop)
    with unchanged(model):
        if stop is None:
            CALLS[call](probe)
        else:
            with pytest.raises(errors):  # type: ignore[arg-type]  # not None here
                CALLS[call](probe)


@pytest.mark.parametrize("call", CALLS)
def test_the_models_outer_state_does_not_matter(call: str) -> None:
    """What is found in a model in use is what eval mode gives; twice the same."""
    model = model_in_use()
    results = [CALLS[call](Probe(model)) for _ in range(2)]
    model.eval()
    results.append(CALLS[call](Probe(model)))
    for other in results[1:]:
        for name, value in _arrays(results[0]).items():
            np.testing.assert_array_equal(_arrays(other)[name], value)


def _arrays(result: Any) -> dict[str, Any]:
    if isinstance(result, list):
        return {f"{i}.{k}": v for i, one in enumerate(result) for k, v in _arrays(one).items()}
    if isinstance(result, np.ndarray):
        return {"": result}
    facts = dict(result) if isinstance(result, dict) else getattr(result, "__dict__", {})
    flat = {k: v for k, v in facts.items() if isinstance(v, np.ndarray)}
    for k, v in facts.items():
        if isinstance(v, dict):
            flat |= {f"{k}.{n}": a for n, a in v.items() if isinstance(a, np.ndarray)}
    return flat


def test_an_error_in_a_target_or_an_edit() -> None:
    model = model_in_use()
    probe = Probe(model)

    def fails(tensor: Any) -> Any:
        raise ZeroDivisionError

    with unchanged(model):
        for call in (
            lambda: probe.gradients(images(), fails),
            lambda: probe.scores(images(), fails),
            lambda: probe.logits(images(), edit={"0": fails}),
            lambda: it.GradCAMInterpreter(model).explain(images(), label=fails),
        ):
            with pytest.raises(ZeroDivisionError):
                call()
        with pytest.raises(it.TargetError):
            probe.scores(images(), ClassScore(99))
        with pytest.raises(it.LayerNotFoundError):
            probe.gradients(images(), ClassScore(0), at=["0", "none"])


def test_the_input_is_as_it_was() -> None:
    x = images()
    given = x.copy()
    x.setflags(write=False)
    model = nn.Sequential(nn.Conv2D(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(200, 4))
    for call in (lambda p: p.logits(x), lambda p: p.gradients(x, ClassScore(0))):
        call(Probe(model))
    tensor = paddle.to_tensor(given, stop_gradient=False)
    Probe(model).gradients(tensor, ClassScore(0))
    assert tensor.grad is None
    assert not tensor.stop_gradient
    np.testing.assert_array_equal(tensor.numpy(), given)


def test_state_of_notices() -> None:
    """The instrument itself."""
    changes: dict[str, Callable[[Any], Any]] = {
        "training": lambda m: setattr(m[1], "training", not m[1].training),
        "values of": lambda m: m[0].bias.set_value(m[0].bias + 1),
        "stop_gradient": lambda m: setattr(m[0].bias, "stop_gradient", True),
        "grad": lambda m: m[0].bias.sum().backward(),
        "_forward_post_hooks": lambda m: m[0].register_forward_post_hook(lambda *a: None),
        "_forward_pre_hooks": lambda m: m.register_forward_pre_hook(lambda *a: None),
        "forward": lambda m: setattr(m[0], "forward", lambda x: x),
        "_sub_layers": lambda m: m.add_sublayer("more", nn.ReLU()),
        "paddle's random": lambda m: paddle.rand([1]),
        "numpy's random": lambda m: np.random.random(),  # noqa: NPY002  # the one to be noticed
        "default dtype": lambda m: paddle.set_default_dtype("float64"),
    }
    for what, change in changes.items():
        model = small_network()
        before = state_of(model)
        assert differences(before, state_of(model)) == []
        try:
            change(model)
            found = differences(before, state_of(model))
        finally:
            paddle.set_default_dtype("float32")
        assert any(what in name for name in found), (what, found)


WITHOUT_PYPLOT = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from interpretdl import registry
from interpretdl.testing import small_network, small_transformer
networks = {False: small_network(), True: small_transformer()}
x = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype("float32")
small = {"n_samples": 2, "nsamples": 2, "num_samples": 20, "steps": 2}
small |= {"evaluations": 40, "regions": 2, "strides": 2}
for info in registry.methods().values():
    model = networks[info.needs_attention]
    options = {k: v for k, v in small.items() if k in info.options}
    method = info.cls(model, **(info.setup(model, x) if info.setup else {}))
    method.interpret(x, visual=False, save_path=[sys.argv[1], None], **options)
    assert "matplotlib.pyplot" not in sys.modules, info.name
    if info.name == "gradient":
        method.explain(x).plot()
assert "matplotlib.figure" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""


def test_pyplot_is_not_imported(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYPLOT, str(tmp_path / "map.npz")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
