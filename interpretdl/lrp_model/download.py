"""Files of weights from the network, into a cache, checked."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import WeightsError


def check_digest(path: Path, algorithm: str, expected: str) -> None:
    """Raise WeightsError unless the file has this checksum ("md5" or "sha256", in hexadecimal)."""
    with path.open("rb") as file:
        digest = hashlib.new(algorithm, usedforsecurity=False)
        while block := file.read(1 << 20):
            digest.update(block)
    found = digest.hexdigest()
    if found != expected:
        raise WeightsError(
            f"{path} has the {algorithm} checksum {found}, expected {expected}; it is damaged or "
            "another file: delete it and get it again"
        )
