"""What is measured, against what, and which part of it is the goal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch

MODELS = ("efficientnet_lite0", "resnet50", "vgg16", "deit_tiny_patch16_224")


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Args:
        method: what runs, a name in `ours` and, where there is a peer, in `peers`.
        model: of the zoo.
        batch: images at once.
        samples: steps, noisy copies, channels; whatever the method takes many of.
        peer: the library that does the same; "" for none.
        goal: the largest part of the peer's time that meets the goal; 0 for no goal.
        floor: the same for the floor's time.
        alike: whether both compute the same map; else they are only correlated, because they draw
            their own noise or define the method differently.
    """

    method: str
    model: str
    batch: int = 1
    samples: int = 0
    peer: str = ""
    goal: float = 0.0
    floor: float = 1.05
    alike: bool = True

    @property
    def name(self) -> str:
        """Unique, and what --only chooses by."""
        parts = [self.model, self.method]
        parts += [f"{self.samples}"] if self.samples else []
        parts += [f"batch {self.batch}"] if self.batch > 1 else []
        return ", ".join(parts)


def cases(quick: bool, only: str | None) -> list[Case]:
    """Those whose name fits the pattern, in the table's order."""
    models = ("efficientnet_lite0",) if quick else MODELS
    found = [case for model in models for case in _of(model, quick)]
    return [case for case in found if only is None or fnmatch(case.name, f"*{only}*")]


def _of(model: str, quick: bool) -> Iterator[Case]:
    if model.startswith("deit"):
        yield from _of_transformer(model)
        return
    small, large = model == "efficientnet_lite0", model == "vgg16"
    many = 16 if quick or large else 50
    channels = 48 if quick or large else 640 if small else 64
    cam = "pytorch-grad-cam"
    yield Case("gradient", model, 8, 0, "captum", 1.0)
    # captum's guided backpropagation knows nn.ReLU only.
    yield Case("guided_bp", model, 8, 0, "" if small else "captum")
    yield Case("grad_cam_explain", model, 1, 0, cam, 0.5, 1.5, alike=False)
    yield Case("grad_cam", model, 8, 0, cam, 0.5, 1.1, alike=False)
    for rule in ("epsilon_plus", "epsilon_alpha2_beta1", "epsilon_gamma_box"):
        for batch in (1, 8) if small and not quick else (1,):
            yield Case(f"lrp_{rule}", model, batch, 0, "zennit", 0.5)
    yield Case("integrated_gradients", model, 1, many, "captum", 1.0)
    yield Case("completeness", model, 1, 4, "captum", 0.8, alike=False)
    yield Case("score_cam", model, 1, channels, cam, 0.5, alike=False)
    few = 64 if quick or large else 512
    yield Case("occlusion", model, 1, 49 if quick or large else 169, "captum", 0.5, 1.1)
    for name in ("lime", "kernel_shap", "shapley_sampling"):
        yield Case(name, model, 1, few, "captum", 1.0, 1.1, alike=False)
    yield Case("rise", model, 1, few, "", 0.0, 1.1)
    if large:
        return
    yield Case("smooth_grad", model, 1, many, "captum", 1.0, alike=False)
    yield Case("expected_gradients", model, 1, 16, "SHAP", alike=False)
    yield Case("ablation_cam", model, 1, channels, cam, 0.5, 0.0, alike=False)
    yield Case("deletion", model, 8 if small else 4, 20, "torch", 0.5)
    yield Case("dissection", model, 1, 32 if quick else 48, floor=2.0)


def _of_transformer(model: str) -> Iterator[Case]:
    """Their floor is one gradient, the forward pass included."""
    yield Case("gradient", model, 8)
    for rule in ("attn_lrp", "cp_lrp"):
        for batch in (1, 8):
            yield Case(f"lrp_{rule}", model, batch, floor=2.5)
    for method in ("rollout", "generic_attention", "attention_gradient"):
        yield Case(method, model, 8, floor=1.3)


