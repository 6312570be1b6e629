"""The trained network on photographs, through everything that a user meets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import interpretdl as it


@pytest.fixture(scope="module")
def method() -> it.GradCAMInterpreter:
    return it.GradCAMInterpreter(it.lrp_model.efficientnet_lite0(pretrained=True))


@pytest.fixture(scope="module")
def camera() -> Any:
    from skimage import data

    return Image.fromarray(data.camera())  # arrays are taken as they are


EXPECTED = {
    "chelsea": [(282, "tiger cat", 0.385), (285, "Egyptian cat", 0.363), (281, "tabby", 0.167)],
    "coffee": [(967, "espresso", 0.951)],
    "camera": [(872, "tripod", 0.937)],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_classes_and_printed_lines(
    name: str, method: Any, camera: Any, root: Path, capsys: Any, tmp_path: Path
) -> None:
    source = camera if name == "camera" else str(root / "assets" / f"{name}.png")
    path = tmp_path / "map.png"
    values = method.interpret(source, visual=False, save_path=[str(path)])
    assert values.shape == (1, 7, 7)
    with Image.open(path) as saved:
        assert min(saved.size) >= 200
    lines = capsys.readouterr().out.split("\n")
    assert len(lines) == 12  # ten classes, the label, and what follows the last line's end
    assert lines[11] == ""
    explained = method.explain(source)
    names = it.lrp_model.imagenet_class_names()
    expected = [
        f"{names[i][:20]:>20} ({i:3d}): {p:6.3f}"
        for i, p in sorted(enumerate(explained.probabilities[0]), key=lambda pair: -pair[1])[:10]
    ]
    assert lines[:10] == expected
    for line, (index, short, probability) in zip(lines, EXPECTED[name], strict=False):
        assert line[:20].strip().startswith(short)
        assert line[20:28] == f" ({index:3d}): "
        assert float(line[28:]) == pytest.approx(probability, abs=0.005)
    index = EXPECTED[name][0][0]
    assert lines[10] == f"Use label: {index}, {names[index]}"


def test_a_line_of_the_original() -> None:
    """The two lines that InterpretDL's documentation shows."""
    from interpretdl.interpreter.base import prediction_lines

    explanation = it.Explanation(
        values=np.zeros((1, 2, 2), np.float32),
        labels=np.array([243]),
        scores=np.zeros(1),
        images=np.zeros((1, 4, 4, 3), np.uint8),
        method="grad_cam",
        probabilities=np.eye(1000)[[243]] * 0.429 + np.eye(1000)[[262]] * 0.048,
        class_names=it.lrp_model.imagenet_class_names(),
    )
    assert prediction_lines(explanation.top(2)[0]) == [
        "        bull mastiff (243):  0.429",
        "   Brabancon griffon (262):  0.048",
    ]


def test_cats_and_cups_in_one_batch_are_as_alone(method: Any, root: Path) -> None:
    paths = [root / "assets" / f"{name}.png" for name in ("chelsea", "coffee")]
    together = method.explain(paths)
    assert together.label_names == ("tiger cat", "espresso")
    for i, path in enumerate(paths):
        alone = method.explain(path)
        np.testing.assert_allclose(together.values[i], alone.values[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("label", "half"), [("tiger cat", 0), ("espresso", 1)])
def test_grad_cam_on_the_collage(label: str, half: int, method: Any, root: Path) -> None:
    """The cat is on the left, the cup on the right."""
    heat = method.explain(root / "assets" / "collage.png", label=label).heatmap()[0]
    share = np.split(heat, 2, axis=1)[half].sum() / heat.sum()
    assert share > 0.8


def test_the_cats_face_is_the_hottest(method: Any, root: Path) -> None:
    """The face as seen in the cropped picture: from above the eyes to the mouth, ear to ear."""
    heat = method.explain(root / "assets" / "chelsea.png").heatmap()[0]
    assert heat.shape == (224, 224)
    face = np.zeros(heat.shape, bool)
    face[45:212, 25:212] = True
    assert face[np.unravel_index(heat.argmax(), heat.shape)]
    assert heat[face].mean() > 1.3 * heat[~face].mean()
