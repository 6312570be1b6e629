"""How often `explain` runs the model: once, where the method runs the picture itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from paddle import nn

import interpretdl as it
from interpretdl.testing import small_network


class Counting(nn.Layer):
    """A model that counts its own calls: those begun, and those that came to an end."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small_network()
        self.preprocessing, self.class_names = self.inner.preprocessing, self.inner.class_names
        self.counts = Counter[str]()  # shared with the copy that the probe runs
        self.eval()

    @property
    def calls(self) -> int:
        return self.counts["calls"]

    @property
    def passes(self) -> int:
        return self.counts["passes"]

    def forward(self, x: Any) -> Any:
        self.counts["calls"] += 1
        output = self.inner(x)
        # The bounds of the pixels, for LRP's first layer, go no further than that.
        self.counts["passes"] += 1
        return output


@pytest.mark.parametrize("label", [None, 2, "class-b"])
@pytest.mark.parametrize(
    "method",
    [
        *("gradient", "sensitivity", "simple_taylor", "grad_cam", "grad_cam_plus_plus"),
        *("hires_cam", "xgrad_cam", "layer_cam", "guided_bp", "deconvnet", "lrp", "deep_taylor"),
    ],
)
@pytest.mark.filterwarnings("ignore:the deep_taylor of image 0 is zero everywhere")
def test_one_forward_pass_explains_a_picture(method: str, label: Any) -> None:
    model = Counting()
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    interpreter = it.registry.find(method).cls(model)
    interpreter.explain(picture, label=label)  # rules look at a model's graph once, in another run
    before = model.passes
    interpreter.explain(picture, label=label)
    assert model.passes == before + 1
    interpreter.interpret(picture, label=label, visual=False)
    assert model.passes == before + 2
    if method not in ("lrp", "deep_taylor"):
        assert model.calls == model.passes


def test_the_first_call_of_grad_cam_is_one_pass_too() -> None:
    model = Counting()
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    it.GradCAMInterpreter(model).explain(picture)
    assert model.calls == 1