_PASSES = "Paddle's own passes take nearly all of it: the floor is above the goal or close to it."
_LAYERS = (
    "copying the model's layers, meeting each of them and making the picture come on top of one "
    "forward pass, and do not grow with the network: 10 to 40 ms."
)
_RULES = (
    "the floor is without what rules do besides passes: changed weights, stabilizers, and sums and "
    "quotients of each layer's output."
)
REASONS: dict[tuple[str, str, str], str] = {
    ("gradient", "*", "peer"): (
        "Paddle's layers: the floor by itself is no faster than torch. One batch is not worth a "
        "program, which is faster than torch, see integrated gradients."
    ),
    ("gradient", "*", "floor"): "the first image alone, in which is learned how many fit.",
    ("guided_bp", "*", "floor"): "rules for each ReLU, and the first image alone.",
    ("grad_cam_explain", "*", "peer"): f"{_PASSES} Besides, {_LAYERS}",
    ("grad_cam_explain", "*", "floor"): _LAYERS,
    ("grad_cam", "*", "peer"): _PASSES,
    ("grad_cam", "*", "floor"): f"the first image alone; {_LAYERS}",
    ("integrated_gradients", "vgg16", "peer"): (
        "16 gradients are too few for a program, which pays from 20 and takes .7 of the layers' "
        "time on this network; the layers take 1.5 times as long as torch's."
    ),
    ("integrated_gradients", "vgg16", "floor"): "the floor is by a program, see above.",
    ("integrated_gradients", "*", "peer"): (
        "the program takes 190 to 200 ms a gradient of ResNet-50, 85 % of the time; the rest is "
        "the first gradient and the program's check, by the layers."
    ),
    ("completeness", "*", "floor"): (
        "few nodes are asked for at once, and a program is held against the layers first."
    ),
    ("smooth_grad", "*", "peer"): "as for integrated gradients.",
    ("deletion", "*", "peer"): (
        "84 passes are too few for a program, which pays from about a hundred of this network; the "
        "layers take as long as torch's."
    ),
    ("deletion", "*", "floor"): (
        "pixels are sorted and pictures made with NumPy, and the program is held against the "
        "layers for each call."
    ),
    ("dissection", "*", "floor"): (
        "the floor is by a program. 96 passes are too few for one: by the layers they take 80 % of "
        "the time; the rest are masks at the labels' size, thresholds and files."
    ),
    ("occlusion", "*", "floor"): (
        "making the pictures and all else take 8 % of the time; the rest is chance: the same "
        "program is up to a tenth faster or slower from process to process, compare kernel_shap."
    ),
    ("occlusion", "resnet50", "peer"): (
        "nearly all of it is the program's passes, which on this network are a quarter faster than "
        "torch's."
    ),
    ("score_cam", "*", "floor"): "masks are made and laid over the picture for every channel.",
    ("score_cam", "*", "peer"): (
        "with so few channels the layers run: a program pays from about a hundred passes of this "
        "network, see the lines of other models."
    ),
}
for _name in ("lime", "kernel_shap", "shapley_sampling", "rise"):
    REASONS[_name, "*", "floor"] = "as for occlusion."
for _rule in ("epsilon_plus", "epsilon_alpha2_beta1", "epsilon_gamma_box"):
    REASONS[f"lrp_{_rule}", "*", "floor"] = _RULES
    REASONS[f"lrp_{_rule}", "efficientnet_lite0", "peer"] = (
        "Paddle's depthwise convolutions take a sixth to a quarter of the time, forward alone; "
        "torch's 5 × 5 ones are 3 to 10 times as fast. No program runs with rules."
    )
    REASONS[f"lrp_{_rule}", "*", "peer"] = (
        "Paddle's passes are 1.1 to 1.3 times as long as torch's, see gradient."
    )
"""(method, model or "*", "peer" or "floor") -> why a goal is missed, from profiles."""


def reason(case: Case, against: str) -> str:
    """Why the case misses its goal, where it is known."""
    for model in (case.model, "*"):
        if text := REASONS.get((case.method, model, against)):
            return text
    return ""
