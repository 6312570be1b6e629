"""InterpretDL's helpers for files: checksums, downloads, archives. They print nothing."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

from ..errors import InputError, ResourceError, WeightsError
from ..lrp_model import download as downloads

__all__ = [
    "decompress",
    "download",
    "download_and_decompress",
    "gen_user_home",
    "md5check",
    "move_and_merge_tree",
]


def md5check(fullname: str | os.PathLike[str], md5sum: str | None = None) -> bool:
    """Whether a file has this MD5 checksum; True where none is given."""
    if md5sum is None:
        return True
    try:
        downloads.check_digest(Path(fullname), "md5", md5sum)
    except WeightsError:
        return False
    return True


def download(url: str, path: str | os.PathLike[str] = ".", md5sum: str | None = None) -> str:
    """Download a file into a folder, unless it is there.

    Args:
        url: http or https; what stands behind the last slash is the file's name.
        path: the folder, which is made.
        md5sum: the file's checksum in hexadecimal; None: it is not checked.

    Returns:
        The file's path.

    Raises:
        WeightsError: it cannot be downloaded, or has another checksum.
    """
    name = url.rsplit("/", 1)[-1]
    return str(downloads.download(url, md5sum, Path(path) / name))


def decompress(fname: str | os.PathLike[str]) -> None:
    """Unpack a .zip, .tar or .tgz into the folder where it is. Files that are there stay.

    Nothing is written outside of the folder, whatever the archive says.

    Raises:
        InputError: it is neither, or damaged, or wants to write elsewhere.
        ResourceError: it cannot be read or unpacked, or Python is too old to do it safely.
    """
    path = Path(fname)
    if not hasattr(tarfile, "data_filter"):
        raise ResourceError(
            "this Python unpacks archives unchecked; update it to 3.10.12 or 3.11.4"
        )
    try:
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as zipped:
                    zipped.extractall(folder)  # noqa: S202 - zipfile drops dots and roots
            elif tarfile.is_tarfile(path):
                with tarfile.open(path) as tarred:
                    tarred.extractall(folder, filter="data")
            else:
                raise InputError(f"{path} is neither a zip nor a tar file")
            for each in os.listdir(folder):
                move_and_merge_tree(os.path.join(folder, each), path.parent / each)
    except (tarfile.TarError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not unpacked: {error}") from error
    except OSError as error:
        raise ResourceError(f"cannot unpack {path}: {error.strerror or error}") from error


def download_and_decompress(url: str, path: str | os.PathLike[str] = ".") -> None:
    """`download` an archive into a folder and `decompress` it there."""
    decompress(download(url, path))


def move_and_merge_tree(src: str | os.PathLike[str], dst: str | os.PathLike[str]) -> None:
    """Move a file or a folder; what is at the destination already stays as it is."""
    if not os.path.exists(dst):
        shutil.move(os.fspath(src), os.fspath(dst))
    elif os.path.isdir(src) and os.path.isdir(dst):
        for name in os.listdir(src):
            move_and_merge_tree(os.path.join(src, name), os.path.join(dst, name))


def gen_user_home() -> str:
    """The user's home: $HOME where that is a folder."""
    home = os.environ.get("HOME", "")
    return home if os.path.isdir(home) else os.path.expanduser("~")
