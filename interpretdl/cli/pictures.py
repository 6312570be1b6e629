"""Which pictures were given, and where the results go."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError, ResourceError

__all__ = ["find_pictures", "save_paths"]


def find_pictures(given: Sequence[Path]) -> list[Path]:
    """The files given, and in folders those whose ending is a picture's; each once, in order.

    Raises:
        InputError: a folder without pictures.
        ResourceError: a folder that may not be read.
    """
    from ..data_processor.readers import picture_endings

    endings = picture_endings()
    found: dict[Path, None] = {}
    for path in given:
        if not os.path.isdir(path):  # unlike Path.is_dir it raises nothing, whatever the name
            found[path] = None
            continue
        try:
            names = sorted(path.iterdir())
        except OSError as error:
            raise ResourceError(
                f"cannot read the folder {path}: {error.strerror or error}"
            ) from error
        inside = [
            file
            for file in names
            if file.suffix.lower() in endings
            and os.path.isfile(file)
            and not file.name.startswith(".")
        ]
        if not inside:
            raise InputError(
                f"no picture in the folder {path}; endings read: {', '.join(sorted(endings))}"
            )
        found.update(dict.fromkeys(inside))
    return list(found)


def save_paths(
    pictures: Sequence[Path], save: Path | None, ending: str, *, several: bool
) -> dict[Path, Path]:
    """Where the result for each picture is to be written.

    Args:
        pictures: what is worked on.
        save: a file for one picture; a folder for several, made if its parent is there; None is
            the current folder.
        ending: in a folder, `cat.jpg` becomes `cat_<ending>.png`; a number is added where two
            pictures have one name, and a name that would be too long is cut.
        several: whether `save` must be a folder.

    Raises:
        InputError: `save` is not such a file or folder, or a picture would be overwritten.
        ResourceError: it cannot be written there.
    """
    from ..data_processor.files import SAVE_SUFFIXES, check_writable

    if save is not None and not several and not os.path.isdir(save):
        targets = {pictures[0]: save}
    else:
        folder = Path() if save is None else save
        if not os.path.isdir(folder):
            looks_like_file = folder.suffix.lower() in SAVE_SUFFIXES
            if os.path.lexists(folder) or looks_like_file or not os.path.isdir(folder.parent):
                raise InputError(
                    f"several pictures are saved in a folder; {folder} is a file, or the folder "
                    "above it is missing"
                )
            try:
                folder.mkdir()
            except OSError as error:
                raise ResourceError(
                    f"cannot make the folder {folder}: {error.strerror or error}; give one that "
                    "exists, or a place that you may write to"
                ) from error
        targets = {}
        taken: set[Path] = set()
        for picture in pictures:
            target, number = folder / _name(picture.stem, f"_{ending}.png"), 2
            while target in taken:
                target = folder / _name(picture.stem, f"_{ending}_{number}.png")
                number += 1
            taken.add(target)
            targets[picture] = target
    originals = {os.path.realpath(picture) for picture in pictures}
    for target in targets.values():
        if os.path.realpath(target) in originals:
            raise InputError(f"{target} is one of the pictures given; save under another name")
        check_writable(target)
    return targets


def _name(stem: str, ending: str) -> str:
    """The stem and an ending, the stem cut to what fits in the name of a file."""
    from ..data_processor.files import MAX_NAME_BYTES

    while len(os.fsencode(stem + ending)) > MAX_NAME_BYTES:
        stem = stem[:-1]
    return stem + ending
