"""What works on PaddleClas's model zoo: the last section of `docs/models.md`.

    make test-suites SUITE="paddleclas --only-install"
    .venv-suites/paddleclas/bin/python -m tests.suites.table    # all, half an hour
    .venv-suites/paddleclas/bin/python -m tests.suites.table VGG11 ViT_small_patch16_224

Weights are random, batch-norm's statistics those of a few images.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

import interpretdl as it
from tests.families import COLUMNS, RELU, Case, outcome, take_statistics
from tests.probes import attributed

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"

# Module of PaddleClas -> its smallest architectures, and the side of a picture that each takes.
FAMILIES: dict[str, dict[str, int]] = {
    "legendary_models.mobilenet_v1": {"MobileNetV1_x0_25": 64},
    "legendary_models.mobilenet_v3": {"MobileNetV3_small_x0_35": 64},
    "legendary_models.mobilenet_v4": {
        "MobileNetV4_conv_small": 64, "MobileNetV4_hybrid_medium": 64,
    },
    "legendary_models.resnet": {"ResNet18": 64, "ResNet18_vd": 64},
    "legendary_models.vgg": {"VGG11": 224},
    "legendary_models.inception_v3": {"InceptionV3": 96},
    "legendary_models.hrnet": {"HRNet_W18_C": 64},
    "legendary_models.pp_lcnet": {"PPLCNet_x0_25": 64},
    "legendary_models.pp_lcnet_v2": {"PPLCNetV2_small": 64},
    "legendary_models.esnet": {"ESNet_x0_25": 64},
    "legendary_models.pp_hgnet": {"PPHGNet_tiny": 64},
    "legendary_models.pp_hgnet_v2": {"PPHGNetV2_B0": 64},
    "legendary_models.swin_transformer": {"SwinTransformer_tiny_patch4_window7_224": 224},
    "model_zoo.adaface_ir_net": {"AdaFace_IR_18": 112},
    "model_zoo.alexnet": {"AlexNet": 224},
    "model_zoo.convnext": {"ConvNeXt_tiny": 64},
    "model_zoo.cspnet": {"CSPDarkNet53": 64},
    "model_zoo.cswin_transformer": {"CSWinTransformer_tiny_224": 224},
    "model_zoo.cvt": {"CvT_13_224": 64},
    "model_zoo.darknet": {"DarkNet53": 64},
    "model_zoo.densenet": {"DenseNet121": 64},
    "model_zoo.distilled_vision_transformer": {
        "DeiT_tiny_patch16_224": 224, "DeiT_tiny_distilled_patch16_224": 224,
    },
    "model_zoo.dla": {"DLA46_c": 64},
    "model_zoo.dpn": {"DPN68": 64},
    "model_zoo.dsnet": {"DSNet_tiny": 224},
    "model_zoo.efficientnet": {"EfficientNetB0_small": 64, "EfficientNetB0": 64},
    "model_zoo.efficientnet_v2": {"EfficientNetV2_S": 64},
    "model_zoo.fasternet": {"FasterNet_T0": 64},
    "model_zoo.foundation_vit": {"MOCOV3_vit_small": 224, "CLIP_vit_base_patch32_224": 224},
    "model_zoo.ghostnet": {"GhostNet_x0_5": 64},
    "model_zoo.googlenet": {"GoogLeNet": 224},
    "model_zoo.hardnet": {"HarDNet39_ds": 64},
    "model_zoo.inception_v4": {"InceptionV4": 96},
    "model_zoo.levit": {"LeViT_128S": 224},
    "model_zoo.micronet": {"MicroNet_M0": 64},
    "model_zoo.mixnet": {"MixNet_S": 224},
    "model_zoo.mobilefacenet": {"MobileFaceNet": 112},
    "model_zoo.mobilenet_v2": {"MobileNetV2_x0_25": 64},
    "model_zoo.mobilenext": {"MobileNeXt_x0_35": 64},
    "model_zoo.mobilevit": {"MobileViT_XXS": 64},
    "model_zoo.mobilevit_v2": {"MobileViTV2_x0_5": 64},
    "model_zoo.mobilevit_v3": {"MobileViTV3_XXS": 64, "MobileViTV3_x0_5": 64},
    "model_zoo.nextvit": {"NextViT_small_224": 64},
    "model_zoo.peleenet": {"PeleeNet": 64},
    "model_zoo.pvt_v2": {"PVT_V2_B0": 224},
    "model_zoo.rednet": {"RedNet26": 64},
    "model_zoo.regnet": {"RegNetX_200MF": 64},
    "model_zoo.repvgg": {"RepVGG_A0": 64},
    "model_zoo.res2net": {"Res2Net50_14w_8s": 64},
    "model_zoo.res2net_vd": {"Res2Net50_vd_26w_4s": 64},
    "model_zoo.resnest": {"ResNeSt50_fast_1s1x64d": 64},
    "model_zoo.resnet_vc": {"ResNet50_vc": 64},
    "model_zoo.resnext": {"ResNeXt50_32x4d": 64},
    "model_zoo.resnext101_wsl": {"ResNeXt101_32x8d_wsl": 32},
    "model_zoo.resnext_vd": {"ResNeXt50_vd_32x4d": 64},
    "model_zoo.rexnet": {"ReXNet_1_0": 64},
    "model_zoo.se_resnet_vd": {"SE_ResNet18_vd": 64},
    "model_zoo.se_resnext": {"SE_ResNeXt50_32x4d": 64},
    "model_zoo.se_resnext_vd": {"SE_ResNeXt50_vd_32x4d": 64},
    "model_zoo.shufflenet_v2": {"ShuffleNetV2_x0_25": 64, "ShuffleNetV2_swish": 64},
    "model_zoo.squeezenet": {"SqueezeNet1_1": 64},
    "model_zoo.starnet": {"StarNet_S1": 64},
    "model_zoo.svtrnet": {"SVTR_tiny": 64},
    "model_zoo.tinynet": {"TinyNet_E": 64},
    "model_zoo.tnt": {"TNT_small": 224},
    "model_zoo.twins": {"alt_gvt_small": 224, "pcpvt_small": 224},
    "model_zoo.uniformer": {"UniFormer_small": 224},
    "model_zoo.van": {"VAN_B0": 224},
    "model_zoo.vision_transformer": {"ViT_small_patch16_224": 224},
    "model_zoo.wideresnet": {"WideResNet": 64},
    "model_zoo.xception": {"Xception41": 64},
    "model_zoo.xception_deeplab": {"Xception41_deeplab": 64},
}  # fmt: skip
# What PaddleClas 2.6.0 itself cannot do with Paddle 3.
BROKEN = {
    "model_zoo.cae": "`cae_base_patch16_224` is not built (`KeyError: 'enable_linear_eval'`)",
    "model_zoo.swin_transformer_v2": "`SwinTransformerV2_…` is built and does not run (`NameError: "
    "output_dimensions`)",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "AdaFace_IR_18": {},
    "WideResNet": {"depth": 10, "widen_factor": 2, "dropout": 0.0, "num_classes": 10},
}
# With seed 0 Grad-CAM++, which is cut at zero, has nothing above it.
SEEDS = {"NextViT_small_224": 1, "CLIP_vit_base_patch32_224": 1}
SIZES = {name: side for family in FAMILIES.values() for name, side in family.items()}

TITLE = "## PaddleClas's model zoo"
HEADING = f"""
{TITLE}

