"""The mini-Broden: a data set that is made from what is installed."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interpretdl.dissection import Broden, check_broden, mini_broden
from interpretdl.dissection.cutouts import COLOURS, colour_names, cut_outs
from interpretdl.errors import InputError


def test_mini_broden_is_valid_and_the_same_for_a_seed(tmp_path: Path) -> None:
    first, second = (mini_broden(tmp_path / name, scenes=12, size=96) for name in "ab")
    other = mini_broden(tmp_path / "c", scenes=12, size=96, seed=1)
    assert check_broden(first) == []
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert all((first / f).read_bytes() == (second / f).read_bytes() for f in files)
    assert (first / "images/00003.jpg").read_bytes() != (other / "images/00003.jpg").read_bytes()
    data = Broden(first)
    assert {label.category for label in data.labels} == set(data.categories)
    assert data.image(0).shape == (96, 96, 3)
    with (first / "index.csv").open() as file:
        assert {row["split"] for row in csv.DictReader(file)} == {"train", "val"}
    # no file is left beside it
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c"}


def test_mini_broden_labels_are_where_the_colours_are(tmp_path: Path) -> None:
    """Colours partition a picture, and an object's parts lie inside it."""
    data = Broden(mini_broden(tmp_path / "mini", scenes=8, size=96))
    inside = {"nose": {"cat"}, "handle": {"cup"}, "eye": {"cat", "person"}}
    for index in range(len(data)):
        positions, masks = data.truth(index)
        labels = [data.labels[i] for i in positions]
        colours = masks[[label.category == "color" for label in labels]]
        assert (colours.sum(axis=0) == 1).all()
        where = {label.name: mask for mask, label in zip(masks, labels, strict=True)}
        for part, owners in inside.items():
            if part in where:
                owner = np.any([where[name] for name in owners if name in where], axis=0)
                assert not (where[part] & ~owner).any()


def test_mini_broden_takes_cut_outs(tmp_path: Path) -> None:
    disc = np.zeros((40, 40, 4), np.uint8)
    disc[..., :3] = 250, 0, 200
    y, x = np.mgrid[:40, :40]
    disc[..., 3] = np.where((x - 20) ** 2 + (y - 20) ** 2 < 200, 255, 0)
    Image.fromarray(disc).save(tmp_path / "disc.png")
    path = mini_broden(
        tmp_path / "mini", scenes=20, size=64, extra_objects={"disc": [tmp_path / "disc.png"]}
    )
    data = Broden(path)
    number = next(i for i, label in enumerate(data.labels) if label.name == "disc")
    seen = [i for i in range(20) if number in data.truth(i)[0]]
    assert seen
    positions, masks = data.truth(seen[0])
    pixels = data.image(seen[0])[::2, ::2][masks[positions.tolist().index(number)]]
    assert np.abs(pixels.mean(axis=0) - (250, 0, 200)).max() < 40  # JPEG, and edges
    Image.new("RGBA", (4, 4)).save(tmp_path / "clear.png")
    with pytest.raises(InputError, match="no opaque pixel"):
        mini_broden(tmp_path / "x", extra_objects={"air": [tmp_path / "clear.png"]})


def test_mini_broden_does_not_overwrite(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(InputError, match="is not an empty folder"):
        mini_broden(tmp_path)
    with pytest.raises(InputError, match="scenes must be"):
        mini_broden(tmp_path / "new", scenes=0)


def test_colour_names() -> None:
    swatches = {
        "black": (5, 5, 5), "white": (250, 250, 250), "grey": (120, 120, 120),
        "red": (230, 10, 10), "green": (20, 140, 20), "blue": (10, 10, 240),
        "yellow": (250, 230, 20), "orange": (255, 130, 10), "brown": (110, 65, 30),
        "pink": (255, 150, 190), "purple": (120, 10, 130),
    }  # fmt: skip
    names = list(COLOURS)
    found = colour_names(np.array([list(swatches.values())], np.uint8))[0]
    assert [names[i] for i in found] == list(swatches)


def test_cut_outs_have_parts_inside() -> None:
    found = cut_outs()
    assert {cut.name for cut in found} >= {"cat", "cup", "person", "rocket"}
    for cut in found:
        assert cut.pixels.shape[:2] == cut.mask.shape
        for mask in (*cut.parts.values(), *cut.materials.values()):
            assert mask.any()
            assert not (mask & ~cut.mask).any()
