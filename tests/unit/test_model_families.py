"""What works on Paddle's classifiers: LRP conserves, every ReLU is met, DeepLIFT is complete; or
the model is refused. `docs/models.md` says which; `python tests/unit/test_model_families.py` makes
it.

Weights are random, batch-norm's statistics those of a batch: every layer has something to say.
"""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle.nn.layer.norm import _BatchNormBase
from paddle.vision import models

import interpretdl as it
from interpretdl import Preprocessing, Probe
from interpretdl.errors import InterpretWarning, UnsupportedModelError
from interpretdl.rules import COMPOSITES
from tests.probes import attributed

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
BIG = ("alexnet", "googlenet", "wide_resnet50_2", "vgg16")  # one image will do
# Shuffled channels, gates, fused and functional ReLUs, branches: at the smallest size each takes.
FAMILIES: dict[str, tuple[Callable[..., Any], int]] = {
    **{
        name: (getattr(models, name), size)
        for name, size in {
            "LeNet": 28,
            "alexnet": 224,
            "densenet121": 64,
            "googlenet": 224,
            "inception_v3": 96,
            "mobilenet_v1": 64,
            "mobilenet_v2": 64,
            "mobilenet_v3_small": 64,
            "mobilenet_v3_large": 64,
            "resnet18": 64,
            "resnext50_32x4d": 32,
            "wide_resnet50_2": 32,
            "shufflenet_v2_x1_0": 64,
            "shufflenet_v2_swish": 64,
            "squeezenet1_1": 64,
            "vgg16": 32,
        }.items()
    },
    "lrp_model.resnet18": (it.lrp_model.resnet18, 64),
    "lrp_model.efficientnet_lite0": (it.lrp_model.efficientnet_lite0, 64),
}
LRP = ("epsilon_gamma_box", "epsilon", "epsilon_plus", "epsilon_alpha2_beta1", "z_plus_box")
RELU = {"guided": it.GuidedBPInterpreter, "deconvnet": it.DeconvnetInterpreter}
COLUMNS = (*LRP, *RELU, "deep_lift")


def build(name: str) -> tuple[Any, Any, Any]:
    """A model, images and labels for it: the first one's best class, the second's second best."""
    builder, size = FAMILIES[name]
    model = builder(num_classes=10)
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        shape = parameter.shape
        values = rng.standard_normal(shape, dtype=np.float32)
        if len(shape) > 1:
            fan = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]
            values *= np.float32(np.sqrt(2 / fan))
            parameter.set_value(values)
        else:  # a bias, or batch-norm's scale around 1
            parameter.set_value(parameter.numpy() + np.float32(0.1) * values)
    channels = 1 if name == "LeNet" else 3
    if channels == 1:
        model.preprocessing = Preprocessing(None, None, mean=(0.5,), std=(0.5,))
    low, high = getattr(model, "preprocessing", Preprocessing()).bounds()
    pixels = rng.random((2 - (name in BIG), channels, size, size), dtype=np.float32)
    x = (low + (high - low) * pixels).astype(np.float32)
    _take_statistics(model, x, rng)
    model.eval()
    order = np.argsort(-Probe(model, output=output_of(name)).logits(x), axis=1)
    return model, x, order.diagonal().copy()


def _take_statistics(model: Any, x: Any, rng: Any) -> None:
    """Batch-norm's mean and variance from a few images like x."""
    norms = [m for m in model.sublayers() if isinstance(m, _BatchNormBase | paddle.nn.BatchNorm)]
    if not norms:
        return
    more = np.concatenate([x, rng.permuted(x, axis=2), rng.permuted(x, axis=3)])
    model.train()
    kept = [norm._momentum for norm in norms]
    for norm in norms:
        norm._momentum = 0.0
    with paddle.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "When training, we now always track", UserWarning)
        model(paddle.to_tensor(more))
    for norm, momentum in zip(norms, kept, strict=True):
        norm._momentum = momentum


def output_of(name: str) -> int | None:
    return 0 if name == "googlenet" else None


# -- what must hold where a model is not refused ---------------------------------------------------


def lrp(name: str, model: Any, x: Any, labels: Any, composite: str) -> None:
    """All relevance arrives; or what biases and stabilizers absorb is all that is missing."""
    interpreter = it.LRPInterpreter(model, output=output_of(name), batch_size=2)
    found = attributed(interpreter, x, labels, composite=composite)
    assert np.isfinite(found.values).all()
    if COMPOSITES[composite].conserves:
        total, start = found.values.sum((1, 2, 3)), found.diagnostics["score"]
        np.testing.assert_allclose(total, start, rtol=1e-2)
        return
    audit = interpreter.audit(x, labels, composite=composite)
    assert np.all(audit.input != 0)
    flow = np.max([np.abs(s.arrived) for s in audit.seams], axis=0)
    missing = np.abs(audit.start - audit.absorbed - audit.input)
    assert np.all(missing <= 1e-3 * np.maximum(np.abs(audit.input), flow)), missing / flow