Made by `python -m tests.suites.table`, with PaddleClas 2.6.0: its own definitions, the smallest of
each family, with random weights, 10 classes and one picture of random pixels. The columns mean what
they mean above; CAMs are tried with `grad_cam`, `grad_cam_plus_plus` and `hires_cam`.

*rounding* under `deep_lift`: float32 loses more than 0.1 % of the sum in this network, and in
float64 nothing is missing. *not complete*: with these weights contributions of both signs are so
much larger than the score that float64 does not do either. `diagnostics["completeness_error"]`
says how much is lost with your weights; if it is much, take integrated gradients.
`grad_cam_plus_plus` *0*: its map, which is cut at zero, had nothing above it.

What to do where a method is refused:

- An LRP composite names operations that it has no rule for: take `composite="attn_lrp"`, which has
  rules for products of activations (`multiply`, `matmul`), `softmax`, `layer_norm` and `divide`.
  Gates of squeeze and excitation need none: they are constants, in all composites.
- *no ReLU* under `guided` and `deconvnet`: these change the gradient at ReLUs, so without one their
  map would be the gradient. Take `gradient`, or `lrp`.
- Any other operation: what needs gradients only, such as `integrated_gradients`, `smooth_grad` or
  `grad_cam`, works on all.

DeepLIFT needs no rule of its own for gates, GhostNet, ReXNet or StarNet: a gate is a product of two
activations, Δ(ab) = Δa (b + b₀)/2 + (a + a₀)/2 Δb, and what opens and closes it gets its share.

