"""PaddleSeg's models: what the page says of them, and each by methods of every kind."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

import interpretdl as it
from interpretdl.testing import differences, state_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("\n## PaddleSeg\n")[2].partition("\n## ")[0]
CLASSES = 4
PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def built(name: str) -> Any:
    """A model of PaddleSeg's with random weights, which keep the sizes of what goes through."""
    from paddleseg import models
    from paddleseg.models import backbones

    backbone, options = {
        "BiSeNetV2": (None, {}),
        "DDRNet_23": (None, {}),
        "DeepLabV3P": (backbones.ResNet50_vd, {}),
        "FCN": (backbones.HRNet_W18, {"backbone_indices": (-1,)}),
        "FastSCNN": (None, {}),
        "OCRNet": (backbones.HRNet_W18, {"backbone_indices": (0,)}),
        "PPLiteSeg": (backbones.STDC1, {}),
        "SegFormer": (backbones.MixVisionTransformer_B0, {"embedding_dim": 32}),
        "UNet": (None, {}),
    }[name]
    stride = {"output_stride": 8} if name == "DeepLabV3P" else {}
    given = {} if backbone is None else {"backbone": backbone(**stride)}
    model = getattr(models, name)(num_classes=CLASSES, **given, **options)
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        if parameter.ndim == 4:
            scale = np.sqrt(2 / np.prod(parameter.shape[1:]))
            parameter.set_value(rng.normal(0, scale, parameter.shape).astype("float32"))
    return model


ROWS = re.findall(r"^\| `(\w+)`.*?\| `([\w.]+)` \| (.+?) \| (.+?) \|$", SECTION, re.MULTILINE)


def test_the_table_has_the_models() -> None:
    assert len(ROWS) == 9


@pytest.mark.parametrize(("name", "layer", "lrp", "deep_lift"), ROWS, ids=[row[0] for row in ROWS])
def test_a_model(name: str, layer: str, lrp: str, deep_lift: str) -> None:
    model = built(name)
    model.train()
    before = state_of(model)
    seg = it.SegmentationSubject(model)
    labels = seg.segment(PICTURE).labels[0]
    click = (30, 30)

    found = seg.explain(PICTURE, click)
    assert found.diagnostics["layers"] == [layer]
    assert found.values.any()
    for method, options in (
        ("gradient", {}),
        ("layer_cam", {}),
        ("guided_bp", {}),
        ("integrated_gradients", {"steps": 3}),
        ("occlusion", {"sliding_window_shapes": (3, 32, 32), "strides": (3, 32, 32)}),
    ):
        other = seg.explain(PICTURE, click, method=method, **options)
        assert np.isfinite(other.values).all()
        assert other.values.any()

    composite = {"composite": "attn_lrp"} if "attn_lrp" in lrp else {}
    if composite:
        with pytest.raises(it.UnsupportedModelError, match="attn_lrp"):
            seg.explain(PICTURE, click, method="lrp")
    assert seg.explain(PICTURE, click, method="lrp", **composite).values.any()
    if deep_lift == "yes":
        exact = seg.explain(PICTURE, click, method="deep_lift")
        assert exact.diagnostics["completeness_error"][0] < 1e-3
    else:
        with pytest.raises(it.UnsupportedModelError, match="max"):
            seg.explain(PICTURE, click, method="deep_lift")
    assert differences(before, state_of(model)) == []

    model.eval()
    pixels = paddle.to_tensor(PICTURE.transpose(2, 0, 1)[None] / np.float32(127.5) - 1)
    with paddle.no_grad():
        (logits, *_) = model(pixels)
    np.testing.assert_array_equal(labels, logits.numpy().argmax(axis=1)[0])
    inside = found.regions[0]
    assert inside[30, 30]
    assert (labels[inside] == labels[30, 30]).all()
    expected = logits.numpy()[0, labels[30, 30]][inside].mean()
    np.testing.assert_allclose(found.scores, expected, rtol=1e-3)


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    monkeypatch.chdir(tmp_path)
    paddle.save(built("PPLiteSeg").state_dict(), "model.pdparams")
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", it.InterpretWarning)  # random weights
        for block in re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL):
            exec(block, names)  # noqa: S102  # the page's own lines
            assert names["found"].values.any()
    assert {path.name for path in tmp_path.glob("*.png")} == {"classes.png", "why.png"}
