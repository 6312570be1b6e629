"""A data set in which it is known what detects what, and the units that do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from interpretdl import Preprocessing

PLAIN = Preprocessing(resize=None, crop=None, mean=(0, 0, 0), std=(1, 1, 1))


def pixels_network(weights: Sequence[Sequence[float]]) -> Any:
    """Units are linear in a pixel's colour: layer "0" gives [N, U, H, W]."""
    from paddle import nn

    weights = np.asarray(weights, np.float32)
    model = nn.Sequential(
        nn.Conv2D(3, len(weights), 1, bias_attr=False), nn.AdaptiveAvgPool2D(1), nn.Flatten()
    )
    model[0].weight.set_value(weights[:, :, None, None])
    return model


def planted(path: Path, images: int = 10, unlabelled: int = 0, rare: int = 12) -> Path:
    """Red pixels are the object "red", green ones the texture "green"; both are rare.

    In the first `unlabelled` images nothing says that the red pixels are red.
    """
    rng = np.random.default_rng(0)
    (path / "images").mkdir(parents=True)
    side, rows = 16, []
    grey = rng.integers(90, 110, (images, side * side, 1)) * np.ones(3, int)
    red, green = np.zeros((2, images, side * side), bool)
    for k in range(rare):
        red[k % images, 5 * k] = green[(k + 1) % images, 5 * k + 2] = True
    grey[red], grey[green] = (255, 0, 0), (0, 255, 0)
    for i in range(images):
        name = f"{i}.png"
        Image.fromarray(grey[i].reshape(side, side, 3).astype(np.uint8)).save(
            path / "images" / name
        )
        for category, mask, number in (("object", red, 1), ("texture", green, 2)):
            plane = np.zeros((side, side, 3), np.uint8)
            plane[..., 0] = number * mask[i].reshape(side, side)
            Image.fromarray(plane).save(path / "images" / f"{i}_{category}.png")
        objects = "" if i < unlabelled else f"{i}_object.png"
        rows.append(f"{name},train,{side},{side},{side},{side},{objects},{i}_texture.png")
    write_tables(path, rows)
    return path


def write_tables(path: Path, rows: list[str]) -> None:
    head = "image,split,ih,iw,sh,sw,object,texture"
    (path / "index.csv").write_text("\n".join([head, *rows]) + "\n")
    (path / "category.csv").write_text(
        "name,first,last,count,frequency\nobject,1,1,1,1\ntexture,2,2,1,1\n"
    )
    (path / "label.csv").write_text(
        "number,name,category,frequency,coverage,syns\n"
        "1,red <b>,object(1),1,1,\n2,green,texture(1),1,1,\n"
    )
    table = "code,number,name,frequency,coverage\n"
    (path / "c_object.csv").write_text(table + "1,1,red <b>,1,1\n")
    (path / "c_texture.csv").write_text(table + "1,2,green,1,1\n")


# red, blue, green, and all together
DETECTORS = [[1, -1, 0], [0, 0, 1], [-1, 1, 0], [0.3, 0.3, 0.3]]
