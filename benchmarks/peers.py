"""The same methods by the libraries of torch: captum, zennit, pytorch-grad-cam, SHAP.

Runs in an environment of its own that has them, and not interpretdl. The networks are
torchvision's, EfficientNet-Lite0 is written out; weights and inputs come in files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .worker import Work

# torch and torchvision are often of different builds; networks need none of its operators.
_operators = torch.library.Library("torchvision", "FRAGMENT")
for _name in ("nms", "qnms"):
    with contextlib.suppress(RuntimeError):  # it is there
        _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
# ruff: noqa: E402  after the operators
import pytorch_grad_cam
import torchvision
import zennit.composites
import zennit.torchvision
from captum import attr
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from zennit.attribution import Gradient
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.layer import Sum

BATCH = 8
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
          (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))  # fmt: skip


class _Same(nn.Conv2d):
    """TensorFlow's padding: the odd pixel goes below and to the right."""

    def forward(self, x: Any) -> Any:
        kernel, stride = self.kernel_size[0], self.stride[0]
        total = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[:1:-1]]
        x = F.pad(x, [part for n in total for part in (n // 2, n - n // 2)])
        return self._conv_forward(x, self.weight, self.bias)


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expands, self.adds = expansion != 1, stride == 1 and inputs == outputs
        if self.expands:
            self.expand_conv = _Same(inputs, width, 1, bias=False)
            self.bn0, self.relu0 = nn.BatchNorm2d(width, 1e-3), nn.ReLU6()
        self.depthwise_conv = _Same(width, width, kernel, stride, groups=width, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm2d(width, 1e-3), nn.ReLU6()
        self.project_conv = _Same(width, outputs, 1, bias=False)
        self.bn2, self.sum = nn.BatchNorm2d(outputs, 1e-3), Sum()

    def forward(self, x: Any) -> Any:
        y = self.relu0(self.bn0(self.expand_conv(x))) if self.expands else x
        y = self.bn2(self.project_conv(self.relu1(self.bn1(self.depthwise_conv(y)))))
        return self.sum(torch.stack([y, x], dim=-1)) if self.adds else y


class _EfficientNetLite0(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = _Same(3, 32, 3, 2, bias=False)
        self.bn0, self.relu0 = nn.BatchNorm2d(32, 1e-3), nn.ReLU6()
        blocks, channels = [], 32
        for repeats, kernel, stride, expansion, outputs in STAGES:
            for i in range(repeats):
                blocks.append(_Block(channels, outputs, kernel, 1 if i else stride, expansion))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = _Same(channels, 1280, 1, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm2d(1280, 1e-3), nn.ReLU6()
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(1280, 1000)

    def forward(self, x: Any) -> Any:
        x = self.blocks(self.relu0(self.bn0(self.conv_stem(x))))
        return self.fc(self.avgpool(self.relu1(self.bn1(self.conv_head(x)))).flatten(1))


MODELS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], Any]] = {
    "resnet50": (
        torchvision.models.resnet50, lambda m: m.layer4[-1], zennit.torchvision.ResNetCanonizer
    ),
    "vgg16": (
        torchvision.models.vgg16, lambda m: m.features[29], zennit.torchvision.VGGCanonizer
    ),
    "efficientnet_lite0": (_EfficientNetLite0, lambda m: m.relu1, SequentialMergeBatchNorm),
}  # fmt: skip
COMPOSITES = {
    "lrp_epsilon_plus": "EpsilonPlus",
    "lrp_epsilon_alpha2_beta1": "EpsilonAlpha2Beta1",
    "lrp_epsilon_gamma_box": "EpsilonGammaBox",
}
CAMS = {
    "grad_cam": "GradCAM",
    "grad_cam_explain": "GradCAM",
    "grad_cam_plus_plus": "GradCAMPlusPlus",
    "layer_cam": "LayerCAM",
    "score_cam": "ScoreCAM",
    "ablation_cam": "AblationCAM",
}


def prepared(folder: Path, case: dict[str, Any], threads: int) -> Work:
    """The case's method by its peer."""
    torch.set_num_threads(threads)
    build, layer, canonizer = MODELS[case["model"]]
    model = build().eval()
    model.load_state_dict(_state(model, np.load(folder / "weights.npz")))
    model.requires_grad_(False)
    given = {
        name: torch.from_numpy(array) for name, array in np.load(folder / "inputs.npz").items()
    }
    method, n, samples = case["method"], case["batch"], case["samples"]
    x, labels = given["x"][:n], given["labels"][:n]
    if method in COMPOSITES:
        return Work(_lrp(model, x, labels, given, COMPOSITES[method], canonizer()))
    if method in CAMS:
        cam = _cam(model, layer(model), CAMS[method], samples)
        targets = None
        if method != "grad_cam_explain":
            targets = [ClassifierOutputTarget(int(label)) for label in labels]
        return Work(lambda: cam(x, targets))
    return METHODS[method](model, x, labels, given, samples)


def _state(model: Any, arrays: Any) -> dict[str, Any]:
    """Paddle's names and shapes in torch's."""
    state = model.state_dict()
    for name in state:
        if name.endswith("num_batches_tracked"):
            continue
        theirs = name.replace("running_mean", "_mean").replace("running_var", "_variance")
        array = torch.from_numpy(arrays[theirs])
        state[name] = array.T.contiguous() if array.ndim == 2 else array
    return state


def _lrp(model: Any, x: Any, labels: Any, given: Any, name: str, canonizer: Any) -> Any:
    box = {"low": given["low"], "high": given["high"]} if name.endswith("Box") else {}
    composite = getattr(zennit.composites, name)(canonizers=[canonizer], **box)
    one_hot = F.one_hot(labels, 1000)

    def run() -> Any:
        with Gradient(model, composite) as attributor:
            return attributor(x, lambda output: output * one_hot)[1]

    return run


def _cam(model: Any, layer: Any, name: str, samples: int) -> Any:
    some = {"reshape_transform": lambda a: a[:, :samples]} if samples else {}
    model.requires_grad_(True)  # pytorch-grad-cam calls backward
    cam = getattr(pytorch_grad_cam, name)(model=model, target_layers=[layer], **some)
    cam.batch_size = BATCH
    return cam


def _gradient(model: Any, x: Any, labels: Any, given: Any, samples: int) -> Work:
    saliency = attr.Saliency(model)
    return Work(lambda: saliency.attribute(x, labels, abs=False).detach())


def _not_in_place(model: Any) -> Any:
    for module in model.modules():
        if isinstance(module, nn.ReLU | nn.ReLU6):
            module.inplace = False
    return model


def _guided(model: Any, x: Any, labels: Any, given: Any, samples: int) -> Work:
    guided = attr.GuidedBackprop(_not_in_place(model))
    return Work(lambda: guided.attribute(x, labels).detach())


def _deep_lift(model: Any, x: Any, labels: Any, given: Any, samples: int) -> Work:
    method, black = attr.DeepLift(_not_in_place(model)), given["low"].expand_as(x)
    return Work(lambda: method.attribute(x, black, labels).detach())


def _path(model: Any, x: Any, labels: Any, given: Any, samples: int) -> Work:
    run = partial(
        attr.IntegratedGradients(model).attribute, x, given["low"].expand_as(x), labels,
        n_steps=samples, method="riemann_middle", internal_batch_size=BATCH,
    )  # fmt: skip
    return Work(lambda: run().detach())


def _noise(model: Any, x: Any, labels: Any, given: Any, samples: int) -> Work:
    deviation = float(0.1 * (x.max() - x.min()))
    run = partial(
        attr.NoiseTunnel(attr.Saliency(model)).attribute, x, nt_type="smoothgrad",
        nt_samples=samples, nt_samples_batch_size=BATCH, stdevs=deviation, target=labels, abs=False,
    )  # fmt: skip
    return Work(lambda: run().detach())


def _expected(model: Any, x: Any, labels: Any, given: Any, samples: int) -> Work:
    import shap

    explainer = shap.GradientExplainer(model, given["x"], batch_size=BATCH)

    def run() -> Any:
        found, _ = explainer.shap_values(x, nsamples=samples, ranked_outputs=1, rseed=0)
        return np.asarray(found)[..., 0]

    return Work(run)


def _deletion(model: Any, x: Any, labels: Any, given: Any, samples: int) -> Work:
    """Written out, as no peer has it: pixels become the mean colour, most relevant first."""
    order = given["heat"].flatten().argsort(descending=True, stable=True)
    ends = np.rint(np.linspace(0, len(order), samples + 1)).astype(int)

    def curve(image: Any, label: Any) -> Any:
        mean, scores = image.mean(dim=(1, 2)), []
        for some in np.split(ends, range(BATCH, len(ends), BATCH)):
            images = image.flatten(1).repeat(len(some), 1, 1)
            for one, end in zip(images, some, strict=True):
                one[:, order[:end]] = mean[:, None]
            scores.append(model(images.reshape(-1, *image.shape))[:, label])
        return torch.cat(scores)

    def run() -> Any:
        with torch.no_grad():
            return torch.stack([curve(*pair) for pair in zip(x, labels, strict=True)])

    return Work(run)


def _complete(model: Any, x: Any, labels: Any, given: Any, samples: int) -> Work:
    """captum has no tolerance: twice as many steps until its own error is below 1 %."""
    method, black = attr.IntegratedGradients(model), given["low"].expand_as(x)
    with torch.no_grad():
        rise = float((model(x) - model(black))[0, labels[0]])
    taken = []

    def run() -> Any:
        steps, error = samples, 1.0
        while error > 0.01 and steps < 2000:
            found, delta = method.attribute(
                x, black, labels, n_steps=steps, internal_batch_size=BATCH,
                return_convergence_delta=True,
            )  # fmt: skip
            error = abs(float(delta) / rise)
            taken[:] = [steps, error]
            steps *= 2
        return found.detach()

    return Work(run, lambda: {"steps": taken[0], "error": taken[1]})


def _occlusion(model: Any, x: Any, labels: Any, given: Any, samples: int) -> Work:
    side, stride = {169: (32, 16), 49: (32, 32)}[samples]
    run = partial(
        attr.Occlusion(model).attribute, x, (3, side, side), (3, stride, stride), 0.0, labels,
        perturbations_per_eval=BATCH,
    )  # fmt: skip
    return Work(lambda: run().detach())


def _of_regions(name: str, **options: Any) -> Callable[..., Work]:
    """captum's methods on 7×7 cells; a permutation of ShapleyValueSampling is 49 evaluations."""

    def make(model: Any, x: Any, labels: Any, given: Any, samples: int) -> Work:
        cells = (torch.arange(224) * 7 // 224).long()
        mask = (cells[:, None] * 7 + cells)[None, None]
        base = x.mean(dim=(2, 3), keepdim=True).expand_as(x)
        taken = max(1, samples // 49) if name == "ShapleyValueSampling" else samples
        run = partial(
            getattr(attr, name)(model).attribute, x, base, labels, feature_mask=mask,
            n_samples=taken, perturbations_per_eval=BATCH, **options,
        )  # fmt: skip
        return Work(lambda: run().detach())

    return make


METHODS: dict[str, Callable[..., Work]] = {
    "gradient": _gradient,
    "guided_bp": _guided,
    "deep_lift": _deep_lift,
    "integrated_gradients": _path,
    "smooth_grad": _noise,
    "expected_gradients": _expected,
    "deletion": _deletion,
    "completeness": _complete,
    "occlusion": _occlusion,
    "lime": _of_regions("Lime"),
    "kernel_shap": _of_regions("KernelShap"),
    "shapley_sampling": _of_regions("ShapleyValueSampling"),
}
