"""What is measured of interpretdl: each method once, ready to run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import interpretdl as it

from .inputs import LAYERS, WINDOWS, model_of
from .worker import Work

ATTENTION = ("rollout", "generic_attention", "attention_gradient")
CAMS = ("grad_cam", "grad_cam_plus_plus", "layer_cam")
LRP = {
    "lrp_epsilon": {"gradient": 1},
    "lrp_epsilon_plus": {"gradient": 1, "forward": 1},
    "lrp_epsilon_alpha2_beta1": {"gradient": 2, "forward": 1},
    "lrp_epsilon_gamma_box": {"gradient": 2, "forward": 1},
    "lrp_attn_lrp": {"gradient": 1},
    "lrp_cp_lrp": {"gradient": 1},
}
"""Passes an image where inputs are not negative: the layers' own forward pass, and one forward and
one backward pass through each changed weight: one for z⁺, two for αβ and for γ."""


def prepared(folder: Path, case: dict[str, Any], threads: int) -> Work:
    """The case's method on its inputs, with the passes that it needs."""
    given = np.load(folder / "inputs.npz")
    model, n = model_of(case["model"], folder), case["batch"]
    x, target = given["x"][:n], it.ClassScore(given["labels"][:n])
    method, samples = case["method"], case["samples"]
    layer = LAYERS[case["model"]]

    def attribution(name: str, passes: dict[str, float], **options: Any) -> Work:
        interpreter = it.registry.find(name).cls(model)
        run = partial(interpreter.attribute, x, target, **options)
        return Work(lambda: values(run()), lambda: {"passes": passes})

    if method in CAMS:
        return attribution(method, {"forward": n}, target_layer_name=layer)
    if method in LRP:
        passes = {kind: count * n for kind, count in LRP[method].items()}
        return attribution("lrp", passes, composite=method.removeprefix("lrp_"))
    if method in ("gradient", "guided_bp", *ATTENTION):
        return attribution(method, {"gradient": n})
    if method == "deep_lift":
        return attribution(method, {"gradient": n, "forward": n})
    if method == "integrated_gradients":
        return attribution(method, {"gradient": n * samples}, steps=samples)
    if method == "smooth_grad":
        return attribution(method, {"gradient": n * samples}, n_samples=samples)
    if method == "expected_gradients":
        interpreter = it.ExpectedGradientsInterpreter(model, given["x"])
        run = partial(interpreter.attribute, x, target, nsamples=samples)
        return Work(lambda: values(run()), lambda: {"passes": {"gradient": n * samples}})
    return SPECIAL[method](model, {**given, "batch": n}, samples, layer)


def values(found: Any) -> Any:
    """The array of what `attribute` gives."""
    return found.values if isinstance(found, it.Attribution) else found


def _explained(model: Any, given: Any, samples: int, layer: str) -> Work:
    """`explain` of one picture: class, layer, map and its size."""
    interpreter = it.GradCAMInterpreter(model)
    run = partial(interpreter.explain, given["x"][:1])
    return Work(lambda: run().heatmap(), lambda: {"passes": {"forward": 1}})


def _channels(name: str, counted: str, kind: str) -> Callable[..., Work]:
    """Score-CAM and Ablation-CAM, of the layer's first channels."""

    def make(model: Any, given: Any, samples: int, layer: str) -> Work:
        interpreter = it.registry.find(name).cls(model)
        found = []

        def run() -> Any:
            found[:] = [
                interpreter.attribute(
                    given["x"][:1],
                    it.ClassScore(given["labels"][:1]),
                    target_layer_name=layer,
                    reshape_transform=lambda a: a[:, :samples],
                )
            ]
            return found[0].values

        return Work(
            run, lambda: {"passes": {kind: float(found[0].diagnostics[counted][0])} if kind else {}}
        )

    return make


def _deletion(model: Any, given: Any, samples: int, layer: str) -> Work:
    evaluator, n = it.Deletion(model, steps=samples, gradient_of="logit"), given["batch"]
    heat = np.broadcast_to(given["heat"], (n, *given["heat"].shape[1:]))
    run = partial(evaluator.measure, given["x"][:n], heat, given["labels"][:n])
    passes = {"program": n * (samples + 1)}
    return Work(lambda: run().curves["deletion"], lambda: {"passes": passes})


def _complete(model: Any, given: Any, samples: int, layer: str) -> Work:
    """Integrated gradients to a completeness error of 1 %, from a few steps on."""
    interpreter = it.IntegratedGradientsInterpreter(model)
    found = []

    def run() -> Any:
        target = it.ClassScore(given["labels"][:1])
        found[:] = [interpreter.attribute(given["x"][:1], target, steps=samples, tolerance=0.01)]
        return found[0].values

    def facts() -> dict[str, Any]:
        steps = int(found[0].diagnostics["steps"][0])
        error = float(found[0].diagnostics["completeness_error"][0])
        return {"passes": {"gradient": steps, "forward": 2}, "steps": steps, "error": error}

    return Work(run, facts)


def _dissection(model: Any, given: Any, samples: int, layer: str) -> Work:
    """Two passes over a data set: thresholds and strongest images, then counting."""
    folder = Path(tempfile.mkdtemp())
    data = it.dissection.Broden(it.dissection.mini_broden(folder / "data", scenes=samples))

    def run() -> Any:
        it.dissection.dissect(model, data, layer, folder / "out", restart=True, report=False)
        return np.load(folder / "out" / f"{layer}-thresholds.npz")["thresholds"]

    return Work(run, lambda: {"passes": {"program": 2 * len(data)}})


def _occlusion(model: Any, given: Any, samples: int, layer: str) -> Work:
    """Square windows at half their side, as many as `samples`."""
    side, stride = WINDOWS[samples]
    run = partial(
        it.OcclusionInterpreter(model).attribute,
        given["x"][:1], it.ClassScore(given["labels"][:1]),
        sliding_window_shapes=(3, side, side), strides=(3, stride, stride),
    )  # fmt: skip
    return Work(lambda: run().values, lambda: {"passes": {"program": samples + 1}})


def _of_regions(name: str, **options: Any) -> Callable[..., Work]:
    """A method that draws samples of 7×7 cells, or of RISE's, to a budget."""

    def make(model: Any, given: Any, samples: int, layer: str) -> Work:
        run = partial(
            it.registry.find(name).cls(model).attribute, given["x"][:1],
            it.ClassScore(given["labels"][:1]), evaluations=samples, **options,
        )  # fmt: skip
        return Work(lambda: run().values, lambda: {"passes": {"program": samples}})

    return make


SPECIAL: dict[str, Callable[..., Work]] = {
    "grad_cam_explain": _explained,
    "score_cam": _channels("score_cam", "forwards", "program"),
    "ablation_cam": _channels("ablation_cam", "ablations", ""),
    "deletion": _deletion,
    "dissection": _dissection,
    "completeness": _complete,
    "occlusion": _occlusion,
    "lime": _of_regions("lime", regions=7, fill="mean"),
    "kernel_shap": _of_regions("kernel_shap", regions=7),
    "shapley_sampling": _of_regions("shapley_sampling", regions=7),
    "rise": _of_regions("rise"),
}
