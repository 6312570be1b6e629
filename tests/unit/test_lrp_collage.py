"""LRP of the trained network on a picture with a cat on the left and a cup on the right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import interpretdl as it

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


def test_a_composite_that_cannot_conserve_is_refused_by_name(
    lrp: it.LRPInterpreter, pictures: list[Path]
) -> None:
    with pytest.raises(it.UnsupportedModelError, match=r"only a bias, most at .*depthwise_conv"):
        lrp.explain(pictures[0], "tiger cat", composite="z_plus_box")