"""


def ending() -> str:
    """What stands below the table."""
    broken = "; ".join(BROKEN.values())
    return f"\nNot in the table, because of PaddleClas 2.6.0 with Paddle 3: {broken}.\n"


def build(name: str) -> Case:
    """The architecture with random weights, and a picture for it."""
    seed = SEEDS.get(name, 0)
    paddle.seed(seed)  # what is left out at random while batch-norm counts
    model = it.paddleclas_model(name, **OPTIONS.get(name, {"class_num": 10}))
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        shape = parameter.shape
        if len(shape) > 1:
            fan = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]
            values = rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2 / fan))
            parameter.set_value(values)
        else:
            values = rng.standard_normal(shape, dtype=np.float32)
            parameter.set_value(parameter.numpy() + np.float32(0.1) * values)
    low, high = model.preprocessing.bounds()
    pixels = rng.random((1, 3, SIZES[name], SIZES[name]), dtype=np.float32)
    x = (low + (high - low) * pixels).astype(np.float32)
    take_statistics(model, x, rng)
    model.eval()
    return Case(model, x, 0 if name == "GoogLeNet" else None, large=True)


def cell(case: Case, column: str) -> str:
    """What comes of a column, in the page's words."""
    try:
        return outcome(case, column)
    except AssertionError as error:
        if column == "CAMs" and str(error).startswith("grad_cam_plus_plus"):
            return "works; `grad_cam_plus_plus` 0"
        if column in RELU and relus_by_hand(case, column):
            return "works"
        if column != "deep_lift":
            raise
    case.model.to(dtype="float64")
    try:
        exact = outcome(replace(case, x=case.x.astype(np.float64)), column)
        return "rounding" if exact == "works" else "not complete"
    except AssertionError:
        return "not complete"


def relus_by_hand(case: Case, rule: str) -> bool:
    """Whether the map is that of a model with another ReLU.

    `outcome` watches what arrives at a ReLU's input, which says nothing where that input goes
    elsewhere too, as in Xception.
    """
    found = attributed(RELU[rule](case.model, **case.options()), case.x, case.labels).values

    class Changed(paddle.autograd.PyLayer):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.open = None if rule == "deconvnet" else (x > 0).astype(x.dtype)
            return x.clip(min=0)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            gradient = gradient.clip(min=0)
            return gradient if ctx.open is None else gradient * ctx.open

    x = paddle.to_tensor(case.x, stop_gradient=False)
    with pytest.MonkeyPatch.context() as patch:
        for module in (paddle._C_ops, paddle._legacy_C_ops):  # of layers, and of batch-norms
            patch.setattr(module, "relu", lambda x: Changed.apply(x))
        score = case.model(x)[:, int(case.labels[0])].sum()
        (expected,) = paddle.grad(score, x)
    apart = np.linalg.norm(found - expected.numpy())
    return bool(apart < 1e-4 * np.linalg.norm(expected.numpy()))


def row(name: str) -> str:
    """A line of the table."""
    case = build(name)
    return f"| `{name}` | " + " | ".join(cell(case, column) for column in COLUMNS) + " |"


def show(name: str, pipe: Any) -> None:
    """Send the line of one architecture."""
    warnings.simplefilter("ignore")
    try:
        pipe.send(row(name))
    except Exception as error:
        pipe.send(f"{name}: {type(error).__name__}: {error}")


def main() -> None:
    lines = []
    for name in sys.argv[1:] or SIZES:
        # Each in a process, because Paddle keeps what it has built. It is forked from the main
        # thread: in a fork of another thread Paddle's tracing does not end.
        fork, start = multiprocessing.get_context("fork"), time.perf_counter()
        here, there = fork.Pipe()
        process = fork.Process(target=show, args=(name, there))
        process.start()
        lines.append(here.recv())
        process.join()
        print(lines[-1], f"{time.perf_counter() - start:.0f} s", flush=True)
    if sys.argv[1:]:
        return
    before = PAGE.read_text("utf-8").partition(f"\n{TITLE}\n")[0]
    names = "| model | " + " | ".join(COLUMNS) + " |\n" + "|---" * (len(COLUMNS) + 1) + "|\n"
    PAGE.write_text(before + HEADING + names + "\n".join(lines) + "\n" + ending(), "utf-8")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
