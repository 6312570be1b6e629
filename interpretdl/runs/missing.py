"""Packages that only runs need, which come with extras."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..errors import ResourceError

__all__ = ["needed"]


@contextlib.contextmanager
def needed(package: str, extra: str) -> Iterator[None]:
    """Say how to install a package whose import in this block fails.

    Raises:
        ResourceError: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise ResourceError(
            f"{package} is needed and not installed: pip install 'interpretdl[{extra}]'"
        ) from error
