"""The gallery's script, its page, and what is said of methods that do not look at the class."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import interpretdl as it
from interpretdl.registry import METHODS


@pytest.fixture
def script(root: Path) -> Any:
    spec = importlib.util.spec_from_file_location("gallery", root / "docs" / "gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_runs(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["gallery.py", "--method", "cam", "--method", "grad_cam", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    script.main()
    names = {path.name for path in (tmp_path / "images" / "gallery").iterdir()}
    assert names == {"cam.jpg", "grad_cam.jpg", "strip.jpg"}
    with Image.open(tmp_path / "images" / "gallery" / "cam.jpg") as image:
        assert image.width > 3 * image.height  # four photographs in a row
    page = (tmp_path / "gallery.md").read_text(encoding="utf-8")
    assert page.count("![") == 2


def test_the_page_has_every_method(script: Any, root: Path) -> None:
    page = (root / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert page == script.page(list(METHODS.all())), "run python docs/gallery.py"
    for name in METHODS.all():
        assert (root / "docs" / "images" / "gallery" / f"{name}.jpg").stat().st_size > 5000


QUICK = [
    *("cam", "deconvnet", "deep_lift", "deep_taylor", "eigen_cam", "excitation_bp", "grad_cam"),
    *("grad_cam_plus_plus", "gradient", "guided_bp", "guided_grad_cam", "hires_cam", "layer_cam"),
    *("lrp", "sensitivity", "simple_taylor", "smooth_grad_squared", "xgrad_cam"),
]


@pytest.mark.filterwarnings("ignore::interpretdl.InterpretWarning")
def test_methods_said_to_be_blind_draw_one_map_for_both_classes(root: Path) -> None:
    """The cat and the cup of the collage: correlation of the two maps of each method."""
    found = it.explain_with(
        QUICK,
        it.lrp_model.efficientnet_lite0(pretrained=True),
        [root / "assets" / "collage.png"] * 2,
        ["tiger cat", "espresso"],
        options={"smooth_grad_squared": {"n_samples": 4}},
    )
    for name, explanation in found.items():
        maps = np.maximum(explanation.heatmap(), 0).reshape(2, -1)
        alike = np.corrcoef(maps)[0, 1]
        assert (alike > 0.8) == METHODS.find(name).class_blind, (name, alike)
        assert explanation.titles[0].startswith("any class, such as tiger cat") == (alike > 0.8)
