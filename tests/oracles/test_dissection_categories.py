"""Network Dissection where only some categories of labels count, against a loop over pixels."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interpretdl.dissection import dissect, mini_broden
from interpretdl.dissection.tables import CATEGORY_ORDER

_spec = importlib.util.spec_from_file_location(
    "planted_data", Path(__file__).resolve().parents[1] / "planted_data.py"
)
assert _spec is not None
assert _spec.loader is not None
_planted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_planted)
PLAIN, pixels_network = _planted.PLAIN, _planted.pixels_network


@pytest.mark.parametrize(
    "chosen", [None, ["object", "part", "scene", "texture", "color"], ["material", "color"]]
)
def test_categories_against_a_loop(tmp_path: Path, chosen: list[str] | None) -> None:
    """IoU pixel by pixel from the data set's files, where only some categories count.

    A label counts in that of its chosen categories where its coverage is largest, at the pixels
    that the chosen columns name. wood is an object as well.
    """
    weights = np.random.default_rng(6).normal(size=(6, 3))
    path = mini_broden(tmp_path / "data", scenes=5, size=32)
    in_two_categories(path)
    found = dissect(
        pixels_network(weights), path, "0", tmp_path / "out", categories=chosen, share=0.1,
        preprocessing=PLAIN,
    )["0"]  # fmt: skip
    labels, numbers, truth, both, activation = counted_in_a_loop(
        path, chosen or list(CATEGORY_ORDER), found.thresholds, weights
    )
    assert {label.number: label.category for label in found.labels} == labels
    where = [numbers.index(label.number) for label in found.labels]
    assert found.truth.tolist() == truth[where].tolist()
    assert found.both.tolist() == both[:, where].tolist()
    for unit, row in enumerate(found.iou):
        for label, iou in zip(found.labels, row, strict=True):
            n = numbers.index(label.number)
            on, common = activation[label.category][unit], both[unit, n]
            assert iou == pytest.approx(common / max(on + truth[n] - common, 1))
    if chosen:
        assert set(found.unique()) <= set(chosen)


def in_two_categories(path: Path) -> None:
    """The material wood (some of it an object's) becomes an object too, of less coverage."""
    label = next(row for row in table(path / "label.csv") if row["name"] == "wood")
    text = (path / "label.csv").read_text()
    (path / "label.csv").write_text(text.replace("wood,material(", "wood,object(1);material("))
    with (path / "c_object.csv").open("a") as file:
        file.write(f"99,{label['number']},wood,1,0.000001\n")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def counted_in_a_loop(
    path: Path, chosen: list[str], thresholds: np.ndarray, weights: np.ndarray
) -> tuple[dict[int, str], list[int], np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Each label's category; labels, their pixels, those in common, each unit's by category."""
    coverage = {
        (category, int(row["number"])): float(row["coverage"])
        for category in chosen
        for row in table(path / f"c_{category}.csv")
    }
    labels: dict[int, str] = {}
    for category, number in coverage:
        best = labels.get(number)
        if best is None or coverage[category, number] > coverage[best, number]:
            labels[number] = category
    numbers = sorted(labels)
    truth, both = np.zeros(len(numbers), int), np.zeros((len(weights), len(numbers)), int)
    activation = {category: np.zeros(len(weights), int) for category in chosen}
    for row in table(path / "index.csv"):
        pixels = np.asarray(Image.open(path / "images" / row["image"])) / np.float32(255)
        maps = np.einsum("uc,yxc->uyx", weights.astype(np.float32), pixels)
        height, width = int(row["sh"]), int(row["sw"])
        # labels have half of the maps' size: half-pixel centres give the mean of 2 x 2
        halves = maps.reshape(len(maps), height, 2, width, 2).mean(axis=(2, 4))
        on = list(halves > thresholds[:, None, None])
        cells = [cell for category in chosen for cell in row[category].split(";") if cell]
        planes = [np.asarray(Image.open(path / "images" / c)).astype(int) for c in cells
                  if not c.isdigit()]  # fmt: skip
        present = set()
        for n, number in enumerate(numbers):
            for y in range(height):
                for x in range(width):
                    named = str(number) in cells or any(
                        plane[y, x, 0] + 256 * plane[y, x, 1] == number for plane in planes
                    )
                    if named:
                        present.add(labels[number])
                        truth[n] += 1
                        both[:, n] += [unit[y, x] for unit in on]
        for category in present:
            activation[category] += [unit.sum() for unit in on]
    return labels, numbers, truth, both, activation
