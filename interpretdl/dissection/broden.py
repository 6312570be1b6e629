"""Data sets in the layout of Broden: pictures with labels for whole images and for pixels.

images/                     pictures, and label PNGs whose label is R + 256 G; 0: unlabelled
index.csv                   image,split,ih,iw,sh,sw, and a column for each category; a cell is
                            "12;a_color.png": labels of the whole image and label PNGs
category.csv                name,first,last,count,frequency
label.csv                   number,name,category,frequency,coverage,syns
c_<category>.csv            code,number,name,frequency,coverage
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.decode import load_image
from ..errors import ImageReadError, InputError
from ..progress import progress_bar

__all__ = ["CATEGORY_ORDER", "Broden", "Label", "Record", "check_broden", "in_order"]

CATEGORY_ORDER = ("object", "scene", "part", "material", "texture", "color")
_SIZES = ("ih", "iw", "sh", "sw")
_FIXED = ("image", "split", *_SIZES)
_LARGEST = 65535  # R + 256 G
_MOST_PIXELS = 2**24  # of a label PNG: up to here float32 counts exactly
_SHOWN = 5


@dataclass(frozen=True)
class Label:
    """A concept.

    Attributes:
        number: its value in label PNGs, in [1, 65535].
        name: the concept in words.
        category: the category in which its coverage is largest.
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
        numbers: labels of the whole image.
        files: label PNGs, paths below images/.
    """

    line: int
    image: str
    size: tuple[int, int]
    label_size: tuple[int, int]
    numbers: tuple[int, ...]
    files: tuple[str, ...]


def in_order(categories: Sequence[str]) -> list[str]:
    """Categories as reports list them: object, scene, part, material, texture, color, others."""
    known = [name for name in CATEGORY_ORDER if name in categories]
    return known + [name for name in categories if name not in known]


class Broden:
    """A data set in Broden's layout. Tables are read now, pictures when they are needed.

    Paths that lead out of the data set's images/ are refused.

    Args:
        path: its folder.
        split: only images whose split is this; None takes all.

    Raises:
        InputError: tables are missing or wrong. The message has the first faults; `check_broden`
            lists all.
    """

    def __init__(self, path: str | os.PathLike[str], split: str | None = None) -> None:
        self.path = Path(path)
        tables = _Tables(self.path)
        _refuse(tables.faults, self.path)
        self.categories = tuple(in_order(tables.categories))
        self.labels = tuple(tables.labels[number] for number in sorted(tables.labels))
        self.records = tuple(tables.records[i] for i in tables.of_split(split))
        if not self.records:
            known = ", ".join(sorted(set(tables.splits)))
            raise InputError(f"{self.path} has no image of split {split!r}; it has {known}")
        self._images = (self.path / "images").resolve()

    def __len__(self) -> int:
        return len(self.records)

    def image(self, index: int, channels: int = 3) -> NDArray[np.uint8]:
        """Picture uint8 [ih, iw, channels].

        Raises:
            ImageReadError, or InputError when its size is not the one in index.csv.
        """
        record = self.records[index]
        pixels = load_image(self._file(record.image), channels=channels)
        if pixels.shape[:2] != record.size:
            raise InputError(
                f"{record.image} has {_by(pixels.shape[:2])} pixels; index.csv, line "
                f"{record.line}, says {_by(record.size)}"
            )
        return pixels

    def truth(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Ground truth of an image.

        Returns:
            positions in `labels` of the L concepts that it has, int64 [L]; where each is,
            bool [L, sh, sw].

        Raises:
            InputError: a label PNG that is not one, of another size, or with an unknown label.
        """
        record = self.records[index]
        planes = [self._plane(name, record) for name in record.files]
        numbers = np.unique(np.concatenate([np.asarray(record.numbers, int)] + [
            np.flatnonzero(np.bincount(plane.ravel())) for plane in planes
        ]))  # fmt: skip
        numbers = numbers[numbers > 0]
        known = np.array([label.number for label in self.labels])
        found = np.searchsorted(known, numbers).clip(max=len(known) - 1)
        if unknown := numbers[known[found] != numbers].tolist():
            raise InputError(f"{record.image} has the label {unknown[0]}, not in label.csv")
        masks = np.zeros((len(numbers), *record.label_size), bool)
        for mask, number in zip(masks, numbers, strict=True):
            mask |= number in record.numbers
            for plane in planes:
                mask |= plane == number
        return found, masks

    def digest(self) -> str:
        """Fingerprint of the tables' contents, the chosen images and the files' sizes."""
        total = hashlib.sha256()
        tables = ["index.csv", "category.csv", "label.csv"]
        for name in tables + [f"c_{category}.csv" for category in sorted(self.categories)]:
            total.update((self.path / name).read_bytes())
        for record in self.records:
            for name in (record.image, *record.files):
                total.update(f"{name}\0{self._file(name).stat().st_size}\n".encode())
        return total.hexdigest()

    def faults_of(self, index: int) -> list[str]:
        """The faults of an image's files, one line each."""
        faults = []
        for read in (self.image, self.truth):
            try:
                read(index)
            except (ImageReadError, InputError) as error:
                faults.append(f"line {self.records[index].line} of index.csv: {error}")
        return faults

    def _file(self, name: str) -> Path:
        path = (self._images / name).resolve()  # follows links: none may lead out
        if not path.is_relative_to(self._images):
            raise InputError(f"{name} leads out of {self._images}; put the file there itself")
        if not path.is_file():
            raise ImageReadError(f"no such file: {self._images / name}")
        return path

    def _plane(self, name: str, record: Record) -> NDArray[np.int64]:
        from PIL import Image

        path = self._file(name)
        try:
            with Image.open(path, formats=["PNG"]) as image:
                size = (image.height, image.width)
                if size != record.label_size:  # known before a pixel is decoded
                    raise InputError(
                        f"{name} has {_by(size)} pixels; index.csv, line {record.line}, says "
                        f"{_by(record.label_size)}"
                    )
                if image.mode not in ("RGB", "RGBA"):
                    raise InputError(f"{name} is a PNG of mode {image.mode}; labels need RGB")
                pixels = np.asarray(image).astype(np.int64)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{name} cannot be read as a PNG: {error}") from error
        plane: NDArray[np.int64] = pixels[..., 0] + 256 * pixels[..., 1]
        return plane


