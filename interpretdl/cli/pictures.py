"""Which pictures were given, and where the results go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError

__all__ = ["find_pictures", "save_paths"]


def find_pictures(given: Sequence[Path]) -> list[Path]:
    """The files given, and in folders those whose ending is a picture's; each once, in order.

    Raises:
        InputError: a folder without pictures.
    """
    from PIL import Image

    from ..data_processor.decode import ALLOWED_FORMATS

    known = Image.registered_extensions()
    endings = {ending for ending, kind in known.items() if kind in ALLOWED_FORMATS}
    found: dict[Path, None] = {}
    for path in given:
        if not path.is_dir():
            found[path] = None
            continue
        inside = sorted(
            file
            for file in path.iterdir()
            if file.suffix.lower() in endings and file.is_file() and not file.name.startswith(".")
        )
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
            pictures have one name.
        several: whether `save` must be a folder.

    Raises:
        InputError: `save` is not such a file or folder, or a picture would be overwritten.
        ResourceError: it cannot be written there.
    """
    from ..data_processor.files import SAVE_SUFFIXES, check_writable

    if save is not None and not several and not save.is_dir():
        targets = {pictures[0]: save}
    else:
        folder = Path() if save is None else save
        if not folder.is_dir():
            looks_like_file = folder.suffix.lower() in SAVE_SUFFIXES
            if folder.exists() or looks_like_file or not folder.parent.is_dir():
                raise InputError(
                    f"several pictures are saved in a folder; {folder} is a file, or the folder "
                    "above it is missing"
                )
            folder.mkdir()
        targets = {}
        taken: set[Path] = set()
        for picture in pictures:
            target, number = folder / f"{picture.stem}_{ending}.png", 2
            while target in taken:
                target, number = folder / f"{picture.stem}_{ending}_{number}.png", number + 1
            taken.add(target)
            targets[picture] = target
    originals = {picture.resolve() for picture in pictures}
    for target in targets.values():
        if target.resolve() in originals:
            raise InputError(f"{target} is one of the pictures given; save under another name")
    check_writable(next(iter(targets.values())))
    return targets
