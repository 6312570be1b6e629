"""The result of dissecting a layer: IoU of every unit with every concept, and tables of it."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.files import atomic_path
from ..errors import InputError, did_you_mean
from .tables import Label, in_order
from .tally import intersection_over_union

__all__ = ["MIN_IOU", "LayerResult", "UnitConcept"]

MIN_IOU = 0.04
_PER_CATEGORY = ("label", "truth", "activation", "intersect", "iou")


@dataclass(frozen=True)
class UnitConcept:
    """The concept that a unit detects best.

    Attributes:
        unit: from 0.
        label, category: names; empty if the unit has nothing in common with any concept.
        iou: intersection over union, in [0, 1].
        index: the concept's position in `LayerResult.labels`.
    """

    unit: int
    label: str
    category: str
    iou: float
    index: int


@dataclass(frozen=True)
class LayerResult:
    """What the U units of a layer detect, out of L concepts in K categories.

    Attributes:
        layer: the layer's name.
        rotated: whether its units were mixed by a random rotation first (the baseline).
        labels: the concepts.
        thresholds: [U], exceeded by a given share of each unit's activations.
        both: int64 [U, L], pixels where the unit is above its threshold and the concept is.
        truth: int64 [L], pixels of the concept.
        activation: int64 [U, K], pixels above the threshold in images that have the category.
        top_images, top_scores: [U, n], the unit's strongest images (positions in the data set; -1
            is none) and its largest activation there, strongest first.
        top_maps: float32 [U, n, h, w], the unit's activations there.
        categories: names of the K categories in the reports' order.
        min_iou: IoU from which a unit counts as a detector.
        model: fingerprint of the model that was dissected, see `digest_of_model`; "" is unknown.
        iou: float64 [U, L].
    """

    layer: str
    rotated: bool
    labels: tuple[Label, ...]
    thresholds: NDArray[np.float32]
    both: NDArray[np.int64]
    truth: NDArray[np.int64]
    activation: NDArray[np.int64]
    top_images: NDArray[np.int64]
    top_scores: NDArray[np.float32]
    top_maps: NDArray[np.float32]
    categories: tuple[str, ...]
    min_iou: float = MIN_IOU
    model: str = ""
    iou: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        iou = intersection_over_union(self.both, self.truth, self.activation, self.category_of)
        object.__setattr__(self, "iou", iou)

    @property
    def name(self) -> str:
        """The layer's name, with "-rotated" for the baseline."""
        return f"{self.layer}-rotated" if self.rotated else self.layer

    @property
    def units(self) -> int:
        """Number of units U."""
        return len(self.thresholds)

    @property
    def category_of(self) -> NDArray[np.int64]:
        """Position in `categories` of each label's category, [L]."""
        return np.array([self.categories.index(label.category) for label in self.labels])

    def best(self) -> list[UnitConcept]:
        """Each unit's best concept, in the order of the units."""
        found = []
        for unit, index in enumerate(self.iou.argmax(axis=1).tolist()):
            label, iou = self.labels[index], float(self.iou[unit, index])
            name, category = (label.name, label.category) if iou > 0 else ("", "")
            found.append(UnitConcept(unit, name, category, iou, index))
        return found

    def detectors(self) -> list[UnitConcept]:
        """The units whose best IoU is at least `min_iou`, strongest first."""
        found = [concept for concept in self.best() if concept.iou >= self.min_iou]
        return sorted(found, key=lambda concept: -concept.iou)

    def unique(self) -> dict[str, dict[str, int]]:
        """Concepts that have a detector: {category: {concept: number of detectors}}.

        Categories in the reports' order, concepts with most detectors first. The number of unique
        concepts tells a trained network from a random one; the number of detectors hardly does.
        """
        counts: dict[tuple[str, str], int] = {}
        for found in self.detectors():
            key = found.category, found.label
            counts[key] = counts.get(key, 0) + 1
        table: dict[str, dict[str, int]] = {category: {} for category in self.categories}
        for (category, label), count in sorted(counts.items(), key=lambda item: -item[1]):
            table[category][label] = count
        return table

    def concepts(self) -> int:
        """Number of unique concepts."""
        return sum(len(found) for found in self.unique().values())

    def headline(self) -> str:
        """For example "51/192 units covering 14 concepts with IoU ≥ .04"."""
        limit = f"{self.min_iou:g}".removeprefix("0")
        return (
            f"{len(self.detectors())}/{self.units} units covering {self.concepts()} "
            f"concept{'' if self.concepts() == 1 else 's'} with IoU ≥ {limit}"
        )

    def units_of(self, concept: str, category: str | None = None) -> list[int]:
        """The detectors of a concept, strongest first.

        Raises:
            InputError: there is no such concept in the data.
        """
        if concept not in {label.name for label in self.labels}:
            hint = did_you_mean(concept, [label.name for label in self.labels])
            raise InputError(f"the data set has no concept {concept!r}{hint}")
        return [
            found.unit
            for found in self.detectors()
            if found.label == concept and category in (None, found.category)
        ]

    def rows(self) -> list[dict[str, Any]]:
        """The table of `write_csv`: for each unit its best concept, and that of each category."""
        category_of = self.category_of
        table = []
        for found in self.best():
            row: dict[str, Any] = {
                "unit": found.unit,
                "category": found.category,
                "label": found.label,
                "score": found.iou,
            }
            for k, category in enumerate(self.categories):
                mine = np.flatnonzero(category_of == k)
                if not len(mine):
                    row |= dict.fromkeys((f"{category}-{what}" for what in _PER_CATEGORY), "")
                    continue
                index = int(mine[self.iou[found.unit, mine].argmax()])
                values = (
                    self.labels[index].name,
                    int(self.truth[index]),
                    int(self.activation[found.unit, k]),
                    int(self.both[found.unit, index]),
                    float(self.iou[found.unit, index]),
                )
                names = (f"{category}-{what}" for what in _PER_CATEGORY)
                row |= dict(zip(names, values, strict=True))
            table.append(row)
        return table

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """A line for each unit: unit,category,label,score and five columns for each category.

        Units count from 0. `<category>-label` is the best concept of that category, followed by its
        pixels, the unit's pixels in images with the category, their intersection and their IoU.

        Raises:
            ResourceError: the file cannot be written.
        """
        rows = self.rows()
        with atomic_path(path) as file, file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def ordered_categories(labels: Sequence[Label]) -> tuple[str, ...]:
    """The labels' categories in the reports' order."""
    return tuple(in_order(list(dict.fromkeys(label.category for label in labels))))