def check_broden(path: str | os.PathLike[str], *, files: bool = True) -> list[str]:
    """List every fault of a data set in Broden's layout, one line each.

    Args:
        path: its folder.
        files: read every picture and label PNG as well as the tables (slow for a large one).
    """
    tables = _Tables(Path(path))
    if tables.faults or not files:
        return tables.faults
    data, faults = Broden(path), []
    with progress_bar(len(data), "check", "image") as bar:
        for index in range(len(data)):
            faults += data.faults_of(index)
            bar.update()
    return faults


def _by(size: Sequence[int]) -> str:
    return f"{size[0]} x {size[1]}"


def _refuse(faults: list[str], path: Path) -> None:
    if faults:
        more = len(faults) - _SHOWN
        shown = "; ".join(faults[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise InputError(f"{path} is not a data set in Broden's layout: {shown}")


class _Tables:
    """The tables of a data set, and their faults."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults: list[str] = []
        self.categories: list[str] = []
        self.labels: dict[int, Label] = {}
        self.records: list[Record] = []
        self.splits: list[str] = []
        if not (path / "images").is_dir():
            self.faults.append(f"no folder {path / 'images'}")
        self._read_categories()
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
        except (OSError, UnicodeDecodeError, csv.Error) as error:
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
            name = row["name"]
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):  # it becomes part of a file's name
                self.faults.append(f"category.csv, line {line}: {name!r} is not a valid name")
            elif name in self.categories:
                self.faults.append(f"category.csv, line {line}: {name} is listed twice")
            else:
                self.categories.append(name)

    def _read_labels(self) -> None:
        coverage: dict[tuple[str, int], float] = {}
        for category in self.categories:
            table = f"c_{category}.csv"
            for line, row in self._rows(table, ["code", "number", "name", "coverage"]):
                number, share = self._int(row["number"], table, line), row["coverage"]
                try:
                    coverage[category, number] = float(share)
                except ValueError:
                    self.faults.append(f"{table}, line {line}: coverage {share!r} is not a number")
        for line, row in self._rows("label.csv", ["number", "name", "category"]):
            where = f"label.csv, line {line}"
            number = self._int(row["number"], "label.csv", line)
            if number == 0 and row["number"].strip() == "0":
                continue  # some sets list the absence of a label
            names = re.findall(r"([^;()\s]+)\s*(?:\(\d+\))?", row["category"])
            unknown = [name for name in names if name not in self.categories]
            if not 1 <= number <= _LARGEST:
                self.faults.append(f"{where}: number {row['number']} is not in [1, {_LARGEST}]")
            elif number in self.labels:
                self.faults.append(f"{where}: the number {number} is listed twice")
            elif not names or unknown:
                what = f"the category {unknown[0]!r} is not in category.csv" if names else (
                    "it has no category"
                )  # fmt: skip
                self.faults.append(f"{where}: {what}")
            else:
                for name in names:
                    if (name, number) not in coverage:
                        self.faults.append(f"{where}: c_{name}.csv does not list {number}")
                best = max(names, key=lambda name: coverage.get((name, number), -1.0))
                self.labels[number] = Label(number, row["name"], best)

    def _read_index(self) -> None:
        for line, row in self._rows("index.csv", [*_FIXED, *self.categories]):
            before = len(self.faults)
            sizes = [self._int(row[name], "index.csv", line) for name in _SIZES]
            if min(sizes) < 1 and len(self.faults) == before:
                self._fault(line, f"a size below 1 in {', '.join(_SIZES)} = {sizes}")
            if sizes[2] * sizes[3] > _MOST_PIXELS:
                self._fault(line, f"labels of {_by(sizes[2:])} pixels; at most {_MOST_PIXELS}")
            cells = [c for name in self.categories for c in row[name].split(";") if c.strip()]
            numbers = [int(cell) for cell in cells if cell.strip().isdecimal()]
            files = [cell.strip() for cell in cells if not cell.strip().isdecimal()]
            for number in numbers:
                if number and number not in self.labels:
                    self._fault(line, f"the label {number} is not in label.csv")
            for name in [row["image"], *files]:
                if not name or PurePosixPath(name).is_absolute() or ".." in Path(name).parts:
                    self._fault(line, f"{name!r} is not a path below images/")
                elif not (self.path / "images" / name).is_file():
                    self._fault(line, f"no file images/{name}")
            ih, iw, sh, sw = sizes
            self.records.append(
                Record(line, row["image"], (ih, iw), (sh, sw), tuple(numbers), tuple(files))
            )
            self.splits.append(row["split"])
        if not self.records and not self.faults:
            self.faults.append("index.csv lists no image")

    def _fault(self, line: int, what: str) -> None:
        self.faults.append(f"index.csv, line {line}: {what}")

    def _int(self, text: Any, table: str, line: int) -> int:
        if str(text).strip().isdecimal():
            return int(text)
        self.faults.append(f"{table}, line {line}: {text!r} is not a whole number")
        return 0
