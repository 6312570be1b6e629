"""The tables of a data set in Broden's layout, and their faults."""

from __future__ import annotations

import csv
import math
import os
import re
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CATEGORY_ORDER", "MOST_PIXELS", "Label", "Record", "Tables", "by", "in_order"]

CATEGORY_ORDER = ("object", "scene", "part", "material", "texture", "color")
_SIZES = ("ih", "iw", "sh", "sw")
_FIXED = ("image", "split", *_SIZES)
_LARGEST = 65535  # R + 256 G
MOST_PIXELS = 2**24  # of a label PNG: up to here float32 counts exactly
_MOST_DIGITS = 18  # within int64, and far below where int() refuses a text
_SHOWN = 60


@dataclass(frozen=True)
class Label:
    """A concept.

    Attributes:
        number: its value in label PNGs, in [1, 65535].
        name: the concept in words.
        category: of its categories that count, the one in which its coverage is largest.
    """

    number: int
    name: str
    category: str


@dataclass(frozen=True)
class Record:
    """A line of index.csv.

    Attributes:
        line: its line in the file, from 2.
        image: path below images/.
        size: height and width of the picture.
        label_size: height and width of its label PNGs.
        numbers: labels of the whole image, in the categories that count.
        files: label PNGs of these categories, paths below images/.
        bytes: sizes of the picture's file and of those of `files`.
    """

    line: int
    image: str
    size: tuple[int, int]
    label_size: tuple[int, int]
    numbers: tuple[int, ...]
    files: tuple[str, ...]
    bytes: tuple[int, ...]


def in_order(categories: Sequence[str]) -> list[str]:
    """Categories as reports list them: object, scene, part, material, texture, color, others."""
    known = [name for name in CATEGORY_ORDER if name in categories]
    return known + [name for name in categories if name not in known]


