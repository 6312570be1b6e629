"""Detectors of PaddleDetection, with random weights: which boxes, and maps of one of them.

The wheel, 2.6.0, has no configurations, so these are written here. Its Faster R-CNN and DETR fail
on Paddle 3 by themselves, and RT-DETR is not in it: these two are tried where a later version is
installed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
import yaml
from ppdet import modeling
from ppdet.core.workspace import create, load_config

import interpretdl as it
from interpretdl.errors import UnsupportedModelError

ROOT = Path(__file__).resolve().parents[2]
PHOTOGRAPH = ROOT / "assets" / "chelsea.png"
SIZE = 160
LATER = pytest.mark.skipif(
    not hasattr(modeling.transformers, "RTDETRTransformer"),
    reason="this version of PaddleDetection has no RT-DETR, and its Faster R-CNN fails on Paddle 3",
)
NMS = {"name": "MultiClassNMS", "nms_top_k": 200, "keep_top_k": 50, "score_threshold": 0.01}

READER: dict[str, Any] = {
    "sample_transforms": [
        {"Decode": {}},
        {"Resize": {"target_size": [SIZE, SIZE], "keep_ratio": False, "interp": 2}},
        {"NormalizeImage": {"mean": [0.0] * 3, "std": [1.0] * 3, "norm_type": "none"}},
        {"Permute": {}},
    ],
    "batch_size": 1,
}
COMMON = {"num_classes": 4, "eval_size": None, "norm_type": "bn", "TestReader": READER}
PICO: dict[str, Any] = {
    **COMMON,
    "architecture": "PicoDet",
    "PicoDet": {"backbone": "LCNet", "neck": "LCPAN", "head": "PicoHeadV2"},
    "LCNet": {"scale": 0.35, "feature_maps": [3, 4, 5]},
    "LCPAN": {
        **{"out_channels": 32, "use_depthwise": True, "num_features": 4},
        "spatial_scales": [1 / 8, 1 / 16, 1 / 32],  # the default's list grows with each model
    },
    "PicoFeat": {
        **{"feat_in": 32, "feat_out": 32, "num_convs": 1, "num_fpn_stride": 4},
        **{"norm_type": "bn", "share_cls_reg": True, "use_se": True},
    },
    "PicoHeadV2": {
        "conv_feat": {"name": "PicoFeat"},
        **{"fpn_stride": [8, 16, 32, 64], "feat_in_chan": 32, "reg_max": 7},
        **{"cell_offset": 0.5, "nms": {**NMS, "nms_threshold": 0.6}},
        "loss_class": {"name": "VarifocalLoss", "use_sigmoid": False},
    },
}
CONFIGS: dict[str, dict[str, Any]] = {
    "ppyoloe": {
        **COMMON,
        "architecture": "PPYOLOE",
        "PPYOLOE": {
            **{"backbone": "CSPResNet", "neck": "CustomCSPPAN", "yolo_head": "PPYOLOEHead"},
            **{"post_process": None, "ssod_loss": None},
        },
        **{"width_mult": 0.125, "depth_mult": 0.33},
        "CSPResNet": {
            **{"layers": [3, 6, 6, 3], "channels": [64, 128, 256, 512, 1024]},
            **{"return_idx": [1, 2, 3], "use_large_stem": True},
        },
        "CustomCSPPAN": {
            **{"out_channels": [768, 384, 192], "stage_num": 1, "block_num": 3},
            **{"act": "swish", "spp": True},
        },
        "PPYOLOEHead": {
            **{"fpn_strides": [32, 16, 8], "nms": {**NMS, "nms_threshold": 0.7}},
            **{"static_assigner": None, "assigner": None},
        },
    },
    "picodet": PICO,
    "picodet_legacy": {
        **PICO,
        "PicoDet": {"backbone": "LCNet", "neck": "LCPAN", "head": "PicoHead"},
        "PicoHead": {
            **PICO["PicoHeadV2"],
            "assigner": {"name": "SimOTAAssigner"},
        },
    },
    "rtdetr": {
        **COMMON,
        "architecture": "DETR",
        "hidden_dim": 32,
        "use_focal_loss": True,
        "DETR": {
            **{"backbone": "ResNet", "neck": "HybridEncoder", "transformer": "RTDETRTransformer"},
            **{"detr_head": "DINOHead", "post_process": "DETRPostProcess"},
        },
        "ResNet": {"depth": 18, "variant": "d", "return_idx": [1, 2, 3], "freeze_at": -1},
        "HybridEncoder": {
            **{"hidden_dim": 32, "use_encoder_idx": [2], "num_encoder_layers": 1},
            "encoder_layer": {
                **{"name": "TransformerLayer", "d_model": 32, "nhead": 4, "dropout": 0.0},
                **{"dim_feedforward": 64, "activation": "gelu"},
            },
            "expansion": 0.5,
        },
        "RTDETRTransformer": {
            **{"num_queries": 40, "feat_strides": [8, 16, 32], "num_levels": 3, "nhead": 4},
            **{"num_decoder_layers": 2, "dim_feedforward": 64, "dropout": 0.0},
        },
        "DINOHead": {"loss": None},
        "DETRPostProcess": {"num_top_queries": 40},
    },
    "faster_rcnn": {
        **COMMON,
        "architecture": "FasterRCNN",
        "FasterRCNN": {
            **{"backbone": "ResNet", "neck": "FPN", "rpn_head": "RPNHead"},
            **{"bbox_head": "BBoxHead", "bbox_post_process": "BBoxPostProcess"},
        },
        "ResNet": {"depth": 18, "return_idx": [0, 1, 2, 3], "num_stages": 4, "freeze_at": -1},
        "FPN": {"out_channel": 32},
        "RPNHead": {
            "anchor_generator": {
                "aspect_ratios": [0.5, 1.0, 2.0],
                "anchor_sizes": [[32], [64], [128], [256], [512]],
                "strides": [4, 8, 16, 32, 64],
            },
            "test_proposal": {
                **{"min_size": 0.0, "nms_thresh": 0.7, "pre_nms_top_n": 100},
                **{"post_nms_top_n": 50},
            },
        },
        "BBoxHead": {
            **{"head": "TwoFCHead", "bbox_assigner": "BBoxAssigner"},
            "roi_extractor": {"resolution": 7, "sampling_ratio": 0, "aligned": True},
        },
        "TwoFCHead": {"out_channel": 32},
        "BBoxPostProcess": {"decode": "RCNNBox", "nms": {**NMS, "nms_threshold": 0.5}},
    },
}


def random(model: Any, seed: int = 0) -> Any:
    """The model with weights that let signals through, and scores of all sizes."""
    rng = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "proj_conv" not in name:
            fan_in = np.prod(parameter.shape[1:]) if parameter.ndim > 2 else parameter.shape[0]
            scale = 0.1 if "delta" in name or "bbox_score" in name else 1  # of regions
            values = rng.normal(0, scale * (2 / fan_in) ** 0.5, parameter.shape)
            parameter.set_value(values.astype("float32"))
        elif ("pred_cls" in name or "head_cls" in name) and name.endswith("bias"):
            parameter.set_value(np.full(parameter.shape, -1, "float32"))
    model.eval()
    return model


def built(name: str, folder: Path) -> tuple[Any, Any]:
    path = folder / f"{name}.yml"
    path.write_text(yaml.safe_dump(CONFIGS[name]))
    config = load_config(str(path))
    paddle.seed(0)
    return config, random(create(config.architecture))


ALL = ["ppyoloe", "picodet", "picodet_legacy"]
ALL += [pytest.param(name, marks=LATER) for name in ("rtdetr", "faster_rcnn")]  # type: ignore[misc]


@pytest.mark.parametrize("name", ALL)
def test_a_box_of_each_family_is_explained(name: str, tmp_path: Path) -> None:
    config, model = built(name, tmp_path)
    before = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    subject = it.DetectionSubject(model, preprocessing=config["TestReader"], score_threshold=0.02)
    found = subject.detect(PHOTOGRAPH)
    assert found
    # what the model itself gives for this picture
    x = subject._reader.read(PHOTOGRAPH).x
    height, width = 300, 451
    given = {
        "image": paddle.to_tensor(x),
        "im_shape": paddle.to_tensor([[SIZE, SIZE]], dtype="float32"),
        "scale_factor": paddle.to_tensor([[SIZE / height, SIZE / width]], dtype="float32"),
    }
    with paddle.no_grad():
        listed = model(given)["bbox"].numpy()
    listed = listed[(listed[:, 0] >= 0) & (listed[:, 1] >= 0.02)]
    listed = listed[np.argsort(-listed[:, 1], kind="stable")]
    np.testing.assert_allclose([each.score for each in found], listed[:, 1], rtol=1e-4)
    inside = listed[:, 2:].clip(0, [width, height, width, height])
    np.testing.assert_allclose([each.box for each in found], inside, atol=0.1)

    for method in ("layer_cam", "gradient"):
        explained = subject.explain(PHOTOGRAPH, 0, method)
        assert np.abs(explained.values).max() > 0
        assert explained.heatmap().shape == (1, height, width)
        assert explained.probability(0) == pytest.approx(found[0].score, rel=1e-3)
    if name in ("ppyoloe", "picodet_legacy", "faster_rcnn"):
        assert np.abs(subject.explain(PHOTOGRAPH, 0, "lrp").values).max() > 0
    else:
        with pytest.raises(UnsupportedModelError, match="has no way through"):
            subject.explain(PHOTOGRAPH, 0, "lrp")
    rise = subject.explain(PHOTOGRAPH, 0, "rise", evaluations=20)
    assert rise.values.shape == (1, 1, SIZE, SIZE)

    # The gradient of the class's logit, against finite differences along itself. Faster R-CNN's
    # regions move with the picture, and no gradient flows through them.
    if name != "faster_rcnn":
        target, probe = subject.target(PHOTOGRAPH, 0), subject.subject.probe
        gradient = probe.gradients(x, target).input
        norm = np.linalg.norm(gradient)
        length = np.clip(5e-4 / norm, 3e-4, 0.3)  # short, and above what float32 rounds away
        step = length * gradient / norm
        up, down = (float(probe.scores(x + sign * step, target)[0]) for sign in (1, -1))
        assert (up - down) / (2 * length) == pytest.approx(norm, rel=0.02)

    after = model.state_dict()
    assert all(np.array_equal(after[key].numpy(), before[key]) for key in before)
    assert not any(layer._forward_post_hooks for layer in model.sublayers())
    assert model.inputs == {} or "image" in model.inputs


def test_the_lines_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (section,) = (part for part in section if part.startswith("PaddleDetection"))
    blocks = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert blocks
    monkeypatch.chdir(tmp_path)
    (path := tmp_path / "configs" / "ppyoloe" / "ppyoloe_plus_crn_s_80e_coco.yml").parent.mkdir(
        parents=True
    )
    path.write_text(yaml.safe_dump({**CONFIGS["ppyoloe"], "num_classes": 80}))
    model = random(create(load_config(str(path)).architecture))
    for layer in model.yolo_head.pred_cls:
        layer.bias.set_value(np.full(80, 1, "float32"))
    paddle.save(model.state_dict(), "ppyoloe_plus_crn_s_80e_coco.pdparams")
    (tmp_path / "street.jpg").write_bytes(PHOTOGRAPH.read_bytes())
    names: dict[str, Any] = {}
    for block in blocks:
        if "ppdet" in block or "detector" in block:
            exec(block, names)  # noqa: S102 - the page's own lines
    assert (tmp_path / "box.png").stat().st_size > 10_000
