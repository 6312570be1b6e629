"""Files that were made to hurt, and how they have to be refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from interpretdl.errors import WeightsError
from interpretdl.lrp_model import load_state

HUGE = 10**5000  # more digits than Python prints


def refused(path: Path, **options: bool) -> str:
    """The message of the error, which is one short line."""
    with pytest.raises(WeightsError) as caught:
        load_state(path, **options)
    message = str(caught.value)
    assert len(message) < 1000 + len(str(path))
    assert message.isprintable()
    return message


def pickled(path: Path, root: bytes) -> Path:
    """`root` in opcodes as a pickle of protocol 4."""
    path.write_bytes(b"\x80\x04" + root + b".")
    return path
