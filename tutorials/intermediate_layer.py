"""Explain an intermediate layer of VGG-16: what SHAP's example of that name does.

    python tutorials/intermediate_layer.py [--output FILE] [--nsamples 200] [--local-smoothing 0]

Which parts of what goes into an inner layer speak for the two likeliest classes of each picture?
Expected gradients answer at any layer: near the input they show edges, deep inside, whole things.
The layer is `features.7`, as in SHAP's example. Where VGG-16's weights cannot be had, the network
is EfficientNet-Lite0 and the layer its `blocks.3`; the script says which it was.

SHAP's background is 50 pictures of ImageNet. Here it is 24 pieces cut from the three sample
pictures, which is enough to see how it works. For your own work give some tens of pictures of the
kind that your model sees.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import interpretdl as it
from interpretdl.data_processor.decode import load_image
from interpretdl.data_processor.heatmaps import heatmap_of
from interpretdl.data_processor.image_plot import image_plot

ASSETS = Path(__file__).resolve().parents[1] / "assets"
PICTURES = [ASSETS / "chelsea.png", ASSETS / "coffee.png"]


def network() -> tuple[Any, str]:
    """A trained network, and the layer to explain."""
    try:
        return it.lrp_model.vgg16(pretrained=True), "features.7"
    except it.WeightsError as error:
        print(f"VGG-16's weights are not to be had: {error}")
        print("Going on with EfficientNet-Lite0 and its layer blocks.3 instead.")
        return it.lrp_model.efficientnet_lite0(pretrained=True), "blocks.3"


def pieces(count: int = 24) -> list[Any]:
    """Squares cut from the sample pictures at random places, uint8 [side, side, 3]."""
    rng, found = np.random.default_rng(0), []
    names = ("chelsea.png", "coffee.png", "collage.png")
    pictures = [load_image(ASSETS / name) for name in names]
    for number in range(count):
        picture = pictures[number % len(pictures)]
        side = int(rng.uniform(0.5, 1) * min(picture.shape[:2]))
        top, left = (int(rng.integers(size - side + 1)) for size in picture.shape[:2])
        found.append(picture[top : top + side, left : left + side])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("intermediate_layer.png"))
    parser.add_argument("--nsamples", type=int, default=200)
    parser.add_argument("--local-smoothing", type=float, default=0.0)
    given = parser.parse_args()

    model, layer = network()
    explainer = it.ExpectedGradientsInterpreter(model, background=pieces())
    found = explainer.shap_values(
        PICTURES,
        given.nsamples,
        ranked_outputs=2,
        layer=layer,
        local_smoothing=given.local_smoothing,
    )

    # The layer's maps are smaller than the pictures: the channels are summed, the sum enlarged.
    size = found.images.shape[1:3]
    maps = [
        heatmap_of(found.values[:, k], size, signed=True)[:, None]
        for k in range(found.indexes.shape[1])
    ]
    names = model.class_names or it.lrp_model.imagenet_class_names()
    labels = [[names[index].split(",")[0] for index in row] for row in found.indexes]
    image_plot(maps, found.images, labels).savefig(given.output, dpi=120)

    for k, row in enumerate(zip(*labels, strict=True)):
        error = np.linalg.norm(found.standard_errors[:, k]) / np.linalg.norm(found.values[:, k])
        print(f"Class {k + 1}, {', '.join(row)}: standard error {error:.2f} of the map's norm")
    print(f"Wrote {given.output}: {layer} of {type(model).__name__}, {given.nsamples} samples")


if __name__ == "__main__":
    main()
