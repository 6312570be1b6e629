"""LRP of the trained network on a picture with a cat on the left and a cup on the right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

import interpretdl as it
from interpretdl.rules import COMPOSITES, Rule, Site, redirect, stabilize

CLASSES = ["espresso", "tiger cat"]
COMPOSITE = "epsilon_gamma_box"


@pytest.fixture(scope="module")
def lrp() -> it.LRPInterpreter:
    return it.LRPInterpreter(it.lrp_model.efficientnet_lite0(pretrained=True))


@pytest.fixture(scope="module")
def pictures(root: Path) -> list[Path]:
    return [root / "assets" / "collage.png"] * len(CLASSES)


@pytest.fixture(scope="module")
def explanation(lrp: it.LRPInterpreter, pictures: list[Path]) -> Any:
    return lrp.explain(pictures, CLASSES, composite=COMPOSITE)


@pytest.mark.parametrize(("row", "half"), [(0, slice(112, None)), (1, slice(112))])
def test_each_class_lights_its_half(explanation: Any, row: int, half: slice) -> None:
    assert explanation.values.shape == (2, 1, 224, 224)
    assert explanation.label_names[row] == CLASSES[row]
    positive = np.maximum(explanation.values[row, 0], 0)
    assert positive[:, half].sum() > 0.7 * positive.sum()


def test_the_account_balances(
    lrp: it.LRPInterpreter, pictures: list[Path], explanation: Any
) -> None:
    audit = lrp.audit(pictures, CLASSES, composite=COMPOSITE)
    np.testing.assert_allclose(audit.start, explanation.scores, rtol=1e-5)
    arrived = explanation.values.sum(axis=(1, 2, 3), dtype=np.float64)
    rounding = 1e-4 * audit.start
    assert (abs(audit.input - arrived) < rounding).all()
    assert (abs(audit.start - audit.absorbed - audit.input) < rounding).all()
    # What is missing at the pixels is with the biases, and not lost at a stabilizer.
    biases = sum(seam.bias for seam in audit.seams)
    assert (abs(audit.start - biases - audit.input) < 1e-3 * audit.start).all()


def test_the_default(lrp: it.LRPInterpreter, pictures: list[Path], explanation: Any) -> None:
    np.testing.assert_array_equal(lrp.explain(pictures, CLASSES).values, explanation.values)


def test_what_arrived_is_said(
    lrp: it.LRPInterpreter, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lrp.interpret(pictures[0], "espresso", visual=False)
    said = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(
        r"\d% of the score arrived at the pixels; biases and stabilizers kept 9\d%\.", said
    )


def test_biases_that_keep_nearly_all_are_told(lrp: it.LRPInterpreter, pictures: list[Path]) -> None:
    with pytest.warns(it.InterpretWarning, match=r"biases keep 9\d% of image 0's score"):
        found = lrp.explain(pictures[0], "tiger cat", composite="z_plus_box")
    arrived = found.diagnostics["relevance_arrived"]
    np.testing.assert_allclose(found.values.sum(dtype=np.float64), arrived, rtol=1e-4)
    audit = lrp.audit(pictures[0], "tiger cat", composite="z_plus_box")
    worst = max(audit.seams, key=lambda seam: float(seam.bias[0]))
    assert "depthwise_conv" in worst.name
    biases = sum(seam.bias for seam in audit.seams)
    np.testing.assert_allclose(biases, audit.start - arrived, rtol=2e-2)
    with pytest.raises(it.UnsupportedModelError, match=r"only a bias, most at .*depthwise_conv"):
        lrp.explain(pictures[0], "tiger cat", composite="z_plus_box", strict=True)


def test_the_page_on_lrp_does_what_it_shows(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "assets").symlink_to(root / "assets")
    monkeypatch.chdir(tmp_path)
    page = root / "docs" / "methods" / "families" / "relevance_propagation.md"
    text, names = page.read_text(encoding="utf-8"), dict[str, Any]()
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        exec(block, names)  # noqa: S102 - the page's own lines
    assert "blocks.15.depthwise_conv" in capsys.readouterr().out
    assert (tmp_path / "espresso.png").stat().st_size > 0
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert all((page.parent / link).exists() for link in links)
    rows = set(re.findall(r"^\| `(\w+)`(?: \(default\))? \|", text, re.M))
    assert (
        set(COMPOSITES) - {"guided", "deconvnet", "deep_lift"} <= rows
    )  # the table has every composite


def test_a_rule_keeps_the_layers_value(root: Path) -> None:
    """What the page says of rules of one's own holds for the rule that it shows."""
    page = root / "docs" / "methods" / "families" / "relevance_propagation.md"
    text = page.read_text(encoding="utf-8")
    (block,) = re.findall(r"^class RelativeEpsilon.*?(?=^quiet)", text, re.M | re.S)
    names: dict[str, Any] = {"Rule": Rule, "redirect": redirect, "stabilize": stabilize}
    exec(block, names)  # noqa: S102 - the page's own lines
    x = paddle.to_tensor([[3.0, -1.0], [0.5, 4.0]], stop_gradient=False)
    site = Site("layer", x, x * 2)
    y = names["RelativeEpsilon"]()(site)
    np.testing.assert_allclose(y.numpy(), site.y.numpy(), rtol=1e-6)
    # By hand: 2 · |y| / (|y| + ¼ √mean y²) for each row.
    rms = np.array([[np.sqrt(20.0)], [np.sqrt(32.5)]])
    expected = 2 * abs(site.y.numpy()) / (abs(site.y.numpy()) + rms / 4)
    np.testing.assert_allclose(paddle.grad(y.sum(), x)[0].numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("layer", [None, "blocks.10"])
def test_excitation_leaves_biases_their_part(
    lrp: it.LRPInterpreter, pictures: list[Path], layer: str | None
) -> None:
    method = it.ExcitationBPInterpreter(lrp.model)
    with pytest.warns(it.InterpretWarning, match=r"biases keep \d\d% of image 0's score"):
        found = method.explain(pictures[0], layer=layer)
    assert found.values.min() >= 0
    np.testing.assert_allclose(found.values.sum(dtype=np.float64), 1, rtol=1e-3)
    with pytest.raises(it.UnsupportedModelError, match="promises that all relevance arrives"):
        method.explain(pictures[0], layer=layer, strict=True)
