"""What must hold of a method on a model that is not refused; see `docs/models.md`."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle.nn.layer.norm import _BatchNormBase

import interpretdl as it
from interpretdl import Probe
from interpretdl.errors import InterpretWarning, UnsupportedModelError
from interpretdl.probe import Spatial
from interpretdl.rules import COMPOSITES
from tests.probes import attributed

CAMS = (
    *("grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam", "xgrad_cam", "eigen_cam"),
    *("score_cam", "ablation_cam"),  # a run for each channel
)
LRP = (
    *("epsilon_gamma_box", "epsilon", "epsilon_plus", "epsilon_alpha2_beta1", "z_plus_box"),
    *("attn_lrp", "cp_lrp"),
)
RELU = {"guided": it.GuidedBPInterpreter, "deconvnet": it.DeconvnetInterpreter}
COLUMNS = ("CAMs", *LRP, *RELU, "deep_lift")


@dataclass
class Case:
    """A model, images, a label for each: the first one's best class, the second's second best.

    Attributes:
        large: it is not run once for each channel.
    """

    model: Any
    x: Any
    output: int | None = None
    large: bool = False

    def __post_init__(self) -> None:
        order = np.argsort(-Probe(self.model, output=self.output).logits(self.x), axis=1)
        self.labels = order.diagonal().copy()

    def options(self, batch_size: int = 2) -> dict[str, Any]:
        return {"output": self.output, "batch_size": batch_size}


def take_statistics(model: Any, x: Any, rng: Any) -> None:
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


def _upright(probe: Probe, layer: str, grid: Any, x: Any) -> bool:
    """Whether each quarter of the grid is moved most by a change of the picture's same quarter."""
    rng = np.random.default_rng(0)
    x = rng.choice(x.ravel(), (24, *x.shape[1:]))

    def quarters_of(shape: Any) -> Any:
        rows, columns = [(slice(s // 2), slice(s - s // 2, s)) for s in shape]
        return [np.s_[..., i, j] for i in rows for j in columns]

    quarters, parts = quarters_of((grid.height, grid.width)), quarters_of(x.shape[2:])

    def maps(x: Any) -> Any:
        return grid.maps(probe.forward(x, layers=layer).activations[layer])

    before, moved = maps(x), []
    for part in parts:
        changed = x.copy()
        changed[part] = rng.permuted(x[part], axis=0)
        apart = np.abs(maps(changed) - before)
        moved.append([apart[quarter].sum() for quarter in quarters])
    shares = np.array(moved) / np.sum(moved, axis=1, keepdims=True)
    return bool(shares.argmax(axis=0).tolist() == [0, 1, 2, 3])


def cams(case: Case) -> None:
    """A layer is found whose grid lies on the picture as the picture does; no map is empty."""
    probe, target = Probe(case.model, **case.options()), it.ClassScore(case.labels)
    found = probe.gradients(case.x, target, at=Spatial())
    (layer,) = found.activations
    grid = found.grids[layer]
    assert min(grid.height, grid.width) > 1

    if grid.kind != "first":  # else the layer itself has rows and columns
        assert _upright(probe, layer, grid, case.x)
    for name in CAMS[:3] if case.large else CAMS:
        method = it.registry.find(name).cls(case.model, **case.options())
        result = attributed(method, case.x, case.labels)
        assert result.diagnostics["layers"] == [layer], name
        size = case.x.shape[2:] if name == "score_cam" else (grid.height, grid.width)
        assert result.values.shape == (len(case.x), *size), name
        assert np.isfinite(result.values).all(), name
        assert result.values.any(), name


def lrp(case: Case, composite: str) -> None:
    """All relevance arrives; or what biases and stabilizers absorb is all that is missing."""
    interpreter = it.LRPInterpreter(case.model, **case.options())
    if COMPOSITES[composite].conserves:
        found = attributed(interpreter, case.x, case.labels, composite=composite)
        assert np.isfinite(found.values).all()
        total, start = found.values.sum((1, 2, 3)), found.diagnostics["score"]
        np.testing.assert_allclose(total, start, rtol=1e-2)
        return
    audit = interpreter.audit(case.x, case.labels, composite=composite)
    assert np.all(audit.input != 0)
    assert np.isfinite(audit.input).all()
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


def relus(case: Case, rule: str) -> None:
    """No ReLU hands back anything negative, and there are as many as really ran."""
    probe, x, labels = Probe(case.model, **case.options()), case.x, case.labels
    interpreter = RELU[rule](case.model, **case.options())
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


def deep_lift(case: Case) -> None:
    """The sum is the difference of the scores."""
    interpreter = it.DeepLIFTInterpreter(case.model, **case.options(4))
    found = attributed(interpreter, case.x, case.labels)
    assert np.isfinite(found.values).all()
    assert np.max(found.diagnostics["completeness_error"]) < 1e-3


def outcome(case: Case, column: str) -> str:
    """ "works", or why the model is refused."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", InterpretWarning)
            warnings.filterwarnings("ignore", "stabilizers keep")  # α2β1 in deep networks
            if column == "CAMs":
                cams(case)
            elif column in LRP:
                lrp(case, column)
            elif column in RELU:
                relus(case, column)
            else:
                deep_lift(case)
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


def row(name: str, case: Case) -> str:
    """A line of the page's table."""
    return f"| `{name}` | " + " | ".join(outcome(case, column) for column in COLUMNS) + " |"
