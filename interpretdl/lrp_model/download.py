"""Paddle's published weights: downloaded once into a cache, checked, and safe from half files."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from ..errors import WeightsError
from ..progress import progress_bar

__all__ = ["cache_directory", "check_digest", "download", "published", "weights_table"]

logger = logging.getLogger(__name__)

_CHUNK = 1 << 18  # bytes
_LARGEST = 4 << 30  # bytes; the zoo's largest file is an eighth of this


def cache_directory() -> Path:
    """Where downloads are kept: $INTERPRETDL_HOME, or else ~/.cache/interpretdl."""
    home = os.environ.get("INTERPRETDL_HOME")
    return Path(home) if home else Path.home() / ".cache" / "interpretdl"


def weights_table() -> dict[str, tuple[str, str]]:
    """Paddle's own table: URL and MD5 checksum of the weights of each network."""
    from paddle.vision.models import resnet, vgg

    return {**resnet.model_urls, **vgg.model_urls}


def published(name: str) -> Path:
    """The file of Paddle's weights for this network, downloaded if it is not in the cache.

    Raises:
        WeightsError: as `download`.
    """
    url, md5 = weights_table()[name]
    return download(url, md5, cache_directory() / "weights" / f"{name}-{md5[:8]}.pdparams")


def check_digest(path: Path, algorithm: str, expected: str) -> None:
    """Raise WeightsError unless the file has this checksum ("md5" or "sha256", in hexadecimal)."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while block := file.read(_CHUNK):
                digest.update(block)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error}") from error
    if digest.hexdigest() != expected:
        raise WeightsError(
            f"{path} has the {algorithm} checksum {digest.hexdigest()}, expected {expected}; it is "
            "damaged or another file: delete it and get it again"
        )


def download(url: str, md5: str, path: Path, *, timeout: float = 30.0) -> Path:
    """The file at `path`, downloaded unless it is there with the right checksum.

    The download goes to a `.part` beside it, is checked, and is renamed; a lock lets one process
    download while others wait for its file.

    Args:
        url: http or https.
        md5: checksum in hexadecimal.
        path: where the file is wanted; its folder is made.
        timeout: seconds without an answer or without data after which to give up.

    Raises:
        WeightsError: no connection, a bad answer, a stalled server, a file that is cut short or
            whose checksum is wrong, or no room; nothing is left but the lock's empty file.
    """
    from filelock import FileLock

    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise WeightsError(f"weights are downloaded by http or https only; got {url}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock")):
            if path.exists():
                try:
                    check_digest(path, "md5", md5)
                    return path
                except WeightsError as error:
                    logger.warning("%s; downloading it again", error)
            part = path.with_name(path.name + ".part")
            try:
                _fetch(url, part, timeout)
                check_digest(part, "md5", md5)
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)
    except WeightsError as error:
        raise WeightsError(_advice(url, str(error))) from error
    except urllib.error.HTTPError as error:
        error.close()  # it is also the answer, with its connection
        raise WeightsError(_advice(url, str(error))) from error
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
        raise WeightsError(_advice(url, str(error) or type(error).__name__)) from error
    return path


def _advice(url: str, reason: str) -> str:
    return (
        f"cannot download the weights from {url}: {reason}. Check the connection and try again, or "
        "download the file by hand and give it as pretrained='path/to/file.pdparams'"
    )


def _fetch(url: str, part: Path, timeout: float) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "interpretdl"})  # noqa: S310 - scheme is checked
    with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310 - scheme is checked
        length = answer.headers.get("Content-Length")
        total = int(length) if length and length.isdecimal() else None
        if total is not None and total > _LARGEST:
            raise WeightsError(f"the server announces {total} bytes, which no file of weights has")
        done = 0
        bar = progress_bar(total, part.stem, unit="B", unit_scale=True, unit_divisor=1024)
        with part.open("wb") as file, bar:
            while block := answer.read(_CHUNK):
                done += len(block)
                if done > _LARGEST:
                    raise WeightsError(f"the server has sent more than {_LARGEST} bytes")
                file.write(block)
                bar.update(len(block))
    if total is not None and done != total:
        raise WeightsError(f"the connection ended after {done} of {total} bytes")