class Tables:
    """The tables of a data set, and their faults.

    Args:
        path: its folder.
        chosen: the categories that count; None: all. The tables of the others are checked as well.
    """

    def __init__(self, path: Path, chosen: Collection[str] | None = None) -> None:
        self.path = path
        self.faults: list[str] = []
        self.categories: list[str] = []
        self.labels: dict[int, Label] = {}
        self.ignored: set[int] = set()
        """Labels that are in none of the chosen categories."""
        self.records: list[Record] = []
        self.splits: list[str] = []
        if not (path / "images").is_dir():
            self.faults.append(f"no folder {path / 'images'}")
        self._read_categories()
        self._counts = {c for c in self.categories if chosen is None or c in chosen}
        self._read_labels()
        self._read_index()

    def of_split(self, split: str | None) -> list[int]:
        return [i for i, name in enumerate(self.splits) if split in (None, name)]

    def _rows(self, name: str, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
        """Line number and cells of each row; none when the table cannot be used."""
        try:
            with (self.path / name).open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                missing = [c for c in columns if c not in (reader.fieldnames or ())]
                if missing:
                    self.faults.append(f"{name} has no column {', '.join(missing)}")
                    return []
                rows = [(reader.line_num, row) for row in reader]
        except (OSError, ValueError, csv.Error) as error:  # ValueError: not UTF-8, a null byte
            self.faults.append(f"{name} cannot be read: {error}")
            return []
        whole = []
        for line, row in rows:
            if None in row or None in row.values():
                self.faults.append(f"{name}, line {line}: not as many cells as columns")
            else:
                whole.append((line, row))
        return whole

    def _read_categories(self) -> None:
        for line, row in self._rows("category.csv", ["name"]):
            name, where = row["name"], f"category.csv, line {line}"
            # it becomes part of a file's name, and a column of index.csv
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", name) or name in _FIXED:
                self.faults.append(f"{where}: {_quoted(name)} is not a valid name")
            elif name in self.categories:
                self.faults.append(f"{where}: {name} is listed twice")
            else:
                self.categories.append(name)

    def _read_labels(self) -> None:
        coverage: dict[tuple[str, int], float] = {}
        for category in self.categories:
            table = f"c_{category}.csv"
            for line, row in self._rows(table, ["code", "number", "name", "coverage"]):
                number = self._int(row["number"], table, line)
                coverage[category, number] = self._share(row["coverage"], table, line)
        before = len(self.faults)
        for line, row in self._rows("label.csv", ["number", "name", "category"]):
            where = f"label.csv, line {line}"
            number = self._int(row["number"], "label.csv", line)
            if number == 0 and row["number"].strip() == "0":
                continue  # some sets list the absence of a label
            names = re.findall(r"([^;()\s]+)\s*(?:\(\d+\))?", row["category"])
            unknown = [name for name in names if name not in self.categories]
            if not 1 <= number <= _LARGEST:
                what = f"number {number} is not in [1, {_LARGEST}]"
                self.faults.append(f"{where}: {what}")
            elif number in self.labels or number in self.ignored:
                self.faults.append(f"{where}: the number {number} is listed twice")
            elif not names:
                self.faults.append(f"{where}: it has no category")
            elif unknown:
                what = f"the category {_quoted(unknown[0])} is not in category.csv"
                self.faults.append(f"{where}: {what}")
            else:
                for name in names:
                    if (name, number) not in coverage:
                        self.faults.append(f"{where}: c_{name}.csv does not list {number}")
                counted = [name for name in names if name in self._counts]
                if counted:
                    best = max(counted, key=lambda name: coverage.get((name, number), -1.0))
                    self.labels[number] = Label(number, row["name"], best)
                else:
                    self.ignored.add(number)
        if not self.labels and not self.ignored and len(self.faults) == before:
            self.faults.append("label.csv lists no label")

    def _read_index(self) -> None:
        for line, row in self._rows("index.csv", [*_FIXED, *self.categories]):
            before = len(self.faults)
            sizes = [self._int(row[name], "index.csv", line) for name in _SIZES]
            if min(sizes) < 1 and len(self.faults) == before:
                self._fault(line, f"a size below 1 in {', '.join(_SIZES)} = {sizes}")
            if sizes[2] * sizes[3] > MOST_PIXELS:
                self._fault(line, f"labels of {by(sizes[2:])} pixels; at most {MOST_PIXELS}")
            numbers: list[int] = []
            files, lengths = [], [self._length(row["image"], line)]
            for category in self.categories:
                counts = category in self._counts
                for cell in filter(None, map(str.strip, row[category].split(";"))):
                    if not cell.isdecimal():
                        length = self._length(cell, line)
                        files += [cell] * counts
                        lengths += [length] * counts
                    elif number := self._int(cell, "index.csv", line):
                        if number in self.labels:
                            numbers += [number] * counts
                        elif number not in self.ignored:
                            self._fault(line, f"the label {number} is not in label.csv")
            ih, iw, sh, sw = sizes
            self.records.append(
                Record(line, row["image"], (ih, iw), (sh, sw), tuple(numbers), tuple(files),
                       tuple(lengths))
            )  # fmt: skip
            self.splits.append(row["split"])
        if not self.records and not self.faults:
            self.faults.append("index.csv lists no image")

    def _length(self, name: str, line: int) -> int:
        """A file's size in bytes. One look at each: Broden has 300,000, and pathlib is slow."""
        parts = name.replace("\\", "/").split("/")  # of all systems: a data set travels
        if not parts[0] or ".." in parts or name[1:2] == ":":
            self._fault(line, f"{_quoted(name)} is not a path below images/")
            return 0
        try:
            found = os.stat(f"{self.path}/images/{name}")
        except (OSError, ValueError):  # ValueError: a null byte, a letter that names cannot have
            found = None
        if found is None or not stat.S_ISREG(found.st_mode):
            self._fault(line, f"no file images/{name if len(name) <= _SHOWN else _quoted(name)}")
            return 0
        return found.st_size

    def _fault(self, line: int, what: str) -> None:
        self.faults.append(f"index.csv, line {line}: {what}")

    def _int(self, text: str, table: str, line: int) -> int:
        text = text.strip()
        if text.isdecimal() and len(text) <= _MOST_DIGITS:
            return int(text)
        self.faults.append(f"{table}, line {line}: {_quoted(text)} is not a whole number")
        return 0

    def _share(self, text: str, table: str, line: int) -> float:
        try:
            if math.isfinite(share := float(text)):
                return share
        except ValueError:
            pass
        self.faults.append(f"{table}, line {line}: coverage {_quoted(text)} is not a number")
        return -1.0


def by(size: Sequence[int]) -> str:
    """For example "112 x 96"."""
    return f"{size[0]} x {size[1]}"


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
