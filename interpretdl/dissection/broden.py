"""Data sets in the layout of Broden: pictures with labels for whole images and for pixels.

images/                     pictures, and label PNGs whose label is R + 256 G; 0: unlabelled
index.csv                   image,split,ih,iw,sh,sw, and a column for each category; a cell is
                            "12;a_color.png": labels of the whole image and label PNGs
category.csv                name,first,last,count,frequency
label.csv                   number,name,category,frequency,coverage,syns
c_<category>.csv            code,number,name,frequency,coverage
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data_processor.decode import load_image
from ..errors import ImageReadError, InputError, did_you_mean
from ..progress import progress_bar
from .tables import Label, Record, Tables, by, in_order

__all__ = ["Broden", "Label", "Record", "check_broden"]

_MOST_MASK_BYTES = 2**30
_SHOWN = 5


class Broden:
    """A data set in Broden's layout. Tables are read now, pictures when they are needed.

    Paths that lead out of the data set's images/ are refused.

    Args:
        path: its folder.
        split: only images whose split is this; None takes all.
        categories: the categories that count; None takes all, as the paper does (NetDissect-Lite
            leaves out "material"). A label counts if one of its categories does, where the
            columns of these categories say that it is.

    Raises:
        InputError: there is no such split or category, or tables are missing or wrong. The message
            has the first faults; `check_broden` lists all.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        split: str | None = None,
        *,
        categories: str | Sequence[str] | None = None,
    ) -> None:
        self.path = Path(path)
        chosen = [categories] if isinstance(categories, str) else categories
        tables = Tables(self.path, chosen)
        _refuse(tables.faults, self.path)
        chosen = _chosen(chosen, tables.categories)
        if not tables.labels:
            raise InputError(f"{self.path} has no label in {', '.join(chosen)}")
        self.categories = tuple(in_order(chosen))
        # as reports say it
        self.left_out = tuple(in_order([c for c in tables.categories if c not in chosen]))
        self.labels = tuple(tables.labels[number] for number in sorted(tables.labels))
        self.records = tuple(tables.records[i] for i in tables.of_split(split))
        if not self.records:
            known = ", ".join(sorted(set(tables.splits)))
            raise InputError(f"{self.path} has no image of split {split!r}; it has {known}")
        self._ignored = np.array(sorted(tables.ignored), np.int64)
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
                f"{record.image} has {by(pixels.shape[:2])} pixels; index.csv, line "
                f"{record.line}, says {by(record.size)}"
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
        numbers = numbers[(numbers > 0) & ~np.isin(numbers, self._ignored)]
        known = np.array([label.number for label in self.labels])
        found = np.searchsorted(known, numbers).clip(max=len(known) - 1)
        if unknown := numbers[known[found] != numbers].tolist():
            raise InputError(f"{record.image} has the label {unknown[0]}, not in label.csv")
        if len(numbers) * record.label_size[0] * record.label_size[1] > _MOST_MASK_BYTES:
            raise InputError(
                f"{record.image} has {len(numbers)} labels of {by(record.label_size)} pixels: over "
                f"{_MOST_MASK_BYTES} bytes; make its label PNGs smaller"
            )
        masks = np.zeros((len(numbers), *record.label_size), bool)
        for mask, number in zip(masks, numbers, strict=True):
            mask |= number in record.numbers
            for plane in planes:
                mask |= plane == number
        return found, masks

    def digest(self) -> str:
        """Fingerprint of the tables' contents, the chosen images and the files' sizes.

        The sizes are those found when the tables were read. So a file that is added, removed or
        replaced by one of another size is noticed, and a data set is the same after it was copied.
        A file replaced by another of exactly its size is not: that would take reading them all (25
        GB of Broden), and times of modification are others in every copy.
        """
        total = hashlib.sha256()
        tables = ["index.csv", "category.csv", "label.csv"]
        for name in tables + [f"c_{category}.csv" for category in sorted(self.categories)]:
            content = (self.path / name).read_bytes()
            total.update(f"{name} {len(content)}\n".encode())
            total.update(content)
        total.update(f"{self.categories}\n".encode())
        for record in self.records:
            files = zip((record.image, *record.files), record.bytes, strict=True)
            total.update("".join(f"{name}\0{size}\n" for name, size in files).encode())
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
        from PIL.PngImagePlugin import PngImageFile

        path = self._file(name)
        try:
            # not Image.open, which warns of large pictures before their size can be compared
            with path.open("rb") as stream, PngImageFile(stream) as image:
                size = (image.height, image.width)
                if size != record.label_size:  # known before a pixel is decoded
                    raise InputError(
                        f"{name} has {by(size)} pixels; index.csv, line {record.line}, says "
                        f"{by(record.label_size)}"
                    )
                if image.mode not in ("RGB", "RGBA"):
                    raise InputError(f"{name} is a PNG of mode {image.mode}; labels need RGB")
                pixels = np.asarray(image).astype(np.int64)
        except InputError:
            raise
        except (
            OSError,
            SyntaxError,
            ValueError,
            EOFError,
            struct.error,
            zlib.error,
            Image.DecompressionBombError,
        ) as error:
            raise InputError(f"{name} cannot be read as a PNG: {error}") from error
        plane: NDArray[np.int64] = pixels[..., 0] + 256 * pixels[..., 1]
        return plane


def check_broden(path: str | os.PathLike[str], *, files: bool = True) -> list[str]:
    """List every fault of a data set in Broden's layout, one line each.

    Args:
        path: its folder.
        files: read every picture and label PNG as well as the tables (slow for a large one).
    """
    tables = Tables(Path(path))
    if tables.faults or not files:
        return tables.faults
    data, faults = Broden(path), []
    with progress_bar(len(data), "check", "image") as bar:
        for index in range(len(data)):
            faults += data.faults_of(index)
            bar.update()
    return faults


def _chosen(given: Sequence[str] | None, known: Sequence[str]) -> Sequence[str]:
    if given is None:
        return known
    for name in given:
        if name not in known:
            raise InputError(
                f"no category {name!r}; the data set has {', '.join(in_order(known))}"
                f"{did_you_mean(str(name), known)}"
            )
    if not given:
        raise InputError(f"categories must name at least one of {', '.join(in_order(known))}")
    return [name for name in known if name in given]


def _refuse(faults: list[str], path: Path) -> None:
    if faults:
        more = len(faults) - _SHOWN
        shown = "; ".join(faults[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise InputError(f"{path} is not a data set in Broden's layout: {shown}")