@contextlib.contextmanager
def watched_relus() -> Iterator[list[Any]]:
    """The gradients that arrive in front of every ReLU, however the model calls it."""
    seen: list[Any] = []
    places = [
        (module, operation, getattr(module, operation))
        for module in (paddle._C_ops, paddle._legacy_C_ops)
        for operation in ("relu", "relu6")
        if hasattr(module, operation)
    ]

    def watching(original: Any) -> Any:
        def run(x: Any, *args: Any, **kwargs: Any) -> Any:
            if not x.stop_gradient:
                x.register_hook(lambda g: seen.append(float(g.min())))
            return original(x, *args, **kwargs)

        return run

    for module, operation, original in places:
        setattr(module, operation, watching(original))
    try:
        yield seen
    finally:
        for module, operation, original in places:
            setattr(module, operation, original)


def relus(name: str, model: Any, x: Any, labels: Any, rule: str) -> None:
    """No ReLU hands back anything negative, and there are as many as really ran."""
    probe = Probe(model, output=output_of(name), batch_size=2)
    interpreter = RELU[rule](model, output=output_of(name), batch_size=2)
    census = probe.census(x)
    attributed(interpreter, x, labels)  # a first call looks at the model in a run of its own
    with watched_relus() as seen:
        found = attributed(interpreter, x, labels).values
        assert len(seen) == census["relu"] + census["relu6"] > 0
        assert min(seen) >= 0
        seen.clear()
        if rule == "guided":
            probe.gradients(x, it.ClassScore(labels))
            assert min(seen) < 0
    assert np.isfinite(found).all()
    assert found.any()


def deep_lift(name: str, model: Any, x: Any, labels: Any) -> None:
    """The sum is the difference of the scores."""
    interpreter = it.DeepLIFTInterpreter(model, output=output_of(name), batch_size=4)
    found = attributed(interpreter, x, labels)
    assert np.isfinite(found.values).all()
    assert np.max(found.diagnostics["completeness_error"]) < 1e-3


def outcome(name: str, model: Any, x: Any, labels: Any, column: str) -> str:
    """ "works", or why the model is refused."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", InterpretWarning)
            warnings.filterwarnings("ignore", "stabilizers keep")  # α2β1 in deep networks
            if column in LRP:
                lrp(name, model, x, labels, column)
            elif column in RELU:
                relus(name, model, x, labels, column)
            else:
                deep_lift(name, model, x, labels)
    except InterpretWarning as warning:
        return "biases keep a part" if "biases keep" in str(warning) else str(warning)
    except UnsupportedModelError as error:
        return f"refused: {reason(str(error))}"
    return "works"


def reason(message: str) -> str:
    if "has no ReLU" in message:
        return "no ReLU"
    operations = re.search(r"operations of the model: (.*?)\. A map", message)
    assert operations is not None, message
    return operations[1]


# -- the page -------------------------------------------------------------------------------------

HEADING = """# Which methods work on which models

Made by `python tests/unit/test_model_families.py`; the tests find the same on every run, with
random weights and images. *works* means:

- LRP: what is missing at the pixels is what biases and stabilizers absorbed, layer by layer. Under
  `z_plus_box`: the relevance of the pixels sums to the score within 1 %.
- guided backpropagation, deconvnet: every ReLU that ran, as a layer, as a function or fused into a
  batch-norm, was met.
- DeepLIFT: the contributions sum to the difference of the scores within 0.1 %.

*biases keep a part*: there are outputs that only a bias raises, where `z_plus_box` has no input to
give relevance to. A warning says how much of the score stays there, and `strict=True` refuses the
model. Whether there are such outputs depends on the weights and the image.

*refused* means an `UnsupportedModelError` that names the reason: better no map than a wrong one.
Gradients, class activation maps and everything that only needs gradients or scores work on all.

"""


def row(name: str, found: list[str]) -> str:
    return f"| `{name}` | " + " | ".join(found) + " |"


def heading() -> str:
    names = "| model | " + " | ".join(COLUMNS) + " |"
    return HEADING + names + "\n" + "|---" * (len(COLUMNS) + 1) + "|\n"


def outcomes(name: str) -> list[str]:
    model, x, labels = build(name)
    return [outcome(name, model, x, labels, column) for column in COLUMNS]


@pytest.mark.parametrize("name", FAMILIES)
def test_as_the_page_says(name: str) -> None:
    rows = PAGE.read_text("utf-8").splitlines()
    assert row(name, outcomes(name)) in rows


def test_the_page_has_every_family() -> None:
    page = PAGE.read_text("utf-8")
    assert page.startswith(heading())
    assert [line.split("`")[1] for line in page[len(heading()) :].splitlines()] == list(FAMILIES)
    families = {re.split(r"[\d_]", name.lower())[0] for name in FAMILIES}
    for name in models.__all__:
        assert any(name.lower().startswith(family) for family in families), name


if __name__ == "__main__":
    import time

    text = heading()
    for family in FAMILIES:
        start = time.perf_counter()
        text += row(family, outcomes(family)) + "\n"
        print(text.splitlines()[-1], f"{time.perf_counter() - start:.1f} s", file=sys.stderr)
    PAGE.write_text(text, "utf-8")
