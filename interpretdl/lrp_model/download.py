"""Published weights: downloaded once into a cache, checked, and safe from half files."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from ..errors import InputError, WeightsError
from ..pickles.files import brief, open_regular
from ..progress import progress_bar
from .connection import Pace, opener

__all__ = ["cache_directory", "check_digest", "download", "published", "weights_table"]

logger = logging.getLogger(__name__)

_PADDLECLAS = "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/{}_pretrained.pdparams"
_TRANSFORMERS = (
    *("ViT_small_patch16_224", "ViT_base_patch16_224"),
    *("DeiT_tiny_patch16_224", "DeiT_small_patch16_224", "DeiT_base_patch16_224"),
)

_CHUNK = 1 << 18  # bytes
_LARGEST = 4 << 30  # bytes; the zoo's largest file is an eighth of this
_HEADS = 1 << 20  # bytes of answers' heads and of redirections
_WAIT = 3600.0  # seconds for another process that downloads the same file


def cache_directory() -> Path:
    """Where downloads are kept: $INTERPRETDL_HOME, or else ~/.cache/interpretdl.

    Raises:
        WeightsError: neither is known.
    """
    home = os.environ.get("INTERPRETDL_HOME")
    try:
        return Path(home) if home else Path.home() / ".cache" / "interpretdl"
    except RuntimeError as error:
        raise WeightsError(
            "there is no home directory to keep downloads in; set INTERPRETDL_HOME to a folder"
        ) from error


def weights_table() -> dict[str, tuple[str, str | None]]:
    """URL and MD5 checksum of the weights of each network.

    Those of Paddle are its own table. PaddleClas, whose the transformers' are, publishes no
    checksums: None.
    """
    from paddle.vision.models import resnet, vgg

    clas = {name.lower(): (_PADDLECLAS.format(name), None) for name in _TRANSFORMERS}
    return {**resnet.model_urls, **vgg.model_urls, **clas}


def published(name: str) -> Path:
    """The file of the weights published for this network, downloaded if it is not in the cache.

    Raises:
        WeightsError: as `download`.
    """
    url, md5 = weights_table()[name]
    file = f"{name}-{md5[:8]}.pdparams" if md5 else f"{name}.pdparams"
    return download(url, md5, cache_directory() / "weights" / file)


def check_digest(path: Path, algorithm: str, expected: str) -> None:
    """Raise WeightsError unless the file has this checksum ("md5" or "sha256", in hexadecimal)."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    try:
        with open_regular(path) as file:
            while block := file.read(_CHUNK):
                digest.update(block)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error}") from error
    if digest.hexdigest() != expected:
        raise WeightsError(
            f"{path} has the {algorithm} checksum {digest.hexdigest()}, expected {expected}; it is "
            "damaged or another file: delete it and get it again"
        )


def download(url: str, md5: str | None, path: Path, *, timeout: float = 30.0) -> Path:
    """The file at `path`, downloaded unless it is there with the right checksum.

    The download goes to a `.part` beside it, is checked, and is renamed; a lock lets one process
    download while others wait for its file.

    Args:
        url: http or https.
        md5: checksum in hexadecimal; None: what comes is not checked.
        path: where the file is wanted; its folder is made.
        timeout: seconds without an answer or without data after which to give up. A server that
            sends less than `Pace.LEAST` bytes a second over `Pace.WINDOW` seconds is given up too.

    Raises:
        WeightsError: no connection, a bad answer, a stalled or very slow server, a redirection to
            another protocol or from https to http, a file that is cut short or whose checksum is
            wrong, or no room; nothing is left but the lock's empty file. Also: `path` is a folder,
            a pipe or a device, or another process has been downloading for an hour.
    """
    from filelock import FileLock, Timeout

    _check_url(url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock"), timeout=_WAIT):
            if path.exists():
                if not path.is_file():
                    raise WeightsError(f"{path} is no file; move it away")
                try:
                    if md5 is not None:
                        check_digest(path, "md5", md5)
                    return path
                except WeightsError as error:
                    logger.warning("%s; downloading it again", error)
            part = path.with_name(path.name + ".part")
            try:
                part.unlink(missing_ok=True)  # of a process that was killed
                _fetch(url, part, timeout)
                if md5 is not None:
                    check_digest(part, "md5", md5)
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)
    except Timeout as error:
        raise WeightsError(
            f"another process has been downloading {path} for {_WAIT:g} seconds; stop it, or wait "
            "for it, and try again"
        ) from error
    except WeightsError as error:
        raise WeightsError(_advice(url, str(error))) from error
    except urllib.error.HTTPError as error:
        error.close()  # it is also the answer, with its connection
        raise WeightsError(_advice(url, str(error))) from error
    # URLError and timeouts are OSErrors; ValueError: of a place that a server leads to
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WeightsError(_advice(url, str(error) or type(error).__name__)) from error
    return path


def _check_url(url: str) -> None:
    if not isinstance(url, str):
        raise InputError(f"a URL is expected; got {type(url).__name__}")
    shown = brief(repr(url))
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port  # both are looked at when they are asked for
    except ValueError as error:
        raise WeightsError(f"{shown} is no URL ({brief(str(error))})") from error
    if parts.scheme not in ("http", "https"):
        raise WeightsError(f"weights are downloaded by http or https only; got {shown}")
    if not host or "@" in parts.netloc:
        raise WeightsError(f"{shown} does not name a host; expected https://host/path")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise WeightsError(
            f"{shown} has spaces, control characters or letters beyond ASCII; write them "
            "percent-encoded, in the host's name as punycode (xn--…)"
        )


def _advice(url: str, reason: str) -> str:
    reason = " ".join(reason.split())  # urllib's words on redirections have lines
    return (
        f"cannot download the weights from {brief(url)}: {brief(reason, 600)}. Check the "
        "connection and try again, or download the file by hand and give it as "
        "pretrained='path/to/file.pdparams', or on the command line --weights FILE"
    )


def _fetch(url: str, part: Path, timeout: float) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "interpretdl"})  # noqa: S310 - scheme is checked
    pace = Pace(_HEADS)
    with opener(pace) as http_only, http_only.open(request, timeout=timeout) as answer:
        total = _length(answer)
        pace.limit = pace.received + _LARGEST
        done = 0
        bar = progress_bar(total, part.stem, unit="B", unit_scale=True, unit_divisor=1024)
        # x: never through a link or into a pipe that somebody has put there
        with part.open("xb") as file, bar:
            while block := answer.read(_CHUNK):
                done += len(block)
                file.write(block)
                bar.update(len(block))
    if total is not None and done != total:
        raise WeightsError(f"the connection ended after {done} of {total} bytes")


def _length(answer: Any) -> int | None:
    """How many bytes an answer announces, if it is one to read."""
    if answer.status != 200:
        raise WeightsError(f"the server answered {answer.status} {answer.reason}, expected 200 OK")
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise WeightsError(f"the server sends the file encoded as {encoding}, which was not asked")
    total: int | None = answer.length
    if total is not None and total > _LARGEST:
        size = f"{total} bytes" if total < 1 << 64 else "more bytes than there are"
        raise WeightsError(f"the server announces {size}, which no file of weights has")
    return total
